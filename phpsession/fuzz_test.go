package phpsession_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/phpsession"
)

func FuzzPHP(f *testing.F)          { fuzzFormat(f, "php") }
func FuzzPHPSerialize(f *testing.F) { fuzzFormat(f, "php_serialize") }
func FuzzPHPBinary(f *testing.F)    { fuzzFormat(f, "php_binary") }

// longestSeed keeps the corpus quick.
const longestSeed = 4 << 10

func fuzzFormat(f *testing.F, handler string) {
	for _, v := range vectors[codecVector](f, "php-codec.json") {
		if raw := v.Handlers[handler].Raw; len(raw) < longestSeed {
			f.Add(raw)
		}
	}
	for _, v := range vectors[badVector](f, "php-bad.json") {
		if in := v.input(); v.Handler == handler && len(in) < longestSeed {
			f.Add(in)
		}
	}
	codec := codecs[handler]
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := codec.Split(data)
		if err != nil || len(values) == 0 {
			return
		}
		joined, err := codec.Join(values)
		require.NoError(t, err)
		again, err := codec.Split(joined)
		require.NoError(t, err)
		require.Equal(t, values, again)
		twice, err := codec.Join(again)
		require.NoError(t, err)
		require.Equal(t, string(joined), string(twice))

		for i := range values {
			var v phpsession.Value
			if codec.Unmarshal(values[i].Value, &v) != nil {
				continue // a reference to the session, say
			}
			encoded, err := codec.Marshal(v)
			if err != nil {
				continue // deeper than it was, where references were followed
			}
			var back phpsession.Value
			require.NoError(t, codec.Unmarshal(encoded, &back))
			stable, err := codec.Marshal(back)
			require.NoError(t, err)
			require.Equal(t, string(encoded), string(stable))

			// What is set in one key leaves the others as they are.
			changed := append([]dynasession.KeyValue{}, values...)
			changed[i].Value = encoded
			if joined, err = codec.Join(changed); err != nil {
				continue
			}
			again, err = codec.Split(joined)
			require.NoError(t, err)
			for j := range values {
				require.Equal(t, values[j].Key, again[j].Key)
			}
			require.Equal(t, described(describe(t, changed)), described(describe(t, again)))
		}
	})
}

// FuzzUnmarshal decodes any bytes as any type, also those of values that share, which are never stored.
func FuzzUnmarshal(f *testing.F) {
	for _, v := range vectors[codecVector](f, "php-codec.json") {
		for handler, codec := range codecs {
			values, err := codec.Split(v.Handlers[handler].Raw)
			if err != nil {
				continue
			}
			for _, kv := range values {
				if len(kv.Value) < longestSeed {
					f.Add(kv.Value)
				}
			}
		}
	}
	type inner struct {
		N     int `php:"n"`
		Any   any `php:"a"`
		Inner *inner
	}
	types := []reflect.Type{
		reflect.TypeFor[any](), reflect.TypeFor[phpsession.Value](), reflect.TypeFor[phpsession.Array](), reflect.TypeFor[*phpsession.Object](),
		reflect.TypeFor[inner](), reflect.TypeFor[[]inner](), reflect.TypeFor[map[string]inner](), reflect.TypeFor[map[int]string](),
		reflect.TypeFor[[]*phpsession.Value](), reflect.TypeFor[[2][]byte](), reflect.TypeFor[time.Time](), reflect.TypeFor[map[any]float64](),
		reflect.TypeFor[[]phpsession.Object](), reflect.TypeFor[phpsession.Custom](), reflect.TypeFor[phpsession.Enum](),
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := string(data)
		for _, typ := range types {
			v := reflect.New(typ)
			if (phpsession.PHP{}).Unmarshal(data, v.Interface()) != nil {
				continue
			}
			encoded, err := phpsession.PHP{}.Marshal(v.Interface())
			if err != nil {
				continue // a depth that references have made, or an unsigned int
			}
			require.NoError(t, phpsession.PHP{}.Unmarshal(encoded, reflect.New(typ).Interface()), "%v", typ)
			_, err = phpsession.PHP{}.Join([]dynasession.KeyValue{{Key: "k", Value: encoded}})
			require.NoError(t, err)
		}
		// As a value of a session, beside another.
		plain := []byte("i:1;")
		joined, err := phpsession.PHP{}.Join([]dynasession.KeyValue{{Key: "a", Value: plain}, {Key: "b", Value: data}})
		if err == nil {
			values, err := phpsession.PHP{}.Split(joined)
			require.NoError(t, err)
			require.Len(t, values, 2)
			require.Equal(t, plain, values[0].Value)
		}
		require.Equal(t, before, string(data), "the input is left as it is")
	})
}
