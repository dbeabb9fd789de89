package request_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/testhook"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// A session hangs on the context of its request. These tests bring that context to other requests, in all
// the ways that are known, and none of them may get the session.

// whoami signs in at /login?name, and answers every request with who it is.
func whoami(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	if r.URL.Path == "/login" {
		sess.SetUser(r.URL.RawQuery)
	}
	fmt.Fprintf(w, "user %q", sess.User())
}

// streams stands for golang.org/x/net/http2/h2c: it takes the connection over, and serves the requests of
// its streams with the context of the request that opened it.
type streams struct {
	next http.Handler
	ask  func(stream func(path, cookie string) *httptest.ResponseRecorder)
}

func (s streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = conn.Close() }()
	s.ask(func(path, cookie string) *httptest.ResponseRecorder {
		stream := httptest.NewRequestWithContext(r.Context(), http.MethodGet, "http://shop.example.com"+path, http.NoBody)
		if cookie != "" {
			stream.Header.Set("Cookie", cookie)
		}
		w := httptest.NewRecorder()
		s.next.ServeHTTP(w, stream)
		return w
	})
}

func TestHTTP2Connections(t *testing.T) {
	upgrades := map[string]string{
		"prior knowledge": "PRI * HTTP/2.0\r\nHost: shop\r\n\r\n",
		"upgrade":         "GET /login?opener HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
	}
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		table := stage.NewTable()
		insecure := dynasession.CookieConfig{Insecure: true, Name: "session"}
		store := stage.NewStore(t, b, dynasession.Config{Table: table, Concurrency: policy, Cookie: insecure})
		other := stage.NewStore(t, b, dynasession.Config{Table: table, Concurrency: policy, Name: "other", Cookie: dynasession.CookieConfig{Insecure: true, Name: "other"}})
		inside := store.Middleware(http.HandlerFunc(whoami))
		loads := func(next http.Handler) http.Handler { // as an authentication middleware does
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := dynasession.Load(r.Context())
				assert.NoError(t, err)
				next.ServeHTTP(w, r)
			})
		}
		for opening, request := range upgrades {
			for name, test := range map[string]struct {
				around func(http.Handler) http.Handler
				next   http.Handler
				served bool
			}{
				"outside":             {store.Middleware, http.HandlerFunc(whoami), false},
				"outside, and loaded": {func(h http.Handler) http.Handler { return store.Middleware(loads(h)) }, http.HandlerFunc(whoami), false},
				"outside and inside":  {store.Middleware, inside, true},
				"loaded, and inside":  {func(h http.Handler) http.Handler { return store.Middleware(loads(h)) }, inside, true},
				"two stores outside":  {func(h http.Handler) http.Handler { return other.Middleware(store.Middleware(h)) }, inside, true},
				"inside":              {func(h http.Handler) http.Handler { return h }, inside, true},
			} {
				t.Run(opening+", "+name, func(t *testing.T) {
					s := streams{next: test.next}
					done := make(chan struct{})
					s.ask = func(stream func(path, cookie string) *httptest.ResponseRecorder) {
						defer close(done)
						login := stream("/login?alice", "")
						if !test.served {
							assert.Equal(t, http.StatusTeapot, login.Code)
							assert.Contains(t, login.Body.String(), dynasession.ErrNoMiddleware.Error())
							return
						}
						assert.Equal(t, `user "alice"`, login.Body.String())
						alice := stage.OnlyCookie(t, login)
						assert.Equal(t, `user ""`, stream("/read", "").Body.String(), "another browser, on the same connection")
						assert.Equal(t, `user "alice"`, stream("/read", alice.Name+"="+alice.Value).Body.String())
						assert.Equal(t, `user ""`, stream("/read", "").Body.String())
					}
					server := httptest.NewServer(test.around(s))
					defer server.Close()
					conn, err := net.Dial("tcp", server.Listener.Addr().String())
					require.NoError(t, err)
					defer func() { _ = conn.Close() }()
					_, err = io.WriteString(conn, request)
					require.NoError(t, err)
					select {
					case <-done:
					case <-time.After(20 * time.Second):
						t.Fatal("the connection was not taken over")
					}
				})
			}
		}
	})
}

// TestWebsocketKeepsItsSession: any other upgrade is still the request that asked for it.
func TestWebsocketKeepsItsSession(t *testing.T) {
	b := stage.Embedded(t)
	store := stage.NewStore(t, b, dynasession.Config{Cookie: dynasession.CookieConfig{Insecure: true, Name: "session"}})
	got := make(chan string, 1)
	server := httptest.NewServer(store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer func() { _ = conn.Close() }()
		sess, err := dynasession.Load(r.Context())
		if assert.NoError(t, err) {
			got <- sess.User()
		}
	})))
	defer server.Close()
	login := httptest.NewRecorder()
	store.Middleware(http.HandlerFunc(whoami)).ServeHTTP(login, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/login?alice", http.NoBody))
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	cookie := stage.OnlyCookie(t, login)
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: %s=%s\r\n\r\n", cookie.Name, cookie.Value)
	_, _ = bufio.NewReader(conn).Peek(1)
	assert.Equal(t, "alice", <-got)
}

// TestContextsOfOtherRequests: a server whose requests have a handler's context, and a handler that serves
// other requests by itself, during its own or later.
func TestContextsOfOtherRequests(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		store := stage.NewStore(t, b, dynasession.Config{Concurrency: policy})
		inside := store.Middleware(http.HandlerFunc(whoami))
		ask := func(ctx context.Context, path, cookie string) string {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://shop.example.com"+path, http.NoBody)
			if cookie != "" {
				r.AddCookie(&http.Cookie{Name: stage.CookieName, Value: cookie})
			}
			w := httptest.NewRecorder()
			inside.ServeHTTP(w, r)
			return w.Body.String()
		}
		bob := stage.NewBrowser(t, inside)
		bob.OK("/login?bob")
		var late context.Context
		alice := stage.NewBrowser(t, store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			whoami(w, r)
			late = r.Context() //nolint:fatcontext // which is what is tested
			if r.URL.Path == "/login" {
				return
			}
			assert.Equal(t, `user "bob"`, ask(r.Context(), "/", bob.Cookie()), "another browser's, served meanwhile")
			assert.Equal(t, `user ""`, ask(r.Context(), "/", ""))
		})))
		alice.OK("/login?alice")
		assert.Equal(t, `user "bob"`, ask(late, "/", bob.Cookie()), "another browser's, served later")
		assert.Equal(t, `user ""`, ask(late, "/", ""))
		assert.Equal(t, `user "alice"`, alice.OK("/"))
		assert.Equal(t, `user "bob"`, ask(late, "/", bob.Cookie()))
		assert.Equal(t, `user ""`, ask(late, "/", ""))
		assert.Equal(t, `user "alice"`, ask(late, "/", alice.Cookie()), "loaded again: the request is over")
	})
}

// TestNestedMiddlewareOfOneStore: the same request, further inside, has one session, whatever stands
// between and changes its URL, its header or its writer.
func TestNestedMiddlewareOfOneStore(t *testing.T) {
	b := stage.Embedded(t)
	store := stage.NewStore(t, b, dynasession.Config{})
	h := store.Middleware(http.HandlerFunc(whoami))
	h = http.StripPrefix("/api", h)
	h = http.TimeoutHandler(h, time.Minute, "late")
	between := h
	h = store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if !assert.NoError(t, err) {
			return
		}
		sess.Set("outside", true)
		clone := r.Clone(r.Context())
		clone.Header.Set("X-Request-Id", "1")
		between.ServeHTTP(w, clone)
	}))
	br := stage.NewBrowser(t, h)
	b.Calls.Take()
	assert.Equal(t, `user "alice"`, br.OK("/api/login?alice"))
	assert.Equal(t, []string{"PutItem"}, b.Calls.Take(), "one session, saved once")
	assert.Equal(t, `user "alice"`, br.OK("/api/"))
}

// After a failed load a handler may just return. What stands between may write a header for it.
func TestSilentHandlersBehindWrappers(t *testing.T) {
	type wrapper func(http.Handler) http.Handler
	wrappers := map[string]wrapper{
		"nothing":        func(h http.Handler) http.Handler { return h },
		"TimeoutHandler": func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Minute, "") },
		"a 200":          writesHeader(http.StatusOK), "a 204": writesHeader(http.StatusNoContent), "a 299": writesHeader(299),
		"gin": func(h http.Handler) http.Handler { // which writes the header of a status at the end
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r)
				w.WriteHeader(http.StatusOK)
				_, _ = w.Write(nil)
				_, _ = io.WriteString(w, "")
			})
		},
		"a buffer": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				w.WriteHeader(rec.Code)
				_, _ = io.Copy(w, rec.Body)
			})
		},
		"a reader": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r)
				_, _ = io.Copy(w, strings.NewReader(""))
			})
		},
		"two stores": nil,
	}
	for _, policy := range stage.Policies {
		for name, wrap := range wrappers {
			t.Run(policy.String()+", "+name, func(t *testing.T) {
				b := stage.Embedded(t)
				store := stage.NewStore(t, b, dynasession.Config{Concurrency: policy})
				if wrap == nil {
					wrap = stage.NewStore(t, b, dynasession.Config{Name: "other"}).Middleware
				}
				silent := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					_, err := store.Load(r.Context())
					assert.Error(t, err)
				})
				id := store.CreateID()
				require.NoError(t, store.Write(t.Context(), id, []byte(`{}`)))
				b.Calls.Intercept(func(*stage.Call) (*http.Response, error) {
					return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
				})
				w := stage.Ask(store.Middleware(wrap(silent)), id, "/")
				assert.Equal(t, http.StatusServiceUnavailable, w.Code)
				assert.NotEmpty(t, w.Body.String())
			})
		}
	}

	for name, answer := range map[string]http.HandlerFunc{
		"a body": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			stage.Write(w, "mine")
		},
		"a body, read": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.Copy(w, strings.NewReader("mine"))
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/sorry", http.StatusSeeOther) },
		"an error":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"a flush": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_ = http.NewResponseController(w).Flush()
		},
		"a body, in part": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write(nil)
			stage.Write(w, "mi")
			stage.Write(w, "ne")
		},
	} {
		t.Run("the handler's own answer, "+name, func(t *testing.T) {
			b := stage.Embedded(t)
			store := stage.NewStore(t, b, dynasession.Config{})
			id := store.CreateID()
			b.Calls.Intercept(func(*stage.Call) (*http.Response, error) {
				return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
			})
			w := stage.Ask(store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := dynasession.Load(r.Context())
				assert.Error(t, err)
				answer(w, r)
			})), id, "/")
			want := map[string]int{"a redirect": http.StatusSeeOther, "an error": http.StatusBadGateway}[name]
			if want == 0 {
				want = http.StatusCreated
			}
			assert.Equal(t, want, w.Code)
			if strings.HasPrefix(name, "a body") {
				assert.Equal(t, "mine", w.Body.String())
			}
		})
	}
}

func writesHeader(status int) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			w.WriteHeader(status)
		})
	}
}

// TestLoadWithoutMiddleware: the first one of a program is logged, with the place of the call.
func TestLoadWithoutMiddleware(t *testing.T) {
	var lines strings.Builder
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&lines, nil)))
	defer slog.SetDefault(was)
	testhook.ForgetNoMiddleware()
	for range 3 {
		_, err := dynasession.Load(t.Context())
		require.ErrorIs(t, err, dynasession.ErrNoMiddleware)
	}
	assert.Equal(t, 1, strings.Count(lines.String(), "level=ERROR"), lines.String())
	assert.Contains(t, lines.String(), "contexts_test.go")

	lines.Reset()
	testhook.ForgetNoMiddleware()
	store, err := dynasession.New(stage.Embedded(t).Client, dynasession.Config{Logger: slog.New(slog.NewTextHandler(&lines, nil))})
	require.NoError(t, err)
	_, err = store.Load(t.Context())
	require.ErrorIs(t, err, dynasession.ErrNoMiddleware)
	assert.Contains(t, lines.String(), "contexts_test.go")
}

// TestOldCookieOfTheSameName: what clears a cookie of another path or domain goes out beside the session's.
func TestOldCookieOfTheSameName(t *testing.T) {
	b := stage.Embedded(t)
	store := stage.NewStore(t, b, dynasession.Config{Cookie: dynasession.CookieConfig{Name: "session", Path: "/shop", Domain: "example.com"}})
	h := store.Middleware(stage.App{"/": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
		for _, old := range []http.Cookie{
			{Name: "session", Path: "/", MaxAge: -1}, {Name: "session", Path: "/shop", MaxAge: -1},
			{Name: "session", Path: "/shop", Domain: "www.example.com", MaxAge: -1},
			{Name: "session", Path: "/shop", Domain: ".Example.com", MaxAge: -1, Value: "replaced"},
			{Name: "session2", Path: "/shop", Domain: "example.com", Value: "other"},
		} {
			w.Header().Add("Set-Cookie", (&old).String())
		}
		s.Set("n", 1)
	}})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://www.example.com/", http.NoBody))
	lines := w.Header()["Set-Cookie"]
	require.Len(t, lines, 5, lines)
	assert.NotContains(t, fmt.Sprint(lines), "replaced")
	assert.Regexp(t, `^session=[0-9A-Za-z]{43}(\.\d+)?; Path=/shop; Domain=example.com`, lines[4])
}

// TestClientGoneAfterAnEarlyResponse: while net/http may still read the header for a 1xx, it is left alone,
// and the session is saved.
func TestClientGoneAfterAnEarlyResponse(t *testing.T) {
	b := stage.Embedded(t)
	for name, fails := range map[string]bool{"saved": false, "failed": true} {
		store := stage.NewStore(t, b, dynasession.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		h := store.Middleware(stage.App{"/": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			s.Set("n", 1)
			cancel()
			if fails {
				s.Set("n", func() {})
			}
		}})
		w := httptest.NewRecorder()
		b.Calls.Take()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "https://shop.example.com/", http.NoBody))
		assert.Empty(t, w.Header(), name)
		if !fails {
			assert.Equal(t, []string{"PutItem"}, b.Calls.Take())
		}
	}
}

// TestConflictTellsWhatToDo: 409 is an answer for a person.
func TestConflictTellsWhatToDo(t *testing.T) {
	b := stage.Embedded(t)
	l := stage.NewLineage(t, b, dynasession.Config{}, "/login?alice")
	const text = "Your session was changed by another request. Reload the page."
	for accept, kind := range map[string]string{
		"text/html,application/xhtml+xml;q=0.9": "text/html; charset=utf-8", "": "text/plain; charset=utf-8", "application/json": "text/plain; charset=utf-8",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://shop.example.com/set?x", http.NoBody)
		r.AddCookie(&http.Cookie{Name: stage.CookieName, Value: l.IDs[0]})
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		l.Handler.ServeHTTP(w, r)
		assert.Equal(t, http.StatusConflict, w.Code)
		assert.Equal(t, kind, w.Header().Get("Content-Type"))
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.Contains(t, w.Body.String(), text)
	}
}

// TestInsecureRequests: a Secure cookie that a browser will drop is logged once.
func TestInsecureRequests(t *testing.T) {
	for _, test := range []struct {
		url    string
		header [2]string
		cfg    dynasession.CookieConfig
		want   string
	}{
		{"https://shop.example.com/", [2]string{}, dynasession.CookieConfig{}, ""},
		{"http://shop.lan/", [2]string{}, dynasession.CookieConfig{}, "browsers drop it"},
		{"http://shop.lan:8080/", [2]string{"X-Forwarded-Proto", "http"}, dynasession.CookieConfig{}, "browsers drop it"},
		{"http://shop.lan/", [2]string{"X-Forwarded-Proto", "https"}, dynasession.CookieConfig{}, ""},
		{"http://shop.lan/", [2]string{"X-Forwarded-Proto", "HTTPS, http"}, dynasession.CookieConfig{}, ""},
		{"http://localhost:8080/", [2]string{}, dynasession.CookieConfig{}, "Safari"},
		{"http://127.0.0.1:8080/", [2]string{}, dynasession.CookieConfig{}, "Safari"},
		{"http://[::1]/", [2]string{}, dynasession.CookieConfig{}, "Safari"},
		{"http://app.localhost/", [2]string{}, dynasession.CookieConfig{}, "Safari"},
		{"http://localhost/", [2]string{}, dynasession.CookieConfig{Insecure: true, Name: "session"}, ""},
	} {
		var lines bytes.Buffer
		store := stage.NewStore(t, stage.Embedded(t), dynasession.Config{Cookie: test.cfg, Logger: slog.New(slog.NewTextHandler(&lines, nil))})
		h := store.Middleware(stage.App{"/": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("n", 1) }})
		for range 2 {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, test.url, http.NoBody)
			if test.header[0] != "" {
				r.Header.Set(test.header[0], test.header[1])
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		if test.want == "" {
			assert.Empty(t, lines.String(), test.url)
			continue
		}
		assert.Equal(t, 1, strings.Count(lines.String(), "level=WARN"), lines.String())
		assert.Contains(t, lines.String(), test.want, test.url)
	}
}

// TestLogLinesNameTheRequest: method, path, and what failed.
func TestLogLinesNameTheRequest(t *testing.T) {
	var lines strings.Builder
	var mu sync.Mutex
	b := stage.Embedded(t)
	store := stage.NewStore(t, b, dynasession.Config{Logger: slog.New(slog.NewTextHandler(&locked{mu: &mu, w: &lines}, nil))})
	br := stage.NewBrowser(t, store.Middleware(stage.App{
		"/new":  func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("n", 1) },
		"/load": func(*stage.Session, http.ResponseWriter, *http.Request) {},
		"/save": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("n", 2) },
		"/late": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) { stage.Write(w, "gone"); s.Renew() },
	}))
	br.OK("/new")
	fail := func(op string) {
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			if c.Operation == op {
				return nil, stage.ErrReset
			}
			return c.Send()
		})
	}
	for _, test := range []struct{ path, op, want string }{
		{"/load", "GetItem", `msg="dynasession: loading a session failed" method=GET path=/load`},
		{"/save", "UpdateItem", `msg="dynasession: saving a session failed" method=GET path=/save`},
		{"/late", "", `msg="dynasession: a change after the response's headers is lost" method=GET path=/late`},
	} {
		lines.Reset()
		fail(test.op)
		br.Get(test.path)
		assert.Contains(t, lines.String(), test.want)
	}
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// TestNamesakes: two nested stores of one cookie are logged, once.
func TestNamesakes(t *testing.T) {
	for name, want := range map[string]int{"session": 1, "other": 0} {
		var lines strings.Builder
		b := stage.Embedded(t)
		outer := stage.NewStore(t, b, dynasession.Config{})
		inner := stage.NewStore(t, b, dynasession.Config{Name: name, Logger: slog.New(slog.NewTextHandler(&lines, nil))})
		h := outer.Middleware(inner.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			for _, s := range []*dynasession.Store{outer, inner} {
				_, err := s.Load(r.Context())
				assert.NoError(t, err)
			}
		})))
		for range 2 {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://shop.example.com/", http.NoBody))
		}
		assert.Equal(t, want, strings.Count(lines.String(), "two nested stores have the same cookie"), name)
	}
}

// TestPatternIsHandedOut: what stands around the middleware sees which pattern has matched.
func TestPatternIsHandedOut(t *testing.T) {
	store := stage.NewStore(t, stage.Embedded(t), dynasession.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(_ http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "panic" {
			panic(http.ErrAbortHandler)
		}
	})
	h := store.Middleware(mux)
	for _, path := range []string{"/items/1", "/items/panic"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		stage.Serve(h, httptest.NewRecorder(), r)
		assert.Equal(t, "GET /items/{id}", r.Pattern, path)
	}
	outer := http.NewServeMux()
	outer.Handle("/", h)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/items/1", http.NoBody)
	outer.ServeHTTP(httptest.NewRecorder(), r)
	assert.Equal(t, "/", r.Pattern, "that of the outer mux stands")
}
