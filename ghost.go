package dynasession

import (
	"context"
	"fmt"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/protocol"
)

// A ghost is a request whose cookie names a tombstone: its session was renewed under another id a moment ago. The browser
// has the new cookie, or will have it, unless the response was lost. The request sees an empty session, since an id from
// before a sign-in must be worth nothing. It may store nothing, since a new session's cookie would replace the newer one.
// But it may sign in, and out.

// ghostSignIn is the sign-in of a ghost. Its session takes the place of the one that the tombstone names, if nobody has
// changed that one: then the response that named it was lost, or is late.
type ghostSignIn struct {
	tombstone string // its key
	named     string // the key of the session that it names
	replaces  bool   // that session is there
	fresh     *protocol.Record
	id        string // fresh's
	write     protocol.Write
}

func (g *ghostSignIn) prepare(now int64) {
	g.write = protocol.GhostSignIn(g.tombstone, g.named, g.replaces, g.fresh, now)
}

// signInGhost makes a new session in the place of the unused one that the tombstone names.
func (s *Store) signInGhost(ctx context.Context, c *checkout) (_ *result, err error) {
	ctx, op := s.start(ctx, "renew", c.ghost.Key)
	defer func() { op.end(err) }()
	var g *ghostSignIn
	if before := c.repeated(); before != nil {
		g = before.ghost
	}
	if g == nil {
		fresh, id, err := s.newRecord(c)
		if err != nil {
			return nil, err
		}
		g = &ghostSignIn{tombstone: c.ghost.Key, named: c.ghost.Moved, replaces: true, fresh: fresh, id: id}
		g.prepare(s.now().Unix())
	}
	lost := c.unacked != nil
	for wait := (pause.Backoff{}); ; {
		out, done, err := s.tryGhost(ctx, op, g)
		lost = lost || op.stats.Unanswered
		if done {
			c.unacked = nil
			return &result{g.fresh, g.id, c.vals}, nil
		}
		if err != nil {
			if c.unacked = nil; lost {
				c.unacked = &unacked{version: c.version, firstRev: allAcked, ghost: g, id: g.id}
			}
			return nil, err
		}
		op.conflicts++
		if wait.Tries >= maxTries || wait.Wait(ctx) != nil {
			return nil, s.gaveUp(c.ghost.Key, wait.Tries, &out)
		}
	}
}

// tryGhost sends g once. It reports whether g has taken effect. If it has not, and without an error, another try is worth
// it.
func (s *Store) tryGhost(ctx context.Context, op *operation, g *ghostSignIn) (out protocol.Outcome, done bool, err error) {
	out, err = op.send(ctx, g.write)
	if err != nil || !out.Refused {
		return out, err == nil && out.Done(), err
	}
	ours := func(r *protocol.Record) bool { return r != nil && r.Creation() == g.fresh.Creation() }
	fresh, tombstone := out.Parts[0], out.Parts[1]
	var replaced protocol.Outcome
	if g.replaces {
		replaced = out.Parts[2]
	}
	switch now, t, r := s.now().Unix(), tombstone.Item, replaced.Item; {
	case fresh.Refused && ours(fresh.Item):
		return out, true, nil
	case fresh.Refused:
		return out, false, errIDTaken
	case t != nil && t.Tombstone && t.Moved == g.fresh.Key: // it has taken effect, and what it made has ended since
		return out, true, nil
	case t != nil && t.Tombstone && s.keys.owns(t.Moved): // another request has signed in the same way
		g.named, g.replaces = t.Moved, true
	case t != nil && s.rules.Live(t, now): // Store.Write has made it
		return out, false, s.gone(g.tombstone)
	case tombstone.Refused:
		return s.createGhost(ctx, op, g)
	case ours(r):
		return out, true, nil
	case r != nil && (r.Tombstone || s.rules.Live(r, now)): // it is in use: the browser has its cookie
		return out, false, s.gone(g.tombstone)
	case replaced.Refused: // it was signed out
		g.replaces = false
	}
	g.prepare(s.now().Unix())
	return out, false, nil
}

// createGhost creates the new session by itself, since its tombstone is gone.
func (s *Store) createGhost(ctx context.Context, op *operation, g *ghostSignIn) (protocol.Outcome, bool, error) {
	out, err := op.send(ctx, protocol.Create(g.fresh))
	switch {
	case err != nil:
		return out, false, err
	case out.Refused && (out.Item == nil || out.Item.Creation() != g.fresh.Creation()):
		return out, false, fmt.Errorf("%w: session %s", errIDTaken, s.keys.ref(g.fresh.Key))
	}
	return out, !out.Busy, nil
}
