package dynasession

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession/internal/protocol"
)

// testNow is the time that the sessions of these tests see.
var testNow = time.Unix(1_800_000_000, 0)

var testRules = protocol.Rules{Idle: 3600, Lifetime: 86400, TouchAfter: 360}

// bareSession makes a session without a store, as newSession does.
func bareSession() *Session {
	return &Session{
		codec: JSON{}, keys: testKeyspace("session", false), rules: testRules,
		now: func() time.Time { return testNow }, born: testNow.Unix(),
	}
}

// loadedSession makes one as a load does. data is a JSON object.
func loadedSession(t *testing.T, data string) *Session {
	t.Helper()
	s := bareSession()
	s.id = newID()
	s.rec = &protocol.Record{
		Key: s.keys.key(s.id), Rev: 1, Marks: "creation", Data: []byte(data), Expires: testNow.Unix() + 3600,
		Meta: protocol.Meta{Born: testNow.Unix(), Until: testNow.Unix() + 86400},
	}
	s.vals = splitValues(t, data)
	return s
}

func splitValues(t *testing.T, data string) values {
	t.Helper()
	vals, err := split(JSON{}, []byte(data))
	require.NoError(t, err)
	return vals
}

// data returns the session's values as they show, as a JSON object.
func dataOf(t *testing.T, s *Session) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	data, err := s.vals.join(JSON{})
	require.NoError(t, err)
	return string(data)
}

// saved plays a save of s onto what is in the table, without a table: as a merge does.
func saved(t *testing.T, s *Session, table string) (string, error) {
	t.Helper()
	w := s.checkOut()
	vals := splitValues(t, table)
	for i := range w.changes {
		if err := w.changes[i].apply(&vals); err != nil {
			s.settle(&w, nil, ErrConflict)
			return table, err
		}
	}
	data, err := vals.join(JSON{})
	require.NoError(t, err)
	s.settle(&w, &result{rec: s.rec, id: s.id, vals: vals}, nil)
	return string(data), nil
}

// refuses does not encode.
type refuses struct{}

var errRefused = errors.New("no")

func (refuses) MarshalJSON() ([]byte, error) { return nil, errRefused }

func TestSessionSetGet(t *testing.T) {
	s := bareSession()
	_, ok := Get[string](s, "a")
	assert.False(t, ok)
	assert.False(t, s.Has("a"))
	assert.Empty(t, s.Keys())

	s.Set("b", 2)
	s.Set("a", "one")
	s.Set("", []string{"empty key"})
	s.Set("z", nil)
	assert.Equal(t, []string{"", "a", "b", "z"}, s.Keys(), "sorted")

	a, ok := Get[string](s, "a")
	assert.True(t, ok)
	assert.Equal(t, "one", a)
	b, ok := Get[float64](s, "b")
	assert.True(t, ok)
	assert.InDelta(t, 2, b, 0)
	e, ok := Get[[]string](s, "")
	assert.True(t, ok)
	assert.Equal(t, []string{"empty key"}, e)
	assert.True(t, s.Has("z"), "null is a value")

	n, ok := Get[int](s, "a")
	assert.False(t, ok, "a string is no int")
	assert.Zero(t, n)
	half, ok := Get[struct{ X, Y int }](s, "")
	assert.False(t, ok)
	assert.Zero(t, half)

	s.Delete("a")
	s.Delete("never there")
	assert.False(t, s.Has("a"))
	assert.Equal(t, []string{"", "b", "z"}, s.Keys())
}

// TestGetGivesNoHalf: if decoding fails in the middle, Get returns the zero value, not what was read so far.
func TestGetGivesNoHalf(t *testing.T) {
	type cart struct {
		Items int
		Name  string
	}
	s := loadedSession(t, `{"cart":{"Items":3,"Name":7}}`)
	c, ok := Get[cart](s, "cart")
	assert.False(t, ok)
	assert.Zero(t, c)
	c, ok = Pop[cart](s, "cart")
	assert.False(t, ok)
	assert.Zero(t, c)
	assert.True(t, s.Has("cart"), "what does not decode stays")
	assert.False(t, s.changed())
}

func TestSessionDecode(t *testing.T) {
	s := loadedSession(t, `{"n":12345678,"s":"x"}`)
	var n int
	require.NoError(t, s.Decode("n", &n))
	assert.Equal(t, 12345678, n)

	err := s.Decode("gone", &n)
	require.ErrorIs(t, err, ErrNoKey)
	assert.Contains(t, err.Error(), `"gone"`)

	var text string
	err = s.Decode("n", &text)
	require.Error(t, err)
	assert.NotErrorIs(t, err, ErrNoKey)
	assert.Contains(t, err.Error(), `key "n"`)
	assert.NotContains(t, err.Error(), "12345678", "an error holds no data")
	var typ *json.UnmarshalTypeError
	assert.ErrorAs(t, err, &typ)
}

func TestSessionCopies(t *testing.T) {
	s := bareSession()
	set := map[string][]int{"a": {1, 2}}
	s.Set("m", set)
	set["a"][0] = 99
	set["b"] = nil
	got, _ := Get[map[string][]int](s, "m")
	assert.Equal(t, map[string][]int{"a": {1, 2}}, got, "encoded when it was set")
	got["a"][0] = 98
	again, _ := Get[map[string][]int](s, "m")
	assert.Equal(t, map[string][]int{"a": {1, 2}}, again, "decoded when it is read")

	raw, _ := Get[json.RawMessage](s, "m")
	clear(raw)
	got, _ = Get[map[string][]int](s, "m")
	assert.Equal(t, map[string][]int{"a": {1, 2}}, got)

	var escaped *[]int
	Update(s, "u", func(old []int) []int {
		out := slices.Concat(old, []int{1})
		escaped = &out
		return out
	})
	(*escaped)[0] = 97
	u, _ := Get[[]int](s, "u")
	assert.Equal(t, []int{1}, u)

	keys := s.Keys()
	keys[0] = "changed"
	assert.Equal(t, []string{"m", "u"}, s.Keys())
}

func TestSessionEncodeErrorSticks(t *testing.T) {
	fails := func(s *Session) error {
		w := s.checkOut()
		defer s.settle(&w, nil, ErrConflict)
		vals := splitValues(t, `{"k":"old"}`)
		for i := range w.changes {
			if err := w.changes[i].apply(&vals); err != nil {
				return err
			}
		}
		return nil
	}
	for name, tc := range map[string]struct {
		do    func(s *Session)
		fails bool
	}{
		"set":                {func(s *Session) { s.Set("k", refuses{}) }, true},
		"flash":              {func(s *Session) { s.AddFlash(make(chan int)) }, true},
		"nan":                {func(s *Session) { s.Set("k", math.NaN()) }, true},
		"update":             {func(s *Session) { Update(s, "k", func(any) any { return refuses{} }) }, true},
		"wrong type":         {func(s *Session) { Update(s, "k", func(n int) int { return n + 1 }) }, true},
		"another key":        {func(s *Session) { s.Set("k", refuses{}); s.Set("l", 1) }, true},
		"then updated":       {func(s *Session) { s.Set("k", refuses{}); Update(s, "k", func(s string) string { return s }) }, true},
		"then set":           {func(s *Session) { s.Set("k", refuses{}); s.Set("k", 1) }, false},
		"then set as it was": {func(s *Session) { s.Set("k", refuses{}); s.Set("k", "old") }, false},
		"then deleted":       {func(s *Session) { s.Set("k", refuses{}); s.Delete("k") }, false},
		"new, then deleted":  {func(s *Session) { s.Set("n", refuses{}); s.Delete("n") }, false},
		"update, then set":   {func(s *Session) { Update(s, "k", func(n int) int { return n }); s.Set("k", 1) }, false},
		"set twice":          {func(s *Session) { s.Set("k", 1); s.Set("k", refuses{}) }, true},
		"destroyed":          {func(s *Session) { s.Set("k", refuses{}); s.Destroy() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := loadedSession(t, `{"k":"old"}`)
			tc.do(s)
			require.True(t, s.changed())
			err := fails(s)
			assert.Equal(t, tc.fails, err != nil, "%v", err)
			assert.Equal(t, tc.fails, fails(s) != nil, "and again, at the next save")
		})
	}
	t.Run("what shows, and what is told", func(t *testing.T) {
		s := loadedSession(t, `{"k":"old"}`)
		s.Set("k", refuses{})
		old, ok := Get[string](s, "k")
		assert.True(t, ok)
		assert.Equal(t, "old", old)
		err := fails(s)
		require.ErrorIs(t, err, errRefused)
		assert.Contains(t, err.Error(), `setting key "k"`)
	})
}

func TestSessionNoChange(t *testing.T) {
	for name, tc := range map[string]struct {
		do      func(s *Session)
		changes bool
	}{
		"nothing":                 {func(*Session) {}, false},
		"reads":                   {func(s *Session) { Get[int](s, "n"); s.Has("n"); s.Keys(); _ = s.Decode("n", new(int)) }, false},
		"same value":              {func(s *Session) { s.Set("n", 1) }, false},
		"same after a change":     {func(s *Session) { s.Set("m", 5); s.Set("n", 1) }, true},
		"same again and again":    {func(s *Session) { s.Set("n", 1); s.Set("n", 1); Update(s, "n", func(n int) int { return n }) }, false},
		"update, then the same":   {func(s *Session) { Update(s, "n", func(n int) int { return n }); s.Set("n", 1) }, false},
		"same, then another":      {func(s *Session) { s.Set("n", 1); s.Set("n", 2) }, true},
		"another, then as it was": {func(s *Session) { s.Set("n", 2); s.Set("n", 1) }, true},
		"deletes of none":         {func(s *Session) { s.Delete("m"); s.Delete("m") }, false},
		"none, then some":         {func(s *Session) { s.Delete("m"); s.Set("m", 1) }, true},
		"updates to the same": {func(s *Session) {
			for range 2 {
				Update(s, "n", func(n int) int { return n })
			}
		}, false},
		"updates, one of them": {func(s *Session) {
			Update(s, "n", func(n int) int { return n })
			Update(s, "n", func(n int) int { return n + 1 })
		}, true},
		"other value":           {func(s *Session) { s.Set("n", 2) }, true},
		"new key":               {func(s *Session) { s.Set("m", 1) }, true},
		"new key, null":         {func(s *Session) { s.Set("m", nil) }, true},
		"delete":                {func(s *Session) { s.Delete("n") }, true},
		"delete of none":        {func(s *Session) { s.Delete("m") }, false},
		"update to the same":    {func(s *Session) { Update(s, "n", func(n int) int { return n }) }, false},
		"update":                {func(s *Session) { Update(s, "n", func(n int) int { return n + 1 }) }, true},
		"pop":                   {func(s *Session) { Pop[int](s, "n") }, true},
		"pop of none":           {func(s *Session) { Pop[int](s, "m") }, false},
		"pop of another type":   {func(s *Session) { Pop[string](s, "n") }, false},
		"no flashes":            {func(s *Session) { Flashes[string](s) }, false},
		"flash":                 {func(s *Session) { s.AddFlash("hi") }, true},
		"user":                  {func(s *Session) { s.SetUser("alice") }, true},
		"no user":               {func(s *Session) { s.SetUser("") }, true},
		"renew":                 {func(s *Session) { s.Renew() }, true},
		"remember":              {func(s *Session) { s.Remember(time.Hour) }, true},
		"limit":                 {func(s *Session) { s.LimitTo(testNow) }, true},
		"not remembered anyway": {func(s *Session) { s.Remember(0) }, false},
		"no limit":              {func(s *Session) { s.LimitTo(time.Time{}) }, false},
		"destroy":               {func(s *Session) { s.Destroy() }, true},
		"other spelling of one": {func(s *Session) { s.Set("o", map[string]int{"a": 1}) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := loadedSession(t, `{"n":1,"o":{ "a" : 1 }}`)
			before := dataOf(t, s)
			tc.do(s)
			assert.Equal(t, tc.changes, s.pend.writes(false) || s.pend.renew || s.pend.destroy)
			if !tc.changes {
				assert.Equal(t, before, dataOf(t, s))
			}
		})
	}
}

// TestSessionMerge: what a request did, put onto what another has stored meanwhile.
func TestSessionMerge(t *testing.T) {
	plus := func(n int) func(int) int { return func(old int) int { return old + n } }
	for name, tc := range map[string]struct {
		loaded, table string
		do            func(s *Session)
		want          string
		err           error
	}{
		"other keys stay":     {`{"a":1}`, `{"a":1,"b":{ "x":  1.50 }}`, func(s *Session) { s.Set("c", 3) }, `{"a":1,"b":{ "x":  1.50 },"c":3}`, nil},
		"same key: ours":      {`{"a":1}`, `{"a":2}`, func(s *Session) { s.Set("a", 3) }, `{"a":3}`, nil},
		"deleted by us":       {`{"a":1,"b":1}`, `{"a":2,"b":1}`, func(s *Session) { s.Delete("a") }, `{"b":1}`, nil},
		"deleted by both":     {`{"a":1,"b":1}`, `{"b":1}`, func(s *Session) { s.Delete("a") }, `{"b":1}`, nil},
		"deleted, set by us":  {`{"a":1,"b":1}`, `{"b":1}`, func(s *Session) { s.Set("a", 2) }, `{"b":1,"a":2}`, nil},
		"update runs again":   {`{"n":1}`, `{"n":10}`, func(s *Session) { Update(s, "n", plus(1)) }, `{"n":11}`, nil},
		"update of none":      {`{}`, `{"n":10}`, func(s *Session) { Update(s, "n", plus(1)) }, `{"n":11}`, nil},
		"update, deleted":     {`{"n":5}`, `{"a":1}`, func(s *Session) { Update(s, "n", plus(1)) }, `{"a":1,"n":1}`, nil},
		"two updates":         {`{"n":1}`, `{"n":10}`, func(s *Session) { Update(s, "n", plus(1)); Update(s, "n", plus(5)) }, `{"n":16}`, nil},
		"update after set":    {`{"n":1}`, `{"n":10}`, func(s *Session) { s.Set("n", 2); Update(s, "n", plus(1)) }, `{"n":3}`, nil},
		"update after delete": {`{"n":1}`, `{"n":10}`, func(s *Session) { s.Delete("n"); Update(s, "n", plus(1)) }, `{"n":1}`, nil},
		"set after update":    {`{"n":1}`, `{"n":10}`, func(s *Session) { Update(s, "n", plus(1)); s.Set("n", 7) }, `{"n":7}`, nil},
		"update and back":     {`{"n":1}`, `{"n":10}`, func(s *Session) { Update(s, "n", plus(1)); Update(s, "n", plus(-1)) }, `{"n":10}`, nil},
		"update, other type":  {`{"n":1}`, `{"n":"x"}`, func(s *Session) { Update(s, "n", plus(1)) }, "", errAny},
		"pop":                 {`{"t":"x","a":1}`, `{"t":"x","a":2}`, func(s *Session) { Pop[string](s, "t") }, `{"a":2}`, nil},
		"pop, taken":          {`{"t":"x","a":1}`, `{"a":1}`, func(s *Session) { Pop[string](s, "t") }, "", ErrConflict},
		"pop, changed":        {`{"t":"x"}`, `{"t":"y"}`, func(s *Session) { Pop[string](s, "t") }, "", ErrConflict},
		"pop, set, taken":     {`{"t":"x"}`, `{"a":1}`, func(s *Session) { Pop[string](s, "t"); s.Set("t", "new") }, "", ErrConflict},
		"pop, update, taken":  {`{"t":"x"}`, `{"a":1}`, func(s *Session) { Pop[string](s, "t"); Update(s, "t", func(s string) string { return s + "!" }) }, "", ErrConflict},
		"pop, set, there":     {`{"t":"x"}`, `{"t":"x","a":1}`, func(s *Session) { Pop[string](s, "t"); s.Set("t", "new") }, `{"t":"new","a":1}`, nil},
		"update, pop, taken":  {`{"t":"x"}`, `{"a":1}`, func(s *Session) { Update(s, "t", func(s string) string { return s + "!" }); Pop[string](s, "t") }, "", ErrConflict},
		"pop of one's own":    {`{"a":1}`, `{"a":1,"t":"other"}`, func(s *Session) { s.Set("t", "mine"); Pop[string](s, "t") }, `{"a":1}`, nil},
		"set, pop, taken":     {`{"t":"x"}`, `{"a":1}`, func(s *Session) { s.Set("t", "mine"); Pop[string](s, "t") }, `{"a":1}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := loadedSession(t, tc.loaded)
			tc.do(s)
			got, err := saved(t, s, tc.table)
			switch {
			case errors.Is(tc.err, errAny):
				require.Error(t, err)
			case tc.err != nil:
				require.ErrorIs(t, err, tc.err)
			default:
				require.NoError(t, err)
				assert.Equal(t, tc.want, got)
				assert.Equal(t, tc.want, dataOf(t, s), "the session shows what is stored")
				assert.False(t, s.changed())
			}
		})
	}
}

var errAny = errors.New("any")

func TestSessionPop(t *testing.T) {
	s := loadedSession(t, `{"token":"abc"}`)
	v, ok := Pop[string](s, "token")
	assert.True(t, ok)
	assert.Equal(t, "abc", v)
	v, ok = Pop[string](s, "token")
	assert.False(t, ok, "once")
	assert.Empty(t, v)
	assert.Empty(t, s.Keys())
}

func TestSessionFlashes(t *testing.T) {
	type note struct{ Level, Text string }
	s := loadedSession(t, `{"a":1}`)
	s.AddFlash("first")
	s.AddFlash(note{"warn", "second"})
	s.AddFlash("third")
	s.AddFlash("third")
	assert.Equal(t, []string{"a"}, s.Keys(), "flashes are no keys")

	assert.Equal(t, []string{"first", "third", "third"}, Flashes[string](s), "oldest first, also equal ones")
	assert.Empty(t, Flashes[string](s), "once")
	assert.Equal(t, []note{{"warn", "second"}}, Flashes[note](s), "others are left")
	assert.Nil(t, Flashes[note](s))
	assert.Equal(t, `{"a":1}`, dataOf(t, s))

	// Two requests' flashes are both kept.
	one, two := loadedSession(t, `{}`), loadedSession(t, `{}`)
	one.AddFlash("one")
	two.AddFlash("two")
	table, err := saved(t, one, `{}`)
	require.NoError(t, err)
	table, err = saved(t, two, table)
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "two"}, Flashes[string](loadedSession(t, table)))
	assert.Equal(t, []string{"one", "two"}, Flashes[string](two), "after a save the session shows what is stored")
}

// TestUpdateRunsWithoutMutex: f is the caller's code, and may use the session.
func TestUpdateRunsWithoutMutex(t *testing.T) {
	s := bareSession()
	s.Set("step", 5)
	calls := 0
	Update(s, "n", func(n int) int {
		calls++
		step, _ := Get[int](s, "step")
		if calls == 1 {
			s.Set("seen", true) // makes the first run stale
		}
		return n + step
	})
	n, _ := Get[int](s, "n")
	assert.Equal(t, 5, n)
	assert.Equal(t, 2, calls)
}

func TestSessionSettle(t *testing.T) {
	plus1 := func(n int) int { return n + 1 }
	for name, tc := range map[string]struct {
		before, during func(s *Session)
		table          string // what the save leaves
		shows          string // after it succeeded
		next           string // what the next save then leaves
		retry          string // after it failed: what the next save leaves, on the table as it was loaded
	}{
		"nothing during": {
			func(s *Session) { s.Set("a", 2) }, func(*Session) {},
			`{"a":2,"b":9}`, `{"a":2,"b":9}`, `{"a":2,"b":9}`, `{"a":2,"n":1}`,
		},
		"another key": {
			func(s *Session) { s.Set("a", 2) }, func(s *Session) { s.Set("c", 3) },
			`{"a":2,"n":1}`, `{"a":2,"n":1,"c":3}`, `{"a":2,"n":1,"c":3}`, `{"a":2,"n":1,"c":3}`,
		},
		"same key": {
			func(s *Session) { s.Set("a", 2) }, func(s *Session) { s.Set("a", 3) },
			`{"a":2,"n":1}`, `{"a":3,"n":1}`, `{"a":3,"n":1}`, `{"a":3,"n":1}`,
		},
		"deleted": {
			func(s *Session) { s.Set("a", 2) }, func(s *Session) { s.Delete("a") },
			`{"a":2,"n":1}`, `{"n":1}`, `{"n":1}`, `{"n":1}`,
		},
		"set back": {
			func(s *Session) { s.Delete("a") }, func(s *Session) { s.Set("a", 1) },
			`{"n":1}`, `{"n":1,"a":1}`, `{"n":1,"a":1}`, `{"a":1,"n":1}`,
		},
		"updated twice": {
			func(s *Session) { Update(s, "n", plus1) }, func(s *Session) { Update(s, "n", plus1) },
			`{"a":1,"n":11}`, `{"a":1,"n":12}`, `{"a":1,"n":12}`, `{"a":1,"n":3}`,
		},
		"set, then updated": {
			func(s *Session) { s.Set("n", 5) }, func(s *Session) { Update(s, "n", plus1) },
			`{"a":1,"n":5}`, `{"a":1,"n":6}`, `{"a":1,"n":6}`, `{"a":1,"n":6}`,
		},
		"deleted, then updated": {
			func(s *Session) { s.Delete("n") }, func(s *Session) { Update(s, "n", plus1) },
			`{"a":1}`, `{"a":1,"n":1}`, `{"a":1,"n":1}`, `{"a":1,"n":1}`,
		},
		"updated, then set": {
			func(s *Session) { Update(s, "n", plus1) }, func(s *Session) { s.Set("n", 7) },
			`{"a":1,"n":11}`, `{"a":1,"n":7}`, `{"a":1,"n":7}`, `{"a":1,"n":7}`,
		},
		"set, then popped": {
			func(s *Session) { s.Set("t", "x") }, func(s *Session) { Pop[string](s, "t") },
			`{"a":1,"n":1,"t":"x"}`, `{"a":1,"n":1}`, `{"a":1,"n":1}`, `{"a":1,"n":1}`,
		},
	} {
		const loaded = `{"a":1,"n":1}`
		start := func(t *testing.T) (*Session, checkout) {
			t.Helper()
			s := loadedSession(t, loaded)
			tc.before(s)
			w := s.checkOut()
			assert.False(t, s.changed(), "the save has taken the changes over")
			tc.during(s)
			return s, w
		}
		t.Run(name+": saved", func(t *testing.T) {
			s, w := start(t)
			rec := *s.rec
			rec.Rev++
			s.settle(&w, &result{rec: &rec, id: s.id, vals: splitValues(t, tc.table)}, nil)
			assert.Equal(t, tc.shows, dataOf(t, s))
			assert.Equal(t, rec.Rev, s.rec.Rev)
			got, err := saved(t, s, tc.table)
			require.NoError(t, err)
			assert.Equal(t, tc.next, got)
		})
		t.Run(name+": failed", func(t *testing.T) {
			s, w := start(t)
			shown := dataOf(t, s)
			s.settle(&w, nil, ErrConflict)
			assert.True(t, s.changed(), "the changes are pending again")
			assert.Equal(t, shown, dataOf(t, s))
			got, err := saved(t, s, loaded)
			require.NoError(t, err)
			assert.Equal(t, tc.retry, got)
		})
	}
}

func TestSessionSettleAttributes(t *testing.T) {
	t.Run("failed", func(t *testing.T) {
		s := loadedSession(t, `{}`)
		s.SetUser("alice")
		s.LimitTo(testNow.Add(time.Hour))
		w := s.checkOut()
		assert.Equal(t, "alice", w.meta.User)
		s.SetUser("bob")
		s.LimitTo(testNow.Add(2 * time.Hour))
		s.settle(&w, nil, ErrConflict)
		assert.Equal(t, "bob", s.User())
		w = s.checkOut()
		assert.True(t, w.renew)
		assert.Equal(t, testNow.Unix()+3600, w.meta.Until, "a limit only comes earlier")
		s.settle(&w, nil, ErrConflict)
	})
	t.Run("renewed", func(t *testing.T) {
		s := loadedSession(t, `{}`)
		old := s.ID()
		s.SetUser("alice")
		w := s.checkOut()
		rec := *w.rec
		rec.Meta = w.meta
		s.settle(&w, &result{rec: &rec, id: newID(), vals: w.vals}, nil)
		assert.NotEqual(t, old, s.ID())
		assert.Equal(t, "alice", s.User())
		assert.Equal(t, testNow, s.AuthTime())
		assert.False(t, s.changed())
	})
	t.Run("destroyed meanwhile", func(t *testing.T) {
		s := loadedSession(t, `{"a":1}`)
		s.Set("b", 2)
		w := s.checkOut()
		s.Destroy()
		s.Set("c", 3)
		rec := *w.rec
		rec.Rev = 7
		s.settle(&w, &result{rec: &rec, id: newID(), vals: w.vals}, nil)
		assert.Equal(t, `{"c":3}`, dataOf(t, s))
		assert.True(t, s.IsNew())
		assert.Empty(t, s.ID())
		next := s.checkOut()
		assert.True(t, next.destroy)
		assert.Equal(t, &rec, next.destroyed, "what that save has left is to be deleted")
		assert.Nil(t, next.rec)
	})
	t.Run("destroyed meanwhile, failed", func(t *testing.T) {
		s := loadedSession(t, `{"a":1}`)
		rec := s.rec
		s.Set("b", 2)
		w := s.checkOut()
		s.Destroy()
		s.settle(&w, nil, ErrConflict)
		next := s.checkOut()
		assert.True(t, next.destroy)
		assert.Equal(t, rec, next.destroyed)
		assert.Empty(t, next.changes, "what was set before is gone")
	})
	t.Run("a save that destroyed", func(t *testing.T) {
		s := loadedSession(t, `{"a":1}`)
		s.LimitTo(testNow.Add(-time.Hour))
		w := s.checkOut()
		s.settle(&w, &result{}, nil)
		assert.True(t, s.IsNew())
		assert.Empty(t, s.ID())
		assert.Empty(t, s.Keys())
		assert.Equal(t, testNow, s.Created())
	})
	t.Run("Destroy twice", func(t *testing.T) {
		s := loadedSession(t, `{"a":1}`)
		rec := s.rec
		s.Destroy()
		s.Set("x", 1)
		s.Destroy()
		w := s.checkOut()
		assert.Equal(t, rec, w.destroyed)
		assert.Empty(t, w.vals.list)
	})
}

func TestSessionAttributes(t *testing.T) {
	now := testNow.Unix()
	s := bareSession()
	assert.True(t, s.IsNew())
	assert.Empty(t, s.ID())
	assert.Empty(t, s.Ref())
	assert.Empty(t, s.User())
	assert.True(t, s.AuthTime().IsZero())
	assert.Equal(t, testNow, s.Created())
	assert.Equal(t, testNow.Add(time.Hour), s.Expires())

	s.SetUser("alice")
	assert.Equal(t, "alice", s.User())
	assert.Equal(t, testNow, s.AuthTime())
	s.SetUser("")
	assert.Empty(t, s.User())
	assert.True(t, s.AuthTime().IsZero())

	s = loadedSession(t, `{}`)
	assert.False(t, s.IsNew())
	assert.Len(t, s.Ref(), 16)
	assert.NotContains(t, s.ID(), s.Ref())
	s.rec.Meta.User, s.rec.Meta.Auth = "bob", now-500
	assert.Equal(t, "bob", s.User())
	assert.Equal(t, testNow.Add(-500*time.Second), s.AuthTime())
	s.rec.Meta.Born = 0
	assert.True(t, s.Created().IsZero(), "PHP's items do not tell")

	t.Run("expiry", func(t *testing.T) {
		const hour = time.Hour
		for name, tc := range map[string]struct {
			do   func(s *Session)
			want time.Duration // from now
		}{
			"stored":               {func(*Session) {}, hour},
			"limit":                {func(s *Session) { s.LimitTo(testNow.Add(10 * time.Minute)) }, 10 * time.Minute},
			"later limit":          {func(s *Session) { s.LimitTo(testNow.Add(48 * hour)) }, hour},
			"limit that passed":    {func(s *Session) { s.LimitTo(testNow.Add(-hour)) }, -hour},
			"two limits":           {func(s *Session) { s.LimitTo(testNow.Add(hour / 2)); s.LimitTo(testNow.Add(hour / 4)) }, hour / 4},
			"two limits, turned":   {func(s *Session) { s.LimitTo(testNow.Add(hour / 4)); s.LimitTo(testNow.Add(hour / 2)) }, hour / 4},
			"remember":             {func(s *Session) { s.Remember(720 * hour) }, 720 * hour},
			"remember less":        {func(s *Session) { s.Remember(hour / 2) }, hour / 2},
			"remember a moment":    {func(s *Session) { s.Remember(time.Millisecond) }, time.Second},
			"remember, undone":     {func(s *Session) { s.Remember(720 * hour); s.Remember(0) }, hour},
			"remember, minus":      {func(s *Session) { s.Remember(-hour) }, hour},
			"remember, then limit": {func(s *Session) { s.Remember(720 * hour); s.LimitTo(testNow.Add(100 * hour)) }, 100 * hour},
			"limit, then remember": {func(s *Session) { s.LimitTo(testNow.Add(100 * hour)); s.Remember(720 * hour) }, 100 * hour},
		} {
			t.Run(name, func(t *testing.T) {
				s := loadedSession(t, `{}`)
				tc.do(s)
				assert.Equal(t, testNow.Add(tc.want), s.Expires())
			})
		}
	})
}

func TestPendingAttrs(t *testing.T) {
	const life, born = 86400, 1000
	stored := protocol.Meta{Born: born, Until: born + life}
	for name, tc := range map[string]struct {
		a    protocol.Meta
		p    pending
		want protocol.Meta
	}{
		"nothing":           {stored, pending{}, stored},
		"limit":             {stored, pending{limit: 5000}, protocol.Meta{Born: born, Until: 5000, Limit: 5000}},
		"later limit":       {stored, pending{limit: 1 << 40}, protocol.Meta{Born: born, Until: born + life, Limit: 1 << 40}},
		"a limit stays":     {protocol.Meta{Born: born, Until: 3000, Limit: 3000}, pending{limit: 5000}, protocol.Meta{Born: born, Until: 3000, Limit: 3000}},
		"remember":          {stored, pending{remember: &remembering{idle: 1 << 20, at: 2000}}, protocol.Meta{Born: born, Until: 2000 + 1<<20, Idle: 1 << 20}},
		"remember, limited": {protocol.Meta{Born: born, Until: 3000, Limit: 3000}, pending{remember: &remembering{idle: 1 << 20, at: 2000}}, protocol.Meta{Born: born, Until: 3000, Limit: 3000, Idle: 1 << 20}},
		"forget":            {protocol.Meta{Born: born, Until: 1 << 30, Idle: 1 << 20}, pending{remember: &remembering{idle: 0, at: 2000}}, stored},
		"forget, limited":   {protocol.Meta{Born: born, Until: 3000, Limit: 3000, Idle: 9}, pending{remember: &remembering{idle: 0, at: 2000}}, protocol.Meta{Born: born, Until: 3000, Limit: 3000}},
		"sign in":           {stored, pending{signIn: &signIn{user: "alice", at: 7}}, protocol.Meta{Born: born, Until: born + life, User: "alice", Auth: 7}},
		"sign out":          {protocol.Meta{User: "alice", Auth: 7}, pending{signIn: &signIn{user: "", at: 9}}, protocol.Meta{}},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tc.want, tc.p.attrs(tc.a, life)) })
	}
}

func TestEarlier(t *testing.T) {
	for _, tc := range [][3]int64{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {5, 6, 5}, {6, 5, 5}, {5, 5, 5}} {
		assert.Equal(t, tc[2], earlier(tc[0], tc[1]), "%v", tc)
	}
}

// TestChangeThen: a change and the next one make one that does what both did.
func TestChangeThen(t *testing.T) {
	put := func(v string) change { return change{key: "k", op: opPut, value: []byte(v)} }
	drop := change{key: "k", op: opDrop}
	add := func(suffix string) change {
		return change{key: "k", updates: []update{func(old []byte) ([]byte, error) { return append(bytes.Clone(old), suffix...), nil }}}
	}
	ops := map[string]func() change{
		"put 1": func() change { return put("1") }, "put 2": func() change { return put("2") }, "drop": func() change { return drop },
		"add a": func() change { return add("a") }, "add b": func() change { return add("b") },
	}
	// onto returns what one change after the other makes of a value; "" is none.
	onto := func(start string, changes ...change) string {
		v := values{}
		if start != "" {
			v.set("k", []byte(start))
		}
		for _, c := range changes {
			require.NoError(t, c.apply(&v))
		}
		got, _ := v.get("k")
		return string(got)
	}
	for n1, c1 := range ops {
		for n2, c2 := range ops {
			for n3, c3 := range ops {
				for _, start := range []string{"", "0"} {
					want := onto(start, c1(), c2(), c3())
					assert.Equal(t, want, onto(start, c1().then(c2()).then(c3())), "%s, %s, %s onto %q", n1, n2, n3, start)
					assert.Equal(t, want, onto(start, c1().then(c2().then(c3()))), "%s, (%s, %s) onto %q", n1, n2, n3, start)
				}
			}
		}
	}
	// The first update is not changed by what is put behind it.
	first := add("a")
	first.updates = append(make([]update, 0, 4), first.updates...)
	x, y := first.then(add("x")), first.then(add("y"))
	for want, c := range map[string]change{"ax": x, "ay": y} {
		v := values{}
		require.NoError(t, c.apply(&v))
		got, _ := v.get("k")
		assert.Equal(t, want, string(got))
	}
}

func TestPendingThen(t *testing.T) {
	rec1, rec2 := &protocol.Record{Key: "1"}, &protocol.Record{Key: "2"}
	put := []change{{key: "a", op: opPut, value: []byte("1")}}
	p := pending{changes: put, signIn: &signIn{user: "alice", at: 1}, remember: &remembering{idle: 5, at: 1}, limit: 50, renew: true}

	got := p.then(pending{})
	assert.Equal(t, p, got)

	got = p.then(pending{changes: []change{{key: "b", op: opDrop}}, signIn: &signIn{user: "bob", at: 2}, remember: &remembering{}, limit: 60})
	assert.Len(t, got.changes, 2)
	assert.Equal(t, &signIn{user: "bob", at: 2}, got.signIn)
	assert.Equal(t, &remembering{}, got.remember)
	assert.Equal(t, int64(50), got.limit)
	assert.True(t, got.renew)
	got = p.then(pending{remember: &remembering{redundant: true}})
	assert.Equal(t, p.remember, got.remember, "it changed nothing of what was to be saved")

	got = p.then(pending{destroy: true, destroyed: rec1})
	assert.Equal(t, pending{destroy: true, destroyed: rec1}, got, "what came before is gone")
	got = got.then(pending{changes: put})
	assert.True(t, got.destroy)
	assert.Equal(t, rec1, got.destroyed)
	assert.Len(t, got.changes, 1)
	got = got.then(pending{destroy: true, destroyed: rec2})
	assert.Equal(t, pending{destroy: true, destroyed: rec1}, got, "what was between never was stored")
	assert.True(t, (&pending{limit: 1}).writes(false))
	assert.False(t, (&pending{renew: true, destroy: true}).writes(false))
}

func TestSessionPrintsNoSecret(t *testing.T) {
	const secret = "hunter2hunter2"
	s := loadedSession(t, `{"password":"`+secret+`"}`)
	s.Set("more", secret+"!")
	s.SetUser("alice-the-user")
	id, key := s.ID(), s.keys.key(s.ID())
	type holder struct {
		Name string
		S    *Session
	}
	type hidden struct{ s *Session }
	check := func(t *testing.T, text string) {
		t.Helper()
		for _, secret := range []string{id, key, secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), "password", "creation",
			strings.Trim(fmt.Sprintf("%d", []byte(secret)[:5]), "[]")} {
			assert.NotContains(t, text, secret)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%5.2v", "%!"} {
		for _, v := range []any{s, []*Session{s}, map[string]*Session{"a": s}, holder{"h", s}, &holder{"h", s}, []any{s}, &s} {
			check(t, fmt.Sprintf(verb, v))
		}
		if verb != "%!" {
			assert.Contains(t, fmt.Sprintf(verb, s), s.Ref())
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} { // fmt calls no methods of unexported fields
		check(t, fmt.Sprintf(verb, hidden{s}))
		check(t, fmt.Sprintf(verb, &hidden{s}))
	}
	check(t, fmt.Errorf("session %v: %w", s, ErrGone).Error())
	assert.Equal(t, s.Ref(), s.String())
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("saved", "session", s, "in", holder{"h", s}, "hidden", hidden{s}, "list", []*Session{s})
			check(t, b.String())
			assert.Contains(t, b.String(), s.Ref())
		})
	}
	data, err := json.Marshal([]any{s})
	require.NoError(t, err)
	check(t, string(data))
}

func TestSessionChangedAfterTheEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(s *Session)
		told bool
	}{
		"set":     {func(s *Session) { s.Set("b", 1) }, true},
		"user":    {func(s *Session) { s.SetUser("x") }, true},
		"destroy": {func(s *Session) { s.Destroy() }, true},
		"pop":     {func(s *Session) { Pop[int](s, "a") }, true},
		"update":  {func(s *Session) { Update(s, "a", func(n int) int { return n + 1 }) }, true},
		"get":     {func(s *Session) { Get[int](s, "a") }, false},
		"keys":    {func(s *Session) { s.Keys() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := loadedSession(t, `{"a":1}`)
			told := 0
			s.saver = orphanage{told: &told}
			l, _ := s.end()
			assert.Nil(t, l)
			tc.do(s)
			assert.Equal(t, tc.told, told > 0)
		})
	}
	s := loadedSession(t, `{}`)
	mine := &lease{}
	s.lease = mine
	l, _ := s.end()
	assert.Same(t, mine, l)
	l, _ = s.end()
	assert.Nil(t, l, "given up once")
}

// TestSessionConcurrently is for the race detector; and no goroutine's checkout is lost.
func TestSessionConcurrently(t *testing.T) {
	const workers, rounds = 16, 50
	s := loadedSession(t, `{"n":0}`)
	for i := range 40 {
		s.Set("token"+strconv.Itoa(i), i)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	popped := map[int]int{}
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				Update(s, "n", func(n int) int { return n + 1 })
				s.Set(fmt.Sprintf("own%d", w), i)
				s.AddFlash(w)
				_, _ = Get[int](s, "n")
				_ = s.Keys()
				_ = s.Has("n")
				_, _, _, _, _ = s.User(), s.Expires(), s.Ref(), s.Created(), s.String()
				if v, ok := Pop[int](s, fmt.Sprintf("token%d", i)); ok {
					mu.Lock()
					popped[v]++
					mu.Unlock()
				}
				s.LimitTo(testNow.Add(time.Duration(w) * time.Hour))
			}
		})
	}
	stop := make(chan struct{})
	saver := make(chan struct{})
	go func() { // saves that fail and saves that hold, all the time
		defer close(saver)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			w := s.checkOut()
			if i%3 == 0 {
				s.settle(&w, nil, ErrConflict)
				continue
			}
			s.settle(&w, &result{rec: w.rec, id: w.id, vals: w.vals}, nil)
		}
	}()
	wg.Wait()
	close(stop)
	<-saver

	n, _ := Get[int](s, "n")
	assert.Equal(t, workers*rounds, n)
	for w := range workers {
		own, _ := Get[int](s, fmt.Sprintf("own%d", w))
		assert.Equal(t, rounds-1, own)
	}
	assert.Len(t, Flashes[int](s), workers*rounds)
	assert.Len(t, popped, 40)
	for token, times := range popped {
		assert.Equal(t, 1, times, "token %d", token)
	}
}

func TestTimes(t *testing.T) {
	assert.Equal(t, int64(1), seconds(1999*time.Millisecond), "rounded down")
	assert.Equal(t, int64(5), epoch(time.Unix(5, 999_999_999)))
	assert.Equal(t, int64(1), epoch(time.Unix(0, 0)), "0 is for what is not set")
	assert.Equal(t, int64(1), epoch(time.Unix(-5, 0)))
	assert.Equal(t, int64(math.MaxInt64/4), epoch(time.Unix(math.MaxInt64/2, 0)), "sums do not overflow")
	assert.True(t, timeOf(0).IsZero())
	assert.Equal(t, time.Unix(7, 0), timeOf(7))
	assert.Zero(t, notBefore(time.Time{}))
	assert.Equal(t, int64(9), notBefore(time.Unix(9, 0)))
	assert.Equal(t, int64(10), notBefore(time.Unix(9, 1)), "what was born in that second may be older")
}

// orphanage counts the changes that come too late.
type orphanage struct {
	saver
	told *int
}

func (o orphanage) saveNow(context.Context, *Session) error { return nil }
func (o orphanage) orphaned()                               { *o.told++ }

// TestKeysAreCopies checks that a session keeps no memory of its caller's strings: some frameworks use it again.
func TestKeysAreCopies(t *testing.T) {
	memory := []byte("key user")
	s := bareSession()
	s.Set(unsafe.String(&memory[0], 3), 1)
	s.SetUser(unsafe.String(&memory[4], 4))
	copy(memory, "xxxxxxxx")
	assert.Equal(t, []string{"key"}, s.Keys())
	assert.Equal(t, "user", s.User())
}
