package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

type shop struct {
	t     *testing.T
	url   string
	idp   *provider
	store *dynasession.Store
}

func newShop(t *testing.T) *shop {
	t.Helper()
	idp, err := startProvider(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	store, err := dynasession.New(dynamotest.Start(t), dynasession.Config{UserIndex: "by-user", Cookie: dynasession.CookieConfig{Insecure: true}})
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	srv := httptest.NewUnstartedServer(nil)
	base := "http://" + srv.Listener.Addr().String()
	a, err := newApp(t.Context(), store, idp.url, base)
	require.NoError(t, err)
	srv.Config.Handler = a.handler()
	srv.Start()
	t.Cleanup(srv.Close)
	idp.register(base+"/callback", base+"/backchannel-logout")
	return &shop{t, base, idp, store}
}

func (s *shop) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	return &http.Client{Jar: jar}
}

func (s *shop) get(c *http.Client, address string) (status int, at, body string) {
	s.t.Helper()
	resp, err := c.Get(address)
	require.NoError(s.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, resp.Request.URL.String(), string(text)
}

// TestSignIn goes to a page that needs a sign-in, and comes back to it.
func TestSignIn(t *testing.T) {
	s := newShop(t)
	b := s.browser()
	_, at, body := s.get(b, s.url+"/orders")
	assert.Equal(t, s.url+"/orders", at)
	assert.Contains(t, body, "signed in as ann")
	for i, err := range s.store.All(t.Context()) {
		require.NoError(t, err)
		assert.Equal(t, "ann", i.User)
		assert.LessOrEqual(t, time.Until(i.Expires), tokenLasts, "no longer than the token")
		assert.Equal(t, []string{"sid"}, i.Keys(), "nothing is left of the sign-in")
	}
}

// TestReturn checks that a link cannot send the user to another site.
func TestReturn(t *testing.T) {
	s := newShop(t)
	for _, to := range []string{"https://evil.example", "//evil.example", `/\evil.example`, "orders", ""} {
		_, at, _ := s.get(s.browser(), s.url+"/signin?return="+url.QueryEscape(to))
		assert.Equal(t, s.url+"/", at, to)
	}
}

// TestForgedCallback checks sign-ins that another browser has begun, or that are over.
func TestForgedCallback(t *testing.T) {
	s := newShop(t)
	victim, attacker := s.browser(), s.browser()
	var callback string
	attacker.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), s.url+"/callback") {
			callback = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}
	s.get(attacker, s.url+"/signin")
	require.NotEmpty(t, callback)
	status, _, _ := s.get(victim, callback)
	assert.Equal(t, http.StatusBadRequest, status, "login CSRF")
	_, _, body := s.get(victim, s.url+"/")
	assert.NotContains(t, body, "signed in")

	attacker.CheckRedirect = nil
	status, _, _ = s.get(attacker, callback)
	assert.Equal(t, http.StatusOK, status)
	status, _, _ = s.get(attacker, callback)
	assert.Equal(t, http.StatusBadRequest, status, "once")
}

// TestBackchannelLogout signs out at the provider: the session that came from there ends, and another one stays.
func TestBackchannelLogout(t *testing.T) {
	s := newShop(t)
	first, second := s.browser(), s.browser()
	s.get(first, s.url+"/orders")
	old := s.idp.sid
	s.idp.mu.Lock()
	s.idp.sid = "" // another browser at the provider
	s.idp.mu.Unlock()
	s.get(second, s.url+"/orders")
	require.NotEqual(t, old, s.idp.sid)
	s.get(second, s.idp.url+"/signout")
	_, _, body := s.get(second, s.url+"/")
	assert.NotContains(t, body, "signed in as")
	_, _, body = s.get(first, s.url+"/")
	assert.Contains(t, body, "signed in as ann")

	for name, token := range map[string]string{
		"no token": "", "an ID token": s.idp.sign(map[string]any{"iss": s.idp.url, "aud": clientID, "sub": "ann", "nonce": "x", "iat": time.Now().Unix(), "events": map[string]any{logoutEvent: map[string]any{}}}),
		"no event": s.idp.sign(map[string]any{"iss": s.idp.url, "aud": clientID, "sub": "ann", "iat": time.Now().Unix()}),
		"old":      s.idp.sign(map[string]any{"iss": s.idp.url, "aud": clientID, "sub": "ann", "iat": time.Now().Add(-time.Hour).Unix(), "events": map[string]any{logoutEvent: map[string]any{}}}),
	} {
		resp, err := http.PostForm(s.url+"/backchannel-logout", url.Values{"logout_token": {token}})
		require.NoError(t, err)
		_ = resp.Body.Close()
		assert.Equal(t, http.StatusBadRequest, resp.StatusCode, name)
	}
	_, _, body = s.get(first, s.url+"/")
	assert.Contains(t, body, "signed in as ann")
}
