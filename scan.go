package dynasession

import (
	"encoding/binary"
	"math/bits"
)

// maxDepth is how deep encoding/json lets values be nested: it would not read what is deeper.
const maxDepth = 10_000

// The functions here check JSON against its grammar (RFC 8259) and find where values end, in
// one pass. They take what json.Valid takes. Each begins at b[i] and gives the index behind what
// it has read; ok is false for what is malformed.

// peek gives b[i], and 0, with which nothing in JSON begins, at the end.
func peek(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}

func skipSpace(b []byte, i int) int {
	for c := peek(b, i); c == ' ' || c == '\n' || c == '\t' || c == '\r'; c = peek(b, i) {
		i++
	}
	return i
}

// scanValue reads a value within depth others.
func scanValue(b []byte, i, depth int) (next int, ok bool) {
	switch peek(b, i) {
	case '"':
		return scanText(b, i)
	case '{':
		return scanList(b, i, depth, '}')
	case '[':
		return scanList(b, i, depth, ']')
	case 't':
		return scanWord(b, i, "true")
	case 'f':
		return scanWord(b, i, "false")
	case 'n':
		return scanWord(b, i, "null")
	}
	return scanNumber(b, i)
}

// scanList reads an object or an array.
func scanList(b []byte, i, depth int, end byte) (next int, ok bool) {
	if depth++; depth > maxDepth {
		return i, false
	}
	if i = skipSpace(b, i+1); peek(b, i) == end {
		return i + 1, true
	}
	for {
		if end == '}' {
			if i, ok = scanText(b, i); !ok {
				return i, false
			}
			if i, ok = scanColon(b, i); !ok {
				return i, false
			}
		}
		if i, ok = scanValue(b, i, depth); !ok {
			return i, false
		}
		switch i = skipSpace(b, i); peek(b, i) {
		case ',':
			i = skipSpace(b, i+1)
		case end:
			return i + 1, true
		default:
			return i, false
		}
	}
}

// scanColon reads what stands between a key and its value.
func scanColon(b []byte, i int) (next int, ok bool) {
	i = skipSpace(b, i)
	return skipSpace(b, i+1), peek(b, i) == ':'
}

func scanWord(b []byte, i int, word string) (next int, ok bool) {
	next = i + len(word)
	return next, next <= len(b) && string(b[i:next]) == word
}

func scanNumber(b []byte, i int) (next int, ok bool) {
	if peek(b, i) == '-' {
		i++
	}
	if peek(b, i) == '0' {
		i++
	} else if i, ok = scanDigits(b, i); !ok {
		return i, false
	}
	if peek(b, i) == '.' {
		if i, ok = scanDigits(b, i+1); !ok {
			return i, false
		}
	}
	if c := peek(b, i); c == 'e' || c == 'E' {
		i++
		if c := peek(b, i); c == '+' || c == '-' {
			i++
		}
		return scanDigits(b, i)
	}
	return i, true
}

func scanDigits(b []byte, i int) (next int, ok bool) {
	from := i
	for c := peek(b, i); c >= '0' && c <= '9'; c = peek(b, i) {
		i++
	}
	return i, i > from
}

// scanText reads a string. As for encoding/json, its bytes need not be UTF-8.
func scanText(b []byte, i int) (next int, ok bool) {
	if peek(b, i) != '"' {
		return i, false
	}
	for i++; ; {
		i = skipPlain(b, i)
		switch peek(b, i) {
		case '"':
			return i + 1, true
		case '\\':
			if i, ok = scanEscape(b, i+1); !ok {
				return i, false
			}
		default:
			return i, false
		}
	}
}

// skipPlain finds the next quote, backslash or control character. It looks at eight bytes at a
// time, since most of a session is strings: the subtractions borrow from a byte's high bit where
// the byte is too small, and the lowest such byte is told rightly.
func skipPlain(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(b)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, escape := w^'"'*ones, w^'\\'*ones
		if found := ((w-' '*ones)&^w | (quote-ones)&^quote | (escape-ones)&^escape) & highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// scanEscape reads what follows a backslash.
func scanEscape(b []byte, i int) (next int, ok bool) {
	switch peek(b, i) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1, true
	case 'u':
		for range 4 {
			i++
			if !isHex(peek(b, i)) {
				return i, false
			}
		}
		return i + 1, true
	}
	return i, false
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
