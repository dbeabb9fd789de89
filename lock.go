package dynasession

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/protocol"
)

// contendedFor is how long this process remembers that another process held a lock. Meanwhile it reads the item before it
// tries to take the lock, since a try that is refused is billed as a write.
const contendedFor = time.Second

// lease is a lock that this process has taken.
type lease struct {
	protocol.Lease
	leave func() // lets the next waiter of this process in; may be called again
}

// hold lets the next waiter of this process in when the lease is given up, or has run out.
func (l *lease) hold(leave func(), left time.Duration) {
	timer := time.AfterFunc(left, leave)
	l.leave = func() {
		timer.Stop()
		leave()
	}
}

// lockHint is what a request that waits for a lock hands to the next one of this process.
type lockHint struct {
	locked   bool // another held the lock
	passedOn bool // this process has had the lock since: the next request need not look before it tries
}

// acquired is what one try to take a lock has found.
type acquired struct {
	rec   *protocol.Record // the session, or its tombstone; nil for no session
	lease *lease           // nil for a tombstone, and unless the lock was taken
	held  *protocol.Record // the session, if another holds the lock
}

// acquire loads a session and takes its lock. It waits for LockWait at most.
func (s *Store) acquire(ctx context.Context, op *operation, key string) (_ acquired, err error) {
	wait, cancel := context.WithTimeoutCause(ctx, s.cfg.LockWait, ErrLocked)
	defer cancel()
	turn, leave := s.locks.Join(key)
	select {
	case <-turn:
	case <-wait.Done():
		leave()
		return acquired{}, s.notLocked(wait, key, ErrLocked)
	}
	var poll pause.Poll
	var held *protocol.Record
	before := s.locks.Handed(key)
	if !before.passedOn && s.contended.Has(key) {
		held, err = s.look(wait, op, key, &poll)
	}
	for err == nil {
		if held != nil {
			s.locks.Hand(key, lockHint{locked: true})
			s.contended.Note(key, 0)
			if err = s.awaitFree(wait, op, held, &poll); err != nil {
				break
			}
		}
		var got acquired
		if got, err = s.tryAcquire(wait, op, key, leave); got.lease != nil {
			return got, nil
		}
		if held = got.held; held == nil {
			leave()
			if err == nil {
				return got, nil
			}
			break
		}
		op.conflicts++
		poll.Lost++
	}
	leave()
	if wait.Err() == nil {
		return acquired{}, err
	}
	state := ErrUnavailable // DynamoDB has not said that there is a lock
	if before.locked || held != nil || op.conflicts > 0 {
		state = ErrLocked
	}
	return acquired{}, s.notLocked(wait, key, state)
}

// notLocked returns the error of a request whose waiting has ended without the lock.
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

// tryAcquire asks for the lock once. The call is not cancelled with the request: if the lock was taken and nobody knew, it
// would block the session until the lease ends.
func (s *Store) tryAcquire(wait context.Context, op *operation, key string, leave func()) (acquired, error) {
	type answer struct {
		acquired
		err error
	}
	done := make(chan answer, 1)
	call := &operation{store: s}
	go func() {
		got, err := s.callAcquire(context.WithoutCancel(wait), call, key)
		done <- answer{got, err}
	}()
	select {
	case a := <-done:
		op.stats.ReadUnits += call.stats.ReadUnits
		op.stats.WriteUnits += call.stats.WriteUnits
		if a.lease != nil {
			s.locks.Hand(key, lockHint{locked: true, passedOn: true})
			a.lease.hold(leave, time.Duration(a.lease.End-s.now().UnixMilli())*time.Millisecond)
		}
		return a.acquired, a.err
	case <-wait.Done():
		go func() {
			if a := <-done; a.lease != nil {
				s.release(context.WithoutCancel(wait), a.lease)
			}
		}()
		return acquired{}, wait.Err() // acquire says why
	}
}

func (s *Store) callAcquire(ctx context.Context, op *operation, key string) (acquired, error) {
	ctx, cancel := s.oneCall(ctx)
	defer cancel()
	now := s.now()
	l := &lease{
		Lease: protocol.Lease{Key: key, End: now.Add(s.cfg.LockLease).UnixMilli(), Holder: protocol.NewMark()},
		leave: func() {},
	}
	out, err := op.call(ctx, protocol.Acquire(&l.Lease, now.Unix(), now.UnixMilli()-protocol.LeaseSkew))
	r := out.Item
	switch {
	case err != nil:
		if op.stats.Unanswered { // it may be taken, and would block the session
			go s.release(context.WithoutCancel(ctx), l)
		}
		return acquired{}, err
	case out.Busy:
		return acquired{held: &protocol.Record{Key: key}}, nil
	case out.Done(), l.Holds(r): // or the answer to an earlier attempt was lost
		if !s.rules.Live(r, now.Unix()) { // it is over, although it has not expired
			s.release(ctx, l)
			return acquired{}, nil
		}
		return acquired{rec: r, lease: l}, nil
	case s.isGhost(r):
		return acquired{rec: r}, nil
	case r == nil || !s.rules.Live(r, now.Unix()):
		return acquired{}, nil
	}
	return acquired{held: r}, nil
}

// awaitFree polls until the lock that held shows looks free. First it sets an end on a lock that has none: PHP writes such
// locks, and may have died.
func (s *Store) awaitFree(ctx context.Context, op *operation, held *protocol.Record, poll *pause.Poll) (err error) {
	for key := held.Key; held != nil && err == nil; {
		if held.LockIsEndless() {
			if err := s.limitLock(ctx, op, key); err != nil {
				return err
			}
		}
		if err := poll.Wait(ctx); err != nil {
			return err
		}
		held, err = s.look(ctx, op, key, poll)
	}
	return err
}

func (s *Store) limitLock(ctx context.Context, op *operation, key string) error {
	ctx, cancel := s.oneCall(ctx)
	defer cancel()
	now := s.now()
	_, err := op.call(ctx, protocol.LimitLock(key, now.Add(s.cfg.LockLease).UnixMilli(), now.Unix()))
	return err
}

// look returns the item if it is locked. Nil means that the lock is free, or the session gone, as far as this replica knows:
// a try will tell. It looks twice at a lock that looks free: another process may be passing it on to its own next request,
// and a try that is refused costs as much as ten looks.
func (s *Store) look(ctx context.Context, op *operation, key string, poll *pause.Poll) (*protocol.Record, error) {
	for again := false; ; again = true {
		begin := s.now()
		call, cancel := s.oneCall(ctx)
		r, err := op.get(call, key, false)
		cancel()
		now := s.now()
		switch {
		case err != nil:
			return nil, err
		case r == nil || r.Expires <= now.Unix():
			return nil, nil
		case r.IsLocked(now.UnixMilli()):
			return r, nil
		case again:
			return nil, nil
		}
		if err := poll.Confirm(ctx, now.Sub(begin)); err != nil {
			return nil, err
		}
	}
}

// noticeLock logs, once, that PHP locks the sessions that this store does not lock. PHP then overwrites what others have
// changed meanwhile.
func (s *Store) noticeLock(ctx context.Context, r *protocol.Record) {
	if r == nil || !r.LockIsEndless() {
		return
	}
	s.unlocked.Do(func() {
		s.log(ctx).WarnContext(ctx, "dynasession: PHP locks its sessions, and this store does not: PHP will overwrite changes. Set Config.Concurrency to Lock", "session", s.keys.ref(r.Key))
	})
}
