package dynascs_test

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynasession/dynasession"
	dynascs "github.com/dynasession/dynasession/adapters/scs"
	"github.com/dynasession/dynasession/internal/tests/adaptertest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

type cart struct{ Items map[string]int }

func TestMain(m *testing.M) {
	gob.Register(cart{})
	stage.Main(m, goleak.IgnoreAnyFunction("github.com/alexedwards/scs/v2/memstore.(*MemStore).startCleanup")) // scs.New starts it
}

func newManager(store *dynasession.Store) *scs.SessionManager {
	return use(scs.New(), store)
}

func use(m *scs.SessionManager, store *dynasession.Store) *scs.SessionManager {
	m.Cookie.Secure = false // the servers have no TLS
	dynascs.Use(m, store)
	return m
}

// app has the paths of adaptertest.
func app(m *scs.SessionManager, inside func()) http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, f func(ctx context.Context, query string) error) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := f(r.Context(), r.URL.RawQuery); err != nil {
				m.ErrorFunc(w, r, err)
				return
			}
			stage.Write(w, "done")
		})
	}
	handle("/set", func(ctx context.Context, query string) error { m.Put(ctx, query, "v"); return nil })
	handle("/login", func(ctx context.Context, query string) error {
		m.Put(ctx, "user", query)
		return m.RenewToken(ctx)
	})
	handle("/logout", func(ctx context.Context, _ string) error { return m.Destroy(ctx) })
	handle("/slow", func(ctx context.Context, query string) error { inside(); m.Put(ctx, query, "v"); return nil })
	handle("/panic", func(ctx context.Context, query string) error {
		m.Put(ctx, query, "v")
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		keys := slices.DeleteFunc(m.Keys(r.Context()), func(key string) bool { return key == "user" })
		stage.Write(w, strings.Join(keys, " ")+";"+m.GetString(r.Context(), "user"))
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		m.Put(r.Context(), r.URL.RawQuery, "v")
		stage.Write(w, "first")
		_ = http.NewResponseController(w).Flush()
		inside()
		stage.Write(w, "second")
	})
	return m.LoadAndSave(mux)
}

func TestAdapter(t *testing.T) {
	for name, idle := range map[string]time.Duration{"lifetime": 0, "idle timeout": time.Hour} {
		t.Run(name, func(t *testing.T) {
			a := adaptertest.Adapter{
				Appends: true, // scs does
				Serve: func(t *testing.T, store *dynasession.Store, inside func()) string {
					m := newManager(store)
					m.IdleTimeout = idle
					srv := httptest.NewServer(app(m, inside))
					t.Cleanup(srv.Close)
					return srv.URL
				},
			}
			a.Run(t)
		})
	}
}

// client calls a handler with an scs session.
type client struct {
	t       *testing.T
	b       *stage.Backend
	table   string
	store   *dynasession.Store
	manager *scs.SessionManager
	token   string
	expiry  time.Time
}

func newClient(t *testing.T, b *stage.Backend) *client {
	t.Helper()
	return newClientOf(t, b, scs.New())
}

func newClientOf(t *testing.T, b *stage.Backend, m *scs.SessionManager) *client {
	t.Helper()
	table := stage.NewTable()
	store := stage.NewStore(t, b, dynasession.Config{Table: table})
	return &client{t: t, b: b, table: table, store: store, manager: use(m, store)}
}

// try runs f in a request of scs, and returns the error of the commit.
func (c *client) try(f func(ctx context.Context)) error {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel() // as net/http does
	ctx, err := c.manager.Load(ctx, c.token)
	require.NoError(c.t, err)
	f(ctx)
	switch c.manager.Status(ctx) {
	case scs.Modified:
		token, expiry, err := c.manager.Commit(ctx)
		if err != nil {
			return err
		}
		c.token, c.expiry = token, expiry
	case scs.Destroyed:
		c.token = ""
	}
	return nil
}

func (c *client) do(f func(ctx context.Context)) {
	c.t.Helper()
	require.NoError(c.t, c.try(f))
}

// TestTokens checks tokens of the form that scs makes, of which many hold a - or a _.
func TestTokens(t *testing.T) {
	b := stage.Embedded(t)
	special := 0
	for i := range 20 {
		c := newClient(t, b)
		c.do(func(ctx context.Context) { c.manager.Put(ctx, "n", i) })
		if strings.ContainsAny(c.token, "-_") {
			special++
		}
		c.do(func(ctx context.Context) { assert.Equal(t, i, c.manager.GetInt(ctx, "n")) })
		assert.NotContains(t, fmt.Sprint(stage.AllItems(t, b, c.table)), c.token)
	}
	assert.Positive(t, special)
	c := newClient(t, b)
	for _, token := range []string{"x", strings.Repeat("A", 43), "ref.0123456789abcdef", strings.Repeat("é", 1000)} {
		c.token = token
		c.do(func(ctx context.Context) { assert.Empty(t, c.manager.Keys(ctx)) })
	}
}

// TestValues checks that values come back as they were, with their types.
func TestValues(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		c := newClient(t, b)
		want := map[string]any{
			"string": "text", "not UTF-8": "a\xff", "bytes": []byte{0, 1}, "int": 42, "int64": int64(1) << 60, "float": 1.5, "bool": true,
			"struct": cart{map[string]int{"a": 1, "b": 2, "c": 3}}, "": "empty",
		}
		now := time.Now()
		c.do(func(ctx context.Context) {
			for k, v := range want {
				c.manager.Put(ctx, k, v)
			}
			c.manager.Put(ctx, "time", now)
			c.manager.RememberMe(ctx, true)
		})
		c.do(func(ctx context.Context) {
			for k, v := range want {
				assert.Equal(t, v, c.manager.Get(ctx, k), k)
			}
			assert.True(t, now.Equal(c.manager.GetTime(ctx, "time")))
			assert.True(t, c.manager.GetBool(ctx, "__rememberMe"))
			assert.Len(t, c.manager.Keys(ctx), len(want)+2)
			assert.Equal(t, "text", c.manager.PopString(ctx, "string"))
			c.manager.Remove(ctx, "int")
		})
		c.do(func(ctx context.Context) {
			assert.False(t, c.manager.Exists(ctx, "string"))
			assert.False(t, c.manager.Exists(ctx, "int"))
			assert.InDelta(t, 1.5, c.manager.GetFloat(ctx, "float"), 0)
			require.NoError(t, c.manager.Clear(ctx))
			c.manager.Put(ctx, "after", true)
		})
		c.do(func(ctx context.Context) { assert.Equal(t, []string{"after"}, c.manager.Keys(ctx)) })
	})
}

// TestMerge checks what of two requests at the same time is kept.
func TestMerge(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for name, test := range map[string]struct {
			mine, theirs func(c *client, ctx context.Context)
			want         string
		}{
			"put and put":    {func(c *client, ctx context.Context) { c.manager.Put(ctx, "a", 2) }, func(c *client, ctx context.Context) { c.manager.Put(ctx, "b", 3) }, "map[a:2 b:3 c:1]"},
			"put and remove": {func(c *client, ctx context.Context) { c.manager.Put(ctx, "a", 2) }, func(c *client, ctx context.Context) { c.manager.Remove(ctx, "b") }, "map[a:2 c:1]"},
			"clear and put":  {func(c *client, ctx context.Context) { _ = c.manager.Clear(ctx) }, func(c *client, ctx context.Context) { c.manager.Put(ctx, "d", 4) }, "map[d:4]"},
			"same key":       {func(c *client, ctx context.Context) { c.manager.Put(ctx, "a", 2) }, func(c *client, ctx context.Context) { c.manager.Put(ctx, "a", 3) }, "map[a:2 b:1 c:1]"},
		} {
			t.Run(name, func(t *testing.T) {
				c := newClient(t, b)
				c.do(func(ctx context.Context) {
					for _, k := range []string{"a", "b", "c"} {
						c.manager.Put(ctx, k, 1)
					}
				})
				other := *c
				c.do(func(ctx context.Context) {
					other.do(func(ctx context.Context) { test.theirs(&other, ctx) })
					test.mine(c, ctx)
				})
				c.do(func(ctx context.Context) {
					got := map[string]any{}
					for _, k := range c.manager.Keys(ctx) {
						got[k] = c.manager.Get(ctx, k)
					}
					assert.Equal(t, test.want, fmt.Sprint(got))
				})
			})
		}
	})
}

// TestDestroy checks that a slow request neither brings a session back nor, after RenewToken, writes to the old one.
func TestDestroy(t *testing.T) {
	for name, end := range map[string]func(m *scs.SessionManager, ctx context.Context) error{
		"destroy": func(m *scs.SessionManager, ctx context.Context) error { return m.Destroy(ctx) },
		"renew":   func(m *scs.SessionManager, ctx context.Context) error { return m.RenewToken(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, stage.Embedded(t))
			c.do(func(ctx context.Context) { c.manager.Put(ctx, "k", 1) })
			slow := *c
			err := slow.try(func(ctx context.Context) {
				c.do(func(ctx context.Context) { require.NoError(t, end(c.manager, ctx)) })
				c.manager.Put(ctx, "late", true)
			})
			require.ErrorIs(t, err, dynasession.ErrGone)
			slow.do(func(ctx context.Context) { assert.Empty(t, c.manager.Keys(ctx)) })
			if name == "renew" {
				c.do(func(ctx context.Context) { assert.Equal(t, []string{"k"}, c.manager.Keys(ctx)) })
			}
		})
	}
}

// TestExpiry checks the second in which a session ends, and what requests that only read write.
func TestExpiry(t *testing.T) {
	managers := []*scs.SessionManager{scs.New(), scs.New(), scs.New(), scs.New()} // each starts a goroutine, which must not be in the bubble
	stage.InBubble(t, dynasession.Config{}, func(b *stage.Timed) {
		t := b.T
		newClient := func(t *testing.T, b *stage.Backend) *client {
			m := managers[0]
			managers = managers[1:]
			return newClientOf(t, b, m)
		}
		live := func(c *client) (live bool) {
			c.do(func(ctx context.Context) { live = c.manager.Exists(ctx, "k") })
			return live
		}
		c := newClient(t, b.Backend)
		c.manager.Lifetime = 48 * time.Hour // longer than the Lifetime of the Config
		c.do(func(ctx context.Context) { c.manager.Put(ctx, "k", 1) })
		time.Sleep(time.Until(c.expiry) - time.Nanosecond)
		assert.True(t, live(c))
		time.Sleep(time.Second)
		assert.False(t, live(c))

		c = newClient(t, b.Backend)
		c.manager.Lifetime, c.manager.IdleTimeout = 3*time.Hour, time.Hour
		c.do(func(ctx context.Context) { c.manager.Put(ctx, "k", 1) })
		b.Calls.Take()
		for range 100 {
			assert.True(t, live(c))
		}
		calls := b.Calls.Take()
		assert.Len(t, calls, 100)
		assert.NotContains(t, calls, "UpdateItem")
		for range 3 { // its use keeps it, until the Lifetime is over
			time.Sleep(59 * time.Minute)
			assert.True(t, live(c))
		}
		assert.Contains(t, b.Calls.Take(), "UpdateItem")
		time.Sleep(4 * time.Minute)
		assert.False(t, live(c))

		c = newClient(t, b.Backend)
		c.manager.IdleTimeout = time.Hour
		c.do(func(ctx context.Context) { c.manager.Put(ctx, "k", 1) })
		time.Sleep(time.Hour + time.Second)
		assert.False(t, live(c))

		c = newClient(t, b.Backend)
		var deadline time.Time
		c.do(func(ctx context.Context) { c.manager.Put(ctx, "k", 1); deadline = c.manager.Deadline(ctx) })
		c.do(func(ctx context.Context) {
			assert.True(t, deadline.Equal(c.manager.Deadline(ctx)))
			c.manager.SetDeadline(ctx, time.Now().Add(10*time.Minute))
		})
		time.Sleep(10*time.Minute - time.Second)
		assert.True(t, live(c))
		time.Sleep(2 * time.Second)
		assert.False(t, live(c))
	})
}

func TestIterate(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		c := newClient(t, b)
		for i := range 5 {
			c.token = ""
			c.do(func(ctx context.Context) { c.manager.Put(ctx, "n", i) })
		}
		var seen []int
		require.NoError(t, c.manager.Iterate(t.Context(), func(ctx context.Context) error {
			n := c.manager.GetInt(ctx, "n")
			seen = append(seen, n)
			assert.WithinDuration(t, time.Now().Add(24*time.Hour), c.manager.Deadline(ctx), time.Minute)
			if n%2 == 0 {
				return c.manager.Destroy(ctx)
			}
			return nil
		}))
		assert.ElementsMatch(t, []int{0, 1, 2, 3, 4}, seen)
		assert.Len(t, stage.Items(t, b, c.table), 2)
		c.do(func(ctx context.Context) { assert.Empty(t, c.manager.Keys(ctx), "the last one was destroyed") })

		stop := errors.New("stop")
		err := c.manager.Iterate(t.Context(), func(ctx context.Context) error {
			c.manager.Put(ctx, "k", 1)
			_, _, err := c.manager.Commit(ctx)
			require.Error(t, err, "its token is not known")
			return stop
		})
		require.ErrorIs(t, err, stop)
	})
}

func TestMergeSession(t *testing.T) {
	c := newClient(t, stage.Embedded(t))
	c.do(func(ctx context.Context) { c.manager.Put(ctx, "old", 1) })
	old := c.token
	c.token = ""
	c.do(func(ctx context.Context) { c.manager.Put(ctx, "new", 2) })
	c.do(func(ctx context.Context) { require.NoError(t, c.manager.MergeSession(ctx, old)) })
	c.do(func(ctx context.Context) { assert.Equal(t, []string{"new", "old"}, c.manager.Keys(ctx)) })
	c.token = old
	c.do(func(ctx context.Context) { assert.Empty(t, c.manager.Keys(ctx)) })
}

// TestWithoutContext checks the methods that have no context.
func TestWithoutContext(t *testing.T) {
	c := newClient(t, stage.Embedded(t))
	s := c.manager.Store.(*dynascs.Store)
	b, err := s.Encode(time.Now(), map[string]any{"k": 1})
	require.NoError(t, err)
	require.NoError(t, s.Commit("token", b, time.Now().Add(time.Hour)))
	b, found, err := s.Find("token")
	require.NoError(t, err)
	require.True(t, found)
	_, values, err := s.Decode(b)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"k": 1}, values)
	all, err := s.All()
	require.NoError(t, err)
	assert.Len(t, all, 1)
	require.NoError(t, s.Delete("token"))
	require.NoError(t, s.Delete("token"))
	_, found, err = s.Find("token")
	require.NoError(t, err)
	assert.False(t, found)
	require.NoError(t, s.Commit("token", b, time.Now().Add(-time.Hour)), "it is over")
	_, _, err = s.Decode([]byte("x"))
	require.Error(t, err)
	require.Error(t, s.Commit("token", []byte("x"), time.Now()))
	_, err = s.Encode(time.Now(), map[string]any{"f": func() {}})
	require.ErrorContains(t, err, "func")
}
