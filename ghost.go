package dynasession

import (
	"context"
	"errors"
	"fmt"

	"github.com/dynasession/dynasession/internal/pause"
)

// A ghost is a request whose cookie names a tombstone: its session was renewed under another id a
// moment ago. The browser has the new cookie, or will have it, unless the response was lost. The
// request sees an empty session, since an id from before a sign-in must be worth nothing. It may
// store nothing, since a new session's cookie would replace the newer one. But it may sign in, and
// out.

// saveGhost saves what a ghost has pending: nothing but a sign-in. It returns nil if nothing is
// pending.
func (s *Store) saveGhost(ctx context.Context, w *work, headersSent bool) (*stored, error) {
	ref := s.keys.ref(w.ghost.Key)
	now := s.now().Unix()
	var err error
	switch {
	case !w.any() && w.remember == nil:
		return nil, nil
	case w.signIn == nil || w.signIn.user == "":
		err = fmt.Errorf("%w: session %s was renewed", ErrGone, ref)
	case w.ended(s.rules, now) || w.attrs.Until <= now:
		err = fmt.Errorf("%w: before it was saved", ErrGone)
	case headersSent:
		return nil, errHeadersSent
	default:
		return s.signInGhost(ctx, w, now)
	}
	s.report(ctx, "save", ref, err)
	return nil, err
}

// ghostSignIn is the sign-in of a ghost. Its session takes the place of the one that the tombstone
// names, as long as nobody has changed that one: then its response was lost, or is late.
type ghostSignIn struct {
	tombstone string // key of the tombstone
	named     string // key of the session that it names
	replaces  bool   // that session is there
	fresh     *Record
	id        string // of fresh
	now       int64
	tx        transaction
}

func (t *table) prepareGhost(g *ghostSignIn) {
	g.tx = transaction{token: newToken()}
	t.transactPut(&g.tx, g.fresh, &expression{cond: clauses("attribute_not_exists(#i)")})

	moves := &expression{set: clauses("#mv = :new"), cond: clauses("#mv = :y")}
	moves.str(":new", g.fresh.Key)
	moves.str(":y", g.named)
	t.transactUpdate(&g.tx, g.tombstone, moves)

	if g.replaces {
		unused := &expression{cond: clauses("#r = :one", "attribute_not_exists(#mv)")}
		unused.num(":one", 1)
		t.transactPut(&g.tx, tombstone(g.named, g.fresh, g.now), unused)
	}
}

// signInGhost makes a new session in the place of the unused one that a ghost's tombstone names.
func (s *Store) signInGhost(ctx context.Context, w *work, now int64) (_ *stored, err error) {
	ctx, op := s.start(ctx, "renew", w.ghost.Key)
	defer func() { op.end(err) }()
	var g *ghostSignIn
	if before := w.repeats(); before != nil {
		g = before.ghost
	}
	if g == nil {
		id := newID()
		fresh := &Record{Key: s.keys.key(id), Rev: 1, Marks: newMark(), Meta: w.attrs}
		fresh.Expires = s.rules.Expiry(fresh.Meta, now)
		if err := s.encode(fresh, &w.vals); err != nil {
			return nil, err
		}
		g = &ghostSignIn{tombstone: w.ghost.Key, named: w.ghost.Moved, replaces: true, fresh: fresh, id: id, now: now}
		s.table.prepareGhost(g)
	}
	lost := w.unsure != nil
	for wait := (pause.Backoff{}); ; {
		done, err := s.tryGhost(ctx, op, g)
		lost = lost || op.Unanswered
		switch {
		case done:
			w.unsure = nil
			return &stored{g.fresh, g.id, w.vals}, nil
		case err == nil:
		case errors.Is(err, errBusy), errors.Is(err, errThrottled):
		default:
			if w.unsure = nil; lost {
				w.unsure = &unsure{version: w.version, doubt: noDoubt, ghost: g, id: g.id}
			}
			return nil, err
		}
		op.conflicts++
		if wait.Tries >= maxTries || wait.Wait(ctx) != nil {
			return nil, s.gaveUp(w.ghost.Key, wait.Tries, err)
		}
	}
}

// tryGhost sends g once. It reports whether g has taken effect; if it has not, and without an error,
// another try is worth it.
func (s *Store) tryGhost(ctx context.Context, op *operation, g *ghostSignIn) (done bool, err error) {
	refusals, err := s.table.transact(ctx, &op.trace, &g.tx)
	if err != nil {
		return false, err
	}
	if refusals == nil {
		return true, nil
	}
	var fresh, tomb, replaced *refusal
	fresh, tomb = refusals[0], refusals[1]
	if g.replaces {
		replaced = refusals[2]
	}
	ours := func(r *Record) bool { return r != nil && r.Creation() == g.fresh.Creation() }
	switch now := s.now().Unix(); {
	case fresh != nil && ours(fresh.item):
		return true, nil
	case fresh != nil:
		return false, fmt.Errorf("%w: the new id is taken", ErrConflict)
	case tomb != nil && tomb.item != nil && tomb.item.Tombstone && tomb.item.Moved == g.fresh.Key:
		return true, nil // it has taken effect, and what it made has ended since
	case tomb != nil && tomb.item != nil && tomb.item.Tombstone && s.keys.owns(tomb.item.Moved):
		g.named, g.replaces = tomb.item.Moved, true // another request has signed in the same way
	case tomb != nil && tomb.item != nil && s.rules.Live(tomb.item, now): // by Store.Write
		return false, s.gone(g.tombstone)
	case tomb != nil:
		return s.createGhost(ctx, op, g)
	case replaced != nil && ours(replaced.item):
		return true, nil
	case replaced != nil && replaced.item != nil && (replaced.item.Tombstone || s.rules.Live(replaced.item, now)):
		return false, s.gone(g.tombstone) // it is in use: the browser has its cookie
	case replaced != nil: // signed out
		g.replaces = false
	}
	g.now = s.now().Unix()
	s.table.prepareGhost(g)
	return false, nil
}

// createGhost creates the new session by itself, since its tombstone is gone.
func (s *Store) createGhost(ctx context.Context, op *operation, g *ghostSignIn) (done bool, err error) {
	refused, err := asRefusal(s.table.create(ctx, &op.trace, g.fresh))
	switch {
	case err != nil:
		return false, err
	case refused != nil && (refused.item == nil || refused.item.Creation() != g.fresh.Creation()):
		return false, fmt.Errorf("%w: the new id is taken", ErrConflict)
	}
	return true, nil
}

func (s *Store) gone(key string) error { return fmt.Errorf("%w: %s", ErrGone, s.keys.ref(key)) }
