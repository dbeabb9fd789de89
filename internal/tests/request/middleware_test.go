package request_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestCookie(t *testing.T) {
	s := stage.NewStore(t, stage.Embedded(t), dynasession.Config{})
	br := stage.NewBrowser(t, s.Middleware(stage.App{"/set": stage.DoSet, "/get": stage.DoGet,
		"/out": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Destroy() }}))
	w := br.Get("/set?1")
	id := br.Cookie()
	require.Equal(t, []string{stage.CookieName + "=" + id + "; Path=/; HttpOnly; Secure; SameSite=Lax"}, w.Header()["Set-Cookie"])
	require.Equal(t, "Cookie", w.Header().Get("Vary"))
	require.Equal(t, "private, no-store", w.Header().Get("Cache-Control"))
	w = br.Get("/get")
	require.Empty(t, w.Header()["Set-Cookie"], "not at every request")
	require.Empty(t, w.Header()["Cache-Control"])
	require.Equal(t, "Cookie", w.Header().Get("Vary"))
	w = br.Get("/out")
	require.Contains(t, w.Header().Get("Set-Cookie"), stage.CookieName+"=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0;")
	require.Empty(t, br.Cookie())
}

func TestEmptySessionsAreNotStored(t *testing.T) {
	b := stage.Embedded(t)
	table := stage.NewTable()
	s := stage.NewStore(t, b, dynasession.Config{Table: table})
	br := stage.NewBrowser(t, s.Middleware(stage.App{"/": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		s.Set("a", 1)
		s.Delete("a")
		s.LimitTo(time.Now().Add(time.Hour))
	}}))
	w := br.Get("/")
	require.Empty(t, w.Header()["Set-Cookie"])
	require.Empty(t, stage.Items(t, b, table))
}

// TestOneLoad: one read a request, also from many goroutines, each obeying its own context.
func TestOneLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stage.Embedded(t)
		s := stage.NewStore(t, b, dynasession.Config{})
		mux := http.NewServeMux()
		mux.Handle("/set", stage.App{"/set": stage.DoSet})
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
			stage.Write(w, "ok")
		})
		br := stage.NewBrowser(t, s.Middleware(mux))
		br.OK("/set?1")
		b.Calls.Take()
		b.Server.Fault(dynamotest.Fault{Operation: "GetItem", Delay: 3 * time.Second})
		require.Equal(t, "ok", br.OK("/many"))
		require.LessOrEqual(t, len(b.Calls.Take()), 2, "one, or two when the one that gave up was first")
	})
}

// TestFailedLoad: the handler just returns, and the middleware answers.
func TestFailedLoad(t *testing.T) {
	b := stage.Embedded(t)
	table := stage.NewTable()
	s := stage.NewStore(t, b, dynasession.Config{Table: table})
	loads := 0
	mux := http.NewServeMux()
	mux.Handle("/set", stage.App{"/set": stage.DoSet})
	mux.Handle("/get", stage.App{"/get": stage.DoGet})
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
	br := stage.NewBrowser(t, s.Middleware(mux))
	br.OK("/set?1")
	before := stage.OnlyItem(t, b, table)
	b.Calls.Take()
	b.Server.Fault(dynamotest.Fault{Operation: "GetItem", Kind: dynamotest.Refuse, Code: "ResourceNotFoundException", Times: 1})
	require.Equal(t, http.StatusInternalServerError, br.Get("/get").Code)
	b.Calls.Take()
	b.Server.Fault(dynamotest.Fault{Operation: "GetItem", Kind: dynamotest.Cut, Times: -1})
	w := br.Get("/twice")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.Equal(t, 2, loads)
	require.Len(t, b.Calls.Take(), 3, "the SDK's three attempts, once")
	require.Equal(t, http.StatusTeapot, br.Get("/own").Code)
	b.Server.ClearFaults()
	require.Equal(t, before, stage.OnlyItem(t, b, table))
	require.Equal(t, "1", br.OK("/get"), "the session is as it was")

	_, err := dynasession.Load(t.Context())
	require.ErrorIs(t, err, dynasession.ErrNoMiddleware)
	_, err = s.Load(t.Context())
	require.ErrorIs(t, err, dynasession.ErrNoMiddleware)
}

// TestFailedSave: no body of a success under a status of a failure, and nothing of the
// handler's header.
func TestFailedSave(t *testing.T) {
	for name, reply := range map[string]stage.SessionHandler{
		"nothing": func(*stage.Session, http.ResponseWriter, *http.Request) {},
		"write":   func(_ *stage.Session, w http.ResponseWriter, _ *http.Request) { stage.Write(w, "secret") },
		"redirect": func(_ *stage.Session, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/secret", http.StatusSeeOther)
		},
		"readfrom": func(_ *stage.Session, w http.ResponseWriter, _ *http.Request) {
			_, err := io.Copy(w, strings.NewReader("secret"))
			assert.ErrorIs(t, err, dynasession.ErrUnavailable)
		},
		"flush": func(_ *stage.Session, w http.ResponseWriter, _ *http.Request) {
			assert.ErrorIs(t, http.NewResponseController(w).Flush(), dynasession.ErrUnavailable)
			w.(http.Flusher).Flush()
			_, err := w.Write([]byte("secret"))
			assert.ErrorIs(t, err, dynasession.ErrUnavailable)
			w.WriteHeader(http.StatusOK)
			w.WriteHeader(http.StatusEarlyHints)
		},
		"save": func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
			if assert.ErrorIs(t, s.Save(r.Context()), dynasession.ErrUnavailable) {
				return
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := stage.Embedded(t)
			table := stage.NewTable()
			s := stage.NewStore(t, b, dynasession.Config{Table: table})
			h := s.Middleware(stage.App{"/set": stage.DoSet, "/fail": func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Secret", "secret")
				s.Set("key", "changed")
				reply(s, w, r)
			}})
			br := stage.NewBrowser(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Outer", "kept")
				h.ServeHTTP(w, r)
			}))
			br.OK("/set?1")
			before := stage.OnlyItem(t, b, table)
			// As often as one save tries: another would go through.
			b.Server.Fault(dynamotest.Fault{Operation: "UpdateItem", Kind: dynamotest.Refuse, Code: "ThrottlingException", Times: 3})
			w := br.Get("/fail")
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
			require.Equal(t, "Service Unavailable\n", w.Body.String())
			require.Empty(t, w.Header()["X-Secret"])
			require.Empty(t, w.Header()["Location"])
			require.Equal(t, "kept", w.Header().Get("X-Outer"))
			require.Equal(t, before, stage.OnlyItem(t, b, table))
		})
	}
}

func TestErrorHandlerThatIsSilent(t *testing.T) {
	b := stage.Embedded(t)
	s := stage.NewStore(t, b, dynasession.Config{ErrorHandler: func(http.ResponseWriter, *http.Request, error) {}})
	br := stage.NewBrowser(t, s.Middleware(stage.App{"/set": stage.DoSet}))
	b.Server.Fault(dynamotest.Fault{Operation: "PutItem", Kind: dynamotest.Cut, Times: -1})
	require.Equal(t, http.StatusInternalServerError, br.Get("/set?1").Code, "never a 200 for a change that is gone")
}

// TestStreaming runs over a real server: 1xx, flush, late changes, hijacking, sendfile.
func TestStreaming(t *testing.T) {
	b := stage.Embedded(t)
	s := stage.NewStore(t, b, dynasession.Config{Cookie: dynasession.CookieConfig{Insecure: true}})
	late := make(chan error, 1)
	mux := stage.App{
		"/hints": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			s.Set("key", "after hints")
			stage.Write(w, "ok")
		},
		"/late-new": func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
			stage.Write(w, "x")
			s.Set("key", "late")
			late <- s.Save(r.Context())
		},
		"/late": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			s.Set("key", "late")
		},
		"/hijack": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
			s.Set("key", "hijacked")
			conn, _, err := http.NewResponseController(w).Hijack()
			if !assert.NoError(t, err) {
				return
			}
			stage.Write(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
			assert.NoError(t, conn.Close())
		},
		"/upgrade": func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
			s.Set("key", "upgraded")
			assert.NoError(t, s.Save(r.Context()))
			assert.Contains(t, w.Header().Get("Set-Cookie"), "session=")
			assert.NotEmpty(t, s.ID())
			assert.False(t, s.IsNew())
			w.WriteHeader(http.StatusSwitchingProtocols)
		},
		"/get": stage.DoGet,
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
	s := stage.NewStore(t, stage.Embedded(t), dynasession.Config{})
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
			stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
				table := stage.NewTable()
				s := stage.NewStore(t, b, dynasession.Config{Table: table, Concurrency: policy})
				br := stage.NewBrowser(t, s.Middleware(stage.App{"/set": stage.DoSet, "/get": stage.DoGet, "/panic": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
					s.Set("key", "half-done")
					panic(http.ErrAbortHandler)
				}}))
				br.OK("/set?1")
				require.PanicsWithError(t, http.ErrAbortHandler.Error(), func() { br.Get("/panic") })
				item := stage.OnlyItem(t, b, table)
				require.NotContains(t, item, "lock")
				require.NotContains(t, item, "holder")
				require.Equal(t, "1", br.OK("/get"))
			})
		})
	}
}

// TestClientGone: the save does not die with the client.
func TestClientGone(t *testing.T) {
	for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.Lock, dynasession.LastWriteWins} {
		b := stage.Embedded(t)
		s := stage.NewStore(t, b, dynasession.Config{Concurrency: policy})
		var cancel context.CancelFunc
		br := stage.NewBrowser(t, s.Middleware(stage.App{"/set": stage.DoSet, "/get": stage.DoGet,
			"/gone": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { cancel(); s.Set("key", "kept") },
			"/gone-save": func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
				cancel()
				s.Set("key", "saved")
				assert.NoError(t, s.Save(r.Context()))
			}}))
		br.OK("/set?1")
		for path, want := range map[string]string{"/gone": "kept", "/gone-save": "saved"} {
			var ctx context.Context
			ctx, cancel = context.WithCancel(t.Context())
			br.Do(ctx, path)
			cancel()
			require.Equal(t, want, br.OK("/get"))
		}
	}
}

// TestNested: two stores both work; the same one twice is once.
func TestNested(t *testing.T) {
	b := stage.Embedded(t)
	table := stage.NewTable()
	outer := stage.NewStore(t, b, dynasession.Config{Table: table, Name: "outer"})
	inner := stage.NewStore(t, b, dynasession.Config{Table: table, Name: "inner"})
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
	br := stage.NewBrowser(t, outer.Middleware(inner.Middleware(outer.Middleware(inner.Middleware(h)))))
	w := br.Get("/")
	require.Equal(t, "1 10", w.Body.String())
	require.Len(t, w.Header()["Set-Cookie"], 2)
	require.Equal(t, "2 20", br.OK("/"))
	require.Len(t, stage.Items(t, b, table), 2)
}

// TestNestedOuterFails: what the inner store has saved by then reaches its browser.
func TestNestedOuterFails(t *testing.T) {
	b := stage.Embedded(t)
	var stores []*dynasession.Store
	for _, name := range []string{"outer", "middle", "inner"} {
		stores = append(stores, stage.NewStore(t, b, dynasession.Config{Name: name}))
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
	br := stage.NewBrowser(t, h)
	br.OK("/")
	fail = true
	require.Equal(t, http.StatusInternalServerError, br.Get("/").Code)
	fail = false
	require.Equal(t, "[2 3 3]", br.OK("/"))
}

// TestUploads checks that net/http removes the files of an upload, although the handler gets a copy of net/http's request.
func TestUploads(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := stage.NewStore(t, stage.Embedded(t), dynasession.Config{})
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
