package dynasession

import (
	"context"
	"time"

	"github.com/dynasession/dynasession/internal/protocol"
)

const (
	// touchFor is how long this process remembers which expiry it is extending. A page's requests run in parallel and
	// all find it due; only the first one extends it.
	touchFor = 5 * time.Second
	// touchRest is how long nothing is touched after a touch has failed. Otherwise every request of every session would
	// try it, before the first byte of its answer.
	touchRest = 5 * time.Second
	// touchShare is which part of Config.Timeout a touch may take: the page waits for it.
	touchShare = 5
)

// keep ends a request that has changed nothing: it moves the expiry if that is due, and gives up the lock. None of that is
// the handler's, so errors are only logged: the next request moves the expiry, and the lease ends by itself. The lock is
// given up whatever the deadline of ctx is.
func (s *Store) keep(ctx context.Context, c *checkout) *result {
	now := s.now().Unix()
	var next *protocol.Record
	if s.rules.TouchDue(c.rec, now) && !s.touchesRest() {
		next = s.rules.Touched(c.rec, now)
	}
	touched := false
	switch {
	case c.lease != nil:
		touched = s.releaseTouching(context.WithoutCancel(ctx), c, next, now)
		c.unlock()
	case next != nil && !s.touchedBeside(c.rec, next, now):
		touched = s.touch(ctx, c.rec, next, now)
	}
	if touched {
		return &result{next, c.id, c.vals}
	}
	return &result{c.rec, c.id, c.vals}
}

// touchedBeside reports whether another request, which has loaded the same expiry, is moving it. If that fails, there must
// be enough time left for a later request.
func (s *Store) touchedBeside(r, next *protocol.Record, now int64) bool {
	first := s.touching.Note(r.Key, r.Expires)
	return !first && r.Expires-now > (next.Expires-now)/2
}

func (s *Store) touchesRest() bool { return s.now().UnixNano() < s.restUntil.Load() }

// restTouches stops touches for a while, and logs why.
func (s *Store) restTouches(ctx context.Context, key string, err error) {
	s.touching.Forget(key)
	until, now := s.restUntil.Load(), s.now()
	if now.UnixNano() < until || !s.restUntil.CompareAndSwap(until, now.Add(touchRest).UnixNano()) {
		return // another request has
	}
	s.log(ctx).WarnContext(ctx, "dynasession: extending a session failed; no session is extended for a while", "session", s.keys.ref(key), "rest", touchRest, "error", err)
}

// touch moves the expiry of r to next's, with one call. It reports whether it has. If it was refused, another
// request has touched, renewed, limited, written or ended the session meanwhile, and there is nothing to do: section 2 of
// internal/protocol/README.md has the conditions of TOUCH, and why.
func (s *Store) touch(ctx context.Context, r, next *protocol.Record, now int64) bool {
	short, cancel := context.WithTimeout(ctx, s.cfg.Timeout/touchShare)
	defer cancel()
	timed, op := s.start(short, "touch", r.Key)
	out, err := op.callOnce(timed, protocol.Touch(r, next, now))
	op.end(err)
	if err != nil && ctx.Err() == nil { // otherwise the caller's deadline has passed
		s.restTouches(ctx, r.Key, err)
	}
	return err == nil && out.Done()
}

// releaseTouching gives up the lock of c and, unless next is nil, moves the expiry to next's. It reports whether it has moved
// the expiry.
func (s *Store) releaseTouching(ctx context.Context, c *checkout, next *protocol.Record, now int64) bool {
	ctx, op := s.start(ctx, "release", c.rec.Key)
	if next != nil {
		out, err := op.callOnce(ctx, protocol.ReleaseTouching(&c.lease.Lease, c.rec, next, now))
		if err == nil && (out.Done() || !c.lease.Holds(out.Item)) {
			op.end(nil)
			return out.Done()
		}
		if err != nil {
			s.restTouches(ctx, c.rec.Key, err)
		}
	}
	s.endRelease(ctx, op, c.lease)
	return false
}

// release gives up a lock that no save will give up.
func (s *Store) release(ctx context.Context, l *lease) {
	ctx, op := s.start(context.WithoutCancel(ctx), "release", l.Key)
	s.endRelease(ctx, op, l)
	l.leave()
}

// endRelease gives up a lock and ends op. It only logs an error, since the lease ends by itself.
func (s *Store) endRelease(ctx context.Context, op *operation, l *lease) {
	_, err := op.retryBusy(ctx, protocol.Release(&l.Lease))
	op.end(err)
	if err != nil {
		s.log(ctx).WarnContext(ctx, "dynasession: unlocking a session", "session", s.keys.ref(l.Key), "error", err)
	}
}
