package dynasession_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// TestSituations is the table of situations in SECURITY.md: each of its rows under each
// policy, on both backends.
func TestSituations(t *testing.T) {
	for _, s := range situations {
		t.Run(s.name, func(t *testing.T) {
			for _, policy := range policies {
				t.Run(policy.String(), func(t *testing.T) {
					t.Run("dynamotest", func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { s.run(t, embedded(t), dynasession.Config{Concurrency: policy}) })
					})
					t.Run("local", func(t *testing.T) { s.run(t, local(t), dynasession.Config{Concurrency: policy}) })
				})
			}
		})
	}
}

// TestSituationsAreDocumented checks that SECURITY.md has a row for each situation.
func TestSituationsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	for _, s := range situations {
		assert.Contains(t, string(text), "`TestSituations/"+s.name+"`")
	}
}

var situations = []struct {
	name string
	run  func(*testing.T, *backend, dynasession.Config)
}{
	{"parallel changes", parallelChanges},
	{"client gone", clientGone},
	{"read fails", func(t *testing.T, b *backend, cfg dynasession.Config) { callsFail(t, b, cfg, 0) }},
	{"write fails", func(t *testing.T, b *backend, cfg dynasession.Config) { callsFail(t, b, cfg, 1) }},
	{"deadline", deadline},
	{"change after the first byte", changeAfterTheFirstByte},
	{"panic", panics},
	{"expired item", expiredItem},
	{"too large", tooLarge},
	{"sign-out under a slow writer", signOutUnderASlowWriter},
	{"sign-in beside other tabs", signInBesideOtherTabs},
	{"one-time token", oneTimeToken},
}

func countUp(s *session) {
	dynasession.Update(s, "n", func(n int) int { return n + 1 })
}

func parallelChanges(t *testing.T, b *backend, cfg dynasession.Config) {
	const n = 20
	cfg.LockWait = time.Minute
	sc := newScene(t, b, cfg)
	var loaded, all sync.WaitGroup
	loaded.Add(n)
	sc.paths["/slow"] = func(s *session, _ http.ResponseWriter, r *http.Request) {
		if cfg.Concurrency != dynasession.Lock { // under which each comes after the other
			loaded.Done()
			loaded.Wait()
		}
		s.Set(r.URL.RawQuery, true)
		countUp(s)
	}
	for i := range n {
		tab := sc.twin()
		all.Go(func() { assert.Equal(t, http.StatusOK, tab.get(fmt.Sprintf("/slow?k%d", i)).Code) })
	}
	all.Wait()
	var data map[string]any
	require.NoError(t, json.Unmarshal([]byte(sc.data()), &data))
	if cfg.Concurrency == dynasession.LastWriteWins { // one request's whole session
		assert.Len(t, data, 3)
		assert.EqualValues(t, 1, data["n"])
		return
	}
	assert.Len(t, data, n+2)
	assert.EqualValues(t, n, data["n"])
}

func clientGone(t *testing.T, b *backend, cfg dynasession.Config) {
	sc := newScene(t, b, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	sc.inside = cancel // it has loaded
	sc.do(ctx, "/count")
	assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.data(), "saved all the same")

	ctx, cancel = context.WithCancel(t.Context())
	b.calls.intercept(func(c *call) (*http.Response, error) { // while it loads
		cancel()
		return c.send()
	})
	w := sc.do(ctx, "/count")
	b.calls.intercept(nil)
	want := `{"n":1,"token":"t"}` // nobody waits for it, and nothing is done
	if w.Code == http.StatusOK {  // it has loaded all the same, and is served
		want = `{"n":2,"token":"t"}`
	}
	assert.JSONEq(t, want, sc.data())
	if cfg.Concurrency == dynasession.Lock && b.server != nil {
		time.Sleep(dynasession.DefaultLockLease + 2*time.Second) // it may have got the lock, unheard
	}
	if cfg.Concurrency != dynasession.Lock || b.server != nil {
		assert.Equal(t, "n token", sc.ok("/read"))
	}
}

// callsFail has all calls but the first few throttled, for good.
func callsFail(t *testing.T, b *backend, cfg dynasession.Config, pass int) {
	sc := newScene(t, b, cfg)
	for _, path := range []string{"/count", "/login?alice", "/logout", "/pop"} {
		n := pass
		b.calls.intercept(func(c *call) (*http.Response, error) {
			if n--; n >= 0 {
				return c.send()
			}
			return answerWith(http.StatusBadRequest, "ThrottlingException"), nil
		})
		w := sc.get(path)
		b.calls.intercept(nil)
		sc.failed(w, http.StatusServiceUnavailable, dynasession.ErrUnavailable)
		assert.NotEmpty(t, w.Header().Get("Retry-After"))
		assert.JSONEq(t, deedBefore, sc.data(), "under the same cookie: "+path)
		sc.edit(func(item map[string]types.AttributeValue) { delete(item, "lock") }) // its end is TestFaults'
	}
	assert.Equal(t, "n token", sc.ok("/read"))
}

// deadline: the request has less time than the retries would take.
func deadline(t *testing.T, b *backend, cfg dynasession.Config) {
	silence := func(c *call) (*http.Response, error) {
		<-c.request.Context().Done()
		return nil, c.request.Context().Err()
	}
	cfg.Timeout = time.Second
	defer time.Sleep(cfg.Timeout) // who asked for a lock waits so long for it, to give it up
	sc := newScene(t, b, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	b.calls.intercept(silence)
	w := sc.do(ctx, "/count")
	b.calls.intercept(nil)
	sc.failed(w, http.StatusServiceUnavailable, dynasession.ErrUnavailable)
	assert.JSONEq(t, deedBefore, sc.data())

	sc.paths["/save"] = func(s *session, w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 30*time.Millisecond)
		defer cancel()
		s.Set("mine", true)
		b.calls.intercept(silence)
		err := s.Save(ctx)
		b.calls.intercept(nil)
		if assert.ErrorIs(t, err, dynasession.ErrUnavailable) {
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			return
		}
		write(w, "saved")
	}
	w = sc.get("/save")
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.NotContains(t, w.Body.String(), "saved")
	assert.JSONEq(t, deedBefore, sc.data())

	if cfg.Concurrency == dynasession.Lock { // another's lock, for longer than the request has time
		sc.edit(func(item map[string]types.AttributeValue) {
			item["lock"], item["holder"] = num(fmt.Sprint(time.Now().Add(time.Minute).UnixMilli())), str("another")
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		sc.failed(sc.do(ctx, "/count"), http.StatusServiceUnavailable, dynasession.ErrLocked)
	}
}

func changeAfterTheFirstByte(t *testing.T, b *backend, cfg dynasession.Config) {
	sc := emptyScene(t, b, cfg)
	sc.paths["/stream"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
		write(w, "first byte")
		s.Set("late", true)
	}
	sc.paths["/stream-save"] = func(s *session, w http.ResponseWriter, r *http.Request) {
		write(w, "first byte")
		s.Set("late", true)
		assert.Error(t, s.Save(r.Context()), "it tells")
	}
	sc.ok("/stream-save")
	assert.Empty(t, items(t, b, sc.table))
	sc.mu.Lock()
	sc.errs = nil
	sc.mu.Unlock()
	assert.Equal(t, "first byte", sc.ok("/stream"))
	assert.Empty(t, sc.cookie(), "it is too late for the cookie of a new session")
	assert.Empty(t, items(t, b, sc.table))
	sc.mu.Lock()
	assert.Len(t, sc.errs, 1, "that is told")
	sc.errs = nil
	sc.mu.Unlock()

	sc.ok("/new")
	assert.Equal(t, "first byte", sc.ok("/stream"))
	assert.JSONEq(t, `{"n":0,"token":"t","late":true}`, sc.data(), "saved")
	sc.noneFailed()
}

func panics(t *testing.T, b *backend, cfg dynasession.Config) {
	sc := newScene(t, b, cfg)
	sc.paths["/before"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
		s.Set("half", "done")
		panic(http.ErrAbortHandler)
	}
	sc.paths["/after"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
		s.Set("whole", true)
		write(w, "first byte")
		s.Set("half", "done")
		panic(http.ErrAbortHandler)
	}
	assert.Panics(t, func() { sc.get("/before") })
	assert.JSONEq(t, deedBefore, sc.data(), "nothing half-done")
	assert.NotContains(t, sc.item(), "lock")
	assert.Panics(t, func() { sc.get("/after") })
	assert.JSONEq(t, `{"n":0,"token":"t","whole":true}`, sc.data(), "what the response stands for")
	assert.NotContains(t, sc.item(), "lock")
}

func expiredItem(t *testing.T, b *backend, cfg dynasession.Config) {
	sc := newScene(t, b, cfg)
	old := sc.id()
	sc.edit(func(item map[string]types.AttributeValue) { item["expires"] = in(-time.Second) })
	dead := sc.item()
	assert.Equal(t, "none", sc.ok("/read"))
	assert.Equal(t, dead, sc.item(), "left to TTL")
	_, err := sc.store.Read(t.Context(), old)
	require.ErrorIs(t, err, dynasession.ErrNotFound)
	sc.ok("/new")
	assert.NotEqual(t, old, sc.id(), "the id is not used again")
}

func tooLarge(t *testing.T, b *backend, cfg dynasession.Config) {
	cfg.NoCompression = true
	sc := newScene(t, b, cfg)
	sc.paths["/big"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
		s.Set("big", strings.Repeat("x", 450_000))
		write(w, "saved")
	}
	w := sc.get("/big")
	sc.failed(w, http.StatusInternalServerError, dynasession.ErrTooLarge)
	assert.NotContains(t, w.Body.String(), "saved")
	assert.JSONEq(t, deedBefore, sc.data())
	assert.NotContains(t, sc.item(), "lock", "a session that grew is not locked for that")
}

func signOutUnderASlowWriter(t *testing.T, b *backend, cfg dynasession.Config) {
	sc := newScene(t, b, cfg)
	sc.ok("/login?alice")
	old := sc.twin()
	sc.inside = func() { require.NoError(t, sc.store.Destroy(t.Context(), sc.id())) }
	sc.failed(sc.get("/count"), http.StatusConflict, dynasession.ErrGone)
	sc.nothingLeft(old, sc.browser)
}

func signInBesideOtherTabs(t *testing.T, b *backend, cfg dynasession.Config) {
	sc := newScene(t, b, cfg)
	slow := sc.twin()
	cfg.Table = sc.table
	if cfg.Concurrency == dynasession.Lock { // else the sign-in would wait for it
		cfg.Concurrency = dynasession.Merge
	}
	other := newStore(t, b, cfg)
	slow.handler = other.Middleware(app{"/slow": func(s *session, _ http.ResponseWriter, _ *http.Request) {
		sc.ok("/login?alice")
		s.Set("late", true)
	}})
	w := slow.get("/slow")
	assert.Equal(t, http.StatusConflict, w.Code, "told, not lost")
	assert.Equal(t, "n token alice", sc.ok("/read"))
	assert.Equal(t, "alice", attr(sc.item(), "user"))
	slow.handler = sc.handler
	assert.Equal(t, "none", slow.ok("/read"), "the id from before opens nothing")
}

func oneTimeToken(t *testing.T, b *backend, cfg dynasession.Config) {
	const n = 5
	cfg.LockWait = time.Minute
	sc := newScene(t, b, cfg)
	var loaded, tabs sync.WaitGroup
	loaded.Add(n)
	sc.paths["/spend"] = func(s *session, w http.ResponseWriter, r *http.Request) {
		if cfg.Concurrency != dynasession.Lock {
			loaded.Done()
			loaded.Wait()
		}
		if _, ok := dynasession.Pop[string](s, "token"); !ok {
			http.NotFound(w, r)
		}
	}
	var mu sync.Mutex
	status := map[int]int{}
	for range n {
		tab := sc.twin()
		tabs.Go(func() {
			w := tab.get("/spend")
			mu.Lock()
			defer mu.Unlock()
			status[w.Code]++
		})
	}
	tabs.Wait()
	assert.JSONEq(t, `{"n":0}`, sc.data())
	if cfg.Concurrency == dynasession.LastWriteWins { // which asks for nothing but life
		assert.Equal(t, n, status[http.StatusOK])
		return
	}
	assert.Equal(t, 1, status[http.StatusOK], "of 200, 404 and 409: %v", status)
	if cfg.Concurrency == dynasession.Merge {
		assert.Equal(t, n-1, status[http.StatusConflict], "they had seen the token")
	}
}

// TestSituationsInTheWild: a real client and server, that lose each other.
func TestSituationsInTheWild(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := newScene(t, b, dynasession.Config{Concurrency: policy})
		loaded := make(chan struct{})
		sc.paths["/slow"] = func(s *session, _ http.ResponseWriter, r *http.Request) {
			close(loaded)
			<-r.Context().Done() // the client has gone
			countUp(s)
		}
		served := make(chan struct{})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(served)
			sc.handler.ServeHTTP(w, r)
		}))
		defer srv.Close()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-loaded; cancel() }()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/slow", http.NoBody)
		require.NoError(t, err)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: sc.cookie()})
		resp, err := srv.Client().Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		require.ErrorIs(t, err, context.Canceled)
		<-served
		assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.data())
	})
}
