package dynagorilla_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/gob"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/tester"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	dynagorilla "github.com/dynasession/dynasession/adapters/gorilla"
	"github.com/dynasession/dynasession/internal/tests/adaptertest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

type cart struct {
	Items map[string]int
	Note  string
}

func TestMain(m *testing.M) {
	gob.Register(cart{})
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter = &stage.Output
	stage.Main(m)
}

const name = "app"

func newStore(store *dynasession.Store) *dynagorilla.Store {
	s := dynagorilla.New(store)
	s.Options.Secure = false // the servers have no TLS
	return s
}

// app has the paths of adaptertest.
func app(store *dynagorilla.Store, inside func()) http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f func(w http.ResponseWriter, r *http.Request, g *sessions.Session)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			g, err := store.Get(r, name)
			if err != nil {
				store.Error(w, r, err)
				return
			}
			f(w, r, g)
		})
	}
	done := func(w http.ResponseWriter, r *http.Request, g *sessions.Session) {
		if err := g.Save(r, w); err != nil {
			store.Error(w, r, err)
			return
		}
		stage.Write(w, "done")
	}
	get("/set", func(w http.ResponseWriter, r *http.Request, g *sessions.Session) {
		g.Values[r.URL.RawQuery] = "v"
		done(w, r, g)
	})
	get("/get", func(w http.ResponseWriter, _ *http.Request, g *sessions.Session) {
		var keys []string
		for k := range g.Values {
			keys = append(keys, fmt.Sprint(k))
		}
		slices.Sort(keys)
		stage.Write(w, strings.Join(keys, " ")+";"+dynagorilla.Session(g).User())
	})
	get("/login", func(w http.ResponseWriter, r *http.Request, g *sessions.Session) {
		dynagorilla.Session(g).SetUser(r.URL.RawQuery)
		done(w, r, g)
	})
	get("/logout", func(w http.ResponseWriter, r *http.Request, g *sessions.Session) {
		g.Options.MaxAge = -1
		done(w, r, g)
	})
	get("/slow", func(w http.ResponseWriter, r *http.Request, g *sessions.Session) {
		inside()
		g.Values[r.URL.RawQuery] = "v"
		done(w, r, g)
	})
	get("/stream", func(w http.ResponseWriter, r *http.Request, g *sessions.Session) {
		g.Values[r.URL.RawQuery] = "v"
		if err := g.Save(r, w); err != nil {
			store.Error(w, r, err)
			return
		}
		stage.Write(w, "first")
		_ = http.NewResponseController(w).Flush()
		inside()
		stage.Write(w, "second")
	})
	get("/panic", func(_ http.ResponseWriter, r *http.Request, g *sessions.Session) {
		g.Values[r.URL.RawQuery] = "v"
		panic(http.ErrAbortHandler)
	})
	return mux
}

func TestAdapter(t *testing.T) {
	a := adaptertest.Adapter{Serve: func(t *testing.T, store *dynasession.Store, inside func()) string {
		srv := httptest.NewServer(app(newStore(store), inside))
		t.Cleanup(srv.Close)
		return srv.URL
	}}
	a.Run(t)
}

// client calls a handler with a gorilla session.
type client struct {
	t     *testing.T
	store *dynagorilla.Store
	*stage.Browser
}

func newClient(t *testing.T, b *stage.Backend, cfg dynasession.Config) *client {
	t.Helper()
	c := &client{t: t, store: dynagorilla.New(stage.NewStore(t, b, cfg))}
	c.Browser = stage.NewBrowser(t, nil)
	return c
}

// do runs f in a request, which it saves.
func (c *client) do(f func(g *sessions.Session)) *httptest.ResponseRecorder {
	c.t.Helper()
	c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, err := c.store.Get(r, name)
		if !assert.NoError(c.t, err) {
			return
		}
		f(g)
		assert.NoError(c.t, c.store.Save(r, w, g))
	})
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel() // as net/http does
	return c.Do(ctx, "/")
}

// TestValues checks that values come back as they were, with their types.
func TestValues(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		c := newClient(t, b, dynasession.Config{})
		var zipped bytes.Buffer // what goth does
		z := gzip.NewWriter(&zipped)
		_, _ = z.Write([]byte("access token"))
		_ = z.Close()
		want := map[any]any{
			"string": "text", "bytes in a string": zipped.String(), "bytes": []byte{0, 0xff}, "int": 42, "int64": int64(1) << 60, "float": 1.5,
			"bool": true, "struct": cart{Items: map[string]int{"a": 1, "b": 2}, Note: "x"}, "time": []any{"flash", 1}, "": "no key",
			42: 43, 1.5: "float key", "_gob.x": 1, "_flash.x": 2, "a\"b\\c\x00": "odd key",
		}
		c.do(func(g *sessions.Session) {
			assert.True(t, g.IsNew)
			maps.Copy(g.Values, want)
		})
		c.do(func(g *sessions.Session) {
			assert.False(t, g.IsNew)
			assert.Equal(t, want, g.Values)
			delete(g.Values, 42)
			delete(g.Values, "int")
		})
		delete(want, 42)
		delete(want, "int")
		c.do(func(g *sessions.Session) { assert.Equal(t, want, g.Values) })
	})
}

// TestUnchanged checks that a Save without a change writes nothing, also of maps, which gob encodes in any order.
func TestUnchanged(t *testing.T) {
	b := stage.Embedded(t)
	c := newClient(t, b, dynasession.Config{})
	c.do(func(g *sessions.Session) {
		g.Values["cart"] = cart{Items: map[string]int{"a": 1, "b": 2, "c": 3, "d": 4}}
	})
	b.Calls.Take()
	for range 10 {
		w := c.do(func(*sessions.Session) {})
		assert.Empty(t, stage.Cookies(w))
	}
	for _, op := range b.Calls.Take() {
		assert.Equal(t, "GetItem", op)
	}
}

func TestFlashes(t *testing.T) {
	c := newClient(t, stage.Embedded(t), dynasession.Config{})
	c.do(func(g *sessions.Session) { g.AddFlash("one"); g.AddFlash("two"); g.AddFlash("other", "named") })
	c.do(func(g *sessions.Session) {
		assert.Equal(t, []any{"one", "two"}, g.Flashes())
		assert.Empty(t, g.Flashes())
	})
	c.do(func(g *sessions.Session) {
		assert.Empty(t, g.Flashes())
		assert.Equal(t, []any{"other"}, g.Flashes("named"))
	})
}

// TestMaxAge checks how long sessions last, to the second, and that they are written only when a tenth of the time has passed.
func TestMaxAge(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(b *stage.Timed) {
		t := b.T
		c := newClient(t, b.Backend, dynasession.Config{})
		c.store.Options.MaxAge = 100 * 3600
		w := c.do(func(g *sessions.Session) { g.Values["k"] = 1 })
		assert.Equal(t, 100*3600, stage.OnlyCookie(t, w).MaxAge)
		b.Calls.Take()
		time.Sleep(9 * time.Hour)
		assert.Empty(t, stage.Cookies(c.do(func(*sessions.Session) {})))
		assert.Equal(t, []string{"GetItem"}, b.Calls.Take())
		time.Sleep(2 * time.Hour)
		assert.Equal(t, 100*3600, stage.OnlyCookie(t, c.do(func(*sessions.Session) {})).MaxAge)
		assert.Equal(t, []string{"GetItem", "UpdateItem"}, b.Calls.Take())
		time.Sleep(100*time.Hour - time.Second)
		id := c.Cookie()
		assert.NotEmpty(t, id)
		c.do(func(g *sessions.Session) { assert.Equal(t, 1, g.Values["k"]) })

		c = newClient(t, b.Backend, dynasession.Config{IdleTimeout: time.Minute})
		c.do(func(g *sessions.Session) { g.Values["k"] = 1 })
		time.Sleep(time.Minute)
		c.do(func(g *sessions.Session) { assert.True(t, g.IsNew) })
	})
}

// TestNegativeMaxAge checks that it ends the session and deletes the cookie.
func TestNegativeMaxAge(t *testing.T) {
	b := stage.Embedded(t)
	table := stage.NewTable()
	c := newClient(t, b, dynasession.Config{Table: table})
	c.do(func(g *sessions.Session) { g.Values["k"] = 1 })
	w := c.do(func(g *sessions.Session) { g.Options.MaxAge = -1 })
	assert.Equal(t, -1, stage.OnlyCookie(t, w).MaxAge)
	assert.Empty(t, stage.Items(t, b, table))
	assert.Empty(t, c.Cookie())
}

// TestNames checks that sessions of several names are several sessions.
func TestNames(t *testing.T) {
	store := newStore(stage.NewStore(t, stage.Embedded(t), dynasession.Config{}))
	br := stage.NewBrowser(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one, err := store.Get(r, "one")
		assert.NoError(t, err)
		two, err := store.Get(r, "two")
		assert.NoError(t, err)
		if r.URL.Path == "/set" {
			one.Values["k"], two.Values["k"] = 1, 2
			assert.NoError(t, sessions.Save(r, w))
			return
		}
		stage.Write(w, fmt.Sprint(one.Values, two.Values))
	}))
	br.OK("/set")
	assert.Equal(t, "map[k:1] map[k:2]", br.OK("/"))
	assert.Len(t, br.Jar.Cookies(stage.Origin), 2)
}

// TestLock checks that a request that only reads gives the lock up when it ends.
func TestLock(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		c := newClient(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: 5 * time.Second})
		c.do(func(g *sessions.Session) { g.Values["n"] = 0 })
		c.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := c.store.Get(r, name)
			assert.NoError(t, err)
		})
		ctx, cancel := context.WithCancel(t.Context())
		c.Do(ctx, "/")
		cancel()
		c.do(func(g *sessions.Session) { g.Values["n"] = 1 })
	})
}

// TestForeignSession checks what is not a session of the store.
func TestForeignSession(t *testing.T) {
	store := newStore(stage.NewStore(t, stage.Embedded(t), dynasession.Config{}))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	other := sessions.NewCookieStore([]byte("key"))
	g, err := other.Get(r, name)
	require.NoError(t, err)
	assert.Nil(t, dynagorilla.Session(g))
	require.Error(t, store.Save(r, httptest.NewRecorder(), g))
	g, err = store.New(r, name)
	require.NoError(t, err)
	g.Values["f"] = func() {}
	require.ErrorContains(t, g.Save(r, httptest.NewRecorder()), "func")
}

// ginStore is a store of gin-contrib/sessions.
type ginStore struct{ *dynagorilla.Store }

func (s ginStore) Options(o ginsessions.Options) { s.Store.Options = *o.ToGorillaOptions() }

// TestGinContrib runs the tests that gin-contrib/sessions has for stores.
func TestGinContrib(t *testing.T) {
	b := stage.Embedded(t)
	store := func(t *testing.T) ginsessions.Store {
		return ginStore{dynagorilla.New(stage.NewStore(t, b, dynasession.Config{}))}
	}
	for name, test := range map[string]func(*testing.T, func(*testing.T) ginsessions.Store){
		"GetSet":    func(t *testing.T, f func(*testing.T) ginsessions.Store) { tester.GetSet(t, f) },
		"DeleteKey": func(t *testing.T, f func(*testing.T) ginsessions.Store) { tester.DeleteKey(t, f) },
		"Flashes":   func(t *testing.T, f func(*testing.T) ginsessions.Store) { tester.Flashes(t, f) },
		"Clear":     func(t *testing.T, f func(*testing.T) ginsessions.Store) { tester.Clear(t, f) },
		"Options":   func(t *testing.T, f func(*testing.T) ginsessions.Store) { tester.Options(t, f) },
		"Many":      func(t *testing.T, f func(*testing.T) ginsessions.Store) { tester.Many(t, f) },
	} {
		t.Run(name, func(t *testing.T) { test(t, store) })
	}
}
