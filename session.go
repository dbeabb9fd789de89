package dynasession

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dynasession/dynasession/internal/protocol"
)

// A Session is the session of one request: keyed values, each encoded when it is set
// and decoded when it is read, and what is known of the session itself. It is made by
// [Load]; the zero value is not usable. It is safe for concurrent use by the goroutines
// of its request.
//
// Changes are kept in memory until the middleware saves them, right before the
// response's first byte, or until [Session.Save].
type Session struct {
	codec Codec
	keys  keyspace
	rules protocol.Rules
	now   func() time.Time
	saver saver // nil: nobody

	mu      sync.Mutex
	id      string           // "" before a new session is saved
	rec     *protocol.Record // as loaded or last saved; nil: there is no item
	ghost   *protocol.Record // the tombstone that the cookie names; nil: none
	born    int64            // of a new session
	vals    values           // as stored, with pend on top
	pend    pending
	saving  pending // the changes of attributes that a save under way has taken
	asked   pending // what this request has asked of Remember and LimitTo, saved or not
	version int     // counts the changes
	empty   int     // the version of which a save has stored nothing, since there was nothing
	unacked *unacked
	ended   bool   // the request is over
	lease   *lease // of the session's lock, while it is held
}

// saver is whoever saves a session.
type saver interface {
	saveNow(context.Context, *Session) error
	orphaned() // a change came after the request's end
}

// flashPrefix begins the keys of flash messages. Each has a key of its own, so that
// parallel requests' messages are all kept.
const flashPrefix = "_flash."

// Get gives the value of key, decoded: a copy, which the session does not share. It
// gives false when there is none, or when it does not decode as a T; [Session.Decode]
// tells which.
func Get[T any](s *Session, key string) (T, bool) {
	var v T
	raw, ok := s.raw(key)
	if !ok || s.codec.Unmarshal(raw, &v) != nil {
		var zero T
		return zero, false
	}
	return v, true
}

// Pop takes the value of key out of the session: a one-time token, say. Of two requests
// that pop the same value at the same time one saves; the other's save fails with
// [ErrConflict] (under [LastWriteWins], both may save). A value that does not decode as a
// T stays where it is.
func Pop[T any](s *Session, key string) (T, bool) {
	var v, zero T
	for {
		raw, version, ok := s.rawAt(key)
		if !ok || s.codec.Unmarshal(raw, &v) != nil {
			return zero, false
		}
		if s.changeAt(version, change{key: key, op: opDrop, popped: true}) {
			return v, true
		}
		v = zero
	}
}

// Update sets key to what f makes of its value, the zero T when there is none: counters,
// carts. The whole value is decoded as a T and encoded again, so T must keep what f leaves alone:
// a struct drops the fields that it lacks, and a map[string]any makes a float64 of every number of
// JSON, which changes integers beyond 2^53. A map[string]json.RawMessage changes nothing. When the save finds that another request has changed the key meanwhile, f runs
// again on the newer value, so that no change is lost. f must therefore be pure: it must
// depend on nothing but old. A value that does not decode as a T fails the save.
func Update[T any](s *Session, key string, f func(old T) T) {
	run := func(old []byte) ([]byte, error) {
		var v T
		if old != nil {
			if err := s.codec.Unmarshal(old, &v); err != nil {
				return nil, err
			}
		}
		return marshal(s.codec, f(v))
	}
	// f runs without the session's mutex: it is the caller's code.
	for {
		raw, version, _ := s.rawAt(key)
		value, err := run(raw)
		c := change{key: key, value: value, updates: []update{run}}
		if err != nil {
			c.err = fmt.Errorf("dynasession: updating key %q: %w", key, err)
		}
		if s.changeAt(version, c) {
			return
		}
	}
}

// Flashes takes the flash messages that decode as T out of the session, oldest first,
// and leaves the others. Two requests at the same moment may both get one.
func Flashes[T any](s *Session) []T {
	s.mu.Lock()
	var found []KeyValue
	for _, kv := range s.vals.list {
		if strings.HasPrefix(kv.Key, flashPrefix) {
			found = append(found, kv)
		}
	}
	s.mu.Unlock()
	var out []T
	for _, kv := range found {
		var v T
		if s.codec.Unmarshal(kv.Value, &v) != nil {
			continue
		}
		taken := false
		s.mutate(func() { // of two goroutines that show it one takes it
			if _, taken = s.vals.get(kv.Key); taken {
				s.record(change{key: kv.Key, op: opDrop})
			}
		})
		if taken {
			out = append(out, v)
		}
	}
	return out
}

// Set sets key to v, which is encoded at once: later changes of what v points to do not
// count. A v that does not encode fails the save, unless key is set or deleted again.
// Setting the value that was loaded costs no write by itself. If another request has changed it
// meanwhile, it is set if this one saves anything else, or if the response's header has gone.
func (s *Session) Set(key string, v any) {
	value, err := marshal(s.codec, v)
	c := change{key: key, op: opPut, value: value}
	if err != nil {
		c.err = fmt.Errorf("dynasession: setting key %q: %w", key, err)
	}
	s.change(c)
}

// Decode decodes the value of key into what v points to. It gives [ErrNoKey] when there
// is none, or the codec's error.
func (s *Session) Decode(key string, v any) error {
	raw, ok := s.raw(key)
	if !ok {
		return noKey(key)
	}
	return decode(s.codec, key, raw, v)
}

// marshal gives no nil, which is no value.
func marshal(codec Codec, v any) ([]byte, error) {
	value, err := codec.Marshal(v)
	if value == nil {
		value = []byte{}
	}
	return value, err
}

func noKey(key string) error { return fmt.Errorf("%w: %q", ErrNoKey, key) }

func decode(codec Codec, key string, raw []byte, v any) error {
	if err := codec.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("dynasession: key %q: %w", key, err)
	}
	return nil
}

// Has tells whether key has a value.
func (s *Session) Has(key string) bool {
	_, ok := s.raw(key)
	return ok
}

// Delete takes key out of the session. For a key that was absent when the session was loaded,
// the same holds as for setting the value that was loaded: see Set.
func (s *Session) Delete(key string) { s.change(change{key: key, op: opDrop}) }

// Keys gives the keys that have a value, sorted, without those of flash messages.
func (s *Session) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]string, 0, len(s.vals.list))
	for _, kv := range s.vals.list {
		if !strings.HasPrefix(kv.Key, flashPrefix) {
			keys = append(keys, kv.Key)
		}
	}
	slices.Sort(keys)
	return keys
}

// AddFlash adds a message that [Flashes] shows once, in this request or a later one. It gets
// a key of its own that begins with "_flash.", which Keys leaves out.
func (s *Session) AddFlash(v any) { s.Set(flashPrefix+protocol.NewMark(), v) }

// ID gives the session's id: the secret that the cookie carries. It is "" before a new
// session is saved. To show or log a session, use [Session.Ref].
func (s *Session) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Ref gives a name for the session that opens nothing: safe to show, to log, and to
// compare with [Info].Ref. It is made of a hash of the id, and is "" as long as ID is.
func (s *Session) Ref() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ref()
}

func (s *Session) ref() string {
	if s.id == "" {
		return ""
	}
	return s.keys.ref(s.keys.key(s.id))
}

// IsNew tells whether the session has no item in the table yet.
func (s *Session) IsNew() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec == nil
}

// Created returns the time of creation, exact to the second. SetUser may make it the time of its call.
// It is the zero Time for a session that PHP made.
func (s *Session) Created() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.rules.Newborn(s.born)
	if s.rec != nil {
		a = s.rec.Meta
	}
	return timeOf(s.pend.attrs(s.saving.attrs(a, s.rules.Lifetime), s.rules.Lifetime).Born)
}

// Expires gives the time at which the session ends if nobody uses it from now on: as it
// is stored, or, of a new session and after Remember and LimitTo, as it will be when it is
// saved.
func (s *Session) Expires() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec != nil && !s.pend.lasts() && !s.saving.lasts() {
		return timeOf(s.rec.Expires)
	}
	return timeOf(s.rules.Expiry(s.meta(), s.now().Unix()))
}

// IdleTimeout returns how long the session lasts without use: Config.IdleTimeout, or what Remember was
// given.
func (s *Session) IdleTimeout() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.rules.IdleOf(s.meta())) * time.Second
}

// User gives who is signed in, as told by SetUser; "" for nobody.
func (s *Session) User() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta().User
}

// AuthTime gives the time of the last SetUser, exact to the second, and the zero Time
// when nobody is signed in. A handler for something precious can ask for a fresh sign-in
// by it (OWASP ASVS 5.0, 7.5.1).
func (s *Session) AuthTime() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return timeOf(s.meta().Auth)
}

// meta returns what the item says of the session, with what is pending on top.
func (s *Session) meta() protocol.Meta {
	return s.pend.attrs(s.saving.attrs(s.storedMeta(), s.rules.Lifetime), s.rules.Lifetime)
}

func (s *Session) storedMeta() protocol.Meta {
	if s.rec != nil {
		return s.rules.Stamped(s.rec.Meta, s.now().Unix())
	}
	return s.rules.Newborn(s.born)
}

// SetUser notes that user has signed in, or with "" that nobody is signed in any longer. The session
// gets a new id when it is saved, so that an id from before the sign-in is worth nothing
// (session fixation; OWASP ASVS 5.0, 7.2.4).
//
// When the user changes from one to another, or to nobody, the session begins anew: the values and
// flash messages that it has at the call are deleted, as is the end that an earlier request's LimitTo
// set, and Created is the time of the call. What is set afterwards stays. When nobody was signed in,
// or the same user signs in again, the values stay: a cart, say.
//
// SetUser ends Remember, unless the same request calls Remember too, before or after it. A session
// that was remembered for longer than Lifetime then begins its Lifetime anew.
func (s *Session) SetUser(user string) {
	s.mutate(func() {
		at := epoch(s.now())
		was := s.meta().User
		if s.asked.remember != nil {
			s.pend.remember = s.asked.remember
		} else {
			s.pend.remember = &remembering{at: at, implied: true}
		}
		s.pend.signIn = &signIn{user: user, at: at, anew: s.pend.signIn != nil && s.pend.signIn.anew}
		s.pend.renew = true
		if was != "" && was != user {
			s.pend.dropValues()
			s.vals = values{}
			s.pend.signIn.anew, s.pend.limit = true, s.asked.limit
		}
		s.version++
	})
}

// Renew gives the session a new id when it is saved, and ends the old one. SetUser does
// so by itself; call Renew for other changes of privilege.
func (s *Session) Renew() {
	s.mutate(func() {
		s.pend.renew = true
		s.version++
	})
}

// Remember lets the session last for d from now, used or not, instead of for IdleTimeout
// and Lifetime: "remember me". Its cookie then outlives the browser. A d of 0 or less
// undoes it, and so ends a session that is older than Lifetime, unless SetUser is called too: then
// Lifetime begins anew. LimitTo's end still holds. SetUser in a later request ends it.
func (s *Session) Remember(d time.Duration) {
	s.mutate(func() {
		idle := seconds(max(d, 0))
		if d > 0 {
			idle = max(idle, 1)
		}
		r := &remembering{idle: idle, at: epoch(s.now())}
		r.redundant = !s.pend.remembers() && !s.moves(pending{remember: r})
		s.pend.remember, s.asked.remember = r, r
		s.version++
	})
}

// LimitTo ends the session at t at the latest: when an identity provider's token ends,
// say (OWASP ASVS 5.0, 7.6.1). It never moves the end to later, and Remember does not pass
// it. A t that has passed ends the session at the save. The zero Time is no limit.
func (s *Session) LimitTo(t time.Time) {
	if t.IsZero() {
		return
	}
	s.mutate(func() {
		end := epoch(t)
		s.asked.limit = earlier(s.asked.limit, end)
		if s.ghost == nil && end > s.now().Unix() && !s.moves(pending{limit: end}) {
			return // others only lower it
		}
		s.pend.limit = earlier(s.pend.limit, end)
		s.version++
	})
}

// moves tells whether p changes how long the session lasts.
func (s *Session) moves(p pending) bool {
	now := s.meta()
	return p.attrs(now, s.rules.Lifetime) != now
}

// Destroy ends the session. When it is saved its item is deleted and its cookie cleared,
// and no request that is still running brings it back. If another request has renewed the session
// meanwhile, what it has become is deleted. A value that is set afterwards starts a new session,
// under a new id.
func (s *Session) Destroy() {
	s.mutate(func() {
		s.pend = s.pend.then(pending{destroy: true, destroyed: cmp.Or(s.rec, s.ghost)})
		s.rec, s.ghost, s.id, s.vals, s.saving, s.asked = nil, nil, "", values{}, pending{}, pending{}
		s.born = s.rules.Birth(epoch(s.now()))
		s.version++
	})
}

// Save stores the changes now, without waiting for the response: for streams and
// websockets. A new cookie goes into the response's header at once, so call it before
// the header is sent if the session may be new or renewed; later, such a save is an
// error. It must not run while another goroutine uses that header. Afterwards the Session
// shows what is stored, with what other requests have changed. Save also gives up the
// session's lock ([Lock]); later changes are merged.
//
// The deadline of ctx counts, beside Config.Timeout; its cancellation does not, since a
// client that goes away must not cost a change. The errors are [ErrGone], [ErrConflict],
// [ErrLockLost], [ErrTooLarge], [ErrUnavailable], [ErrTable], or of a value that did not
// encode. After an error the changes are kept, and Save may be called again. If the last
// Save of a handler failed and the handler wrote nothing, the middleware answers with the
// error: a handler may just return. An answer of its own to a failed Save goes out only if what is
// still pending can be saved before it.
func (s *Session) Save(ctx context.Context) error {
	if s.saver == nil {
		return nil
	}
	return s.saver.saveNow(ctx, s)
}

// LogValue is the session's Ref.
func (s *Session) LogValue() slog.Value { return slog.StringValue(s.Ref()) }

// String gives the session's Ref.
func (s *Session) String() string { return s.Ref() }

// Format prints the session's Ref for every verb: no verb prints ids or data.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.Ref()) }

func (s *Session) raw(key string) ([]byte, bool) {
	raw, _, ok := s.rawAt(key)
	return raw, ok
}

func (s *Session) rawAt(key string) (raw []byte, version int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, ok = s.vals.get(key)
	return raw, s.version, ok
}

// mutate runs f under the mutex, and tells of changes that come too late for the
// middleware to save.
func (s *Session) mutate(f func()) {
	s.mu.Lock()
	f()
	ended := s.ended
	s.mu.Unlock()
	if ended && s.saver != nil {
		s.saver.orphaned()
	}
}

func (s *Session) change(c change) { s.mutate(func() { s.record(c) }) }

// changeAt does so only if nothing has changed since version.
func (s *Session) changeAt(version int, c change) (done bool) {
	s.mutate(func() {
		if done = s.version == version; done {
			s.record(c)
		}
	})
	return done
}

// record notes c, whose value for updates is what they made of the present one, and
// shows it.
func (s *Session) record(c change) {
	old, found := s.vals.get(c.key)
	prev := s.pend.find(c.key)
	if c.op == opKeep && prev != nil && prev.op != opKeep && prev.err == nil {
		c.op, c.updates = opPut, nil // what is stored counts no more: f need not run again
	}
	same := c.op != opDrop && found && bytes.Equal(old, c.value) || c.op == opDrop && !found
	c.redundant = same && c.err == nil
	switch {
	case prev == nil && found:
		c.loaded = old
	case prev != nil && c.redundant && prev.err == nil && prev.op != opKeep:
		return
	}
	value, err := c.value, c.err
	if c.op == opKeep {
		c.value = nil
	}
	s.version++
	s.pend.add(c)
	switch {
	case err != nil: // the old value shows until the save fails
	case c.op == opDrop:
		s.vals.delete(c.key)
	default:
		s.vals.set(c.key, value)
	}
}
