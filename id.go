package dynasession

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"io"
	"strings"
)

const (
	// idAlphabet is letters and digits: PHP accepts them in a session id, and a
	// cookie value needs no quoting.
	idAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	// idLen characters of 62 are 256.03 bits. NIST SP 800-63B-4 and OWASP ASVS 5.0
	// 7.2.3 ask for at least 64 and 128.
	idLen = 43

	// PHP's session.sid_length.
	phpIDMin, phpIDMax = 22, 256

	refLen  = 16 // hexadecimal characters: 64 bits
	hashLen = 2 * sha256.Size
)

// newID returns a session id. It cannot fail: without random bytes, crypto/rand ends the program.
func newID() string { return readID(rand.Reader) }

// nextID returns the id that a device-bound session with the given secret gets after id. Whoever knows only one of the two
// cannot find it out.
func nextID(secret []byte, id string) string {
	h := sha3.NewSHAKE256()
	_, _ = h.Write(secret)
	_, _ = h.Write([]byte(id))
	return readID(h)
}

// readID makes an id of random bytes, whose Read cannot fail.
func readID(r io.Reader) string {
	var id [idLen]byte
	var random [64]byte
	for n := 0; n < idLen; {
		_, _ = r.Read(random[:])
		for _, b := range random {
			// 248 is the largest multiple of 62 in a byte: above it, a remainder
			// would favour the alphabet's first letters.
			if b < 248 && n < idLen {
				id[n] = idAlphabet[b%62]
				n++
			}
		}
	}
	return string(id[:])
}

// keyspace turns ids into hash keys, and hash keys into what may be shown of them.
type keyspace struct {
	prefix string
	plain  bool // ids are stored as they are
	php    bool // PHP makes ids, which may look like hashes
}

// newKeyspace trims as PHP's handler does, which cuts underscores off both ends of the joined name and id.
func newKeyspace(cfg *Config) keyspace {
	return keyspace{prefix: strings.TrimLeft(cfg.Name+"_", "_"), plain: cfg.InsecurePlainIDs, php: cfg.ForeignWriters}
}

// valid reports whether id has the form of this store's ids. Any other never reaches DynamoDB. With plain ids, one
// that looks like a hash would open the session of a store of the same name that hashes its ids, to anyone who has
// read the table.
func (k keyspace) valid(id string) bool {
	if k.plain {
		if len(id) < phpIDMin || len(id) > phpIDMax || !k.php && isHash(strings.ToLower(id)) {
			return false
		}
	} else if len(id) != idLen {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case k.plain && (c == ',' || c == '-'):
		default:
			return false
		}
	}
	return true
}

// key returns the hash key of a valid id: its SHA-256, so that a leaked table opens no session, or the id itself.
func (k keyspace) key(id string) string {
	if k.plain {
		return k.prefix + id
	}
	sum := sha256.Sum256(append(make([]byte, 0, idLen), id...)) // a conversion would allocate
	buf := make([]byte, 0, 128)
	buf = append(buf, k.prefix...)
	buf = hex.AppendEncode(buf, sum[:])
	return string(buf)
}

// owns reports whether key is one of this store's, in a table that may hold others'.
func (k keyspace) owns(key string) bool {
	rest, ok := strings.CutPrefix(key, k.prefix)
	if !ok {
		return false
	}
	if k.plain {
		return k.valid(rest)
	}
	return isHash(rest)
}

func isHash(s string) bool { return len(s) == hashLen && onlyIn(s, "0123456789abcdef") }

// ref returns the name under which a session may be shown and logged: the start of the id's SHA-256. It is made from
// the key alone, since an item holds no more.
func (k keyspace) ref(key string) string {
	rest := strings.TrimPrefix(key, k.prefix)
	if !k.plain {
		return rest[:min(refLen, len(rest))]
	}
	sum := sha256.Sum256([]byte(rest))
	return hex.EncodeToString(sum[:refLen/2])
}
