// Package adaptertest is what every adapter must pass: the promises, through a real server of the adapter's framework.
package adaptertest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// An Adapter serves an app with these paths:
//
//	/set?k     sets the key k to "v" and writes "done"
//	/get       writes the sorted keys, separated by spaces, and ";" and the user
//	/login?u   signs u in, with a new id, and writes "done"
//	/logout    ends the session and writes "done"
//	/slow?k    reads the session, calls inside, sets the key k to "v", and writes "done"
//	/stream?k  sets the key k to "v", sends "first", calls inside, and sends "second"
//	/panic?k   sets the key k to "v" and panics
//
// If the session cannot be loaded, each returns without writing anything, if the framework lets it.
type Adapter struct {
	// Serve starts a server, which the end of the test closes, and returns its URL.
	Serve func(t *testing.T, store *dynasession.Store, inside func()) (address string)
	// Config is what the adapter needs.
	Config dynasession.Config
	// Appends says that the framework sends the handler's body even after an error has been answered.
	Appends bool
}

// A Browser keeps cookies.
type Browser struct {
	t      testing.TB
	URL    string
	Client *http.Client
}

// NewBrowser returns a browser without cookies.
func NewBrowser(t testing.TB, address string) *Browser {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &Browser{t, address, &http.Client{Jar: jar, Transport: transport, Timeout: time.Minute}}
}

// Twin returns another browser with the same cookies.
func (b *Browser) Twin() *Browser {
	twin := NewBrowser(b.t, b.URL)
	at, err := url.Parse(b.URL)
	require.NoError(b.t, err)
	twin.Client.Jar.SetCookies(at, b.Client.Jar.Cookies(at))
	return twin
}

// Cookies returns the cookies that the browser has.
func (b *Browser) Cookies() string {
	at, err := url.Parse(b.URL)
	require.NoError(b.t, err)
	var all []string
	for _, c := range b.Client.Jar.Cookies(at) {
		all = append(all, c.String())
	}
	return strings.Join(all, "; ")
}

// Get requests path and returns the response, whose body is read, and the body.
func (b *Browser) Get(path string) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, b.URL+path, http.NoBody)
	require.NoError(b.t, err)
	resp, err := b.Client.Do(r)
	require.NoError(b.t, err, path)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err, path)
	return resp, string(body)
}

// OK requests path, requires status 200 and returns the body.
func (b *Browser) OK(path string) string {
	b.t.Helper()
	resp, body := b.Get(path)
	require.Equal(b.t, http.StatusOK, resp.StatusCode, "%s: %s", path, body)
	return body
}

// scene is a server of the adapter with a table of its own.
type scene struct {
	*stage.Backend
	t     *testing.T
	table string
	store *dynasession.Store
	url   string

	mu     sync.Mutex
	inside func()
}

func (a *Adapter) scene(t *testing.T, b *stage.Backend) *scene {
	t.Helper()
	sc := &scene{Backend: b, t: t}
	cfg := a.Config
	cfg.Table, cfg.Cookie.Insecure = stage.NewTable(), true // the servers have no TLS
	sc.table, sc.store = cfg.Table, stage.NewStore(t, b, cfg)
	sc.url = a.Serve(t, sc.store, func() {
		sc.mu.Lock()
		f := sc.inside
		sc.mu.Unlock()
		if f != nil {
			f()
		}
	})
	return sc
}

// at makes f run when a handler calls inside.
func (sc *scene) at(f func()) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.inside = f
}

func (sc *scene) down() {
	sc.Calls.Intercept(func(*stage.Call) (*http.Response, error) {
		return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
	})
}

func (sc *scene) up() { sc.Calls.Intercept(nil) }

// browser returns a browser whose session has the key "first".
func (sc *scene) browser() *Browser {
	br := NewBrowser(sc.t, sc.url)
	br.OK("/set?first")
	return br
}

// Run runs the tests with each backend.
func (a *Adapter) Run(t *testing.T) {
	for name, test := range map[string]func(*Adapter, *testing.T, *scene){
		"parallel":    (*Adapter).parallel,
		"logout":      (*Adapter).logout,
		"reads":       (*Adapter).reads,
		"sign in":     (*Adapter).signIn,
		"load fails":  (*Adapter).loadFails,
		"save fails":  (*Adapter).saveFails,
		"stream":      (*Adapter).stream,
		"panic":       (*Adapter).panics,
		"empty":       (*Adapter).empty,
		"client gone": (*Adapter).clientGone,
	} {
		t.Run(name, func(t *testing.T) {
			stage.EachBackend(t, func(t *testing.T, b *stage.Backend) { test(a, t, a.scene(t, b)) })
		})
	}
}

// parallel: 20 requests at the same time set a key each, and none is lost.
func (*Adapter) parallel(t *testing.T, sc *scene) {
	const n = 20
	br := sc.browser()
	var loaded, all sync.WaitGroup
	loaded.Add(n)
	sc.at(func() {
		loaded.Done()
		loaded.Wait()
	})
	want := "first"
	for i := range n {
		key := fmt.Sprintf("k%02d", i)
		want += " " + key
		all.Go(func() {
			resp, body := br.Get("/slow?" + key)
			assert.Equal(t, http.StatusOK, resp.StatusCode, body)
		})
	}
	all.Wait()
	assert.Equal(t, want+";", br.OK("/get"))
}

// logout: a request that has loaded the session before the logout, and saves after it, does not bring it back.
func (a *Adapter) logout(t *testing.T, sc *scene) {
	br := sc.browser()
	br.OK("/login?alice")
	old, slow := br.Twin(), br.Twin()
	sc.at(func() { br.OK("/logout") })
	resp, body := slow.Get("/slow?late")
	assert.NotEqual(t, http.StatusOK, resp.StatusCode, body)
	assert.True(t, a.Appends || !strings.Contains(body, "done"), body)
	for _, b := range []*Browser{br, old, slow} {
		assert.Equal(t, ";", b.OK("/get"))
	}
	assert.Empty(t, stage.Items(t, sc.Backend, sc.table))
}

// reads: requests that only read do not write.
func (*Adapter) reads(t *testing.T, sc *scene) {
	br := sc.browser()
	sc.Calls.Take()
	for range 100 {
		assert.Equal(t, "first;", br.OK("/get"))
	}
	calls := sc.Calls.Take()
	assert.Len(t, calls, 100)
	for _, op := range calls {
		assert.Equal(t, "GetItem", op)
	}
}

// signIn: the new id arrives, and the old one opens nothing.
func (*Adapter) signIn(t *testing.T, sc *scene) {
	br := sc.browser()
	old := br.Twin()
	before := br.Cookies()
	assert.Equal(t, "done", br.OK("/login?alice"))
	assert.NotEqual(t, before, br.Cookies())
	assert.Equal(t, "first;alice", br.OK("/get"))
	assert.Equal(t, ";", old.OK("/get"))
	assert.Len(t, stage.Items(t, sc.Backend, sc.table), 1)
	assert.Equal(t, "done", br.OK("/logout"))
	assert.Equal(t, ";", br.OK("/get"))
}

// unavailable asserts that the response says that sessions cannot be used at the moment, and nothing else.
func (a *Adapter) unavailable(t *testing.T, resp *http.Response, body string) {
	t.Helper()
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
	assert.NotEmpty(t, resp.Header.Get("Retry-After"))
	assert.Empty(t, resp.Header.Values("Set-Cookie"))
	assert.True(t, a.Appends || !strings.Contains(body, "done"), body)
	assert.NotContains(t, body, ";", "an empty session")
}

func (a *Adapter) loadFails(t *testing.T, sc *scene) {
	br := sc.browser()
	for _, path := range []string{"/get", "/set?k", "/login?alice", "/logout", "/stream?k"} {
		sc.down()
		resp, body := br.Get(path)
		sc.up()
		a.unavailable(t, resp, body)
		assert.Equal(t, "first;", br.OK("/get"), path)
	}
}

func (a *Adapter) saveFails(t *testing.T, sc *scene) {
	br := sc.browser()
	sc.at(sc.down)
	resp, body := br.Get("/slow?k")
	sc.up()
	a.unavailable(t, resp, body)
	assert.Equal(t, "first;", br.OK("/get"))
}

// stream: the cookie of a new session is in the header of a response that is sent bit by bit.
func (*Adapter) stream(t *testing.T, sc *scene) {
	br := NewBrowser(t, sc.url)
	sent := make(chan struct{})
	sc.at(func() { <-sent })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, sc.url+"/stream?k", http.NoBody)
	require.NoError(t, err)
	resp, err := br.Client.Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	first := make([]byte, len("first"))
	_, err = io.ReadFull(resp.Body, first)
	require.NoError(t, err)
	assert.Equal(t, "first", string(first))
	assert.Equal(t, "k;", br.Twin().OK("/get"), "it is stored before the first byte")
	close(sent)
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "second", string(rest))
}

// panics: nothing of a handler that panics is stored.
func (*Adapter) panics(t *testing.T, sc *scene) {
	br := sc.browser()
	resp, err := br.Client.Get(br.URL + "/panic?half")
	if err == nil { // some frameworks answer
		_ = resp.Body.Close()
		assert.Equal(t, http.StatusInternalServerError, resp.StatusCode)
	}
	assert.Equal(t, "first;", br.OK("/get"))
}

// empty: a first visit that only reads stores nothing and sets no cookie.
func (a *Adapter) empty(t *testing.T, sc *scene) {
	br := NewBrowser(t, sc.url)
	sc.Calls.Take()
	assert.Equal(t, ";", br.OK("/get"))
	assert.Empty(t, br.Cookies())
	assert.Empty(t, sc.Calls.Take())
	assert.Empty(t, stage.Items(t, sc.Backend, sc.table))
}

// clientGone: a client that goes away does not end a save.
func (*Adapter) clientGone(t *testing.T, sc *scene) {
	br := sc.browser()
	ctx, cancel := context.WithCancel(t.Context())
	sc.at(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, sc.url+"/slow?late", http.NoBody)
	require.NoError(t, err)
	if resp, err := br.Client.Do(r); err == nil {
		_ = resp.Body.Close()
	}
	sc.at(nil)
	assert.Eventually(t, func() bool { return br.OK("/get") == "first late;" }, 10*time.Second, 10*time.Millisecond)
}
