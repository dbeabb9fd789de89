package dbsc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// device signs proofs, as a browser does.
type device struct{ key *ecdsa.PrivateKey }

func newDevice(t testing.TB) device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return device{key}
}

func (d device) public() []byte {
	b, _ := d.key.PublicKey.Bytes()
	return b[1:]
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (d device) jwk() string {
	k := d.public()
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, b64(k[:32]), b64(k[32:]))
}

func (d device) sign(head, claims string) string {
	text := b64([]byte(head)) + "." + b64([]byte(claims))
	sum := sha256.Sum256([]byte(text))
	r, s, _ := ecdsa.Sign(rand.Reader, d.key, sum[:])
	return text + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func (d device) registration(challenge string) string {
	return d.sign(`{"alg":"ES256","typ":"dbsc+jwt","jwk":`+d.jwk()+`}`, `{"jti":"`+challenge+`"}`)
}

func (d device) refresh(challenge string) string {
	return d.sign(`{"alg":"ES256","typ":"dbsc+jwt"}`, `{"jti":"`+challenge+`"}`)
}

const now = 1_800_000_000

func TestVerify(t *testing.T) {
	d, other := newDevice(t), newDevice(t)
	st := NewState()
	challenge := st.Challenge(now)
	key, err := st.Verify(d.registration(challenge), now)
	require.NoError(t, err)
	assert.Equal(t, d.public(), key)
	_, err = st.Verify(`"`+d.registration(challenge)+`"`, now)
	require.NoError(t, err, "quoted")
	_, err = st.Verify(d.registration(challenge), now-2)
	require.NoError(t, err, "another server, whose clock is ahead, has made the challenge")
	_, err = st.Verify(d.registration(challenge), now+ChallengeLasts)
	require.NoError(t, err)

	bound := st
	bound.Key = key
	refresh := bound.Challenge(now)
	_, err = bound.Verify(d.refresh(refresh), now)
	require.NoError(t, err)

	another := NewState()
	for name, test := range map[string]struct {
		st    State
		proof string
		now   int64
		want  error
	}{
		"too late":                    {st, d.registration(challenge), now + ChallengeLasts + 1, ErrChallenge},
		"from the future":             {st, d.registration(challenge), now - clockMargin - 1, ErrChallenge},
		"another session's challenge": {st, d.registration(another.Challenge(now)), now, ErrChallenge},
		"a registration's challenge":  {bound, d.refresh(challenge), now, ErrChallenge},
		"a refresh's challenge":       {st, d.registration(refresh), now, ErrChallenge},
		"the cookie as challenge":     {bound, d.refresh(bound.Cookie(now + 60)), now, ErrChallenge},
		"no challenge":                {st, d.registration(""), now, ErrChallenge},
		"another device":              {bound, other.refresh(refresh), now, ErrProof},
		"another device's jwk":        {bound, other.sign(`{"alg":"ES256","typ":"dbsc+jwt","jwk":`+other.jwk()+`}`, `{"jti":"`+refresh+`"}`), now, ErrProof},
		"a jwk that did not sign":     {st, other.sign(`{"alg":"ES256","typ":"dbsc+jwt","jwk":`+d.jwk()+`}`, `{"jti":"`+challenge+`"}`), now, ErrProof},
		"no jwk":                      {st, d.refresh(challenge), now, ErrProof},
		"alg none":                    {st, d.sign(`{"alg":"none","typ":"dbsc+jwt","jwk":`+d.jwk()+`}`, `{"jti":"`+challenge+`"}`), now, ErrProof},
		"alg HS256":                   {st, d.sign(`{"alg":"HS256","typ":"dbsc+jwt","jwk":`+d.jwk()+`}`, `{"jti":"`+challenge+`"}`), now, ErrProof},
		"typ":                         {st, d.sign(`{"alg":"ES256","typ":"JWT","jwk":`+d.jwk()+`}`, `{"jti":"`+challenge+`"}`), now, ErrProof},
		"not on the curve":            {st, d.sign(`{"alg":"ES256","typ":"dbsc+jwt","jwk":{"kty":"EC","crv":"P-256","x":"`+b64(make([]byte, 32))+`","y":"`+b64(make([]byte, 32))+`"}}`, `{"jti":"`+challenge+`"}`), now, ErrProof},
		"another curve":               {st, d.sign(`{"alg":"ES256","typ":"dbsc+jwt","jwk":`+strings.Replace(d.jwk(), "P-256", "P-384", 1)+`}`, `{"jti":"`+challenge+`"}`), now, ErrProof},
		"empty":                       {st, "", now, ErrProof},
		"dots":                        {st, "...", now, ErrProof},
		"no signature":                {st, strings.TrimRight(d.registration(challenge), "."), now - clockMargin - 1, ErrChallenge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.st.Verify(test.proof, test.now)
			require.ErrorIs(t, err, test.want)
		})
	}
}

// TestEveryByte checks that a proof with any byte changed, dropped or added is refused.
func TestEveryByte(t *testing.T) {
	d := newDevice(t)
	st := NewState()
	for name, proof := range map[string]string{"registration": d.registration(st.Challenge(now)), "refresh": ""} {
		st := st
		if name == "refresh" {
			st.Key = d.public()
			proof = d.refresh(st.Challenge(now))
		}
		_, err := st.Verify(proof, now)
		require.NoError(t, err)
		for i := range len(proof) {
			for _, c := range []byte{proof[i] ^ 1, proof[i] ^ 0x20, 'A', '.', '=', ' ', 0} {
				if c == proof[i] {
					continue
				}
				_, err := st.Verify(proof[:i]+string(c)+proof[i+1:], now)
				require.Error(t, err, "%s: byte %d", name, i)
			}
			_, err := st.Verify(proof[:i]+proof[i+1:], now)
			require.Error(t, err, "%s: without byte %d", name, i)
			_, err = st.Verify(proof[:i]+"A"+proof[i:], now)
			require.Error(t, err, "%s: one more at %d", name, i)
		}
		_, err = st.Verify(proof+"A", now)
		require.Error(t, err)
	}
}

// TestChromium checks the signatures of proofs that Chromium has made. Their challenges are another server's.
func TestChromium(t *testing.T) {
	text, err := os.ReadFile("testdata/chromium.json")
	require.NoError(t, err)
	var vectors []struct{ Kind, Challenge, JWT string }
	require.NoError(t, json.Unmarshal(text, &vectors))
	require.Len(t, vectors, 2)
	st := NewState()
	_, err = st.Verify(vectors[0].JWT, now)
	require.ErrorIs(t, err, ErrChallenge, "the signature holds")
	head, _, _ := strings.Cut(vectors[0].JWT, ".")
	var h struct{ JWK json.RawMessage }
	require.True(t, decode(head, &h))
	st.Key = jwk(h.JWK)
	require.NotNil(t, st.Key)
	_, err = st.Verify(vectors[1].JWT, now)
	require.ErrorIs(t, err, ErrChallenge)
	st.Key[0] ^= 1
	_, err = st.Verify(vectors[1].JWT, now)
	require.ErrorIs(t, err, ErrProof)
}

func TestState(t *testing.T) {
	st := NewState()
	st.Since = now
	for _, key := range [][]byte{nil, newDevice(t).public()} {
		st.Key = key
		got, ok := Parse(st.Bytes())
		require.True(t, ok)
		assert.Equal(t, st, got)
	}
	for _, n := range []int{0, 1, 23, 25, 87, 89} {
		_, ok := Parse(make([]byte, n))
		assert.False(t, ok, n)
	}
	id := st.ID()
	st.Key = nil
	assert.Equal(t, id, st.ID())
	other := NewState()
	assert.NotEqual(t, id, other.ID())
}

func TestCookie(t *testing.T) {
	st, other := NewState(), NewState()
	c := st.Cookie(now)
	assert.EqualValues(t, now, st.CookieEnd(c))
	assert.Zero(t, other.CookieEnd(c))
	assert.Zero(t, st.CookieEnd(st.Challenge(now-ChallengeLasts)), "a challenge is no proof")
	for i := range len(c) {
		assert.Zero(t, st.CookieEnd(c[:i]+string(c[i]^1)+c[i+1:]), i)
	}
	for _, text := range []string{"", ".", "1", "-1.x", c + ".", c + "A"} {
		assert.Zero(t, st.CookieEnd(text))
	}
}

// FuzzVerify looks for proofs that nobody has signed.
func FuzzVerify(f *testing.F) {
	d := newDevice(f)
	st := NewState()
	good := d.registration(st.Challenge(now))
	f.Add(good)
	f.Add(d.refresh(st.Challenge(now)))
	f.Add("..")
	f.Fuzz(func(t *testing.T, proof string) {
		if _, err := st.Verify(proof, now); err == nil && strings.Trim(proof, `"`) != good {
			t.Errorf("accepted: %q", proof)
		}
	})
}
