package dynasession

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/dynasession/dynasession/internal/protocol"
)

// A Session is the session of one request: values under keys, each encoded when it is set and decoded when it is
// read, and what is known about the session itself. [Load] returns it; the zero value cannot be used. The goroutines
// of its request may use it concurrently. Changes are kept in memory until the middleware saves them, right before
// the first byte of the response, or until [Session.Save].
type Session struct {
	codec Codec
	keys  keyspace
	rules protocol.Rules
	now   func() time.Time
	saver saver
	binds bool   // the store binds sessions to devices
	proof string // of the device, as the cookie carried it
	newID string // the id that it is to get; "" for a random one
	over  bool   // the browser came with the id of a session that is over

	mu       sync.Mutex
	id       string           // "" before a new session is saved
	rec      *protocol.Record // as loaded or last saved; nil: there is no item
	ghost    *protocol.Record // the tombstone that the cookie names; nil: none
	unproven bool             // the browser would get a session by a proof of its device's key
	born     int64            // of a new session
	vals     values           // as stored, with pend on top
	pend     pending
	saving   pending // the changes of attributes that a save under way has taken
	asked    pending // what this request has asked of Remember and LimitTo, saved or not
	version  int     // counts the changes
	empty    int     // the version of which a save has stored nothing, since there was nothing
	unacked  *unacked
	ended    bool   // the request is over
	lease    *lease // of the session's lock, while it is held
}

// saver saves a session: a request of the middleware, or what Start returns.
type saver interface {
	saveNow(context.Context, *Session) error
	orphaned() // a change came after the request's end
	setCookie() *http.Cookie
	setHeaders(http.Header)
	close(*Session) error
}

// Set sets key to v. It encodes v at once, so later changes of what v points to have no effect. If v does not encode,
// the save fails, unless key is set or deleted again.
//
// Setting a key to the value it already has does not cause a write. If the session is written anyway, or the
// response's headers were sent, the value is written too, over what another request may have stored.
func (s *Session) Set(key string, v any) {
	value, err := marshal(s.codec, v)
	c := change{key: key, op: opPut, value: value}
	if err != nil {
		c.err = fmt.Errorf("dynasession: setting key %q: %w", key, err)
	}
	s.change(c)
}

// Decode decodes the value of key into what v points to. It returns [ErrNoKey] if there is no value, or the codec's
// error.
func (s *Session) Decode(key string, v any) error {
	raw, ok := s.raw(key)
	if !ok {
		return noKey(key)
	}
	return decode(s.codec, key, raw, v)
}

// Has reports whether key has a value.
func (s *Session) Has(key string) bool {
	_, ok := s.raw(key)
	return ok
}

// Delete takes key out of the session. Deleting a key that was absent is like setting a key to the value it already
// has: see Set.
func (s *Session) Delete(key string) { s.change(change{key: key, op: opDrop}) }

// Keys returns the keys that have a value, sorted, without those of flash messages.
func (s *Session) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vals.keys()
}

// AddFlash adds a message that [Flashes] returns once, in this request or a later one. Its key begins with "_flash.",
// and Keys leaves it out.
func (s *Session) AddFlash(v any) { s.Set(flashPrefix+protocol.NewMark(), v) }

// ID returns the session's id: the secret that the cookie carries. It is "" until a new session is saved. To show or
// log a session, use [Session.Ref].
func (s *Session) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Ref returns a name of the session that is safe to show, to log, and to compare with [Info].Ref: it opens nothing.
// It is made from a hash of the id, and is "" for as long as ID is.
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

// DeviceBound reports whether the session is bound to the device of its browser, so that a copied cookie opens it for at most
// Config.DeviceBound. Before something precious, a handler can ask for a passkey or the password again if it is false: see
// also AuthTime.
func (s *Session) DeviceBound() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.binds {
		return false
	}
	st, ok := deviceState(s.codec, &s.vals)
	return ok && st.Key != nil
}

// IsNew reports whether the session has no item in the table yet.
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

// Expires returns when the session ends if nobody uses it from now on: the stored time or, for a new session and
// after Remember and LimitTo, the time that the save will store.
func (s *Session) Expires() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec != nil && !s.pend.lasts() && !s.saving.lasts() {
		return timeOf(s.rec.Expires)
	}
	return timeOf(s.rules.Expiry(s.meta(), s.now().Unix()))
}

// Deadline returns when the session ends at the latest, whatever its use: the end of Config.Lifetime, or that of Remember
// or LimitTo, exact to the second.
func (s *Session) Deadline() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return timeOf(s.meta().Until)
}

// Ended reports whether the browser came with the id of a session that is over, so that this one is new: it has expired,
// was signed out or deleted. With it, a page can say "your session has expired" and not greet a first visit so. It is
// false for a cookie that was replaced within the last 30 seconds, and stays as it is for the whole request.
func (s *Session) Ended() bool { return s.over }

// IdleTimeout returns how long the session lasts without use: Config.IdleTimeout, or the duration of Remember.
func (s *Session) IdleTimeout() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.rules.IdleOf(s.meta())) * time.Second
}

// User returns who is signed in, as passed to SetUser, or "" for nobody.
func (s *Session) User() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta().User
}

// AuthTime returns the time of the last SetUser, exact to the second, or the zero Time if nobody is signed in. With
// it, a handler can ask for a fresh sign-in before it does something precious (OWASP ASVS 5.0, 7.5.1).
func (s *Session) AuthTime() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return timeOf(s.meta().Auth)
}

// meta returns what the item says of the session, with the pending changes.
func (s *Session) meta() protocol.Meta {
	return s.pend.attrs(s.saving.attrs(s.storedMeta(), s.rules.Lifetime), s.rules.Lifetime)
}

func (s *Session) storedMeta() protocol.Meta {
	if s.rec != nil {
		return s.rules.Stamped(s.rec.Meta, s.now().Unix())
	}
	return s.rules.Newborn(s.born)
}

// SetUser notes that user has signed in, or, with "", that nobody is signed in any longer. The session gets a new id
// when it is saved, so that an id from before the sign-in is worth nothing (session fixation; OWASP ASVS 5.0, 7.2.4).
//
// If another user, or nobody, was signed in and now another one is, the session begins anew: its values and flash
// messages are deleted, as is the end that LimitTo has set in an earlier request, and Created becomes the time of the
// call. Values that are set after the call stay. If nobody was signed in before, or the same user signs in again, the
// values stay: a cart, for instance.
//
// SetUser ends Remember, unless the same request calls Remember too, before or after it. A session that was
// remembered for longer than Lifetime then begins its Lifetime anew.
func (s *Session) SetUser(user string) {
	s.mutate(func() {
		at := epoch(s.now())
		was := s.meta().User
		if s.asked.remember != nil {
			s.pend.remember = s.asked.remember
		} else {
			s.pend.remember = &remembering{at: at, implied: true}
		}
		s.pend.signIn = &signIn{user: strings.Clone(user), at: at, anew: s.pend.signIn != nil && s.pend.signIn.anew}
		s.pend.renew = true
		if was != "" && was != user {
			s.pend.dropValues()
			s.vals = values{}
			s.pend.signIn.anew, s.pend.limit = true, s.asked.limit
		}
		if s.binds {
			s.unbind(user != "")
		}
		s.version++
	})
}

// Renew gives the session a new id when it is saved, and ends the old one. SetUser does so by itself; call Renew for
// other changes of privilege.
func (s *Session) Renew() {
	s.mutate(func() {
		s.pend.renew = true
		s.version++
	})
}

// Remember makes the session last for d from now, used or not, in place of IdleTimeout and Lifetime: "remember me".
// Its cookie then outlives the browser. A d of 0 or less undoes it, and so ends a session that is older than
// Lifetime, unless SetUser is called too: then Lifetime begins anew. The end of LimitTo still holds. SetUser in a
// later request ends Remember.
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

// LimitTo ends the session at t at the latest: when the token of an identity provider ends, for instance (OWASP ASVS
// 5.0, 7.6.1). It never moves the end to a later time, and Remember does not pass it. A t in the past ends the
// session at the save. The zero Time is no limit.
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

// moves reports whether p changes how long the session lasts.
func (s *Session) moves(p pending) bool {
	now := s.meta()
	return p.attrs(now, s.rules.Lifetime) != now
}

// Destroy ends the session. The save deletes its item and clears its cookie, and no request that is still running
// brings it back. If another request has renewed the session meanwhile, the save deletes the renewed session. If a
// value is set after Destroy, a new session begins, under a new id.
func (s *Session) Destroy() {
	s.mutate(func() {
		s.pend = s.pend.then(pending{destroy: true, destroyed: cmp.Or(s.rec, s.ghost)})
		s.rec, s.ghost, s.id, s.newID, s.vals, s.saving, s.asked = nil, nil, "", "", values{}, pending{}, pending{}
		s.born = s.rules.Birth(epoch(s.now()))
		s.version++
	})
}

// Save stores the changes now and does not wait for the response: streams and websockets must call Save. A new cookie
// is put into the response's header at once, so call Save before the header is sent if the session may be new or
// renewed; later, such a save is an error. It must not run while another goroutine uses that header. After Save, the
// Session shows what is stored, with the changes of other requests. Save also gives up the session's lock ([Lock]);
// later changes are merged.
//
// Save obeys the deadline of ctx, beside Config.Timeout, but not its cancellation: a client that goes away must not
// cost a change. It returns [ErrGone], [ErrConflict], [ErrLockLost], [ErrTooLarge], [ErrUnavailable],
// [ErrCredentials], [ErrTable], or the error of a value that did not encode. After an error the changes are kept, and
// Save may be called again. If the last Save of a handler failed and the handler wrote nothing, the middleware
// answers with the error, so a handler may simply return. A handler's own answer to a failed Save is sent only if
// what is still pending can be saved before it.
//
// The session of [Store.Start] is saved by Save alone. Then put the cookie into the response, with
// [Session.SetHeaders] or [Session.Cookie].
func (s *Session) Save(ctx context.Context) error { return s.saver.saveNow(ctx, s) }

// Cookie returns the cookie that the response must set, for a session of [Store.Start], after Save. It is nil if the
// browser's cookie can stay, before Save, and for a session of [Load], whose middleware sets the cookie itself. After
// Destroy it is a cookie that deletes the browser's. The value is also what an API may hand out as a bearer token: Start
// takes it.
func (s *Session) Cookie() *http.Cookie { return s.saver.setCookie() }

// SetHeaders puts what the response must carry into h, for a session of [Store.Start], after Save: the cookie of Cookie in a
// Set-Cookie line, Cache-Control so that no cache stores it, and, with Config.DeviceBound, the offer to bind
// the session and the cookie that goes with it. It changes nothing where Cookie returns nil.
func (s *Session) SetHeaders(h http.Header) { s.saver.setHeaders(h) }

// Close ends the request of a session of [Store.Start]: it gives up the session's lock ([Lock]), if Save has not. Call
// it when the request is over, also after an error or a panic. It returns an error if there are changes that were never
// saved; they are lost. After Close, the session can still be read, and changed and saved, but a save that needs a new
// cookie is an error. For a session of [Load], Close does nothing.
func (s *Session) Close() error { return s.saver.close(s) }

// LogValue returns the session's Ref.
func (s *Session) LogValue() slog.Value { return slog.StringValue(s.Ref()) }

// String returns the session's Ref.
func (s *Session) String() string { return s.Ref() }

// Format prints the session's Ref for every verb: no verb prints ids or data.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.Ref()) }
