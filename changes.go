package dynasession

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/dynasession/dynasession/internal/protocol"
)

// An update is one call of Update. It returns the new encoding of a key for the one that it finds, which is nil if
// there is none. It runs again on every item that a merge finds.
type update func(old []byte) ([]byte, error)

type changeOp int

const (
	opKeep changeOp = iota // keeps the stored value, and runs updates on it
	opPut                  // sets value
	opDrop                 // deletes the key
)

// change is what a request did to one key.
type change struct {
	key       string
	op        changeOp
	value     []byte   // of opPut
	updates   []update // of opKeep
	loaded    []byte   // what was there before the first change; nil: nothing
	popped    bool     // the save holds only while the table still has what was loaded
	redundant bool     // it sets the value that was loaded: it does not cause a write, but is part of one
	err       error    // of encoding; fails the save until the key is set or deleted again
}

// apply puts c onto v, which is the session as it is stored.
func (c *change) apply(v *values) error {
	if c.err != nil {
		return c.err
	}
	old, found := v.get(c.key)
	if c.popped && (found != (c.loaded != nil) || !bytes.Equal(old, c.loaded)) {
		return fmt.Errorf("%w: key %q was taken or changed", ErrConflict, c.key)
	}
	switch c.op {
	case opPut:
		v.set(c.key, c.value)
	case opDrop:
		v.delete(c.key)
	case opKeep:
		if !found {
			old = nil
		}
		value, err := runUpdates(c.updates, old)
		if err != nil {
			return fmt.Errorf("dynasession: updating key %q: %w", c.key, err)
		}
		if value != nil {
			v.set(c.key, value)
		}
	}
	return nil
}

func runUpdates(updates []update, value []byte) ([]byte, error) {
	for _, f := range updates {
		var err error
		if value, err = f(value); err != nil {
			return nil, err
		}
	}
	return value, nil
}

// then returns the one change that is c followed by next.
//
//	c \ next   put or drop     update
//	put        next            put, with the update applied
//	drop       next            put, with the update applied to no value
//	update     next            both updates, in their order
func (c change) then(next change) change {
	switch {
	case next.op != opKeep || next.err != nil:
		// If this request itself put the value that it pops, no other request can have popped it, and nothing is
		// compared. If the put did not encode, or put the stored value, the stored value was popped.
		next.popped = c.popped || next.popped && (c.op == opKeep || c.err != nil || c.redundant)
		next.loaded = c.loaded
		next.redundant = next.redundant && c.redundant
		if c.popped && next.err == nil { // the stored value was popped and must still be compared: a later Set does not change that
			next.err = c.err
		}
		return next
	case c.err != nil:
		return c
	case c.op == opKeep:
		c.updates = append(slices.Clip(c.updates), next.updates...)
		c.redundant = c.redundant && next.redundant
		return c
	}
	// Updates of a key whose stored value counts no more: they run once, here.
	value, err := runUpdates(next.updates, c.value)
	c.op, c.value, c.err, c.redundant = opPut, value, err, c.redundant && next.redundant
	return c
}

// signIn is what SetUser leaves for the save.
type signIn struct {
	user string
	at   int64
	anew bool // another user was signed in: nothing of that session stays
}

// remembering is what Remember leaves for the save: idle seconds from at, or 0 for no longer. A redundant one changes
// nothing of what was loaded, but may change what a merge finds.
type remembering struct {
	idle, at  int64
	redundant bool
	implied   bool // by SetUser, which undoes an earlier request's Remember
}

// pending is everything that a request did to its session and that is not saved yet.
type pending struct {
	changes   []change
	guards    []change       // pops of values that a change of user has deleted
	places    map[string]int // of changes, once there are more than linearKeys
	signIn    *signIn
	remember  *remembering
	limit     int64 // LimitTo's end; 0: none
	renew     bool
	destroy   bool             // first of all, the session that was there ends
	destroyed *protocol.Record // its item, if it had one
}

// writes reports whether p has anything that an item must be written for. longAgo says that the session was loaded
// long ago and may have changed since: then redundant changes count too.
func (p *pending) writes(longAgo bool) bool {
	if p.signIn != nil || p.remembers() || p.limit != 0 {
		return true
	}
	return slices.ContainsFunc(p.changes, func(c change) bool { return longAgo || !c.redundant })
}

func (p *pending) remembers() bool {
	return p.remember != nil && !p.remember.redundant && !p.remember.implied
}

// lasts reports whether p may change how long the session lasts.
func (p *pending) lasts() bool { return p.remembers() || p.limit != 0 || p.signIn != nil }

// anew reports whether the session keeps nothing that it had before p.
func (p *pending) anew() bool { return p.signIn != nil && p.signIn.anew }

// dropValues forgets the changes of values that a change of user deletes. A value that was popped must still be in
// the table.
func (p *pending) dropValues() {
	for _, c := range p.changes {
		if c.popped {
			p.guards = append(p.guards, change{key: c.key, op: opKeep, popped: true, loaded: c.loaded})
		}
	}
	p.changes, p.places = nil, nil
}

// onto applies p to the values of an item.
func (p *pending) onto(vals values) (values, error) {
	for _, c := range p.guards {
		if err := c.apply(&vals); err != nil {
			return values{}, err
		}
	}
	if p.anew() {
		vals = values{}
	}
	for i := range p.changes {
		if err := p.changes[i].apply(&vals); err != nil {
			return values{}, err
		}
	}
	return vals, nil
}

func (p *pending) any() bool { return p.writes(true) || p.renew || p.destroy }

func (p *pending) find(key string) *change {
	if p.places != nil {
		if i, ok := p.places[key]; ok {
			return &p.changes[i]
		}
		return nil
	}
	for i := range p.changes {
		if p.changes[i].key == key {
			return &p.changes[i]
		}
	}
	return nil
}

func (p *pending) add(c change) {
	if old := p.find(c.key); old != nil {
		if old.op == opKeep && c.op == opKeep && old.err == nil && c.err == nil {
			// As then does, but in place: a copy for each Update of a loop would add up.
			old.updates, old.redundant = append(old.updates, c.updates...), old.redundant && c.redundant
			return
		}
		*old = old.then(c)
		return
	}
	p.changes = append(p.changes, c)
	switch n := len(p.changes); {
	case p.places != nil:
		p.places[c.key] = n - 1
	case n > linearKeys:
		p.places = make(map[string]int, 4*n)
		for i := range p.changes {
			p.places[p.changes[i].key] = i
		}
	}
}

// then returns the one pending that is p followed by next.
func (p *pending) then(next pending) pending {
	if next.destroy {
		if p.destroy {
			next.destroyed = p.destroyed // what was between the two never was stored
		}
		return next
	}
	out := *p
	if next.anew() {
		out.dropValues()
	}
	out.guards = append(slices.Clip(out.guards), next.guards...)
	for _, c := range next.changes {
		out.add(c)
	}
	if s := next.signIn; s != nil {
		out.signIn = &signIn{s.user, s.at, s.anew || out.anew()}
		if s.anew {
			out.limit = 0
		}
	}
	if r := next.remember; r != nil && (!r.redundant || out.remember == nil) {
		out.remember = r
	}
	out.limit = earlier(out.limit, next.limit)
	out.renew = out.renew || next.renew
	return out
}

// attrs applies p to a. Until is only ever lowered, except by Remember, which may raise it as far as Limit.
func (p *pending) attrs(a protocol.Meta, lifetime int64) protocol.Meta {
	was := a.Idle // not 0: the session was remembered
	if p.signIn != nil {
		if p.signIn.anew {
			a = protocol.Meta{Born: p.signIn.at, Until: p.signIn.at + lifetime}
		}
		a.User, a.Auth = p.signIn.user, p.signIn.at
		if a.User == "" {
			a.Auth = 0
		}
	}
	if p.limit != 0 {
		a.Limit = earlier(a.Limit, p.limit)
		a.Until = earlier(a.Until, p.limit)
	}
	if p.remember != nil && (a.Idle != 0 || !p.remember.implied) {
		a.Idle = p.remember.idle
		if p.signIn != nil && was != 0 && a.Idle == 0 && a.Born+lifetime <= p.signIn.at {
			a.Born = p.signIn.at // its Lifetime was over
		}
		a.Until = a.Born + lifetime
		if a.Idle != 0 {
			a.Until = p.remember.at + a.Idle
		}
		a.Until = earlier(a.Until, a.Limit)
	}
	return a
}

// earlier returns the earlier of two times; 0 means no time.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
