// Package model checks the storage protocol by trying all interleavings of a few requests within small
// bounds: lost answers, lost responses, late copies, steps of the clock. It is written from the protocol, and
// knows nothing of the code that keeps it.
//
// A state is the table, the requests and one browser. Each clause of a condition can be left out, and then some
// scenario breaks a promise: see ablations.
package model

// A clause is a part of the protocol that can be left out.
type clause string

const (
	sameSession    clause = "a save asks for the creation mark"
	unchanged      clause = "a save asks for the revision"
	stillLive      clause = "a save asks whether the session is live"
	ownMark        clause = "a refusal by the own mark is a success"
	popConflict    clause = "a rebase asks for the popped value"
	absentID       clause = "a new id must be absent"
	renewUnchanged clause = "a renewal asks for the revision"
	leaves         clause = "a renewal leaves a tombstone"
	dead           clause = "a tombstone is dead: its until is 1, and its mark another's"
	follows        clause = "a logout follows tombstones"
	markOfDelete   clause = "a logout deletes only what it has loaded, or follows"
	ghostReads     clause = "a ghost sees nothing of the new session"
	ghostChanges   clause = "a ghost's change is refused"
	ghostReplaces  clause = "a ghost's sign-in ends the unused session"
	ghostNames     clause = "a ghost's sign-in asks what the tombstone names"
	ghostUnused    clause = "a ghost's sign-in asks whether the session is unused"
	dropsValues    clause = "a change of user drops the values, on a rebase too"
	comparesKeys   clause = "the key of an answer is compared"
	scrolledOut    clause = "a try without an answer whose mark may have scrolled out is a conflict"
	unwritable     clause = "an item that refuses what it equals is not tried again"
	fencesLease    clause = "a save under a lease asks for the lease"
)

type policy int8

const (
	merge policy = iota
	lock
	lastWins
)

type deed int8

const (
	read  deed = iota
	set        // a value of the request's own
	count      // an update
	pop        // of the token
	login      // of the first user
	loginOther
	renew
	logout
	write // Store.Write, under the first id
)

const (
	maxKeys  = 6 // X, one for each request that makes a session, and another browser's
	maxProcs = 4
	token    = 1 // bit of the values
	grace    = 2 // ticks
)

// item is one of the table. Lineage is not in the table: it names the session over all its ids.
type item struct {
	there, tomb, odd bool
	key              int8 // which it is of; another one in an answer that was mixed up
	rev, creation    int8
	marks            [3]int8 // of the last writes, newest first
	vals             uint8
	count, user      int8
	until            int8 // the clock at which it is over; of a tombstone its end
	moved            int8
	lease            int8 // who has locked it, from 1
	line             int8
}

func (i *item) live(now int8) bool { return i.there && !i.tomb && i.until > now }

type opKind int8

const (
	noOp opKind = iota
	opGet
	opPut
	opSave
	opRenew
	opDelete
	opGhost
	opWrite
)

// op is a call on its way.
type op struct {
	kind      opKind
	key, to   int8
	tombstone int8 // opGhost: key of the tombstone
	replaces  bool // opGhost
	base      item // what the conditions are made of
	next      item
	any       bool // opDelete: whatever is no tombstone
	lease     int8
	now       int8
}

type stage int8

const (
	idle stage = iota
	loading
	saving
	answered // the response is on its way
	over
)

type verdict int8

const (
	pending verdict = iota
	acked
	gone
	conflict
	corrupt
	unknown // no answer
)

type proc struct {
	stage   stage
	from    int8 // the cookie
	loaded  item
	ghost   bool
	op      op
	tries   int8
	verdict verdict
	cookie  int8 // that the response sets, from 1; -1: cleared
	served  uint8
	steps   int8
	doubt   int8 // the revision of the first try without an answer; 0: none
	line    int8
}

type state struct {
	items   [maxKeys]item
	procs   [maxProcs]proc
	browser int8 // its cookie, a key + 1; 0: none
	now     int8
	late    op
	lateOf  int8
	lost    int8 // answers that may still be lost
	drops   int8 // responses
	copies  int8
	mixed   int8 // answers that may be mixed up
	stolen  bool // a lease has run out
	pops    int8
	counts  int8
	values  uint8 // that were acknowledged
}

// scenario is what happens, and what must hold.
type scenario struct {
	name    string
	policy  policy
	deeds   []deed
	fixed   map[int]bool // requests that come with the first cookie, whatever the browser has
	ticks   int8
	lost    int8
	drops   int8
	copies  int8
	mixed   int8
	steals  bool
	kept    int8 // how many marks an item keeps; 0: 3
	odd     bool // the item's rev is no number
	signed  bool // the first user is signed in
	without clause
}

func (sc *scenario) has(c clause) bool { return sc.without != c }

func (sc *scenario) start() state {
	s := state{browser: 1, lost: sc.lost, drops: sc.drops, copies: sc.copies, mixed: sc.mixed}
	s.items[0] = item{there: true, rev: 1, creation: 9, vals: token, until: 9, line: 1, odd: sc.odd}
	if sc.signed {
		s.items[0].user = 1
	}
	s.items[maxKeys-1] = item{there: true, key: maxKeys - 1, rev: 1, creation: 8, vals: 1 << 7, until: 9, line: 9, user: 3} // another browser's
	return s
}

// violation is a promise that is broken.
type violation string

// explorer goes through all states.
type explorer struct {
	sc    *scenario
	seen  map[state]struct{}
	stack []state
	fault violation
}

// check returns the first promise that a scenario breaks, and how many states there are.
func (sc *scenario) check() (violation, int) {
	e := &explorer{sc: sc, seen: map[state]struct{}{}}
	e.push(sc.start())
	for len(e.stack) > 0 && e.fault == "" {
		s := e.stack[len(e.stack)-1]
		e.stack = e.stack[:len(e.stack)-1]
		e.expand(s)
	}
	return e.fault, len(e.seen)
}

func (e *explorer) push(s state) {
	if _, ok := e.seen[s]; !ok {
		e.seen[s] = struct{}{}
		e.stack = append(e.stack, s)
	}
}

func (e *explorer) fail(what violation) {
	if e.fault == "" {
		e.fault = what
	}
}

// expand pushes all states that follow s.
func (e *explorer) expand(s state) {
	moved := false
	for i := range e.sc.deeds {
		p := &s.procs[i]
		switch p.stage {
		case idle:
			moved = true
			e.begin(s, i)
		case loading, saving:
			if p.op.kind == opGet && e.sc.policy == lock && e.blocked(&s, i) {
				continue
			}
			moved = true
			e.call(s, i)
		case answered:
			moved = true
			e.respond(s, i)
		}
	}
	if s.late.kind != noOp { // a copy arrives
		n := s
		n.late = op{}
		e.apply(&n, n.lateOf, &s.late)
		e.push(n)
	}
	if s.now < e.sc.ticks {
		n := s
		n.now++
		e.push(n)
	}
	if !moved {
		e.judge(&s)
	}
}

func (e *explorer) blocked(s *state, i int) bool {
	it := &s.items[s.procs[i].op.key]
	return it.live(s.now) && it.lease != 0 && it.lease != int8(i+1) && (!e.sc.steals || s.stolen)
}

func (e *explorer) begin(s state, i int) {
	p := &s.procs[i]
	p.from = s.browser
	if e.sc.fixed[i] {
		p.from = 1
	}
	p.stage = loading
	p.op = op{kind: opGet, key: p.from - 1}
	if p.from == 0 { // nothing to load
		p.op = op{}
		e.decide(&s, i, nil)
		return
	}
	e.push(s)
}

// call carries the pending call out, and lets its answer come, or be lost.
func (e *explorer) call(s state, i int) {
	p := &s.procs[i]
	o := p.op
	if o.kind == opGet {
		e.load(s, i)
		return
	}
	if s.lost > 0 { // before DynamoDB, or after
		n := s
		n.lost--
		transaction := o.kind == opRenew || o.kind == opGhost // whose token makes a copy harmless
		if n.copies > 0 && n.late.kind == noOp && !transaction {
			n.copies--
			n.late, n.lateOf = o, int8(i)
		}
		e.retry(n, i)
		n = s
		n.lost--
		e.apply(&n, int8(i), &o)
		e.retry(n, i)
	}
	n := s
	ok, old := e.apply(&n, int8(i), &o)
	e.answer(n, i, ok, old)
}

// retry sends the same once more, or gives up.
func (e *explorer) retry(s state, i int) {
	p := &s.procs[i]
	if p.op.kind == opSave && p.doubt == 0 {
		p.doubt = p.op.base.rev
	}
	if p.tries++; p.tries > 3 {
		p.verdict, p.stage = unknown, answered
	}
	e.push(s)
}

func (e *explorer) load(s state, i int) {
	p := &s.procs[i]
	key := p.op.key
	if s.mixed > 0 { // the answer is another request's
		n := s
		n.mixed--
		other := n.items[maxKeys-1]
		if e.sc.has(comparesKeys) {
			n.procs[i].verdict, n.procs[i].stage = unknown, answered
			e.push(n)
		} else {
			e.decide(&n, i, &other)
		}
	}
	it := s.items[key]
	if e.sc.policy == lock && it.live(s.now) {
		if it.lease != 0 {
			s.stolen = true
		}
		s.items[key].lease = int8(i + 1)
		it.lease = int8(i + 1)
	}
	e.decide(&s, i, &it)
}

// decide is the handler, after its load.
func (e *explorer) decide(s *state, i int, found *item) {
	p := &s.procs[i]
	p.loaded = item{}
	switch {
	case found == nil:
	case found.live(s.now):
		p.loaded = *found
		p.served = found.vals
		if found.key != p.from-1 {
			e.fail("another's session is served")
		}
	case found.there && found.tomb && found.until > s.now:
		p.ghost, p.loaded = true, *found
	}
	p.line = p.loaded.line
	p.op = op{}
	if p.ghost {
		if !e.sc.has(ghostReads) {
			p.served = s.items[found.moved].vals
		}
		if p.served != 0 {
			e.fail("a request with the old cookie sees the session")
		}
	}
	e.plan(s, i)
	e.push(*s)
}

// plan makes the call that the deed needs next.
func (e *explorer) plan(s *state, i int) {
	p, d := &s.procs[i], e.sc.deeds[i]
	p.stage = saving
	done := func(v verdict) { p.verdict, p.stage, p.op = v, answered, op{} }
	me := int8(i + 1)
	base := p.loaded
	switch {
	case d == read:
		done(acked)
	case d == write:
		next := item{there: true, rev: 1, creation: me, vals: bit(i), until: 9, line: me + 1}
		p.op = op{kind: opWrite, next: next}
	case p.ghost && d == logout:
		p.op = op{kind: opDelete, key: base.moved, any: true}
		if !e.sc.has(follows) {
			done(acked)
			p.cookie = -1
		}
	case p.ghost && (d == login || d == loginOther):
		next := item{there: true, key: me, rev: 1, creation: me, user: user(d), until: 9, line: base.line}
		p.op = op{kind: opGhost, key: base.moved, to: me, tombstone: base.key, replaces: e.sc.has(ghostReplaces), next: next, base: base}
	case p.ghost && e.sc.has(ghostChanges):
		done(gone)
	case !base.there || p.ghost: // there is no session
		if d == logout || d == pop || d == renew {
			done(acked)
			return
		}
		next := item{there: true, key: me, rev: 1, creation: me, until: 9, line: me + 1}
		change(&next, d, i)
		p.op = op{kind: opPut, key: me, next: next}
	case d == logout:
		p.op = op{kind: opDelete, key: base.key, base: base}
	default:
		if d == pop && base.vals&token == 0 && p.tries == 0 {
			done(conflict)
			return
		}
		next := base
		next.rev, next.lease = base.rev+1, 0
		e.sign(&next, me)
		anew := user(d) != 0 && base.user != 0 && base.user != user(d)
		if anew && (p.tries == 0 || e.sc.has(dropsValues)) {
			next.vals, next.count = 0, 0
		}
		change(&next, d, i)
		o := op{kind: opSave, key: base.key, base: base, next: next, lease: base.lease}
		if d == login || d == loginOther || d == renew {
			o.kind, o.to = opRenew, me
			o.next.key, o.next.rev, o.next.creation, o.next.marks = me, 1, me, [3]int8{}
		}
		p.op = o
	}
	p.op.now = s.now
}

// sign puts a write's mark before the others.
func (e *explorer) sign(it *item, me int8) {
	kept := e.kept()
	marks := [3]int8{me}
	n := int8(1)
	for _, m := range it.marks {
		if m != me && n < kept {
			marks[n] = m
			n++
		}
	}
	it.marks = marks
}

func (i *item) signed(me int8) bool {
	return i.there && (i.creation == me || i.marks[0] == me || i.marks[1] == me || i.marks[2] == me)
}

func user(d deed) int8 {
	switch d {
	case login:
		return 1
	case loginOther:
		return 2
	}
	return 0
}

// change does a deed to the values.
func change(it *item, d deed, i int) {
	switch d {
	case set:
		it.vals |= bit(i)
	case count:
		it.count++
	case pop:
		it.vals &^= token
	}
	if u := user(d); u != 0 {
		it.user = u
	}
}

func bit(i int) uint8 { return 1 << (i + 1) }
