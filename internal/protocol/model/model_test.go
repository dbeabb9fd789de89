package model

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// scenarios are run under each policy. No promise may break in any of them.
var scenarios = []scenario{
	{name: "two changes", deeds: []deed{set, set}, lost: 2, copies: 1},
	{name: "three changes", deeds: []deed{set, count, set}, lost: 1},
	{name: "two updates", deeds: []deed{count, count}, lost: 2, copies: 1},
	{name: "three updates, one mark kept", deeds: []deed{count, count, count}, lost: 1, kept: 1},
	{name: "two pops and a change", deeds: []deed{pop, pop, set}, lost: 1},
	{name: "a change beside a logout", deeds: []deed{set, logout, set}, lost: 1, copies: 1, drops: 1},
	{name: "a renewal beside a change", deeds: []deed{login, set, read}, lost: 1, copies: 1, drops: 1},
	{name: "a renewal beside a logout", deeds: []deed{login, logout, read}, lost: 2, copies: 1, drops: 1},
	{name: "two renewals beside a logout", deeds: []deed{renew, login, logout}, lost: 1, drops: 1},
	{name: "two renewals", deeds: []deed{login, loginOther, read}, lost: 1, drops: 1, ticks: 1},
	{name: "old cookies", deeds: []deed{login, set, count}, fixed: map[int]bool{1: true, 2: true}, drops: 1, ticks: 1},
	{name: "old cookies sign in and out", deeds: []deed{login, loginOther, logout}, fixed: map[int]bool{1: true, 2: true}, drops: 1, lost: 1},
	{name: "a sign-in is lost, twice", deeds: []deed{login, login, login}, drops: 2, lost: 1},
	{name: "a sign-in, a change, and a late sign-in", deeds: []deed{login, set, loginOther}, fixed: map[int]bool{2: true}, drops: 1, lost: 1},
	{name: "another user", deeds: []deed{loginOther, set, read}, signed: true, lost: 1},
	{name: "another user, and an old cookie", deeds: []deed{loginOther, set, login}, signed: true, fixed: map[int]bool{2: true}, drops: 1},
	{name: "answers are mixed up", deeds: []deed{set, read}, mixed: 1},
	{name: "an item that cannot be written", deeds: []deed{set, login}, odd: true},
	{name: "time passes", deeds: []deed{login, set, logout}, fixed: map[int]bool{1: true, 2: true}, ticks: 3},
	{name: "a lease runs out", deeds: []deed{set, set, read}, steals: true},
	{name: "an id is written again", deeds: []deed{logout, write, set}, copies: 1, lost: 1},
	{name: "two sign-ins with the old cookie after a logout", deeds: []deed{login, logout, login, login}, fixed: map[int]bool{2: true, 3: true}},
}

var policyNames = []string{"merge", "lock", "last write wins"}

var expiries = []expiryScenario{
	{name: "alike", servers: [2]server{{6, 0}, {6, 0}}, begin: 6},
	{name: "clocks apart", servers: [2]server{{6, 1}, {6, -1}}, begin: 6},
	{name: "clocks apart, the slow one's first", servers: [2]server{{6, -1}, {6, 1}}, begin: 5},
	{name: "made under a longer time", servers: [2]server{{6, 0}, {6, 0}}, begin: 40},
	{name: "made under a longer time, clocks apart", servers: [2]server{{6, 1}, {6, -1}}, begin: 40},
	{name: "two settings", servers: [2]server{{6, 0}, {30, 0}}, begin: 30},
	{name: "two settings, clocks apart", servers: [2]server{{6, 1}, {30, -1}}, begin: 30},
}

func eachExpiry(f func(sc expiryScenario)) {
	for _, sc := range expiries {
		for _, saves := range []bool{false, true} {
			sc.saves = saves
			f(sc)
		}
	}
}

// soaking is for make soak: all that takes longer.
var soaking = os.Getenv("SOAK") != ""

func TestModel(t *testing.T) {
	begin, states := time.Now(), 0
	for p := merge; p <= lastWins; p++ {
		for _, sc := range scenarios {
			sc.policy = p
			fault, n := sc.check()
			states += n
			assert.Empty(t, fault, "%s, %s", policyNames[p], sc.name)
		}
	}
	for p := merge; p <= lastWins; p++ { // with more that goes wrong
		for _, sc := range scenarios {
			if len(sc.deeds) > 3 && !soaking {
				continue // most of the states: make soak has them
			}
			sc.policy = p
			sc.lost, sc.drops, sc.copies, sc.ticks = 2, 1, 1, max(sc.ticks, 1)
			fault, n := sc.check()
			states += n
			assert.Empty(t, fault, "%s, %s, with more that goes wrong", policyNames[p], sc.name)
		}
	}
	eachExpiry(func(sc expiryScenario) {
		fault, n := sc.check()
		states += n
		assert.Empty(t, fault, "%s, saves %v", sc.name, sc.saves)
	})
	t.Logf("%d states in %v", states, time.Since(begin).Round(time.Millisecond))
}

// ablations are the clauses, and a promise that breaks without each.
var ablations = map[clause]violation{
	sameSession:    "a save has changed another session",
	unchanged:      "an acknowledged change is lost",
	stillLive:      "a session that had ended was saved",
	ownMark:        "an update is lost, or counted twice",
	scrolledOut:    "an update is lost, or counted twice",
	popConflict:    "a token is spent twice",
	renewUnchanged: "an acknowledged change is lost",
	leaves:         "a logout is acknowledged, and the session lives",
	dead:           "a tombstone was changed",
	follows:        "a logout is acknowledged, and the session lives",
	ghostReads:     "a request with the old cookie sees the session",
	ghostChanges:   "a request with the old cookie makes a session, whose cookie replaces the newer one",
	ghostReplaces:  "a session lives under two ids",
	ghostNames:     "a session lives under two ids",
	ghostUnused:    "a late sign-in has ended a session in use",
	dropsValues:    "one user's values are the next one's",
	comparesKeys:   "another's session is served",
	unwritable:     "an item that cannot be written is tried again and again",
	fencesLease:    "a save has passed over another's lock",
	markOfDelete:   "a logout has ended another session",
}

var expiryAblations = map[clause]violation{
	forwardOnly: "a slow clock ends the session earlier for the others",
	touchesGrow: "a slow clock ends the session earlier for the others",
	lowersFar:   "a use leaves an expiry beyond its server's setting",
	lowersSeen:  "a slow clock ends the session earlier for the others",
	hasMargin:   "a slow clock ends the session earlier for the others",
}

// TestAblations: each clause has a promise that breaks without it, so that none is there for nothing, and the model
// sees what it should.
func TestAblations(t *testing.T) {
	for c, want := range ablations {
		broken := map[violation]string{}
		for p := merge; p <= lastWins; p++ {
			for _, sc := range scenarios {
				sc.policy, sc.without = p, c
				if fault, _ := sc.check(); fault != "" {
					broken[fault] = policyNames[p] + ", " + sc.name
					if fault == want && !soaking {
						break
					}
				}
			}
		}
		assert.Contains(t, broken, want, c)
		t.Logf("without %q: %v", c, broken)
	}
	for c, want := range expiryAblations {
		broken := map[violation]bool{}
		eachExpiry(func(sc expiryScenario) {
			sc.without = c
			fault, _ := sc.check()
			broken[fault] = true
		})
		assert.Contains(t, broken, want, c)
	}
}
