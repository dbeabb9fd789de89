package stage

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// BrowserWithCookies returns a browser that sends session cookies with the given values before its own, as if
// somebody had planted them.
func BrowserWithCookies(t *testing.T, h http.Handler, values ...string) *Browser {
	br := NewBrowser(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, v := range values {
			r.Header.Add("Cookie", CookieName+"="+v)
		}
		h.ServeHTTP(w, r)
	}))
	return br
}

// A Browser keeps cookies and calls a handler directly, without a network, so that it can be used in a synctest
// bubble.
type Browser struct {
	t       testing.TB
	Handler http.Handler
	Jar     *cookiejar.Jar
}

// NewBrowser returns a browser without cookies.
func NewBrowser(t testing.TB, h http.Handler) *Browser {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &Browser{t, h, jar}
}

// Origin is the address of the page that browsers show.
var Origin = &url.URL{Scheme: "https", Host: "shop.example.com", Path: "/"}

// Do requests path.
func (b *Browser) Do(ctx context.Context, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://shop.example.com"+path, http.NoBody)
	for _, c := range b.Jar.Cookies(Origin) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.Handler.ServeHTTP(w, r)
	b.Jar.SetCookies(Origin, w.Result().Cookies())
	Output.Response(w.Header(), w.Body.String())
	return w
}

// Get requests path, with a context that is not canceled.
func (b *Browser) Get(path string) *httptest.ResponseRecorder {
	return b.Do(context.Background(), path)
}

// OK requests path, requires status 200 and returns the body.
func (b *Browser) OK(path string) string {
	b.t.Helper()
	w := b.Get(path)
	require.Equal(b.t, http.StatusOK, w.Code, w.Body.String())
	return w.Body.String()
}

// Cookie returns the value of the session cookie, or "".
func (b *Browser) Cookie() string {
	for _, c := range b.Jar.Cookies(Origin) {
		return c.Value
	}
	return ""
}

// An App is a handler that has a function for each path. The function gets the loaded session. If loading fails, the
// middleware answers and the function is not called.
type App map[string]SessionHandler

// ServeHTTP implements http.Handler.
func (a App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := a[r.URL.Path]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	f(sess, w, r)
}

// Write writes s to w.
func Write(w io.Writer, s string) { _, _ = io.WriteString(w, s) }

// Serve calls server and reports whether it panicked with http.ErrAbortHandler. Other panics continue.
func Serve(server http.Handler, w http.ResponseWriter, r *http.Request) (panicked bool) {
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			panicked = true
		}
	}()
	server.ServeHTTP(w, r)
	return false
}

// A SessionHandler is what an App has for each path.
type SessionHandler = func(s *dynasession.Session, w http.ResponseWriter, r *http.Request)

// Session is short for dynasession.Session.
type Session = dynasession.Session

// BrowserWithID returns a browser whose session cookie holds id.
func BrowserWithID(t *testing.T, h http.Handler, id string) *Browser {
	br := NewBrowser(t, h)
	br.Jar.SetCookies(Origin, []*http.Cookie{{Name: CookieName, Value: id, Path: "/", Secure: true}})
	return br
}

// Cookies returns the cookies that a response sets or deletes, without that for the endpoint of device-bound sessions.
func Cookies(w *httptest.ResponseRecorder) []*http.Cookie {
	return slices.DeleteFunc(w.Result().Cookies(), func(c *http.Cookie) bool { return strings.HasSuffix(c.Name, "-device") })
}

// CookieName is the default name of the session cookie.
var CookieName = "__Host-Http-session"

// Ask requests path with the given session cookie, which a browser may have deleted.
func Ask(h http.Handler, cookie, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "https://shop.example.com"+path, http.NoBody)
	r.AddCookie(&http.Cookie{Name: CookieName, Value: cookie})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// OnlyCookie returns the cookie of a response that sets only one.
func OnlyCookie(t *testing.T, w *httptest.ResponseRecorder) *http.Cookie {
	t.Helper()
	all := Cookies(w)
	require.Len(t, all, 1)
	return all[0]
}

// Handle returns a function for an App that calls f and writes "done".
func Handle(f func(s *dynasession.Session)) func(*dynasession.Session, http.ResponseWriter, *http.Request) {
	return func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
		f(s)
		Write(w, "done")
	}
}

// IDOf returns the id in the session cookie of b.
func IDOf(b *Browser) string {
	id, _, _ := strings.Cut(b.Cookie(), ".")
	return id
}

// DoSet sets "key" to the query.
func DoSet(s *Session, _ http.ResponseWriter, r *http.Request) { s.Set("key", r.URL.RawQuery) }

// DoGet writes the value of "key".
func DoGet(s *Session, w http.ResponseWriter, _ *http.Request) {
	v, _ := dynasession.Get[string](s, "key")
	Write(w, v)
}

// CountUp adds 1 to "n".
func CountUp(s *Session) {
	dynasession.Update(s, "n", func(n int) int { return n + 1 })
}
