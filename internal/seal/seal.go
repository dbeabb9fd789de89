// Package seal makes the stored form of a session's data: compressed, or encrypted and bound to its item.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
)

// The envelope around data that is compressed or encrypted, but never both, is two bytes, magic and form. An encrypted
// body begins with its nonce. Data that is neither is stored without an envelope, so that other programs and the console
// can read it, unless it happens to begin with the magic byte.
const (
	// 0xC1 begins no UTF-8 text, no MessagePack value and no session of PHP's.
	magic = 0xC1

	formPlain     = 0
	formEncrypted = 2
	formDeflated  = 5 // with the dictionary
	formS2        = 8

	headerSize    = 2
	encryptedSize = 12 + 16 // nonce and tag

	// MaxPlain is how large data may be before compression, and so what a hostile item may inflate to. It is what
	// DynamoDB holds without compression.
	MaxPlain = 400 << 10
)

// The errors of Open.
var (
	ErrInflate   = errors.New("does not decompress to a session")
	ErrDecrypt   = errors.New("does not decrypt: wrong key, another session's data, or changed")
	ErrPlain     = errors.New("is not encrypted, and EncryptionKeys are set")
	ErrEncrypted = errors.New("is encrypted, and no EncryptionKeys are set")
	ErrForm      = errors.New("has an unknown form")
)

// A Sealer seals and opens data. The zero Sealer stores it as it is. A Sealer is safe for concurrent use.
type Sealer struct {
	Keys     [][]byte // of AES-256: the first one encrypts, all decrypt
	Compress bool     // has no effect with Keys
	Bare     bool     // other programs write the table and know no envelope: data passes through as it is
}

// Seal returns the stored form of plain, of at most MaxPlain bytes, for an item. rest is the size in bytes of everything
// else in the item: it decides whether compression saves a write unit. The result may be plain itself; it is nil for data
// that need not be stored.
func (s *Sealer) Seal(plain []byte, item string, rest int) ([]byte, error) {
	switch {
	case len(plain) == 0 && len(s.Keys) == 0: // with keys, data that somebody took away must be noticed
		return nil, nil
	case s.Bare:
		return plain, nil
	case len(s.Keys) > 0:
		return s.encrypt(plain, item)
	}
	if s.Compress {
		if sealed := compressed(plain, rest); sealed != nil {
			return sealed, nil
		}
	}
	if plain[0] != magic {
		return plain, nil
	}
	return envelope(formPlain, plain), nil
}

// encrypt returns the stored form of plain, encrypted with the first key. It does not compress: an attacker who sees the
// sizes of items, and can have a value stored beside a secret, would find out the secret by how well both compress
// together (as BREACH does; http://www.breachattack.com).
func (s *Sealer) encrypt(plain []byte, item string) ([]byte, error) {
	aead, err := itemCipher(s.Keys[0], item)
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, headerSize+encryptedSize+len(plain)), magic, formEncrypted)
	nonce := out[headerSize : headerSize+aead.NonceSize()]
	_, _ = rand.Read(nonce) // never fails
	return aead.Seal(out[:headerSize+len(nonce)], nonce, plain, associated(item)), nil
}

// Open returns what Seal was called with. With Keys it refuses data that is not encrypted: otherwise anyone who can write
// the table could put in what the application trusts. The result may alias stored.
func (s *Sealer) Open(stored []byte, item string) ([]byte, error) {
	keyed := len(s.Keys) > 0
	switch {
	case len(stored) == 0 && !keyed:
		return nil, nil
	case s.Bare:
		return stored, nil
	case len(stored) == 0, stored[0] != magic:
		if keyed {
			return nil, ErrPlain
		}
		return stored, nil
	case len(stored) < headerSize:
		return nil, ErrForm
	}
	form, body := stored[1], stored[headerSize:]
	switch encrypted := form == formEncrypted; {
	case encrypted && keyed:
		return s.decrypt(body, item)
	case encrypted:
		return nil, ErrEncrypted
	case form != formPlain && form != formDeflated && form != formS2:
		return nil, ErrForm
	case keyed:
		return nil, ErrPlain
	case form == formS2:
		return unS2(body)
	case form == formDeflated:
		return inflate(body)
	}
	return body, nil
}

func (s *Sealer) decrypt(body []byte, item string) ([]byte, error) {
	for _, key := range s.Keys {
		aead, err := itemCipher(key, item)
		if err != nil {
			return nil, err
		}
		n := aead.NonceSize()
		if len(body) < n {
			return nil, ErrDecrypt
		}
		if plain, err := aead.Open(nil, body[:n], body[n:], associated(item)); err == nil {
			return plain, nil
		}
	}
	return nil, ErrDecrypt
}

// itemCipher derives a key for one item. Random nonces of 96 bits are good for 2^32 messages under one key (NIST SP
// 800-38D, section 8.3). One session never reaches that; a whole table would in a few weeks.
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

// associated binds encrypted bytes to their item and form.
func associated(item string) []byte {
	return append([]byte(item), 0, formEncrypted)
}
