package dynasession

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// maxDepth is how deep encoding/json lets values be nested: it would not read what is deeper.
const maxDepth = 10_000

// scanner checks JSON against its grammar (RFC 8259) and finds where values end, in one pass.
// It takes what json.Valid takes. Its methods begin at the next byte and stop behind what they
// have read; they give false for what is malformed.
type scanner struct {
	data  []byte
	next  int
	depth int
}

// peek gives the next byte, and 0, with which nothing in JSON begins, at the end.
func (s *scanner) peek() byte {
	if s.next < len(s.data) {
		return s.data[s.next]
	}
	return 0
}

// take passes c if it is what comes next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.next++
	return true
}

func (s *scanner) skipSpace() {
	for ; s.next < len(s.data); s.next++ {
		switch s.data[s.next] {
		case ' ', '\t', '\n', '\r':
		default:
			return
		}
	}
}

func (s *scanner) value() bool {
	switch s.peek() {
	case '"':
		return s.text()
	case '{':
		return s.list('}')
	case '[':
		return s.list(']')
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

// list reads an object or an array.
func (s *scanner) list(end byte) bool {
	if s.depth++; s.depth > maxDepth {
		return false
	}
	s.next++
	s.skipSpace()
	for more := !s.take(end); more; {
		s.skipSpace()
		if end == '}' && (!s.text() || !s.colon()) || !s.value() {
			return false
		}
		s.skipSpace()
		if more = s.take(','); !more && !s.take(end) {
			return false
		}
	}
	s.depth--
	return true
}

func (s *scanner) colon() bool {
	s.skipSpace()
	ok := s.take(':')
	s.skipSpace()
	return ok
}

func (s *scanner) word(w string) bool {
	if len(s.data)-s.next < len(w) || string(s.data[s.next:s.next+len(w)]) != w {
		return false
	}
	s.next += len(w)
	return true
}

func (s *scanner) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return false
	}
	if s.take('.') && !s.digits() {
		return false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	from := s.next
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.next++
	}
	return s.next > from
}

// text reads a string. As for encoding/json, its bytes need not be UTF-8.
func (s *scanner) text() bool {
	if !s.take('"') {
		return false
	}
	for {
		s.next += plainLen(s.data[s.next:])
		switch c := s.peek(); {
		case s.take('"'):
			return true
		case c < ' ' || !s.take('\\') || !s.escape():
			return false
		}
	}
}

// plainLen counts the bytes before the next quote, backslash or control character. It looks at
// eight at a time, since most of a session is strings: the subtractions borrow from a byte's
// high bit where the byte is too small, and the lowest such byte is told rightly.
func plainLen(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		quote, escape := w^'"'*ones, w^'\\'*ones
		if found := ((w-' '*ones)&^w | (quote-ones)&^quote | (escape-ones)&^escape) & highs; found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
	}
	for n < len(b) && b[n] >= ' ' && b[n] != '"' && b[n] != '\\' {
		n++
	}
	return n
}

func (s *scanner) escape() bool {
	switch c := s.peek(); c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.next++
		return true
	case 'u':
		for range 4 {
			s.next++
			if strings.IndexByte("0123456789abcdefABCDEF", s.peek()) < 0 {
				return false
			}
		}
		s.next++
		return true
	}
	return false
}
