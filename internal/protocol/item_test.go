package protocol

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRecordMarks(t *testing.T) {
	const c, m1, m2, m3, m4 = "creation", "mark---1", "mark---2", "mark---3", "mark---4"
	for _, tc := range []struct{ have, mark, want string }{
		{"", c, c},
		{c, m1, c + m1},
		{c + m1, m2, c + m2 + m1},
		{c + m2 + m1, m3, c + m3 + m2 + m1},
		{c + m3 + m2 + m1, m4, c + m4 + m3 + m2},
		{c + m3 + m2 + m1, m3, c + m3 + m2}, // one mark for all attempts of a save
	} {
		r := &Record{Marks: tc.have}
		got := r.MarksWith(tc.mark)
		assert.Equal(t, tc.want, got)
		assert.LessOrEqual(t, len(got), 4*markLen)
		after := &Record{Marks: got}
		assert.True(t, after.HasMark(tc.mark))
		if tc.have != "" {
			assert.Equal(t, r.Creation(), after.Creation(), "it never changes")
		}
	}
	r := &Record{Marks: c + m2 + m1}
	assert.Equal(t, c, r.Creation())
	assert.True(t, r.HasMark(m1) && r.HasMark(m2) && r.HasMark(c))
	for _, other := range []string{m3, "", "n---1mar", c + m2} {
		assert.False(t, r.HasMark(other), "%q", other)
	}
	for _, odd := range []string{"", "abc"} {
		assert.Equal(t, odd, (&Record{Marks: odd}).Creation())
		assert.False(t, (&Record{Marks: odd}).HasMark(m1))
	}
	// The marks of the last three writes are known, not that of the fourth.
	r = &Record{Marks: c}
	for i := range 10 {
		r.Marks = r.MarksWith(fmt.Sprintf("mark%04d", i))
		for back := range i {
			assert.Equal(t, back < KeptMarks, r.HasMark(fmt.Sprintf("mark%04d", i-back)))
		}
	}
}

// TestRecordSize: attributes' names, strings' and binaries' bytes, and for a number a byte for
// two digits and one more (Developer Guide, "DynamoDB Item sizes and formats").
func TestRecordSize(t *testing.T) {
	names := Columns{ID: "id", Expires: "expires", Data: "data", User: "user"}
	const base = len("id") + len("k") + len("expires") + 1 + 5
	for name, tc := range map[string]struct {
		r    Record
		want int
	}{
		"least":      {Record{Key: "k", Expires: 1_800_000_000}, base},
		"PHP's":      {Record{Key: "k", Expires: 1_800_000_000, Data: []byte("12345")}, base + len("data") + 5},
		"no data":    {Record{Key: "k", Expires: 1_800_000_000, Data: []byte{}}, base + len("data")},
		"bytes":      {Record{Key: "k", Expires: 1_800_000_000, Meta: Meta{User: "ü€"}}, base + len("user") + 5},
		"one digit":  {Record{Key: "k", Expires: 1_800_000_000, Rev: 9}, base + len("rev") + 2},
		"two digits": {Record{Key: "k", Expires: 1_800_000_000, Rev: 99}, base + len("rev") + 2},
		"three":      {Record{Key: "k", Expires: 1_800_000_000, Rev: 100}, base + len("rev") + 3},
		"all": {Record{
			Key: "k", Expires: 1_800_000_000, Data: []byte("x"), Rev: 1, Marks: strings.Repeat("m", 32), Lock: 1_800_000_000_000, Holder: "12345678",
			Meta: Meta{User: "alice", Auth: 1_800_000_000, Born: 1_800_000_000, Until: 1_800_000_000, Limit: 1_800_000_000, Idle: 3600},
		}, base + 4 + 1 + 3 + 2 + 1 + 32 + 4 + 8 + 6 + 8 + 4 + 5 + 4 + 6 + 4 + 6 + 5 + 6 + 5 + 6 + 4 + 3},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tc.want, tc.r.Size(names))
			without := tc.r
			without.Data = nil
			assert.Equal(t, without.Size(names), tc.r.SizeWithoutData(names))
		})
	}
	long := Columns{ID: "identifier", Expires: "e", Data: "d", User: "u"}
	r := Record{Key: "k", Expires: 7, Data: []byte("12"), Meta: Meta{User: "u"}}
	assert.Equal(t, 10+1+1+2+1+2+1+1, r.Size(long))
}

func TestWriteUnits(t *testing.T) {
	for size, want := range map[int]int{0: 1, 1: 1, 1024: 1, 1025: 2, 2048: 2, 2049: 3, MaxItem: 400} {
		assert.Equal(t, want, WriteUnits(size), "%d bytes", size)
	}
}

func TestRulesLive(t *testing.T) {
	const now, life = int64(100_000), int64(1000)
	for name, tc := range map[string]struct {
		r         Record
		notBefore int64
		want      bool
	}{
		"lives":                      {Record{Expires: now + 1, Meta: Meta{Born: now - 10, Until: now + 900}}, 0, true},
		"expires now":                {Record{Expires: now, Meta: Meta{Born: now - 10, Until: now + 900}}, 0, false},
		"expired":                    {Record{Expires: now - 1, Meta: Meta{Born: now - 10, Until: now + 900}}, 0, false},
		"no expiry":                  {Record{Meta: Meta{Born: now - 10, Until: now + 900}}, 0, false},
		"PHP's":                      {Record{Expires: now + 1}, 0, true},
		"until now":                  {Record{Expires: now + 1, Meta: Meta{Until: now}}, 0, false},
		"until, a second more":       {Record{Expires: now + 1, Meta: Meta{Until: now + 1}}, 0, true},
		"PHP wrote past until":       {Record{Expires: now + 9999, Meta: Meta{Born: now - 10, Until: now - 1}}, 0, false},
		"lifetime over":              {Record{Expires: now + 1, Meta: Meta{Born: now - life}}, 0, false},
		"lifetime, a second more":    {Record{Expires: now + 1, Meta: Meta{Born: now - life + 1}}, 0, true},
		"lifetime over, until not":   {Record{Expires: now + 1, Meta: Meta{Born: now - life, Until: now + 5}}, 0, false},
		"remembered past lifetime":   {Record{Expires: now + 1, Meta: Meta{Born: now - 5*life, Until: now + 5, Idle: 50}}, 0, true},
		"remembered, expired":        {Record{Expires: now, Meta: Meta{Born: now - 5*life, Until: now + 5, Idle: 50}}, 0, false},
		"remembered, until over":     {Record{Expires: now + 1, Meta: Meta{Born: now - 5*life, Until: now, Idle: 50}}, 0, false},
		"born in the future":         {Record{Expires: now + 1, Meta: Meta{Born: now + 2, Until: now + life}}, 0, true},
		"born before NotBefore":      {Record{Expires: now + 1, Meta: Meta{Born: now - 10}}, now - 9, false},
		"born at NotBefore":          {Record{Expires: now + 1, Meta: Meta{Born: now - 10}}, now - 10, true},
		"PHP's, with NotBefore":      {Record{Expires: now + 1}, now - 10, false},
		"remembered, with NotBefore": {Record{Expires: now + 1, Meta: Meta{Born: now - 5*life, Until: now + 5, Idle: 50}}, now - 10, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := Rules{Idle: 100, Lifetime: life, TouchAfter: 10, NotBefore: tc.notBefore}
			assert.Equal(t, tc.want, l.Live(&tc.r, now))
		})
	}
}

func TestRulesExpiry(t *testing.T) {
	const now = int64(100_000)
	l := Rules{Idle: 100, Lifetime: 1000, TouchAfter: 10}
	for name, tc := range map[string]struct {
		a    Meta
		want int64
	}{
		"idle":       {Meta{Born: now, Until: now + 1000}, now + 100},
		"until":      {Meta{Born: now, Until: now + 50}, now + 50},
		"remembered": {Meta{Born: now, Until: now + 5000, Idle: 5000}, now + 5000},
		"PHP's":      {Meta{}, now + 100},
		"no until":   {Meta{Born: now - 950}, now + 50},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tc.want, l.Expiry(tc.a, now)) })
	}
	assert.Equal(t, Meta{Born: now, Until: now + 1000}, l.Stamped(Meta{}, now))
	assert.Equal(t, Meta{Born: 5, Until: 1005}, l.Stamped(Meta{Born: 5}, now))
	assert.Equal(t, Meta{Born: 5, Until: 7}, l.Stamped(Meta{Born: 5, Until: 7}, now))
}

func TestRulesTouchDue(t *testing.T) {
	const now = int64(100_000)
	a := Meta{Born: now - 500, Until: now + 500}
	for name, tc := range map[string]struct {
		touchAfter, expires int64
		a                   Meta
		want                bool
	}{
		"fresh":               {10, now + 100, a, false},
		"nine seconds old":    {10, now + 91, a, false},
		"ten seconds old":     {10, now + 90, a, true},
		"near its end":        {10, now + 50, Meta{Born: now, Until: now + 50}, false},
		"not beyond the end":  {10, now + 45, Meta{Born: now, Until: now + 50}, false},
		"never back":          {10, now + 160, a, false},
		"too far away":        {10, now + 161, a, true},
		"at every second":     {0, now + 99, a, true},
		"not when as it is":   {0, now + 100, a, false},
		"remembered: at once": {10, now + 5000, Meta{Born: now, Until: now + 5000, Idle: 5000}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := Rules{Idle: 100, Lifetime: 1000, TouchAfter: tc.touchAfter}
			assert.Equal(t, tc.want, l.TouchDue(&Record{Expires: tc.expires, Meta: tc.a}, now))
		})
	}
}

func TestRulesLastUsed(t *testing.T) {
	l := Rules{Idle: 100, Lifetime: 1000, TouchAfter: 10}
	for name, tc := range map[string]struct {
		r                Record
		earliest, latest int64
	}{
		"exact to TouchAfter":   {Record{Expires: 600, Meta: Meta{Born: 100, Until: 1100}}, 500, 510},
		"PHP's":                 {Record{Expires: 600}, 500, 510},
		"not before its birth":  {Record{Expires: 150, Meta: Meta{Born: 100, Until: 1100}}, 100, 100},
		"not before a sign-in":  {Record{Expires: 600, Meta: Meta{Born: 100, Until: 1100, Auth: 505}}, 505, 510},
		"cut by its end":        {Record{Expires: 1100, Meta: Meta{Born: 100, Until: 1100}}, 1000, 1100},
		"PHP wrote past it":     {Record{Expires: 1200, Meta: Meta{Born: 100, Until: 1100}}, 1100, 1200},
		"remembered":            {Record{Expires: 5100, Meta: Meta{Born: 50, Until: 5100, Idle: 5000}}, 100, 5100},
		"remembered, then used": {Record{Expires: 4000, Meta: Meta{Born: 50, Until: 5100, Idle: 3000}}, 1000, 1010},
	} {
		t.Run(name, func(t *testing.T) {
			earliest, latest := l.LastUsed(&tc.r)
			assert.Equal(t, tc.earliest, earliest)
			assert.Equal(t, tc.latest, latest)
		})
	}
}
