package dynasession_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// TestClientGoneLate: neither a save after the first byte nor the end of a lock dies with the client.
func TestClientGoneLate(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := newScene(t, b, dynasession.Config{Concurrency: policy})
		ctx, cancel := context.WithCancel(t.Context())
		sc.paths["/late"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
			write(w, "first")
			cancel()
			s.Set("late", true)
		}
		sc.do(ctx, "/late")
		assert.Contains(t, sc.data(), "late")
		ctx, cancel = context.WithCancel(t.Context())
		sc.paths["/panic"] = func(*session, http.ResponseWriter, *http.Request) {
			cancel()
			panic(http.ErrAbortHandler)
		}
		assert.Panics(t, func() { sc.do(ctx, "/panic") })
		assert.NotContains(t, sc.item(), "lock")
	})
}

// TestLateSaveFails: what cannot be saved after the headers have gone is told to the handler, if
// it asks, to Logger and to Observer. The response goes on, and ErrorHandler has no say any more.
func TestLateSaveFails(t *testing.T) {
	ways := map[string]func(w http.ResponseWriter){ // in which the headers go
		"write": func(http.ResponseWriter) {},
		"flush": func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		"read from": func(w http.ResponseWriter) {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader(""))
		},
		"hijack": func(w http.ResponseWriter) {
			_, _, err := w.(http.Hijacker).Hijack()
			assert.ErrorIs(t, err, errHijack)
		},
	}
	reasons := map[error]func(sc *scene, s *session){
		dynasession.ErrUnavailable: func(sc *scene, _ *session) {
			sc.b.calls.intercept(func(*call) (*http.Response, error) { return nil, errReset })
		},
		dynasession.ErrGone:     func(sc *scene, _ *session) { assert.NoError(t, sc.store.Destroy(sc.t.Context(), sc.id())) },
		dynasession.ErrTooLarge: func(_ *scene, s *session) { s.Set("large", strings.Repeat("x", 450<<10)) },
	}
	for _, policy := range policies {
		for way, send := range ways {
			for reason, spoil := range reasons {
				for _, saves := range []bool{false, true} {
					subBubble(t, fmt.Sprintf("%v, %s, %v, saves %v", policy, way, reason, saves), func(t *testing.T) {
						lateSaveFails(t, policy, send, reason, spoil, saves)
					})
				}
			}
		}
	}
}

func lateSaveFails(t *testing.T, policy dynasession.Concurrency, send func(http.ResponseWriter), reason error, spoil func(*scene, *session), saves bool) {
	var logged bytes.Buffer
	sc := newScene(t, embedded(t), dynasession.Config{
		Concurrency: policy, NoCompression: true, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { t.Error("ErrorHandler is called:", err) },
	})
	var ref string
	sc.paths["/late"] = func(s *session, w http.ResponseWriter, r *http.Request) {
		ref = s.Ref()
		write(w, "first")
		send(w)
		spoil(sc, s)
		s.Set("late", true)
		if saves {
			assert.ErrorIs(t, s.Save(r.Context()), reason)
		}
		write(w, " last")
	}
	before := items(t, sc.b, sc.table)
	if errors.Is(reason, dynasession.ErrGone) {
		before = nil
	}
	below := sc.handler
	sc.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		below.ServeHTTP(struct {
			http.ResponseWriter
			http.Flusher
			http.Hijacker
		}{w, w.(http.Flusher), hijackable{w}}, r)
	})
	w := sc.get("/late")
	sc.b.calls.intercept(nil)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, "first last", w.Body.String())
	assert.ElementsMatch(t, before, items(t, sc.b, sc.table))
	assert.Equal(t, 1, strings.Count(logged.String(), "a change after the response's headers is lost"), logged.String())
	assert.Contains(t, logged.String(), "level=ERROR")
	assert.Contains(t, logged.String(), ref)
	assert.NotContains(t, logged.String(), "xxxx")
	sc.mu.Lock()
	defer sc.mu.Unlock()
	assert.Contains(t, sc.failedOps, "late save")
	for _, err := range sc.errs {
		assert.ErrorIs(t, err, reason)
	}
}

// TestClientGoneAtEachCall: whenever the client goes, the deed is done or not, and no lock is left.
func TestClientGoneAtEachCall(t *testing.T) {
	eachDeed(t, func(t *testing.T, cfg dynasession.Config, d deed) {
		cfg.Table = newTable()
		synctest.Test(t, func(t *testing.T) {
			for nth := range 3 {
				for _, applied := range []bool{false, true} {
					b := embedded(t)
					sc := newFaultScene(t, b, cfg, d)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					n := nth
					b.calls.intercept(func(c *call) (*http.Response, error) {
						if n--; n != -1 {
							return c.send()
						}
						if !applied {
							cancel()
						}
						r, err := c.send()
						cancel()
						return r, err
					})
					w := sc.do(ctx, d.path)
					b.calls.intercept(nil)
					synctest.Wait() // for a lock that is given up beside
					now := sc.contents()
					if w.Code == http.StatusOK {
						assert.Equal(t, d.after, now)
						assert.Equal(t, d.after, sc.opens(sc.browser))
					} else {
						assert.Contains(t, []string{d.before(), d.after}, now)
					}
					for _, item := range items(t, b, sc.table) {
						assert.NotContains(t, item, "lock", "call %d, status %d", nth+1, w.Code)
					}
				}
			}
		})
	})
}

// TestCookieOfAnEarlierSave is not lost with a later save that fails: the old id is gone.
func TestCookieOfAnEarlierSave(t *testing.T) {
	s := newStore(t, embedded(t), dynasession.Config{})
	br := newBrowser(t, s.Middleware(app{
		"/set": doSet, "/get": doGet,
		"/go": func(s *session, _ http.ResponseWriter, r *http.Request) {
			s.SetUser("alice")
			assert.NoError(t, s.Save(r.Context()))
			s.Set("bad", func() {})
		},
	}))
	br.ok("/set?1")
	require.Equal(t, http.StatusInternalServerError, br.get("/go").Code)
	require.Equal(t, "1", br.ok("/get"))
}

// TestLoadedAfterTheHeaders: such a use of the session counts too.
func TestLoadedAfterTheHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := embedded(t)
		table := newTable()
		s := newStore(t, b, dynasession.Config{Table: table})
		br := newBrowser(t, s.Middleware(app{"/set": doSet}))
		br.ok("/set?1")
		before := attr(onlyItem(t, b, table), "expires")
		time.Sleep(dynasession.DefaultIdleTimeout / 10)
		br.handler = s.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			sess, err := dynasession.Load(r.Context())
			if assert.NoError(t, err) {
				assert.True(t, sess.Has("key"))
			}
		}))
		br.ok("/")
		require.NotEqual(t, before, attr(onlyItem(t, b, table), "expires"))
	})
}

// TestFailedLateSaveIsToldOnce: and not as a change that came after the request.
func TestFailedLateSaveIsToldOnce(t *testing.T) {
	b := embedded(t)
	var log bytes.Buffer
	sc := newScene(t, b, dynasession.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	sc.paths["/"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		s.Set("bad", func() {})
	}
	sc.ok("/")
	assert.Equal(t, 1, strings.Count(log.String(), "level="), log.String())
	assert.Contains(t, log.String(), "after the response's headers is lost")
}

// TestCookieOfASaveBefore: the handler may replace the header that Save has put it into.
func TestCookieOfASaveBefore(t *testing.T) {
	saving := func(w http.ResponseWriter, r *http.Request) {
		s, err := dynasession.Load(r.Context())
		if assert.NoError(t, err) {
			s.Set("a", 1)
			assert.NoError(t, s.Save(r.Context()))
		}
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("Set-Cookie", "theme=dark")
	}
	for name, h := range map[string]http.Handler{
		"handler":             http.HandlerFunc(saving),
		"http.TimeoutHandler": http.TimeoutHandler(http.HandlerFunc(saving), time.Minute, "late"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, embedded(t), dynasession.Config{})
			w := httptest.NewRecorder()
			s.Middleware(h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://shop.example.com/", http.NoBody))
			assert.Len(t, w.Result().Cookies(), 2)
			assert.Equal(t, "private, max-age=60", w.Header().Get("Cache-Control"))
		})
	}
	t.Run("another store's save fails", func(t *testing.T) {
		b := embedded(t)
		outer, inner := newStore(t, b, dynasession.Config{Name: "a"}), newStore(t, b, dynasession.Config{Name: "b"})
		w := httptest.NewRecorder()
		outer.Middleware(inner.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			one, err := outer.Load(r.Context())
			other, err2 := inner.Load(r.Context())
			if assert.NoError(t, errors.Join(err, err2)) {
				one.Set("x", 1)
				assert.NoError(t, one.Save(r.Context()))
				other.Set("bad", func() {})
			}
		}))).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://shop.example.com/", http.NoBody))
		require.Equal(t, http.StatusInternalServerError, w.Code)
		assert.Len(t, w.Result().Cookies(), 1)
	})
}
