package dynagin_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	dynagin "github.com/dynasession/dynasession/adapters/gin"
	"github.com/dynasession/dynasession/internal/tests/adaptertest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	stage.Main(m)
}

// engine returns gin with the paths of adaptertest.
func engine(store *dynasession.Store, inside func()) *gin.Engine {
	e := gin.New()
	e.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }))
	e.Use(dynagin.Middleware(store))
	get := func(path string, f func(c *gin.Context, s *dynasession.Session)) {
		e.GET(path, func(c *gin.Context) {
			s, err := dynagin.Load(c)
			if err != nil {
				return
			}
			f(c, s)
		})
	}
	done := func(c *gin.Context) { c.String(http.StatusOK, "done") }
	get("/set", func(c *gin.Context, s *dynasession.Session) { s.Set(c.Request.URL.RawQuery, "v"); done(c) })
	get("/get", func(c *gin.Context, s *dynasession.Session) {
		c.String(http.StatusOK, "%s", strings.Join(s.Keys(), " ")+";"+s.User())
	})
	get("/login", func(c *gin.Context, s *dynasession.Session) { s.SetUser(c.Request.URL.RawQuery); done(c) })
	get("/logout", func(c *gin.Context, s *dynasession.Session) { s.Destroy(); done(c) })
	get("/slow", func(c *gin.Context, s *dynasession.Session) { inside(); s.Set(c.Request.URL.RawQuery, "v"); done(c) })
	get("/stream", func(c *gin.Context, s *dynasession.Session) {
		s.Set(c.Request.URL.RawQuery, "v")
		_, _ = c.Writer.WriteString("first")
		c.Writer.Flush()
		inside()
		_, _ = c.Writer.WriteString("second")
	})
	get("/panic", func(c *gin.Context, s *dynasession.Session) { s.Set(c.Request.URL.RawQuery, "v"); panic("handler") })
	return e
}

func TestAdapter(t *testing.T) {
	a := adaptertest.Adapter{Serve: func(t *testing.T, store *dynasession.Store, inside func()) string {
		srv := httptest.NewServer(engine(store, inside))
		t.Cleanup(srv.Close)
		return srv.URL
	}}
	a.Run(t)
}

// serve serves one handler at /.
func serve(t *testing.T, b *stage.Backend, handler gin.HandlerFunc, more ...gin.HandlerFunc) *adaptertest.Browser {
	t.Helper()
	store := stage.NewStore(t, b, dynasession.Config{Cookie: dynasession.CookieConfig{Insecure: true}})
	e := gin.New()
	e.GET("/new", dynagin.Middleware(store), func(c *gin.Context) {
		s, _ := dynagin.Load(c)
		s.Set("k", "v")
	})
	e.GET("/", append(append([]gin.HandlerFunc{}, more...), dynagin.Middleware(store), handler)...)
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	return adaptertest.NewBrowser(t, srv.URL)
}

// TestWaysToAnswer checks that a sign-in's cookie arrives whatever gin answers with.
func TestWaysToAnswer(t *testing.T) {
	for name, answer := range map[string]func(c *gin.Context){
		"nothing":  func(*gin.Context) {},
		"status":   func(c *gin.Context) { c.Status(http.StatusNoContent) },
		"now":      func(c *gin.Context) { c.Status(http.StatusCreated); c.Writer.WriteHeaderNow() },
		"abort":    func(c *gin.Context) { c.AbortWithStatus(http.StatusForbidden) },
		"json":     func(c *gin.Context) { c.JSON(http.StatusCreated, gin.H{"a": 1}) },
		"redirect": func(c *gin.Context) { c.Redirect(http.StatusSeeOther, "/elsewhere") },
		"data":     func(c *gin.Context) { c.Data(http.StatusOK, "text/plain", nil) },
		"file":     func(c *gin.Context) { c.File("gin.go") },
		"sse":      func(c *gin.Context) { c.SSEvent("message", "x"); c.Writer.Flush() },
		"stream":   func(c *gin.Context) { c.Stream(func(w io.Writer) bool { _, _ = w.Write([]byte("x")); return false }) },
	} {
		t.Run(name, func(t *testing.T) {
			e := gin.New()
			e.GET("/", answer)
			bare := httptest.NewServer(e)
			defer bare.Close()
			alone := adaptertest.NewBrowser(t, bare.URL)
			alone.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			want, wantBody := alone.Get("/")

			br := serve(t, stage.Embedded(t), func(c *gin.Context) {
				s, err := dynagin.Load(c)
				require.NoError(t, err)
				s.SetUser("alice")
				answer(c)
			})
			br.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			br.OK("/new")
			before := br.Cookies()
			resp, body := br.Get("/")
			assert.Equal(t, want.StatusCode, resp.StatusCode)
			assert.Equal(t, wantBody, body)
			assert.Equal(t, want.Header.Get("Content-Type"), resp.Header.Get("Content-Type"))
			assert.NotEqual(t, before, br.Cookies())
		})
	}
}

// TestFailedLoad checks what the client gets, whatever gin does after a handler that returned.
func TestFailedLoad(t *testing.T) {
	b := stage.Embedded(t)
	for name, h := range map[string]gin.HandlerFunc{
		"returns": func(c *gin.Context) { _, _ = dynagin.Load(c) },
		"now":     func(c *gin.Context) { _, _ = dynagin.Load(c); c.Writer.WriteHeaderNow() },
		"empty": func(c *gin.Context) {
			_, _ = dynagin.Load(c)
			c.Status(http.StatusNoContent)
			_, _ = c.Writer.Write(nil)
		},
		"abort": func(c *gin.Context) { _, _ = dynagin.Load(c); c.Next() },
	} {
		t.Run(name, func(t *testing.T) {
			br := serve(t, b, h)
			br.OK("/new")
			b.Calls.Intercept(func(*stage.Call) (*http.Response, error) {
				return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
			})
			resp, _ := br.Get("/")
			b.Calls.Intercept(nil)
			assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
			assert.Equal(t, "1", resp.Header.Get("Retry-After"))
		})
	}
}

// TestLoadAborts checks that a failed load stops the chain.
func TestLoadAborts(t *testing.T) {
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	_, err := dynagin.Load(c)
	require.ErrorIs(t, err, dynasession.ErrNoMiddleware)
	assert.True(t, c.IsAborted())
}

// TestOuterMiddleware checks what a middleware around the adapter's sees: gin's own writer, with the status and size.
func TestOuterMiddleware(t *testing.T) {
	var status, size int
	br := serve(t, stage.Embedded(t), func(c *gin.Context) {
		s, _ := dynagin.Load(c)
		s.Set("k", 1)
		c.String(http.StatusTeapot, "short")
		assert.Equal(t, http.StatusTeapot, c.Writer.Status())
		assert.Equal(t, 5, c.Writer.Size())
		assert.True(t, c.Writer.Written())
	}, func(c *gin.Context) {
		w, r := c.Writer, c.Request
		c.Next()
		status, size = c.Writer.Status(), c.Writer.Size()
		assert.Equal(t, w, c.Writer)
		assert.Equal(t, r, c.Request)
	})
	resp, body := br.Get("/")
	assert.Equal(t, http.StatusTeapot, resp.StatusCode)
	assert.Equal(t, "short", body)
	assert.Equal(t, http.StatusTeapot, status)
	assert.Equal(t, 5, size)
}

func TestHijack(t *testing.T) {
	br := serve(t, stage.Embedded(t), func(c *gin.Context) {
		s, _ := dynagin.Load(c)
		s.Set("k", 1)
		assert.NoError(t, s.Save(c.Request.Context()))
		cookie := c.Writer.Header().Get("Set-Cookie")
		conn, rw, err := c.Writer.Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nSet-Cookie: " + cookie + "\r\n\r\nmine")
		_ = rw.Flush()
	})
	assert.Equal(t, "mine", br.OK("/"))
	assert.NotEmpty(t, br.Cookies())
}
