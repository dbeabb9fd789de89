package security_test

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
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestSituations is the table of situations in SECURITY.md: each of its rows under each
// policy, on both backends.
func TestSituations(t *testing.T) {
	for _, s := range situations {
		t.Run(s.name, func(t *testing.T) {
			for _, policy := range stage.Policies {
				t.Run(policy.String(), func(t *testing.T) {
					t.Run("dynamotest", func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { s.run(t, stage.Embedded(t), dynasession.Config{Concurrency: policy}) })
					})
					t.Run("local", func(t *testing.T) { s.run(t, stage.Local(t), dynasession.Config{Concurrency: policy}) })
				})
			}
		})
	}
}

// TestSituationsAreDocumented checks that SECURITY.md has a row for each situation.
func TestSituationsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../SECURITY.md")
	require.NoError(t, err)
	for _, s := range situations {
		assert.Contains(t, string(text), "`TestSituations/"+s.name+"`")
	}
}

var situations = []struct {
	name string
	run  func(*testing.T, *stage.Backend, dynasession.Config)
}{
	{"parallel changes", parallelChanges},
	{"client gone", clientGone},
	{"read fails", func(t *testing.T, b *stage.Backend, cfg dynasession.Config) { callsFail(t, b, cfg, 0) }},
	{"write fails", func(t *testing.T, b *stage.Backend, cfg dynasession.Config) { callsFail(t, b, cfg, 1) }},
	{"deadline", deadline},
	{"change after the first byte", changeAfterTheFirstByte},
	{"panic", panics},
	{"expired item", expiredItem},
	{"too large", tooLarge},
	{"sign-out under a slow writer", signOutUnderASlowWriter},
	{"sign-in beside other tabs", signInBesideOtherTabs},
	{"one-time token", oneTimeToken},
}

func parallelChanges(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	const n = 20
	cfg.LockWait = time.Minute
	sc := stage.NewScene(t, b, cfg)
	var loaded, all sync.WaitGroup
	loaded.Add(n)
	sc.Paths["/slow"] = func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
		if cfg.Concurrency != dynasession.Lock { // under which each comes after the other
			loaded.Done()
			loaded.Wait()
		}
		s.Set(r.URL.RawQuery, true)
		stage.CountUp(s)
	}
	for i := range n {
		tab := sc.Twin()
		all.Go(func() { assert.Equal(t, http.StatusOK, tab.Get(fmt.Sprintf("/slow?k%d", i)).Code) })
	}
	all.Wait()
	var data map[string]any
	require.NoError(t, json.Unmarshal([]byte(sc.Data()), &data))
	if cfg.Concurrency == dynasession.LastWriteWins { // one request's whole session
		assert.Len(t, data, 3)
		assert.EqualValues(t, 1, data["n"])
		return
	}
	assert.Len(t, data, n+2)
	assert.EqualValues(t, n, data["n"])
}

func clientGone(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	sc := stage.NewScene(t, b, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	sc.Inside = cancel // it has loaded
	sc.Do(ctx, "/count")
	assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.Data(), "saved all the same")

	ctx, cancel = context.WithCancel(t.Context())
	b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) { // while it loads
		cancel()
		return c.Send()
	})
	w := sc.Do(ctx, "/count")
	b.Calls.Intercept(nil)
	want := `{"n":1,"token":"t"}` // nobody waits for it, and nothing is done
	if w.Code == http.StatusOK {  // it has loaded all the same, and is served
		want = `{"n":2,"token":"t"}`
	}
	assert.JSONEq(t, want, sc.Data())
	if cfg.Concurrency == dynasession.Lock && b.Server != nil {
		time.Sleep(dynasession.DefaultLockLease + 2*time.Second) // it may have got the lock, unheard
	}
	if cfg.Concurrency != dynasession.Lock || b.Server != nil {
		assert.Equal(t, "n token", sc.OK("/read"))
	}
}

// callsFail has all calls but the first few throttled, for good.
func callsFail(t *testing.T, b *stage.Backend, cfg dynasession.Config, pass int) {
	sc := stage.NewScene(t, b, cfg)
	for _, path := range []string{"/count", "/login?alice", "/logout", "/pop"} {
		n := pass
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			if n--; n >= 0 {
				return c.Send()
			}
			return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
		})
		w := sc.Get(path)
		b.Calls.Intercept(nil)
		sc.Failed(w, http.StatusServiceUnavailable, dynasession.ErrUnavailable)
		assert.NotEmpty(t, w.Header().Get("Retry-After"))
		assert.JSONEq(t, stage.NewData, sc.Data(), "under the same cookie: "+path)
		sc.Edit(func(item map[string]types.AttributeValue) { delete(item, "lock") }) // its end is TestFaults'
	}
	assert.Equal(t, "n token", sc.OK("/read"))
}

// deadline: the request has less time than the retries would take.
func deadline(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	silence := func(c *stage.Call) (*http.Response, error) {
		<-c.Request.Context().Done()
		return nil, c.Request.Context().Err()
	}
	cfg.Timeout = time.Second
	defer time.Sleep(cfg.Timeout) // an abandoned request for a lock takes so long to give the lock up
	sc := stage.NewScene(t, b, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	b.Calls.Intercept(silence)
	w := sc.Do(ctx, "/count")
	b.Calls.Intercept(nil)
	sc.Failed(w, http.StatusServiceUnavailable, dynasession.ErrUnavailable)
	assert.JSONEq(t, stage.NewData, sc.Data())

	sc.Paths["/save"] = func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 30*time.Millisecond)
		defer cancel()
		s.Set("mine", true)
		b.Calls.Intercept(silence)
		err := s.Save(ctx)
		b.Calls.Intercept(nil)
		if assert.ErrorIs(t, err, dynasession.ErrUnavailable) {
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			return
		}
		stage.Write(w, "saved")
	}
	w = sc.Get("/save")
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.NotContains(t, w.Body.String(), "saved")
	assert.JSONEq(t, stage.NewData, sc.Data())

	if cfg.Concurrency == dynasession.Lock { // another's lock, for longer than the request has time
		sc.Edit(func(item map[string]types.AttributeValue) {
			item["lock"], item["holder"] = stage.Num(fmt.Sprint(time.Now().Add(time.Minute).UnixMilli())), stage.Str("another")
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		sc.Failed(sc.Do(ctx, "/count"), http.StatusServiceUnavailable, dynasession.ErrLocked)
	}
}

func changeAfterTheFirstByte(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	sc := stage.EmptyScene(t, b, cfg)
	sc.Paths["/stream"] = func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
		stage.Write(w, "first byte")
		s.Set("late", true)
	}
	sc.Paths["/stream-save"] = func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
		stage.Write(w, "first byte")
		s.Set("late", true)
		assert.Error(t, s.Save(r.Context()), "it tells")
	}
	sc.OK("/stream-save")
	assert.Empty(t, stage.Items(t, b, sc.Table))
	sc.Mu.Lock()
	sc.Errs = nil
	sc.Mu.Unlock()
	assert.Equal(t, "first byte", sc.OK("/stream"))
	assert.Empty(t, sc.Cookie(), "it is too late for the cookie of a new session")
	assert.Empty(t, stage.Items(t, b, sc.Table))
	sc.Mu.Lock()
	assert.Len(t, sc.Errs, 1, "that is told")
	sc.Errs = nil
	sc.Mu.Unlock()

	sc.OK("/new")
	assert.Equal(t, "first byte", sc.OK("/stream"))
	assert.JSONEq(t, `{"n":0,"token":"t","late":true}`, sc.Data(), "saved")
	sc.NoneFailed()
}

func panics(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	sc := stage.NewScene(t, b, cfg)
	sc.Paths["/before"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		s.Set("half", "done")
		panic(http.ErrAbortHandler)
	}
	sc.Paths["/after"] = func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
		s.Set("whole", true)
		stage.Write(w, "first byte")
		s.Set("half", "done")
		panic(http.ErrAbortHandler)
	}
	assert.Panics(t, func() { sc.Get("/before") })
	assert.JSONEq(t, stage.NewData, sc.Data(), "nothing half-done")
	assert.NotContains(t, sc.Item(), "lock")
	assert.Panics(t, func() { sc.Get("/after") })
	assert.JSONEq(t, `{"n":0,"token":"t","whole":true}`, sc.Data(), "what the response stands for")
	assert.NotContains(t, sc.Item(), "lock")
}

func expiredItem(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	sc := stage.NewScene(t, b, cfg)
	old := sc.ID()
	sc.Edit(func(item map[string]types.AttributeValue) { item["expires"] = stage.In(-time.Second) })
	dead := sc.Item()
	assert.Equal(t, "none", sc.OK("/read"))
	assert.Equal(t, dead, sc.Item(), "left to TTL")
	_, err := sc.Store.Read(t.Context(), old)
	require.ErrorIs(t, err, dynasession.ErrNotFound)
	sc.OK("/new")
	assert.NotEqual(t, old, sc.ID(), "the id is not used again")
}

func tooLarge(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	cfg.NoCompression = true
	sc := stage.NewScene(t, b, cfg)
	sc.Paths["/big"] = func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
		s.Set("big", strings.Repeat("x", 450_000))
		stage.Write(w, "saved")
	}
	w := sc.Get("/big")
	sc.Failed(w, http.StatusInternalServerError, dynasession.ErrTooLarge)
	assert.NotContains(t, w.Body.String(), "saved")
	assert.JSONEq(t, stage.NewData, sc.Data())
	assert.NotContains(t, sc.Item(), "lock", "a session that grew is not locked for that")
}

func signOutUnderASlowWriter(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	sc := stage.NewScene(t, b, cfg)
	sc.OK("/login?alice")
	old := sc.Twin()
	sc.Inside = func() { require.NoError(t, sc.Store.Destroy(t.Context(), sc.ID())) }
	sc.Failed(sc.Get("/count"), http.StatusConflict, dynasession.ErrGone)
	sc.NothingLeft(old, sc.Browser)
}

func signInBesideOtherTabs(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	sc := stage.NewScene(t, b, cfg)
	slow := sc.Twin()
	cfg.Table = sc.Table
	if cfg.Concurrency == dynasession.Lock { // else the sign-in would wait for it
		cfg.Concurrency = dynasession.Merge
	}
	other := stage.NewStore(t, b, cfg)
	slow.Handler = other.Middleware(stage.App{"/slow": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		sc.OK("/login?alice")
		s.Set("late", true)
	}})
	w := slow.Get("/slow")
	assert.Equal(t, http.StatusConflict, w.Code, "told, not lost")
	assert.Equal(t, "n token alice", sc.OK("/read"))
	assert.Equal(t, "alice", stage.Attr(sc.Item(), "user"))
	slow.Handler = sc.Handler
	assert.Equal(t, "none", slow.OK("/read"), "the id from before opens nothing")
}

func oneTimeToken(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	const n = 5
	cfg.LockWait = time.Minute
	sc := stage.NewScene(t, b, cfg)
	var loaded, tabs sync.WaitGroup
	loaded.Add(n)
	sc.Paths["/spend"] = func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
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
		tab := sc.Twin()
		tabs.Go(func() {
			w := tab.Get("/spend")
			mu.Lock()
			defer mu.Unlock()
			status[w.Code]++
		})
	}
	tabs.Wait()
	assert.JSONEq(t, `{"n":0}`, sc.Data())
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
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
		loaded := make(chan struct{})
		sc.Paths["/slow"] = func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
			close(loaded)
			<-r.Context().Done() // the client has gone
			stage.CountUp(s)
		}
		served := make(chan struct{})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(served)
			sc.Handler.ServeHTTP(w, r)
		}))
		defer srv.Close()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-loaded; cancel() }()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/slow", http.NoBody)
		require.NoError(t, err)
		r.AddCookie(&http.Cookie{Name: stage.CookieName, Value: sc.Cookie()})
		resp, err := srv.Client().Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		require.ErrorIs(t, err, context.Canceled)
		<-served
		assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.Data())
	})
}
