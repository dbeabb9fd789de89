package dynasession

import (
	"context"
	"fmt"
	"slices"

	"github.com/dynasession/dynasession/internal/pause"
	"github.com/dynasession/dynasession/internal/protocol"
)

const (
	// maxTries bounds how often a save merges with what others have written and tries again, beside Config.Timeout.
	maxTries = 64
	// allAcked is the first unanswered rev of a save whose tries were all answered.
	allAcked = -1
)

// attempt is a save of a session that has an item, over all its tries.
type attempt struct {
	*checkout
	store    *Store
	op       *operation
	mark     string   // of all the tries
	earlier  []string // the marks of unanswered saves before it, whose changes it has too
	creation string   // the mark of the session that was loaded; "" for an item of PHP's
	base     *protocol.Record
	vals     values // base's, with the changes on top

	firstUnacked int64             // the rev that the first unanswered try was made on, of this save or one before it; or allAcked
	lost         bool              // a try of this save got no answer
	busy         *protocol.Outcome // of the last try, if it said nothing of the item
	renewal      *renewal
	pause        pause.Backoff
	leave        func() // gives up the place among the saves of this process that were refused; nil before
}

// renewal is the transaction of a renewal. It is repeated as it is, so that DynamoDB recognizes it.
type renewal struct {
	fresh *protocol.Record
	id    string
	write protocol.Write
}

// write stores the changes of a session that has an item: in that item or, renewed, in another one in its place.
func (s *Store) write(ctx context.Context, c *checkout) (_ *result, err error) {
	name := "save"
	if c.renew {
		name = "renew"
	}
	ctx, op := s.start(ctx, name, c.rec.Key)
	defer func() { op.end(err) }()
	a := attempt{
		store: s, checkout: c, op: op,
		mark: protocol.NewMark(), creation: c.rec.Creation(),
		base: c.rec, vals: c.vals, firstUnacked: allAcked,
	}
	if before := c.repeated(); before != nil && before.mark != "" {
		a.mark, a.earlier, a.firstUnacked, a.renewal, a.lost = before.mark, before.earlier, before.firstRev, before.renewal, true
	} else if before := c.unacked; before != nil && before.mark != "" {
		a.earlier, a.firstUnacked = append(slices.Clip(before.earlier), before.mark), before.firstRev
	}
	defer a.leaveQueue()
	for {
		res, err := a.try(ctx)
		if err == nil && res == nil {
			res, err = a.awaitTry(ctx)
		}
		if err != nil || res != nil {
			a.remember(err)
			a.hand(res)
			return res, err
		}
	}
}

// try sends the save once. It returns nil and nil if the save was refused and another try is worth it.
func (a *attempt) try(ctx context.Context) (*result, error) {
	s, now := a.store, a.store.now().Unix()
	meta := a.attrs(s.rules.Stamped(a.base.Meta, now), s.rules.Lifetime)
	end := s.rules.Extend(a.base, meta, now)
	// Saving would store a session that is already over. If the loaded copy is over too, another request may have
	// extended it: the condition decides.
	if end.Expires <= now && (s.rules.Live(a.base, now) || s.cfg.Concurrency == LastWriteWins && !a.renew) {
		return nil, fmt.Errorf("%w: session %s: its time is over", ErrGone, a.keys.ref(a.base.Key))
	}
	next, id, write, err := a.prepare(meta, end, now)
	if err != nil {
		return nil, err
	}
	out, err := a.op.call(ctx, write)
	if a.op.stats.Unanswered {
		a.lost = true
		if a.firstUnacked == allAcked && !a.renew {
			a.firstUnacked = a.base.Rev
		}
	}
	if err == nil && a.renew {
		if out, err = protocol.Renewed(out, next); err != nil {
			err = errIDTaken
		}
	}
	if err != nil {
		return nil, s.unwritable(a.base.Key, err)
	}
	if a.busy = nil; out.Busy || out.Throttled {
		a.busy = &out
		a.op.conflicts++
		return nil, nil
	}
	if out.Done() {
		if out.Item != nil { // LastWriteWins: others may have moved rev
			next.Rev = out.Item.Rev
		}
		return &result{next, id, a.vals}, nil
	}
	if a.renew { // no try of it has taken effect, since the old item is there
		a.renewal, a.lost = nil, false
	}
	res, err := a.rebase(out.Item, now)
	if res == nil {
		a.op.conflicts++
	}
	return res, err
}

// prepare returns the record that the next try stores, its id, and the write that stores it.
func (a *attempt) prepare(meta protocol.Meta, end protocol.Extension, now int64) (next *protocol.Record, id string, w protocol.Write, err error) {
	s := a.store
	var lease *protocol.Lease
	if a.lease != nil {
		lease = &a.lease.Lease
	}
	if a.renew {
		if a.renewal == nil {
			id, bound := s.renewedID(a)
			fresh := &protocol.Record{Key: s.keys.key(id), Meta: meta, Expires: end.Expires, Rev: 1, Marks: a.mark}
			if err := s.encode(fresh, &a.vals); err != nil {
				return nil, "", w, err
			}
			a.renewal = &renewal{fresh, id, s.rules.Renew(a.base, fresh, bound, lease, now)}
		}
		return a.renewal.fresh, a.renewal.id, a.renewal.write, nil
	}
	next = &protocol.Record{
		Key: a.base.Key, Meta: meta, Expires: end.Expires,
		Rev: a.base.Rev + 1, Marks: a.base.MarksWith(a.mark), Lock: a.base.Lock, Holder: a.base.Holder,
	}
	if lease != nil {
		next.Lock, next.Holder = 0, ""
	}
	if err := s.encode(next, &a.vals); err != nil {
		return nil, "", w, err
	}
	merge := s.cfg.Concurrency != LastWriteWins
	return next, a.id, s.rules.Save(protocol.Save{
		Base: a.base, Next: next, End: end, Now: now, Merge: merge, Lease: lease, ReturnRev: s.cfg.EventualReads && !merge,
	}), nil
}

// rebase puts the changes onto what another request has written. The order of its cases counts: see section 3 of
// internal/protocol/README.md.
func (a *attempt) rebase(item *protocol.Record, now int64) (*result, error) {
	s := a.store
	ref := a.keys.ref(a.base.Key)
	switch {
	case item != nil && item.HasMark(a.mark): // an earlier try has taken effect
		vals, err := s.values(item)
		return &result{item, a.id, vals}, err
	case item != nil && slices.ContainsFunc(a.earlier, item.HasMark): // the changes of that save must not count twice
		return nil, fmt.Errorf("%w: session %s: an unanswered save of it took effect", ErrConflict, ref)
	case item == nil || !s.rules.Live(item, now) || a.creation != "" && item.Creation() != a.creation:
		return nil, s.gone(a.base.Key)
	case a.lease != nil && !a.lease.Holds(item):
		return nil, fmt.Errorf("%w: session %s", ErrLockLost, ref)
	case s.rules.SameAs(item, a.base): // nobody has written it, and yet it refuses
		return nil, corruptHere(ref, errUnwritable)
	case s.cfg.Concurrency == LastWriteWins && !a.renew: // only its end differs
		a.base, a.creation = item, item.Creation()
		return nil, nil
	case a.firstUnacked != allAcked && item.Rev-a.firstUnacked > protocol.KeptMarks:
		return nil, fmt.Errorf("%w: session %s: an unanswered write may have been overwritten", ErrConflict, ref)
	}
	vals, err := s.values(item)
	if err != nil {
		return nil, err
	}
	if vals, err = a.onto(vals); err != nil {
		return nil, err
	}
	if a.creation == "" {
		a.creation = item.Creation()
	}
	a.base, a.vals = item, vals
	return nil, nil
}

// unwritable returns err, as an ErrCorrupt if it says that no write of a save can take effect.
func (s *Store) unwritable(key string, err error) error {
	if isUnwritable(err) {
		return corruptHere(s.keys.ref(key), err)
	}
	return err
}

func (s *Store) gone(key string) error { return fmt.Errorf("%w: %s", ErrGone, s.keys.ref(key)) }

// awaitTry waits until another try is worth it.
func (a *attempt) awaitTry(ctx context.Context) (*result, error) {
	if a.leave == nil {
		return a.joinQueue(ctx)
	}
	if a.pause.Tries >= maxTries || a.pause.Wait(ctx) != nil {
		return nil, a.store.gaveUp(a.base.Key, a.pause.Tries, a.busy)
	}
	return nil, nil
}

// gaveUp returns the error of a save whose last try met busy, or, if that is nil, was refused.
func (s *Store) gaveUp(key string, tries int, busy *protocol.Outcome) error {
	state := ErrConflict
	if busy != nil && busy.Throttled {
		state = ErrUnavailable
	}
	return fmt.Errorf("%w: session %s: gave up after %d tries", state, s.keys.ref(key), tries)
}

// remember notes, after an error, what a repetition of the save must know.
func (a *attempt) remember(err error) {
	switch {
	case err == nil:
		a.unacked = nil
	case a.op.stats.Unanswered || a.lost:
		a.unacked = &unacked{version: a.version, mark: a.mark, earlier: a.earlier, firstRev: a.firstUnacked, renewal: a.renewal}
	}
}

// joinQueue waits for the other saves of this process that merge onto the item. It then starts from what the last of them
// stored, so that most tries are not refused. Other processes may have written the item since; the condition finds that out.
func (a *attempt) joinQueue(ctx context.Context) (*result, error) {
	key, queue := a.base.Key, &a.store.merges
	turn, leave := queue.Join(key)
	a.leave = leave
	select {
	case <-turn:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: session %s: %w", ErrConflict, a.keys.ref(key), ctx.Err())
	}
	if a.store.cfg.Concurrency != Merge || a.lease != nil || a.renewal != nil {
		return nil, nil // what others have stored is no base
	}
	if last := queue.Handed(key); last != nil && last.Rev > a.base.Rev && last.Creation() == a.base.Creation() {
		return a.rebase(last, a.store.now().Unix())
	}
	return nil, nil
}

// hand leaves what was stored to the next save of this process.
func (a *attempt) hand(res *result) {
	if a.leave != nil && res != nil && res.rec.Key == a.base.Key {
		a.store.merges.Hand(a.base.Key, res.rec)
	}
}

func (a *attempt) leaveQueue() {
	if a.leave != nil {
		a.leave()
	}
}

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
	out, err = op.call(ctx, g.write)
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
	out, err := op.call(ctx, protocol.Create(g.fresh))
	switch {
	case err != nil:
		return out, false, err
	case out.Refused && (out.Item == nil || out.Item.Creation() != g.fresh.Creation()):
		return out, false, fmt.Errorf("%w: session %s", errIDTaken, s.keys.ref(g.fresh.Key))
	}
	return out, !out.Busy, nil
}
