package dynasession

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession/internal/protocol"
)

func TestValues(t *testing.T) {
	// Against a slice and a map that do the same the slow way, below and above linearKeys.
	for _, size := range []int{1, 3, linearKeys, linearKeys + 1, 100} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			var v values
			var order []string
			model := map[string]string{}
			check := func() {
				t.Helper()
				require.LessOrEqual(t, v.moved, maxMoved)
				require.Len(t, v.list, len(order))
				for i, key := range order {
					require.Equal(t, key, v.list[i].Key)
					got, ok := v.get(key)
					require.True(t, ok)
					require.Equal(t, model[key], string(got))
				}
			}
			seed := uint32(size)
			for range 2000 {
				seed = seed*1664525 + 1013904223
				key := strconv.Itoa(int(seed>>8) % size)
				if seed>>28 < 5 {
					v.delete(key)
					delete(model, key)
					order = slices.DeleteFunc(order, func(k string) bool { return k == key })
				} else {
					value := strconv.Itoa(int(seed))
					v.set(key, []byte(value))
					if _, ok := model[key]; !ok {
						order = append(order, key)
					}
					model[key] = value
				}
				check()
			}
			_, ok := v.get("absent")
			assert.False(t, ok)
			v.delete("absent")
			check()

			before := slices.Clone(order)
			clone := v.clone()
			clone.set("new", []byte("x"))
			clone.set(before[0], []byte("changed"))
			clone.delete(before[len(before)-1])
			check()
			_, ok = v.get("new")
			assert.False(t, ok)
		})
	}
}

func TestNewValues(t *testing.T) {
	list := func(keys ...string) (out []KeyValue) {
		for i, k := range keys {
			out = append(out, KeyValue{k, []byte(strconv.Itoa(i))})
		}
		return out
	}
	many := make([]string, 0, 100)
	for i := range 50 {
		many = append(many, strconv.Itoa(i))
	}
	for name, tc := range map[string]struct {
		in   []KeyValue
		want []KeyValue
	}{
		"none":       {nil, nil},
		"some":       {list("b", "a"), list("b", "a")},
		"twice":      {list("a", "b", "a"), []KeyValue{{"a", []byte("2")}, {"b", []byte("1")}}},
		"many":       {list(many...), list(many...)},
		"many twice": {append(list(many...), KeyValue{"0", []byte("x")}), append([]KeyValue{{"0", []byte("x")}}, list(many...)[1:]...)},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValues(tc.in)
			assert.Equal(t, tc.want, v.list)
			for _, kv := range tc.want {
				got, ok := v.get(kv.Key)
				assert.True(t, ok)
				assert.Equal(t, kv.Value, got)
			}
		})
	}
	var none values
	data, err := none.join(JSON{})
	require.NoError(t, err)
	assert.Nil(t, data, "an empty session has no data")
	_, err = split(JSON{}, []byte("["))
	require.Error(t, err)
}

// TestStoredDataIsOnesOwn: a record keeps its data, whatever is stored next.
func TestStoredDataIsOnesOwn(t *testing.T) {
	for name, cfg := range map[string]Config{
		"as it is":   {NoCompression: true},
		"compressed": {},
		"encrypted":  {EncryptionKeys: [][]byte{bytes.Repeat([]byte{0x11}, 32)}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(dynamodb.New(dynamodb.Options{Region: "us-east-1"}), cfg)
			require.NoError(t, err)
			var records []*protocol.Record
			plain := func(n int) []byte { return fmt.Appendf(nil, "%q", strings.Repeat(strconv.Itoa(n), 3000)) }
			for n := range 10 {
				records = append(records, &protocol.Record{Key: "k"})
				require.NoError(t, s.encode(records[n], &values{list: []KeyValue{{"a", plain(n)}}}))
			}
			for n, r := range records {
				vals, err := s.values(r)
				require.NoError(t, err)
				assert.Equal(t, string(plain(n)), string(vals.list[0].Value))
			}
		})
	}
}

// TestTooLarge: an item that DynamoDB would refuse is refused before it is compressed.
func TestTooLarge(t *testing.T) {
	s, err := New(dynamodb.New(dynamodb.Options{Region: "us-east-1"}), Config{})
	require.NoError(t, err)
	err = s.fill(&protocol.Record{Key: "k"}, bytes.Repeat([]byte("a"), protocol.MaxItem))
	require.ErrorIs(t, err, ErrTooLarge)
	assert.Contains(t, err.Error(), "409600")
	require.NoError(t, s.fill(&protocol.Record{Key: "k"}, bytes.Repeat([]byte("a"), protocol.MaxItem-4096)))
}

// FuzzMerge holds the merge to a plain model of it: what a request did to one session's
// values, put onto what another has stored.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":"x"}`), []byte(`{"a":2,"c":[true]}`), []byte{0, 1, 2, 3})
	f.Add([]byte(`{"t":"x"}`), []byte(`{}`), []byte{3})
	f.Add([]byte(`{"a":1}`), []byte(`{"a":{"deep":[1,2]}}`), []byte{8, 9, 10, 11, 2, 1, 0})
	f.Add([]byte(`{"\u0061":"\ud83d\ude00","":null}`), []byte(`{"":0,"a":"b"}`), []byte{2, 6, 6, 3, 2})
	f.Fuzz(func(t *testing.T, loaded, found, deeds []byte) {
		before, err := split(JSON{}, loaded)
		theirs, err2 := split(JSON{}, found)
		if err != nil || err2 != nil || len(deeds) > 50 {
			return
		}
		s := bareSession()
		s.rec = &protocol.Record{Rev: 1, Marks: "creation", Data: loaded, Expires: testNow.Unix() + 3600}
		s.vals = before.clone()

		// The model: of each key what this request sees, what it wants, and whether it
		// depends on what is stored.
		type wish struct {
			value  string // the encoding; "" for none
			sum    int    // what updates add to what is stored
			adds   bool   // only updates so far
			popped bool   // the stored value was taken

			asLoaded bool // value is what was loaded: another may have changed it
		}
		wishes := map[string]*wish{}
		keys := []string{"a", "t", ""}
		for _, kv := range before.list {
			keys = append(keys, kv.Key)
		}
		for i, deed := range deeds {
			key := keys[int(deed>>2)%len(keys)]
			w := wishes[key]
			mine := w != nil && !w.adds // the stored value counts no more
			stored, has := before.get(key)
			// What was set, or deleted, as it was loaded is still what another may pop first.
			asLoaded := mine && w.asLoaded
			switch deed & 3 {
			case 0:
				s.Set(key, i)
				same := has && string(stored) == strconv.Itoa(i) && (w == nil || w.asLoaded)
				if w == nil {
					w = &wish{}
				}
				*w = wish{value: strconv.Itoa(i), popped: w.popped, asLoaded: same}
			case 1:
				s.Delete(key)
				same := !has && (w == nil || w.asLoaded)
				if w == nil {
					w = &wish{}
				}
				*w = wish{popped: w.popped, asLoaded: same}
			case 2:
				if n, ok := Get[int](s, key); s.Has(key) && (!ok || n > 1e9 || n < -1e9) {
					continue // Update would fail the save
				}
				Update(s, key, func(n int) int { return n + 1 })
				switch {
				case mine:
					n, _ := strconv.Atoi(w.value)
					w.value, w.asLoaded = strconv.Itoa(n+1), false
				case w == nil:
					w = &wish{adds: true, sum: 1}
				default:
					w.sum++
				}
			case 3:
				there := s.Has(key)
				if _, ok := Pop[json.RawMessage](s, key); !ok || !there {
					continue
				}
				if mine {
					*w = wish{popped: w.popped || asLoaded}
					break
				}
				w = &wish{popped: true}
			}
			wishes[key] = w
		}
		want := theirs.clone()
		refused := false
		for key, w := range wishes {
			old, has := theirs.get(key)
			mine, had := before.get(key)
			switch {
			case w.popped && (has != had || !bytes.Equal(old, mine)):
				refused = true
			case w.adds:
				n := 0
				if has && json.Unmarshal(old, &n) != nil {
					refused = true
				}
				want.set(key, []byte(strconv.Itoa(n+w.sum)))
			case w.value != "":
				want.set(key, []byte(w.value))
			default:
				want.delete(key)
			}
		}

		checkout := s.checkOut()
		got := theirs.clone()
		for i := range checkout.changes {
			if err = checkout.changes[i].apply(&got); err != nil {
				break
			}
		}
		if refused {
			require.Error(t, err)
			return
		}
		if err != nil {
			require.NotErrorIs(t, err, ErrConflict)
			return
		}
		for _, kv := range want.list {
			value, ok := got.get(kv.Key)
			require.True(t, ok, kv.Key)
			if _, touched := wishes[kv.Key]; touched {
				require.JSONEq(t, string(kv.Value), string(value), kv.Key)
			} else {
				require.Equal(t, kv.Value, value, kv.Key)
			}
		}
		require.Len(t, got.list, len(want.list))
	})
}
