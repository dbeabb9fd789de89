package dynasession

import (
	"bytes"
	"strings"

	"github.com/dynasession/dynasession/internal/protocol"
)

// A save checks the session out, works without its mutex, and settles what it has done. Changes that are made meanwhile stay
// pending.

// checkOut takes the pending changes for a save. The caller must call settle.
func (s *Session) checkOut() checkout {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := checkout{
		pending: s.pend, keys: s.keys, rec: s.rec, ghost: s.ghost, id: s.id, vals: s.vals.clone(), meta: s.meta(),
		lease: s.lease, version: s.version, unacked: s.unacked, newID: s.newID, proof: s.proof, unproven: s.unproven,
	}
	s.pend, s.saving = pending{}, pending{signIn: s.pend.signIn, remember: s.pend.remember, limit: s.pend.limit}
	return c
}

// settle ends a save with what it has stored. If res is nil, the changes are pending again. What was changed during the save
// stays pending, on top of it.
func (s *Session) settle(c *checkout, res *result, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease, s.unacked, s.saving = c.lease, c.unacked, pending{}
	if res == nil {
		s.pend = c.then(s.pend)
		if err == nil { // a new session that is not worth an item
			s.empty = c.version
		}
		return
	}
	s.version++
	if s.pend.destroy {
		s.pend.destroyed = res.rec
		return
	}
	s.rec, s.id, s.vals, s.ghost, s.unproven = res.rec, res.id, res.vals, nil, false
	if s.pend.anew() {
		s.vals = values{}
	}
	if res.rec == nil {
		s.born = s.rules.Birth(epoch(s.now()))
	}
	for i := range s.pend.changes {
		c := &s.pend.changes[i]
		if !c.popped { // what was popped must still be what is there
			c.loaded, _ = s.vals.get(c.key)
		}
		c.redundant = false // it was compared with what was there before
		if err := c.apply(&s.vals); err != nil {
			c.err = err // the next save begins with these values, and applies nothing by itself
		}
	}
}

// changed reports whether anything is pending that a save has not seen.
func (s *Session) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unseen()
}

func (s *Session) unseen() bool { return s.pend.any() && s.version != s.empty }

// atRest returns the stored session if a save would change nothing of it, and give up no lock; otherwise nil.
func (s *Session) atRest() *protocol.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease != nil || s.pend.any() {
		return nil
	}
	return s.rec
}

// end marks the request as over. It returns the lock that is still to be given up, and whether changes are left.
func (s *Session) end() (l *lease, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l = s.lease
	s.ended, s.lease = true, nil
	return l, s.unseen()
}

func (s *Session) raw(key string) ([]byte, bool) {
	raw, _, ok := s.rawAt(key)
	return raw, ok
}

func (s *Session) rawAt(key string) (raw []byte, version int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if raw, ok = s.vals.get(key); s.reserves(key) {
		return nil, s.version, false
	}
	return raw, s.version, ok
}

// mutate runs f under the mutex, and reports changes that come too late for the middleware to save.
func (s *Session) mutate(f func()) {
	s.mu.Lock()
	f()
	ended := s.ended
	s.mu.Unlock()
	if ended && s.saver != nil {
		s.saver.orphaned()
	}
}

func (s *Session) change(c change) {
	s.mutate(func() {
		if !s.reserves(c.key) {
			s.record(c)
		}
	})
}

// reserves reports whether key is not the application's.
func (s *Session) reserves(key string) bool { return s.binds && key == deviceKey }

// changeAt records c if nothing has changed since version. It reports whether it has.
func (s *Session) changeAt(version int, c change) (done bool) {
	s.mutate(func() {
		if done = s.version == version; done && !s.reserves(c.key) {
			s.record(c)
		}
	})
	return done
}

// record notes c and shows it. The value of a c with updates is what they made of the present value.
func (s *Session) record(c change) {
	old, found := s.vals.get(c.key)
	prev := s.pend.find(c.key)
	if prev == nil {
		c.key = strings.Clone(c.key) // some frameworks use the memory of a request's strings again
	}
	if c.op == opKeep && prev != nil && prev.op != opKeep && prev.err == nil {
		c.op, c.updates = opPut, nil // what is stored counts no more: f need not run again
	}
	same := c.op != opDrop && found && bytes.Equal(old, c.value) || c.op == opDrop && !found
	c.redundant = same && c.err == nil
	switch {
	case prev == nil && found:
		c.loaded = old
	case prev != nil && c.redundant && prev.err == nil && prev.op != opKeep:
		return
	}
	value, err := c.value, c.err
	if c.op == opKeep {
		c.value = nil
	}
	s.version++
	s.pend.add(c)
	switch {
	case err != nil: // the old value shows until the save fails
	case c.op == opDrop:
		s.vals.delete(c.key)
	default:
		s.vals.set(c.key, value)
	}
}
