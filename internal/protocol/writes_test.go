package protocol

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documented returns the writes as the table of README.md has them, by name: of a session with an owner's mark and revision,
// on a table of this library's alone, unless the name says otherwise.
func documented() map[string]Write {
	l := Rules{Idle: 100, Lifetime: 1000, TouchAfter: 10}
	foreign := l
	foreign.Foreign = true
	base := &Record{Key: "k", Expires: 500, Data: []byte("d"), Rev: 7, Marks: "creation", Meta: Meta{Born: 1, Until: 1001}}
	next := &Record{Key: "k", Expires: 600, Data: []byte("e"), Rev: 8, Marks: "creationmark---1", Meta: base.Meta}
	php := &Record{Key: "k", Expires: 500, Data: []byte("d")}
	stamped := &Record{Key: "k", Expires: 600, Data: []byte("e"), Rev: 1, Marks: "creation", Meta: Meta{Born: 500, Until: 1500}}
	limited := *next
	limited.Meta.Until, limited.Meta.Limit = 800, 800
	user := *next
	user.Meta.User, user.Meta.Auth = "alice", 450
	empty := *next
	empty.Data = nil
	lease := &Lease{Key: "k", End: LeaseFrom + 1, Holder: "holder--"}
	end := Extension{Expires: 600, Forward: true}
	save := func(l Rules, s Save) Write {
		s.End, s.Now = end, 450
		return l.Save(s)
	}
	far := l.Save(Save{Base: base, Next: next, End: Extension{600, true, 500}, Now: 450, Merge: true})
	renewal := l.Renew(base, next, false, nil, 450)
	locked := l.Renew(base, next, false, lease, 450)
	ghost := GhostSignIn("k", "y", true, next, 450)
	return map[string]Write{
		"Create":                          Create(next),
		"Save, Merge":                     save(l, Save{Base: base, Next: next, Merge: true}),
		"Save, no values left":            save(l, Save{Base: base, Next: &empty, Merge: true}),
		"Save, another user":              save(l, Save{Base: base, Next: &user, Merge: true}),
		"Save, an item of PHP's":          save(foreign, Save{Base: php, Next: stamped, Merge: true}),
		"Save, expiry too far":            far,
		"Save, LastWriteWins":             save(l, Save{Base: base, Next: next}),
		"Save, LastWriteWins, LimitTo":    save(l, Save{Base: base, Next: &limited}),
		"Save, Lock":                      save(l, Save{Base: base, Next: next, Merge: true, Lease: lease}),
		"Touch":                           Touch(base, next, 450),
		"Touch, expiry too far":           Touch(next, base, 450),
		"Acquire":                         Acquire(lease, 450, 449_000),
		"LimitLock":                       LimitLock("k", LeaseFrom+1, 450),
		"Release":                         Release(lease),
		"ReleaseTouching":                 ReleaseTouching(lease, base, next, 450),
		"Renew, new item":                 renewal.parts[0],
		"Renew, old item":                 renewal.parts[1],
		"Renew, old item, Lock":           locked.parts[1],
		"Renew, old item, with PHP":       foreign.Renew(base, next, false, nil, 450).parts[1],
		"GhostSignIn, new item":           ghost.parts[0],
		"GhostSignIn, tombstone":          ghost.parts[1],
		"GhostSignIn, session it named":   ghost.parts[2],
		"Destroy, a loaded session":       l.Destroy("k", "creation"),
		"Destroy, by id":                  l.Destroy("k", ""),
		"Destroy, with PHP":               foreign.Destroy("k", "creation"),
		"DeleteSeen, expired":             DeleteSeen(base, 440, false),
		"DeleteSeen, unused":              DeleteSeen(base, 501, true),
		"LimitStub":                       LimitStub("k", LeaseFrom+1),
		"DeleteStub":                      DeleteStub(&Record{Key: "k", Lock: LeaseFrom + 1}),
		"DeleteOf":                        DeleteOf("k", "alice"),
		"Overwrite":                       l.Overwrite(next, end, 0, 450),
		"Overwrite, a remembered session": l.Overwrite(next, end, 50, 450),
		"Replace":                         l.Replace(next, 450),
		"ExtendLive":                      l.ExtendLive("k", 0, 600, 450),
	}
}

// TestWrites compares each write with its row in README.md.
func TestWrites(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	rows := map[string][]string{}
	for line := range strings.SplitSeq(string(text), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) == 4 && strings.HasSuffix(cells[1], "Item") {
			rows[cells[0]] = cells[1:]
		}
	}
	code := func(s string) string {
		if s == "" {
			return "-"
		}
		return "`" + s + "`"
	}
	writes := documented()
	for name, w := range writes {
		want := []string{string(w.op), code(w.expression()), code(w.condition())}
		assert.Equal(t, want, rows[name], "| %s | %s |", name, strings.Join(want, " | "))
	}
	assert.Len(t, rows, len(writes), "each row has a write")
}

// TestPlaceholders: DynamoDB refuses a placeholder that an expression does not use, and a value that nothing names.
func TestPlaceholders(t *testing.T) {
	placeholder := regexp.MustCompile(`:[a-z0-9]+`)
	columns := Columns{ID: "id", Expires: "expires", Data: "data", User: "user"}
	table := &Table{names: columns.placeholders()}
	for name, w := range documented() {
		text := w.expression() + " " + w.condition()
		used := map[string]bool{}
		for _, p := range placeholder.FindAllString(text, -1) {
			used[p] = true
			assert.Contains(t, w.values, p, name)
		}
		assert.Len(t, w.values, len(used), "%s: %v", name, w.values)
		for p, attribute := range table.namesIn(w.expression(), w.condition()) {
			assert.NotEmpty(t, attribute, "%s: %s", name, p)
			assert.Contains(t, text, p, name)
		}
	}
	assert.Empty(t, fmt.Sprint(table.namesIn("", ""))[len("map["):len("map[]")-1])
}

// TestRenewed: what a refused renewal means for the old item.
func TestRenewed(t *testing.T) {
	fresh := &Record{Key: "new", Marks: "creation"}
	refused := func(r *Record) Outcome { return Outcome{Refused: true, Item: r} }
	other := &Record{Key: "old", Marks: "other---"}
	for name, test := range map[string]struct {
		out, want Outcome
		err       error
	}{
		"done":                  {Outcome{}, Outcome{}, nil},
		"busy":                  {Outcome{Busy: true}, Outcome{Busy: true}, nil},
		"the old one refuses":   {Outcome{Refused: true, Parts: []Outcome{{}, refused(other)}}, refused(other), nil},
		"the old one is gone":   {Outcome{Refused: true, Parts: []Outcome{{}, refused(nil)}}, refused(nil), nil},
		"its answer was lost":   {Outcome{Refused: true, Parts: []Outcome{refused(fresh), refused(other)}}, Outcome{}, nil},
		"and its session ended": {Outcome{Refused: true, Parts: []Outcome{{}, refused(Tombstone("old", fresh, 1))}}, Outcome{}, nil},
		"the id is taken":       {Outcome{Refused: true, Parts: []Outcome{refused(other), {}}}, Outcome{}, ErrTaken},
	} {
		got, err := Renewed(test.out, fresh)
		assert.Equal(t, test.want, got, name)
		assert.Equal(t, test.err, err, name)
	}
}
