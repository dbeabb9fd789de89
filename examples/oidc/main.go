// Oidc signs users in with OpenID Connect. The state, the nonce and the PKCE verifier of a sign-in are in the session; the session
// lasts no longer than the provider's token; the user comes back to the page that asked for the sign-in; and when the provider
// says that a user has signed out there, the session that came from that sign-in ends here too (back-channel logout).
//
// It needs no account anywhere: it runs a provider of its own, and the embedded DynamoDB.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

func main() {
	addr := flag.String("addr", cmp.Or(os.Getenv("ADDR"), "localhost:8080"), "the address to listen on")
	flag.Parse()
	if err := run(*addr); err != nil {
		log.Fatal(err)
	}
}

func run(addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	idp, err := startProvider(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	store, err := dynasession.New(dynamotest.NewServer().Client(), dynasession.Config{
		UserIndex: "by-user",
		Cookie:    dynasession.CookieConfig{Insecure: true}, // browsers drop Secure cookies over plain HTTP; remove this behind TLS
	})
	if err != nil {
		return err
	}
	if err := store.CreateTable(ctx); err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	base := "http://" + ln.Addr().String()
	app, err := newApp(ctx, store, idp.url, base)
	if err != nil {
		return err
	}
	idp.register(base+"/callback", base+"/backchannel-logout")
	fmt.Printf("Listening on %s. The provider is %s.\n", base, idp.url)
	srv := &http.Server{Handler: app.handler(), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

const clientID = "shop"

type app struct {
	store    *dynasession.Store
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
	logout   *oidc.IDTokenVerifier // of logout tokens, which have no expiry
	provider string
}

func newApp(ctx context.Context, store *dynasession.Store, provider, base string) (*app, error) {
	p, err := oidc.NewProvider(ctx, provider)
	if err != nil {
		return nil, err
	}
	return &app{
		store: store, provider: provider,
		oauth: oauth2.Config{
			ClientID: clientID, ClientSecret: "secret", Endpoint: p.Endpoint(), RedirectURL: base + "/callback", Scopes: []string{oidc.ScopeOpenID},
		},
		verifier: p.Verifier(&oidc.Config{ClientID: clientID}),
		logout:   p.Verifier(&oidc.Config{ClientID: clientID, SkipExpiryCheck: true}),
	}, nil
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.page)
	mux.HandleFunc("GET /orders", a.orders)
	mux.HandleFunc("GET /signin", a.signIn)
	mux.HandleFunc("GET /callback", a.callback)
	mux.HandleFunc("POST /signout", a.signOut)
	protected := http.NewCrossOriginProtection().Handler(a.store.Middleware(mux))
	outer := http.NewServeMux()
	outer.Handle("/", protected)
	outer.HandleFunc("POST /backchannel-logout", a.backchannelLogout) // the provider's, not a browser's: no session
	return outer
}

// pending is a sign-in that is under way. The session holds it, so that nobody can finish another's.
type pending struct {
	State, Nonce, Verifier string
	Return                 string // the page that asked for the sign-in
}

// signIn sends the browser to the provider.
func (a *app) signIn(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return // the middleware answers, here and below
	}
	p := pending{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Return: "/"}
	if to := r.FormValue("return"); strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") && !strings.Contains(to, `\`) {
		p.Return = to // a page of this site
	}
	sess.Set("signin."+p.State, p) // a key for each: two tabs may sign in at once
	http.Redirect(w, r, a.oauth.AuthCodeURL(p.State, oidc.Nonce(p.Nonce), oauth2.S256ChallengeOption(p.Verifier)), http.StatusFound)
}

// callback is where the provider sends the browser back to.
func (a *app) callback(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	p, ok := dynasession.Pop[pending](sess, "signin."+r.FormValue("state")) // once
	if !ok {
		http.Error(w, "This sign-in was not begun in this browser, or is over. Please begin again.", http.StatusBadRequest)
		return
	}
	claims, expiry, err := a.exchange(r.Context(), r.FormValue("code"), p)
	if err != nil {
		log.Printf("signing in: %v", err)
		http.Error(w, "The sign-in failed. Please begin again.", http.StatusBadRequest)
		return
	}
	sess.SetUser(claims.Subject) // a new id; the values of another user are dropped
	sess.LimitTo(expiry)
	sess.Set("sid", claims.SID) // the provider's session, for back-channel logout
	http.Redirect(w, r, p.Return, http.StatusSeeOther)
}

// claims are those of an ID token or a logout token.
type claims struct {
	Subject string         `json:"sub"`
	SID     string         `json:"sid"`
	Nonce   string         `json:"nonce"`
	Events  map[string]any `json:"events"`
}

// exchange gets the tokens for code, and returns the claims of the ID token and its expiry.
func (a *app) exchange(ctx context.Context, code string, p pending) (c claims, expiry time.Time, err error) {
	token, err := a.oauth.Exchange(ctx, code, oauth2.VerifierOption(p.Verifier))
	if err != nil {
		return c, expiry, err
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return c, expiry, errors.New("there is no ID token")
	}
	id, err := a.verifier.Verify(ctx, raw)
	if err != nil {
		return c, expiry, err
	}
	if err := id.Claims(&c); err != nil {
		return c, expiry, err
	}
	if c.Nonce != p.Nonce {
		return c, expiry, errors.New("the nonce is another sign-in's")
	}
	return c, id.Expiry, nil
}

// logoutEvent is what a logout token must have (OpenID Connect Back-Channel Logout 1.0, section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// backchannelLogout ends the sessions that came from a session of the provider, or all of the user's.
func (a *app) backchannelLogout(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	token, err := a.logout.Verify(r.Context(), r.PostFormValue("logout_token"))
	var c claims
	if err == nil {
		err = token.Claims(&c)
	}
	_, isLogout := c.Events[logoutEvent]
	if err != nil || !isLogout || c.Nonce != "" || c.Subject == "" || time.Since(token.IssuedAt) > 5*time.Minute {
		log.Printf("back-channel logout: refused: %v", err)
		http.Error(w, "not a logout token", http.StatusBadRequest)
		return
	}
	n, err := a.store.DestroyUser(context.WithoutCancel(r.Context()), c.Subject, func(i dynasession.Info) bool {
		var sid string
		return c.SID != "" && (i.Decode("sid", &sid) != nil || sid != c.SID) // keep those of other sessions of the provider
	})
	if err != nil {
		log.Printf("back-channel logout: %v", err)
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	log.Printf("back-channel logout: %d session(s) ended", n)
}

func (a *app) signOut(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	sess.Destroy()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

var page = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><title>{{.Title}}</title>
<h1>{{.Title}}</h1>
{{if .User}}<p>You are signed in as {{.User}}, until {{.Until}} at the latest.</p>
<p><a href="/orders">Your orders</a></p>
<form method="post" action="/signout"><button>Sign out here</button></form>
<p><a href="{{.Provider}}/signout">Sign out at the provider</a>, and reload this page.</p>
{{else}}<p><a href="/signin?return=/orders">Sign in and see your orders</a></p>{{end}}
</html>
`))

func show(w http.ResponseWriter, title, provider string, sess *dynasession.Session) {
	w.Header().Set("Cache-Control", "no-store")
	err := page.Execute(w, map[string]string{
		"Title": title, "User": sess.User(), "Until": sess.Deadline().Format("15:04:05"), "Provider": provider,
	})
	if err != nil {
		log.Printf("page: %v", err)
	}
}

func (a *app) page(w http.ResponseWriter, r *http.Request) {
	if sess, err := dynasession.Load(r.Context()); err == nil {
		show(w, "A shop", a.provider, sess)
	}
}

// orders needs a sign-in, and is where the user comes back to.
func (a *app) orders(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	if sess.User() == "" {
		http.Redirect(w, r, "/signin?return=/orders", http.StatusSeeOther)
		return
	}
	show(w, "Your orders", a.provider, sess)
}
