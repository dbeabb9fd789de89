package dynasession

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dynasession/dynasession/internal/dbsc"
	"github.com/dynasession/dynasession/internal/protocol"
)

// Device-bound sessions (https://w3c.github.io/webappsec-dbsc/). The response to a sign-in offers the browser to bind the
// session. The browser makes a key in the device's secure hardware, and proves it at the endpoint. From then on the cookie carries
// the end of the last proof, and lives a little less long; when it is gone, the browser proves the key again, before its next
// request. Proofs are minted at the endpoint alone: any other response hands the one on that its request had.

const (
	// deviceKey is the key of a session's dbsc.State. The application cannot see it.
	deviceKey = "_device.bound"
	// devicePath is the endpoint, below Config.Cookie.Path.
	devicePath = "/.session-device"
	// minDeviceBound is what the browsers' quota of proofs allows: 6 in 9 minutes for a site.
	minDeviceBound = 5 * time.Minute
)

var errWrongProof = errors.New("dynasession: a wrong proof of the session's device: its cookie may be stolen")

// noProofError is the error of a load for a browser that has a bound session but could not prove its key. A new session would take
// the place of the bound one's cookie, and the browser would never prove its key again.
type noProofError struct{}

func (noProofError) Error() string {
	return "dynasession: the browser could not prove the key of its device-bound session"
}

func (noProofError) Is(target error) bool { return target == ErrUnavailable }

// skipped reports whether the browser has a bound session, and sends its request without a proof: the endpoint did not answer,
// or the browser has made as many proofs as it makes in so short a time.
func (s *Store) skipped(h http.Header) bool {
	return s.cookie.binds && len(h["Secure-Session-Skipped"]) > 0
}

// deviceState returns the state of a session's binding, and whether it has one that can be read.
func deviceState(codec Codec, vals *values) (st dbsc.State, ok bool) {
	raw, ok := vals.get(deviceKey)
	if !ok {
		return st, false
	}
	var data []byte
	if codec.Unmarshal(raw, &data) != nil {
		return st, false
	}
	return dbsc.Parse(data)
}

// unbind drops the binding, and prepares another one if somebody has signed in. Its caller holds the mutex.
func (s *Session) unbind(signedIn bool) {
	s.proof = ""
	if !signedIn {
		s.record(change{key: deviceKey, op: opDrop})
		return
	}
	s.bind(dbsc.NewState())
}

func (s *Session) bind(st dbsc.State) {
	value, err := marshal(s.codec, st.Bytes())
	s.record(change{key: deviceKey, op: opPut, value: value, err: err})
}

// proven reports whether sess may be loaded with a cookie that carries proof: it is not bound, or was bound a moment ago, so
// that requests without a proof are still on their way, or the proof holds. Otherwise the session is as if expired.
func (s *Store) proven(sess *Session, vals *values, proof string) bool {
	if _, ok := vals.get(deviceKey); !ok {
		return true
	}
	st, ok := deviceState(s.cfg.Codec, vals)
	if !ok {
		return false
	}
	if st.Key == nil {
		return true
	}
	if s.proves(&st, proof) {
		sess.proof = proof
		return true
	}
	return s.now().Unix() < st.Since+seconds(s.cfg.DeviceBound)
}

// proves reports whether proof is one of the session with the state st, and holds.
func (s *Store) proves(st *dbsc.State, proof string) bool {
	end, now := st.CookieEnd(proof), s.now().Unix()
	return end > now && end <= now+seconds(s.cfg.DeviceBound)+protocol.ClockMargin
}

// maxRenewals is how many renewals since the device's last proof its browser may have missed.
const maxRenewals = 64

// boundSession is a session that is bound, or is to be bound.
type boundSession struct {
	id    string
	rec   *protocol.Record
	vals  values
	state dbsc.State
}

// renewedID returns the id that a renews the session under, and whether the device's key goes with it. Then the id follows
// from the one before, so that a browser which has missed it gets it by a proof of the key.
func (s *Store) renewedID(a *attempt) (id string, bound bool) {
	if s.cfg.DeviceBound > 0 && a.signIn == nil {
		if st, ok := deviceState(s.cfg.Codec, &a.vals); ok {
			return nextID(st.Secret[:], a.id), st.Key != nil
		}
	}
	return newID(), false
}

// successor returns what r leads to, if it is a tombstone: the keys on the way, and the last record, which is a tombstone
// only after steps others.
func (s *Store) successor(ctx context.Context, op *operation, r *protocol.Record, steps int) (keys []string, _ *protocol.Record, err error) {
	for err == nil && r != nil && r.Tombstone && len(keys) < steps {
		keys = append(keys, r.Moved)
		r, err = s.getConsistently(ctx, op, r.Moved)
	}
	return keys, r, err
}

// bound returns the bound session of r, which renewals of the one with the id have led to under the keys; nil for none.
func (s *Store) bound(id string, keys []string, r *protocol.Record) (*boundSession, error) {
	if r == nil || r.Tombstone {
		return nil, nil
	}
	vals, err := s.values(r)
	if err != nil {
		return nil, err
	}
	st, ok := deviceState(s.cfg.Codec, &vals)
	if !ok {
		return nil, nil
	}
	for _, key := range keys {
		if id = nextID(st.Secret[:], id); s.keys.key(id) != key { // somebody has signed in since
			return nil, nil
		}
	}
	return &boundSession{id, r, vals, st}, nil
}

// find reads the bound session that had the id at a proof of its device; nil for none.
func (s *Store) find(ctx context.Context, op *operation, id string) (*boundSession, error) {
	r, err := s.getConsistently(ctx, op, op.key)
	if err != nil {
		return nil, err
	}
	keys, r, err := s.successor(ctx, op, r, maxRenewals)
	if err != nil {
		return nil, err
	}
	return s.bound(id, keys, r)
}

// awaitsProof reports whether the browser whose cookie c names the tombstone would get the session by a proof of its key: the
// session was renewed, and the response that had its new id went to somebody else, or is late.
func (s *Store) awaitsProof(ctx context.Context, op *operation, c sessionCookie, tombstone *protocol.Record) (bool, error) {
	if s.cfg.DeviceBound == 0 || c.proof == "" {
		return false, nil
	}
	keys, r, err := s.successor(ctx, op, tombstone, maxSteps)
	if err != nil || r != nil && r.Tombstone { // the endpoint looks further
		return r != nil, err
	}
	b, err := s.bound(c.id, keys, r)
	return b != nil && s.proves(&b.state, c.proof), err
}

// bindCookie makes u the cookie of a bound session, or offers to bind it.
func (s *Store) bindCookie(u *cookieUpdate, c *checkout, res *result) {
	st, ok := deviceState(s.cfg.Codec, &res.vals)
	// Without a state, a sign-out has dropped it: the cookie for the endpoint then names an id from before.
	u.device, u.dropDevice, u.deviceAge = ok, !ok && c.signIn != nil, u.maxAge
	if !ok {
		return
	}
	switch {
	case st.Key == nil && c.signIn != nil && c.signIn.user != "":
		u.offer = fmt.Sprintf(`(ES256);path="%s";challenge="%s"`, s.cookie.devicePath(), st.Challenge(s.now().Unix()))
	case st.Key != nil:
		s.limitCookie(u, &st, c.proof)
	}
}

// limitCookie adds the proof to the cookie of a bound session, and ends the cookie before the proof.
func (s *Store) limitCookie(u *cookieUpdate, st *dbsc.State, proof string) {
	bound := seconds(s.cfg.DeviceBound)
	end := st.CookieEnd(proof)
	if end == 0 { // bound a moment ago, by another request
		proof, end = "", st.Since+bound
	}
	u.proof, u.maxAge = proof, max(1, end-s.now().Unix()-bound/10)
	if u.deviceAge != 0 {
		u.maxAge = min(u.maxAge, u.deviceAge)
	}
}

// devicePath is the path of the endpoint.
func (c *cookieMaker) devicePath() string { return strings.TrimSuffix(c.Path, "/") + devicePath }

// writeDevice puts the cookie for the endpoint into the header. It is sent there alone, also after a navigation from another
// site, when browsers send no cookie with SameSite=Lax.
func (c *cookieMaker) writeDevice(h http.Header, u cookieUpdate) {
	cookie := http.Cookie{
		Name: c.device, Value: u.id, MaxAge: int(min(u.deviceAge, math.MaxInt32)), Path: c.devicePath(),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode,
	}
	switch {
	case u.action == cookieProve:
		return
	case u.action == cookieClear, u.dropDevice:
		cookie.Value, cookie.MaxAge = "", -1
	case !u.device:
		return
	}
	h["Set-Cookie"] = slices.DeleteFunc(h["Set-Cookie"], func(line string) bool { return strings.HasPrefix(line, c.device+"=") })
	h.Add("Set-Cookie", cookie.String())
	if u.offer != "" {
		h.Set("Secure-Session-Registration", u.offer)
	}
}

// isDeviceRequest reports whether r may be one to the endpoint. http.StripPrefix may have shortened the path.
func isDeviceRequest(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, devicePath)
}

// deviceID returns the id that a request to the endpoint is about, or "" if it has no cookie of this store.
func (s *Store) deviceID(r *http.Request) string {
	for _, c := range r.CookiesNamed(s.cookie.device) {
		if s.keys.valid(c.Value) {
			return c.Value
		}
	}
	for _, c := range s.cookie.read(r.Header) {
		return c.id
	}
	return ""
}

// serveDevice answers a request to the endpoint. It reports whether the request is for this store: without DeviceBound, only
// that of a browser which has bound a session before.
func (s *Store) serveDevice(w http.ResponseWriter, r *http.Request) bool {
	id, sid := s.deviceID(r), r.Header.Get("Sec-Secure-Session-Id")
	if id == "" && (sid == "" || !s.cookie.binds) || !s.cookie.binds && sid == "" {
		return false
	}
	w.Header().Set("Cache-Control", "no-store")
	d := device{s, w, r, sid}
	if id == "" { // it was signed out: the cookies are gone
		d.end()
		return true
	}
	if err := d.serve(context.WithoutCancel(r.Context()), id); err != nil {
		s.answerDevice(w, r, err)
	}
	return true
}

// answerDevice answers a request to the endpoint that failed. Browsers end a session for good after a status of 400 to 499.
func (s *Store) answerDevice(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errWrongProof) {
		s.cfg.Logger.WarnContext(r.Context(), err.Error(), "path", r.URL.Path)
		answerError(w, http.StatusBadRequest)
		return
	}
	s.logFailure(r, "binding", http.StatusServiceUnavailable, err)
	w.Header().Set("Retry-After", "1")
	answerError(w, http.StatusServiceUnavailable)
}

// device is a request to the endpoint.
type device struct {
	store *Store
	w     http.ResponseWriter
	r     *http.Request
	sid   string // the session_identifier of a refresh; "" for a registration
}

func (d *device) serve(ctx context.Context, id string) (err error) {
	s, name := d.store, "bind"
	if d.sid != "" {
		name = "refresh"
	}
	ctx, op := s.start(ctx, name, s.keys.key(id))
	defer func() { op.end(err) }()
	b, err := s.find(ctx, op, id)
	if err != nil {
		return err
	}
	if b == nil || d.sid != "" && (b.state.Key == nil || b.state.ID() != d.sid) {
		d.end() // nothing is bound, or another sign-in is
		return nil
	}
	if !s.cookie.binds {
		d.release(b)
		return nil
	}
	proof, now := d.r.Header.Get("Secure-Session-Response"), s.now().Unix()
	if proof == "" && d.sid != "" {
		d.challenge(&b.state, now)
		return nil
	}
	known := b.state.Key
	if d.sid == "" {
		b.state.Key = nil
	}
	key, err := b.state.Verify(proof, now)
	switch {
	case errors.Is(err, dbsc.ErrChallenge) && d.sid != "":
		d.challenge(&b.state, now)
		return nil
	case err != nil, d.sid == "" && known != nil && !bytes.Equal(known, key):
		return errWrongProof // also a second registration, by another key
	}
	b.state.Key = key
	if known == nil {
		if err := s.storeKey(ctx, b); err != nil {
			return err
		}
	}
	d.prove(b)
	return nil
}

// storeKey binds the session to the key in its state.
func (s *Store) storeKey(ctx context.Context, b *boundSession) error {
	sess := s.newSession()
	sess.id, sess.rec, sess.vals = b.id, b.rec, b.vals
	b.state.Since = s.now().Unix()
	sess.mutate(func() { sess.bind(b.state) })
	_, err := s.save(ctx, sess, false)
	b.id, b.rec = sess.id, sess.rec
	return err
}

// end says that the session is over, so that the browser forgets its key.
func (d *device) end() {
	if d.sid == "" {
		answerError(d.w, http.StatusBadRequest)
		return
	}
	d.json(map[string]any{"session_identifier": d.sid, "continue": false})
}

// release ends the binding of a session that goes on without one, since DeviceBound was turned off: with an ordinary cookie.
func (d *device) release(b *boundSession) {
	u := d.store.cookieOf(&checkout{}, &result{rec: b.rec, id: b.id})
	u.dropDevice = true
	d.store.cookie.write(d.w.Header(), u)
	d.end()
}

func (d *device) json(v any) {
	d.w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(d.w).Encode(v)
}

func (d *device) challenge(st *dbsc.State, now int64) {
	d.w.Header().Set("Secure-Session-Challenge", fmt.Sprintf(`"%s";id="%s"`, st.Challenge(now), d.sid))
	answerError(d.w, http.StatusForbidden)
}

// prove sets the cookie with a new proof, and says what is bound.
func (d *device) prove(b *boundSession) {
	s, st := d.store, &b.state
	u := s.cookieOf(&checkout{}, &result{rec: b.rec, id: b.id})
	u.device, u.deviceAge = true, u.maxAge
	s.limitCookie(&u, st, st.Cookie(s.now().Unix()+seconds(s.cfg.DeviceBound)))
	s.cookie.write(d.w.Header(), u)
	c := s.cookie.cookie(u)
	c.Value, c.MaxAge = "", 0
	_, attributes, _ := strings.Cut(c.String(), "; ")
	d.json(map[string]any{
		"session_identifier":         st.ID(),
		"refresh_url":                s.cookie.devicePath(),
		"scope":                      map[string]any{"include_site": false},
		"credentials":                []map[string]string{{"type": "cookie", "name": c.Name, "attributes": attributes}},
		"allowed_refresh_initiators": []string{"*"},
	})
}
