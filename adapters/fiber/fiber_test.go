package dynafiber_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/gofiber/fiber/v3/middleware/csrf"
	"github.com/gofiber/fiber/v3/middleware/limiter"
	fiberrecover "github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/gofiber/utils/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynasession/dynasession"
	dynafiber "github.com/dynasession/dynasession/adapters/fiber"
	"github.com/dynasession/dynasession/internal/tests/adaptertest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// fasthttp's goroutines for its clock, and for workers that are idle, go on for a while.
func TestMain(m *testing.M) {
	stage.Main(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// listen serves app on the loopback interface.
func listen(t *testing.T, app *fiber.App) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = app.Listener(ln, fiber.ListenConfig{DisableStartupMessage: true})
	}()
	t.Cleanup(func() {
		_ = app.ShutdownWithTimeout(time.Second)
		<-done
	})
	return "http://" + ln.Addr().String()
}

type handler = func(c fiber.Ctx, s *dynasession.Session) error

func loaded(f handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		s, err := dynafiber.Load(c)
		if err != nil {
			return err
		}
		return f(c, s)
	}
}

// newApp returns an app with the paths of adaptertest.
func newApp(store *dynasession.Store, inside func()) *fiber.App {
	app := fiber.New()
	app.Use(fiberrecover.New(), dynafiber.Middleware(store))
	query := func(c fiber.Ctx) string { return string(c.Request().URI().QueryString()) }
	for path, f := range map[string]handler{
		"/set": func(c fiber.Ctx, s *dynasession.Session) error {
			s.Set(query(c), "v")
			return c.SendString("done")
		},
		"/get": func(c fiber.Ctx, s *dynasession.Session) error {
			return c.SendString(strings.Join(s.Keys(), " ") + ";" + s.User())
		},
		"/login": func(c fiber.Ctx, s *dynasession.Session) error {
			s.SetUser(query(c))
			return c.SendString("done")
		},
		"/logout": func(c fiber.Ctx, s *dynasession.Session) error {
			s.Destroy()
			return c.SendString("done")
		},
		"/slow": func(c fiber.Ctx, s *dynasession.Session) error {
			inside()
			s.Set(query(c), "v")
			return c.SendString("done")
		},
		"/stream": func(c fiber.Ctx, s *dynasession.Session) error {
			s.Set(query(c), "v")
			return c.SendStreamWriter(func(w *bufio.Writer) {
				_, _ = w.WriteString("first")
				_ = w.Flush()
				inside()
				_, _ = w.WriteString("second")
			})
		},
		"/panic": func(c fiber.Ctx, s *dynasession.Session) error {
			s.Set(query(c), "v")
			panic("handler")
		},
	} {
		app.Get(path, loaded(f))
	}
	return app
}

func TestAdapter(t *testing.T) {
	a := adaptertest.Adapter{Serve: func(t *testing.T, store *dynasession.Store, inside func()) string {
		return listen(t, newApp(store, inside))
	}}
	a.Run(t)
}

// serve serves handler at / and a path that makes a session.
func serve(t *testing.T, b *stage.Backend, h handler, before ...any) *adaptertest.Browser {
	t.Helper()
	store := stage.NewStore(t, b, dynasession.Config{Cookie: dynasession.CookieConfig{Insecure: true}})
	app := fiber.New()
	for _, m := range before {
		app.Use(m)
	}
	app.Use(dynafiber.Middleware(store))
	app.Get("/new", loaded(func(_ fiber.Ctx, s *dynasession.Session) error { s.Set("k", "v"); return nil }))
	app.Get("/keys", loaded(func(c fiber.Ctx, s *dynasession.Session) error { return c.SendString(strings.Join(s.Keys(), " ")) }))
	app.Get("/", loaded(h))
	return adaptertest.NewBrowser(t, listen(t, app))
}

// TestErrorsOfHandlers checks that a handler's own error does not lose the session, and that the store's error wins.
func TestErrorsOfHandlers(t *testing.T) {
	b := stage.Embedded(t)
	teapot := fiber.NewError(fiber.StatusTeapot, "short and stout")
	br := serve(t, b, func(_ fiber.Ctx, s *dynasession.Session) error { s.Set("tried", 1); return teapot })
	br.OK("/new")
	resp, body := br.Get("/")
	assert.Equal(t, fiber.StatusTeapot, resp.StatusCode)
	assert.Equal(t, teapot.Message, body)
	assert.Equal(t, "k tried", br.OK("/keys"))

	var got error
	br = serve(t, b, func(c fiber.Ctx, s *dynasession.Session) error {
		c.Set("X-Mine", "1")
		s.Set("tried", 1)
		b.Calls.Intercept(func(*stage.Call) (*http.Response, error) {
			return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
		})
		return teapot
	}, func(c fiber.Ctx) error {
		c.Set("X-Outer", "1")
		got = c.Next()
		return got
	})
	br.OK("/new")
	resp, body = br.Get("/")
	b.Calls.Intercept(nil)
	assert.Equal(t, fiber.StatusServiceUnavailable, resp.StatusCode)
	assert.Equal(t, "Service Unavailable", body)
	assert.Equal(t, "1", resp.Header.Get("X-Outer"), "of a middleware around, CORS for instance")
	assert.Empty(t, resp.Header.Get("X-Mine"))
	assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.ErrorIs(t, got, dynasession.ErrUnavailable)
	var e *fiber.Error
	assert.ErrorAs(t, got, &e)
}

// TestCorruptSession checks that the browser is not left with a cookie that opens nothing, unless another server can read it.
func TestCorruptSession(t *testing.T) {
	b := stage.Embedded(t)
	cfg := dynasession.Config{Table: stage.NewTable(), Cookie: dynasession.CookieConfig{Insecure: true}}
	store := stage.NewStore(t, b, cfg)
	br := adaptertest.NewBrowser(t, listen(t, newApp(store, func() {})))
	br.OK("/set?k")
	item := stage.OnlyItem(t, b, cfg.Table)
	item["data"] = stage.Str("{")
	stage.PutItem(t, b, cfg.Table, item)
	resp, _ := br.Get("/get")
	assert.Equal(t, fiber.StatusInternalServerError, resp.StatusCode)
	assert.Empty(t, br.Cookies())
	assert.Equal(t, ";", br.OK("/get"))

	br.OK("/set?k")
	cfg.EncryptionKeys = [][]byte{make([]byte, 32)}
	other := adaptertest.NewBrowser(t, listen(t, newApp(stage.NewStore(t, b, cfg), func() {})))
	other.Client.Jar = br.Client.Jar
	resp, _ = other.Get("/get")
	assert.Equal(t, fiber.StatusInternalServerError, resp.StatusCode)
	assert.Equal(t, "k;", br.OK("/get"), "this server can read it")
}

// TestCacheHeaders checks that no cache may hand out a cookie, or a page of a session.
func TestCacheHeaders(t *testing.T) {
	br := serve(t, stage.Embedded(t), func(c fiber.Ctx, s *dynasession.Session) error {
		c.Set("Cache-Control", "public, max-age=60")
		s.Set("n", 1)
		return nil
	})
	resp, _ := br.Get("/")
	assert.Equal(t, "private, max-age=60", resp.Header.Get("Cache-Control"))
	assert.Equal(t, "Cookie", resp.Header.Get("Vary"))
	resp, _ = br.Get("/")
	assert.Equal(t, "public, max-age=60", resp.Header.Get("Cache-Control"), "no cookie")
	assert.Equal(t, "Cookie", resp.Header.Get("Vary"))
}

// TestSSE checks that a stream of events can save, and cannot renew.
func TestSSE(t *testing.T) {
	var renewed atomic.Value
	br := serve(t, stage.Embedded(t), func(c fiber.Ctx, s *dynasession.Session) error {
		s.Set("started", true)
		ctx := c.Context()
		c.Set("Content-Type", "text/event-stream")
		return c.SendStreamWriter(func(w *bufio.Writer) {
			for _, event := range []string{"one", "two"} {
				s.Set(event, true)
				if err := s.Save(ctx); err != nil {
					return
				}
				_, _ = w.WriteString("data: " + event + "\n\n")
				_ = w.Flush()
			}
			s.SetUser("alice")
			renewed.Store(s.Save(ctx))
		})
	})
	assert.Equal(t, "data: one\n\ndata: two\n\n", br.OK("/"))
	assert.Equal(t, "one started two", br.OK("/keys"))
	require.ErrorContains(t, renewed.Load().(error), "cookie")
}

// TestWebsocket checks that a connection that is upgraded keeps its session.
func TestWebsocket(t *testing.T) {
	br := serve(t, stage.Embedded(t), func(c fiber.Ctx, s *dynasession.Session) error {
		s.Set("joined", true)
		ctx := c.Context()
		c.Status(fiber.StatusSwitchingProtocols)
		c.Set("Upgrade", "echo")
		c.Set("Connection", "Upgrade")
		c.RequestCtx().Hijack(func(conn net.Conn) {
			line, _ := bufio.NewReader(conn).ReadString('\n')
			s.Set("heard", line)
			err := s.Save(ctx)
			_, _ = io.WriteString(conn, strings.ToUpper(line))
			if err != nil {
				_ = conn.Close()
			}
		})
		return nil
	})
	br.OK("/new")
	conn, err := net.Dial("tcp", strings.TrimPrefix(br.URL, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nCookie: "+br.Cookies()+"\r\n\r\n")
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	assert.Equal(t, "joined k", br.OK("/keys"), "saved before the upgrade")
	_, err = io.WriteString(conn, "hello\n")
	require.NoError(t, err)
	answer, err := in.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "HELLO\n", answer)
	assert.Equal(t, "heard joined k", br.OK("/keys"))
}

// TestMemoryIsFibers checks that nothing of the session refers to memory that fiber uses again.
func TestMemoryIsFibers(t *testing.T) {
	next := make(chan struct{})
	br := serve(t, stage.Embedded(t), func(c fiber.Ctx, s *dynasession.Session) error {
		if c.Query("k") == "" {
			return nil
		}
		s.Set(c.Query("k"), c.Query("k"))
		ctx := c.Context()
		return c.SendStreamWriter(func(w *bufio.Writer) {
			_, _ = w.WriteString("x")
			_ = w.Flush()
			<-next
			s.Set("late", 1)
			_ = s.Save(ctx)
			_, _ = w.WriteString(strings.Join(s.Keys(), " "))
		})
	})
	br.OK("/new")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, br.URL+"/?k=abcdefghijklmnop", http.NoBody)
	require.NoError(t, err)
	resp, err := br.Client.Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	for range 50 {
		br.Get("/?q=ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	}
	close(next)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "xabcdefghijklmnop k late", string(body))
	assert.Equal(t, "abcdefghijklmnop k late", br.OK("/keys"))
}

// TestNetHTTPMiddleware documents why there is an adapter: fiber's adaptor runs its handlers outside of the middleware.
func TestNetHTTPMiddleware(t *testing.T) {
	store := stage.NewStore(t, stage.Embedded(t), dynasession.Config{})
	app := fiber.New()
	app.Use(adaptor.HTTPMiddleware(store.Middleware))
	var got error
	app.Get("/", func(c fiber.Ctx) error {
		_, got = dynafiber.Load(c)
		return nil
	})
	resp, err := app.Test(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.ErrorIs(t, got, dynasession.ErrNoMiddleware)
}

func TestStorage(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		table := stage.NewTable()
		store := stage.NewStore(t, b, dynasession.Config{Table: table})
		s := dynafiber.NewStorage(b.Client, table, "fiber")
		other := dynafiber.NewStorage(b.Client, table, "other")
		value := []byte{0, 1, 0xff}
		got := func(s *dynafiber.Storage, key string) []byte {
			t.Helper()
			v, err := s.Get(key)
			require.NoError(t, err)
			return v
		}
		assert.Nil(t, got(s, "k"))
		require.NoError(t, s.Set("k", value, 0))
		require.NoError(t, s.Set("", value, 0))
		require.NoError(t, s.Set("empty", nil, 0))
		require.NoError(t, other.Set("k", []byte("other's"), time.Hour))
		assert.Equal(t, value, got(s, "k"))
		assert.Nil(t, got(s, "empty"))
		for _, item := range stage.AllItems(t, b, table) {
			assert.NotContains(t, stage.Attr(item, "id"), "_k", "hashed")
		}
		for i, err := range store.All(t.Context()) {
			t.Error("a session", i, err)
		}
		_, err := store.GC(t.Context(), 0)
		require.NoError(t, err)

		require.NoError(t, s.Delete("k"))
		require.NoError(t, s.Delete("k"))
		assert.Nil(t, got(s, "k"))
		require.NoError(t, s.Set("a", value, time.Hour))
		require.NoError(t, s.Set("b", value, time.Hour))
		require.NoError(t, s.Reset())
		assert.Nil(t, got(s, "a"))
		assert.NotNil(t, got(other, "k"))
		require.NoError(t, s.Close())
	})
}

// TestStorageExpires checks the second in which a value ends.
func TestStorageExpires(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		s := dynafiber.NewStorage(c.Client, c.Table, "fiber")
		require.NoError(c.T, s.Set("k", []byte("v"), 10*time.Second))
		time.Sleep(10*time.Second - 1)
		v, err := s.Get("k")
		require.NoError(c.T, err)
		assert.NotNil(c.T, v)
		time.Sleep(time.Nanosecond)
		v, err = s.Get("k")
		require.NoError(c.T, err)
		assert.Nil(c.T, v)
	})
}

// TestStorageOfMiddlewares runs fiber's own users of a Storage, on two servers of one table.
func TestStorageOfMiddlewares(t *testing.T) {
	t.Cleanup(utils.StopTimeStampUpdater) // the limiter starts it
	b := stage.Embedded(t)
	table := stage.NewTable()
	stage.NewStore(t, b, dynasession.Config{Table: table})
	server := func() *fiber.App {
		app := fiber.New()
		app.Use(limiter.New(limiter.Config{Max: 3, Expiration: time.Minute, Storage: dynafiber.NewStorage(b.Client, table, "limiter"), KeyGenerator: func(fiber.Ctx) string { return "one" }}))
		app.Use(csrf.New(csrf.Config{Storage: dynafiber.NewStorage(b.Client, table, "csrf"), CookieName: "csrf_"}))
		app.Get("/", func(c fiber.Ctx) error { return c.SendString(csrf.TokenFromContext(c)) })
		return app
	}
	servers := []*fiber.App{server(), server()}
	for i := range 5 {
		resp, err := servers[i%2].Test(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		require.NoError(t, err)
		_ = resp.Body.Close()
		want := fiber.StatusOK
		if i >= 3 {
			want = fiber.StatusTooManyRequests
		}
		assert.Equal(t, want, resp.StatusCode, i)
	}
}

func TestStorageInAnOutage(t *testing.T) {
	b := stage.Embedded(t)
	table := stage.NewTable()
	stage.NewStore(t, b, dynasession.Config{Table: table})
	s := dynafiber.NewStorage(b.Client, table, "fiber")
	b.Calls.Intercept(func(*stage.Call) (*http.Response, error) { return nil, stage.ErrReset })
	_, err := s.Get("k")
	for _, err := range []error{err, s.Set("k", []byte("v"), 0), s.Delete("k"), s.Reset()} {
		require.ErrorContains(t, err, "dynafiber: ")
		assert.ErrorIs(t, err, stage.ErrReset.Err)
	}
}

// TestDeviceBound checks the offer to bind a session, and the endpoint. The library's own tests sign proofs.
func TestDeviceBound(t *testing.T) {
	store := stage.NewStore(t, stage.Embedded(t), dynasession.Config{DeviceBound: 10 * time.Minute})
	app := newApp(store, func() {})
	app.Post("/mine/.session-device", func(c fiber.Ctx) error { return c.SendString("the application's") })
	send := func(method, path string, header ...string) *http.Response {
		r := httptest.NewRequest(method, path, http.NoBody)
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		resp, err := app.Test(r)
		require.NoError(t, err)
		_ = resp.Body.Close()
		return resp
	}
	resp := send(http.MethodGet, "/login?alice")
	assert.Contains(t, resp.Header.Get("Secure-Session-Registration"), `(ES256);path="/.session-device";challenge="`)
	cookies := resp.Cookies()
	require.Len(t, cookies, 2)
	assert.Equal(t, "__Secure-session-device", cookies[1].Name)
	assert.Equal(t, "/.session-device", cookies[1].Path)
	assert.Equal(t, "private, no-store", resp.Header.Get("Cache-Control"))
	cookie := cookies[1].Name + "=" + cookies[1].Value
	assert.Equal(t, http.StatusBadRequest, send(http.MethodPost, "/.session-device", "Cookie", cookie, "Secure-Session-Response", "x.y.z").StatusCode)
	resp = send(http.MethodPost, "/.session-device", "Cookie", cookie, "Sec-Secure-Session-Id", "x")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Equal(t, http.StatusOK, send(http.MethodPost, "/mine/.session-device").StatusCode, "no session's")
	resp = send(http.MethodGet, "/set?a", "Secure-Session-Skipped", "server_error")
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "a new session would take the place of the bound one")
	assert.Empty(t, resp.Cookies())
	assert.Empty(t, send(http.MethodGet, "/set?k").Header.Get("Secure-Session-Registration"))
}
