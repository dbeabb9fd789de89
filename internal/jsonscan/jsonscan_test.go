package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// valid reports whether b is one value and nothing else.
func valid(b []byte) bool {
	i, ok := Value(b, Space(b, 0), 0)
	return ok && Space(b, i) == len(b)
}

var texts = []string{
	``, ` `, `null`, `nul`, `nulls`, `true`, `false`, `truefalse`, `"`, `""`, `"a"`, `"\"`, `"\n"`, `"\x"`, `"\u12aF"`, `"\u12a"`, `"\ud800"`,
	"\"\n\"", "\"\x7f\xff\"", `"12345678"`, `"1234567\"9"`, `"1234567"`, "\"1234567\x00\"", `0`, `-0`, `-`, `01`, `1.`, `1.5`, `.5`, `1e`, `1e5`,
	`1E+5`, `1e-`, `1e-05`, `+1`, `[`, `[]`, `[ ]`, `[1`, `[1,]`, `[,]`, `[1,2]`, `[1 2]`, `{`, `{}`, `{ }`, `{"a"}`, `{"a":}`, `{"a":1`, `{"a":1}`,
	` { "a" : [ { } , null ] } `, `{"a":1,}`, `{a:1}`, `{"a":1,"a":2}`, `{1:2}`, `[]]`, `{}{}`, `[}`, "\ufeff{}", "[1]\x00",
}

func TestValue(t *testing.T) {
	for _, text := range texts {
		assert.Equal(t, json.Valid([]byte(text)), valid([]byte(text)), "%q", text)
	}
	for depth, want := range map[int]bool{MaxDepth: true, MaxDepth + 1: false} {
		for _, around := range []string{"[]", "{}"} {
			open, closing := around[:1], around[1:]
			if open == "{" {
				open = `{"":`
			}
			text := strings.Repeat(open, depth-1) + around + strings.Repeat(closing, depth-1)
			assert.Equal(t, want, valid([]byte(text)), "%d of %s", depth, around)
			assert.Equal(t, want, json.Valid([]byte(text)), "%d of %s", depth, around)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if json.Valid(b) != valid(b) {
			t.Errorf("%q: encoding/json says %v", b, json.Valid(b))
		}
	})
}
