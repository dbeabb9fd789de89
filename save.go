package dynasession

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/dynasession/dynasession/internal/protocol"
)

// cookieUpdate is what a save does to the response's cookie.
type cookieUpdate struct {
	action cookieAction
	id     string
	rev    int64
	maxAge int64 // in seconds; 0 for until the browser ends

	proof      string // of the device
	deviceAge  int64  // the maxAge of the cookie for the endpoint
	device     bool   // that cookie is set too
	dropDevice bool   // that cookie is cleared
	offer      string // the header that offers the browser to bind the session; "" for none
}

type cookieAction int

const (
	cookieKeep cookieAction = iota
	cookieSet
	cookieClear
	cookieProve // clears the cookie of a device-bound session, so that the browser proves its key before the next request
)

// save stores what sess has pending. With headersSent it refuses, before it writes, what would need a new cookie.
func (s *Store) save(ctx context.Context, sess *Session, headersSent bool) (cookieUpdate, error) {
	if r := sess.atRest(); r != nil && !s.rules.TouchDue(r, s.now().Unix()) {
		return cookieUpdate{}, nil
	}
	c := sess.checkOut()
	cookie, res, err := s.run(ctx, &c, headersSent)
	if c.unproven && cookie.action == cookieKeep {
		cookie.action = cookieProve
	}
	sess.settle(&c, res, err)
	return cookie, err
}

// run runs one save. It returns what the table then holds, or nil if nothing was written: the changes then stay pending.
func (s *Store) run(ctx context.Context, c *checkout, headersSent bool) (cookie cookieUpdate, res *result, err error) {
	if err := c.encodingError(); err != nil {
		s.report(ctx, "save", c.ref(), err)
		return cookie, nil, err
	}
	if c.destroy {
		if err := s.destroyFirst(ctx, c); err != nil {
			return cookie, nil, err
		}
		cookie.action = cookieClear
	}
	todo, err := c.plan(s.rules, s.now().Unix(), headersSent)
	if err != nil {
		if c.ghost != nil && !errors.Is(err, errHeadersSent) { // there is no call whose event would tell
			s.report(ctx, "save", c.ref(), err)
		}
		return cookie, nil, err
	}
	switch todo {
	case stepNothing:
		return cookie, nil, nil
	case stepKeep:
		return cookie, s.keep(ctx, c), nil
	case stepEnd:
		if err := s.destroy(ctx, c.rec); err != nil {
			return cookie, nil, err
		}
		c.unlock()
		return cookieUpdate{action: cookieClear}, &result{}, nil
	case stepCreate:
		res, err = s.create(ctx, c)
	case stepGhost:
		res, err = s.signInGhost(ctx, c)
	case stepWrite:
		res, err = s.write(ctx, c)
	}
	if err != nil {
		return cookie, nil, err
	}
	c.unlock()
	if c.rec == nil || c.needsCookie() || s.cfg.EventualReads {
		cookie = s.cookieOf(c, res)
	}
	return cookie, res, nil
}

// destroyFirst ends the session that the request has destroyed. It is done then, even if what follows fails.
func (s *Store) destroyFirst(ctx context.Context, c *checkout) error {
	if c.destroyed != nil {
		if err := s.destroy(ctx, c.destroyed); err != nil {
			return err
		}
	}
	c.destroy, c.destroyed = false, nil
	c.unlock()
	return nil
}

func (s *Store) cookieOf(c *checkout, res *result) cookieUpdate {
	u := cookieUpdate{action: cookieSet, id: res.id}
	if s.cfg.EventualReads {
		u.rev = res.rec.Rev
	}
	if s.cfg.Cookie.Persist || res.rec.Meta.Idle != 0 {
		u.maxAge = max(1, res.rec.Meta.Until-s.now().Unix())
	}
	if s.cfg.DeviceBound > 0 {
		s.bindCookie(&u, c, res)
	}
	return u
}

// newRecord returns the record of a session that c is to make, and its id.
func (s *Store) newRecord(c *checkout) (*protocol.Record, string, error) {
	id := cmp.Or(c.newID, newID())
	r := &protocol.Record{Key: s.keys.key(id), Rev: 1, Marks: protocol.NewMark(), Meta: c.meta}
	r.Expires = s.rules.Expiry(r.Meta, s.now().Unix())
	return r, id, s.encode(r, &c.vals)
}

var errIDTaken = fmt.Errorf("%w: the new id is taken", ErrConflict)

// create puts a new session's item, under a new id.
func (s *Store) create(ctx context.Context, c *checkout) (_ *result, err error) {
	var r *protocol.Record
	var id string
	if before := c.repeated(); before != nil && before.fresh != nil {
		r, id = before.fresh, before.id
	} else if r, id, err = s.newRecord(c); err != nil {
		s.report(ctx, "save", s.keys.ref(r.Key), err)
		return nil, err
	}
	ctx, op := s.start(ctx, "save", r.Key)
	defer func() { op.end(err) }()
	out, err := op.retryBusy(ctx, protocol.Create(r))
	if err != nil {
		if op.stats.Unanswered {
			c.unacked = &unacked{version: c.version, firstRev: allAcked, fresh: r, id: id}
		}
		return nil, err
	}
	c.unacked = nil
	if out.Refused && (out.Item == nil || out.Item.Creation() != r.Marks) {
		return nil, errIDTaken
	}
	return &result{r, id, c.vals}, nil
}
