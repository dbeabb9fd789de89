package history_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/testhook"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// Histories: browsers with several tabs each send random requests to several servers, while
// the network loses, delays and garbles. What every request saw and was told is recorded,
// and porcupine looks for an order of all loads and saves that explains it. There is none if
// a change was lost or counted twice, if one came from nowhere, if a save was seen in part, if
// a session lived on after its end or ended before it, if a save passed over the next owner of
// its lock, or if a browser saw a session older than what its last response had written. Nor is there
// one if a logout that was acknowledged left alive what the session had become, if a request with a
// cookie from before a renewal saw or changed anything or brought another cookie, or if it signed in
// over a session that had been used.
//
// In the bubbles, some handlers outlive their lease, replicas and the index follow the table
// by a moment, and sessions expire while sweeps and DynamoDB's TTL go about.
//
// A seed repeats the random choices. It does not repeat the scheduler's, but in the bubbles
// of the embedded backend, where time passes only by the network's pauses, it comes near.

var (
	historySeed = flag.Uint64("seed", 0, "of the histories' first round; 0: another one each time")
	historyOps  = flag.Int("ops", 10_000, "the number of requests in the histories, at least")
)

const (
	historyServers  = 3
	historyBrowsers = 4
	historyTabs     = 3
	historyRequests = 25 // of each tab
	historyLease    = 3 * time.Second
	historyTouch    = time.Minute
	historyIdle     = 5 * time.Minute // where sessions expire
	historyUnused   = 3 * time.Minute // what GC may ask for there
	historyLag      = time.Second / 2 // of the index: DestroyUser asks again after a second

	// historySlack is how far a save's time and its effect can be apart: those of
	// LastWriteWins may come in another order than they were sent in.
	historySlack = 10 * time.Second
)

func TestHistories(t *testing.T) {
	seed := *historySeed
	if seed == 0 {
		seed = rand.Uint64() >> 1
	}
	t.Logf("seed %d", seed)
	onLocal := *historyOps / 6
	t.Run("dynamotest", func(t *testing.T) {
		runHistories(t, seed, *historyOps-onLocal, func(t *testing.T, p plan) (h *history) {
			synctest.Test(t, func(t *testing.T) { h = newHistory(t, stage.Embedded(t), p).run() })
			return h
		})
	})
	t.Run("local", func(t *testing.T) {
		b := stage.Local(t)
		runHistories(t, seed, onLocal, func(t *testing.T, p plan) *history { return newHistory(t, b, p).run() })
	})
}

func runHistories(t *testing.T, seed uint64, ops int, round func(*testing.T, plan) *history) {
	began, done, told := time.Now(), 0, 0
	var sum tally
	for ; done < ops && !t.Failed(); seed++ {
		h := round(t, planOf(seed))
		h.check(t)
		done += int(h.requests.Load())
		sum.add(&h.tally)
		if done/50_000 > told {
			told = done / 50_000
			t.Logf("%d requests in %v; next seed %d; %v", done, time.Since(began).Round(time.Second), seed+1, &sum)
		}
	}
	t.Logf("%d requests, up to seed %d: %v", done, seed-1, &sum)
}

// plan is what a round is like.
type plan struct {
	seed     uint64
	policies [historyServers]dynasession.Concurrency
	percent  float64 // of all calls that meet a fault
	config   dynasession.Config
	// strict: only locks, and nobody changes anything after Session.Save, which gives them up.
	strict bool
	lag    bool // of what is not read strongly
	// expiry: sessions end within the round, after unused at the earliest.
	expiry bool
	unused time.Duration
}

func planOf(seed uint64) plan {
	p := plan{seed: seed}
	rng := p.rng(0)
	all := []dynasession.Concurrency{dynasession.Merge, dynasession.Lock, dynasession.LastWriteWins}
	for i := range p.policies {
		p.policies[i] = all[seed%4%3]
		if seed%4 == 3 { // Merge and Lock may meet
			p.policies[i] = all[i%2]
		}
	}
	p.strict = p.all(dynasession.Lock) && rng.IntN(2) == 0
	p.percent = []float64{0, 2, 8}[rng.IntN(3)]
	p.config = dynasession.Config{
		IdleTimeout: 100 * time.Hour, Lifetime: 1000 * time.Hour, TouchAfter: historyTouch,
		LockLease: historyLease, LockWait: time.Minute, Timeout: 3 * time.Second,
		BinaryData: rng.IntN(4) == 0, ForeignWriters: rng.IntN(4) == 0, NoCompression: rng.IntN(4) == 0,
	}
	if rng.IntN(4) == 0 {
		p.config.EncryptionKeys = [][]byte{bytes.Repeat([]byte{7}, 32)}
	}
	// Of saves that are unknown and pass over others there are too many orders to try, with replicas on top.
	p.config.EventualReads = !p.config.ForeignWriters && (p.percent == 0 || !p.all(dynasession.LastWriteWins)) &&
		(rng.IntN(2) == 0 || *stage.WithEventualReads)
	p.lag = p.config.EventualReads || rng.IntN(2) == 0
	if p.expiry = rng.IntN(3) == 0; p.expiry {
		p.config.IdleTimeout, p.unused = historyIdle, []time.Duration{historyIdle, historyUnused}[rng.IntN(2)]
	}
	return p
}

func (p *plan) rng(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(p.seed, stream)) }

func (p *plan) all(c dynasession.Concurrency) bool {
	return !slices.ContainsFunc(p.policies[:], func(other dynasession.Concurrency) bool { return other != c })
}

func (p plan) String() string {
	return fmt.Sprintf("seed %d: %v, %v%% faults, eventual reads %v, lag %v, expiry %v", p.seed, p.policies, p.percent, p.config.EventualReads, p.lag, p.expiry)
}

// tally counts what happened, to show that the histories are not idle.
type tally struct {
	loads, saves, creates, renewals, ends, refused, unsure, failedLoads, faults, lostLocks, swept, ghosts, ghostSignIns, ghostLogouts atomic.Int64
}

func (n *tally) counters() []*atomic.Int64 {
	return []*atomic.Int64{&n.loads, &n.saves, &n.creates, &n.renewals, &n.ends, &n.refused, &n.unsure, &n.failedLoads, &n.faults, &n.lostLocks, &n.swept,
		&n.ghosts, &n.ghostSignIns, &n.ghostLogouts}
}

func (n *tally) add(m *tally) {
	to := n.counters()
	for i, c := range m.counters() {
		to[i].Add(c.Load())
	}
}

func (n *tally) String() string {
	var b strings.Builder
	names := strings.Fields("loads saves creations renewals ends refused unknown failed-loads faults lost-locks swept ghosts ghost-sign-ins ghost-logouts")
	for i, c := range n.counters() {
		fmt.Fprintf(&b, "%d %s, ", c.Load(), names[i])
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// contents are the values of a session. No number is set twice, so that a number identifies its writer.
type contents struct {
	reg   [3]int // set and deleted; 0: absent
	token int    // set and popped
	count int    // updated
	user  string
}

const keyToken, keyCount = "token", "count"

func regKey(i int) string { return "r" + strconv.Itoa(i) }

func contentsOf(s *dynasession.Session) (c contents) {
	for i := range c.reg {
		c.reg[i], _ = dynasession.Get[int](s, regKey(i))
	}
	c.token, _ = dynasession.Get[int](s, keyToken)
	c.count, _ = dynasession.Get[int](s, keyCount)
	c.user = s.User()
	return c
}

const dropped = -1

// change is what a request did: to a number 0 is nothing, dropped a deletion.
type change struct {
	contents
	popped  int // the token that was taken
	renew   bool
	destroy bool // before all else
	anew    bool // another user was signed in: nothing of what was there stays
	after   bool // the values were changed before the user was, so that they go too
}

func (c *change) none() bool { return *c == change{} }

func (c *change) onto(old contents) contents {
	switch {
	case c.anew && c.after:
		return contents{user: c.user}
	case c.anew:
		old = contents{}
	}
	for i, v := range c.reg {
		old.reg[i] = putNumber(old.reg[i], v)
	}
	old.token = putNumber(old.token, c.token)
	old.count += c.count
	if c.user != "" {
		old.user = c.user
	}
	return old
}

func putNumber(old, v int) int {
	switch v {
	case 0:
		return old
	case dropped:
		return 0
	}
	return v
}

// life is a session's, under all the ids that renewals give it.
type life struct {
	id string // "" before the creation, and after the end
	contents
	lock   int      // the number of the last that was taken, until its save
	past   *version // kept where reads may be eventual
	unused bool     // nothing was saved since it got its id by a renewal
	moved  string   // what tombstones say: "old>new;" for each
}

// after returns the id that a logout which comes with id ends.
func (l life) after(id string) string {
	for range 8 {
		_, rest, found := strings.Cut(l.moved, ";"+id+">")
		if !found {
			break
		}
		id, _, _ = strings.Cut(rest, ";")
	}
	return id
}

// move notes a tombstone, in the place of an earlier one of the same id.
func (l *life) move(from, to string) {
	before, rest, found := strings.Cut(l.moved, ";"+from+">")
	if !found {
		if l.moved == "" {
			l.moved = ";"
		}
		l.moved += from + ">" + to + ";"
		return
	}
	_, rest, _ = strings.Cut(rest, ";")
	l.moved = before + ";" + from + ">" + to + ";" + rest
}

// version is what a save made of a session: what a replica may still show.
type version struct {
	id string
	contents
	save   int // its number
	count  int // of versions
	before *version
}

func (l life) equal(other life) bool {
	a, b := l.past, other.past
	l.past, other.past = nil, nil
	if l != other {
		return false
	}
	for ; a != b; a, b = a.before, b.before {
		if a == nil || b == nil || a.count != b.count || a.id != b.id || a.save != b.save || a.contents != b.contents {
			return false
		}
	}
	return true
}

// written returns the life after a save.
func (l life) written(e *event) life {
	if e.eventual {
		v := &version{id: l.id, contents: l.contents, save: e.nr, before: l.past}
		if l.past != nil {
			v.count = l.past.count + 1
		}
		l.past = v
	}
	return l
}

// shows reports whether a replica may answer so: it must not be older than the revision in e's cookie.
func (l life) shows(e *event) bool {
	for v := l.past; v != nil; v = v.before {
		if v.id == e.id && v.contents == e.seen {
			return true
		}
		if v.save == e.nr {
			return false
		}
	}
	return false
}

type eventKind string

const (
	isCreated   eventKind = "created"
	isSeen      eventKind = "seen"
	isNot       eventKind = "is not" // the id opens nothing
	isSaved     eventKind = "saved"
	isDestroyed eventKind = "destroyed"
	isSignedOut eventKind = "signed out" // by DestroyUser
	isSignedIn  eventKind = "signed in"  // by a ghost
)

// event is one atomic step of a history.
type event struct {
	kind   eventKind
	id     string // that the request came with
	newID  string // of isCreated, of isSignedIn, and of isSaved with a renewal
	seen   contents
	change change
	after  *contents // what the session showed after its save
	policy dynasession.Concurrency
	strict bool // the lock kept all others out since seen
	maybe  bool // nobody knows whether it happened
	lock   int  // the number of the lock that isSeen took, and isSaved gives up; 0: none
	// nr is that of the save, and of the one whose cookie isSeen came with; 0: none.
	nr       int
	eventual bool   // reads of the round are
	ended    bool   // isNot: the session may have ended by itself
	refused  bool   // isNot: a save says so, which brings no cookie
	ghost    bool   // isNot: it was renewed
	old      bool   // isNot: if it was renewed, that may be long ago
	foreign  bool   // renewals leave no tombstones
	visit    *visit // that it is of
}

// step reports whether e can happen in state, and what is then.
func (e *event) step(state life) (bool, life) {
	switch e.kind {
	case isCreated:
		return state == life{}, life{id: e.newID, contents: e.seen}.written(e)
	case isSeen:
		ok := state.id == e.id && state.contents == e.seen || e.eventual && e.lock == 0 && state.shows(e)
		if e.lock != 0 {
			state.lock = e.lock
		}
		return ok, state
	case isNot:
		if state.id == e.id && e.ended {
			state.id = ""
		}
		after := state.after(e.id)
		switch {
		case e.ghost:
			return after != e.id, state
		case e.refused:
			return state.id != e.id, state
		}
		// What comes with such an id may bring another cookie.
		return state.id != e.id && (state.id == "" || after != state.id || e.old || e.ended), state
	case isDestroyed:
		if state.id == state.after(e.id) {
			state.id = ""
		}
		return true, state
	case isSignedIn:
		next, ok := e.signIn(state)
		return ok || e.maybe, next
	case isSignedOut:
		if state.user == e.seen.user {
			state.id = ""
		}
		return true, state
	}
	next, ok := e.save(state)
	if e.maybe && !ok {
		return true, state
	}
	return ok, next
}

// signIn is that of a ghost. It ends what nobody has used.
func (e *event) signIn(state life) (life, bool) {
	_, rest, _ := strings.Cut(state.moved, ";"+e.id+">")
	named, _, found := strings.Cut(rest, ";")
	switch {
	case !found, state.after(named) != named: // renewed again
		return state, false
	case state.id == named && !state.unused:
		return state, false
	case state.id == named:
		state.move(named, e.newID)
	}
	state.move(e.id, e.newID)
	state.id, state.lock, state.unused = e.newID, 0, true
	state.contents = e.change.onto(contents{})
	return state.written(e), e.after == nil || *e.after == state.contents
}

func (e *event) save(state life) (life, bool) {
	switch {
	case state.id != e.id,
		e.change.popped != 0 && e.policy != dynasession.LastWriteWins && state.token != e.change.popped,
		e.strict && state.contents != e.seen,
		e.lock != 0 && state.lock != e.lock:
		return state, false
	}
	next := state
	if e.policy == dynasession.LastWriteWins && !e.change.renew {
		next.contents = e.seen
	}
	next.contents = e.change.onto(next.contents)
	if next.unused = e.change.renew; e.change.renew {
		next.id = e.newID
		if !e.foreign {
			next.move(e.id, e.newID)
		}
	}
	if e.lock != 0 {
		next.lock = 0
	}
	return next.written(e), e.after == nil || *e.after == next.contents
}

func (e *event) String() string {
	s := fmt.Sprintf("%-10s %.5s", e.kind, e.id)
	switch e.kind {
	case isCreated:
		s += fmt.Sprintf("%.5s %v", e.newID, e.seen)
	case isSeen:
		s += fmt.Sprintf(" %v", e.seen)
	case isNot:
		s += fmt.Sprintf(" ghost %v, old %v, ended %v", e.ghost, e.old, e.ended)
	case isSignedIn:
		s += fmt.Sprintf(" %v, now %.5s", e.change.contents, e.newID)
	case isSaved:
		s += fmt.Sprintf(" %v popped %d", e.change.contents, e.change.popped)
		if e.change.renew {
			s += fmt.Sprintf(", now %.5s", e.newID)
		}
		if e.after != nil {
			s += fmt.Sprintf(", makes %v", *e.after)
		}
	}
	if e.maybe {
		s += " (unknown)"
	}
	if e.lock != 0 {
		s += fmt.Sprint(", lock ", e.lock)
	}
	if e.eventual && e.nr != 0 {
		s += fmt.Sprint(", save ", e.nr)
	}
	return s
}

var historyModel = porcupine.Model{
	Init:  func() any { return life{} },
	Step:  func(state, input, _ any) (bool, any) { return input.(*event).step(state.(life)) },
	Equal: func(a, b any) bool { return a.(life).equal(b.(life)) },
}

// history is one round.
type history struct {
	plan
	tally
	b        *stage.Backend
	table    string
	servers  []http.Handler
	stores   []*dynasession.Store
	browsers []*historyBrowser
	bubble   bool

	clock    atomic.Int64 // counts the beginnings and ends of steps
	numbers  atomic.Int64 // for contents
	requests atomic.Int64
	late     sync.WaitGroup

	mu     sync.Mutex
	lives  [][]porcupine.Operation
	owner  []*historyBrowser
	lifeOf map[string]int // by id
	logout map[*historyBrowser][]porcupine.Operation
	faulty []string // what must not be, beside an impossible history
}

// historyBrowser is the jar that its tabs share.
type historyBrowser struct {
	user string
	mu   sync.Mutex
	jar  jarCookie
	old  []jarCookie
}

type jarCookie struct {
	value, id string
	save      int // the number of the save whose response brought it
}

func newHistory(t *testing.T, b *stage.Backend, p plan) *history {
	h := &history{plan: p, b: b, table: stage.NewTable(), bubble: b.Server != nil, lifeOf: map[string]int{}, logout: map[*historyBrowser][]porcupine.Operation{}}
	stage.NewStore(t, b, h.with(dynasession.Merge))
	for i, policy := range p.policies {
		w := &wire{history: h, rng: p.rng(100 + uint64(i))}
		client := dynamodb.New(b.Client.Options(), func(o *dynamodb.Options) {
			w.next, o.HTTPClient = o.HTTPClient, w
		})
		store, err := dynasession.New(client, h.options(policy))
		require.NoError(t, err)
		h.stores = append(h.stores, store)
		h.servers = append(h.servers, store.Middleware(http.HandlerFunc(serveVisit)))
	}
	for i := range historyBrowsers {
		h.browsers = append(h.browsers, &historyBrowser{user: "user" + strconv.Itoa(i)})
	}
	return h
}

// options is with, and the options that the tests are run with. Whether reads are eventual is the plan's.
func (h *history) options(policy dynasession.Concurrency) dynasession.Config {
	cfg := h.with(policy)
	eventual := cfg.EventualReads
	cfg = stage.Options(cfg)
	cfg.EventualReads = eventual
	return cfg
}

func (h *history) with(policy dynasession.Concurrency) dynasession.Config {
	cfg := h.config
	cfg.Table, cfg.UserIndex, cfg.Concurrency = h.table, "by-user", policy
	cfg.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		if v := visitOf(r.Context()); v != nil {
			v.err = err
		}
		http.Error(w, "", http.StatusServiceUnavailable)
	}
	cfg.Logger, cfg.Observer = stage.Output.Logger(), stage.Output.Observe
	return cfg
}

// run lets all tabs do their requests, and reads everything at the end.
func (h *history) run() *history {
	var tabs sync.WaitGroup
	for i := range historyBrowsers * historyTabs {
		tabs.Go(func() {
			tab := &tab{history: h, browser: h.browsers[i%historyBrowsers], nr: i, rng: h.rng(uint64(i) + 1)}
			for range historyRequests {
				tab.act()
			}
		})
	}
	done := make(chan struct{})
	var beside sync.WaitGroup
	if h.bubble && h.lag {
		beside.Go(func() {
			h.follow(done, h.rng(200), historyLag, h.b.Server.HoldReplicas, h.b.Server.ReleaseReplicas)
		})
		beside.Go(func() {
			h.follow(done, h.rng(201), historyLag, h.b.Server.HoldIndexes, h.b.Server.ReleaseIndexes)
		})
	}
	if h.bubble && h.expiry {
		beside.Go(func() { h.sweep(done, h.rng(202)) })
	}
	tabs.Wait()
	close(done)
	beside.Wait()
	h.late.Wait()
	if h.b.Server != nil {
		h.b.Server.ClearFaults()
	}
	h.readAll()
	return h
}

// waits for a time up to most. It reports whether the round goes on.
func waits(done <-chan struct{}, rng *rand.Rand, most time.Duration) bool {
	select {
	case <-done:
		return false
	case <-time.After(time.Duration(rng.Int64N(int64(most)))):
		return true
	}
}

// follow lets what follows the table do so by up to lag.
func (h *history) follow(done <-chan struct{}, rng *rand.Rand, lag time.Duration, hold, release func()) {
	for hold(); waits(done, rng, lag); hold() {
		release()
	}
	release()
}

// sweep deletes what has ended, as a sweep, a GC and DynamoDB itself do.
func (h *history) sweep(done <-chan struct{}, rng *rand.Rand) {
	for waits(done, rng, 3*time.Second) {
		store := h.stores[rng.IntN(historyServers)]
		switch rng.IntN(3) {
		case 0:
			stats, _ := store.Sweep(context.Background(), dynasession.SweepOptions{Segments: 2})
			h.swept.Add(int64(stats.Deleted))
		case 1:
			deleted, _ := store.GC(context.Background(), h.unused)
			h.swept.Add(int64(deleted))
		case 2:
			h.b.Server.ExpireItems()
		}
	}
}

func (h *history) tick() int64 { return h.clock.Add(1) }

func (h *history) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faulty = append(h.faulty, fmt.Sprintf(format, args...))
}

// record adds e to the history of its session, which begins with isCreated.
func (h *history) record(who *tab, call int64, e *event) {
	ret := h.tick()
	h.mu.Lock()
	defer h.mu.Unlock()
	op := porcupine.Operation{ClientId: who.nr, Input: e, Call: call, Return: ret}
	if e.maybe {
		op.Return = 1 << 60 // at any later time, or never
	}
	if e.kind == isSignedOut {
		// Each pass over the index ends what it finds, also what a ghost has signed in meanwhile. One that
		// finds nothing changes nothing.
		h.logout[who.browser] = append(h.logout[who.browser], op, op, op)
		return
	}
	nr, known := h.lifeOf[e.id]
	if e.kind == isCreated {
		nr = len(h.lives)
		h.lives, h.owner = append(h.lives, nil), append(h.owner, who.browser)
	} else if !known {
		panic("an id from nowhere")
	}
	if e.newID != "" {
		h.lifeOf[e.newID] = nr
	}
	h.lives[nr] = append(h.lives[nr], op)
}

// readAll asks for every id that there ever was, so that nothing that was acknowledged can be
// missing unseen. Locks that were left behind must let a request in after their lease.
func (h *history) readAll() {
	h.mu.Lock()
	var ids []string
	for id := range h.lifeOf {
		if !strings.HasPrefix(id, lostID) {
			ids = append(ids, id)
		}
	}
	h.mu.Unlock()
	slices.Sort(ids)
	policies := []dynasession.Concurrency{dynasession.Merge}
	if h.bubble {
		time.Sleep(historyLease + 3*time.Second)
		policies = append(policies, dynasession.Lock)
	}
	for _, policy := range policies {
		store, err := dynasession.New(h.b.Client, h.options(policy))
		if err != nil {
			panic(err)
		}
		server := store.Middleware(http.HandlerFunc(serveVisit))
		for _, id := range ids {
			reader := &tab{history: h, browser: &historyBrowser{}, nr: historyBrowsers * historyTabs}
			v := &visit{tab: reader, cookie: jarCookie{value: id, id: id}, readOnly: true}
			v.send(server)
			if v.err != nil {
				h.fault("at the end, with %v: %v", policy, v.err)
			}
		}
	}
}

// check looks for an order that explains every session's history.
func (h *history) check(t *testing.T) {
	t.Helper()
	for _, what := range h.faulty {
		assert.Fail(t, what, h.plan)
	}
	for nr, life := range h.lives {
		h.judgeTimes(t, life)
		judgeGrace(life)
		life = append(life, h.logout[h.owner[nr]]...)
		result := porcupine.CheckOperationsTimeout(historyModel, life, time.Minute)
		if !assert.Equal(t, porcupine.Ok, result, "%v; repeat it with -seed", h.plan) {
			t.Log(tellHistory(life))
			return
		}
	}
}

// judgeTimes notes which answers of no session time explains, and finds sessions that were
// served after their end. A visit may extend its session until it ends itself.
func (h *history) judgeTimes(t *testing.T, life []porcupine.Operation) {
	t.Helper()
	if !h.expiry {
		return
	}
	for _, op := range life {
		e := op.Input.(*event)
		var used, stored time.Time // at the latest; at least
		for _, other := range life {
			o := other.Input.(*event)
			if o.kind == isNot || o.visit == e.visit || o.visit.began.After(e.visit.ended) {
				continue
			}
			if used.Before(o.visit.ended) {
				used = o.visit.ended
			}
			at := o.visit.began
			switch {
			case (o.kind == isCreated || o.kind == isSaved && !o.maybe) && other.Return < op.Call:
			case o.kind == isSeen && o.visit.kept && o.visit.ended.Before(e.visit.began):
				at = at.Add(-historyTouch)
			default:
				continue
			}
			if stored.Before(at) {
				stored = at
			}
		}
		e.ended = e.visit.ended.After(stored.Add(h.unused - historySlack))
		if e.kind == isSeen {
			assert.Less(t, e.visit.began.Sub(used), historyIdle+historySlack, "%v: served after its end", h.plan)
		}
	}
}

// historyGrace is how long a tombstone says where its session went.
const historyGrace = 30 * time.Second

// judgeGrace notes which answers of no session may have come when a tombstone was over.
func judgeGrace(life []porcupine.Operation) {
	for _, op := range life {
		e := op.Input.(*event)
		if e.kind != isNot {
			continue
		}
		e.old = slices.ContainsFunc(life, func(other porcupine.Operation) bool {
			o := other.Input.(*event)
			renews := o.kind == isSaved && o.change.renew && o.id == e.id || o.kind == isSignedIn // of an id that it does not know
			return renews && e.visit.ended.Sub(o.visit.began) > historyGrace-2*time.Second
		})
	}
}

func tellHistory(life []porcupine.Operation) string {
	slices.SortFunc(life, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	b.WriteString("begin, end, tab, step; contents are {[registers] token count user}\n")
	for _, op := range life {
		end := strconv.FormatInt(op.Return, 10)
		if op.Return == 1<<60 {
			end = "?"
		}
		fmt.Fprintf(&b, "%5d %5s %2d %v\n", op.Call, end, op.ClientId, op.Input)
	}
	return b.String()
}

// tab sends one request after the other.
type tab struct {
	*history
	browser *historyBrowser
	nr      int
	rng     *rand.Rand
}

func (c *tab) chance(percent int) bool { return c.rng.IntN(100) < percent }

// pause is a moment for others.
func (c *tab) pause() {
	if c.bubble {
		time.Sleep(time.Duration(c.rng.IntN(20)) * time.Millisecond)
	}
}

// pauseLong is time for several writes of others.
func (c *tab) pauseLong() {
	for range 20 {
		c.pause()
	}
}

func (c *tab) act() {
	c.pause()
	n := c.rng.IntN(1000)
	store := c.stores[c.rng.IntN(historyServers)]
	switch {
	case n < 4:
		c.collect(store)
	case n < 5 || c.bubble && n < 12:
		c.signOut(store)
	case c.bubble && n < 20:
		time.Sleep(historyTouch) // until the expiry is due to be moved
	case c.bubble && c.expiry && n < 26:
		time.Sleep(historyIdle + time.Minute)
	case c.bubble && c.expiry && n < 45: // until before, or about when, GC takes it for unused
		time.Sleep(historyUnused + time.Duration(c.rng.IntN(125)-60)*time.Second)
	}
	c.requests.Add(1)
	nr := c.rng.IntN(historyServers)
	v := &visit{tab: c, cookie: c.ticket(), policy: c.policies[nr]}
	v.send(c.servers[nr])
}

// ticket is the cookie that the request carries: that of the jar, or at times one from before.
func (c *tab) ticket() jarCookie {
	b := c.browser
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.old) > 0 && c.chance(6) {
		return b.old[c.rng.IntN(len(b.old))]
	}
	return b.jar
}

// collect sweeps. Nothing has expired, so a session that is gone afterwards was lost.
func (c *tab) collect(store *dynasession.Store) {
	_, _ = store.GC(context.Background(), time.Duration(c.rng.IntN(2))*50*time.Hour)
}

func (c *tab) signOut(store *dynasession.Store) {
	call := c.tick()
	_, err := store.DestroyUser(context.Background(), c.browser.user, nil)
	c.record(c, call, &event{kind: isSignedOut, seen: contents{user: c.browser.user}, maybe: err != nil})
}

// visit is one request, on both sides.
type visit struct {
	*tab
	cookie       jarCookie
	began, ended time.Time
	id           string // the cookie's, later the session's
	policy       dynasession.Concurrency
	readOnly     bool
	seen         contents // as loaded or last saved
	lock         int      // the number of the one that it has
	alone        bool     // it keeps all others out
	overdue      bool     // its lease has ended
	kept         bool     // for sure, if only by a touch
	cancel       context.CancelFunc

	saving  bool
	save    int   // the number of the last that was told
	call    int64 // when the save began
	change  change
	fresh   bool      // the session has no item yet
	ghost   time.Time // the end of the tombstone that the cookie names; zero: none
	over    bool      // it has ended the session that it came with
	sess    *dynasession.Session
	lossy   atomic.Bool // an answer to one of its writes was lost
	err     error       // that the middleware answered with
	created []string
}

type visitKey struct{}

func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// record adds what the visit saw or did.
func (v *visit) record(call int64, e *event) {
	e.visit, e.eventual, e.foreign = v, v.config.EventualReads, v.config.ForeignWriters
	v.history.record(v.tab, call, e)
}

func (v *visit) send(server http.Handler) {
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), visitKey{}, v))
	defer cancel()
	v.cancel, v.id = cancel, v.cookie.id
	v.began = time.Now()
	defer func() { v.ended = time.Now() }()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://shop.example.com/", http.NoBody)
	if v.id != "" {
		r.AddCookie(&http.Cookie{Name: stage.CookieName, Value: v.cookie.value})
	}
	w := httptest.NewRecorder()
	if panicked := stage.Serve(server, w, r); panicked {
		return // the browser gets nothing
	}
	if v.saving {
		v.saved(v.err, nil)
	}
	v.kept = v.percent == 0 && !v.overdue && v.err == nil
	cookies := stage.Cookies(w)
	if !v.ghost.IsZero() && len(cookies) > 0 {
		v.fault("a request with the cookie of before a renewal has brought %d others", len(cookies))
	}
	if len(v.created) > 0 && v.chance(5) {
		return // the response is lost
	}
	v.keepCookies(cookies)
}

func (v *visit) keepCookies(cookies []*http.Cookie) {
	b := v.browser
	b.mu.Lock()
	defer b.mu.Unlock()
	told := ""
	for _, c := range cookies {
		if c.MaxAge < 0 {
			if !v.over {
				v.fault("a cookie is cleared whose session goes on")
			}
			b.jar = jarCookie{}
			continue
		}
		told, _, _ = strings.Cut(c.Value, ".")
		made := slices.Contains(v.created, told)
		if !made && (told != v.id || !v.config.EventualReads) { // which tell what they have written
			v.fault("a cookie of a session that this request did not make")
		}
		b.jar = jarCookie{c.Value, told, v.save}
		if made || len(b.old) > 0 && v.chance(20) {
			b.old = append(b.old, b.jar)
		}
	}
	if n := len(v.created); n > 0 && v.err == nil && !v.change.destroy && told != v.created[n-1] {
		v.fault("no cookie for the new session %.5s", v.created[n-1])
	}
}

// serveVisit is the handler of all requests.
func serveVisit(w http.ResponseWriter, r *http.Request) { visitOf(r.Context()).serve(w, r) }

func (v *visit) serve(w http.ResponseWriter, r *http.Request) {
	call := v.tick()
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		v.failedLoads.Add(1)
		if v.percent == 0 {
			v.fault("load: %v", err)
		}
		return
	}
	v.loads.Add(1)
	v.sess, v.fresh, v.seen, v.ghost = sess, sess.IsNew(), contentsOf(sess), testhook.GhostUntil(sess)
	v.alone = v.strict && !v.fresh
	if v.policy == dynasession.Lock && !v.fresh {
		v.lock = v.number()
	}
	switch {
	case v.fresh && v.seen != contents{}:
		v.fault("a new session is not empty")
	case v.fresh && v.id != "":
		v.record(call, &event{kind: isNot, id: v.id, ghost: !v.ghost.IsZero()})
	case !v.fresh:
		v.record(call, &event{kind: isSeen, id: v.id, seen: v.seen, lock: v.lock, nr: v.cookie.save})
	}
	if v.readOnly {
		return
	}
	if !v.ghost.IsZero() {
		v.ghosts.Add(1)
	}
	v.pause()
	if v.bubble && v.lock != 0 && v.chance(10) {
		v.overdue = true // from two seconds after its lease, another may take the lock
		time.Sleep(historyLease + time.Second + time.Duration(v.rng.IntN(4000))*time.Millisecond)
	}
	if v.chance(20) {
		if v.act(); !v.saveNow(r.Context()) || v.strict {
			return
		}
		v.pause()
	}
	v.act()
	switch {
	case v.chance(3):
		panic(http.ErrAbortHandler)
	case v.chance(5):
		v.cancel() // the client goes away
	}
	v.begin()
	if v.chance(50) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// act changes the session at random, each key once at most.
func (v *visit) act() {
	v.change = change{}
	if v.chance(25) {
		return
	}
	if ghost := !v.ghost.IsZero(); !v.fresh && v.chance(4) || ghost && v.chance(15) {
		v.change.destroy, v.ghost = true, time.Time{}
		if ghost {
			v.ghostLogouts.Add(1)
		}
		v.sess.Destroy()
		if v.chance(70) {
			return
		}
	} else if ghost && v.chance(30) {
		v.signIn()
		return
	}
	early := v.chance(50)
	if early && v.chance(5) {
		v.signIn()
	}
	for i := range v.seen.reg {
		if v.chance(30) {
			v.actOn(i)
		}
	}
	if v.chance(30) {
		v.count()
	}
	switch held := v.sess.Has(keyToken); {
	case held && v.chance(40):
		v.change.popped, _ = dynasession.Pop[int](v.sess, keyToken)
		v.change.token = dropped
	case !held && v.chance(40):
		v.change.token = v.number()
		v.sess.Set(keyToken, v.change.token)
	}
	switch {
	case !early && v.chance(5):
		v.signIn()
		v.change.after = true
	case v.chance(4):
		v.change.renew = true
		v.sess.Renew()
	}
}

// signIn signs the browser's user in, or at times another one.
func (v *visit) signIn() {
	c := &v.change
	c.renew, c.user = true, v.browser.user
	if v.chance(20) {
		c.user += "'s guest"
	}
	was := v.sess.User()
	c.anew = was != "" && was != c.user
	v.sess.SetUser(c.user)
}

func (v *visit) actOn(reg int) {
	switch {
	case v.chance(75):
		v.change.reg[reg] = v.number()
		v.sess.Set(regKey(reg), v.change.reg[reg])
	case v.sess.Has(regKey(reg)): // else it is no change
		v.change.reg[reg] = dropped
		v.sess.Delete(regKey(reg))
	}
}

func (v *visit) count() {
	v.change.count++
	dynasession.Update(v.sess, keyCount, func(n int) int { return n + 1 })
}

func (v *visit) number() int { return int(v.numbers.Add(1)) }

// begin is before what may save.
func (v *visit) begin() {
	v.saving, v.call = true, v.tick()
	v.lossy.Store(false)
}

// saveNow saves inside the handler, and a few times more if DynamoDB is not available, also
// with a change on top.
func (v *visit) saveNow(ctx context.Context) bool {
	v.begin()
	var less []change // that were saved before more was changed
	err := v.sess.Save(ctx)
	for range 2 {
		if !errors.Is(err, dynasession.ErrUnavailable) || v.change.destroy {
			break
		}
		v.pauseLong()
		if v.chance(30) {
			less = append(less, v.change)
			v.count()
		}
		err = v.sess.Save(ctx)
	}
	if v.lossy.Load() && (err != nil || v.policy == dynasession.LastWriteWins) {
		for _, c := range less {
			v.unknown(c) // each may have taken effect, alone or before the last
		}
	}
	after := contentsOf(v.sess)
	v.saved(err, &after)
	v.saving, v.alone, v.lock, v.seen, v.fresh = false, false, 0, after, v.sess.IsNew()
	return err == nil
}

// saved records what a save was told. after is what the session shows then; nil: nobody
// has looked.
func (v *visit) saved(err error, after *contents) {
	lossy := v.lossy.Load()
	if err != nil {
		v.failed(err, lossy)
		return
	}
	c := v.change
	if c.destroy {
		v.ends.Add(1)
		v.record(v.call, &event{kind: isDestroyed, id: v.id})
		v.seen, v.fresh, v.over = contents{}, true, true
	}
	switch {
	case !v.ghost.IsZero() && c.none():
	case !v.ghost.IsZero() && c.user == "":
		v.fault("a request with the cookie of before a renewal has saved")
	case !v.ghost.IsZero() && time.Now().Before(v.ghost):
		v.ghostSignIns.Add(1)
		v.save = v.number()
		e := &event{kind: isSignedIn, id: v.id, newID: v.nextID(), change: c, nr: v.save}
		if !lossy {
			e.after = after
		}
		v.record(v.call, e)
		v.id, v.ghost = e.newID, time.Time{}
	case v.fresh:
		v.ghost = time.Time{}
		v.madeNew()
	case c.none():
	default:
		v.save = v.number()
		e := &event{
			kind: isSaved, id: v.id, seen: v.seen, change: c, policy: v.policy, strict: v.alone, lock: v.lock, nr: v.save,
		}
		if !lossy {
			e.after = after // after a lost answer, the item may be newer than this save
		}
		if c.renew {
			v.renewals.Add(1)
			e.newID = v.nextID()
		}
		v.saves.Add(1)
		v.record(v.call, e)
		if lossy && v.policy == dynasession.LastWriteWins {
			v.unknown(c) // which may write again what it had written
		}
		if c.renew {
			v.id = e.newID
		}
	}
}

func (v *visit) madeNew() {
	c := v.change.onto(contents{})
	if c == (contents{}) {
		return
	}
	v.creates.Add(1)
	id := v.nextID()
	v.save = v.number()
	v.record(v.call, &event{kind: isCreated, newID: id, seen: c, nr: v.save})
	v.id = id
}

// nextID is the id that the save has given the session.
func (v *visit) nextID() string {
	id := v.sess.ID()
	if id == "" || id == v.id {
		v.fault("a session has no new id")
		id = lostID + strconv.Itoa(v.number())
	}
	v.created = append(v.created, id)
	return id
}

func (v *visit) failed(err error, lossy bool) {
	v.refused.Add(1)
	gone, conflict := errors.Is(err, dynasession.ErrGone), errors.Is(err, dynasession.ErrConflict)
	lost := errors.Is(err, dynasession.ErrLockLost)
	if v.percent == 0 && !gone && (!conflict || v.change.popped == 0) && (!lost || !v.overdue) {
		v.fault("save: %v", err)
	}
	if lost {
		v.lostLocks.Add(1)
	}
	switch {
	case v.change.destroy:
		v.record(v.call, &event{kind: isDestroyed, id: v.id, maybe: true})
		v.over = true
	case !v.ghost.IsZero() && lossy && v.change.user != "":
		v.unsure.Add(1)
		v.record(v.call, &event{kind: isSignedIn, id: v.id, newID: lostID + strconv.Itoa(v.number()), change: v.change, maybe: true})
	case v.fresh: // nobody knows its id
	case lossy:
		v.unknown(v.change)
	case gone:
		v.record(v.call, &event{kind: isNot, id: v.id, refused: true})
	}
}

const lostID = "lost "

// unknown records a save that may or may not have taken effect.
func (v *visit) unknown(c change) {
	v.unsure.Add(1)
	if c.none() || v.fresh {
		return
	}
	e := &event{kind: isSaved, id: v.id, seen: v.seen, change: c, policy: v.policy, maybe: true}
	if c.renew {
		e.newID = lostID + strconv.Itoa(v.number())
	}
	v.record(v.call, e)
	if v.policy == dynasession.LastWriteWins && !c.renew {
		again := *e
		v.record(v.call, &again) // a late copy writes it a second time: nothing forbids that here
	}
}

// wire is a server's way to DynamoDB. It takes its time, and things go wrong on it.
type wire struct {
	*history
	next dynamodb.HTTPClient

	mu  sync.Mutex
	rng *rand.Rand
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	w.delay(10)
	what := w.roll()
	if what != wireFine {
		w.faults.Add(1)
	}
	switch what {
	case wireDropped: // nothing has happened, though only the test knows
		return nil, stage.ErrReset
	case wireLate:
		if op != "PutItem" { // a late creation is the one thing that nothing stops
			return nil, w.sendLate(r)
		}
	case wireSpoiled:
		w.b.Server.Fault(w.spoil(op))
	}
	resp, err := w.next.Do(r)
	if what == wireUnanswered && err == nil {
		_ = resp.Body.Close()
		resp, err = nil, stage.ErrReset
	}
	w.delay(10)
	return w.witness(r, op, resp, err)
}

// witness notes whether the answer says what has become of a write.
func (w *wire) witness(r *http.Request, op string, resp *http.Response, err error) (*http.Response, error) {
	told := false
	if err == nil {
		body, broken := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		if broken != nil {
			resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), iotest.ErrReader(broken)))
		}
		sum := resp.Header.Get("X-Amz-Crc32")
		told = broken == nil && json.Valid(body) && resp.StatusCode < http.StatusInternalServerError &&
			(sum == "" || sum == strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10))
	}
	if !told {
		w.lose(r, op)
	}
	return resp, err
}

func (w *wire) lose(r *http.Request, op string) {
	if v := visitOf(r.Context()); v != nil && op != "GetItem" {
		v.lossy.Store(true)
	}
}

// sendLate breaks the connection to the client, and lets the request arrive later.
func (w *wire) sendLate(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	w.lose(r, op)
	late := r.Clone(context.WithoutCancel(r.Context()))
	late.Body = io.NopCloser(bytes.NewReader(body))
	w.late.Go(func() {
		w.delay(200)
		if resp, err := w.next.Do(late); err == nil {
			_ = resp.Body.Close()
		}
	})
	return stage.ErrReset
}

type wireFault int

const (
	wireFine wireFault = iota
	wireDropped
	wireUnanswered
	wireLate
	wireSpoiled
)

func (w *wire) roll() wireFault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rng.Float64()*100 >= w.percent {
		return wireFine
	}
	kinds := []wireFault{wireDropped, wireUnanswered, wireLate}
	if w.b.Server != nil {
		kinds = append(kinds, wireSpoiled, wireSpoiled)
	}
	return kinds[w.rng.IntN(len(kinds))]
}

// spoil makes a fault of the embedded backend for the next op, be it this one or
// another's. Half of them outlast the SDK's repetitions.
func (w *wire) spoil(op string) dynamotest.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := []dynamotest.Fault{
		{Kind: dynamotest.Refuse, Code: "ProvisionedThroughputExceededException"},
		{Kind: dynamotest.Refuse, Code: "ThrottlingException"},
		{Kind: dynamotest.Refuse, Code: "RequestLimitExceeded"},
		{Kind: dynamotest.Refuse, Code: "TransactionConflictException"},
		{Kind: dynamotest.Refuse},
		{Kind: dynamotest.Refuse, Applied: true},
		{Kind: dynamotest.Refuse, Code: "ServiceUnavailable", Applied: true},
		{Kind: dynamotest.Cut},
		{Kind: dynamotest.Cut, Applied: true},
		{Kind: dynamotest.Truncate},
		{Kind: dynamotest.Garbage},
		{Kind: dynamotest.Checksum},
		{Kind: dynamotest.Slow, Delay: time.Second},
		{Kind: dynamotest.Slow, Delay: 4 * time.Second, Applied: true},
	}
	f := all[w.rng.IntN(len(all))]
	f.Operation, f.Times = op, 1+3*w.rng.IntN(2)
	return f
}

// delay takes up to so many milliseconds.
func (w *wire) delay(most int) {
	if !w.bubble {
		most /= 10
	}
	w.mu.Lock()
	d := time.Duration(w.rng.IntN(most*1000+1)) * time.Microsecond
	w.mu.Unlock()
	time.Sleep(d)
}
