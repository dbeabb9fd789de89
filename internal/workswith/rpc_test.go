package workswith

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/adaptertest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// serve serves h with a store of its own.
func serve(t *testing.T, b *stage.Backend, h http.Handler) *adaptertest.Browser {
	t.Helper()
	store := stage.NewStore(t, b, dynasession.Config{Cookie: dynasession.CookieConfig{Insecure: true}})
	srv := httptest.NewServer(store.Middleware(h))
	t.Cleanup(srv.Close)
	return adaptertest.NewBrowser(t, srv.URL)
}

func down(b *stage.Backend) {
	b.Calls.Intercept(func(*stage.Call) (*http.Response, error) {
		return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
	})
}

// TestConnect signs in by one call, and is known at the next.
func TestConnect(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		mux := http.NewServeMux()
		unary := func(path string, f func(s *dynasession.Session, in string) string) {
			mux.Handle(path, connect.NewUnaryHandler(path, func(ctx context.Context, in *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
				s, err := dynasession.Load(ctx)
				if err != nil {
					return nil, connect.NewError(connect.CodeUnavailable, err)
				}
				return connect.NewResponse(wrapperspb.String(f(s, in.Msg.GetValue()))), nil
			}))
		}
		unary("/shop.v1.Auth/Login", func(s *dynasession.Session, in string) string { s.SetUser(in); return "done" })
		unary("/shop.v1.Auth/WhoAmI", func(s *dynasession.Session, _ string) string { return s.User() })
		br := serve(t, b, mux)
		call := func(path, in string) (int, string) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, br.URL+path, bytes.NewReader([]byte(`"`+in+`"`)))
			require.NoError(t, err)
			r.Header.Set("Content-Type", "application/json")
			resp, err := br.Client.Do(r)
			require.NoError(t, err)
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return resp.StatusCode, string(body)
		}
		status, body := call("/shop.v1.Auth/Login", "alice")
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, `"done"`, body)
		_, body = call("/shop.v1.Auth/WhoAmI", "")
		assert.Equal(t, `"alice"`, body)
		down(b)
		status, body = call("/shop.v1.Auth/WhoAmI", "")
		b.Calls.Intercept(nil)
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.Contains(t, body, "unavailable", "connect's own error: the handler has answered")
	})
}

// TestHuma does the same with huma.
func TestHuma(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		type output struct{ Body string }
		mux := http.NewServeMux()
		api := humago.New(mux, huma.DefaultConfig("shop", "1"))
		huma.Get(api, "/login", func(ctx context.Context, in *struct {
			User string `query:"user"`
		}) (*output, error) {
			s, err := dynasession.Load(ctx)
			if err != nil {
				return nil, huma.Error503ServiceUnavailable("no session", err)
			}
			s.SetUser(in.User)
			return &output{"done"}, nil
		})
		huma.Get(api, "/whoami", func(ctx context.Context, _ *struct{}) (*output, error) {
			s, err := dynasession.Load(ctx)
			if err != nil {
				return nil, huma.Error503ServiceUnavailable("no session", err)
			}
			return &output{s.User()}, nil
		})
		br := serve(t, b, mux)
		br.OK("/login?user=alice")
		assert.Contains(t, br.OK("/whoami"), "alice")
		down(b)
		resp, _ := br.Get("/whoami")
		b.Calls.Intercept(nil)
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	})
}
