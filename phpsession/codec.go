package phpsession

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/dynasession/dynasession"
)

// PHP is the Codec for session.serialize_handler = php, PHP's default. Keys must not hold a
// "|". A key like "5" is stored, but PHP does not find it as $_SESSION['5']: there that is the int 5, which
// this format cannot hold. The zero value is ready.
type PHP struct{}

// PHPSerialize is the Codec for session.serialize_handler = php_serialize. The zero value is
// ready.
type PHPSerialize struct{}

// PHPBinary is the Codec for session.serialize_handler = php_binary. Keys must be of at most
// 127 bytes. A key like "5" is one that PHP does not find, as with [PHP]. The zero value is ready.
type PHPBinary struct{}

var _, _, _ dynasession.Codec = PHP{}, PHPSerialize{}, PHPBinary{}

// Marshal encodes v as PHP's serialize does. The package's doc says how.
func (PHP) Marshal(v any) ([]byte, error) { return marshal(v, maxDepth) }

// Unmarshal decodes data into what v points to. The package's doc says how.
func (PHP) Unmarshal(data []byte, v any) error { return unmarshal(data, v) }

// Join returns the session's data.
func (PHP) Join(values []dynasession.KeyValue) ([]byte, error) { return formatPHP.join(values) }

// Split returns the values of the session's data. If a key is there twice, the last value counts, at the place of the
// first, as in PHP.
func (PHP) Split(data []byte) ([]dynasession.KeyValue, error) { return formatPHP.split(data) }

// Marshal encodes v as PHP's serialize does. The package's doc says how.
func (PHPSerialize) Marshal(v any) ([]byte, error) { return marshal(v, maxDepth-1) }

// Unmarshal decodes data into what v points to. The package's doc says how.
func (PHPSerialize) Unmarshal(data []byte, v any) error { return unmarshal(data, v) }

// Join returns the session's data. A key like "7" becomes an int, as in PHP.
func (PHPSerialize) Join(values []dynasession.KeyValue) ([]byte, error) {
	return formatSerialize.join(values)
}

// Split returns the values of the session's data. If a key is there twice, the last value counts, at the place of the
// first, as in PHP. Int keys are returned as their digits.
func (PHPSerialize) Split(data []byte) ([]dynasession.KeyValue, error) {
	return formatSerialize.split(data)
}

// Marshal encodes v as PHP's serialize does. The package's doc says how.
func (PHPBinary) Marshal(v any) ([]byte, error) { return marshal(v, maxDepth) }

// Unmarshal decodes data into what v points to. The package's doc says how.
func (PHPBinary) Unmarshal(data []byte, v any) error { return unmarshal(data, v) }

// Join returns the session's data.
func (PHPBinary) Join(values []dynasession.KeyValue) ([]byte, error) {
	return formatBinary.join(values)
}

// Split returns the values of the session's data. If a key is there twice, the last value counts, at the place of the
// first, as in PHP.
func (PHPBinary) Split(data []byte) ([]dynasession.KeyValue, error) { return formatBinary.split(data) }

// format is what sets the three formats apart: how keys are written, and whether the session is a
// value itself, which takes the first number.
type format struct {
	session   int // how many values the session itself is
	readKey   func(l *lexer, pos int) (key string, end int, err error)
	appendKey func(out []byte, key string) ([]byte, error)
}

var (
	formatPHP       = format{readKey: readBarKey, appendKey: appendBarKey}
	formatBinary    = format{readKey: readShortKey, appendKey: appendShortKey}
	formatSerialize = format{session: 1, readKey: readArrayKey, appendKey: appendArrayKey}
)

func readBarKey(l *lexer, pos int) (string, int, error) {
	n := bytes.IndexByte(l.data[pos:], '|')
	if n < 0 {
		return "", 0, expected(len(l.data), `"|" after a key`)
	}
	return string(l.data[pos : pos+n]), pos + n + 1, nil
}

func appendBarKey(out []byte, key string) ([]byte, error) {
	if bytes.IndexByte([]byte(key), '|') >= 0 {
		return nil, fmt.Errorf(`phpsession: the key %q holds a "|", with which PHP stores nothing of the session`, key)
	}
	return append(append(out, key...), '|'), nil
}

// maxShortKey is PHP's PS_BIN_MAX. The byte's top bit once marked undefined variables, and is
// ignored.
const maxShortKey = 127

func readShortKey(l *lexer, pos int) (string, int, error) {
	end := pos + 1 + int(l.data[pos]&maxShortKey)
	if end > len(l.data) {
		return "", 0, expected(len(l.data), "more bytes of a key")
	}
	return string(l.data[pos+1 : end]), end, nil
}

func appendShortKey(out []byte, key string) ([]byte, error) {
	if len(key) > maxShortKey {
		return nil, fmt.Errorf("phpsession: a key of %d bytes: php_binary has at most %d", len(key), maxShortKey)
	}
	return append(append(out, byte(len(key))), key...), nil
}

func readArrayKey(l *lexer, pos int) (string, int, error) {
	t, err := l.key(pos)
	if err != nil {
		return "", 0, err
	}
	if t.kind == 'i' {
		return strconv.FormatInt(parseInt(t.text), 10), t.end, nil
	}
	return string(t.bytes()), t.end, nil
}

func appendArrayKey(out []byte, key string) ([]byte, error) {
	if n, ok := arrayInt(key); ok {
		return appendInt(out, n), nil
	}
	return appendString(out, key), nil
}
