// Package dynascs is a store for scs. Parallel requests' changes are merged, value by value, and a session that was ended
// does not come back.
package dynascs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/alexedwards/scs/v2"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/adapterhook"
	"github.com/dynasession/dynasession/internal/gobvalue"
)

// A Store is an scs.CtxStore, an scs.IterableCtxStore and an scs.Codec. [Use] makes one.
type Store struct {
	store  *dynasession.Store
	last   atomic.Uint64                               // handle
	passed sync.Map                                    // handle to *state, between Find and Decode, and between Encode and Commit
	loaded sync.Map                                    // weak.Pointer[time.Location] to *state: see carrier
	listed atomic.Pointer[map[string]dynasession.Info] // by the tokens of the last AllCtx
}

var (
	_ scs.CtxStore         = (*Store)(nil)
	_ scs.IterableCtxStore = (*Store)(nil)
	_ scs.Codec            = (*Store)(nil)
)

// Use makes m keep its sessions in store: it sets m.Store, m.Codec and m.ErrorFunc. Under store's Config, sessions end as m
// says, not by IdleTimeout and Lifetime.
func Use(m *scs.SessionManager, store *dynasession.Store) *Store {
	s := &Store{store: store}
	m.Store, m.Codec, m.ErrorFunc = s, s, s.Error
	return s
}

// Error is an ErrorFunc. It answers with Config.ErrorHandler of the dynasession.Config: by default with status 503 and
// Retry-After if DynamoDB is unavailable, 409 if another request has ended or changed the session, and 500 otherwise.
func (s *Store) Error(w http.ResponseWriter, r *http.Request, err error) {
	adapterhook.Answer(s.store, w, r, err)
}

// state is what is known of a session that a request has loaded.
type state struct {
	token  string
	sess   *dynasession.Session
	values map[string][]byte // as loaded, encoded
}

// encoded is what scs takes for the encoded session.
type encoded struct {
	Handle   uint64 // of the state; 0 for none
	Deadline time.Time
	Values   map[string][]byte
}

// deadlineKey is where scs's deadline is stored.
const deadlineKey = "_scs.deadline"

// id returns the id of scs's token, which may hold characters that ids do not have: its SHA-256, in base 62.
func id(token string) string {
	sum := sha256.Sum256([]byte(token))
	text := new(big.Int).SetBytes(sum[:]).Text(62)
	return strings.Repeat("0", 43-len(text)) + text
}

// FindCtx loads the session of token.
func (s *Store) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	sess, err := s.store.Start(ctx, id(token))
	if err != nil {
		return nil, false, err
	}
	if sess.IsNew() {
		return nil, false, sess.Close()
	}
	context.AfterFunc(ctx, func() { _ = sess.Close() }) // net/http ends it with the request
	st := &state{token: token, sess: sess, values: map[string][]byte{}}
	e := encoded{Handle: s.pass(st), Values: st.values}
	for _, key := range sess.Keys() {
		var raw []byte
		if err = sess.Decode(key, &raw); key == deadlineKey {
			err = sess.Decode(key, &e.Deadline)
		}
		if err != nil {
			return nil, false, err
		}
		if key != deadlineKey {
			st.values[key] = raw
		}
	}
	b, err := e.encode()
	return b, err == nil, err
}

func (s *Store) pass(st *state) uint64 {
	h := s.last.Add(1)
	s.passed.Store(h, st)
	return h
}

// Decode decodes what FindCtx and AllCtx return.
func (s *Store) Decode(b []byte) (time.Time, map[string]any, error) {
	e, err := decode(b)
	if err != nil {
		return time.Time{}, nil, err
	}
	values := make(map[string]any, len(e.Values))
	for key, raw := range e.Values {
		if values[key], err = gobvalue.Unmarshal(raw); err != nil {
			return time.Time{}, nil, fmt.Errorf("dynascs: key %q: %w", key, err)
		}
	}
	return s.carrier(e), values, nil
}

// carrier returns the deadline of e. Between Decode and Encode, scs keeps nothing of the store's but the deadline and the
// values. So the deadline's location, which is UTC, is one of its own, and tells Encode which session it was.
func (s *Store) carrier(e *encoded) time.Time {
	st, ok := s.passed.LoadAndDelete(e.Handle)
	if !ok {
		return e.Deadline.UTC()
	}
	utc := time.FixedZone("UTC", 0)
	s.loaded.Store(weak.Make(utc), st)
	runtime.AddCleanup(utc, func(key weak.Pointer[time.Location]) { s.loaded.Delete(key) }, weak.Make(utc))
	return e.Deadline.In(utc)
}

// Encode encodes what CommitCtx stores. A type that is not predeclared needs gob.Register.
func (s *Store) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	e := encoded{Deadline: deadline, Values: make(map[string][]byte, len(values))}
	st := &state{}
	if v, ok := s.loaded.Load(weak.Make(deadline.Location())); ok {
		st = v.(*state)
		e.Handle = s.pass(st)
	}
	for key, v := range values {
		if raw, ok := st.values[key]; ok && gobvalue.Holds(raw, v) {
			e.Values[key] = raw
			continue
		}
		raw, err := gobvalue.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("dynascs: key %q: %w", key, err)
		}
		e.Values[key] = raw
	}
	return e.encode()
}

// CommitCtx stores the session of token. It merges what differs from what the request has loaded. It writes nothing if that
// is only the expiry, by less than a tenth of the time that is left.
func (s *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	e, err := decode(b)
	if err != nil {
		return err
	}
	st := &state{}
	if v, ok := s.passed.LoadAndDelete(e.Handle); ok {
		st = v.(*state)
	}
	if st.token != token { // a new session, one under a new token, or a request that has set another deadline
		if st, err = s.begin(ctx, token); err != nil {
			return err
		}
	}
	for key, raw := range e.Values {
		if old, ok := st.values[key]; !ok || !bytes.Equal(old, raw) {
			st.sess.Set(key, raw)
		}
	}
	for key := range st.values {
		if _, ok := e.Values[key]; !ok {
			st.sess.Delete(key)
		}
	}
	var deadline time.Time
	if st.sess.Decode(deadlineKey, &deadline) != nil || !deadline.Equal(e.Deadline) {
		st.sess.Set(deadlineKey, e.Deadline.UTC())
	}
	// Times are stored in seconds: the session ends in the second after expiry.
	left := time.Duration(expiry.Add(time.Second-1).Unix()-time.Now().Unix()) * time.Second
	switch moved := expiry.Sub(st.sess.Expires()); {
	case left <= 0:
		st.sess.Destroy()
	case st.sess.IsNew(), moved <= -time.Second, moved > left/10:
		st.sess.Remember(left)
	}
	if err := st.sess.Save(ctx); err != nil {
		return err
	}
	st.values = e.Values // for another Commit
	return nil
}

// begin returns the session of a token that the request has not loaded: usually there is none.
func (s *Store) begin(ctx context.Context, token string) (*state, error) {
	if strings.HasPrefix(token, listPrefix) {
		return nil, errors.New("dynascs: a session of Iterate cannot be committed")
	}
	b, found, err := s.FindCtx(ctx, token)
	if err != nil {
		return nil, err
	}
	if !found {
		sess := adapterhook.StartAs(s.store, ctx, id(token)).(*dynasession.Session)
		return &state{token: token, sess: sess}, nil
	}
	e, err := decode(b)
	if err != nil {
		return nil, err
	}
	v, _ := s.passed.LoadAndDelete(e.Handle)
	return v.(*state), nil
}

// listPrefix begins the tokens of AllCtx, which cannot know the real ones: the table has hashes.
const listPrefix = "ref."

// AllCtx returns all live sessions. Their tokens work for DeleteCtx, until the next AllCtx, and for nothing else.
func (s *Store) AllCtx(ctx context.Context) (map[string][]byte, error) {
	all, infos := map[string][]byte{}, map[string]dynasession.Info{}
	for i, err := range s.store.All(ctx) {
		if err != nil {
			return nil, err
		}
		e := encoded{Values: map[string][]byte{}}
		for _, key := range i.Keys() {
			var raw []byte
			if err = i.Decode(key, &raw); key == deadlineKey {
				err = i.Decode(key, &e.Deadline)
			}
			if err != nil {
				return nil, err
			}
			if key != deadlineKey {
				e.Values[key] = raw
			}
		}
		token := listPrefix + i.Ref
		if all[token], err = e.encode(); err != nil {
			return nil, err
		}
		infos[token] = i
	}
	s.listed.Store(&infos)
	return all, nil
}

// DeleteCtx ends the session of token. It is no error if there is none.
func (s *Store) DeleteCtx(ctx context.Context, token string) error {
	if infos := s.listed.Load(); infos != nil && strings.HasPrefix(token, listPrefix) {
		if i, ok := (*infos)[token]; ok {
			return s.store.End(ctx, i)
		}
	}
	return s.store.Destroy(ctx, id(token))
}

func (e *encoded) encode() ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(e); err != nil {
		return nil, fmt.Errorf("dynascs: %w", err)
	}
	return b.Bytes(), nil
}

func decode(b []byte) (*encoded, error) {
	e := new(encoded)
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(e); err != nil {
		return nil, fmt.Errorf("dynascs: %w", err)
	}
	return e, nil
}

// Find is FindCtx without a context.
func (s *Store) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit is CommitCtx without a context.
func (s *Store) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

// Delete is DeleteCtx without a context.
func (s *Store) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// All is AllCtx without a context.
func (s *Store) All() (map[string][]byte, error) { return s.AllCtx(context.Background()) }
