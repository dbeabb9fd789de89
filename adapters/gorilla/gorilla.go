// Package dynagorilla is a store for gorilla/sessions, and so for what is built on it: goth, gin-contrib/sessions,
// echo-contrib. Parallel requests' changes are merged, value by value, and a session that was ended does not come back.
package dynagorilla

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/gorilla/sessions"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/adapterhook"
	"github.com/dynasession/dynasession/internal/gobvalue"
)

// A Store is a sessions.Store. [New] returns one. It is safe for concurrent use.
type Store struct {
	// Options are those of new sessions; they must not be changed while requests run. A MaxAge of 0 leaves the session's
	// end to the dynasession.Config, and its cookie ends with the browser. A larger MaxAge, in seconds, makes a session last
	// for as long after its last Save, as dynasession.Session.Remember does.
	Options sessions.Options

	store *dynasession.Store
	open  sync.Map // weak.Pointer[sessions.Session] to *state
}

var _ sessions.Store = (*Store)(nil)

// state is what is known of a session that New has returned.
type state struct {
	sess   *dynasession.Session
	err    error // of the load
	token  string
	loaded map[string][]byte // the encoded values
}

// New returns a Store. Its cookies have the names that are passed to Get, and Options of the path "/", with Secure, HttpOnly
// and SameSite=Lax.
func New(store *dynasession.Store) *Store {
	return &Store{store: store, Options: sessions.Options{Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}}
}

// Get returns the request's session of that name. It is loaded once. Heed the error: the session is then empty, and cannot be
// saved. [Store.Error] answers.
func (s *Store) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

// New is Get without the registry of the request. Its session is never nil.
func (s *Store) New(r *http.Request, name string) (*sessions.Session, error) {
	g := sessions.NewSession(s, name)
	options := s.Options
	g.Options, g.IsNew = &options, true
	st := &state{loaded: map[string][]byte{}}
	var values []string
	for _, c := range r.CookiesNamed(name) {
		values = append(values, c.Value)
	}
	st.sess, st.err = s.store.Start(r.Context(), values...)
	if st.err == nil {
		st.err = st.decode(g)
		g.IsNew, g.ID, st.token = st.sess.IsNew(), st.sess.Ref(), st.sess.ID()
		context.AfterFunc(r.Context(), func() { _ = st.sess.Close() }) // net/http ends it with the request
	}
	key := weak.Make(g)
	s.open.Store(key, st)
	runtime.AddCleanup(g, func(key weak.Pointer[sessions.Session]) { s.open.Delete(key) }, key)
	return g, st.err
}

// Session returns the dynasession.Session below a session of this store, for SetUser, Renew and so on, which take effect at
// Save. It returns nil for another store's session, and for one that could not be loaded.
func Session(g *sessions.Session) *dynasession.Session {
	if s, ok := g.Store().(*Store); ok {
		if st, ok := s.open.Load(weak.Make(g)); ok {
			return st.(*state).sess
		}
	}
	return nil
}

// Save stores what has changed since Get, and sets the cookie if it is new. With a negative Options.MaxAge it ends the session
// instead. Call it before the response is written; if it fails, answer with [Store.Error].
func (s *Store) Save(r *http.Request, w http.ResponseWriter, g *sessions.Session) error {
	v, ok := s.open.Load(weak.Make(g))
	if !ok {
		return errors.New("dynagorilla: the session is not of this store")
	}
	st := v.(*state)
	if st.err != nil {
		return st.err
	}
	age := time.Duration(g.Options.MaxAge) * time.Second
	refreshed := false
	switch {
	case age < 0:
		st.sess.Destroy()
	default:
		if err := st.encode(g); err != nil {
			return err
		}
		stored := len(g.Values) > 0 || !st.sess.IsNew()
		if refreshed = stored && age > 0 && (st.sess.IdleTimeout() != age || time.Until(st.sess.Expires()) < age-age/10); refreshed {
			st.sess.Remember(age)
		}
	}
	if err := st.sess.Save(r.Context()); err != nil {
		return err
	}
	cookie := st.sess.Cookie()
	switch {
	case cookie != nil:
		st.token = cookie.Value
		http.SetCookie(w, sessions.NewCookie(g.Name(), cookie.Value, g.Options))
	case refreshed, age < 0:
		http.SetCookie(w, sessions.NewCookie(g.Name(), st.token, g.Options))
	}
	g.ID = st.sess.Ref()
	return nil
}

// Error answers a request whose session could not be loaded or saved, with Config.ErrorHandler of the dynasession.Config: by
// default with status 503 and Retry-After if DynamoDB is unavailable, 409 if another request has ended or changed the session,
// and 500 otherwise.
func (s *Store) Error(w http.ResponseWriter, r *http.Request, err error) {
	adapterhook.Answer(s.store, w, r, err)
}

// gobKey begins the stored keys of values whose keys are not strings.
const gobKey = "_gob."

// encode sets and deletes what differs from what was loaded. Types that are not predeclared need gob.Register.
func (st *state) encode(g *sessions.Session) error {
	gone := map[string]bool{}
	for key := range st.loaded {
		gone[key] = true
	}
	for k, v := range g.Values {
		key, ok := k.(string)
		if !ok || strings.HasPrefix(key, gobKey) || strings.HasPrefix(key, "_flash.") { // which Session.Keys leaves out
			raw, err := gobvalue.Marshal(k)
			if err != nil {
				return fmt.Errorf("dynagorilla: a key: %w", err)
			}
			key = gobKey + base64.StdEncoding.EncodeToString(raw)
		}
		delete(gone, key)
		if raw, ok := st.loaded[key]; ok {
			if gobvalue.Holds(raw, v) {
				continue
			}
		}
		raw, err := gobvalue.Marshal(v)
		if err != nil {
			return fmt.Errorf("dynagorilla: %w", err)
		}
		st.sess.Set(key, raw)
		st.loaded[key] = raw
	}
	for key := range gone {
		st.sess.Delete(key)
		delete(st.loaded, key)
	}
	return nil
}

func (st *state) decode(g *sessions.Session) error {
	for _, key := range st.sess.Keys() {
		var raw []byte
		if err := st.sess.Decode(key, &raw); err != nil {
			return err
		}
		v, err := gobvalue.Unmarshal(raw)
		if err != nil {
			return fmt.Errorf("dynagorilla: key %q: %w", key, err)
		}
		k := any(key)
		if text, ok := strings.CutPrefix(key, gobKey); ok {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err == nil {
				k, err = gobvalue.Unmarshal(raw)
			}
			if err != nil {
				return fmt.Errorf("dynagorilla: a key does not decode: %w", err)
			}
		}
		g.Values[k], st.loaded[key] = v, raw
	}
	return nil
}
