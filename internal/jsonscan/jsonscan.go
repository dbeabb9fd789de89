// Package jsonscan checks JSON against its grammar (RFC 8259) and finds where values end, in one pass. It accepts what
// encoding/json's Valid accepts.
//
// Each function begins at b[i] and returns the index behind what it has read. ok is false for malformed JSON.
package jsonscan

import (
	"encoding/binary"
	"math/bits"
)

// MaxDepth is how deep encoding/json lets values be nested. It does not read what is deeper.
const MaxDepth = 10_000

// Peek returns b[i], or 0, which begins nothing in JSON, at the end of b.
func Peek(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}

// Space skips white space.
func Space(b []byte, i int) int {
	for c := Peek(b, i); c == ' ' || c == '\n' || c == '\t' || c == '\r'; c = Peek(b, i) {
		i++
	}
	return i
}

// Value reads a value that is inside depth others.
func Value(b []byte, i, depth int) (next int, ok bool) {
	switch Peek(b, i) {
	case '"':
		return String(b, i)
	case '{':
		return list(b, i, depth, '}')
	case '[':
		return list(b, i, depth, ']')
	case 't':
		return word(b, i, "true")
	case 'f':
		return word(b, i, "false")
	case 'n':
		return word(b, i, "null")
	}
	return number(b, i)
}

// list reads an object or an array.
func list(b []byte, i, depth int, end byte) (next int, ok bool) {
	if depth++; depth > MaxDepth {
		return i, false
	}
	if i = Space(b, i+1); Peek(b, i) == end {
		return i + 1, true
	}
	for {
		if end == '}' {
			if i, ok = String(b, i); !ok {
				return i, false
			}
			if i, ok = Colon(b, i); !ok {
				return i, false
			}
		}
		if i, ok = Value(b, i, depth); !ok {
			return i, false
		}
		switch i = Space(b, i); Peek(b, i) {
		case ',':
			i = Space(b, i+1)
		case end:
			return i + 1, true
		default:
			return i, false
		}
	}
}

// Colon reads the colon between a key and its value, and the white space around it.
func Colon(b []byte, i int) (next int, ok bool) {
	i = Space(b, i)
	return Space(b, i+1), Peek(b, i) == ':'
}

func word(b []byte, i int, text string) (next int, ok bool) {
	next = i + len(text)
	return next, next <= len(b) && string(b[i:next]) == text
}

func number(b []byte, i int) (next int, ok bool) {
	if Peek(b, i) == '-' {
		i++
	}
	if Peek(b, i) == '0' {
		i++
	} else if i, ok = digits(b, i); !ok {
		return i, false
	}
	if Peek(b, i) == '.' {
		if i, ok = digits(b, i+1); !ok {
			return i, false
		}
	}
	if c := Peek(b, i); c == 'e' || c == 'E' {
		i++
		if c := Peek(b, i); c == '+' || c == '-' {
			i++
		}
		return digits(b, i)
	}
	return i, true
}

func digits(b []byte, i int) (next int, ok bool) {
	from := i
	for c := Peek(b, i); c >= '0' && c <= '9'; c = Peek(b, i) {
		i++
	}
	return i, i > from
}

// String reads a string. Like encoding/json, it does not ask for UTF-8.
func String(b []byte, i int) (next int, ok bool) {
	if Peek(b, i) != '"' {
		return i, false
	}
	for i++; ; {
		i = skipPlain(b, i)
		switch Peek(b, i) {
		case '"':
			return i + 1, true
		case '\\':
			if i, ok = escape(b, i+1); !ok {
				return i, false
			}
		default:
			return i, false
		}
	}
}

// skipPlain returns the index of the next quote, backslash or control character. Most of a session is strings, so it
// looks at eight bytes at a time. The subtractions set the high bit of each byte that is too small, and perhaps of
// bytes above it; the lowest one is right.
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

// escape reads what follows a backslash.
func escape(b []byte, i int) (next int, ok bool) {
	switch Peek(b, i) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1, true
	case 'u':
		for range 4 {
			i++
			if !isHex(Peek(b, i)) {
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
