package start_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// client keeps a token, as a browser or the program of an API does.
type client struct {
	store *dynasession.Store
	token string
}

// do runs f in a request that saves before its response, and returns the error of the load or of the save.
func (c *client) do(ctx context.Context, f func(s *dynasession.Session)) error {
	sess, err := c.store.Start(ctx, c.token)
	if err != nil {
		return err
	}
	defer func() { _ = sess.Close() }()
	f(sess)
	if err := sess.Save(ctx); err != nil {
		return err
	}
	if cookie := sess.Cookie(); cookie != nil {
		c.token = cookie.Value
	}
	return nil
}

func (c *client) must(t *testing.T, f func(s *dynasession.Session)) {
	t.Helper()
	require.NoError(t, c.do(t.Context(), f))
}

// newClient returns a client whose session holds stage.NewData.
func newClient(t *testing.T, store *dynasession.Store) *client {
	t.Helper()
	c := &client{store: store}
	c.must(t, func(s *dynasession.Session) {
		s.Set("n", 0)
		s.Set("token", "t")
	})
	require.NotEmpty(t, c.token)
	return c
}

// id returns the id in c's token, which with EventualReads also holds the revision.
func (c *client) id() string {
	id, _, _ := strings.Cut(c.token, ".")
	return id
}

func keys(s *dynasession.Session) string {
	return strings.TrimSpace(strings.Join(s.Keys(), " ") + " " + s.User())
}

func TestStart(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		store := stage.NewStore(t, b, dynasession.Config{Concurrency: policy})
		c := &client{store: store}
		c.must(t, func(s *dynasession.Session) {
			assert.True(t, s.IsNew())
			assert.False(t, s.Ended())
			assert.Nil(t, s.Cookie())
		})
		assert.Empty(t, b.Calls.Take(), "a session that stays empty costs no call")
		assert.Empty(t, c.token)

		c.must(t, func(s *dynasession.Session) { s.Set("k", 1) })
		first := c.token
		c.must(t, func(s *dynasession.Session) { assert.Equal(t, "k", keys(s)) })
		c.must(t, func(s *dynasession.Session) { s.SetUser("alice") })
		assert.NotEqual(t, first, c.token, "renewed")
		c.must(t, func(s *dynasession.Session) { assert.Equal(t, "k alice", keys(s)) })

		(&client{store, first}).must(t, func(s *dynasession.Session) {
			assert.True(t, s.IsNew(), "the id from before the sign-in opens nothing")
			assert.False(t, s.Ended(), "it was replaced a moment ago")
		})
		for _, token := range []string{"", "x", c.token + "x", strings.Repeat("-", 43)} {
			(&client{store, token}).must(t, func(s *dynasession.Session) {
				assert.True(t, s.IsNew())
				assert.False(t, s.Ended(), "no id")
			})
		}

		old := c.token
		c.must(t, func(s *dynasession.Session) { s.Destroy() })
		assert.Empty(t, c.token)
		assert.Empty(t, stage.Items(t, b, stageTable(t, store)))
		(&client{store, old}).must(t, func(s *dynasession.Session) {
			assert.True(t, s.IsNew())
			assert.True(t, s.Ended())
		})
	})
}

// stageTable returns the name of the store's table.
func stageTable(t *testing.T, store *dynasession.Store) string {
	t.Helper()
	_, name, _ := strings.Cut(fmt.Sprint(store), "(")
	name, _, ok := strings.Cut(name, ",")
	require.True(t, ok)
	return name
}

func TestStartCookie(t *testing.T) {
	b := stage.Embedded(t)
	store := stage.NewStore(t, b, dynasession.Config{Cookie: dynasession.CookieConfig{Name: "id", Domain: "example.com", Path: "/a", Insecure: true}})
	assert.Equal(t, "id", store.CookieName())
	sess, err := store.Start(t.Context())
	require.NoError(t, err)
	sess.Set("k", 1)
	require.NoError(t, sess.Save(t.Context()))
	value := sess.Cookie().Value
	assert.True(t, value == sess.ID() || value == sess.ID()+".1")
	want := &http.Cookie{Name: "id", Value: value, Domain: "example.com", Path: "/a", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	assert.Equal(t, want, sess.Cookie())
	require.NoError(t, sess.Save(t.Context()))
	assert.Equal(t, want, sess.Cookie(), "a save that changes nothing takes no cookie back")
	sess.Remember(time.Hour)
	require.NoError(t, sess.Save(t.Context()))
	want.MaxAge = 3600
	assert.InDelta(t, 3600, sess.Cookie().MaxAge, 1)
	sess.Destroy()
	require.NoError(t, sess.Save(t.Context()))
	assert.Equal(t, -1, sess.Cookie().MaxAge)
	require.NoError(t, sess.Close())

	assert.Equal(t, stage.CookieName, stage.NewStore(t, b, dynasession.Config{}).CookieName())
}

// TestStartOfSeveralValues checks that, of several values, the first live session counts.
func TestStartOfSeveralValues(t *testing.T) {
	store := stage.NewStore(t, stage.Embedded(t), dynasession.Config{})
	one, two := newClient(t, store), newClient(t, store)
	ended := newClient(t, store)
	gone := ended.token
	ended.must(t, func(s *dynasession.Session) { s.Destroy() })
	for _, values := range [][]string{{two.token, one.token}, {gone, two.token}, {"x", gone, two.token}, {two.token, two.token}} {
		sess, err := store.Start(t.Context(), values...)
		require.NoError(t, err)
		assert.Equal(t, two.id(), sess.ID())
		assert.False(t, sess.Ended())
		require.NoError(t, sess.Close())
	}
}

// TestStartParallel checks that parallel requests lose nothing.
func TestStartParallel(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		const n = 20
		store := stage.NewStore(t, b, dynasession.Config{Concurrency: policy, LockWait: time.Minute})
		c := newClient(t, store)
		var loaded, all sync.WaitGroup
		loaded.Add(n)
		for i := range n {
			all.Go(func() {
				tab := *c
				assert.NoError(t, tab.do(t.Context(), func(s *dynasession.Session) {
					if policy != dynasession.Lock {
						loaded.Done()
						loaded.Wait()
					}
					s.Set(fmt.Sprint("k", i), true)
					stage.CountUp(s)
				}))
			})
		}
		all.Wait()
		c.must(t, func(s *dynasession.Session) {
			count, _ := dynasession.Get[int](s, "n")
			if policy == dynasession.LastWriteWins { // the whole session of one request
				assert.Len(t, s.Keys(), 3)
				return
			}
			assert.Len(t, s.Keys(), n+2)
			assert.Equal(t, n, count)
		})
	})
}

// TestStartBesideALogout checks that a slow writer does not bring back a session that was signed out.
func TestStartBesideALogout(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		store := stage.NewStore(t, b, dynasession.Config{Concurrency: policy})
		c := newClient(t, store)
		c.must(t, func(s *dynasession.Session) { s.SetUser("alice") })
		slow := *c
		err := slow.do(t.Context(), func(s *dynasession.Session) {
			if policy == dynasession.Lock { // a request would wait for this one
				require.NoError(t, store.Destroy(t.Context(), s.ID()))
			} else {
				c.must(t, func(s *dynasession.Session) { s.Destroy() })
			}
			s.Set("late", true)
		})
		require.ErrorIs(t, err, dynasession.ErrGone)
		assert.Empty(t, stage.Items(t, b, stageTable(t, store)))
	})
}

// TestStartReads checks that requests that only read do not write, and that a touch is made when it is due.
func TestStartReads(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(b *stage.Timed) {
		t := b.T
		store := b.With(dynasession.Config{})
		c := newClient(t, store)
		b.Calls.Take()
		for range 100 {
			c.must(t, func(s *dynasession.Session) { s.Has("n") })
		}
		assert.Len(t, b.Calls.Take(), 100, "one read each")
		b.Pass(10 * time.Minute)
		for range 3 {
			c.must(t, func(s *dynasession.Session) { s.Has("n") })
		}
		assert.Equal(t, []string{"GetItem", "UpdateItem", "GetItem", "GetItem"}, b.Calls.Take())
		b.Pass(time.Hour)
		c.must(t, func(s *dynasession.Session) {
			assert.True(t, s.IsNew())
			assert.True(t, s.Ended())
			s.Set("again", true)
			assert.True(t, s.Ended(), "of this request")
		})
		c.must(t, func(s *dynasession.Session) { assert.False(t, s.Ended()) })
	})
}

// TestStartInAnOutage checks that a session that cannot be loaded or saved is an error, and never an empty session.
func TestStartInAnOutage(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		store := stage.NewStore(t, b, dynasession.Config{Concurrency: policy})
		c := newClient(t, store)
		down := func(*stage.Call) (*http.Response, error) {
			return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
		}
		b.Calls.Intercept(down)
		ran := false
		require.ErrorIs(t, c.do(t.Context(), func(*dynasession.Session) { ran = true }), dynasession.ErrUnavailable)
		assert.False(t, ran)
		b.Calls.Intercept(nil)
		require.ErrorIs(t, c.do(t.Context(), func(s *dynasession.Session) {
			b.Calls.Intercept(down)
			s.SetUser("alice")
		}), dynasession.ErrUnavailable)
		b.Calls.Intercept(nil)
		data, err := store.Read(t.Context(), c.id())
		require.NoError(t, err)
		assert.JSONEq(t, stage.NewData, string(data))
	})
}

// TestStartSavesAgain checks that a Save that failed can be repeated, and counts once.
func TestStartSavesAgain(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		store := stage.NewStore(t, b, dynasession.Config{Concurrency: policy})
		c := newClient(t, store)
		sess, err := store.Start(t.Context(), c.token)
		require.NoError(t, err)
		stage.CountUp(sess)
		b.Calls.Intercept(stage.Answered(func(*http.Response, []byte) error { return stage.ErrReset }))
		require.ErrorIs(t, sess.Save(t.Context()), dynasession.ErrUnavailable)
		b.Calls.Intercept(nil)
		require.NoError(t, sess.Save(t.Context()))
		require.NoError(t, sess.Close())
		c.must(t, func(s *dynasession.Session) {
			n, _ := dynasession.Get[int](s, "n")
			assert.Equal(t, 1, n)
		})
	})
}

func TestClose(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		store := stage.NewStore(t, b, dynasession.Config{Concurrency: policy, LockWait: 5 * time.Second})
		c := newClient(t, store)
		start := func() *dynasession.Session {
			sess, err := store.Start(t.Context(), c.token)
			require.NoError(t, err)
			return sess
		}
		sess := start()
		require.NoError(t, sess.Close())
		require.NoError(t, sess.Close(), "again")
		sess = start() // under Lock, it would wait for the lock if Close had not given it up
		sess.Set("lost", true)
		err := sess.Close()
		require.ErrorContains(t, err, "not saved")
		assert.NotContains(t, err.Error(), sess.ID())

		sess = start()
		require.NoError(t, sess.Close())
		sess.Set("late", true)
		require.NoError(t, sess.Save(t.Context()), "after Close, a save needs no lock")
		sess.SetUser("alice")
		require.ErrorContains(t, sess.Save(t.Context()), "cookie", "nobody would get it")
		assert.Nil(t, sess.Cookie())
		c.must(t, func(s *dynasession.Session) { assert.Equal(t, "late n token", keys(s)) })

		func() {
			defer func() { _ = recover() }()
			sess := start()
			defer func() { _ = sess.Close() }()
			sess.Set("half", true)
			panic("handler")
		}()
		c.must(t, func(s *dynasession.Session) { assert.Equal(t, "late n token", keys(s)) })
	})
}

// TestCookieAndCloseOfLoad checks that they do nothing for sessions of the middleware.
func TestCookieAndCloseOfLoad(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.EmptyScene(t, b, dynasession.Config{Concurrency: policy})
		sc.Paths["/"] = func(s *dynasession.Session, _ http.ResponseWriter, r *http.Request) {
			s.Set("k", 1)
			assert.NoError(t, s.Close())
			assert.NoError(t, s.Save(r.Context()))
			assert.Nil(t, s.Cookie())
			s.Set("later", 1)
		}
		sc.OK("/")
		assert.JSONEq(t, `{"k":1,"later":1}`, sc.Data())
	})
}

// TestStartWithEventualReads checks that the token carries the revision.
func TestStartWithEventualReads(t *testing.T) {
	b := stage.Embedded(t)
	store := stage.NewStore(t, b, dynasession.Config{EventualReads: true})
	c := newClient(t, store)
	assert.True(t, strings.HasSuffix(c.token, ".1"), "the revision")
	table := stageTable(t, store)
	b.Lag(t, func() error {
		_, err := b.Client.GetItem(t.Context(), stage.GetItem(table, c.token))
		return err
	}, func(call *stage.Call) bool { return strings.Contains(call.Body, `"ConsistentRead":false`) })
	c.must(t, stage.CountUp)
	c.must(t, func(s *dynasession.Session) {
		n, _ := dynasession.Get[int](s, "n")
		assert.Equal(t, 1, n, "the replica is behind, and the token knows")
	})
}

func TestDeadline(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(b *stage.Timed) {
		t := b.T
		store := b.With(dynasession.Config{IdleTimeout: time.Hour, Lifetime: 8 * time.Hour})
		now := b.Now()
		c := &client{store: store}
		c.must(t, func(s *dynasession.Session) {
			assert.Equal(t, now.Add(8*time.Hour).Unix(), s.Deadline().Unix(), "of a new one")
			s.Set("k", 1)
		})
		b.Pass(30 * time.Minute)
		c.must(t, func(s *dynasession.Session) {
			assert.Equal(t, now.Add(8*time.Hour).Unix(), s.Deadline().Unix(), "use does not move it")
			s.LimitTo(now.Add(2 * time.Hour))
			assert.Equal(t, now.Add(2*time.Hour).Unix(), s.Deadline().Unix())
		})
		c.must(t, func(s *dynasession.Session) {
			assert.Equal(t, now.Add(2*time.Hour).Unix(), s.Deadline().Unix())
		})
		c = &client{store: store}
		c.must(t, func(s *dynasession.Session) {
			s.Remember(100 * time.Hour)
			assert.Equal(t, b.Now().Add(100*time.Hour).Unix(), s.Deadline().Unix())
		})
	})
}

type opKey struct{}

// TestBefore checks that the context of Before is that of the calls and of Observer, once for each operation.
func TestBefore(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		var mu sync.Mutex
		begun, observed, called := map[string]int{}, map[string]int{}, map[string]bool{}
		table := stage.NewTable()
		store := stage.NewStore(t, b, dynasession.Config{
			Table: table, Concurrency: policy,
			Before: func(ctx context.Context, op string) context.Context {
				mu.Lock()
				defer mu.Unlock()
				begun[op]++
				return context.WithValue(ctx, opKey{}, op)
			},
			Observer: func(ctx context.Context, e dynasession.Event) {
				mu.Lock()
				defer mu.Unlock()
				observed[e.Op]++
				assert.Equal(t, e.Op, ctx.Value(opKey{}))
			},
		})
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			op, _ := c.Request.Context().Value(opKey{}).(string)
			mu.Lock()
			called[op] = true
			mu.Unlock()
			return c.Send()
		})
		ctx := t.Context()
		c := newClient(t, store)
		c.must(t, func(s *dynasession.Session) { s.SetUser("alice") })
		br := stage.BrowserWithID(t, store.Middleware(stage.App{"/": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
			stage.Write(w, "x")
			s.SetUser("bob") // is lost
		}}), c.token)
		br.OK("/")
		_, err := store.Read(ctx, c.id())
		require.NoError(t, err)
		require.NoError(t, store.Write(ctx, c.id(), []byte(`{}`)))
		require.NoError(t, store.UpdateTimestamp(ctx, c.id()))
		for range store.All(ctx) {
			break
		}
		_, err = store.UserSessions(ctx, "alice")
		require.NoError(t, err)
		_, err = store.DestroyUser(context.WithoutCancel(ctx), "nobody", nil)
		require.NoError(t, err)
		_, err = store.Sweep(ctx, dynasession.SweepOptions{})
		require.NoError(t, err)
		require.NoError(t, store.Destroy(ctx, c.id()))
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, begun, observed)
		ops := []string{"all sessions", "destroy", "destroy user", "late save", "load", "read", "renew", "save", "sweep", "touch", "user sessions", "write"}
		if policy == dynasession.Lock {
			ops = append(ops, "release")
		}
		assert.ElementsMatch(t, ops, slices.Collect(maps.Keys(observed)))
		assert.NotContains(t, called, "", "a call outside of an operation")
		for _, op := range ops {
			assert.True(t, called[op] || op == "late save", op)
		}
	})
}

func infos(t *testing.T, store *dynasession.Store) map[string]dynasession.Info {
	t.Helper()
	all := map[string]dynasession.Info{}
	for i, err := range store.All(t.Context()) {
		require.NoError(t, err)
		assert.NotContains(t, all, i.Ref)
		all[i.Ref] = i
	}
	return all
}

func TestAll(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		table := stage.NewTable()
		store := stage.NewStore(t, b, dynasession.Config{Table: table})
		other := stage.NewStore(t, b, dynasession.Config{Table: table, Name: "other"})
		assert.Empty(t, infos(t, store))
		users := map[string]bool{}
		big := strings.Repeat("abcdefghijklmnopqrstuvwxyz", 8000) // a page of 1 MB holds only a few
		for i := range 12 {
			c := &client{store: store}
			user := fmt.Sprint("user", i)
			c.must(t, func(s *dynasession.Session) {
				s.Set("device", fmt.Sprint("phone", i))
				s.Set("big", []byte(fmt.Sprint(i, big)))
				s.SetUser(user)
			})
			users[user] = true
		}
		(&client{store: other}).must(t, func(s *dynasession.Session) { s.Set("k", 1) })
		over := newClient(t, store)
		item := stage.ItemOf(t, b, table, over.id())
		item["expires"] = stage.In(-time.Minute)
		stage.PutItem(t, b, table, item)
		renewed := newClient(t, store)
		renewed.must(t, func(s *dynasession.Session) { s.Renew() }) // leaves a tombstone

		all := infos(t, store)
		assert.Len(t, all, 13)
		for _, i := range all {
			if i.User == "" {
				continue
			}
			assert.True(t, users[i.User])
			delete(users, i.User)
			var device string
			require.NoError(t, i.Decode("device", &device))
			assert.Equal(t, []string{"big", "device"}, i.Keys())
			assert.Equal(t, "phone"+strings.TrimPrefix(i.User, "user"), device)
			assert.WithinDuration(t, time.Now(), i.Created, time.Minute)
		}
		assert.Empty(t, users)

		seen := 0
		for range store.All(t.Context()) {
			if seen++; seen == 3 {
				break
			}
		}
		assert.Equal(t, 3, seen)
	})
}

func TestAllInAnOutage(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(b *stage.Timed) {
		t := b.T
		newClient(t, b.Store)
		fails := 3
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			if fails--; fails >= 0 {
				return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
			}
			return c.Send()
		})
		assert.Len(t, infos(t, b.Store), 1, "it is patient")
		b.Calls.Intercept(func(*stage.Call) (*http.Response, error) { return nil, stage.ErrReset })
		n := 0
		for i, err := range b.Store.All(t.Context()) {
			n++
			require.ErrorIs(t, err, dynasession.ErrUnavailable)
			assert.Empty(t, i.Ref)
		}
		assert.Equal(t, 1, n)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range b.Store.All(ctx) {
			require.ErrorIs(t, err, context.Canceled)
		}
	})
}

func TestEnd(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		store := stage.NewStore(t, b, dynasession.Config{Concurrency: policy})
		signIn := func(c *client, user string) {
			c.must(t, func(s *dynasession.Session) { s.SetUser(user) })
		}
		listed := func(user string) dynasession.Info {
			for _, i := range infos(t, store) {
				if i.User == user {
					return i
				}
			}
			t.Fatal("not listed")
			return dynasession.Info{}
		}
		gone := func(c *client) {
			t.Helper()
			(&client{store, c.token}).must(t, func(s *dynasession.Session) { assert.True(t, s.IsNew()) })
		}
		alice, bob := newClient(t, store), newClient(t, store)
		signIn(alice, "alice")
		signIn(bob, "bob")
		i := listed("alice")
		require.NoError(t, store.End(t.Context(), i))
		require.NoError(t, store.End(t.Context(), i), "again")
		gone(alice)
		bob.must(t, func(s *dynasession.Session) { assert.Equal(t, "bob", s.User()) })

		i = listed("bob")
		bob.must(t, func(s *dynasession.Session) { s.Renew() })
		require.NoError(t, store.End(t.Context(), i), "it goes on under another id")
		gone(bob)

		signIn(alice, "alice")
		i = listed("alice")
		signIn(alice, "carol")
		require.NoError(t, store.End(t.Context(), i))
		alice.must(t, func(s *dynasession.Session) { assert.Equal(t, "carol", s.User(), "another's session by now") })

		anonymous := newClient(t, store)
		i = listed("")
		signIn(anonymous, "dave")
		require.NoError(t, store.End(t.Context(), i))
		gone(anonymous)

		i = listed("carol")
		slow := *alice
		err := slow.do(t.Context(), func(s *dynasession.Session) {
			require.NoError(t, store.End(t.Context(), i))
			s.Set("late", true)
		})
		require.ErrorIs(t, err, dynasession.ErrGone)

		written := store.CreateID()
		require.NoError(t, store.Write(t.Context(), written, []byte(`{}`)))
		i = listed("")
		require.NoError(t, store.Destroy(t.Context(), written))
		require.NoError(t, store.Write(t.Context(), written, []byte(`{}`)))
		require.NoError(t, store.End(t.Context(), i))
		ok, err := store.ValidateID(t.Context(), written)
		require.NoError(t, err)
		assert.True(t, ok, "another session, made again under that id")

		assert.Nil(t, dynasession.Info{}.Keys())
		require.Error(t, store.End(t.Context(), dynasession.Info{}))
		other := stage.NewStore(t, b, dynasession.Config{Name: "other"})
		require.Error(t, other.End(t.Context(), i))
	})
}

// fatal is a test that fails in place of this one.
type fatal struct {
	*testing.T
	text string
}

func (f *fatal) Fatalf(format string, args ...any) { f.text = fmt.Sprintf(format, args...) }

// TestSignedIn checks the cookie that dynamotest makes for the tests of others.
func TestSignedIn(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.EmptyScene(t, b, dynasession.Config{Concurrency: policy})
		cookie := dynamotest.SignedIn(t, sc.Store.Start, "alice", map[string]any{"cart": []string{"tea"}})
		sc.Jar.SetCookies(stage.Origin, []*http.Cookie{cookie})
		assert.Equal(t, "cart alice", sc.OK("/read"))
		anonymous := dynamotest.SignedIn(t, sc.Store.Start, "", map[string]any{"k": 1})
		sc.Jar.SetCookies(stage.Origin, []*http.Cookie{anonymous})
		assert.Equal(t, "k", sc.OK("/read"))

		f := &fatal{T: t}
		assert.Nil(t, dynamotest.SignedIn(f, sc.Store.Start, "alice", map[string]any{"f": func() {}}))
		assert.Contains(t, f.text, "saving")
		b.Calls.Intercept(func(*stage.Call) (*http.Response, error) { return nil, stage.ErrReset })
		f = &fatal{T: t}
		assert.Nil(t, dynamotest.SignedIn(f, sc.Store.Start, "alice", nil))
		assert.NotEmpty(t, f.text)
		b.Calls.Intercept(nil)
	})
}
