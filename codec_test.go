package dynasession_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

type kv = dynasession.KeyValue

var jsonCodec dynasession.JSON

// oddKeys are keys that need quoting, or look as if they did.
var oddKeys = []string{
	"", " ", "a", "a b", `"`, `\`, `\"`, `\u0041`, "\x00", "\x1f", "\t\r\n", "\u007f", "\u0085", "\u2028\u2029", "<&>", "/",
	"ä", "日本語", "👩‍🚀", "\ufeff", "\ufffd", "\U0010ffff", "null", "true", "1", "{}", "[", ",", ":", "_flash.x", strings.Repeat("k", 5000),
}

// oddValues are encodings that another writer may have made: a codec must not touch them.
var oddValues = []string{
	`null`, `true`, `0`, `-0`, `1.50`, `1e2`, `1E+02`, `123456789012345678901234567890`, `0.1000000000000000055511151231257827`,
	`""`, `"a\/b"`, `"\u0041"`, `"\ud83d\ude80"`, `"\ud800"`, `"<&>"`, `"}"`, `"\\"`, `"\\\""`, `"{[\"]}"`,
	`[]`, `[ ]`, `{}`, "{ }", "[ 1 ,\t2,\n3 ]", `{"a":1,"a":2}`, `{ "b" : { "c" : [ {} , [] ] } }`, `[[[[[[]]]]]]`, "\"\u2028\"",
}

func TestJSONMarshal(t *testing.T) {
	type item struct {
		Name string    `json:"name"`
		At   time.Time `json:"at"`
		None *int      `json:"none,omitempty"`
	}
	for name, tc := range map[string]struct {
		in   any
		want string
	}{
		"nil":        {nil, `null`},
		"text":       {"a", `"a"`},
		"no escapes": {"<a&b>", `"<a&b>"`},
		"newline":    {"a\n", `"a\n"`},
		"bytes":      {[]byte{1, 2}, `"AQI="`},
		"map":        {map[string]int{"b": 1, "a": 2}, `{"a":2,"b":1}`},
		"struct":     {item{Name: "x", At: time.Unix(0, 0).UTC()}, `{"name":"x","at":"1970-01-01T00:00:00Z"}`},
		"raw":        {json.RawMessage(`{"a": 1.50}`), `{"a":1.50}`},
		"U+FFFD":     {"a\ufffd", "\"a\ufffd\""},
		"its escape": {`\ufffd \\ufffd`, `"\\ufffd \\\\ufffd"`},
		"as given":   {json.RawMessage(`"\ufffd"`), `"\ufffd"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := jsonCodec.Marshal(tc.in)
			require.NoError(t, err)
			assert.Equal(t, tc.want, string(got))
		})
	}
	type texts struct {
		Plain string
		Named fmt.Stringer `json:",omitempty"`
		List  []string
		Map   map[string]string
	}
	for _, broken := range []any{
		"a\xff", "\xff\\", `\` + "\xc3", []string{"", "\xf0\x9f"}, map[string]int{"\xff": 1}, map[string]any{"a": []any{"\xff"}},
		texts{Plain: "\xff"}, &texts{List: []string{"\xff"}}, texts{Map: map[string]string{"a": "\xff"}}, json.RawMessage("\"\xff\""),
	} {
		_, err := jsonCodec.Marshal(broken)
		require.ErrorContains(t, err, "use []byte", "%q", broken)
		require.NotContains(t, err.Error(), "\xff")
	}
	a, err := jsonCodec.Marshal("first")
	require.NoError(t, err)
	_, err = jsonCodec.Marshal("other")
	require.NoError(t, err)
	assert.Equal(t, `"first"`, string(a), "what was given is not written again")
}

type secretive struct{ Word string }

func (s secretive) MarshalJSON() ([]byte, error) { return nil, fmt.Errorf("cannot take %s", s.Word) }

func (s *secretive) UnmarshalJSON(data []byte) error { return fmt.Errorf("cannot read %s", data) }

type keyed struct{ X map[bool]int }

// TestJSONErrorsTellNoData: they go into logs.
func TestJSONErrorsTellNoData(t *testing.T) {
	const secret = "hunter2"
	t.Run("Marshal", func(t *testing.T) {
		for name, v := range map[string]any{
			"channel": make(chan int), "function": func() {}, "NaN": math.NaN(), "infinite": math.Inf(1), "complex": 1i,
			"MarshalJSON": secretive{secret}, "pointer": &secretive{secret}, "nested": map[string]any{secret: secretive{secret}},
			"bad number": json.Number(secret), "bad raw": json.RawMessage("{" + secret), "map": keyed{map[bool]int{true: 1}},
		} {
			t.Run(name, func(t *testing.T) {
				data, err := jsonCodec.Marshal(v)
				require.Error(t, err)
				assert.Empty(t, data)
				assert.NotContains(t, err.Error(), secret)
				assert.Contains(t, err.Error(), fmt.Sprintf("%T", v))
				assert.Error(t, errors.Unwrap(err), "the cause stays reachable")
			})
		}
	})
	t.Run("Unmarshal", func(t *testing.T) {
		for name, tc := range map[string]struct {
			data string
			into any
		}{
			"number into string":  {`8675309`, new(string)},
			"text into int":       {`"hunter2"`, new(int)},
			"text into time":      {`"hunter2"`, new(time.Time)},
			"too large":           {`8675309`, new(int8)},
			"fraction":            {`8675309.5`, new(int)},
			"nested":              {`{"X":{"hunter2":8675309}}`, new(struct{ X map[string]string })},
			"map key":             {`{"hunter2":1}`, new(map[int]int)},
			"base64":              {`"hunter2!"`, new([]byte)},
			"UnmarshalJSON":       {`"hunter2"`, new(secretive)},
			"not JSON":            {`hunter2`, new(any)},
			"cut":                 {`{"hunter2":"8675309`, new(any)},
			"nothing":             {``, new(any)},
			"not a pointer":       {`"hunter2"`, "x"},
			"a nil one":           {`"hunter2"`, (*string)(nil)},
			"nothing to decode":   {`"hunter2"`, nil},
			"text into a channel": {`"hunter2"`, new(chan int)},
		} {
			t.Run(name, func(t *testing.T) {
				err := jsonCodec.Unmarshal([]byte(tc.data), tc.into)
				require.Error(t, err)
				assert.NotContains(t, err.Error(), secret)
				assert.NotContains(t, err.Error(), "8675309")
				assert.Contains(t, err.Error(), strings.TrimPrefix(fmt.Sprintf("%T", tc.into), "*"), "what was asked for, not the pointer to it")
			})
		}
	})
	t.Run("Split", func(t *testing.T) {
		for _, data := range []string{`hunter2`, `{"hunter2`, `{"a":hunter2}`, `"hunter2"`, `{"hunter2":1,"hunter2":2}`, "{\"hunter2\xff\":1}"} {
			_, err := jsonCodec.Split([]byte(data))
			require.Error(t, err)
			assert.NotContains(t, err.Error(), secret)
		}
	})
	t.Run("Join", func(t *testing.T) {
		_, err := jsonCodec.Join([]kv{{Key: "a\xff", Value: []byte(`"hunter2"`)}})
		require.Error(t, err)
		assert.NotContains(t, err.Error(), secret)
		assert.NotContains(t, err.Error(), "\xff")
	})
}

func TestJSONJoin(t *testing.T) {
	for name, tc := range map[string]struct {
		in   []kv
		want string
	}{
		"none":  {nil, `{}`},
		"one":   {[]kv{{"a", []byte(`1`)}}, `{"a":1}`},
		"order": {[]kv{{"b", []byte(`1`)}, {"a", []byte(` 2 `)}}, `{"b":1,"a": 2 }`},
		"odd":   {[]kv{{`"`, []byte(`1`)}, {"", []byte(`2`)}, {"\n", []byte(`3`)}}, `{"\"":1,"":2,"\n":3}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := jsonCodec.Join(tc.in)
			require.NoError(t, err)
			assert.Equal(t, tc.want, string(got))
			assert.True(t, json.Valid(got))
		})
	}
	for name, in := range map[string][]kv{
		"no value":        {{"a", []byte("1")}, {"b", nil}},
		"empty value":     {{"a", []byte{}}},
		"key's not UTF-8": {{"\xc3\x28", []byte("1")}},
		"half of a pair":  {{"\xed\xa0\x80", []byte("1")}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jsonCodec.Join(in)
			assert.Error(t, err)
		})
	}
}

func TestJSONSplit(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	for name, tc := range map[string]struct {
		data string
		want []kv
	}{
		"empty":         {`{}`, nil},
		"empty, spaces": {" \t\r\n{ \n } ", nil},
		"spaces":        {"\n{ \"a\"\t:  1.0 ,\r\n \"b\" : { \"x\" : 1 }\n}\n", []kv{{"a", []byte(`1.0`)}, {"b", []byte(`{ "x" : 1 }`)}}},
		"escaped keys":  {`{"\u0061":1,"\"":2,"\\":3,"\ud83d\ude80":4}`, []kv{{"a", []byte(`1`)}, {`"`, []byte(`2`)}, {`\`, []byte(`3`)}, {"🚀", []byte(`4`)}}},
		"braces inside": {`{"a":"}","b":["{",{"]":"\"}"}],"c":"\\"}`, []kv{{"a", []byte(`"}"`)}, {"b", []byte(`["{",{"]":"\"}"}]`)}, {"c", []byte(`"\\"`)}}},
		"twice, inside": {`{"a":{"x":1,"x":2}}`, []kv{{"a", []byte(`{"x":1,"x":2}`)}}},
		"all kinds":     {`{"n":null,"t":true,"f":false,"i":-1,"e":1E-7,"s":"","a":[],"o":{}}`, []kv{{"n", []byte(`null`)}, {"t", []byte(`true`)}, {"f", []byte(`false`)}, {"i", []byte(`-1`)}, {"e", []byte(`1E-7`)}, {"s", []byte(`""`)}, {"a", []byte(`[]`)}, {"o", []byte(`{}`)}}},
		"deep":          {`{"a":` + deep + `,"b":1}`, []kv{{"a", []byte(deep)}, {"b", []byte(`1`)}}},
		"case counts":   {`{"a":1,"A":2}`, []kv{{"a", []byte(`1`)}, {"A", []byte(`2`)}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := jsonCodec.Split([]byte(tc.data))
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestJSONSplitMalformed(t *testing.T) {
	many := make([]string, 0, 40)
	for i := range 40 {
		many = append(many, fmt.Sprintf(`"k%d":%d`, i, i))
	}
	for name, data := range map[string]string{
		"nothing":         ``,
		"spaces":          "  \n",
		"null":            `null`,
		"array":           `[]`,
		"pairs in array":  `["a",1]`,
		"text":            `"a"`,
		"number":          `1`,
		"cut":             `{"a":1`,
		"cut in a key":    `{"a`,
		"cut in escape":   `{"a\`,
		"cut after colon": `{"a":`,
		"no colon":        `{"a" 1}`,
		"no comma":        `{"a":1 "b":2}`,
		"no key":          `{1:2}`,
		"bare key":        `{a:1}`,
		"single quotes":   `{'a':1}`,
		"last comma":      `{"a":1,}`,
		"two commas":      `{"a":1,,"b":2}`,
		"first comma":     `{,"a":1}`,
		"wrong close":     `{"a":[1}`,
		"more after":      `{"a":1}{}`,
		"letters after":   `{"a":1}x`,
		"byte order mark": "\xef\xbb\xbf{}",
		"NUL":             "{}\x00",
		"leading zero":    `{"a":01}`,
		"NaN":             `{"a":NaN}`,
		"comment":         `{/**/}`,
		"control in text": "{\"a\":\"\n\"}",
		"bad escape":      `{"a":"\x"}`,
		"bad hex":         `{"a":"\u00g0"}`,
		"control as hex":  "{\"a\":\"\\u00\x100\"}",
		"short hex":       `{"a":"\u004"}`,
		"cut in hex":      `{"a":"\u00`,
		"late control":    "{\"a\":\"12345678901234567\x1f\"}",
		"bad word":        `{"a":nul}`,
		"long word":       `{"a":trues}`,
		"minus":           `{"a":-}`,
		"plus":            `{"a":+1}`,
		"no fraction":     `{"a":1.}`,
		"no whole":        `{"a":.1}`,
		"no exponent":     `{"a":1e+}`,
		"two signs":       `{"a":1e+-1}`,
		"colon in array":  `{"a":["b":1]}`,
		"pair inside":     `{"a":{"b"}}`,
		"comma inside":    `{"a":[1,]}`,
		"key not UTF-8":   "{\"\xff\":1}",
		"twice":           `{"a":1,"a":1}`,
		"twice, escaped":  `{"a":1,"\u0061":2}`,
		"twice of many":   `{` + strings.Join(append(many, `"k7":0`), ",") + `}`,
		"too deep":        `{"a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
		"deep and cut":    `{"a":` + strings.Repeat("[", 100_000),
		"binary":          "\xc1\x02\x00",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jsonCodec.Split([]byte(data))
			assert.Error(t, err)
		})
	}
}

func TestJSONHugeCounts(t *testing.T) {
	var in []kv
	for i := range 50_000 {
		in = append(in, kv{Key: fmt.Sprintf("key-%d", i), Value: fmt.Appendf(nil, `[%d]`, i)})
	}
	data, err := jsonCodec.Join(in)
	require.NoError(t, err)
	out, err := jsonCodec.Split(data)
	require.NoError(t, err)
	require.Len(t, out, len(in))
	for i := range in {
		if in[i].Key != out[i].Key || !bytes.Equal(in[i].Value, out[i].Value) {
			t.Fatalf("%d: %s", i, out[i].Key)
		}
	}
}

// TestJSONRoundTrip: Split(Join(v)) returns v again, in order, byte by byte, whoever encoded it.
func TestJSONRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var in []kv
		keys := random.Perm(len(oddKeys))[:random.IntN(len(oddKeys)+1)]
		for _, k := range keys {
			in = append(in, kv{oddKeys[k], []byte(oddValues[random.IntN(len(oddValues))])})
		}
		data, err := jsonCodec.Join(in)
		require.NoError(t, err)
		require.True(t, json.Valid(data), "%s", data)
		before := bytes.Clone(data)
		out, err := jsonCodec.Split(data)
		require.NoError(t, err)
		require.Equal(t, in, out)
		require.Equal(t, before, data, "Split reads only")
		agreesWithEncodingJSON(t, data, out)

		// An untouched key keeps its bytes when another one is changed.
		if len(out) > 1 {
			kept := bytes.Clone(out[0].Value)
			_ = append(out[0].Value, "overwritten"...) // must not reach into the next one
			out[1].Value = []byte(`"changed"`)
			data, err = jsonCodec.Join(out)
			require.NoError(t, err)
			again, err := jsonCodec.Split(data)
			require.NoError(t, err)
			require.Equal(t, kept, again[0].Value)
			require.Equal(t, out, again)
		}
	}
}

// agreesWithEncodingJSON compares keys and compacted values.
func agreesWithEncodingJSON(t *testing.T, data []byte, got []kv) {
	t.Helper()
	var want map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(data, &want))
	require.Len(t, got, len(want))
	for _, kv := range got {
		raw, ok := want[kv.Key]
		require.True(t, ok, "%q", kv.Key)
		require.Equal(t, compacted(t, raw), compacted(t, kv.Value))
	}
}

func compacted(t *testing.T, data []byte) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, json.Compact(&b, data))
	return b.String()
}

func FuzzJSONSplit(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(` { "a" : 1 , "b" : [ "}" , {"c":"\\"} ] } `))
	f.Add([]byte(`{"a":1,"\u0061":2}`))
	f.Add([]byte("{\"\xff\":1}"))
	f.Add([]byte(`{"\ud800":1,"x":"\ud800"}`))
	for _, v := range oddValues {
		f.Add([]byte(`{"k":` + v + `,"":` + v + `}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := jsonCodec.Split(data)
		var all map[string]json.RawMessage
		other := json.Unmarshal(data, &all)
		if err != nil {
			if other == nil && all != nil && utf8.Valid(data) {
				// encoding/json takes it: then only for a key that is there twice.
				require.NotEqual(t, len(all), countKeys(t, data), "Split refuses what is right: %v", err)
			}
			return
		}
		require.NoError(t, other)
		agreesWithEncodingJSON(t, data, got)
		joined, err := jsonCodec.Join(got)
		require.NoError(t, err)
		again, err := jsonCodec.Split(joined)
		require.NoError(t, err)
		require.Equal(t, got, again)
		twice, err := jsonCodec.Join(again)
		require.NoError(t, err)
		require.Equal(t, joined, twice)
	})
}

// countKeys counts the keys of an object, those that are there twice twice.
func countKeys(t *testing.T, data []byte) int {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	_, err := dec.Token()
	require.NoError(t, err)
	n := 0
	for dec.More() {
		_, err := dec.Token()
		require.NoError(t, err)
		var v json.RawMessage
		require.NoError(t, dec.Decode(&v))
		n++
	}
	return n
}

// TestJSONDepth: values are nested as deep as encoding/json reads them, and no deeper.
func TestJSONDepth(t *testing.T) {
	for depth, ok := range map[int]bool{1: true, 9_999: true, 10_000: false} { // within the session's object
		for _, pair := range []string{"[]", "{}"} {
			inner := strings.Repeat(`[`, depth) + strings.Repeat(`]`, depth)
			if pair == "{}" {
				inner = strings.Repeat(`{"":`, depth-1) + `{` + strings.Repeat(`}`, depth)
			}
			data := []byte(`{"a":` + inner + `,"b":` + inner + `}`)
			require.Equal(t, ok, json.Valid(data))
			_, err := jsonCodec.Split(data)
			assert.Equal(t, ok, err == nil, "%d of %s", depth, pair)
		}
	}
}

// TestJSONEveryByte: each byte at each place of a string means what it means to encoding/json.
func TestJSONEveryByte(t *testing.T) {
	for size := range 18 {
		for at := range size {
			for b := range 256 {
				text := []byte(strings.Repeat("x", size))
				text[at] = byte(b)
				data := slices.Concat([]byte(`{"a":"`), text, []byte(`"}`))
				got, err := jsonCodec.Split(data)
				require.Equal(t, json.Valid(data), err == nil, "%q", data)
				if err == nil {
					require.Equal(t, data[5:len(data)-1], got[0].Value)
				}
			}
		}
	}
}
