package workswith

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	echov4 "github.com/labstack/echo/v4"
	echov5 "github.com/labstack/echo/v5"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/adaptertest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }

// route is what a path of adaptertest does.
type route func(ctx context.Context, w http.ResponseWriter, query string)

func routes(inside func()) map[string]route {
	load := func(f func(s *dynasession.Session, w http.ResponseWriter, query string)) route {
		return func(ctx context.Context, w http.ResponseWriter, query string) {
			s, err := dynasession.Load(ctx)
			if err != nil {
				return // the middleware answers
			}
			f(s, w, query)
		}
	}
	return map[string]route{
		"/set": load(func(s *dynasession.Session, w http.ResponseWriter, query string) {
			s.Set(query, "v")
			stage.Write(w, "done")
		}),
		"/get": load(func(s *dynasession.Session, w http.ResponseWriter, _ string) {
			stage.Write(w, strings.Join(s.Keys(), " ")+";"+s.User())
		}),
		"/login": load(func(s *dynasession.Session, w http.ResponseWriter, query string) {
			s.SetUser(query)
			stage.Write(w, "done")
		}),
		"/logout": load(func(s *dynasession.Session, w http.ResponseWriter, _ string) {
			s.Destroy()
			stage.Write(w, "done")
		}),
		"/slow": load(func(s *dynasession.Session, w http.ResponseWriter, query string) {
			inside()
			s.Set(query, "v")
			stage.Write(w, "done")
		}),
		"/stream": load(func(s *dynasession.Session, w http.ResponseWriter, query string) {
			s.Set(query, "v")
			stage.Write(w, "first")
			_ = http.NewResponseController(w).Flush()
			inside()
			stage.Write(w, "second")
		}),
		"/panic": load(func(s *dynasession.Session, _ http.ResponseWriter, query string) {
			s.Set(query, "v")
			panic(http.ErrAbortHandler)
		}),
	}
}

// run runs the tests of adapters with the handler that build returns.
func run(t *testing.T, build func(store *dynasession.Store, routes map[string]route) http.Handler) {
	t.Helper()
	a := adaptertest.Adapter{Serve: func(t *testing.T, store *dynasession.Store, inside func()) string {
		srv := httptest.NewServer(build(store, routes(inside)))
		t.Cleanup(srv.Close)
		return srv.URL
	}}
	a.Run(t)
}

func TestServeMux(t *testing.T) {
	run(t, func(store *dynasession.Store, routes map[string]route) http.Handler {
		mux := http.NewServeMux()
		for path, f := range routes {
			mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { f(r.Context(), w, r.URL.RawQuery) })
		}
		return store.Middleware(mux)
	})
}

func TestChi(t *testing.T) {
	run(t, func(store *dynasession.Store, routes map[string]route) http.Handler {
		r := chi.NewRouter()
		r.Use(store.Middleware)
		for path, f := range routes {
			r.Get(path, func(w http.ResponseWriter, r *http.Request) { f(r.Context(), w, r.URL.RawQuery) })
		}
		return r
	})
}

func TestEchoV4(t *testing.T) {
	run(t, func(store *dynasession.Store, routes map[string]route) http.Handler {
		e := echov4.New()
		e.Use(echov4.WrapMiddleware(store.Middleware))
		for path, f := range routes {
			e.GET(path, func(c echov4.Context) error {
				f(c.Request().Context(), c.Response(), c.Request().URL.RawQuery)
				return nil
			})
		}
		return e
	})
}

func TestEchoV5(t *testing.T) {
	run(t, func(store *dynasession.Store, routes map[string]route) http.Handler {
		e := echov5.New()
		e.Use(echov5.WrapMiddleware(store.Middleware))
		for path, f := range routes {
			e.GET(path, func(c *echov5.Context) error {
				f(c.Request().Context(), c.Response(), c.Request().URL.RawQuery)
				return nil
			})
		}
		return e
	})
}
