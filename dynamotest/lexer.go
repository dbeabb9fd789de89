package dynamotest

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of the service on one expression.
const (
	maxExpression = 4096
	maxOperators  = 300
	maxInOperands = 100
)

type tokenKind int

const (
	tokEOF tokenKind = iota
	tokWord
	tokKeyword // AND, OR, …, in upper case in token.word
	tokName    // #name
	tokValue   // :value
	tokIndex   // digits
	tokSymbol
)

type token struct {
	kind       tokenKind
	text       string
	word       string
	start, end int
}

var keywords = map[string]bool{
	"AND": true, "OR": true, "NOT": true, "BETWEEN": true, "IN": true,
	"SET": true, "REMOVE": true, "ADD": true, "DELETE": true,
}

func lex(s string) []token {
	var toks []token
	for i := 0; i < len(s); {
		c := s[i]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			i++
			continue
		}
		t := token{start: i}
		switch {
		case isLetter(c):
			i = span(s, i+1)
			t.kind = tokWord
			if w := strings.ToUpper(s[t.start:i]); keywords[w] {
				t.kind, t.word = tokKeyword, w
			}
		case (c == '#' || c == ':') && span(s, i+1) > i+1:
			i = span(s, i+1)
			t.kind = tokName
			if c == ':' {
				t.kind = tokValue
			}
		case isDigit(c):
			for i < len(s) && isDigit(s[i]) {
				i++
			}
			t.kind = tokIndex
		default:
			t.kind = tokSymbol
			_, n := utf8.DecodeRuneInString(s[i:])
			i += n
			if c == '<' && i < len(s) && (s[i] == '>' || s[i] == '=') || c == '>' && i < len(s) && s[i] == '=' {
				i++
			}
		}
		t.end = i
		t.text = s[t.start:i]
		toks = append(toks, t)
	}
	return append(toks, token{kind: tokEOF, text: "<EOF>", start: len(s), end: len(s)})
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// span returns the end of the run of letters, digits and underscores that starts at i.
func span(s string, i int) int {
	for i < len(s) && (isLetter(s[i]) || isDigit(s[i]) || s[i] == '_') {
		i++
	}
	return i
}

// placeholders are the names and values of a request, and which of them its expressions used.
type placeholders struct {
	names      map[string]string
	values     map[string]value
	usedNames  map[string]bool
	usedValues map[string]bool
}

func newPlaceholders(names map[string]string, values map[string]value, anyExpression bool, nullExpression string) (*placeholders, *apiError) {
	if !anyExpression {
		if names != nil {
			return nil, invalid("ExpressionAttributeNames can only be specified when using expressions")
		}
		if values != nil {
			return nil, invalid("ExpressionAttributeValues can only be specified when using expressions" + nullExpression)
		}
	}
	if names != nil && len(names) == 0 {
		return nil, invalid("ExpressionAttributeNames must not be empty")
	}
	if values != nil && len(values) == 0 {
		return nil, invalid("ExpressionAttributeValues must not be empty")
	}
	for _, key := range sortedKeys(names) {
		if !isPlaceholder(key, '#') {
			return nil, invalid(fmt.Sprintf("ExpressionAttributeNames contains invalid key: Syntax error; key: %q", key))
		}
		if names[key] == "" {
			return nil, invalid("ExpressionAttributeNames contains invalid value: Empty attribute name for key " + key)
		}
	}
	for _, key := range sortedKeys(values) {
		if !isPlaceholder(key, ':') {
			return nil, invalid(fmt.Sprintf("ExpressionAttributeValues contains invalid key: Syntax error; key: %q", key))
		}
		if bad := values[key].bad; bad != nil {
			return nil, invalid("ExpressionAttributeValues contains invalid value: " + bad.message + " for key " + key)
		}
	}
	return &placeholders{names, values, map[string]bool{}, map[string]bool{}}, nil
}

func isPlaceholder(key string, sigil byte) bool {
	return len(key) > 1 && key[0] == sigil && span(key, 1) == len(key)
}

// unused refuses what no expression mentions, as the service does.
func (p *placeholders) unused() *apiError {
	if left := leftOver(p.names, p.usedNames); left != "" {
		return invalid("Value provided in ExpressionAttributeNames unused in expressions: keys: {" + left + "}")
	}
	if left := leftOver(p.values, p.usedValues); left != "" {
		return invalid("Value provided in ExpressionAttributeValues unused in expressions: keys: {" + left + "}")
	}
	return nil
}

func leftOver[V any](given map[string]V, used map[string]bool) string {
	var left []string
	for _, key := range sortedKeys(given) {
		if !used[key] {
			left = append(left, key)
		}
	}
	return strings.Join(left, ", ")
}
