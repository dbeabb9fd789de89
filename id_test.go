package dynasession

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession/internal/protocol"
)

func isAlnum(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

func TestNewID(t *testing.T) {
	const n = 100_000
	seen := make(map[string]struct{}, n)
	var counts [idLen][256]int
	keys := testKeyspace("session", false)
	for range n {
		id := newID()
		if len(id) != 43 || !isAlnum(id) || !keys.valid(id) {
			t.Fatalf("%q has not the form of an id", id)
		}
		seen[id] = struct{}{}
		for i := range len(id) {
			counts[i][id[i]]++
		}
	}
	assert.Len(t, seen, n, "ids that are there twice")

	// Of each position, and of the whole. Of 61 degrees of freedom, more than 175 or less than
	// 11 comes by chance in one of 10^12 counts: in less than one of 10^10 runs. A byte modulo
	// 62 would give over 500 for each position.
	var all [256]int
	for i, count := range counts {
		for c, n := range count {
			all[c] += n
		}
		assertEven(t, count, n, "position %d", i)
	}
	assertEven(t, all, n*idLen, "all positions")
}

// assertEven is a chi-square test of so many letters of the alphabet.
func assertEven(t *testing.T, count [256]int, n int, what ...any) {
	t.Helper()
	expected := float64(n) / float64(len(idAlphabet))
	chi := 0.0
	for i := range len(idAlphabet) {
		d := float64(count[idAlphabet[i]]) - expected
		chi += d * d / expected
	}
	assert.Less(t, chi, 175.0, what...)
	assert.Greater(t, chi, 11.0, what...)
}

func TestNewMark(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		mark := protocol.NewMark()
		require.Len(t, mark, 8)
		assert.True(t, isAlnum(strings.NewReplacer("-", "", "_", "").Replace(mark)), mark)
		seen[mark] = true
	}
	assert.Len(t, seen, 10_000)
}

func TestKeyspaceValid(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	for _, tc := range []struct {
		id            string
		hashed, plain bool
	}{
		{"", false, false},
		{a(43), true, true},
		{a(42), false, true},
		{a(44), false, true},
		{a(21), false, false},
		{a(22), false, true},
		{a(256), false, true},
		{a(257), false, false},
		{a(42) + "Z", true, true},
		{a(42) + "0", true, true},
		{a(42) + "9", true, true},
		{a(42) + "-", false, true},
		{a(42) + ",", false, true},
		{a(42) + "_", false, false},
		{a(42) + ".", false, false},
		{a(42) + "/", false, false},
		{a(42) + ":", false, false},
		{a(42) + "@", false, false},
		{a(42) + "[", false, false},
		{a(42) + "`", false, false},
		{a(42) + "{", false, false},
		{a(42) + " ", false, false},
		{a(42) + "\x00", false, false},
		{a(42) + "\n", false, false},
		{a(42) + "\xff", false, false},
		{a(41) + "ä", false, false},
		{"_" + a(42), false, false},
	} {
		assert.Equal(t, tc.hashed, testKeyspace("s", false).valid(tc.id), "hashed: %q", tc.id)
		assert.Equal(t, tc.plain, testKeyspace("s", true).valid(tc.id), "plain: %q", tc.id)
	}
}

func TestKeyspaceKey(t *testing.T) {
	id := newID()
	sum := sha256.Sum256([]byte(id))
	hash := hex.EncodeToString(sum[:])
	for _, name := range []string{"session", "PHPSESSID", "a.b-c", "_a", "__a__", "a_", "a_b", "_._"} {
		hashed, plain := testKeyspace(name, false), testKeyspace(name, true)
		// PHP's handler: trim(name . '_' . id, '_').
		assert.Equal(t, strings.Trim(name+"_"+hash, "_"), hashed.key(id))
		assert.Equal(t, strings.Trim(name+"_"+id, "_"), plain.key(id))
		assert.NotContains(t, hashed.key(id), id)
		assert.True(t, hashed.owns(hashed.key(id)))
		assert.True(t, plain.owns(plain.key(id)))
	}
	assert.NotEqual(t, testKeyspace("a", false).key(id), testKeyspace("b", false).key(id))
}

func TestKeyspaceOwns(t *testing.T) {
	id := newID()
	names := []string{"session", "session_", "session_a", "session.a", "sess", "Session", "x"}
	for _, plain := range []bool{false, true} {
		for _, mine := range names {
			for _, other := range names {
				k := testKeyspace(other, plain).key(id)
				assert.Equal(t, mine == other, testKeyspace(mine, plain).owns(k), "%s owns %s", mine, k)
			}
		}
	}
	hashed, plain := testKeyspace("s", false), testKeyspace("s", true)
	hash := strings.Repeat("0a", 32)
	assert.True(t, hashed.owns("s_"+hash))
	for _, key := range []string{"", "s", "s_", hash, "_" + hash, "s_" + hash[1:], "s_" + hash + "0", "S_" + hash,
		"s_" + strings.ToUpper(hash), "s_" + hash[1:] + "g", "s_" + hash[1:] + "/", "s_" + id} {
		assert.False(t, hashed.owns(key), key)
	}
	assert.True(t, plain.owns("s_"+id))
	for _, key := range []string{"", "s_", "s_short", "s_" + id + "_", "s_" + strings.Repeat("a", 257), id} {
		assert.False(t, plain.owns(key), key)
	}
}

func TestKeyspaceRef(t *testing.T) {
	for range 1000 {
		id := newID()
		hashed, plain := testKeyspace("s", false), testKeyspace("s", true)
		ref := hashed.ref(hashed.key(id))
		require.Len(t, ref, 16)
		_, err := hex.DecodeString(ref)
		require.NoError(t, err)
		sum := sha256.Sum256([]byte(id))
		require.Equal(t, hex.EncodeToString(sum[:8]), ref)
		require.Equal(t, ref, plain.ref(plain.key(id)), "it does not tell how the id is stored")
	}
	// An id that looks like a hash does not come through.
	plain := testKeyspace("s", true)
	php := strings.Repeat("0123456789abcdef", 2)
	assert.NotContains(t, plain.ref(plain.key(php)), php[:8])
	assert.Empty(t, testKeyspace("s", false).ref(""))
	assert.Equal(t, "abc", testKeyspace("s", false).ref("s_abc"), "a short key is no panic")
}

func FuzzValidID(f *testing.F) {
	for _, id := range []string{"", newID(), strings.Repeat("a", 22), strings.Repeat("-,", 20), strings.Repeat("a", 257), "é", "a_b", strings.Repeat("\xff", 43)} {
		f.Add(id, "session")
	}
	f.Add(newID(), "__x__")
	f.Fuzz(func(t *testing.T, id, name string) {
		hashed, plain := testKeyspace(name, false), testKeyspace(name, true)
		if hashed.valid(id) {
			require.True(t, isAlnum(id) && len(id) == 43, "%q", id)
			require.True(t, plain.valid(id), "%q", id)
			require.True(t, hashed.owns(hashed.key(id)))
		}
		if plain.valid(id) {
			require.True(t, isAlnum(strings.NewReplacer(",", "", "-", "").Replace(id)), "%q", id)
			require.True(t, plain.owns(plain.key(id)))
			require.Equal(t, plain.ref(plain.key(id)), hashed.ref(hashed.key(id)))
		}
		for _, k := range []keyspace{hashed, plain} {
			_ = k.owns(id)
			require.LessOrEqual(t, len(k.ref(id)), 16)
		}
	})
}

func testKeyspace(name string, plain bool) keyspace {
	return newKeyspace(&Config{Name: name, InsecurePlainIDs: plain})
}
