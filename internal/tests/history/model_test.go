package history_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// Model-based tests: random programs run against the package and against a model of a few
// maps, and both must show the same after each step. rapid makes a failing program as short
// as it can. The clock is a synctest bubble's.

const (
	modelIdle     = 30 * time.Minute
	modelTouch    = 5 * time.Minute
	modelLifetime = 2 * time.Hour
)

var modelConfigs = map[string]dynasession.Config{
	"default":         {},
	"lock":            {Concurrency: dynasession.Lock},
	"last write wins": {Concurrency: dynasession.LastWriteWins},
	"encrypted":       {EncryptionKeys: [][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)}},
	"plain ids":       {InsecurePlainIDs: true, Name: "PHPSESSID"},
	"foreign writers": {ForeignWriters: true, NoCompression: true},
	"binary":          {BinaryData: true, NoCompression: true},
	"eventual reads":  {EventualReads: true},
	"attributes":      {Attributes: dynasession.Attributes{ID: "k", Expires: "ttl", Data: "v", User: "who"}},
}

// modelRun is one example: a store of a table of its own, at the beginning of a second.
type modelRun struct {
	*stage.Backend
	t      *rapid.T
	store  *dynasession.Store
	table  string
	cookie string // its name
	cfg    dynasession.Config
}

// eachModel checks a property under each Config, each example in a bubble of its own.
func eachModel(t *testing.T, property func(r *modelRun)) {
	t.Helper()
	for name, cfg := range modelConfigs {
		cfg.IdleTimeout, cfg.TouchAfter, cfg.Lifetime = modelIdle, modelTouch, modelLifetime
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				rapid.SyncTest(rt, func(rt *rapid.T) {
					cfg := cfg
					cfg.Table = stage.NewTable()
					tb := rapidTB{t, rt}
					b := stage.Embedded(tb)
					tbStore := stage.NewStore(tb, b, cfg)
					property(&modelRun{Backend: b, t: rt, store: tbStore, table: cfg.Table, cookie: tbStore.CookieName(), cfg: cfg})
				})
			})
		})
	}
}

// rapidTB lets the helpers of other tests fail and clean up in a bubble of rapid's.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (t rapidTB) Helper() {}

func (t rapidTB) Cleanup(f func()) { t.rt.Cleanup(f) }

func (t rapidTB) Context() context.Context { return t.rt.Context() }

func (t rapidTB) Errorf(f string, a ...any) { t.rt.Errorf(f, a...) }

func (t rapidTB) FailNow() { t.rt.FailNow() }

var modelSleeps = []time.Duration{
	time.Second, modelTouch - time.Second, modelTouch, modelIdle - modelTouch, modelIdle - time.Second, modelIdle,
	modelIdle + 61*time.Second, modelLifetime - modelIdle, modelLifetime,
}

// sessionOp is one call of a handler.
type sessionOp struct {
	verb string
	key  string
	n    int
	d    time.Duration
}

func (o sessionOp) GoString() string {
	switch {
	case o.d != 0:
		return fmt.Sprintf("%s(%v)", o.verb, o.d)
	case strings.HasPrefix(o.verb, "Set") || o.verb == "AddFlash":
		return fmt.Sprintf("%s(%s %d)", o.verb, o.key, o.n)
	}
	return o.verb + "(" + o.key + ")"
}

// sessionRequest is what one handler does, and how long nobody did anything before.
type sessionRequest struct {
	after time.Duration
	ops   []sessionOp
}

func (q sessionRequest) GoString() string { return fmt.Sprintf("\n\tafter %v: %#v", q.after, q.ops) }

var sessionRequests = rapid.Custom(func(t *rapid.T) sessionRequest {
	return sessionRequest{
		rapid.SampledFrom(modelSleeps).Draw(t, "after"),
		rapid.SliceOfN(sessionOps, 0, 5).Draw(t, "ops"),
	}
})

var sessionOps = rapid.Custom(func(t *rapid.T) sessionOp {
	o := sessionOp{verb: rapid.SampledFrom([]string{
		"Set", "Set", "Delete", "Update", "Pop", "AddFlash", "Flashes",
		"SetUser", "Renew", "Remember", "LimitTo", "Destroy", "Save", "panic", "sleep",
	}).Draw(t, "verb")}
	switch o.verb {
	case "Set":
		o.key, o.n = modelKey(t), rapid.IntRange(0, 3).Draw(t, "n")
	case "Delete", "Update", "Pop":
		o.key = modelKey(t)
	case "AddFlash":
		o.n = rapid.IntRange(0, 3).Draw(t, "n")
	case "SetUser":
		o.key = rapid.SampledFrom([]string{"", "alice", "bob"}).Draw(t, "user")
	case "Remember":
		o.d = rapid.SampledFrom([]time.Duration{-1, time.Minute, modelLifetime + time.Hour}).Draw(t, "d")
	case "LimitTo":
		o.d = rapid.SampledFrom([]time.Duration{-time.Second, modelTouch, modelLifetime}).Draw(t, "d")
	case "sleep":
		o.d = rapid.SampledFrom([]time.Duration{time.Second, modelTouch}).Draw(t, "d")
	}
	return o
})

func modelKey(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key") }

// modelSession is what a session should be.
type modelSession struct {
	stored  bool
	vals    map[string]int
	flashes []int
	user    string
	born    int64
	until   int64
	limit   int64 // 0: none
	idle    int64 // 0: not remembered
	expires int64

	// what the request has done since its load or last save
	kept         modelTimes
	wrote, renew bool
	did          bool  // anything, also what changes nothing
	ended        bool  // Destroy, of what had been stored
	asked        int64 // LimitTo's end
	remembered   bool  // Remember, of any kind
	signedIn     int64 // when
	anew         bool  // over another user's session

	// what the request has done since its load
	remembers *modelRemember // the last Remember
	limits    int64          // LimitTo's end

	ghost bool // the session was renewed, and the browser does not know
	spent bool // and what became of it has been used
}

// modelTimes are when a session begins and ends, as it is stored.
type modelTimes struct{ born, until, limit, idle int64 }

type modelRemember struct{ idle, at int64 }

func emptyModel() modelSession {
	now := time.Now().Unix()
	m := modelSession{vals: map[string]int{}, kept: modelTimes{born: now, until: now + modelLife}}
	m.time()
	return m
}

const modelLife = int64(modelLifetime / time.Second)

// time works out when the session begins and ends.
func (m *modelSession) time() {
	t := m.kept
	limit := func() {
		if t.limit != 0 {
			t.until = min(t.until, t.limit)
		}
	}
	forget := func() {
		if m.signedIn != 0 && t.idle != 0 && t.born+modelLife <= m.signedIn {
			t.born = m.signedIn
		}
		t.idle, t.until = 0, t.born+modelLife
	}
	switch {
	case m.anew:
		t = modelTimes{born: m.signedIn, until: m.signedIn + modelLife}
	case m.signedIn != 0 && m.remembers == nil && t.idle != 0:
		forget()
	}
	if m.asked != 0 && (t.limit == 0 || m.asked < t.limit) {
		t.limit = m.asked
	}
	if r := m.remembers; r != nil && (m.remembered || m.signedIn != 0) {
		if forget(); r.idle != 0 {
			t.born, t.idle, t.until = m.kept.born, r.idle, r.at+r.idle
			if m.anew {
				t.born = m.signedIn
			}
		}
	}
	limit()
	m.born, m.until, m.limit, m.idle = t.born, t.until, t.limit, t.idle
}

func (m *modelSession) signIn(user string) {
	m.signedIn = time.Now().Unix()
	if m.user != "" && m.user != user {
		m.anew, m.asked = true, m.limits
		m.vals, m.flashes = map[string]int{}, nil
	}
	m.wrote, m.renew, m.user = true, true, user
	m.time()
}

func (m *modelSession) clone() modelSession {
	c := *m
	c.vals, c.flashes = maps.Clone(m.vals), slices.Clone(m.flashes)
	return c
}

func (m *modelSession) live() bool { return m.stored && m.expires > time.Now().Unix() }

func (m *modelSession) expiry() int64 {
	idle := m.idle
	if idle == 0 {
		idle = int64(modelIdle.Seconds())
	}
	return min(time.Now().Unix()+idle, m.until)
}

// save returns the error that is due.
func (m *modelSession) save() error {
	empty := len(m.vals)+len(m.flashes) == 0 && m.user == ""
	now := time.Now().Unix()
	over := m.asked != 0 && m.asked <= now || m.remembered && m.live() && m.until <= now
	switch {
	case m.ghost && !m.did:
		return nil
	case m.ghost && (m.signedIn == 0 || m.user == "" || m.spent || m.asked != 0 && m.asked <= now || m.until <= now):
		return dynasession.ErrGone
	case m.ghost:
	case !m.stored && (over || empty):
		return nil
	case !m.stored && m.until <= now:
		return dynasession.ErrGone
	case m.stored && over:
		*m = emptyModel()
		return nil
	case m.stored && !m.wrote && !m.renew:
		if e := m.expiry(); m.expires > now && e-m.expires >= int64(modelTouch.Seconds()) {
			m.expires = e
		}
		return nil
	case m.stored && m.expires <= now:
		return dynasession.ErrGone
	}
	m.expires = m.expiry()
	m.kept = modelTimes{m.born, m.until, m.limit, m.idle}
	m.stored, m.wrote, m.renew, m.ended, m.asked, m.remembered, m.signedIn, m.anew = true, false, false, false, 0, false, 0, false
	m.ghost = false
	return nil
}

// sessionRun is a program at work.
type sessionRun struct {
	*modelRun
	browser *stage.Browser
	m       modelSession
	base    modelSession // as the table has it
	id      string
	dead    []string
	saveErr error
	untold  bool // the browser, of a cookie that lasts longer: the handler panicked after Save

	// of the id that the browser has
	cookie    string
	tombstone int64  // its end; 0: none
	named     string // the id that it names
	spent     bool   // which has been used
}

func TestSessionModel(t *testing.T) {
	eachModel(t, func(r *modelRun) {
		requests := rapid.SliceOfN(sessionRequests, 1, 6).Draw(r.t, "requests")
		run := &sessionRun{modelRun: r, m: emptyModel()}
		run.base = run.m.clone()
		var now sessionRequest
		run.browser = stage.NewBrowser(rapidTB{t, r.t}, r.store.Middleware(stage.App{"/": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
			run.request(s, now.ops)
		}}))
		for _, now = range requests {
			time.Sleep(now.after)
			run.send()
		}
	})
}

type modelPanic struct{}

// lineage notes what a Save has made of the id that the browser has. Nobody may ever tell it more.
func (r *sessionRun) lineage(before, after string, ended, wrote bool) {
	switch {
	case r.cfg.ForeignWriters:
	case before == "" && r.tombstone != 0: // a ghost has signed out, and in
		r.named, r.spent = after, false
	case ended && before == r.named:
		r.named, r.spent = "", false
	case ended || before == "":
	case before == r.cookie && after != before:
		r.tombstone, r.named, r.spent = time.Now().Add(stage.Grace).Unix(), after, false
	case before == r.named:
		r.spent = r.spent || wrote
	}
}

func (r *sessionRun) send() {
	defer func() {
		switch p := recover(); p.(type) {
		case nil:
		case modelPanic:
			r.untold = true
			r.m = r.base.clone()               // what was not saved is gone
			if r.id != stage.IDOf(r.browser) { // and nobody knows the new id of what was
				r.m, r.id = emptyModel(), ""
			}
		default:
			panic(p)
		}
	}()
	if at := stage.IDOf(r.browser); r.cookie != at {
		r.cookie, r.tombstone, r.named, r.spent = at, 0, "", false
	}
	switch {
	case r.tombstone != 0:
		r.m = emptyModel()
		r.m.ghost, r.m.spent = r.tombstone > time.Now().Unix(), r.spent
	case !r.m.live():
		r.bury()
		r.m = emptyModel()
	case r.untold && stage.IDOf(r.browser) == "": // it has dropped the cookie in time
		r.m, r.id = emptyModel(), ""
	}
	r.m.did, r.m.remembers, r.m.limits = false, nil, 0
	r.base = r.m.clone()
	r.saveErr, r.untold = nil, false
	w := r.browser.Get("/")
	err := r.saveErr
	if err == nil {
		err = r.m.save()
	}
	if err != nil {
		require.Equal(r.t, http.StatusConflict, w.Code, err)
		if r.m.ended { // which was done, though the new session could not be
			r.bury()
			r.base = emptyModel()
		}
		r.m = r.base.clone()
		return
	}
	require.Equal(r.t, http.StatusOK, w.Code, w.Body.String())
	r.settle(stage.IDOf(r.browser))
	r.inTable()
}

// request runs ops on the session and the model, and compares them after each.
func (r *sessionRun) request(s *dynasession.Session, ops []sessionOp) {
	require.Equal(r.t, !r.m.stored, s.IsNew(), "IsNew after the load")
	r.compare(s)
	for _, o := range ops {
		r.apply(s, o)
		if r.saveErr != nil {
			return
		}
		r.compare(s)
	}
}

func (r *sessionRun) apply(s *dynasession.Session, o sessionOp) {
	m := &r.m
	now := time.Now()
	old, had := m.vals[o.key]
	switch o.verb {
	case "Save", "panic", "sleep", "Destroy":
	case "Pop":
		m.did = m.did || had
	case "Flashes":
		m.did = m.did || len(m.flashes) > 0
	default:
		m.did = true
	}
	switch o.verb {
	case "Set":
		s.Set(o.key, o.n)
		m.wrote = m.wrote || !had || old != o.n
		m.vals[o.key] = o.n
	case "Delete":
		s.Delete(o.key)
		m.wrote = m.wrote || had
		delete(m.vals, o.key)
	case "Update":
		dynasession.Update(s, o.key, func(n int) int { return n + 1 })
		m.wrote = true
		m.vals[o.key] = old + 1
	case "Pop":
		v, ok := dynasession.Pop[int](s, o.key)
		require.Equal(r.t, had, ok, "Pop")
		require.Equal(r.t, old, v, "Pop")
		m.wrote = m.wrote || had
		delete(m.vals, o.key)
	case "AddFlash":
		s.AddFlash(o.n)
		m.wrote = true
		m.flashes = append(m.flashes, o.n)
	case "Flashes":
		require.Equal(r.t, m.flashes, dynasession.Flashes[int](s), "Flashes")
		m.wrote = m.wrote || len(m.flashes) > 0
		m.flashes = nil
	case "SetUser":
		s.SetUser(o.key)
		m.signIn(o.key)
	case "Renew":
		s.Renew()
		m.renew = true
	case "Remember":
		s.Remember(o.d)
		m.remember(o.d)
	case "LimitTo":
		s.LimitTo(now.Add(o.d))
		m.limitTo(now.Add(o.d).Unix())
	case "Destroy":
		s.Destroy()
		*m = emptyModel()
		m.ended = true
	case "Save":
		r.save(s)
	case "panic":
		panic(modelPanic{})
	case "sleep":
		time.Sleep(o.d)
	}
}

func (m *modelSession) remember(d time.Duration) {
	before := [2]int64{m.idle, m.until}
	was := m.remembered
	m.remembers = &modelRemember{at: time.Now().Unix()}
	if d > 0 {
		m.remembers.idle = int64(d.Seconds())
	}
	m.remembered = true
	if m.time(); !was && before == [2]int64{m.idle, m.until} {
		m.remembered = false
	}
	m.wrote = m.wrote || m.remembered
}

func (m *modelSession) limitTo(at int64) {
	if m.limits == 0 || at < m.limits {
		m.limits = at
	}
	if !m.ghost && m.limit != 0 && m.limit <= at && at > time.Now().Unix() {
		return
	}
	m.wrote = true
	if m.asked == 0 || at < m.asked {
		m.asked = at
	}
	m.time()
}

func (r *sessionRun) save(s *dynasession.Session) {
	err := s.Save(r.t.Context())
	before, ended, wrote := r.id, r.m.ended, r.m.wrote || r.m.renew
	want := r.m.save()
	require.ErrorIs(r.t, err, want, "Save")
	if want != nil {
		r.saveErr = want
		return
	}
	require.NoError(r.t, err, "Save")
	r.settle(s.ID())
	if r.m.stored || ended {
		r.lineage(before, r.id, ended, wrote)
	}
	require.Equal(r.t, !r.m.stored, s.IsNew(), "IsNew after Save")
	r.base = r.m.clone()
}

// settle notes the id after a save.
func (r *sessionRun) settle(id string) {
	if r.m.live() { // else a cookie with an end may have ended too
		require.NotEmpty(r.t, id, "a stored session without an id")
		require.NotContains(r.t, r.dead, id, "an id that was given up")
	}
	if id != r.id {
		r.bury()
	}
	if r.id = ""; r.m.live() {
		r.id = id
	}
}

func (r *sessionRun) bury() {
	if r.id != "" {
		r.dead = append(r.dead, r.id)
	}
	r.id = ""
}

func (r *sessionRun) compare(s *dynasession.Session) {
	m := &r.m
	require.Equal(r.t, slices.Sorted(maps.Keys(m.vals)), append([]string(nil), s.Keys()...), "Keys")
	for _, key := range []string{"a", "b"} {
		want, has := m.vals[key]
		got, ok := dynasession.Get[int](s, key)
		require.Equal(r.t, has, ok, "Get %s", key)
		require.Equal(r.t, want, got, "Get %s", key)
		require.Equal(r.t, has, s.Has(key), "Has %s", key)
	}
	require.Equal(r.t, m.user, s.User(), "User")
	require.Equal(r.t, m.born, s.Created().Unix(), "Created")
}

// inTable looks at what the request has left behind.
func (r *sessionRun) inTable() {
	for _, id := range r.dead {
		_, err := r.store.Read(r.t.Context(), id)
		require.ErrorIs(r.t, err, dynasession.ErrNotFound, "a dead session lives")
	}
	if r.id == "" {
		return
	}
	data, err := r.store.Read(r.t.Context(), r.id)
	if !r.m.live() {
		require.ErrorIs(r.t, err, dynasession.ErrNotFound)
		return
	}
	require.NoError(r.t, err)
	stored := map[string]int{}
	if plain := stage.Plain(string(data)); plain != "" {
		require.NoError(r.t, json.Unmarshal([]byte(plain), &stored))
	}
	flashes := 0
	maps.DeleteFunc(stored, func(key string, _ int) bool {
		flash := strings.HasPrefix(key, "_flash.")
		if flash {
			flashes++
		}
		return flash
	})
	require.Equal(r.t, r.m.vals, stored, "stored values")
	require.Len(r.t, r.m.flashes, flashes, "stored flashes")
}

// storeOp is one call of a Store's verb.
type storeOp struct {
	verb string
	slot int
	n    int
	user string
	d    time.Duration
}

func (o storeOp) GoString() string {
	switch o.verb {
	case "GC", "sleep":
		return fmt.Sprintf("%s(%v)", o.verb, o.d)
	case "Sweep":
		return fmt.Sprintf("%s(%d segments)", o.verb, o.n+1)
	case "Write":
		return fmt.Sprintf("Write(%d, data %d)", o.slot, o.n)
	case "SetUser":
		return fmt.Sprintf("SetUser(%d, %s)", o.slot, o.user)
	case "UserSessions", "DestroyUser":
		return fmt.Sprintf("%s(%s)", o.verb, o.user)
	}
	return fmt.Sprintf("%s(%d)", o.verb, o.slot)
}

const modelSlots = 3

// modelData are a session's bytes: none, few, and so many that they are worth compressing.
var modelData = [][]byte{nil, []byte(`{"a":1}`), []byte(`{"a":2}`), []byte(`{"long":"` + strings.Repeat("x", 3000) + `"}`)}

var storeOps = rapid.Custom(func(t *rapid.T) storeOp {
	o := storeOp{verb: rapid.SampledFrom([]string{
		"Write", "Write", "Destroy", "UpdateTimestamp", "GC", "Sweep", "SetUser", "UserSessions", "DestroyUser", "sleep", "sleep",
	}).Draw(t, "verb")}
	switch o.verb {
	case "Write", "Destroy", "UpdateTimestamp", "SetUser":
		o.slot = rapid.IntRange(0, modelSlots-1).Draw(t, "slot")
	case "GC":
		o.d = rapid.SampledFrom([]time.Duration{0, time.Second, modelIdle - modelTouch, modelIdle + time.Hour}).Draw(t, "unused for")
	case "sleep":
		o.d = rapid.SampledFrom(modelSleeps).Draw(t, "d")
	}
	switch o.verb {
	case "Write", "Sweep":
		o.n = rapid.IntRange(0, len(modelData)-1).Draw(t, "n")
	case "SetUser", "UserSessions", "DestroyUser":
		o.user = rapid.SampledFrom([]string{"alice", "bob"}).Draw(t, "user")
	}
	return o
})

// modelItem is what the table should have under an id.
type modelItem struct {
	id      string
	there   bool
	data    []byte
	user    string
	used    int64
	until   int64
	expires int64
}

func (m *modelItem) live() bool { return m.there && m.expires > time.Now().Unix() }

// use moves the expiry, never back.
func (m *modelItem) use() {
	m.used = time.Now().Unix()
	m.expires = max(m.expires, min(m.used+int64(modelIdle.Seconds()), m.until))
}

func (m *modelItem) create() {
	now := time.Now().Unix()
	*m = modelItem{id: m.id, there: true, until: now + int64(modelLifetime.Seconds())}
}

// storeRun is a program of verbs at work.
type storeRun struct {
	*modelRun
	slots [modelSlots]modelItem
	dead  []string
}

func TestStoreModel(t *testing.T) {
	eachModel(t, func(r *modelRun) {
		ops := rapid.SliceOfN(storeOps, 1, 20).Draw(r.t, "calls")
		run := &storeRun{modelRun: r}
		for i := range run.slots {
			run.slots[i].id = r.store.CreateID()
		}
		for _, o := range ops {
			run.apply(o)
			run.compare()
		}
	})
}

func (r *storeRun) apply(o storeOp) {
	ctx, m := r.t.Context(), &r.slots[o.slot]
	switch o.verb {
	case "Write":
		require.NoError(r.t, r.store.Write(ctx, m.id, modelData[o.n]), "Write")
		if !m.live() {
			m.create()
		}
		m.data = modelData[o.n]
		m.use()
	case "Destroy":
		require.NoError(r.t, r.store.Destroy(ctx, m.id), "Destroy")
		m.there = false
	case "UpdateTimestamp":
		err := r.store.UpdateTimestamp(ctx, m.id)
		if !m.live() {
			require.ErrorIs(r.t, err, dynasession.ErrNotFound, "UpdateTimestamp")
			return
		}
		require.NoError(r.t, err, "UpdateTimestamp")
		m.use()
	case "GC":
		r.collect(o.d)
	case "Sweep":
		r.sweep(o.n + 1)
	case "SetUser":
		r.signIn(m, o.user)
	case "UserSessions":
		r.list(o.user)
	case "DestroyUser":
		r.signOut(o.user)
	case "sleep":
		time.Sleep(o.d)
	}
}

// signIn goes through the middleware, since only a Session has a user.
func (r *storeRun) signIn(m *modelItem, user string) {
	b := stage.NewBrowser(rapidTB{nil, r.t}, r.store.Middleware(stage.App{"/": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
		s.SetUser(user)
	}}))
	b.Jar.SetCookies(stage.Origin, []*http.Cookie{{Name: r.cookie, Value: m.id, Path: "/", Secure: true}})
	b.OK("/")
	id := stage.IDOf(b)
	require.NotEqual(r.t, m.id, id, "an id that outlives a sign-in")
	if !m.live() {
		require.NoError(r.t, r.store.Destroy(r.t.Context(), m.id)) // what a sweep would find
		m.create()
	}
	r.dead = append(r.dead, m.id)
	if m.user != "" && m.user != user {
		m.create()
	}
	m.id, m.user = id, user
	m.use()
}

// unused reports whether a sweep deletes m, which keeps what has expired for a minute.
// The last use follows from the expiry, exact to TouchAfter, unless the absolute end has shortened the expiry.
func (m *modelItem) unused(d time.Duration) bool {
	now, latest := time.Now().Unix(), m.expires
	if m.expires < m.until {
		latest = m.used + int64(modelTouch.Seconds())
	}
	return m.there && (m.expires < now-60 || d > 0 && latest < now-int64(d.Seconds()))
}

func (r *storeRun) collect(unused time.Duration) {
	n, err := r.store.GC(r.t.Context(), unused)
	require.NoError(r.t, err, "GC")
	require.Equal(r.t, r.drop(func(m *modelItem) bool { return m.unused(unused) }), n, "GC")
}

func (r *storeRun) sweep(segments int) {
	opts := dynasession.SweepOptions{Segments: segments, DryRun: true}
	dry, err := r.store.Sweep(r.t.Context(), opts)
	require.NoError(r.t, err, "Sweep")
	require.Zero(r.t, dry.Deleted, "a dry run deletes")
	opts.DryRun = false
	wet, err := r.store.Sweep(r.t.Context(), opts)
	require.NoError(r.t, err, "Sweep")
	want := r.drop(func(m *modelItem) bool { return m.unused(0) })
	require.Equal(r.t, [3]int{want, want, want}, [3]int{dry.Expired, wet.Expired, wet.Deleted}, "Sweep")
}

// drop deletes items from the model, and returns how many.
func (r *storeRun) drop(which func(*modelItem) bool) (n int) {
	for i := range r.slots {
		if m := &r.slots[i]; which(m) {
			m.there = false
			n++
		}
	}
	return n
}

func (r *storeRun) list(user string) {
	infos, err := r.store.UserSessions(r.t.Context(), user)
	require.NoError(r.t, err, "UserSessions")
	var got, want []int64
	for _, info := range infos {
		require.Equal(r.t, user, info.User, "UserSessions")
		got = append(got, info.Expires.Unix())
	}
	for i := range r.slots {
		if m := &r.slots[i]; m.live() && m.user == user {
			want = append(want, m.expires)
		}
	}
	require.ElementsMatch(r.t, want, got, "UserSessions: when they expire")
}

func (r *storeRun) signOut(user string) {
	ended := 0
	r.drop(func(m *modelItem) bool {
		if m.user == user && m.live() {
			ended++
		}
		return m.user == user
	})
	n, err := r.store.DestroyUser(r.t.Context(), user, nil)
	require.NoError(r.t, err, "DestroyUser")
	require.Equal(r.t, ended, n, "DestroyUser")
}

// compare holds all that can be read against the model.
func (r *storeRun) compare() {
	there := 0
	for i := range r.slots {
		m := &r.slots[i]
		if m.there {
			there++
		}
		data, err := r.store.Read(r.t.Context(), m.id)
		valid, validErr := r.store.ValidateID(r.t.Context(), m.id)
		require.NoError(r.t, validErr, "ValidateID")
		require.Equal(r.t, m.live(), valid, "ValidateID")
		if !m.live() {
			require.ErrorIs(r.t, err, dynasession.ErrNotFound, "Read(%d)", i)
			continue
		}
		require.NoError(r.t, err, "Read(%d)", i)
		require.Equal(r.t, string(m.data), stage.Plain(string(data)), "Read(%d)", i)
	}
	for _, id := range r.dead {
		_, err := r.store.Read(r.t.Context(), id)
		require.ErrorIs(r.t, err, dynasession.ErrNotFound, "an id that was given up")
	}
	require.Len(r.t, slices.DeleteFunc(r.Server.Items(r.table), stage.IsTombstone), there, "items in the table")
}
