package phpsession

import (
	"bytes"
	"fmt"
	"math"
)

// The reader and writer are our own. github.com/elliotchance/phpserialize v1.4.0, tried first, is right for
// bools, ints and arrays of these, but takes the bytes \x41 in a string for an escape, drops an object's
// class and an array's order, knows no R, r, C, E and S, takes a string that is longer than its
// length, and panics on lengths that are negative or beyond the data.

// maxDepth is how deep PHP reads: its unserialize_max_depth.
const maxDepth = 4096

// A SyntaxError says where session data is malformed, and what was expected there. It holds nothing of the data.
type SyntaxError struct {
	Offset   int // in the data of Split, or in the value of Unmarshal
	Expected string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("phpsession: at offset %d: expected %s", e.Offset, e.Expected)
}

func expected(offset int, what string) error { return &SyntaxError{offset, what} }

// A token is the head of a value: all of it, except what is in the braces of an array or an object.
type token struct {
	kind    byte // as on the wire, but 's' for 'S' too
	escaped bool // of 'S': text has \hh for a byte
	global  bool // of R and r: n is an offset, not a slot's number
	start   int
	end     int    // of the token: after the brace of arrays and objects
	n       int    // the count of pairs; what R and r name
	text    []byte // digits, a string's bytes, a class, an enum's class and case
	body    []byte // C's own encoding
}

func (t *token) nested() bool { return t.kind == 'a' || t.kind == 'O' }

// level reports whether PHP counts t as one of the levels that it reads. An empty array is none.
func (t *token) level() bool { return t.kind == 'O' || t.kind == 'a' && t.n > 0 }

func (t *token) isObject() bool { return t.kind == 'O' || t.kind == 'C' || t.kind == 'E' }

// lexer reads tokens. It accepts any bytes, and never reads past them.
type lexer struct {
	data   []byte
	shared bool // references are written as offsets: R:@12;
}

// at reports whether s follows at pos.
func (l *lexer) at(pos int, s string) bool {
	return len(l.data)-pos >= len(s) && string(l.data[pos:pos+len(s)]) == s
}

// digits reads an unsigned number, which ends at end. The number is saturated. There may be no digits at pos.
func (l *lexer) digits(pos int) (n, end int) {
	for ; pos < len(l.data); pos++ {
		c := l.data[pos] - '0'
		if c > 9 {
			break
		}
		if n > (math.MaxInt-9)/10 {
			n = math.MaxInt
			continue
		}
		n = n*10 + int(c)
	}
	return n, pos
}

// number reads digits, which must be there, and what must follow them.
func (l *lexer) number(pos int, what, after string) (n, end int, err error) {
	n, end = l.digits(pos)
	if end == pos {
		return 0, 0, expected(pos, what)
	}
	if !l.at(end, after) {
		return 0, 0, expected(end, fmt.Sprintf("%q after %s", after, what))
	}
	return n, end + len(after), nil
}

func (l *lexer) next(pos int) (t token, err error) {
	t.start = pos
	if pos >= len(l.data) {
		return t, expected(pos, "a value")
	}
	t.kind = l.data[pos]
	if t.kind == 'N' {
		t.end = pos + 2
		if !l.at(pos+1, ";") {
			return t, expected(pos+1, `";" after N`)
		}
		return t, nil
	}
	if bytes.IndexByte([]byte("bidsSaOCERr"), t.kind) < 0 {
		return t, expected(pos, "a value, which begins with one of N b i d s S a O C E R r")
	}
	if !l.at(pos+1, ":") {
		return t, expected(pos+1, `":" after a value's type`)
	}
	pos += 2
	switch t.kind {
	case 'b':
		err = l.boolean(&t, pos)
	case 'i':
		err = l.scalar(&t, pos, l.integer(pos), "an integer")
	case 'd':
		err = l.scalar(&t, pos, l.float(pos), "a float")
	case 's':
		err = l.str(&t, pos)
	case 'S':
		t.kind, t.escaped = 's', true
		err = l.escaped(&t, pos)
	case 'a':
		t.n, t.end, err = l.number(pos, "a count", ":{")
		if err == nil {
			err = l.fits(&t, pos)
		}
	case 'R', 'r':
		err = l.reference(&t, pos)
	default:
		err = l.object(&t, pos)
	}
	return t, err
}

func (l *lexer) boolean(t *token, pos int) error {
	if !l.at(pos, "0;") && !l.at(pos, "1;") {
		return expected(pos, `"0;" or "1;" of a bool`)
	}
	t.text, t.end = l.data[pos:pos+1], pos+2
	return nil
}

func (l *lexer) scalar(t *token, pos, end int, what string) error {
	if end == pos {
		return expected(pos, what)
	}
	if !l.at(end, ";") {
		return expected(end, `";" after `+what)
	}
	t.text, t.end = l.data[pos:end], end+1
	return nil
}

// integer returns the end of [+-]?[0-9]+ at pos; pos for none.
func (l *lexer) integer(pos int) int {
	first := pos
	if l.at(first, "-") || l.at(first, "+") {
		first++
	}
	if _, end := l.digits(first); end > first {
		return end
	}
	return pos
}

// float returns the end of a float at pos; pos for none.
func (l *lexer) float(pos int) int {
	for _, word := range []string{"NAN", "INF", "-INF"} {
		if l.at(pos, word) {
			return pos + len(word)
		}
	}
	first := pos
	if l.at(first, "-") || l.at(first, "+") {
		first++
	}
	_, end := l.digits(first)
	n := end - first
	if l.at(end, ".") {
		_, fraction := l.digits(end + 1)
		n += fraction - end - 1
		end = fraction
	}
	if n == 0 {
		return pos
	}
	if l.at(end, "e") || l.at(end, "E") {
		if exponent := l.integer(end + 1); exponent > end+1 {
			end = exponent
		}
	}
	return end
}

// quoted reads a length, as many bytes in quotes, and what must follow.
func (l *lexer) quoted(pos int, what, length, after string) (text []byte, end int, err error) {
	n, begin, err := l.number(pos, length, `:"`)
	if err != nil {
		return nil, 0, err
	}
	if n > len(l.data)-begin {
		return nil, 0, expected(pos, fmt.Sprintf("a length of at most %d, which is what is left", len(l.data)-begin))
	}
	end = begin + n
	if !l.at(end, after) {
		return nil, 0, expected(end, fmt.Sprintf("%q after %d bytes of %s", after, n, what))
	}
	return l.data[begin:end:end], end + len(after), nil
}

func (l *lexer) str(t *token, pos int) (err error) {
	t.text, t.end, err = l.quoted(pos, "a string", "the length of a string", `";`)
	return err
}

// escaped reads an S string. Its length is that of the bytes that it stands for.
func (l *lexer) escaped(t *token, pos int) error {
	n, begin, err := l.number(pos, "the length of a string", `:"`)
	if err != nil {
		return err
	}
	if n > len(l.data)-begin {
		return expected(pos, fmt.Sprintf("a length of at most %d, which is what is left", len(l.data)-begin))
	}
	end := begin
	for ; n > 0; n-- {
		switch {
		case end >= len(l.data):
			return expected(end, "more bytes of a string")
		case l.data[end] != '\\':
			end++
		case len(l.data)-end < 3 || unhex(l.data[end+1]) < 0 || unhex(l.data[end+2]) < 0:
			return expected(end+1, "two hexadecimal digits")
		default:
			end += 3
		}
	}
	if !l.at(end, `";`) {
		return expected(end, `"\";" after a string`)
	}
	t.text, t.end = l.data[begin:end:end], end+2
	return nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// bytes returns the bytes of a string.
func (t *token) bytes() []byte {
	if !t.escaped {
		return t.text
	}
	out := make([]byte, 0, len(t.text))
	for i := 0; i < len(t.text); i++ {
		c := t.text[i]
		if c == '\\' {
			c = byte(unhex(t.text[i+1])<<4 | unhex(t.text[i+2]))
			i += 2
		}
		out = append(out, c)
	}
	return out
}

// minPair is the size of the smallest pair: i:0;N;
const minPair = 6

// fits refuses counts that the rest of the data cannot hold, before anybody makes room for them.
func (l *lexer) fits(t *token, pos int) error {
	if limit := (len(l.data) - t.end) / minPair; t.n > limit {
		return expected(pos, fmt.Sprintf("a count of at most %d, for which there is room", limit))
	}
	return nil
}

func (l *lexer) reference(t *token, pos int) (err error) {
	if l.shared && l.at(pos, "@") {
		t.global = true
		pos++
	}
	t.n, t.end, err = l.number(pos, "the number of a value", ";")
	return err
}

func (l *lexer) object(t *token, pos int) (err error) {
	if t.kind == 'E' {
		t.text, t.end, err = l.quoted(pos, "an enum's class and case", "the length of an enum's class and case", `";`)
		if err != nil {
			return err
		}
		if colon := bytes.IndexByte(t.text, ':'); colon < 1 || !isClass(t.text[:colon]) || colon == len(t.text)-1 {
			return expected(pos, "a class, a colon and a case")
		}
		return nil
	}
	t.text, t.end, err = l.quoted(pos, "a class", "the length of a class", `":`)
	if err != nil {
		return err
	}
	if !isObjectClass(t.text) {
		return expected(pos, "a class")
	}
	at := t.end
	t.n, t.end, err = l.number(at, "a count", ":{")
	if err != nil {
		return err
	}
	if t.kind == 'O' {
		return l.fits(t, at)
	}
	if t.n > len(l.data)-t.end {
		return expected(at, fmt.Sprintf("a length of at most %d, which is what is left", len(l.data)-t.end))
	}
	begin := t.end
	t.end += t.n
	if !l.at(t.end, "}") {
		return expected(t.end, fmt.Sprintf(`"}" after %d bytes`, t.n))
	}
	t.body = l.data[begin:t.end:t.end]
	t.end++
	return nil
}

// isObjectClass reports whether PHP accepts name as the class of an object. The class of an enum may also begin with
// a backslash.
func isObjectClass[T string | []byte](name T) bool { return isClass(name) && name[0] != '\\' }

// isClass reports whether PHP accepts name as a class.
func isClass[T string | []byte](name T) bool {
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == '\\', c >= 0x80:
		default:
			return false
		}
	}
	return len(name) > 0
}

// key reads the key of a pair: an integer or a string.
func (l *lexer) key(pos int) (token, error) {
	if pos >= len(l.data) || l.data[pos] != 'i' && l.data[pos] != 's' && l.data[pos] != 'S' {
		return token{}, expected(pos, "a key, which begins with i or s")
	}
	return l.next(pos)
}

// closing reads the brace at the end of an array or object.
func (l *lexer) closing(pos int) (end int, err error) {
	if !l.at(pos, "}") {
		return 0, expected(pos, `"}" after the last pair`)
	}
	return pos + 1, nil
}
