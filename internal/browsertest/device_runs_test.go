package browsertest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

// isEndpoint reports whether r is a request of the browser for a proof.
func isEndpoint(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/.session-device") }

// isProof reports whether r carries a proof. The first request of a refresh carries none, and asks for a challenge.
func isProof(r *http.Request) bool { return r.Header.Get("Secure-Session-Response") != "" }

// refreshed ends the cookie, and wants the owner to go on by a proof.
func (s *deviceSite) refreshed(t *testing.T, b tab) {
	t.Helper()
	b.expire(t)
	s.want(t, b, "/who", "ann true")
	for range 2 { // the challenge, and the proof
		if e := s.next(t, "refresh"); e.Err != nil {
			t.Error(e.Err)
		}
	}
	if n := len(s.events); n > 0 { // chromium signs 6 proofs in 9 minutes, whatever the flags say
		t.Fatalf("%d requests more to the endpoint", n)
	}
}

// visit opens a page, and returns its answer and text. The answer may be an error.
func (b tab) visit(t *testing.T, path string) (*network.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	resp, err := chromedp.RunResponse(ctx, chromedp.Navigate(shopURL+path))
	if err != nil {
		t.Fatal(path, err)
	}
	return resp, strings.TrimSpace(eval[string](t, b, "document.body.innerText"))
}

// comesBack waits until the browser has the session again. After errors of the endpoint, the browser pauses.
func (b tab) comesBack(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		_, text := b.visit(t, "/who")
		if text == "ann true" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the binding is lost: %q", text)
		}
	}
}

// TestDeviceCallback signs in at another site, which sends the browser back. The site keeps a value in the session meanwhile.
func TestDeviceCallback(t *testing.T) {
	const callback = shopURL + "/callback?state=xyz"
	for name, other := range map[string]string{
		"redirect": "",
		"link":     `<a id=go href="` + callback + `">back</a>`,
		"form":     `<form action="` + shopURL + `/callback"><input name=state value=xyz><button id=go>back</button></form>`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newDeviceSite(t, dynasession.Config{})
			mux := http.NewServeMux()
			mux.HandleFunc("shop.test/start", func(w http.ResponseWriter, r *http.Request) {
				if sess, err := dynasession.Load(r.Context()); err == nil {
					sess.Set("state", "xyz")
					http.Redirect(w, r, "https://other.test/", http.StatusSeeOther)
				}
			})
			mux.HandleFunc("shop.test/callback", func(w http.ResponseWriter, r *http.Request) {
				sess, err := dynasession.Load(r.Context())
				if err != nil {
					return
				}
				if state, _ := dynasession.Get[string](sess, "state"); state != r.FormValue("state") {
					t.Errorf("the session has the state %q", state)
				}
				sess.Delete("state")
				sess.SetUser("ann")
				http.Redirect(w, r, "/who", http.StatusSeeOther)
			})
			shop := s.store.Middleware(mux)
			s.answer(func(w http.ResponseWriter, r *http.Request, site http.Handler) {
				_, own := mux.Handler(r)
				switch {
				case r.Host == "other.test" && other == "":
					http.Redirect(w, r, callback, http.StatusFound)
				case r.Host == "other.test":
					w.Header().Set("Content-Type", "text/html")
					_, _ = io.WriteString(w, "<!doctype html><title>.</title>"+other)
				case own != "":
					shop.ServeHTTP(w, r)
				default:
					site.ServeHTTP(w, r)
				}
			})
			b := s.browser(t, false)
			signIn := func(away func()) {
				t.Helper()
				steps := []step{chromedp.Navigate(shopURL + "/start")}
				if other != "" {
					b.do(t, steps...)
					away()
					steps = []step{click("#go")}
				}
				if err := b.tryNavigate(steps...); err != nil {
					t.Fatal(err)
				}
				if got := eval[string](t, b, "document.querySelector('#p').innerText"); !strings.HasPrefix(got, "ann ") {
					t.Errorf("after the callback: %q", got)
				}
			}
			signIn(func() {})
			s.bound(t, b)
			s.want(t, b, "/who", "ann true")
			s.pass(boundFor)
			s.refreshed(t, b)
			// Once more, by who is signed in. The bound cookie ends at the other site.
			signIn(func() { s.pass(boundFor); b.expire(t) })
			if other != "" {
				s.next(t, "refresh")
				s.next(t, "refresh")
			}
			s.bound(t, b)
			s.want(t, b, "/who", "ann true")
			s.pass(boundFor)
			b.expire(t)
			s.want(t, b, "/who", "ann true") // the browser may ask for the earlier binding too, and forgets it then
		})
	}
}

// TestDeviceClocksApart has two servers, whose clocks are apart.
func TestDeviceClocksApart(t *testing.T) {
	const apart = 2 * time.Second
	const behind, ahead = 0, 1 // the servers
	for name, at := range map[string]struct{ login, challenge, proof int }{
		"proofs ahead":      {behind, ahead, ahead},
		"proofs behind":     {ahead, behind, behind},
		"challenges ahead":  {behind, ahead, behind},
		"challenges behind": {ahead, behind, ahead},
	} {
		t.Run(name, func(t *testing.T) {
			s := newDeviceSite(t, dynasession.Config{})
			second := s.handler(s.newStore(t, apart))
			pages := []string{behind: "/who", ahead: "/who?ahead"}
			s.answer(func(w http.ResponseWriter, r *http.Request, site http.Handler) {
				server := behind
				switch {
				case isProof(r):
					server = at.proof
				case isEndpoint(r):
					server = at.challenge
				case r.URL.Path == "/login":
					server = at.login
				case r.URL.RawQuery == "ahead":
					server = ahead
				}
				[]http.Handler{behind: site, ahead: second}[server].ServeHTTP(w, r)
			})
			b := s.browser(t, false)
			s.bind(t, b)
			for range 3 {
				for _, page := range pages {
					s.want(t, b, page, "ann true")
				}
				s.pass(boundFor)
				s.refreshed(t, b)
			}
			copied := s.program(t, b.jar(t))
			check := func(want string) {
				t.Helper()
				for _, page := range pages {
					if got := copied(page); got != want {
						t.Errorf("a copied cookie at %s: %q, want %q", page, got, want)
					}
				}
			}
			check("ann true")
			s.pass(boundFor - time.Minute)
			check("ann true")
			s.pass(time.Minute + apart)
			check("false")
			s.refreshed(t, b)
		})
	}
}

// TestDeviceBrowserClock has a browser whose clock differs from the server's.
func TestDeviceBrowserClock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"server ahead": 5 * time.Hour, "server behind": -5 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := newDeviceSite(t, dynasession.Config{})
			s.pass(ahead)
			s.answer(func(w http.ResponseWriter, r *http.Request, site http.Handler) {
				w.Header().Set("Date", time.Now().Add(time.Duration(s.ahead.Load())).UTC().Format(http.TimeFormat))
				site.ServeHTTP(w, r)
			})
			b := s.browser(t, false)
			s.bind(t, b)
			for range 3 {
				s.want(t, b, "/who", "ann true")
				c := b.boundCookie(t)
				if c == nil {
					t.Fatal("the browser has no bound cookie")
				}
				if left := time.Until(time.Unix(int64(c.Expires), 0)); left > boundFor*9/10 || left < boundFor*9/10-patience {
					t.Errorf("the cookie ends in %v", left)
				}
				s.pass(boundFor)
				s.refreshed(t, b)
			}
		})
	}
}

func pass(w http.ResponseWriter, r *http.Request, site http.Handler) { site.ServeHTTP(w, r) }

func unavailable(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.WriteHeader(http.StatusServiceUnavailable)
}

// cut closes the connection without an answer.
func cut(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// lose closes the connection after the site has answered.
func lose(_ http.ResponseWriter, r *http.Request, site http.Handler) {
	site.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// TestDeviceOutage answers proofs with 503 for a while: nothing is lost.
func TestDeviceOutage(t *testing.T) { testOutage(t, isEndpoint, unavailable) }

// TestDeviceCut answers nothing for a while: to any request of the endpoint, or to proofs, which may have been taken.
func TestDeviceCut(t *testing.T) {
	t.Run("all", func(t *testing.T) { testOutage(t, isEndpoint, cut) })
	t.Run("proofs", func(t *testing.T) { testOutage(t, isProof, cut) })
	t.Run("answers to proofs", func(t *testing.T) { testOutage(t, isProof, lose) })
}

// testOutage has f answer the requests that fail reports, for a while.
func testOutage(t *testing.T, fail func(*http.Request) bool, f front) {
	s := newDeviceSite(t, dynasession.Config{})
	b := s.browser(t, false)
	s.bind(t, b)
	s.pass(boundFor)
	var failed atomic.Int64
	s.answer(func(w http.ResponseWriter, r *http.Request, site http.Handler) {
		if fail(r) {
			failed.Add(1)
			f(w, r, site)
			return
		}
		site.ServeHTTP(w, r)
	})
	b.expire(t)
	for range 2 { // the browser sends the request without its cookie, and says so
		if resp, text := b.visit(t, "/who"); resp.Status != http.StatusServiceUnavailable || resp.Headers["Retry-After"] != "1" {
			t.Errorf("during the outage: status %d, %q", resp.Status, text)
		}
	}
	if failed.Load() == 0 {
		t.Error("no request has failed")
	}
	s.answer(pass)
	b.comesBack(t)
	s.pass(boundFor)
	b.expire(t)
	s.want(t, b, "/who", "ann true")
}

// TestDeviceOutageWrites opens a page that changes the session, during an outage of the endpoint: the binding is not lost.
func TestDeviceOutageWrites(t *testing.T) {
	s := newDeviceSite(t, dynasession.Config{})
	b := s.browser(t, false)
	s.bind(t, b)
	s.pass(boundFor)
	s.answer(func(w http.ResponseWriter, r *http.Request, site http.Handler) {
		if isEndpoint(r) {
			unavailable(w, r, site)
			return
		}
		site.ServeHTTP(w, r)
	})
	b.expire(t)
	b.visit(t, "/count?key")
	s.answer(pass)
	b.comesBack(t)
}

// TestDeviceDynamoDBRefuses has DynamoDB refuse all calls for a while. No page is answered as if nobody had signed in.
func TestDeviceDynamoDBRefuses(t *testing.T) {
	for name, gone := range map[string]bool{"cookie": false, "no cookie": true} {
		t.Run(name, func(t *testing.T) {
			s := newDeviceSite(t, dynasession.Config{Timeout: time.Second})
			b := s.browser(t, false)
			s.bind(t, b)
			s.pass(boundFor)
			s.refreshed(t, b)
			s.db.Fault(dynamotest.Fault{Kind: dynamotest.Refuse, Times: -1})
			if gone {
				s.pass(boundFor)
				b.expire(t)
			}
			for range 2 {
				resp, text := b.visit(t, "/who")
				if resp.Status != http.StatusServiceUnavailable || resp.Headers["Retry-After"] != "1" {
					t.Errorf("status %d, Retry-After %v, %q", resp.Status, resp.Headers["Retry-After"], text)
				}
			}
			if gone {
				if e := s.next(t, "refresh"); !errors.Is(e.Err, dynasession.ErrUnavailable) {
					t.Errorf("the endpoint: %v", e.Err)
				}
			}
			s.db.ClearFaults()
			b.comesBack(t)
		})
	}
}
