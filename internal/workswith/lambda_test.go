package workswith

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdaurl"
	"github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// invoke sends one request as an event, and returns the status, the body, and the cookie that the response sets.
type invoke func(ctx context.Context, path, cookie string) (status int, body, setCookie string)

// TestLambda runs the middleware in AWS Lambda's four ways to get HTTP: a function URL, an API Gateway's REST API and HTTP API,
// and a load balancer.
func TestLambda(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, h http.Handler) invoke{
		"function URL": func(t *testing.T, h http.Handler) invoke {
			f := lambdaurl.Wrap(h)
			return func(ctx context.Context, path, cookie string) (int, string, string) {
				out, err := f(ctx, &events.LambdaFunctionURLRequest{
					RawPath: path, Cookies: cookies(cookie),
					RequestContext: events.LambdaFunctionURLRequestContext{HTTP: events.LambdaFunctionURLRequestContextHTTPDescription{Method: http.MethodGet, Path: path}},
					Headers:        map[string]string{"x-forwarded-proto": "https", "cookie": cookie},
				})
				require.NoError(t, err)
				body, err := io.ReadAll(out.Body)
				require.NoError(t, err)
				return out.StatusCode, string(body), strings.Join(out.Cookies, "")
			}
		},
		"REST API": func(t *testing.T, h http.Handler) invoke {
			a := httpadapter.New(h)
			return func(ctx context.Context, path, cookie string) (int, string, string) {
				out, err := a.ProxyWithContext(ctx, events.APIGatewayProxyRequest{HTTPMethod: http.MethodGet, Path: path, Headers: header(cookie)})
				require.NoError(t, err)
				return out.StatusCode, out.Body, strings.Join(out.MultiValueHeaders["Set-Cookie"], "")
			}
		},
		"HTTP API": func(t *testing.T, h http.Handler) invoke {
			a := httpadapter.NewV2(h)
			return func(ctx context.Context, path, cookie string) (int, string, string) {
				out, err := a.ProxyWithContext(ctx, events.APIGatewayV2HTTPRequest{
					RawPath: path, Headers: header(""), Cookies: cookies(cookie),
					RequestContext: events.APIGatewayV2HTTPRequestContext{HTTP: events.APIGatewayV2HTTPRequestContextHTTPDescription{Method: http.MethodGet, Path: path}},
				})
				require.NoError(t, err)
				return out.StatusCode, out.Body, strings.Join(out.Cookies, "")
			}
		},
		"load balancer": func(t *testing.T, h http.Handler) invoke {
			a := httpadapter.NewALB(h)
			return func(ctx context.Context, path, cookie string) (int, string, string) {
				multi := map[string][]string{}
				for k, v := range header(cookie) {
					multi[k] = []string{v}
				}
				out, err := a.ProxyWithContext(ctx, events.ALBTargetGroupRequest{HTTPMethod: http.MethodGet, Path: path, MultiValueHeaders: multi})
				require.NoError(t, err)
				return out.StatusCode, out.Body, strings.Join(out.MultiValueHeaders["Set-Cookie"], "")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
				store := stage.NewStore(t, b, dynasession.Config{})
				mux := http.NewServeMux()
				for path, f := range routes(func() {}) {
					mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { f(r.Context(), w, "alice") })
				}
				call := start(t, store.Middleware(mux))
				status, body, set := call(t.Context(), "/login", "")
				assert.Equal(t, http.StatusOK, status)
				assert.Equal(t, "done", body)
				cookie, _, _ := strings.Cut(set, ";")
				assert.True(t, strings.HasPrefix(cookie, "__Host-Http-session="), set)
				_, body, set = call(t.Context(), "/get", "theme=dark; "+cookie)
				assert.Equal(t, ";alice", body)
				assert.Empty(t, set)
				down(b)
				status, body, _ = call(t.Context(), "/get", cookie)
				b.Calls.Intercept(nil)
				assert.Equal(t, http.StatusServiceUnavailable, status)
				assert.NotContains(t, body, ";")
			})
		})
	}
}

func cookies(header string) []string {
	if header == "" {
		return nil
	}
	return strings.Split(header, "; ")
}

func header(cookie string) map[string]string {
	h := map[string]string{"X-Forwarded-Proto": "https"}
	if cookie != "" {
		h["Cookie"] = cookie
	}
	return h
}
