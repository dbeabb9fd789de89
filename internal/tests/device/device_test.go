package device_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

const (
	bound    = 10 * time.Minute
	endpoint = "/.session-device"
	// cookieName is the default with DeviceBound: browsers bind no cookie with the prefix __Host-Http-.
	cookieName = "__Host-session"
)

// client is a browser: a cookie jar and, unless it is a thief's, a key.
type client struct {
	t       *testing.T
	handler http.Handler
	jar     *cookiejar.Jar
	key     *ecdsa.PrivateKey
	sid     string // the session that the browser has bound; "" for none
	offered string // the challenge of the last offer
	forever bool   // it keeps cookies after their end, as a program may
}

func newClient(t *testing.T, h http.Handler) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &client{t: t, handler: h, jar: jar, key: key}
}

// thief returns somebody who has copied all cookies, and has another key.
func (c *client) thief() *client {
	thief := newClient(c.t, c.handler)
	thief.forever = true
	for _, path := range []string{"/", endpoint} {
		for _, cookie := range c.jar.Cookies(at(path)) {
			cookie.Path, cookie.Secure = path, true
			thief.jar.SetCookies(at(path), []*http.Cookie{cookie})
		}
	}
	thief.sid = c.sid
	return thief
}

func at(path string) *url.URL {
	u, _ := url.Parse("https://shop.example.com" + path)
	return u
}

func (c *client) do(method, path string, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(c.t.Context(), method, "https://shop.example.com"+path, http.NoBody)
	for _, cookie := range c.jar.Cookies(at(path)) {
		r.AddCookie(cookie)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	for _, cookie := range w.Result().Cookies() {
		if c.forever && cookie.MaxAge > 0 {
			cookie.MaxAge = 0
		}
		c.jar.SetCookies(at(path), []*http.Cookie{cookie})
	}
	if offer := w.Header().Get("Secure-Session-Registration"); offer != "" {
		m := regexp.MustCompile(`^\(ES256\);path="/\.session-device";challenge="([^"]+)"$`).FindStringSubmatch(offer)
		require.NotNil(c.t, m, offer)
		c.offered = m[1]
	}
	stage.Output.Response(w.Header(), w.Body.String())
	return w
}

// get requests a page and returns its body.
func (c *client) get(path string) string {
	c.t.Helper()
	w := c.do(http.MethodGet, path, nil)
	require.Equal(c.t, http.StatusOK, w.Code, "%s: %s", path, w.Body)
	return w.Body.String()
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (c *client) jwt(challenge string, withKey bool) string {
	head := `{"alg":"ES256","typ":"dbsc+jwt"}`
	if withKey {
		k, err := c.key.PublicKey.Bytes()
		require.NoError(c.t, err)
		head = fmt.Sprintf(`{"alg":"ES256","typ":"dbsc+jwt","jwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}}`, b64(k[1:33]), b64(k[33:]))
	}
	text := b64([]byte(head)) + "." + b64([]byte(`{"jti":"`+challenge+`"}`))
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, sum[:])
	require.NoError(c.t, err)
	return text + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// register binds the session, as the browser does after an offer.
func (c *client) register() *httptest.ResponseRecorder {
	return c.do(http.MethodPost, endpoint, map[string]string{"Secure-Session-Response": c.jwt(c.offered, true)})
}

// refresh proves the key, in two requests.
func (c *client) refresh() *httptest.ResponseRecorder {
	w := c.do(http.MethodPost, endpoint, map[string]string{"Sec-Secure-Session-Id": c.sid})
	m := regexp.MustCompile(`^"([^"]+)";id="` + c.sid + `"$`).FindStringSubmatch(w.Header().Get("Secure-Session-Challenge"))
	if w.Code != http.StatusForbidden || m == nil {
		return w
	}
	return c.do(http.MethodPost, endpoint, map[string]string{"Sec-Secure-Session-Id": c.sid, "Secure-Session-Response": c.jwt(m[1], false)})
}

// bind signs in and registers.
func (c *client) bind(user string) {
	c.t.Helper()
	c.get("/login?" + user)
	require.NotEmpty(c.t, c.offered)
	w := c.register()
	require.Equal(c.t, http.StatusOK, w.Code, w.Body.String())
	var answer struct {
		ID string `json:"session_identifier"`
	}
	require.NoError(c.t, json.Unmarshal(w.Body.Bytes(), &answer))
	c.sid, c.offered = answer.ID, ""
}

// bindAgain signs in where sessions are bound, for a test that goes on.
func (c *client) bindAgain(s *stage.Timed) {
	c.handler = s.With(dynasession.Config{DeviceBound: bound}).Middleware(app)
	c.bind("alice")
}

// cookie returns the session's cookie, or "".
func (c *client) cookie() string {
	for _, cookie := range c.jar.Cookies(at("/")) {
		if cookie.Name == cookieName {
			return cookie.Value
		}
	}
	return ""
}

// ended reports whether w tells the browser to forget its key.
func ended(w *httptest.ResponseRecorder, sid string) bool {
	return w.Code == http.StatusOK && strings.TrimSpace(w.Body.String()) == `{"continue":false,"session_identifier":"`+sid+`"}`
}

var app = stage.App{
	"/login": func(s *dynasession.Session, _ http.ResponseWriter, r *http.Request) { s.SetUser(r.URL.RawQuery) },
	"/loginsave": func(s *dynasession.Session, _ http.ResponseWriter, r *http.Request) {
		s.SetUser(r.URL.RawQuery)
		_ = s.Save(r.Context())
	},
	"/out":    func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { s.SetUser("") },
	"/logout": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { s.Destroy() },
	"/renew":  func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { s.Renew() },
	"/count":  func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { stage.CountUp(s) },
	"/all":    func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { stage.CountUp(s); s.Renew() },
	"/who": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
		stage.Write(w, fmt.Sprintf("%s %v %v %v", s.User(), s.DeviceBound(), s.Ended(), s.Keys()))
	},
	"/meddle": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
		s.Set("_device.bound", []byte("mine"))
		s.Delete("_device.bound")
		dynasession.Update(s, "_device.bound", func([]byte) []byte { return nil })
		_, popped := dynasession.Pop[[]byte](s, "_device.bound")
		_, got := dynasession.Get[[]byte](s, "_device.bound")
		stage.Write(w, fmt.Sprint(popped, got, s.Has("_device.bound")))
	},
}

// each runs f with each Config that device-bound sessions may have.
func each(t *testing.T, f func(c *stage.Timed, b *client)) {
	t.Helper()
	for name, cfg := range map[string]dynasession.Config{
		"merge": {}, "lock": {Concurrency: dynasession.Lock}, "eventual reads": {EventualReads: true},
		"encrypted": {EncryptionKeys: [][]byte{make([]byte, 32)}, EventualReads: true}, "persist": {Cookie: dynasession.CookieConfig{Persist: true}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.DeviceBound, cfg.UserIndex = bound, "by-user"
			cfg.IdleTimeout, cfg.Lifetime = 24*time.Hour, 48*time.Hour
			stage.InBubble(t, cfg, func(c *stage.Timed) {
				b := newClient(c.T, c.Store.Middleware(app))
				f(c, b)
			})
		})
	}
}

func TestFlow(t *testing.T) {
	each(t, func(c *stage.Timed, b *client) {
		t := c.T
		b.get("/count")
		assert.Empty(t, b.offered, "only a sign-in offers")
		b.get("/login?alice")
		assert.NotEmpty(t, b.offered)
		assert.Equal(t, "alice false false [n]", b.get("/who"), "not yet")
		other := b.thief() // whoever has the cookie of a browser that binds nothing must get no offer
		for _, path := range []string{"/who", "/count", "/renew", "/count"} {
			other.get(path)
		}
		assert.Empty(t, other.offered)
		b = newClient(t, b.handler)
		b.get("/count")
		b.get("/login?alice")
		w := b.register()
		require.Equal(t, http.StatusOK, w.Code)
		var answer map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		b.sid = answer["session_identifier"].(string)
		assert.Equal(t, endpoint, answer["refresh_url"])
		assert.Equal(t, []any{map[string]any{"type": "cookie", "name": cookieName, "attributes": "Path=/; HttpOnly; Secure; SameSite=Lax"}}, answer["credentials"])
		assert.Contains(t, b.cookie(), "~")
		for _, cookie := range w.Result().Cookies() {
			if cookie.Name == cookieName {
				assert.Equal(t, int(bound/time.Second)*9/10, cookie.MaxAge)
			}
		}
		assert.Equal(t, "alice true false [n]", b.get("/who"))

		for range 5 { // its proofs keep it for as long as the session lasts
			time.Sleep(bound)
			assert.Equal(t, http.StatusOK, b.refresh().Code)
			assert.Equal(t, "alice true false [n]", b.get("/who"))
			b.get("/count")
			b.get("/renew")
			assert.Equal(t, "alice true false [n]", b.get("/who"))
		}
		time.Sleep(bound + time.Second) // the browser would have asked for a refresh
		assert.Contains(t, b.get("/who"), " false ", "no proof, no session")
	})
}

// TestThief checks that the copied jar is worth nothing DeviceBound after the device's last proof, whatever the thief does, and
// that the owner notices nothing.
func TestThief(t *testing.T) {
	each(t, func(c *stage.Timed, owner *client) {
		t := c.T
		owner.bind("alice")
		time.Sleep(bound) // the grace after the registration is over
		require.Equal(t, http.StatusOK, owner.refresh().Code)
		thieves := map[string]*client{"/who": owner.thief(), "/count": owner.thief()}
		bare := owner.thief()
		id, _, _ := strings.Cut(bare.cookie(), "~")
		bare.jar.SetCookies(at("/"), []*http.Cookie{{Name: cookieName, Value: id, Path: "/", Secure: true}})
		assert.Contains(t, bare.get("/who"), " false true ", "an id without a proof")
		longer := owner.thief()
		longer.jar.SetCookies(at("/"), []*http.Cookie{{Name: cookieName, Value: regexp.MustCompile(`~\d+`).ReplaceAllString(owner.cookie(), "~9999999999"), Path: "/", Secure: true}})
		assert.Contains(t, longer.get("/who"), " false true ", "another end")

		assert.Contains(t, thieves["/who"].get("/who"), "alice true")
		begin := time.Now()
		for time.Since(begin) < bound-time.Minute {
			for path, thief := range thieves {
				thief.get(path)
				w := thief.refresh()
				assert.Equal(t, http.StatusBadRequest, w.Code, "a proof by another key")
				thief.offered = ""
			}
			time.Sleep(time.Minute)
		}
		require.Equal(t, http.StatusOK, owner.refresh().Code)
		time.Sleep(time.Minute)
		for path, thief := range thieves {
			assert.NotContains(t, thief.get("/who"), "alice", path)
			time.Sleep(time.Minute)
			assert.NotContains(t, thief.get("/who"), "alice", path)
		}
		time.Sleep(bound / 2)
		require.Equal(t, http.StatusOK, owner.refresh().Code)
		assert.Contains(t, owner.get("/who"), "alice true false")
	})
}

// TestThiefRenews checks a thief who renews the id with each request: he is out in time, and the owner, who has none of the
// new ids, goes on after the next proof of the device's key.
func TestThiefRenews(t *testing.T) {
	each(t, func(c *stage.Timed, owner *client) {
		t := c.T
		owner.bind("alice")
		time.Sleep(bound)
		require.Equal(t, http.StatusOK, owner.refresh().Code)
		thief, early := owner.thief(), owner.thief()
		for minute := range int(bound / time.Minute) {
			require.Contains(t, thief.get("/who"), "alice true")
			thief.get("/all")
			if minute == 5 { // the owner uses the session meanwhile, with its cookie from before
				assert.Equal(t, " false false []", owner.get("/who"), "an older id is worth nothing without the key")
				assert.Empty(t, owner.cookie(), "the browser is to prove its key")
				require.Equal(t, http.StatusOK, owner.refresh().Code)
				assert.Equal(t, "alice true false [n]", owner.get("/who"))
			}
			time.Sleep(time.Minute)
		}
		assert.NotContains(t, thief.get("/who"), "alice", "no response has made a proof")
		assert.Equal(t, http.StatusBadRequest, thief.refresh().Code)
		assert.Equal(t, http.StatusBadRequest, early.refresh().Code)
		time.Sleep(8 * time.Hour)
		require.Equal(t, http.StatusOK, owner.refresh().Code)
		assert.Equal(t, "alice true false [n]", owner.get("/who"))
		for _, thief := range []*client{thief, early} {
			assert.NotContains(t, thief.get("/who"), "alice")
			assert.Equal(t, http.StatusBadRequest, thief.refresh().Code)
		}
	})
}

// TestManyRenewals checks how many renewals the owner's browser may miss.
func TestManyRenewals(t *testing.T) {
	each(t, func(c *stage.Timed, owner *client) {
		t := c.T
		owner.bind("alice")
		thief := owner.thief()
		for range 64 {
			thief.get("/renew")
		}
		c.Calls.Take()
		owner.get("/who")
		calls := len(c.Calls.Take())
		assert.LessOrEqual(t, calls, 2+8, "an old cookie costs little")
		require.Equal(t, http.StatusOK, owner.refresh().Code)
		assert.Contains(t, owner.get("/who"), "alice true")
		for range 65 {
			thief.get("/renew")
		}
		time.Sleep(30 * time.Second)
		assert.True(t, ended(owner.refresh(), owner.sid))
	})
}

// TestRenewedCookie checks what a cookie from before a renewal is worth.
func TestRenewedCookie(t *testing.T) {
	each(t, func(c *stage.Timed, b *client) {
		t := c.T
		b.bind("alice")
		early := b.thief()
		b.get("/renew")
		id, _, _ := strings.Cut(b.cookie(), "~")
		assert.Len(t, id, len(strings.SplitN(early.cookie(), "~", 2)[0]))
		assert.NotEqual(t, id, strings.SplitN(early.cookie(), "~", 2)[0])
		for _, wait := range []time.Duration{0, time.Minute} { // while the tombstone is fresh, and afterwards
			time.Sleep(wait)
			for _, path := range []string{"/count", "/renew"} {
				old := early.thief()
				w := old.do(http.MethodGet, path, nil)
				assert.Equal(t, http.StatusConflict, w.Code, "a change would store another session in the place of this one")
				assert.Empty(t, old.cookie())
			}
		}
		assert.Equal(t, "alice true false []", b.get("/who"))

		again := early.thief()
		again.get("/loginsave?carol") // of a browser that has lost the response, since nobody has used the renewed session
		assert.Equal(t, "carol false false []", again.get("/who"))

		b.bind("alice")
		early = b.thief()
		b.get("/renew")
		last := b.thief()
		b.get("/login?bob") // another sign-in ends the binding
		for _, before := range []*client{early, last} {
			before.offered = b.offered
			assert.Equal(t, http.StatusBadRequest, before.register().Code, "an id from before the sign-in")
		}
		assert.Equal(t, " false false []", early.get("/who"))
		assert.True(t, ended(early.do(http.MethodPost, endpoint, map[string]string{"Sec-Secure-Session-Id": early.sid}), early.sid))
		assert.Equal(t, "bob false false []", b.get("/who"))

		b.bind("alice")
		late := b.thief()
		b.get("/renew")
		time.Sleep(bound)
		late.get("/count") // its proof is over: an old id like any other
		assert.Regexp(t, "^[0-9A-Za-z]{43}(\\.1)?$", late.cookie(), "of another session")
	})
}

// TestOtherKeys checks what may not bind a session.
func TestOtherKeys(t *testing.T) {
	each(t, func(c *stage.Timed, b *client) {
		t := c.T
		b.get("/login?alice")
		challenge := b.offered
		b.bind("alice")
		thief := b.thief()
		thief.offered = challenge
		assert.Equal(t, http.StatusBadRequest, thief.register().Code, "an old sign-in's challenge")
		b.get("/login?alice")
		challenge = b.offered
		require.Equal(t, http.StatusOK, b.register().Code)
		assert.Equal(t, http.StatusOK, b.register().Code, "again, if the answer was lost")
		thief = b.thief()
		thief.offered = challenge
		assert.Equal(t, http.StatusBadRequest, thief.register().Code, "it is bound")
		for _, proof := range []string{"", "x", "a.b.c", b.jwt("1.x", true), b.jwt(challenge, false)} {
			assert.Equal(t, http.StatusBadRequest, b.do(http.MethodPost, endpoint, map[string]string{"Secure-Session-Response": proof}).Code)
		}
		assert.Contains(t, b.get("/who"), "alice true")

		late := newClient(t, b.handler)
		late.get("/login?bob")
		time.Sleep(121 * time.Second)
		assert.Equal(t, http.StatusBadRequest, late.register().Code, "too late")
		assert.Contains(t, late.get("/who"), "bob false", "as ever")
		time.Sleep(5 * bound)
		assert.Contains(t, late.get("/who"), "bob false")
	})
}

// TestSignInAgain checks that a sign-in begins another binding, and that what ends a session ends its key.
func TestSignInAgain(t *testing.T) {
	each(t, func(c *stage.Timed, b *client) {
		t := c.T
		b.bind("alice")
		old := b.sid
		b.get("/login?alice")
		assert.Contains(t, b.get("/who"), "alice false", "a new key")
		assert.True(t, ended(b.do(http.MethodPost, endpoint, map[string]string{"Sec-Secure-Session-Id": old}), old))
		b.bind("alice")
		assert.NotEqual(t, old, b.sid)

		b.get("/out")
		assert.Contains(t, b.get("/who"), " false false")
		assert.True(t, ended(b.refresh(), b.sid), "nobody is signed in")

		b.bind("bob")
		b.get("/logout")
		w := b.refresh()
		assert.True(t, ended(w, b.sid), w.Body.String())

		b.bind("carol")
		_, err := c.Store.DestroyUser(t.Context(), "carol", nil)
		require.NoError(t, err)
		assert.True(t, ended(b.refresh(), b.sid))
	})
}

// TestGrace checks requests that were on their way while the browser registered.
func TestGrace(t *testing.T) {
	each(t, func(c *stage.Timed, b *client) {
		t := c.T
		b.get("/login?alice")
		early := b.thief() // another tab, with the cookie from before the registration
		require.Equal(t, http.StatusOK, b.register().Code)
		time.Sleep(bound - time.Second)
		assert.Contains(t, early.get("/who"), "alice true")
		time.Sleep(time.Second)
		assert.NotContains(t, early.get("/who"), "alice")
	})
}

// TestCost counts the calls.
func TestCost(t *testing.T) {
	each(t, func(c *stage.Timed, b *client) {
		t := c.T
		page := []string{"GetItem"}
		if c.Calls.Take(); t.Name() == "TestCost/lock" {
			page = []string{"UpdateItem", "UpdateItem"} // as ever: it takes the lock, and gives it up
		}
		b.get("/login?alice")
		assert.Equal(t, []string{"PutItem"}, c.Calls.Take())
		require.Equal(t, http.StatusOK, b.register().Code)
		assert.Equal(t, []string{"GetItem", "UpdateItem"}, c.Calls.Take(), "1 read and 1 write")
		b.get("/who")
		assert.Equal(t, page, c.Calls.Take(), "another page costs nothing more")
		b.bind("alice")
		c.Calls.Take()
		require.Equal(t, http.StatusOK, b.refresh().Code)
		assert.Equal(t, []string{"GetItem", "GetItem"}, c.Calls.Take(), "2 reads and no write")
	})
}

// TestOutage checks that DynamoDB being down ends nothing.
func TestOutage(t *testing.T) {
	each(t, func(c *stage.Timed, b *client) {
		t := c.T
		b.get("/login?alice")
		down := func() {
			c.Calls.Intercept(func(*stage.Call) (*http.Response, error) {
				return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
			})
		}
		down()
		assert.Equal(t, http.StatusServiceUnavailable, b.register().Code)
		c.Calls.Intercept(nil)
		b.bind("alice")
		time.Sleep(bound)
		down()
		w := b.refresh()
		c.Calls.Intercept(nil)
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.NotEmpty(t, w.Header().Get("Retry-After"))
		assert.Equal(t, http.StatusOK, b.refresh().Code)
		assert.Contains(t, b.get("/who"), "alice true")
	})
}

// TestReservedKey checks that the application neither sees nor changes the binding.
func TestReservedKey(t *testing.T) {
	each(t, func(_ *stage.Timed, b *client) {
		b.bind("alice")
		assert.Equal(b.t, "false false false", b.get("/meddle"))
		assert.Contains(b.t, b.get("/who"), "alice true false []")
	})
}

// TestOff checks that nothing is offered, and that cookies from when it was on still work.
func TestOff(t *testing.T) {
	if *stage.WithDeviceBound {
		t.Skip("it is always on")
	}
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		t := c.T
		b := newClient(t, c.With(dynasession.Config{DeviceBound: bound, IdleTimeout: 24 * time.Hour}).Middleware(app))
		b.bind("alice")
		b.handler = c.With(dynasession.Config{IdleTimeout: 24 * time.Hour}).Middleware(app)
		time.Sleep(2 * bound)
		b.jar.SetCookies(at("/"), []*http.Cookie{{Name: cookieName, Value: "", Path: "/", MaxAge: -1, Secure: true}})
		b = newClient(t, b.handler)
		b.get("/login?bob")
		assert.Empty(t, b.offered)
		assert.NotContains(t, b.cookie(), "~")
		assert.Equal(t, http.StatusNotFound, b.register().Code, "the application's path")
		assert.Equal(t, "bob false false []", b.get("/who"))
	})
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		t := c.T
		named := dynasession.CookieConfig{Name: cookieName} // the default names differ
		b := newClient(t, c.With(dynasession.Config{DeviceBound: bound}).Middleware(app))
		b.bind("alice")
		b.handler = c.With(dynasession.Config{Cookie: named}).Middleware(app)
		assert.Equal(t, "alice false false []", b.get("/who"), "turned off, nobody is signed out")
		time.Sleep(bound)
		assert.Empty(t, b.cookie(), "the browser asks the endpoint for another")
		assert.True(t, ended(b.refresh(), b.sid))
		assert.Regexp(t, `^[0-9A-Za-z]{43}(\.\d+)?$`, b.cookie())
		assert.Len(t, b.jar.Cookies(at(endpoint)), 1, "without the endpoint's")
		assert.Equal(t, "alice false false []", b.get("/who"))
		b.bindAgain(c)
		b.handler = c.With(dynasession.Config{DeviceBound: bound}).Middleware(app)
		assert.Equal(t, "alice true false []", b.get("/who"))
	})
}

// TestEvents checks what Observer sees.
func TestEvents(t *testing.T) {
	var ops []string
	var wrong error
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		t := c.T
		store := c.With(dynasession.Config{DeviceBound: bound, Observer: func(_ context.Context, e dynasession.Event) {
			ops = append(ops, e.Op)
			if e.Err != nil {
				wrong = e.Err
			}
		}})
		b := newClient(t, store.Middleware(app))
		b.bind("alice")
		require.Equal(t, http.StatusOK, b.refresh().Code)
		assert.Equal(t, []string{"save", "save", "bind", "refresh", "refresh"}, ops)
		require.NoError(t, wrong)
		thief := b.thief()
		assert.Equal(t, http.StatusBadRequest, thief.refresh().Code)
		require.ErrorContains(t, wrong, "may be stolen")
	})
}

// TestStartBinds binds a session of Start: SetHeaders makes the offer, and Middleware answers the endpoint alone.
func TestStartBinds(t *testing.T) {
	each(t, func(c *stage.Timed, b *client) {
		t := c.T
		mux := http.NewServeMux()
		mux.Handle("POST "+endpoint, c.Store.Middleware(http.NotFoundHandler()))
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			var values []string
			for _, cookie := range r.CookiesNamed(c.Store.CookieName()) {
				values = append(values, cookie.Value)
			}
			sess, err := c.Store.Start(r.Context(), values...)
			if !assert.NoError(t, err) {
				return
			}
			defer func() { assert.NoError(t, sess.Close()) }()
			body := httptest.NewRecorder()
			app[r.URL.Path](sess, body, r)
			if err := sess.Save(r.Context()); err != nil {
				w.WriteHeader(http.StatusConflict)
			}
			sess.SetHeaders(w.Header())
			stage.Write(w, body.Body.String())
		})
		b.handler = mux
		b.bind("alice")
		assert.Equal(t, "alice true false []", b.get("/who"))
		thief := b.thief()
		time.Sleep(bound)
		require.Equal(t, http.StatusOK, b.refresh().Code)
		assert.Equal(t, "alice true false []", b.get("/who"))
		assert.NotContains(t, thief.get("/who"), "alice")
		b.get("/logout")
		assert.True(t, ended(b.refresh(), b.sid))
	})
}

// TestSkippedProof checks a request of a browser that has a bound session but could not prove its key: it is no reason to
// begin another session, whose cookie would take the place of the bound one.
func TestSkippedProof(t *testing.T) {
	each(t, func(c *stage.Timed, b *client) {
		t := c.T
		b.bind("alice")
		skipped := map[string]string{"Secure-Session-Skipped": "server_error"}
		assert.Equal(t, http.StatusOK, b.do(http.MethodGet, "/who", skipped).Code, "the cookie has a proof that holds")
		b.jar.SetCookies(at("/"), []*http.Cookie{{Name: cookieName, Path: "/", Secure: true, MaxAge: -1}})
		c.Calls.Take()
		for _, path := range []string{"/who", "/count", "/login?bob"} {
			w := b.do(http.MethodGet, path, skipped)
			assert.Equal(t, http.StatusServiceUnavailable, w.Code)
			assert.Equal(t, "1", w.Header().Get("Retry-After"))
			assert.Empty(t, w.Header()["Set-Cookie"])
		}
		assert.Empty(t, c.Calls.Take())
		require.Equal(t, http.StatusOK, b.refresh().Code)
		assert.Contains(t, b.get("/who"), "alice true")

		b.jar.SetCookies(at("/"), []*http.Cookie{{Name: cookieName, Path: "/", Secure: true, MaxAge: -1}})
		b.handler = c.With(dynasession.Config{Cookie: dynasession.CookieConfig{Name: cookieName}}).Middleware(app)
		assert.Equal(t, http.StatusOK, b.do(http.MethodGet, "/who", skipped).Code, "DeviceBound was turned off")
	})
}
