package dynasession

import (
	"context"
	"errors"

	"github.com/dynasession/dynasession/internal/protocol"
)

// sessionCookie is what a request's cookie asks for: a session, no older than rev.
type sessionCookie struct {
	id    string
	rev   int64
	proof string // of the device; "" for none
}

// load returns the first live session that the cookies ask for, or a new one. It never adopts an id that this store did not
// make. There is more than one cookie if the browser has sent several of the name. A session that cannot be read is an error
// only if no other cookie has one.
func (s *Store) load(ctx context.Context, cookies []sessionCookie) (*Session, error) {
	var ghost *Session
	var unread error
	var unproven bool
	for _, c := range cookies {
		sess, lacksProof, err := s.loadOne(ctx, c)
		unproven = unproven || lacksProof
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
		ghost.unproven = unproven
		return ghost, nil
	case unread != nil:
		return nil, unread
	}
	sess := s.newSession()
	sess.over, sess.unproven = len(cookies) > 0, unproven
	return sess, nil
}

// loadOne returns the session of one cookie, or nil for none. It reports whether the browser would get the session again by
// a proof of its device's key.
func (s *Store) loadOne(ctx context.Context, c sessionCookie) (_ *Session, unproven bool, err error) {
	key := s.keys.key(c.id)
	timed, op := s.start(ctx, "load", key)
	defer func() { op.end(err) }()
	var got acquired
	if s.cfg.Concurrency == Lock {
		got, err = s.acquire(op.caller, op, key) // LockWait limits the waiting, Timeout each call
	} else {
		got.rec, err = s.get(timed, op, key, c.rev)
		s.noticeLock(ctx, got.rec)
	}
	if got.rec == nil || err != nil {
		return nil, false, err
	}
	sess := s.newSession()
	if got.rec.Tombstone {
		unproven, err = s.awaitsProof(timed, op, c, got.rec)
		if err != nil || !unproven && !got.rec.Fresh(s.now().Unix()) {
			return nil, false, err
		}
		sess.ghost = got.rec
		return sess, unproven, nil
	}
	vals, err := s.values(got.rec)
	unproven = err == nil && s.cfg.DeviceBound > 0 && !s.proven(sess, &vals, c.proof)
	if err != nil || unproven {
		if got.lease != nil {
			s.release(ctx, got.lease)
		}
		return nil, unproven, err
	}
	sess.id, sess.rec, sess.vals, sess.lease = c.id, got.rec, vals, got.lease
	return sess, false, nil
}

func (s *Store) newSession() *Session {
	return &Session{
		codec: s.cfg.Codec, keys: s.keys, rules: s.rules, now: s.now, born: s.rules.Birth(epoch(s.now())), binds: s.cfg.DeviceBound > 0,
	}
}

// get reads a live session, or the tombstone of one that was renewed; nil for neither. It believes an eventually
// consistent read only if that shows a live session no older than rev, which the cookie carries.
func (s *Store) get(ctx context.Context, op *operation, key string, rev int64) (*protocol.Record, error) {
	if s.cfg.EventualReads {
		r, err := op.get(ctx, key, false)
		if err != nil || r != nil && s.rules.Live(r, s.now().Unix()) && r.Rev >= rev {
			return r, err
		}
	}
	return s.getConsistently(ctx, op, key)
}

func (s *Store) getConsistently(ctx context.Context, op *operation, key string) (*protocol.Record, error) {
	r, err := op.get(ctx, key, true)
	if err != nil || r == nil || !s.rules.Live(r, s.now().Unix()) && !s.isGhost(r) {
		return nil, err
	}
	return r, nil
}

// isGhost reports whether a request for r is a ghost, or may be one. With ForeignWriters there are none.
func (s *Store) isGhost(r *protocol.Record) bool {
	return r != nil && !s.cfg.ForeignWriters && r.Tombstone && r.Expires > s.now().Unix() && s.keys.owns(r.Moved)
}
