// Package dbsc has the parts of Device Bound Session Credentials (https://w3c.github.io/webappsec-dbsc/) that need no session:
// the proofs that a browser signs, the challenges that they answer, and the end of a proof in a cookie.
package dbsc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

const (
	secretSize = 16
	keySize    = 64 // x and y of a point of P-256
	// ChallengeLasts is how long a browser may take to answer a challenge, in seconds. So long, a proof in flight that
	// somebody has copied can be replayed.
	ChallengeLasts = 120
	// clockMargin is how far servers' clocks may be apart, in seconds: one may check what another has made.
	clockMargin = 60
)

// State is what a session keeps of its binding.
type State struct {
	Secret [secretSize]byte
	Key    []byte // the device's public key: x and y; nil before the registration
	Since  int64  // of the registration, in epoch seconds
}

// NewState returns the state of a session that is not bound yet.
func NewState() State {
	var s State
	_, _ = rand.Read(s.Secret[:]) // never fails
	return s
}

// Bytes returns the stored form of s.
func (s *State) Bytes() []byte {
	b := append(make([]byte, 0, secretSize+8+keySize), s.Secret[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Since))
	return append(b, s.Key...)
}

// Parse reads what Bytes has returned.
func Parse(b []byte) (s State, ok bool) {
	if len(b) != secretSize+8 && len(b) != secretSize+8+keySize {
		return s, false
	}
	copy(s.Secret[:], b)
	s.Since = int64(binary.BigEndian.Uint64(b[secretSize:]))
	if len(b) > secretSize+8 {
		s.Key = b[secretSize+8:]
	}
	return s, true
}

func (s *State) mac(purpose string, end int64) string {
	h := hmac.New(sha256.New, s.Secret[:])
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write(strconv.AppendInt(nil, end, 10))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// ID returns the session_identifier, which stays the same when the session gets another id.
func (s *State) ID() string {
	h := hmac.New(sha256.New, s.Secret[:])
	h.Write([]byte("id"))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// The purposes of challenges and cookies. What was made for one is worth nothing for another.
const (
	register = "register"
	refresh  = "refresh"
	cookie   = "cookie"
)

// Challenge returns a challenge for a registration, if s has no key yet, or for a refresh.
func (s *State) Challenge(now int64) string { return s.signed(s.purpose(), now+ChallengeLasts) }

func (s *State) purpose() string {
	if s.Key == nil {
		return register
	}
	return refresh
}

// Cookie returns what the bound cookie ends with: the end of the proof, and its MAC.
func (s *State) Cookie(end int64) string { return s.signed(cookie, end) }

func (s *State) signed(purpose string, end int64) string {
	return strconv.FormatInt(end, 10) + "." + s.mac(purpose, end)
}

// CookieEnd returns the end of a proof that Cookie has returned, or 0 if it is not one of this session.
func (s *State) CookieEnd(text string) int64 { return s.end(cookie, text) }

func (s *State) end(purpose, text string) int64 {
	number, mac, _ := strings.Cut(text, ".")
	end, err := strconv.ParseInt(number, 10, 64)
	if err != nil || end <= 0 || !hmac.Equal([]byte(mac), []byte(s.mac(purpose, end))) {
		return 0
	}
	return end
}

// The errors of Verify.
var (
	ErrProof     = errors.New("the proof is not signed by the session's device")
	ErrChallenge = errors.New("the proof answers no challenge of this session, or an old one")
)

// Verify checks a proof, a JWT, of a browser. It returns the device's key, which is the one in the proof if s has none. The
// algorithm is ES256.
func (s *State) Verify(proof string, now int64) (key []byte, err error) {
	proof = strings.Trim(proof, `"`)
	signed, signature, ok := cutLast(proof)
	if !ok {
		return nil, ErrProof
	}
	headText, bodyText, ok := strings.Cut(signed, ".")
	if !ok {
		return nil, ErrProof
	}
	var head struct {
		Alg string           `json:"alg"`
		Typ string           `json:"typ"`
		JWK *json.RawMessage `json:"jwk"`
	}
	var claims struct {
		JTI string `json:"jti"`
	}
	if !decode(headText, &head) || !decode(bodyText, &claims) || head.Alg != "ES256" || head.Typ != "dbsc+jwt" {
		return nil, ErrProof
	}
	key = s.Key
	if key == nil {
		if head.JWK == nil {
			return nil, ErrProof
		}
		if key = jwk(*head.JWK); key == nil {
			return nil, ErrProof
		}
	}
	if !verified(key, signed, signature) {
		return nil, ErrProof
	}
	if end := s.end(s.purpose(), claims.JTI); end < now || end > now+ChallengeLasts+clockMargin {
		return nil, ErrChallenge
	}
	return key, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// base64url is strict: of each value there is one form, so no byte of a proof can be changed.
var base64url = base64.RawURLEncoding.Strict()

func decode(text string, v any) bool {
	data, err := base64url.DecodeString(text)
	return err == nil && json.Unmarshal(data, v) == nil
}

// jwk returns the key in a JSON Web Key, or nil if it is not a point of P-256.
func jwk(data []byte) []byte {
	var k struct{ Kty, Crv, X, Y string }
	if json.Unmarshal(data, &k) != nil || k.Kty != "EC" || k.Crv != "P-256" {
		return nil
	}
	x, errX := base64url.DecodeString(k.X)
	y, errY := base64url.DecodeString(k.Y)
	if errX != nil || errY != nil || len(x) != keySize/2 || len(y) != keySize/2 {
		return nil
	}
	key := slices.Concat(x, y)
	if publicKey(key) == nil {
		return nil
	}
	return key
}

// publicKey returns the key of x and y, or nil if that is no point of the curve.
func publicKey(key []byte) *ecdsa.PublicKey {
	if len(key) != keySize {
		return nil
	}
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, key...))
	if err != nil {
		return nil
	}
	return k
}

func verified(key []byte, signed, signature string) bool {
	sig, err := base64url.DecodeString(signature)
	k := publicKey(key)
	if err != nil || len(sig) != keySize || k == nil {
		return false
	}
	r, s := new(big.Int).SetBytes(sig[:keySize/2]), new(big.Int).SetBytes(sig[keySize/2:])
	sum := sha256.Sum256([]byte(signed))
	return ecdsa.Verify(k, sum[:], r, s)
}
