package dynasession

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dynasession/dynasession/internal/pause"
)

// ticket is what a request's cookie asks for: a session, no older than rev.
type ticket struct {
	id  string
	rev int64
}

// load returns the first live session that the tickets ask for, else a new one under a new
// id: an id that this store did not make is never adopted. More than one ticket means
// that the browser has sent more than one cookie of the name. A session that cannot be read is an
// error only if no other ticket has one.
func (s *Store) load(ctx context.Context, tickets []ticket) (*Session, error) {
	var ghost *Session
	var unread error
	for _, t := range tickets {
		sess, err := s.loadOne(ctx, t)
		switch {
		case errors.Is(err, ErrCorrupt):
			if unread == nil {
				unread = err
			}
		case err != nil:
			return nil, err
		case sess == nil:
		case sess.ghost == nil:
			return sess, nil
		case ghost == nil:
			ghost = sess
		}
	}
	switch {
	case ghost != nil:
		return ghost, nil
	case unread != nil:
		return nil, unread
	}
	return s.newSession(), nil
}

func (s *Store) loadOne(ctx context.Context, t ticket) (_ *Session, err error) {
	key := s.keys.key(t.id)
	timed, op := s.start(ctx, "load", key)
	defer func() { op.end(err) }()
	var r *Record
	var l *lease
	if s.cfg.Concurrency == Lock {
		r, l, err = s.acquire(ctx, op, key) // the waiting is under LockWait, each call under Timeout
	} else {
		r, err = s.get(timed, op, key, t.rev)
		s.noticeLock(ctx, r)
	}
	if r == nil || err != nil {
		return nil, err
	}
	sess := s.newSession()
	if r.Tombstone {
		sess.ghost = r
		return sess, nil
	}
	vals, err := s.values(r)
	if err != nil {
		if l != nil {
			s.release(ctx, l)
		}
		return nil, err
	}
	sess.id, sess.rec, sess.vals, sess.lease = t.id, r, vals, l
	return sess, nil
}

// noticeLock logs, once, that PHP locks the sessions that this store does not lock: then PHP overwrites
// what others have changed meanwhile.
func (s *Store) noticeLock(ctx context.Context, r *Record) {
	if r == nil || r.Lock == 0 || r.Lock >= leaseFrom {
		return
	}
	s.unlocked.Do(func() {
		s.log(ctx).WarnContext(ctx, "dynasession: PHP locks its sessions, and this store does not: PHP will overwrite changes. Set Config.Concurrency to Lock", "session", s.keys.ref(r.Key))
	})
}

func (s *Store) newSession() *Session {
	return &Session{codec: s.cfg.Codec, keys: s.keys, rules: s.rules, now: s.now, born: s.rules.Birth(epoch(s.now()))}
}

// acquire loads a session and takes its lock, waiting for LockWait at most. It returns no
// record for no live session, and then no lock; and a fresh tombstone without one.
func (s *Store) acquire(ctx context.Context, op *operation, key string) (_ *Record, _ *lease, err error) {
	wait, cancel := context.WithTimeoutCause(ctx, s.cfg.LockWait, ErrLocked)
	defer cancel()

	turn, leave := s.locks.Join(key)
	select {
	case <-turn:
	case <-wait.Done():
		leave()
		return nil, nil, s.notLocked(wait, key, ErrLocked)
	}
	var poll pause.Poll
	var seen *Record
	before := s.locks.Handed(key)
	if !before.passedOn && s.contended.Has(key) {
		seen, err = s.look(wait, op, key, &poll)
	}
	for err == nil {
		if seen != nil {
			s.locks.Hand(key, lockHint{locked: true})
			s.contended.Note(key, 0)
			if err = s.awaitFree(wait, op, seen, &poll); err != nil {
				break
			}
		}
		var r *Record
		var l *lease
		if r, l, seen, err = s.tryAcquire(wait, op, key, leave); l != nil {
			return r, l, nil
		}
		if r != nil { // a tombstone
			leave()
			return r, nil, nil
		}
		if seen == nil {
			break
		}
		op.conflicts++
		poll.Lost++
	}
	leave()
	if err != nil && wait.Err() != nil {
		state := ErrUnavailable // nobody has told that there is a lock
		if before.locked || seen != nil || op.conflicts > 0 {
			state = ErrLocked
		}
		err = s.notLocked(wait, key, state)
	}
	return nil, nil, err
}

// notLocked says why the wait for a lock is over. If it is the caller's deadline, that is state.
func (s *Store) notLocked(wait context.Context, key string, state error) error {
	cause := context.Cause(wait)
	switch {
	case errors.Is(cause, ErrLocked):
		return fmt.Errorf("%w: session %s: waited for %v", state, s.keys.ref(key), s.cfg.LockWait)
	case errors.Is(cause, context.DeadlineExceeded):
		return fmt.Errorf("%w: waiting for the lock of session %s: %w", state, s.keys.ref(key), cause)
	}
	return fmt.Errorf("dynasession: waiting for the lock of session %s: %w", s.keys.ref(key), cause)
}

// tryAcquire asks for the lock once. Another's lock is told by seen.
func (s *Store) tryAcquire(wait context.Context, op *operation, key string, leave func()) (r *Record, l *lease, seen *Record, err error) {
	type answer struct {
		r, seen *Record
		l       *lease
		err     error
	}
	// The call itself is not cancelled with the request: a lock that was taken, and nobody
	// knows, would be in everybody's way until its lease ends.
	done := make(chan answer, 1)
	call := &operation{}
	go func() {
		var a answer
		a.r, a.l, a.seen, a.err = s.callAcquire(context.WithoutCancel(wait), &call.trace, key)
		done <- a
	}()
	select {
	case a := <-done:
		op.readUnits += call.readUnits
		op.writeUnits += call.writeUnits
		if a.l != nil {
			s.locks.Hand(key, lockHint{locked: true, passedOn: true})
			a.l.hold(leave, time.Duration(a.l.end-s.now().UnixMilli())*time.Millisecond)
		}
		return a.r, a.l, a.seen, a.err
	case <-wait.Done():
		go func() {
			if a := <-done; a.l != nil {
				s.release(context.WithoutCancel(wait), a.l)
			}
		}()
		return nil, nil, nil, wait.Err() // acquire tells why
	}
}

func (s *Store) callAcquire(ctx context.Context, tr *trace, key string) (r *Record, l *lease, seen *Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	now := s.now()
	l = &lease{key: key, end: now.Add(s.cfg.LockLease).UnixMilli(), holder: newMark(), leave: func() {}}
	r, err = s.table.acquire(ctx, tr, key, l, now.Unix(), now.UnixMilli()-leaseSkew)
	if errors.Is(err, errBusy) {
		return nil, nil, &Record{Key: key}, nil
	}
	refused, err := asRefusal(err)
	switch {
	case err != nil:
		if tr.Unanswered { // it may be taken, and would be in everybody's way
			go s.release(context.WithoutCancel(ctx), l)
		}
		return nil, nil, nil, err
	case refused == nil:
	case s.isGhost(refused.item):
		return refused.item, nil, nil, nil
	case refused.item == nil || !s.rules.Live(refused.item, now.Unix()):
		return nil, nil, nil, nil
	case l.holds(refused.item): // the answer to an earlier try was lost
		r = refused.item
	default:
		return nil, nil, refused.item, nil
	}
	if !s.rules.Live(r, now.Unix()) { // ended, though it has not expired
		s.release(ctx, l)
		return nil, nil, nil, nil
	}
	return r, l, nil, nil
}

// awaitFree polls until the lock that was seen looks free. A lock without an end, PHP's,
// is given one first: its holder may be dead.
func (s *Store) awaitFree(ctx context.Context, op *operation, seen *Record, poll *pause.Poll) (err error) {
	for key := seen.Key; seen != nil && err == nil; {
		if seen.Lock != 0 && seen.Lock < leaseFrom {
			now := s.now()
			call, cancel := s.oneCall(ctx)
			err := s.table.bound(call, &op.trace, key, now.Add(s.cfg.LockLease).UnixMilli(), now.Unix())
			cancel()
			if _, err = asRefusal(err); err != nil && !errors.Is(err, errBusy) {
				return err
			}
		}
		if err := poll.Wait(ctx); err != nil {
			return err
		}
		seen, err = s.look(ctx, op, key, poll)
	}
	return err
}

// look gives the item if it is locked. None means free, or gone, as far as this replica
// knows: a try will tell. A lock that looks free is looked at again: another process may be
// passing it on to its own next, and a try that is refused costs ten looks.
func (s *Store) look(ctx context.Context, op *operation, key string, poll *pause.Poll) (*Record, error) {
	for again := false; ; again = true {
		begin := s.now()
		call, cancel := s.oneCall(ctx)
		r, err := s.table.get(call, &op.trace, key, false)
		cancel()
		now := s.now()
		switch {
		case err != nil:
			return nil, err
		case r == nil || r.Expires <= now.Unix():
			return nil, nil
		case r.Lock >= leaseFrom && r.Lock > now.UnixMilli()-leaseSkew, r.Lock != 0 && r.Lock < leaseFrom:
			return r, nil
		case again:
			return nil, nil
		}
		if err := poll.Confirm(ctx, now.Sub(begin)); err != nil {
			return nil, err
		}
	}
}

// release gives a lock up that no save will. An error is told only: the lease ends by itself.
func (s *Store) release(ctx context.Context, l *lease) {
	ctx, op := s.start(context.WithoutCancel(ctx), "release", l.key)
	err := op.untilFree(ctx, func() error { return s.table.release(ctx, &op.trace, &Record{Key: l.key}, nil, l, 0) })
	_, err = asRefusal(err)
	op.end(err)
	l.leave()
	if err != nil {
		s.log(ctx).WarnContext(ctx, "dynasession: unlocking a session", "session", s.keys.ref(l.key), "error", err)
	}
}
