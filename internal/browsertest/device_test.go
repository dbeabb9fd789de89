package browsertest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/testhook"
)

// boundFor is Config.DeviceBound of the tests.
const boundFor = 10 * time.Minute

// deviceSite is a site with device-bound sessions, over TLS at https://shop.test, whose clock the test moves.
type deviceSite struct {
	db     *dynamotest.Server
	cfg    dynasession.Config
	store  *dynasession.Store
	events chan dynasession.Event // "bind" and "refresh"
	ahead  atomic.Int64           // nanoseconds
	front  atomic.Pointer[front]
	flags  []chromedp.ExecAllocatorOption
	addr   string
}

// front answers the requests of a site, by its handler or otherwise.
type front func(w http.ResponseWriter, r *http.Request, site http.Handler)

func (s *deviceSite) answer(f front) { s.front.Store(&f) }

func newDeviceSite(t *testing.T, cfg dynasession.Config) *deviceSite {
	t.Helper()
	s := &deviceSite{db: dynamotest.NewServer(), events: make(chan dynasession.Event, 100)}
	t.Cleanup(s.db.Close)
	cfg.DeviceBound, cfg.UserIndex = boundFor, "by-user"
	cfg.Observer = func(_ context.Context, e dynasession.Event) {
		if e.Op == "bind" || e.Op == "refresh" {
			s.events <- e
		}
	}
	s.cfg = cfg
	s.store = s.newStore(t, 0)
	if err := s.store.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	site := s.handler(s.store)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := s.front.Load(); f != nil {
			(*f)(w, r, site)
			return
		}
		site.ServeHTTP(w, r)
	}))
	cert, pin := certificate(t)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s.addr = srv.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(s.addr)
	s.flags = deviceFlags(port, pin)
	return s
}

// newStore returns a store whose clock is ahead of the site's.
func (s *deviceSite) newStore(t *testing.T, ahead time.Duration) *dynasession.Store {
	t.Helper()
	store, err := dynasession.New(s.db.Client(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	testhook.SetClock(store, func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load()) + ahead) })
	return store
}

// handler returns the site's pages, with the sessions of a store.
func (s *deviceSite) handler(store *dynasession.Store) http.Handler {
	mux := http.NewServeMux()
	prefix := strings.TrimSuffix(s.cfg.Cookie.Path, "/")
	handle := func(path string, f func(sess *dynasession.Session, r *http.Request) string) {
		mux.HandleFunc(prefix+path, func(w http.ResponseWriter, r *http.Request) {
			if sess, err := dynasession.Load(r.Context()); err == nil {
				w.Header().Set("Content-Type", "text/html")
				_, _ = io.WriteString(w, "<!doctype html><title>.</title><p id=p>"+f(sess, r)+"</p>")
			}
		})
	}
	handle("/login", func(sess *dynasession.Session, _ *http.Request) string { sess.SetUser("ann"); return "done" })
	handle("/logout", func(sess *dynasession.Session, _ *http.Request) string { sess.Destroy(); return "done" })
	handle("/renew", func(sess *dynasession.Session, _ *http.Request) string { sess.Renew(); return "done" })
	handle("/count", func(sess *dynasession.Session, r *http.Request) string {
		sess.Set(r.URL.RawQuery, true)
		return sess.User()
	})
	handle("/who", func(sess *dynasession.Session, _ *http.Request) string {
		return fmt.Sprint(sess.User(), " ", sess.DeviceBound())
	})
	return store.Middleware(mux)
}

// deviceFlags lets a browser know device-bound sessions, and trust the site at the port.
func deviceFlags(port, pin string) []chromedp.ExecAllocatorOption {
	return []chromedp.ExecAllocatorOption{
		chromedp.Flag("enable-features", "DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting,DeviceBoundSessions:RefreshQuota/false"),
		chromedp.Flag("ignore-certificate-errors-spki-list", pin),
		chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1:"+port),
	}
}

// certificate returns one for shop.test, and the hash of its key, by which the browser trusts it.
func certificate(t *testing.T) (cert tls.Certificate, pin string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.test"}, DNSNames: []string{"shop.test", "other.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, base64.StdEncoding.EncodeToString(sum[:])
}

const (
	shopURL       = "https://shop.test"
	sessionCookie = "__Host-session"
)

// browser starts a browser that knows device-bound sessions, unless plain.
func (s *deviceSite) browser(t *testing.T, plain bool) tab {
	t.Helper()
	flags := s.flags
	if plain {
		flags = flags[1:]
	}
	b, _ := s.browserOf(t, t.TempDir(), flags)
	return b
}

// browserOf starts a browser with a profile, and returns what ends it.
func (*deviceSite) browserOf(t *testing.T, profile string, flags []chromedp.ExecAllocatorOption) (b tab, end func()) {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(profile), chromedp.Flag("headless", "new"), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Flag("disable-dev-shm-usage", true),
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), append(options, flags...)...)
	t.Cleanup(stop)
	ctx, _ = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	end = sync.OnceFunc(func() { _ = chromedp.Cancel(ctx) })
	t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return tab{ctx, nil}, end
}

// page opens a page and returns its text.
func (b tab) page(t *testing.T, path string) string {
	t.Helper()
	if err := b.tryNavigate(chromedp.Navigate(shopURL + path)); err != nil {
		t.Fatal(path, err)
	}
	return eval[string](t, b, "document.querySelector('#p').innerText")
}

// next waits for the next event of a proof.
func (s *deviceSite) next(t *testing.T, op string) dynasession.Event {
	t.Helper()
	select {
	case e := <-s.events:
		if e.Op != op {
			t.Fatalf("%q, want %q", e.Op, op)
		}
		return e
	case <-time.After(patience):
		t.Fatalf("no %q", op)
		return dynasession.Event{}
	}
}

// jar returns the browser's cookies, those of the endpoint too.
func (b tab) jar(t *testing.T) []*network.Cookie {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	jar, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{shopURL + "/", shopURL + "/.session-device"}})
	if err != nil {
		t.Fatal(err)
	}
	return jar.Cookies
}

// expire takes the bound cookie out of the jar, as its end does.
func (b tab) expire(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, network.DeleteCookies, network.DeleteCookiesParams{Name: sessionCookie, URL: shopURL + "/"}); err != nil {
		t.Fatal(err)
	}
}

// steal puts all cookies of a browser into another.
func (b tab) steal(t *testing.T, cookies []*network.Cookie) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	yes := true
	for _, c := range cookies {
		_, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{
			Name: c.Name, Value: c.Value, URL: shopURL + c.Path, Path: c.Path, Secure: &yes, HTTPOnly: &yes, SameSite: c.SameSite,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (s *deviceSite) pass(d time.Duration) { s.ahead.Add(int64(d)) }

// bind signs in and waits until the browser has bound the session.
func (s *deviceSite) bind(t *testing.T, b tab) {
	t.Helper()
	if got := b.page(t, "/login"); got != "done" {
		t.Fatal(got)
	}
	s.bound(t, b)
}

// bound waits for the registration, and until the browser has the bound cookie.
func (s *deviceSite) bound(t *testing.T, b tab) {
	t.Helper()
	if e := s.next(t, "bind"); e.Err != nil {
		t.Fatal(e.Err)
	}
	deadline := time.Now().Add(patience)
	for b.boundCookie(t) == nil {
		if time.Now().After(deadline) {
			t.Fatal("the browser has no bound cookie")
		}
	}
}

// boundCookie returns the session's cookie if it carries a proof, or nil.
func (b tab) boundCookie(t *testing.T) *network.Cookie {
	t.Helper()
	for _, c := range b.jar(t) {
		if c.Name == sessionCookie && strings.Contains(c.Value, "~") {
			return c
		}
	}
	return nil
}

func (s *deviceSite) want(t *testing.T, b tab, path, want string) {
	t.Helper()
	if got := b.page(t, path); got != want {
		t.Errorf("%s: %q, want %q", path, got, want)
	}
}

func deviceConfigs() map[string]dynasession.Config {
	return map[string]dynasession.Config{
		"merge": {}, "lock": {Concurrency: dynasession.Lock},
		"encrypted, eventual reads": {EncryptionKeys: [][]byte{make([]byte, 32)}, EventualReads: true},
	}
}

// TestDeviceFlow binds a session, and proves it when the cookie is gone.
func TestDeviceFlow(t *testing.T) {
	for name, cfg := range deviceConfigs() {
		t.Run(name, func(t *testing.T) {
			s := newDeviceSite(t, cfg)
			b := s.browser(t, false)
			s.want(t, b, "/who", "false")
			s.bind(t, b)
			s.want(t, b, "/who", "ann true")
			for range 2 {
				s.pass(boundFor)
				b.expire(t)
				s.want(t, b, "/who", "ann true") // the browser has held the request back until the proof
				s.next(t, "refresh")
				s.next(t, "refresh")
			}
			s.want(t, b, "/logout", "done")
			s.want(t, b, "/who", "false")
			s.bind(t, b)
			s.want(t, b, "/who", "ann true")
		})
	}
}

// program returns a thief that is no browser: it sends the cookies that it has copied, and ignores their end.
func (s *deviceSite) program(t *testing.T, cookies []*network.Cookie) func(path string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.addr)
		},
	}}
	t.Cleanup(client.CloseIdleConnections)
	return func(path string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, shopURL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cookies {
			if c.Path == "/" {
				r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
			}
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(string(body), "<p id=p>")
		return strings.TrimSpace(strings.TrimSuffix(text, "</p>"))
	}
}

// TestDeviceThief copies the jar into another browser, and into a program.
func TestDeviceThief(t *testing.T) {
	s := newDeviceSite(t, dynasession.Config{})
	owner := s.browser(t, false)
	s.bind(t, owner)
	s.pass(boundFor)
	owner.expire(t)
	s.want(t, owner, "/who", "ann true")
	s.next(t, "refresh")
	s.next(t, "refresh")

	thief := s.browser(t, false)
	thief.steal(t, owner.jar(t))
	s.want(t, thief, "/who", "ann true")
	s.want(t, thief, "/count?thief", "ann")
	program := s.program(t, owner.jar(t))
	if got := program("/who"); got != "ann true" {
		t.Error(got)
	}
	s.pass(boundFor)
	s.want(t, thief, "/who", "false")
	if got := program("/who"); got != "false" {
		t.Error(got)
	}
	owner.expire(t)
	s.want(t, owner, "/who", "ann true")
	s.next(t, "refresh")
	s.next(t, "refresh")
	s.want(t, thief, "/who", "false")
	s.want(t, owner, "/count?owner", "ann")
}

// TestDeviceThiefRenews has a thief renew and change the session with each request. The owner, whose browser gets none of the
// new ids, notices nothing if its cookie has ended by then, and otherwise sees one page without the session.
func TestDeviceThiefRenews(t *testing.T) {
	for name, ends := range map[string]bool{"the owner comes later": true, "the owner comes meanwhile": false} {
		t.Run(name, func(t *testing.T) {
			s := newDeviceSite(t, dynasession.Config{})
			owner, thief := s.browser(t, false), s.browser(t, false)
			s.bind(t, owner)
			s.pass(boundFor)
			s.refreshed(t, owner)
			thief.steal(t, owner.jar(t))
			for i := range 10 {
				s.want(t, thief, "/renew", "done")
				s.want(t, thief, fmt.Sprint("/count?", i), "ann")
			}
			if ends {
				s.pass(boundFor)
				s.want(t, thief, "/who", "false")
				owner.expire(t)
			} else {
				s.want(t, owner, "/who", "false")
			}
			s.want(t, owner, "/who", "ann true")
			s.next(t, "refresh")
			s.next(t, "refresh")
			s.pass(boundFor)
			s.want(t, thief, "/who", "false")
			s.refreshed(t, owner)
			s.want(t, owner, "/count?owner", "ann")
		})
	}
}

// TestDeviceParallel makes 20 requests after the end of the cookie: one proof serves them all.
func TestDeviceParallel(t *testing.T) {
	for name, cfg := range deviceConfigs() {
		t.Run(name, func(t *testing.T) {
			s := newDeviceSite(t, cfg)
			b := s.browser(t, false)
			s.bind(t, b)
			s.want(t, b, "/who", "ann true")
			s.pass(boundFor)
			b.expire(t)
			ctx, cancel := context.WithTimeout(b.ctx, patience)
			got, err := chromedp.Run(ctx, chromedp.Evaluate[int](`Promise.all([...Array(20).keys()].map(i => fetch("/count?k" + i).then(r => r.text()))).then(all => all.filter(t => t.includes("ann")).length)`, chromedp.EvalAwaitPromise))
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if got != 20 {
				t.Errorf("%d of 20 requests had the session", got)
			}
			s.next(t, "refresh")
			s.next(t, "refresh")
			if n := len(s.events); n > 0 {
				t.Errorf("%d requests more to the endpoint", n)
			}
			for i, err := range s.store.All(t.Context()) {
				if err != nil || len(i.Keys()) != 20 {
					t.Error(i.Keys(), err)
				}
			}
		})
	}
}

// TestDeviceRestart starts the browser anew, with its profile. A session that outlives the browser does so bound.
func TestDeviceRestart(t *testing.T) {
	for name, persist := range map[string]bool{"persist": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			s := newDeviceSite(t, dynasession.Config{Cookie: dynasession.CookieConfig{Persist: persist}})
			profile := t.TempDir()
			b, end := s.browserOf(t, profile, s.flags)
			s.bind(t, b)
			s.want(t, b, "/who", "ann true")
			end()
			b, _ = s.browserOf(t, profile, s.flags)
			s.want(t, b, "/who", "ann true") // the bound cookie has an end of its own, and outlives the browser until then
			s.pass(boundFor)
			b.expire(t)
			want := "false" // the endpoint's cookie ended with the browser
			if persist {
				want = "ann true"
			}
			s.want(t, b, "/who", want)
			for len(s.events) > 0 {
				<-s.events
			}
			s.bind(t, b) // whatever the browser has kept, a sign-in begins anew
			s.want(t, b, "/who", "ann true")
		})
	}
}

// TestDeviceUnknown is a browser that does not know it.
func TestDeviceUnknown(t *testing.T) {
	s := newDeviceSite(t, dynasession.Config{})
	b := s.browser(t, true)
	s.want(t, b, "/login", "done")
	s.want(t, b, "/who", "ann false")
	s.pass(2 * boundFor)
	s.want(t, b, "/who", "ann false")
	if len(s.events) > 0 {
		t.Error("it has bound the session")
	}
}

// TestDeviceShop runs the shop with -tls, as its user would.
func TestDeviceShop(t *testing.T) {
	program := build(t, "login")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-tls", "-addr", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var port, pin string
	for lines := bufio.NewScanner(out); port == "" || pin == ""; {
		if !lines.Scan() {
			t.Fatal("the shop has not said where it is")
		}
		if m := regexp.MustCompile(`Listening on https://shop\.test:(\d+)`).FindStringSubmatch(lines.Text()); m != nil {
			port = m[1]
		}
		if m := regexp.MustCompile(`spki-list=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			pin = m[1]
		}
	}
	s := &deviceSite{flags: deviceFlags(port, pin)}
	b := s.browser(t, false)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if err := b.tryNavigate(chromedp.Navigate(shopURL + "/signin")); err != nil {
		t.Fatal(err)
	}
	err = b.tryNavigate(chromedp.SendKeys(chromedp.CSS("#name"), "ann"), chromedp.SendKeys(chromedp.CSS("#password"), "tea"), click(".fields button"))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; {
		if err := b.tryNavigate(chromedp.Navigate(shopURL + "/devices")); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(eval[string](t, b, "document.body.innerText"), "This session is bound to the device") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the session is not bound")
		}
	}
}

// TestDeviceLink comes from another site by a link, after the end of the cookie.
func TestDeviceLink(t *testing.T) {
	s := newDeviceSite(t, dynasession.Config{})
	b := s.browser(t, false)
	s.bind(t, b)
	s.pass(boundFor)
	b.expire(t)
	link := "data:text/html,<a id=a href='" + shopURL + "/who'>mail</a>"
	b.do(t, chromedp.Navigate(link))
	if err := b.tryNavigate(click("#a")); err != nil {
		t.Fatal(err)
	}
	if got := eval[string](t, b, "document.querySelector('#p').innerText"); got != "ann true" {
		t.Errorf("by a link: %q", got)
	}
}

// TestDevicePath binds a session whose cookie is for one path only.
func TestDevicePath(t *testing.T) {
	s := newDeviceSite(t, dynasession.Config{Cookie: dynasession.CookieConfig{Path: "/app"}})
	b := s.browser(t, false)
	if got := b.page(t, "/app/login"); got != "done" {
		t.Fatal(got)
	}
	s.next(t, "bind")
	for deadline := time.Now().Add(patience); b.page(t, "/app/who") != "ann true"; {
		if time.Now().After(deadline) {
			t.Fatal("the session is not bound")
		}
	}
}

// TestDeviceLogout ends the session elsewhere: the browser forgets its key.
func TestDeviceLogout(t *testing.T) {
	s := newDeviceSite(t, dynasession.Config{})
	b := s.browser(t, false)
	s.bind(t, b)
	if _, err := s.store.DestroyUser(t.Context(), "ann", nil); err != nil {
		t.Fatal(err)
	}
	b.expire(t)
	s.want(t, b, "/who", "false")
	if e := s.next(t, "refresh"); e.Err != nil {
		t.Error(e.Err)
	}
	s.want(t, b, "/who", "false")
	if n := len(s.events); n > 0 {
		t.Errorf("the browser has asked again, %d times", n)
	}
	s.bind(t, b)
	s.want(t, b, "/who", "ann true")
}
