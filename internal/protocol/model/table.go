package model

import "slices"

// apply carries a call out as DynamoDB does: all of it, or, where a condition does not hold, nothing. It returns the
// item that refused it.
func (e *explorer) apply(s *state, i int8, o *op) (ok bool, old item) {
	switch o.kind {
	case opPut:
		if at := s.items[o.key]; at.there && e.sc.has(absentID) {
			return false, at
		}
		s.items[o.key] = o.next
		e.born(s, int(i))
	case opWrite: // a live session keeps its marks: running requests merge
		if at := s.items[o.key]; at.live(o.now) {
			at.vals, at.rev = at.vals|o.next.vals, at.rev+1
			s.items[o.key] = at
			return true, item{}
		}
		s.items[o.key] = o.next
	case opSave:
		at := s.items[o.key]
		if !e.holds(&at, o) {
			return false, at
		}
		if at.there && !at.tomb && at.line != o.base.line {
			e.fail("a save has changed another session")
		}
		if e.sc.policy == lock && at.lease != 0 && at.lease != o.lease {
			e.fail("a save has passed over another's lock")
		}
		next := o.next
		if e.sc.policy == lastWins {
			next.rev = at.rev + 1
		}
		if at.tomb { // an update leaves what it does not set
			next.tomb, next.moved, next.until = true, at.moved, at.until
			e.fail("a tombstone was changed")
		}
		if !at.live(o.now) {
			e.fail("a session that had ended was saved")
		}
		s.items[o.key] = next
	case opRenew:
		at := s.items[o.key]
		if s.items[o.to].there && e.sc.has(absentID) {
			return false, s.items[o.to]
		}
		if !e.holds(&at, o) {
			return false, at
		}
		s.items[o.to] = o.next
		s.items[o.key] = item{}
		if e.sc.has(leaves) {
			s.items[o.key] = item{there: true, tomb: true, key: o.key, creation: o.next.creation, until: o.now + grace, moved: o.to, line: o.next.line}
		}
		e.onlyOne(s, o.next.line)
	case opDelete:
		at := s.items[o.key]
		switch {
		case at.there && at.tomb && e.sc.has(follows):
			return false, at
		case at.there && !o.any && at.creation != o.base.creation && e.sc.has(markOfDelete):
			return false, at
		}
		if at.there && !at.tomb && !o.any && at.creation != o.base.creation {
			e.fail("a logout has ended another session")
		}
		s.items[o.key] = item{}
	case opGhost:
		at, named := s.items[o.tombstone], s.items[o.key]
		switch {
		case s.items[o.to].there && e.sc.has(absentID):
			return false, s.items[o.to]
		case e.sc.has(ghostNames) && (!at.tomb || at.moved != o.key):
			return false, at
		case o.replaces && e.sc.has(ghostUnused) && (named.rev != 1 || named.tomb):
			return false, named
		}
		if o.replaces && named.live(o.now) && (named.rev != 1 || named.creation == 0) {
			e.fail("a late sign-in has ended a session in use")
		}
		s.items[o.to] = o.next
		if at.tomb {
			s.items[o.tombstone].moved = o.to
		}
		if o.replaces {
			s.items[o.key] = item{there: true, tomb: true, key: o.key, creation: o.next.creation, until: o.now + grace, moved: o.to, line: o.next.line}
		}
		e.onlyOne(s, o.next.line)
	}
	return true, item{}
}

// holds reports whether the condition of a save or renewal holds for an item.
func (e *explorer) holds(at *item, o *op) bool {
	switch {
	case !at.there:
		return !e.sc.has(stillLive) && o.kind == opSave
	case at.odd:
		return false
	case at.tomb && e.sc.has(dead):
		return false
	case !at.tomb && e.sc.has(stillLive) && !at.live(o.now):
		return false
	case !at.tomb && e.sc.has(sameSession) && at.creation != o.base.creation:
		return false
	case o.lease != 0 && e.sc.has(fencesLease) && at.lease != o.lease:
		return false
	case o.kind == opRenew && e.sc.has(renewUnchanged) && at.rev != o.base.rev:
		return false
	case o.kind == opSave && e.sc.policy != lastWins && e.sc.has(unchanged) && at.rev != o.base.rev:
		return false
	}
	return true
}

// answer is what the store makes of a call's answer.
func (e *explorer) answer(s state, i int, ok bool, old item) {
	p, d := &s.procs[i], e.sc.deeds[i]
	o := p.op
	me := int8(i + 1)
	finish := func(v verdict) {
		p.verdict, p.stage, p.op = v, answered, op{}
		e.acknowledge(&s, i, &o)
		e.push(s)
	}
	switch {
	case ok:
		finish(acked)
	case o.kind == opDelete:
		if !old.tomb || !e.sc.has(follows) { // of another session: what was loaded is over
			finish(acked)
			return
		}
		if p.steps++; p.steps > 4 {
			finish(conflict)
			return
		}
		p.op = op{kind: opDelete, key: old.moved, any: true, now: s.now}
		e.push(s)
	case old.signed(me) && e.sc.has(ownMark):
		finish(acked)
	case o.kind == opGhost && old.tomb && old.moved == o.to: // an earlier try took effect, and what it made has ended
		finish(acked)
	case o.kind == opGhost && old.tomb && old.key == o.tombstone: // somebody signed in the same way
		p.op.key, p.op.replaces = old.moved, e.sc.has(ghostReplaces)
		p.loaded.moved = old.moved
		if p.tries++; p.tries > 4 {
			finish(conflict)
			return
		}
		e.push(s)
	case o.kind == opGhost && !old.there && old.key == 0 && !s.items[o.key].there:
		p.op.replaces = false // signed out
		if p.tries++; p.tries > 4 {
			finish(conflict)
			return
		}
		e.push(s)
	case o.kind == opGhost:
		finish(gone)
	case !old.live(s.now) || old.creation != p.loaded.creation && e.sc.has(sameSession):
		finish(gone)
	case old.odd && e.sc.has(unwritable):
		finish(corrupt)
	case p.doubt != 0 && old.rev > p.doubt+e.kept() && e.sc.has(scrolledOut):
		finish(conflict)
	case o.lease != 0 && old.lease != o.lease:
		finish(gone)
	case d == pop && old.vals&token == 0 && e.sc.has(popConflict):
		finish(conflict)
	default:
		if p.tries++; p.tries > 4 {
			if old.odd {
				e.fail("an item that cannot be written is tried again and again")
			}
			finish(conflict)
			return
		}
		keep := p.loaded
		p.loaded = old
		p.loaded.user = keep.user // whether the user changes was decided at the call
		e.plan(&s, i)
		if p.op.kind == opSave || p.op.kind == opRenew {
			p.op.base.creation = keep.creation
			if user(d) == 0 {
				p.op.next.user = old.user
			}
		}
		e.push(s)
	}
}

func (e *explorer) kept() int8 {
	if e.sc.kept != 0 {
		return e.sc.kept
	}
	return 3
}

// acknowledge notes the answer that the browser gets.
func (e *explorer) acknowledge(s *state, i int, o *op) {
	p, d := &s.procs[i], e.sc.deeds[i]
	if p.verdict != acked {
		return
	}
	switch o.kind {
	case opPut, opRenew, opGhost:
		p.cookie = int8(i+1) + 1
	case opDelete:
		p.cookie = -1
		for k := range s.items {
			if it := &s.items[k]; it.live(s.now) && it.line == p.line && p.line != 0 && !e.later(s, it, i) {
				e.fail("a logout is acknowledged, and the session lives")
			}
		}
	}
	switch d {
	case pop:
		if o.kind == opSave {
			if s.pops++; s.pops > 1 && e.sc.policy != lastWins {
				e.fail("a token is spent twice")
			}
		}
	case set:
		if o.kind == opSave {
			s.values |= bit(i)
		}
	case count:
		if o.kind == opSave {
			s.counts++
		}
	}
}

// later reports whether an item was made by a sign-in that may have come after the logout of i.
func (e *explorer) later(s *state, it *item, i int) bool {
	by := int(it.creation) - 1
	return by >= 0 && by < len(e.sc.deeds) && by != i && s.procs[by].ghost
}

// born checks a session that a request with a cookie makes anew.
func (e *explorer) born(s *state, i int) {
	from := s.procs[i].from
	if from == 0 {
		return
	}
	at := s.items[from-1]
	if at.tomb && at.until > s.now && s.items[at.moved].live(s.now) && s.procs[i].ghost {
		e.fail("a request with the old cookie makes a session, whose cookie replaces the newer one")
	}
}

// onlyOne checks that a session lives under one id.
func (e *explorer) onlyOne(s *state, line int8) {
	n := 0
	for k := range s.items {
		if it := &s.items[k]; it.live(s.now) && it.line == line {
			n++
		}
	}
	if n > 1 {
		e.fail("a session lives under two ids")
	}
}

// respond delivers a response, or loses it.
func (e *explorer) respond(s state, i int) {
	p := &s.procs[i]
	if e.sc.policy == lock && p.loaded.there {
		for k := range s.items { // the lock is given up
			if s.items[k].lease == int8(i+1) {
				s.items[k].lease = 0
			}
		}
	}
	if s.drops > 0 {
		n := s
		n.drops--
		n.procs[i].stage = over
		e.push(n)
	}
	p.stage = over
	if !e.sc.fixed[i] {
		switch {
		case p.cookie > 0:
			s.browser = p.cookie
		case p.cookie < 0:
			s.browser = 0
		}
	}
	e.push(s)
}

// judge looks at a state in which nothing is under way.
func (e *explorer) judge(s *state) {
	loggedOut, signIns, sure := false, 0, e.sc.lost == 0
	for i, d := range e.sc.deeds {
		p := &s.procs[i]
		loggedOut = loggedOut || d == logout && p.verdict == acked
		if (d == login || d == loginOther || d == renew) && p.verdict != gone && p.verdict != pending {
			signIns++
		}
		sure = sure && p.verdict != unknown
	}
	for k := range s.items {
		it := &s.items[k]
		if it.line != 1 || !it.live(s.now) {
			continue
		}
		if e.sc.signed && it.user == 2 && it.vals&token != 0 {
			e.fail("one user's values are the next one's")
		}
		if e.sc.policy == lastWins || signedAnew(e.sc) {
			continue
		}
		ghosts := it.creation != 9 && s.procs[it.creation-1].ghost
		if missing := s.values &^ it.vals; missing != 0 && !ghosts {
			e.fail("an acknowledged change is lost")
		}
		if !ghosts && (it.count < s.counts || sure && it.count > s.counts || it.count > counters(e.sc)) {
			e.fail("an update is lost, or counted twice")
		}
	}
	if s.drops == e.sc.drops && sure && !loggedOut && signIns == 1 && len(e.sc.fixed) == 0 && s.now == 0 {
		if s.browser == 0 || !s.items[s.browser-1].live(s.now) {
			e.fail("the browser has lost the cookie of a session that lives")
		}
	}
}

func signedAnew(sc *scenario) bool {
	return slices.Contains(sc.deeds, loginOther)
}

func counters(sc *scenario) (n int8) {
	for _, d := range sc.deeds {
		if d == count {
			n++
		}
	}
	return n
}
