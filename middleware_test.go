package dynasession_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"bytes"
	"mime/multipart"
	"os"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

type (
	sessionHandler = func(s *dynasession.Session, w http.ResponseWriter, r *http.Request)
	session        = dynasession.Session
)

func doSet(s *session, _ http.ResponseWriter, r *http.Request) { s.Set("key", r.URL.RawQuery) }
func doGet(s *session, w http.ResponseWriter, _ *http.Request) {
	v, _ := dynasession.Get[string](s, "key")
	write(w, v)
}

// TestCalls counts at the wire what each kind of request costs.
func TestCalls(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		s := newStore(t, b, dynasession.Config{})
		a := app{
			"/set": doSet, "/get": doGet,
			"/login":  func(s *session, _ http.ResponseWriter, _ *http.Request) { s.SetUser("ann") },
			"/logout": func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Destroy() },
		}
		mux := http.NewServeMux()
		mux.Handle("/", a)
		mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { write(w, "none") })
		br := newBrowser(t, s.Middleware(mux))
		for _, step := range []struct {
			path  string
			calls []string
		}{
			{"/none", nil},
			{"/get", nil}, // no cookie: nothing to read
			{"/set?1", []string{"PutItem"}},
			{"/none", nil},
			{"/get", []string{"GetItem"}},
			{"/get", []string{"GetItem"}},
			{"/set?2", []string{"GetItem", "UpdateItem"}},
			{"/set?2", []string{"GetItem"}}, // the same value is no change
			{"/login", []string{"GetItem", "TransactWriteItems"}},
			{"/get", []string{"GetItem"}},
			{"/logout", []string{"GetItem", "DeleteItem"}},
			{"/get", nil},
		} {
			br.ok(step.path)
			require.Equal(t, step.calls, b.calls.take(), step.path)
		}
	})
}

// TestIdleMiddlewareAllocations: a handler that leaves the session alone.
func TestIdleMiddlewareAllocations(t *testing.T) {
	b := embedded(t)
	s := newStore(t, b, dynasession.Config{})
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	h := s.Middleware(next)
	for _, cookie := range []string{"", "__Host-session=" + s.CreateID()} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		w := httptest.NewRecorder()
		bare := testing.AllocsPerRun(100, func() { next.ServeHTTP(w, r) })
		wrapped := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) })
		require.LessOrEqual(t, wrapped-bare, 4.0)
	}
	require.Empty(t, b.calls.take())
}

func TestCookie(t *testing.T) {
	s := newStore(t, embedded(t), dynasession.Config{})
	br := newBrowser(t, s.Middleware(app{"/set": doSet, "/get": doGet,
		"/out": func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Destroy() }}))
	w := br.get("/set?1")
	id := br.cookie()
	require.Equal(t, []string{"__Host-session=" + id + "; Path=/; HttpOnly; Secure; SameSite=Lax"}, w.Header()["Set-Cookie"])
	require.Equal(t, "Cookie", w.Header().Get("Vary"))
	require.Equal(t, "private, no-store", w.Header().Get("Cache-Control"))
	w = br.get("/get")
	require.Empty(t, w.Header()["Set-Cookie"], "not at every request")
	require.Empty(t, w.Header()["Cache-Control"])
	require.Equal(t, "Cookie", w.Header().Get("Vary"))
	w = br.get("/out")
	require.Contains(t, w.Header().Get("Set-Cookie"), "__Host-session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0;")
	require.Empty(t, br.cookie())
}

// TestUnknownIDsAreNotAdopted is session fixation.
func TestUnknownIDsAreNotAdopted(t *testing.T) {
	b := embedded(t)
	table := newTable()
	s := newStore(t, b, dynasession.Config{Table: table})
	h := s.Middleware(app{"/set": doSet})
	chosen := s.CreateID()
	r := httptest.NewRequest(http.MethodGet, "/set?1", http.NoBody)
	r.AddCookie(&http.Cookie{Name: "__Host-session", Value: chosen})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.NotContains(t, w.Header().Get("Set-Cookie"), chosen)
	_, err := s.Read(t.Context(), chosen)
	require.ErrorIs(t, err, dynasession.ErrNotFound)
	b.calls.take()
	r.Header.Set("Cookie", "__Host-session=../../etc; __Host-session="+chosen[1:])
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, []string{"PutItem"}, b.calls.take(), "what has not the form of an id is not asked for")
}

func TestEmptySessionsAreNotStored(t *testing.T) {
	b := embedded(t)
	table := newTable()
	s := newStore(t, b, dynasession.Config{Table: table})
	br := newBrowser(t, s.Middleware(app{"/": func(s *session, _ http.ResponseWriter, _ *http.Request) {
		s.Set("a", 1)
		s.Delete("a")
		s.LimitTo(time.Now().Add(time.Hour))
	}}))
	w := br.get("/")
	require.Empty(t, w.Header()["Set-Cookie"])
	require.Empty(t, items(t, b, table))
}

// TestOneLoad: one read a request, also from many goroutines, each obeying its own context.
func TestOneLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := embedded(t)
		s := newStore(t, b, dynasession.Config{})
		mux := http.NewServeMux()
		mux.Handle("/set", app{"/set": doSet})
		mux.HandleFunc("/many", func(w http.ResponseWriter, r *http.Request) {
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					sess, err := dynasession.Load(r.Context())
					if assert.NoError(t, err) {
						assert.True(t, sess.Has("key"))
					}
				})
			}
			short, cancel := context.WithTimeout(r.Context(), time.Second)
			defer cancel()
			_, err := dynasession.Load(short)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			wg.Wait()
			write(w, "ok")
		})
		br := newBrowser(t, s.Middleware(mux))
		br.ok("/set?1")
		b.calls.take()
		b.server.Fault(dynamotest.Fault{Operation: "GetItem", Delay: 3 * time.Second})
		require.Equal(t, "ok", br.ok("/many"))
		require.LessOrEqual(t, len(b.calls.take()), 2, "one, or two when the one that gave up was first")
	})
}

// TestFailedLoad: the handler just returns, and the middleware answers.
func TestFailedLoad(t *testing.T) {
	b := embedded(t)
	table := newTable()
	s := newStore(t, b, dynasession.Config{Table: table})
	loads := 0
	mux := http.NewServeMux()
	mux.Handle("/set", app{"/set": doSet})
	mux.Handle("/get", app{"/get": doGet})
	mux.HandleFunc("/twice", func(_ http.ResponseWriter, r *http.Request) {
		for range 2 {
			_, err := dynasession.Load(r.Context())
			assert.ErrorIs(t, err, dynasession.ErrUnavailable)
			loads++
		}
	})
	mux.HandleFunc("/own", func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.Load(r.Context()); err != nil {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	br := newBrowser(t, s.Middleware(mux))
	br.ok("/set?1")
	before := onlyItem(t, b, table)
	b.calls.take()
	b.server.Fault(dynamotest.Fault{Operation: "GetItem", Kind: dynamotest.Refuse, Code: "ResourceNotFoundException", Times: 1})
	require.Equal(t, http.StatusInternalServerError, br.get("/get").Code)
	b.calls.take()
	b.server.Fault(dynamotest.Fault{Operation: "GetItem", Kind: dynamotest.Cut, Times: -1})
	w := br.get("/twice")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.Equal(t, 2, loads)
	require.Len(t, b.calls.take(), 3, "the SDK's three attempts, once")
	require.Equal(t, http.StatusTeapot, br.get("/own").Code)
	b.server.ClearFaults()
	require.Equal(t, before, onlyItem(t, b, table))
	require.Equal(t, "1", br.ok("/get"), "the session is as it was")

	_, err := dynasession.Load(t.Context())
	require.ErrorIs(t, err, dynasession.ErrNoMiddleware)
	_, err = s.Load(t.Context())
	require.ErrorIs(t, err, dynasession.ErrNoMiddleware)
}

// TestFailedSave: no body of a success under a status of a failure, and nothing of the
// handler's header.
func TestFailedSave(t *testing.T) {
	for name, reply := range map[string]sessionHandler{
		"nothing": func(*session, http.ResponseWriter, *http.Request) {},
		"write":   func(_ *session, w http.ResponseWriter, _ *http.Request) { write(w, "secret") },
		"redirect": func(_ *session, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/secret", http.StatusSeeOther)
		},
		"readfrom": func(_ *session, w http.ResponseWriter, _ *http.Request) {
			_, err := io.Copy(w, strings.NewReader("secret"))
			assert.ErrorIs(t, err, dynasession.ErrUnavailable)
		},
		"flush": func(_ *session, w http.ResponseWriter, _ *http.Request) {
			assert.ErrorIs(t, http.NewResponseController(w).Flush(), dynasession.ErrUnavailable)
			w.(http.Flusher).Flush()
			_, err := w.Write([]byte("secret"))
			assert.ErrorIs(t, err, dynasession.ErrUnavailable)
			w.WriteHeader(http.StatusOK)
			w.WriteHeader(http.StatusEarlyHints)
		},
		"save": func(s *session, _ http.ResponseWriter, r *http.Request) {
			if assert.ErrorIs(t, s.Save(r.Context()), dynasession.ErrUnavailable) {
				return
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := embedded(t)
			table := newTable()
			s := newStore(t, b, dynasession.Config{Table: table})
			h := s.Middleware(app{"/set": doSet, "/fail": func(s *session, w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Secret", "secret")
				s.Set("key", "changed")
				reply(s, w, r)
			}})
			br := newBrowser(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Outer", "kept")
				h.ServeHTTP(w, r)
			}))
			br.ok("/set?1")
			before := onlyItem(t, b, table)
			// As often as one save tries: another would go through.
			b.server.Fault(dynamotest.Fault{Operation: "UpdateItem", Kind: dynamotest.Refuse, Code: "ThrottlingException", Times: 3})
			w := br.get("/fail")
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
			require.Equal(t, "Service Unavailable\n", w.Body.String())
			require.Empty(t, w.Header()["X-Secret"])
			require.Empty(t, w.Header()["Location"])
			require.Equal(t, "kept", w.Header().Get("X-Outer"))
			require.Equal(t, before, onlyItem(t, b, table))
		})
	}
}

func TestErrorHandlerThatIsSilent(t *testing.T) {
	b := embedded(t)
	s := newStore(t, b, dynasession.Config{ErrorHandler: func(http.ResponseWriter, *http.Request, error) {}})
	br := newBrowser(t, s.Middleware(app{"/set": doSet}))
	b.server.Fault(dynamotest.Fault{Operation: "PutItem", Kind: dynamotest.Cut, Times: -1})
	require.Equal(t, http.StatusInternalServerError, br.get("/set?1").Code, "never a 200 for a change that is gone")
}

// TestStreaming runs over a real server: 1xx, flush, late changes, hijacking, sendfile.
func TestStreaming(t *testing.T) {
	b := embedded(t)
	s := newStore(t, b, dynasession.Config{Cookie: dynasession.CookieConfig{Insecure: true}})
	late := make(chan error, 1)
	mux := app{
		"/hints": func(s *session, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			s.Set("key", "after hints")
			write(w, "ok")
		},
		"/late-new": func(s *session, w http.ResponseWriter, r *http.Request) {
			write(w, "x")
			s.Set("key", "late")
			late <- s.Save(r.Context())
		},
		"/late": func(s *session, w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			s.Set("key", "late")
		},
		"/hijack": func(s *session, w http.ResponseWriter, _ *http.Request) {
			s.Set("key", "hijacked")
			conn, _, err := http.NewResponseController(w).Hijack()
			if !assert.NoError(t, err) {
				return
			}
			write(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
			assert.NoError(t, conn.Close())
		},
		"/upgrade": func(s *session, w http.ResponseWriter, r *http.Request) {
			s.Set("key", "upgraded")
			assert.NoError(t, s.Save(r.Context()))
			assert.Contains(t, w.Header().Get("Set-Cookie"), "session=")
			assert.NotEmpty(t, s.ID())
			assert.False(t, s.IsNew())
			w.WriteHeader(http.StatusSwitchingProtocols)
		},
		"/get": doGet,
	}
	srv := httptest.NewServer(s.Middleware(mux))
	defer srv.Close()
	cookie := ""
	get := func(path string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, http.NoBody)
		require.NoError(t, err)
		r.Header.Set("Cookie", cookie)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		for _, c := range res.Cookies() {
			cookie = c.Name + "=" + c.Value
		}
		if res.StatusCode == http.StatusSwitchingProtocols {
			return res.StatusCode, ""
		}
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode, string(body)
	}
	code, body := get("/late-new")
	require.Equal(t, 200, code)
	require.Equal(t, "x", body)
	require.ErrorContains(t, <-late, "cannot be delivered")
	require.Empty(t, cookie)

	_, body = get("/hints")
	require.Equal(t, "ok", body)
	require.NotEmpty(t, cookie, "an informational response does not end the headers")
	_, body = get("/get")
	require.Equal(t, "after hints", body)
	for path, want := range map[string]string{"/late": "late", "/hijack": "hijacked"} {
		get(path)
		require.Eventually(t, func() bool { _, body := get("/get"); return body == want }, 5*time.Second, 10*time.Millisecond)
	}
	cookie = ""
	code, _ = get("/upgrade")
	require.Equal(t, http.StatusSwitchingProtocols, code)
	_, body = get("/get")
	require.Equal(t, "upgraded", body)
}

// TestWriterAbilities: what the writer below can do, no less and no more.
func TestWriterAbilities(t *testing.T) {
	type (
		flusher  struct{ http.Flusher }
		hijacker struct{ http.Hijacker }
		pusher   struct{ http.Pusher }
	)
	s := newStore(t, embedded(t), dynasession.Config{})
	var got string
	h := s.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, f := w.(http.Flusher)
		_, j := w.(http.Hijacker)
		_, p := w.(http.Pusher)
		_, rf := w.(io.ReaderFrom)
		got = fmt.Sprint(f, j, p, rf)
	}))
	type W = http.ResponseWriter
	rec := httptest.NewRecorder()
	bare := struct{ W }{rec}
	for want, w := range map[string]W{
		"false false false true": bare,
		"true false false true": struct {
			W
			flusher
		}{bare, flusher{}},
		"false true false true": struct {
			W
			hijacker
		}{bare, hijacker{}},
		"false false true true": struct {
			W
			pusher
		}{bare, pusher{}},
		"true true false true": struct {
			W
			flusher
			hijacker
		}{bare, flusher{}, hijacker{}},
		"true false true true": struct {
			W
			flusher
			pusher
		}{bare, flusher{}, pusher{}},
		"false true true true": struct {
			W
			hijacker
			pusher
		}{bare, hijacker{}, pusher{}},
		"true true true true": struct {
			W
			flusher
			hijacker
			pusher
		}{bare, flusher{}, hijacker{}, pusher{}},
	} {
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		require.Equal(t, want, got)
	}
	// Through a wrapper, as http.ResponseController goes.
	h.ServeHTTP(unwrapper{bare, hijackable{rec}}, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	require.Equal(t, "false true false true", got)

	for _, http2 := range []bool{false, true} { // net/http's own
		told := make(chan bool, 2)
		server := httptest.NewUnstartedServer(s.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			n, ok := w.(interface{ CloseNotify() <-chan bool })
			told <- ok
			w.(http.Flusher).Flush()
			<-n.CloseNotify()
			told <- true
		})))
		server.EnableHTTP2 = http2
		server.StartTLS()
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
		require.NoError(t, err)
		res, err := server.Client().Do(r)
		require.NoError(t, err)
		require.True(t, <-told)
		require.Equal(t, http2, res.ProtoMajor == 2)
		cancel()
		require.True(t, <-told)
		require.NoError(t, res.Body.Close())
		server.Close()
	}

	// Each does what it says.
	done := s.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _, err := w.(http.Hijacker).Hijack()
		assert.ErrorIs(t, err, errHijack)
	}))
	done.ServeHTTP(hijackable{rec}, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	flush := s.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		assert.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrNotSupported)
	}))
	flush.ServeHTTP(bare, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
}

type unwrapper struct {
	http.ResponseWriter
	below http.ResponseWriter
}

func (u unwrapper) Unwrap() http.ResponseWriter { return u.below }

var errHijack = errors.New("hijacked")

type hijackable struct{ http.ResponseWriter }

func (hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errHijack }

// TestPanic: nothing half-done is saved, locks are released, the panic goes on.
func TestPanic(t *testing.T) {
	for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.Lock, dynasession.LastWriteWins} {
		t.Run(policy.String(), func(t *testing.T) {
			eachBackend(t, func(t *testing.T, b *backend) {
				table := newTable()
				s := newStore(t, b, dynasession.Config{Table: table, Concurrency: policy})
				br := newBrowser(t, s.Middleware(app{"/set": doSet, "/get": doGet, "/panic": func(s *session, _ http.ResponseWriter, _ *http.Request) {
					s.Set("key", "half-done")
					panic(http.ErrAbortHandler)
				}}))
				br.ok("/set?1")
				require.PanicsWithError(t, http.ErrAbortHandler.Error(), func() { br.get("/panic") })
				item := onlyItem(t, b, table)
				require.NotContains(t, item, "lock")
				require.NotContains(t, item, "holder")
				require.Equal(t, "1", br.ok("/get"))
			})
		})
	}
}

// TestClientGone: the save does not die with the client.
func TestClientGone(t *testing.T) {
	for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.Lock, dynasession.LastWriteWins} {
		b := embedded(t)
		s := newStore(t, b, dynasession.Config{Concurrency: policy})
		var cancel context.CancelFunc
		br := newBrowser(t, s.Middleware(app{"/set": doSet, "/get": doGet,
			"/gone": func(s *session, _ http.ResponseWriter, _ *http.Request) { cancel(); s.Set("key", "kept") },
			"/gone-save": func(s *session, _ http.ResponseWriter, r *http.Request) {
				cancel()
				s.Set("key", "saved")
				assert.NoError(t, s.Save(r.Context()))
			}}))
		br.ok("/set?1")
		for path, want := range map[string]string{"/gone": "kept", "/gone-save": "saved"} {
			var ctx context.Context
			ctx, cancel = context.WithCancel(t.Context())
			br.do(ctx, path)
			cancel()
			require.Equal(t, want, br.ok("/get"))
		}
	}
}

// TestNested: two stores both work; the same one twice is once.
func TestNested(t *testing.T) {
	b := embedded(t)
	table := newTable()
	outer := newStore(t, b, dynasession.Config{Table: table, Name: "outer"})
	inner := newStore(t, b, dynasession.Config{Table: table, Name: "inner"})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o, err := outer.Load(r.Context())
		if !assert.NoError(t, err) {
			return
		}
		i, err := inner.Load(r.Context())
		if !assert.NoError(t, err) {
			return
		}
		innermost, err := dynasession.Load(r.Context())
		assert.NoError(t, err)
		assert.Same(t, i, innermost)
		dynasession.Update(o, "n", func(n int) int { return n + 1 })
		dynasession.Update(i, "n", func(n int) int { return n + 10 })
		a, _ := dynasession.Get[int](o, "n")
		c, _ := dynasession.Get[int](i, "n")
		fmt.Fprint(w, a, c)
	})
	br := newBrowser(t, outer.Middleware(inner.Middleware(outer.Middleware(inner.Middleware(h)))))
	w := br.get("/")
	require.Equal(t, "1 10", w.Body.String())
	require.Len(t, w.Header()["Set-Cookie"], 2)
	require.Equal(t, "2 20", br.ok("/"))
	require.Len(t, items(t, b, table), 2)
}

// TestNestedOuterFails: what the inner store has saved by then reaches its browser.
func TestNestedOuterFails(t *testing.T) {
	b := embedded(t)
	var stores []*dynasession.Store
	for _, name := range []string{"outer", "middle", "inner"} {
		stores = append(stores, newStore(t, b, dynasession.Config{Name: name}))
	}
	fail := false
	h := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var counts []int
		for i, s := range stores {
			sess, err := s.Load(r.Context())
			if !assert.NoError(t, err) {
				return
			}
			dynasession.Update(sess, "n", func(n int) int { return n + 1 })
			sess.Renew()
			if fail && i == 0 {
				sess.Set("bad", func() {})
			}
			n, _ := dynasession.Get[int](sess, "n")
			counts = append(counts, n)
		}
		fmt.Fprint(w, counts)
	}))
	for _, s := range slices.Backward(stores) {
		h = s.Middleware(h)
	}
	br := newBrowser(t, h)
	br.ok("/")
	fail = true
	require.Equal(t, http.StatusInternalServerError, br.get("/").Code)
	fail = false
	require.Equal(t, "[2 3 3]", br.ok("/"))
}

// TestSaveShowsTheMergedState: and what is changed later is saved too.
func TestSaveShowsTheMergedState(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		s := newStore(t, b, dynasession.Config{})
		var br *browser
		br = newBrowser(t, s.Middleware(app{
			"/set": doSet, "/get": doGet,
			"/other": func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("other", "seen") },
			"/save": func(s *session, _ http.ResponseWriter, r *http.Request) {
				br.ok("/other")
				s.Set("key", "saved")
				assert.NoError(t, s.Save(r.Context()))
				v, _ := dynasession.Get[string](s, "other")
				assert.Equal(t, "seen", v)
				s.Set("key", "again")
			},
			"/restart": func(s *session, _ http.ResponseWriter, _ *http.Request) {
				before := s.ID()
				s.Destroy()
				assert.Empty(t, s.ID())
				assert.False(t, s.Has("key"))
				assert.True(t, s.IsNew())
				s.Set("key", "fresh from "+before[:0])
			},
		}))
		br.ok("/set?1")
		br.ok("/save")
		require.Equal(t, "again", br.ok("/get"))
		old := idOf(br)
		br.ok("/restart")
		require.NotEqual(t, old, idOf(br))
		require.Equal(t, "fresh from ", br.ok("/get"))
		_, err := s.Read(t.Context(), old)
		require.ErrorIs(t, err, dynasession.ErrNotFound)
	})
}

// TestErrorsHoldNoSecrets: no id and no data in errors, whatever goes wrong.
func TestErrorsHoldNoSecrets(t *testing.T) {
	b := embedded(t)
	s := newStore(t, b, dynasession.Config{})
	id := s.CreateID()
	secret := "very-secret-value"
	for _, f := range []dynamotest.Fault{
		{Kind: dynamotest.Truncate}, {Kind: dynamotest.Garbage}, {Kind: dynamotest.Cut}, {Kind: dynamotest.Cut, Applied: true},
		{Kind: dynamotest.Refuse}, {Kind: dynamotest.Refuse, Code: "ValidationException"}, {Kind: dynamotest.Refuse, Code: "AccessDeniedException"},
		{Kind: dynamotest.Refuse, Code: "ProvisionedThroughputExceededException"},
	} {
		require.NoError(t, s.Write(t.Context(), id, []byte(`{"a":"`+secret+`"}`)))
		f.Times = -1
		b.server.Fault(f)
		_, read := s.Read(t.Context(), id)
		for _, err := range []error{read, s.Write(t.Context(), id, []byte(`{"a":"`+secret+`"}`)), s.Destroy(t.Context(), id), s.UpdateTimestamp(t.Context(), id)} {
			if err != nil {
				for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
					assert.NotContains(t, text, id)
					assert.NotContains(t, text, secret)
				}
			}
		}
		require.Error(t, read)
		b.server.ClearFaults()
	}
}

// TestUploads: net/http removes the files of its own request, of which the handler has a copy.
func TestUploads(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := newStore(t, embedded(t), dynasession.Config{})
	srv := httptest.NewServer(s.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, r.ParseMultipartForm(1))
		files, err := os.ReadDir(dir)
		assert.NoError(t, err)
		assert.NotEmpty(t, files)
		w.WriteHeader(http.StatusNoContent)
	})))
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("photo", "photo.jpg")
	require.NoError(t, err)
	_, _ = file.Write(make([]byte, 11<<20))
	require.NoError(t, form.Close())
	resp, err := srv.Client().Post(srv.URL, form.FormDataContentType(), &body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	srv.Close()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}
