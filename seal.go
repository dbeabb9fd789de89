package dynasession

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
)

// The envelope around data that is compressed or encrypted, never both: two bytes, magic and
// flags; then, when encrypted, a nonce; then the body. Data that is neither is
// stored bare, so that other programs and the console can read it, unless it
// happens to begin with the magic byte.
const (
	// 0xC1 begins no UTF-8 text, no MessagePack value and no session of PHP's.
	sealMagic     = 0xC1
	flagDeflated  = 1
	flagEncrypted = 2
	flagPrimed    = 4 // with flagDeflated: by the dictionary
	flagS2        = 8 // likewise by the dictionary

	sealHeader    = 2
	encryptedCost = 12 + 16 // nonce and tag

	// maxPlain bounds what a session may be before compression, and so what a hostile item may
	// inflate to: what DynamoDB holds without compression.
	maxPlain = maxItem
)

var (
	errInflate = errors.New("does not decompress to a session")
	errDecrypt = errors.New("does not decrypt: wrong key, another session's data, or changed")
	errPlain   = errors.New("is not encrypted, and EncryptionKeys are set")
	errSealed  = errors.New("is encrypted, and no EncryptionKeys are set")
	errForm    = errors.New("has an unknown form")
)

// sealer compresses and encrypts stored data, as configured.
type sealer struct {
	keys     [][]byte // AES-256: the first encrypts, all decrypt
	compress bool
	bare     bool // others write the table and know no envelope: bytes go through as they are
}

// seal makes the stored form of plain for the item with that key. rest is the size
// in bytes of everything else in the item: it decides whether compression saves a
// write unit.
func (s *sealer) seal(plain []byte, key string, rest int) ([]byte, error) {
	if size := rest + len(plain); size > maxItem {
		return nil, tooLarge(size, maxItem)
	}
	encrypted := len(s.keys) > 0
	if len(plain) == 0 && !encrypted { // with keys, data that somebody took away must show
		return nil, nil
	}
	if s.bare {
		return plain, nil
	}
	if encrypted {
		return s.encrypt(plain, key)
	}
	body, flags, size := plain, byte(0), len(plain)
	if plain[0] == sealMagic {
		size += sealHeader
	}
	if s.compress {
		room := scratch.Get().(*[]byte)
		defer scratch.Put(room)
		if small, how := compress(room, plain, rest+sealHeader, writeUnits(rest+size), compressions); small != nil {
			body, flags = small, how
		}
	}
	if flags == 0 && plain[0] != sealMagic {
		return plain, nil
	}
	out := make([]byte, 0, sealHeader+len(body))
	out = append(out, sealMagic, flags)
	return append(out, body...), nil
}

// encrypt makes the stored form of plain with the first key. It does not compress: whoever sees the sizes
// of items, and can have a value stored beside a secret, would read the secret by what it compresses to
// (as BREACH does; http://www.breachattack.com).
func (s *sealer) encrypt(plain []byte, key string) ([]byte, error) {
	const flags = flagEncrypted
	out := make([]byte, 0, sealHeader+encryptedCost+len(plain))
	out = append(out, sealMagic, flags)
	aead, err := itemCipher(s.keys[0], key)
	if err != nil {
		return nil, err
	}
	nonce := out[sealHeader : sealHeader+aead.NonceSize()]
	_, _ = rand.Read(nonce)
	out = out[:sealHeader+len(nonce)]
	return aead.Seal(out, nonce, plain, associated(key, flags)), nil
}

// open gives back what seal was given. With keys, bare data does not open:
// otherwise whoever can write the table could put in what the application trusts.
func (s *sealer) open(stored []byte, key string) ([]byte, error) {
	if len(stored) == 0 && len(s.keys) == 0 {
		return nil, nil
	}
	if s.bare {
		return stored, nil
	}
	if len(stored) == 0 || stored[0] != sealMagic {
		if len(s.keys) > 0 {
			return nil, errPlain
		}
		return stored, nil
	}
	if len(stored) < sealHeader || !knownFlags(stored[1]) {
		return nil, errForm
	}
	flags, body := stored[1], stored[sealHeader:]
	switch encrypted := flags&flagEncrypted != 0; {
	case encrypted && len(s.keys) == 0:
		return nil, errSealed
	case !encrypted && len(s.keys) > 0:
		return nil, errPlain
	case encrypted:
		return s.decrypt(body, key, flags)
	}
	switch {
	case flags&flagS2 != 0:
		return unS2(body)
	case flags&flagPrimed != 0:
		return inflate(body, primer)
	case flags&flagDeflated != 0:
		return inflate(body, nil)
	}
	return body, nil
}

// knownFlags tells whether an envelope with them can be opened.
func knownFlags(flags byte) bool {
	switch flags {
	case 0, flagEncrypted, flagDeflated, flagDeflated | flagPrimed, flagS2:
		return true
	}
	return false
}

func (s *sealer) decrypt(body []byte, key string, flags byte) ([]byte, error) {
	for _, k := range s.keys {
		aead, err := itemCipher(k, key)
		if err != nil {
			return nil, err
		}
		n := aead.NonceSize()
		if len(body) < n {
			return nil, errDecrypt
		}
		if plain, err := aead.Open(nil, body[:n], body[n:], associated(key, flags)); err == nil {
			return plain, nil
		}
	}
	return nil, errDecrypt
}

// itemCipher derives a key for one item. Random nonces of 96 bits are good for 2^32
// messages under one key (NIST SP 800-38D, section 8.3): of one session, never
// reached, of a whole table, in a few weeks.
func itemCipher(key []byte, item string) (cipher.AEAD, error) {
	derived, err := hkdf.Expand(sha256.New, key, "dynasession item "+item, len(key))
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// associated binds the sealed bytes to their item and to their flags.
func associated(item string, flags byte) []byte {
	return append([]byte(item), 0, flags)
}

// compression is a way to make data smaller, and the flags that tell how to open it.
type compression struct {
	encode func(room, plain []byte) []byte // in room, if it is large enough
	flags  byte
}

// compressions stand in the order of their time, 1 to 7 to 36 for 1 KB. S2 without the dictionary
// refers only to what it has written itself, and opens with it as well.
var compressions = []compression{
	{s2.Encode, flagS2},
	{s2Words.Encode, flagS2},
	{deflate, flagDeflated | flagPrimed},
}

// compress gives a form of plain that, beside rest bytes of the item, costs fewer than that many
// units to write; nil when there is none. It is in room. More ways are tried while a unit may go:
// that costs much more than any of their time.
func compress(room *[]byte, plain []byte, rest, units int, ways []compression) (small []byte, flags byte) {
	*room = (*room)[:0]
	for _, way := range ways {
		if units <= writeUnits(rest) {
			break
		}
		*room = slices.Grow(*room, s2.MaxEncodedLen(len(plain)))
		body := way.encode((*room)[len(*room):cap(*room)], plain)
		if n := writeUnits(rest + len(body)); n < units && (way.flags != flagS2 || opensTo(body, plain)) {
			small, flags, units = body, way.flags, n
			*room = (*room)[:len(*room)+len(body)] // behind it, the next may be written
		}
	}
	return small, flags
}

var primer = []byte(dictionary)

// s2Words is the dictionary for S2. The number is where a first repetition would refer to, and
// part of the form as much as the words are.
var s2Words = s2.MakeDictManual(primer, 0)

// scratch is room for bytes that nobody keeps.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// opensTo tells whether body opens to plain. The item becomes the only copy, and encoders that
// are as fast as S2's have had bugs: one here costs a try with DEFLATE, and no session.
func opensTo(body, plain []byte) bool {
	room := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	*room = slices.Grow((*room)[:0], len(plain))
	back, err := s2Words.Decode((*room)[:len(plain)], body)
	return err == nil && bytes.Equal(back, plain)
}

func unS2(body []byte) ([]byte, error) {
	// The length comes first in the data, and is what is allocated.
	if n, err := s2.DecodedLen(body); err != nil || n > maxPlain {
		return nil, errInflate
	}
	plain, err := s2Words.Decode(nil, body)
	if err != nil {
		return nil, errInflate
	}
	return plain, nil
}

var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriterDict(nil, flate.DefaultCompression, primer) // fails for unknown levels only
	return w
}}

func deflate(room, plain []byte) []byte {
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	buf := bytes.NewBuffer(room[:0])
	w.Reset(buf)
	_, _ = w.Write(plain) // a Buffer takes everything
	_ = w.Close()
	return buf.Bytes()
}

var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

func inflate(body, dict []byte) ([]byte, error) {
	r := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(body), dict); err != nil {
		return nil, errInflate
	}
	var buf bytes.Buffer
	buf.Grow(min(4*len(body), maxPlain))
	n, err := buf.ReadFrom(io.LimitReader(r, maxPlain+1))
	if err != nil || n > maxPlain {
		return nil, errInflate
	}
	return buf.Bytes(), nil
}
