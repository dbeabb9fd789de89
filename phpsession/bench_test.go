package phpsession_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/phpsession"
)

// repeat repeats part up to size bytes, with its number where it has a verb. It puts head, with the
// number of parts, before it, and tail behind it.
func repeat(size int, head, part, tail string) string {
	numbered := func(s string, n int) string {
		if !strings.Contains(s, "%") {
			return s
		}
		return fmt.Sprintf(s, n)
	}
	var b strings.Builder
	n := 0
	for ; b.Len() < size; n++ {
		b.WriteString(numbered(part, n))
	}
	return numbered(head, n) + b.String() + tail
}

// large are sessions of 1 MB, the first of them an easy one, the others of what takes most work.
func large() []struct{ name, data string } {
	const mb = 1 << 20
	deep := "a:1:{i:0;"
	levels := 4095
	nested := strings.Repeat(deep, levels) + "N;" + strings.Repeat("}", levels)
	in := []struct{ name, data string }{
		{"plain strings", repeat(mb, "k|a:%d:{", `i:%d;s:20:"abcdefghijklmnopqrst";`, "}")},

		{"nulls", repeat(mb, "k|a:%d:{", "i:%d;N;", "}")},
		{"names", repeat(mb, "k|a:%d:{", `s:4:"name";N;`, "}")},
		{"floats", repeat(mb, "k|a:%d:{", "i:%d;d:1.7976931348623157E+308;", "}")},
		{"empty arrays", repeat(mb, "k|a:%d:{", "i:%d;a:0:{}", "}")},
		{"nested", repeat(mb, "", "k%d|"+nested, "")},
		{"escapes", `k|S:349000:"` + strings.Repeat(`\41`, 349000) + `";`},
		{"keys", repeat(mb, "", "k%d|N;", "")},
		{"keys, all the same", repeat(mb, "", "k|N;", "")},

		{"nulls, R", repeat(mb, "k|a:%d:{", "i:%d;N;", "}r|R:1;")},
		{"names, R", repeat(mb, "k|a:%d:{", `s:6:"%06d";N;`, "}r|R:1;")},
		{"empty arrays, R", repeat(mb, "k|a:%d:{", "i:%d;a:0:{}", "}r|R:1;")},
		{"nested, R", repeat(mb, "", "k%d|"+nested, "r|R:1;")},
		{"references", repeat(mb, "o|i:5;k|a:%d:{", "i:%d;R:1;", "}")},
		{"handles", repeat(mb, `o|O:1:"A":0:{}k|a:%d:{`, "i:%d;r:1;", "}")},
		{"references to much", "o|" + repeat(mb/2, "a:%d:{", "i:%d;N;", "}") + repeat(mb/2, "k|a:%d:{", "i:%d;R:1;", "}")},
		{"handles of much", "o|" + repeat(mb/2, `O:1:"A":%d:{`, "i:%d;N;", "}") + repeat(mb/2, "k|a:%d:{", "i:%d;r:1;", "}")},
		{"keys that share", repeat(mb, "o|i:5;", "k%d|R:1;", "")},
		{"pairs of keys that share", pairs(mb)},
		{"keys twice, R", repeat(mb, "", "k|i:5;", "r|R:1;")},
		{"keys twice inside, R", repeat(mb, "k|a:%d:{", "i:0;N;", "}r|R:1;")},
		{"levels from the inside", levelsFromInside(mb)},
		{"references to the array around", repeat(mb, "k|a:%d:{", "i:%d;R:1;", "}")},
		{"handles of the object around", repeat(mb, `k|O:1:"A":%d:{`, "i:%d;r:1;", "}")},
	}
	many := manyReferences(mb)
	for _, name := range slices.Sorted(maps.Keys(many)) {
		in = append(in, struct{ name, data string }{"references to " + name, "k|" + many[name]})
	}
	return in
}

// levelsFromInside is a large array with 4000 levels around it, and references to them, the innermost first: each
// leads to all that the one before led to.
func levelsFromInside(size int) string {
	const levels = 4000
	var b strings.Builder
	fmt.Fprintf(&b, "o|%s%s%sk|a:%d:{", strings.Repeat("a:1:{i:0;", levels), repeat(size, "a:%d:{", "i:%d;N;", "}"), strings.Repeat("}", levels), levels)
	for i := range levels {
		fmt.Fprintf(&b, "i:%d;R:%d;", i, levels-i)
	}
	return b.String() + "}"
}

func pairs(size int) string {
	var b strings.Builder
	for n := 1; b.Len() < size; n++ {
		fmt.Fprintf(&b, "a%d|i:7;b%d|R:%d;", n, n, n)
	}
	return b.String()
}

// largeTargets are what large sessions are decoded into. All of them are trees, or have an error where they do not
// fit, or would be much larger than the data.
var largeTargets = []struct {
	name string
	make func() any
}{
	{"Value", func() any { return new(phpsession.Value) }},
	{"any", func() any { return new(any) }},
	{"struct", func() any { return new(struct{ Name string }) }}, // skips all that there is
	{"slice", func() any { return new([]any) }},
	{"slice of structs", func() any { return new([]map[any]struct{ Name string }) }},
	{"slices of slices", func() any { return new(slicesOf) }},
	{"maps of maps", func() any { return new(mapsOf) }},
}

// As deep as references go.
type (
	slicesOf []slicesOf
	mapsOf   map[any]mapsOf
)

// BenchmarkLarge decodes, splits and joins sessions of 1 MB. None should take longer than 20 times what plain strings
// take to decode as a Value:
//
//	go test -run - -bench Large -benchtime 5x ./phpsession
func BenchmarkLarge(b *testing.B) {
	codec := phpsession.PHP{}
	for _, in := range large() {
		data := []byte(in.data)
		run := func(name string, f func(b *testing.B)) {
			b.Run(name+"/"+in.name, func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					f(b)
				}
			})
		}
		for _, into := range largeTargets {
			run("decode/"+into.name, func(b *testing.B) {
				values, err := codec.Split(data)
				require.NoError(b, err)
				for i := range values {
					err := codec.Unmarshal(values[i].Value, into.make())
					require.True(b, err == nil || into.name != "Value")
				}
			})
		}
		run("split", func(b *testing.B) {
			_, err := codec.Split(data)
			require.NoError(b, err)
		})
		values, err := codec.Split(data)
		require.NoError(b, err)
		join := func(values []dynasession.KeyValue) func(b *testing.B) {
			return func(b *testing.B) {
				_, err := codec.Join(values)
				require.NoError(b, err)
			}
		}
		run("join", join(values))
		if len(values) > 1 { // what was shared with the first key is written anew
			run("join without the first", join(values[1:]))
		}
	}
}

// cakeSession is what CakePHP keeps for a user who is signed in: 3 KB.
func cakeSession() map[string]any {
	permissions := []string{}
	for _, what := range []string{"Articles", "Comments", "Users", "Orders", "Invoices"} {
		for _, verb := range []string{"index", "view", "add", "edit", "delete"} {
			permissions = append(permissions, what+"."+verb)
		}
	}
	lines := []any{}
	for i := range 12 {
		lines = append(lines, map[string]any{
			"product_id": 4100 + i, "name": fmt.Sprintf("Product number %d", i), "price": 12.95 + float64(i), "quantity": i + 1, "gift": i%2 == 0,
		})
	}
	return map[string]any{
		"Config": map[string]any{"userAgent": "0d5a7f3fe0c4d2b6d2a2ac5aa8a3c2b4", "time": 1700000000, "timeout": 10},
		"Auth": map[string]any{"User": map[string]any{
			"id": 4711, "username": "ada", "email": "ada@example.com", "role": "admin", "created": "2016-03-01T10:00:00+00:00",
			"modified": "2023-11-14T22:13:20+00:00", "active": true, "group_id": nil, "permissions": permissions,
		}},
		"Flash":   map[string]any{"flash": []any{map[string]any{"message": "Welcome back", "key": "flash", "element": "Flash/success", "params": []any{}}}},
		"Cart":    map[string]any{"lines": lines, "total": 233.4},
		"counter": 17,
	}
}

// BenchmarkCake loads a session of 3 KB, reads the user, changes one key and stores it, beside the JSON codec with the same
// data. It should take no longer than 3 times as much:
//
//	go test -run - -bench Cake -count 5 ./phpsession
func BenchmarkCake(b *testing.B) {
	for name, codec := range map[string]dynasession.Codec{
		"php": phpsession.PHP{}, "php_serialize": phpsession.PHPSerialize{}, "php_binary": phpsession.PHPBinary{}, "json": dynasession.JSON{},
	} {
		b.Run(name, func(b *testing.B) {
			var values []dynasession.KeyValue
			session := cakeSession()
			for _, key := range slices.Sorted(maps.Keys(session)) {
				value, err := codec.Marshal(session[key])
				require.NoError(b, err)
				values = append(values, dynasession.KeyValue{Key: key, Value: value})
			}
			data, err := codec.Join(values)
			require.NoError(b, err)
			changeKey := func(into func() any) func(b *testing.B) {
				return func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						values, err := codec.Split(data)
						require.NoError(b, err)
						for i := range values {
							switch values[i].Key {
							case "Auth":
								require.NoError(b, codec.Unmarshal(values[i].Value, into()))
							case "counter":
								var n int
								require.NoError(b, codec.Unmarshal(values[i].Value, &n))
								values[i].Value, err = codec.Marshal(n + 1)
								require.NoError(b, err)
							}
						}
						_, err = codec.Join(values)
						require.NoError(b, err)
					}
					b.ReportMetric(float64(len(data)), "bytes")
				}
			}
			b.Run("struct", changeKey(func() any { return new(cakeAuth) }))
			b.Run("any", changeKey(func() any { return new(any) }))
			b.Run("decode everything", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					values, err := codec.Split(data)
					require.NoError(b, err)
					for i := range values {
						var v any
						require.NoError(b, codec.Unmarshal(values[i].Value, &v))
					}
				}
				b.ReportMetric(float64(len(data)), "bytes")
			})
		})
	}
}

type cakeAuth struct {
	User struct {
		ID          int      `json:"id" php:"id"`
		Username    string   `json:"username" php:"username"`
		Email       string   `json:"email" php:"email"`
		Active      bool     `json:"active" php:"active"`
		Permissions []string `json:"permissions" php:"permissions"`
	}
}
