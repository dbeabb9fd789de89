package request_test

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
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestClientGoneLate: neither a save after the first byte nor the end of a lock dies with the client.
func TestClientGoneLate(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
		ctx, cancel := context.WithCancel(t.Context())
		sc.Paths["/late"] = func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
			stage.Write(w, "first")
			cancel()
			s.Set("late", true)
		}
		sc.Do(ctx, "/late")
		assert.Contains(t, sc.Data(), "late")
		ctx, cancel = context.WithCancel(t.Context())
		sc.Paths["/panic"] = func(*stage.Session, http.ResponseWriter, *http.Request) {
			cancel()
			panic(http.ErrAbortHandler)
		}
		assert.Panics(t, func() { sc.Do(ctx, "/panic") })
		assert.NotContains(t, sc.Item(), "lock")
	})
}

// TestLateSaveFails: what cannot be saved after the headers were sent is reported to the handler, if
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
	reasons := map[error]func(sc *stage.Scene, s *stage.Session){
		dynasession.ErrUnavailable: func(sc *stage.Scene, _ *stage.Session) {
			sc.B.Calls.Intercept(func(*stage.Call) (*http.Response, error) { return nil, stage.ErrReset })
		},
		dynasession.ErrGone:     func(sc *stage.Scene, _ *stage.Session) { assert.NoError(t, sc.Store.Destroy(sc.T.Context(), sc.ID())) },
		dynasession.ErrTooLarge: func(_ *stage.Scene, s *stage.Session) { s.Set("large", strings.Repeat("x", 450<<10)) },
	}
	for _, policy := range stage.Policies {
		for way, send := range ways {
			for reason, spoil := range reasons {
				for _, saves := range []bool{false, true} {
					stage.SubBubble(t, fmt.Sprintf("%v, %s, %v, saves %v", policy, way, reason, saves), func(t *testing.T) {
						lateSaveFails(t, policy, send, reason, spoil, saves)
					})
				}
			}
		}
	}
}

func lateSaveFails(t *testing.T, policy dynasession.Concurrency, send func(http.ResponseWriter), reason error, spoil func(*stage.Scene, *stage.Session), saves bool) {
	var logged bytes.Buffer
	sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{
		Concurrency: policy, NoCompression: true, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { t.Error("ErrorHandler is called:", err) },
	})
	var ref string
	sc.Paths["/late"] = func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
		ref = s.Ref()
		stage.Write(w, "first")
		send(w)
		spoil(sc, s)
		s.Set("late", true)
		if saves {
			assert.ErrorIs(t, s.Save(r.Context()), reason)
		}
		stage.Write(w, " last")
	}
	before := stage.Items(t, sc.B, sc.Table)
	if errors.Is(reason, dynasession.ErrGone) {
		before = nil
	}
	below := sc.Handler
	sc.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		below.ServeHTTP(struct {
			http.ResponseWriter
			http.Flusher
			http.Hijacker
		}{w, w.(http.Flusher), hijackable{w}}, r)
	})
	w := sc.Get("/late")
	sc.B.Calls.Intercept(nil)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, "first last", w.Body.String())
	assert.ElementsMatch(t, before, stage.Items(t, sc.B, sc.Table))
	assert.Equal(t, 1, strings.Count(logged.String(), "a change after the response's headers is lost"), logged.String())
	assert.Contains(t, logged.String(), "level=ERROR")
	assert.Contains(t, logged.String(), ref)
	assert.NotContains(t, logged.String(), "xxxx")
	sc.Mu.Lock()
	defer sc.Mu.Unlock()
	assert.Contains(t, sc.FailedOps, "late save")
	for _, err := range sc.Errs {
		assert.ErrorIs(t, err, reason)
	}
}

// TestCookieOfAnEarlierSave is not lost with a later save that fails: the old id is gone.
func TestCookieOfAnEarlierSave(t *testing.T) {
	s := stage.NewStore(t, stage.Embedded(t), dynasession.Config{})
	br := stage.NewBrowser(t, s.Middleware(stage.App{
		"/set": stage.DoSet, "/get": stage.DoGet,
		"/go": func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
			s.SetUser("alice")
			assert.NoError(t, s.Save(r.Context()))
			s.Set("bad", func() {})
		},
	}))
	br.OK("/set?1")
	require.Equal(t, http.StatusInternalServerError, br.Get("/go").Code)
	require.Equal(t, "1", br.OK("/get"))
}

// TestLoadedAfterTheHeaders: such a use of the session counts too.
func TestLoadedAfterTheHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stage.Embedded(t)
		table := stage.NewTable()
		s := stage.NewStore(t, b, dynasession.Config{Table: table})
		br := stage.NewBrowser(t, s.Middleware(stage.App{"/set": stage.DoSet}))
		br.OK("/set?1")
		before := stage.Attr(stage.OnlyItem(t, b, table), "expires")
		time.Sleep(dynasession.DefaultIdleTimeout / 10)
		br.Handler = s.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			sess, err := dynasession.Load(r.Context())
			if assert.NoError(t, err) {
				assert.True(t, sess.Has("key"))
			}
		}))
		br.OK("/")
		require.NotEqual(t, before, stage.Attr(stage.OnlyItem(t, b, table), "expires"))
	})
}

// TestFailedLateSaveIsToldOnce: and not as a change that came after the request.
func TestFailedLateSaveIsToldOnce(t *testing.T) {
	b := stage.Embedded(t)
	var log bytes.Buffer
	sc := stage.NewScene(t, b, dynasession.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	sc.Paths["/"] = func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		s.Set("bad", func() {})
	}
	sc.OK("/")
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
			s := stage.NewStore(t, stage.Embedded(t), dynasession.Config{})
			w := httptest.NewRecorder()
			s.Middleware(h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://shop.example.com/", http.NoBody))
			assert.Len(t, w.Result().Cookies(), 2)
			assert.Equal(t, "private, max-age=60", w.Header().Get("Cache-Control"))
		})
	}
	t.Run("another store's save fails", func(t *testing.T) {
		b := stage.Embedded(t)
		outer, inner := stage.NewStore(t, b, dynasession.Config{Name: "a"}), stage.NewStore(t, b, dynasession.Config{Name: "b"})
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
