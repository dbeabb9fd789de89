package phpsession_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/phpsession"
)

var codecs = map[string]dynasession.Codec{
	"php":           phpsession.PHP{},
	"php_serialize": phpsession.PHPSerialize{},
	"php_binary":    phpsession.PHPBinary{},
}

// vectors reads a file of testdata. What PHP 8.2 made of the inputs stands in it.
func vectors[T any](t testing.TB, file string) []T {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	var out struct {
		Count   int
		Vectors []T
	}
	require.NoError(t, json.Unmarshal(data, &out))
	require.Len(t, out.Vectors, out.Count)
	return out.Vectors
}

type codecVector struct {
	Name     string
	Session  []any
	Handlers map[string]struct {
		Raw  []byte `json:"raw_base64"`
		Back []any  `json:"reads_back"` // if PHP reads something else than it wrote
	}
}

func TestVectors(t *testing.T) {
	for _, v := range vectors[codecVector](t, "php-codec.json") {
		for handler, h := range v.Handlers {
			if h.Raw == nil { // PHP cannot write it
				continue
			}
			t.Run(handler+"/"+v.Name, func(t *testing.T) {
				codec := codecs[handler]
				values, err := codec.Split(h.Raw)
				require.NoError(t, err)

				want := v.Session
				if h.Back != nil {
					want = h.Back
				}
				assert.Equal(t, described(want), described(describe(t, values)))

				joined, err := codec.Join(values)
				require.NoError(t, err)
				assert.Equal(t, string(h.Raw), string(joined), "what is not touched keeps its bytes")

				// Each value by itself, through Go and back.
				for i := range values {
					var x phpsession.Value
					require.NoError(t, codec.Unmarshal(values[i].Value, &x))
					alone, err := codec.Marshal(x)
					require.NoError(t, err)
					before := describe(t, []dynasession.KeyValue{{Key: "k", Value: values[i].Value}})
					after := describe(t, []dynasession.KeyValue{{Key: "k", Value: alone}})
					assert.Equal(t, before, after)
				}
			})
		}
	}
}

// TestVectorsThroughTheOtherFormats reads a session in one format and writes it in the others.
func TestVectorsThroughTheOtherFormats(t *testing.T) {
	for _, v := range vectors[codecVector](t, "php-codec.json") {
		for from, h := range v.Handlers {
			for to, other := range v.Handlers {
				if h.Raw == nil || other.Raw == nil || h.Back != nil || other.Back != nil {
					continue
				}
				t.Run(from+" to "+to+"/"+v.Name, func(t *testing.T) {
					values, err := codecs[from].Split(h.Raw)
					require.NoError(t, err)
					joined, err := codecs[to].Join(values)
					require.NoError(t, err)
					assert.Equal(t, string(other.Raw), string(joined))
				})
			}
		}
	}
}

type badVector struct {
	Name, Handler, Verdict string
	Input                  []byte `json:"input_base64"`
	Parts                  []struct {
		Base64 []byte
		Repeat int
	} `json:"input_parts"`
	Decode struct {
		Session []any
	} `json:"session_decode"`
}

func (v *badVector) input() []byte {
	if v.Parts == nil {
		return v.Input
	}
	var out []byte
	for _, p := range v.Parts {
		out = append(out, bytes.Repeat(p.Base64, p.Repeat)...)
	}
	return out
}

// What PHP decides by the class. Nothing here knows classes, so that they are data like any other.
var classesDecide = map[string]bool{
	"Closure": true, "enum as object": true, "enum of a class that is none": true,
	"DateTime with bad data": true, "typed property with a wrong type": true,
}

// What PHP takes, and a Codec does not: it would drop what it does not understand.
var onlyPHPTakes = map[string]string{
	"trailing garbage":     `at offset 35: expected nothing after the session`,
	"a second value":       `at offset 35: expected nothing after the session`,
	"not an array: int":    `at offset 0: expected an array, which a session is`,
	"not an array: false":  `at offset 0: expected an array, which a session is`,
	"not an array: object": `at offset 0: expected an array, which a session is`,
}

// What PHP reads by the class as something that is not in the data, and a Codec as it is.
var classesChange = map[string]bool{
	"C: for a class without Serializable": true, "C: unknown class": true,
	// PHP gives the name its digits; the int is kept here, since a class's __serialize may have given it.
	"property name int": true,
	// The session itself has no place in a session.
	"R: to the whole session": true,
}

func TestBadVectors(t *testing.T) {
	refused, accepted := 0, 0
	for _, v := range vectors[badVector](t, "php-bad.json") {
		t.Run(v.Handler+"/"+v.Name, func(t *testing.T) {
			codec, input := codecs[v.Handler], v.input()
			before := bytes.Clone(input)
			values, err := codec.Split(input)
			assert.True(t, bytes.Equal(before, input), "the input is left as it is")

			if text, ok := onlyPHPTakes[v.Name]; ok {
				require.ErrorContains(t, err, text)
				return
			}
			if v.Verdict != "accepted" && !classesDecide[v.Name] {
				refused++
				var syntax *phpsession.SyntaxError
				require.ErrorAs(t, err, &syntax)
				assert.LessOrEqual(t, syntax.Offset, len(input))
				assert.GreaterOrEqual(t, syntax.Offset, 0)
				assert.NotEmpty(t, syntax.Expected)
				return
			}
			require.NoError(t, err)
			accepted++
			if v.Decode.Session != nil && !classesDecide[v.Name] && !classesChange[v.Name] {
				assert.Equal(t, described(v.Decode.Session), described(describe(t, values)))
			}
			if len(values) == 0 {
				return
			}
			joined, err := codec.Join(values)
			require.NoError(t, err)
			again, err := codec.Split(joined)
			require.NoError(t, err)
			assert.Equal(t, values, again)
		})
	}
	assert.Equal(t, 158, refused)
	assert.Equal(t, 49, accepted)
}

// TestErrorsNameTheOffset: and what was expected there, and nothing of the data.
func TestErrorsNameTheOffset(t *testing.T) {
	for input, want := range map[string]string{
		`a`:                          `at offset 1: expected "|" after a key`,
		`a|`:                         `at offset 2: expected a value`,
		`a|x:1;`:                     `at offset 2: expected a value, which begins with one of N b i d s S a O C E R r`,
		`a|i`:                        `at offset 3: expected ":" after a value's type`,
		`a|i:;`:                      `at offset 4: expected an integer`,
		`a|i:5`:                      `at offset 5: expected ";" after an integer`,
		`a|b:2;`:                     `at offset 4: expected "0;" or "1;" of a bool`,
		`a|d:x;`:                     `at offset 4: expected a float`,
		`a|s:4:"abc";`:               `at offset 11: expected "\";" after 4 bytes of a string`,
		`a|s:99:"abc";`:              `at offset 4: expected a length of at most 5, which is what is left`,
		`a|a:1000000000:{}`:          `at offset 4: expected a count of at most 0, for which there is room`,
		`a|a:1:{N;i:1;}`:             `at offset 7: expected a key, which begins with i or s`,
		`a|a:1:{i:0;i:1;i:1;i:2;}`:   `at offset 15: expected "}" after the last pair`,
		`a|i:1;b|R:0;`:               `at offset 8: expected the number of a value before it`,
		`a|i:1;b|r:1;`:               `at offset 8: expected the number of an object`,
		`a|O:3:"a b":0:{}`:           `at offset 4: expected a class`,
		`a|O:2:"\A":0:{}`:            `at offset 4: expected a class`,
		`a|C:2:"\A":0:{}`:            `at offset 4: expected a class`,
		"a|O:2:\"A\x7f\":0:{}":       `at offset 4: expected a class`,
		`a|C:1:"A":9:{abc}`:          `at offset 10: expected a length of at most 4, which is what is left`,
		`a|C:1:"A":2:{abc}`:          `at offset 15: expected "}" after 2 bytes`,
		`a|E:4:"Suit";`:              `at offset 4: expected a class, a colon and a case`,
		`a|S:2:"\4";`:                `at offset 8: expected two hexadecimal digits`,
		`a|&0123456789abcdef&000011`: `at offset 2: expected a value, which begins with one of N b i d s S a O C E R r`,
	} {
		_, err := phpsession.PHP{}.Split([]byte(input))
		assert.EqualError(t, err, "phpsession: "+want, input)
	}
	var v any
	err := phpsession.PHP{}.Unmarshal([]byte(`i:5;i:6;`), &v)
	require.EqualError(t, err, "phpsession: at offset 4: expected nothing after the value")
	syntax := (*phpsession.SyntaxError)(nil)
	assert.ErrorAs(t, err, &syntax)
	_, err = phpsession.PHPBinary{}.Split([]byte("\x05ab"))
	assert.EqualError(t, err, "phpsession: at offset 3: expected more bytes of a key")
}
