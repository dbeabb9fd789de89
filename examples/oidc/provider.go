package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// provider is an OpenID provider that signs everybody in as "ann". It is for this example, and checks what the example relies on.
type provider struct {
	url    string
	key    *ecdsa.PrivateKey
	signer jose.Signer
	mu     sync.Mutex
	codes  map[string]url.Values // of the authorization requests
	sid    string                // of the session of the one browser that it knows; "" for none
	back   string                // the app's back-channel logout
	to     string                // the app's callback
}

// tokenLasts is how long an ID token lasts.
const tokenLasts = 10 * time.Minute

func startProvider(ctx context.Context, addr string) (*provider, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		return nil, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &provider{url: "http://" + ln.Addr().String(), key: key, signer: signer, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.configuration)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.json(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: string(jose.ES256), Use: "sig"}}})
	})
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /signout", p.signOut)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() { _ = srv.Serve(ln) }()
	return p, nil
}

// register notes the addresses of the only client.
func (p *provider) register(callback, backchannel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to, p.back = callback, backchannel
}

func (*provider) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (p *provider) configuration(w http.ResponseWriter, _ *http.Request) {
	p.json(w, map[string]any{
		"issuer": p.url, "authorization_endpoint": p.url + "/authorize", "token_endpoint": p.url + "/token", "jwks_uri": p.url + "/keys",
		"id_token_signing_alg_values_supported": []string{"ES256"}, "backchannel_logout_supported": true, "backchannel_logout_session_supported": true,
	})
}

// authorize would ask for a password.
func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.Get("redirect_uri") != p.to || q.Get("client_id") != clientID {
		http.Error(w, "unknown client", http.StatusBadRequest)
		return
	}
	if p.sid == "" {
		p.sid = rand.Text()
	}
	code := rand.Text()
	p.codes[code] = q
	http.Redirect(w, r, p.to+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := r.PostFormValue("code")
	q, ok := p.codes[code]
	delete(p.codes, code)
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge") {
		w.WriteHeader(http.StatusBadRequest)
		p.json(w, map[string]string{"error": "invalid_grant"})
		return
	}
	now := time.Now()
	p.json(w, map[string]any{
		"access_token": rand.Text(), "token_type": "Bearer", "expires_in": int(tokenLasts / time.Second),
		"id_token": p.sign(map[string]any{
			"iss": p.url, "aud": clientID, "sub": "ann", "sid": p.sid, "nonce": q.Get("nonce"), "iat": now.Unix(), "exp": now.Add(tokenLasts).Unix(),
		}),
	})
}

func (p *provider) sign(claims map[string]any) string {
	payload, _ := json.Marshal(claims)
	jws, err := p.signer.Sign(payload)
	if err != nil {
		log.Printf("provider: %v", err)
		return ""
	}
	text, _ := jws.CompactSerialize()
	return text
}

// signOut ends the provider's session, and says so to the app.
func (p *provider) signOut(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	sid, back := p.sid, p.back
	p.sid = ""
	p.mu.Unlock()
	if sid != "" {
		token := p.sign(map[string]any{
			"iss": p.url, "aud": clientID, "sub": "ann", "sid": sid, "iat": time.Now().Unix(), "jti": rand.Text(),
			"events": map[string]any{logoutEvent: map[string]any{}},
		})
		req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, back, strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
		if err != nil {
			log.Printf("provider: %v", err)
		}
	}
	_, _ = w.Write([]byte("You are signed out at the provider, and where you had signed in with it."))
}
