package dynasession

import (
	"bytes"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession/internal/protocol"
)

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
