package dynasession

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession/internal/protocol"
)

// TestPlan: what a save has to do follows from the checkout alone.
func TestPlan(t *testing.T) {
	const now = 1000
	rules := protocol.Rules{Idle: 100, Lifetime: 500, TouchAfter: 10}
	meta := protocol.Meta{Born: 900, Until: 1400}
	live := &protocol.Record{Key: "k", Expires: 1050, Meta: meta}
	tombstone := &protocol.Record{Key: "k", Tombstone: true, Moved: "n", Expires: 1020}
	put := pending{changes: []change{{key: "a", op: opPut, value: []byte("1")}}}
	redundant := pending{changes: []change{{key: "a", op: opPut, value: []byte("1"), redundant: true}}}
	signedIn := pending{signIn: &signIn{user: "alice", at: now}, renew: true}
	signedOut := pending{signIn: &signIn{at: now}, renew: true}
	limited := pending{limit: now}
	values := values{list: []KeyValue{{"a", []byte("1")}}}
	user := func(name string) protocol.Meta { m := meta; m.User = name; return m }
	remembered := meta
	remembered.Until = now

	for name, test := range map[string]struct {
		c    checkout
		sent bool
		want step
		err  error
	}{
		"new, empty":                        {checkout{meta: meta}, false, stepNothing, nil},
		"new, with a value":                 {checkout{pending: put, meta: meta, vals: values}, false, stepCreate, nil},
		"new, signed in":                    {checkout{pending: signedIn, meta: user("alice")}, false, stepCreate, nil},
		"new, its headers sent":             {checkout{pending: put, meta: meta, vals: values}, true, stepNothing, errHeadersSent},
		"new, empty, its headers sent":      {checkout{meta: meta}, true, stepNothing, nil},
		"new, limited to the past":          {checkout{pending: limited, meta: meta, vals: values}, false, stepNothing, nil},
		"new, over before it is saved":      {checkout{pending: put, meta: remembered, vals: values}, false, stepNothing, ErrGone},
		"stored, nothing changed":           {checkout{rec: live, meta: meta, vals: values}, false, stepKeep, nil},
		"stored, changed":                   {checkout{pending: put, rec: live, meta: meta, vals: values}, false, stepWrite, nil},
		"stored, changed, headers sent":     {checkout{pending: put, rec: live, meta: meta, vals: values}, true, stepWrite, nil},
		"stored, redundant":                 {checkout{pending: redundant, rec: live, meta: meta, vals: values}, false, stepKeep, nil},
		"stored, redundant, headers sent":   {checkout{pending: redundant, rec: live, meta: meta, vals: values}, true, stepWrite, nil},
		"stored, signed in":                 {checkout{pending: signedIn, rec: live, meta: user("alice")}, false, stepWrite, nil},
		"stored, signed in, headers sent":   {checkout{pending: signedIn, rec: live, meta: user("alice")}, true, stepNothing, errHeadersSent},
		"stored, renewed":                   {checkout{pending: pending{renew: true}, rec: live, meta: meta}, false, stepWrite, nil},
		"stored, limited to the past":       {checkout{pending: limited, rec: live, meta: meta}, false, stepEnd, nil},
		"stored, limited, headers sent":     {checkout{pending: limited, rec: live, meta: meta}, true, stepEnd, nil},
		"stored, Remember leaves no time":   {checkout{pending: pending{remember: &remembering{at: now}}, rec: live, meta: remembered}, false, stepEnd, nil},
		"ghost, reads":                      {checkout{ghost: tombstone, meta: meta}, false, stepNothing, nil},
		"ghost, changes":                    {checkout{pending: put, ghost: tombstone, meta: meta, vals: values}, false, stepNothing, ErrGone},
		"ghost, changes, redundantly":       {checkout{pending: redundant, ghost: tombstone, meta: meta}, false, stepNothing, ErrGone},
		"ghost, Remember":                   {checkout{pending: pending{remember: &remembering{idle: 5, redundant: true}}, ghost: tombstone, meta: meta}, false, stepNothing, ErrGone},
		"ghost, signs in":                   {checkout{pending: signedIn, ghost: tombstone, meta: user("alice")}, false, stepGhost, nil},
		"ghost, signs in, headers sent":     {checkout{pending: signedIn, ghost: tombstone, meta: user("alice")}, true, stepNothing, errHeadersSent},
		"ghost, signs nobody in":            {checkout{pending: signedOut, ghost: tombstone, meta: meta}, false, stepNothing, ErrGone},
		"a user that is not UTF-8":          {checkout{pending: signedIn, rec: live, meta: user("\xff")}, false, stepNothing, errUser},
		"a user that is too long":           {checkout{pending: signedIn, rec: live, meta: user(strings.Repeat("a", maxUser+1))}, false, stepNothing, ErrTooLarge},
		"a stored user that is not UTF-8":   {checkout{rec: live, meta: user("\xff")}, false, stepKeep, nil},
		"a user of just the largest length": {checkout{pending: signedIn, rec: live, meta: user(strings.Repeat("a", maxUser))}, false, stepWrite, nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := test.c
			got, err := test.c.plan(rules, now, test.sent)
			require.ErrorIs(t, err, test.err)
			assert.Equal(t, test.want, got)
			assert.Equal(t, before, test.c, "it changes nothing")
		})
	}
}
