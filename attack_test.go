package dynasession_test

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// Attacks. SECURITY.md has the list.

// bearing is a browser with a cookie that somebody has given it.
func bearing(t *testing.T, h http.Handler, values ...string) *browser {
	br := newBrowser(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, v := range values {
			r.Header.Add("Cookie", cookieName+"="+v)
		}
		h.ServeHTTP(w, r)
	}))
	return br
}

// TestFixation: an id that an attacker has chosen, knows, or had before is never taken on.
func TestFixation(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("plain ids %v", plain), func(t *testing.T) {
				fixation(t, b, dynasession.Config{Concurrency: policy, InsecurePlainIDs: plain})
			})
		}
	})
}

func fixation(t *testing.T, b *backend, cfg dynasession.Config) {
	sc := newScene(t, b, cfg)
	sc.ok("/login?alice")
	cfg.Table, cfg.Name = sc.table, "admin"
	other := newStore(t, b, cfg)
	otherID := other.CreateID()
	require.NoError(t, other.Write(t.Context(), otherID, []byte(`{"token":"x"}`)))
	destroyed, expired := sc.store.CreateID(), sc.store.CreateID()
	for _, id := range []string{destroyed, expired} {
		require.NoError(t, sc.store.Write(t.Context(), id, []byte(`{"token":"x"}`)))
	}
	require.NoError(t, sc.store.Destroy(t.Context(), destroyed))
	for _, item := range items(t, b, sc.table) {
		if _, signedIn := item["user"]; !signedIn && strings.HasPrefix(attr(item, "id"), "session_") {
			item["expires"] = in(-time.Second)
			putItem(t, b, sc.table, item)
		}
	}
	before := sc.twin()
	sc.ok("/login?alice") // again: the id of before is worth nothing
	for name, id := range map[string]string{
		"chosen": sc.store.CreateID(), "of PHP's form": "php-" + strings.Repeat("0a", 14), "of another name": otherID,
		"destroyed": destroyed, "expired": expired, "of before the sign-in": idOf(before),
	} {
		kept := allItems(t, b, sc.table)
		br := bearing(t, sc.handler, id)
		assert.Equal(t, "none", br.ok("/read"), name)
		if id == idOf(before) {
			w := br.get("/new") // its cookie would replace that of the sign-in
			assert.Equal(t, http.StatusConflict, w.Code, name)
			assert.Empty(t, w.Result().Cookies(), name)
			assert.ElementsMatch(t, kept, allItems(t, b, sc.table), name)
			continue
		}
		br.ok("/new")
		assert.Regexp(t, "^[0-9A-Za-z]{43}$", idOf(br), name)
		assert.NotEqual(t, id, idOf(br), name)
		for _, item := range kept {
			assert.Contains(t, allItems(t, b, sc.table), item, name)
		}
	}
	assert.Equal(t, "n token alice", sc.ok("/read"))
}

// TestTokensAreTheServers: each visitor gets an id that the server has made, and another one
// at each sign-in, also the same user's, and after a sign-out.
func TestTokensAreTheServers(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, plain := range []bool{false, true} {
			sc := emptyScene(t, b, dynasession.Config{InsecurePlainIDs: plain})
			seen := map[string]bool{}
			for range 2 {
				visitor := newBrowser(t, sc.handler)
				for _, path := range []string{"/new", "/login?alice", "/login?alice", "/renew", "/logout", "/new"} {
					visitor.ok(path)
					if path == "/logout" {
						assert.Empty(t, idOf(visitor))
						continue
					}
					id := idOf(visitor)
					assert.Regexp(t, "^[0-9A-Za-z]{43}$", id)
					assert.False(t, seen[id], "%s gave an id again", path)
					seen[id] = true
					_, err := sc.store.Read(t.Context(), id)
					assert.NoError(t, err, "the server knows it")
				}
			}
			assert.Len(t, seen, 10)
		}
	})
}

// TestStolenTable: nothing in the table opens a session, and with keys nothing in it can be
// read.
func TestStolenTable(t *testing.T) {
	const secret = "the-secret-of-alice"
	for _, encrypted := range []bool{false, true} {
		eachBackend(t, func(t *testing.T, b *backend) {
			cfg := dynasession.Config{}
			if encrypted {
				cfg.EncryptionKeys = [][]byte{bytes.Repeat([]byte{7}, 32)}
			}
			sc := newScene(t, b, cfg)
			sc.ok("/set?" + secret)
			sc.ok("/login?alice")
			item := sc.item()
			stolen := ""
			for name := range item {
				stolen += "\n" + attr(item, name)
			}
			assert.NotContains(t, stolen, sc.id())
			assert.Equal(t, !encrypted, strings.Contains(stolen, secret))
			for _, word := range regexp.MustCompile(`[0-9A-Za-z]+`).FindAllString(stolen, -1) {
				for from := range word {
					for _, length := range []int{22, 32, 43, 64} {
						if from+length > len(word) {
							continue
						}
						_, err := sc.store.Read(t.Context(), word[from:from+length])
						require.Error(t, err)
					}
				}
			}
		})
	}
}

// TestTamperedItem: encrypted data that is cut, flipped in one bit, moved to another session,
// replaced by plain data or dressed up as what a former key wrote is an error, not data.
func TestTamperedItem(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{EncryptionKeys: [][]byte{bytes.Repeat([]byte{7}, 32)}})
		sound := sc.item()
		data := []byte(attr(sound, "data"))
		forged := [][]byte{[]byte(deedBefore), append(bytes.Clone(data), 0), {}}
		for i := range data {
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << (i % 8)
			forged = append(forged, flipped, data[:i])
		}
		for _, f := range forged {
			item := maps.Clone(sound)
			item["data"] = &types.AttributeValueMemberB{Value: f}
			if len(f) == 0 {
				delete(item, "data")
			}
			putItem(t, b, sc.table, item)
			_, err := sc.store.Read(t.Context(), sc.id())
			require.ErrorIs(t, err, dynasession.ErrCorrupt)
		}
		w := sc.twin().get("/read")
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		assert.NotContains(t, w.Body.String(), "none", "an error, not an empty session")
		putItem(t, b, sc.table, sound)
		assert.Equal(t, "n token", sc.ok("/read"))
	})
}

// TestReplayedItem says what encryption does not see: an older copy of the same item, and
// attributes beside the data. Who can write the table can do that.
func TestReplayedItem(t *testing.T) {
	sc := newScene(t, embedded(t), dynasession.Config{EncryptionKeys: [][]byte{bytes.Repeat([]byte{7}, 32)}})
	old := sc.item()
	sc.ok("/pop")
	putItem(t, sc.b, sc.table, old)
	assert.Equal(t, "n token", sc.ok("/read"))
	sc.edit(func(item map[string]types.AttributeValue) { item["user"] = str("root") })
	assert.Equal(t, "n token root", sc.ok("/read"))
}

// TestKeyRotation: old keys still read, the first one writes, and a key that is gone opens
// nothing.
func TestKeyRotation(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		key := func(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }
		table := newTable()
		with := func(keys ...[]byte) *dynasession.Store {
			return newStore(t, b, dynasession.Config{Table: table, EncryptionKeys: keys})
		}
		id := with(key(1)).CreateID()
		read := func(s *dynasession.Store) error { _, err := s.Read(t.Context(), id); return err }
		require.NoError(t, with(key(1)).Write(t.Context(), id, []byte(`{"a":1}`)))
		require.NoError(t, read(with(key(1), key(2))), "the new key is on all servers")
		require.NoError(t, read(with(key(2), key(1))), "and comes first")
		require.ErrorIs(t, read(with(key(2))), dynasession.ErrCorrupt)
		require.NoError(t, with(key(2), key(1)).Write(t.Context(), id, []byte(`{"a":2}`)))
		require.NoError(t, read(with(key(2))), "what is written anew has the first key")
		require.ErrorIs(t, read(with(key(1))), dynasession.ErrCorrupt)
		require.ErrorIs(t, read(with()), dynasession.ErrCorrupt, "nor is it taken for data")
	})
}

// TestHostileItem: what was put into the table to hurt who reads it is an error, and costs no
// more than the largest session.
func TestHostileItem(t *testing.T) {
	// A block that repeats the one before is the same bytes each time.
	bomb := func(mb int, fill string) []byte {
		var buf bytes.Buffer
		buf.Write([]byte{0xC1, 5})
		w, err := flate.NewWriter(&buf, flate.BestCompression)
		require.NoError(t, err)
		block := []byte(strings.Repeat(fill, 1<<20/len(fill)))
		var begin, end int
		for range 2 {
			_, _ = w.Write(block)
			require.NoError(t, w.Flush())
			begin, end = end, buf.Len()
		}
		repeated := bytes.Clone(buf.Bytes()[begin:])
		for range mb - 2 {
			buf.Write(repeated)
		}
		require.NoError(t, w.Close())
		n, err := io.Copy(io.Discard, flate.NewReader(bytes.NewReader(buf.Bytes()[2:])))
		require.NoError(t, err)
		require.EqualValues(t, mb*len(block), n)
		return buf.Bytes()
	}
	for name, data := range map[string]types.AttributeValue{
		"bomb":             &types.AttributeValueMemberB{Value: bomb(100, "0")},
		"bomb of JSON":     &types.AttributeValueMemberB{Value: bomb(100, `{"a":[[[[[[[[`)},
		"deep":             str(`{"a":` + strings.Repeat("[", 300_000)),
		"deep and closed":  str(`{"a":` + strings.Repeat("[", 150_000) + strings.Repeat("]", 150_000) + `}`),
		"not JSON":         str("\x00\x01"),
		"another type":     &types.AttributeValueMemberBOOL{Value: true},
		"a list":           &types.AttributeValueMemberL{Value: []types.AttributeValue{str("a")}},
		"half an envelope": &types.AttributeValueMemberB{Value: []byte{0xC1}},
		"unknown envelope": &types.AttributeValueMemberB{Value: []byte{0xC1, 0x80, 1}},
		"encrypted":        &types.AttributeValueMemberB{Value: append([]byte{0xC1, 2}, make([]byte, 60)...)},
	} {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, b *backend) {
				sc := newScene(t, b, dynasession.Config{})
				id := sc.id()
				sc.edit(func(item map[string]types.AttributeValue) { item["data"] = data })
				hostile := sc.item()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				w := sc.get("/read")
				runtime.ReadMemStats(&after)
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
				sc.failed(w, http.StatusInternalServerError, dynasession.ErrCorrupt)
				assert.Equal(t, hostile, sc.item(), "it stays for who looks into it")
				switch name {
				case "half an envelope", "unknown envelope", "encrypted":
					assert.Equal(t, id, sc.id(), "another server may open it")
				default:
					assert.Empty(t, sc.cookie(), "the browser is not locked out")
				}
				_, err := sc.store.Read(t.Context(), id)
				if err != nil { // Read does not decode
					require.ErrorIs(t, err, dynasession.ErrCorrupt)
				}
			})
		})
	}
}

// TestTooManyKeys: what does not fit is refused before it is sent, and the session stays.
func TestTooManyKeys(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := newScene(t, b, dynasession.Config{Concurrency: policy})
		sc.paths["/fill"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
			for range 20_000 {
				s.Set(rand.Text(), rand.Text())
			}
			write(w, "saved")
		}
		w := sc.get("/fill")
		sc.failed(w, http.StatusInternalServerError, dynasession.ErrTooLarge)
		assert.NotContains(t, w.Body.String(), "saved")
		assert.JSONEq(t, deedBefore, sc.data())
		assert.Equal(t, "n token", sc.ok("/read"))
	})
}

// TestCookieTricks: whatever a client sends, it gets its own session, or a new one.
func TestCookieTricks(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{})
		id := sc.id()
		flip := func(i int) string {
			flipped := []byte(id)
			flipped[i] = map[bool]byte{true: 'b', false: 'a'}[flipped[i] == 'a']
			return string(flipped)
		}
		tricks := []string{
			"", `"` + id + `"`, id + "\x00", id + "\x7f", "\xff\xfe" + id[2:], strings.Repeat("a", 8192), strings.ToLower(id) + "x",
			id + "; Domain=evil.example", id + "\r\nSet-Cookie: a=b", "../" + id[3:], "%00" + id[3:], "session_" + id, "' OR 1=1 --",
			attr(sc.item(), "id"), strings.TrimPrefix(attr(sc.item(), "id"), "session_"), flip(0), flip(20), flip(42),
		}
		for _, trick := range tricks {
			if strings.HasPrefix(trick, id+";") {
				continue // the browser's own syntax: the cookie is id
			}
			br := bearing(t, sc.handler, trick)
			assert.Equal(t, "none", br.ok("/read"), "%q", trick)
		}
		assert.Equal(t, "n token", bearing(t, sc.handler, append(tricks[:5:5], id)...).ok("/read"), "the others do not hide it")

		// A parent domain's, or another path's, beside the host's own: the first that opens.
		planted := newBrowser(t, sc.handler)
		planted.ok("/set?planted")
		assert.Equal(t, "n token", bearing(t, sc.handler, id, idOf(planted)).ok("/read"))
		assert.Equal(t, "n token", bearing(t, sc.handler, sc.store.CreateID(), id).ok("/read"))
		assert.Equal(t, "__Host-session", cookieName, "which no browser takes from a domain or another path (RFC 6265bis, section 4.1.3.2)")
	})
}

// TestNoSettingSplitsTheResponse: line breaks and separators in any setting that goes into a
// header are refused, or do not get there.
func TestNoSettingSplitsTheResponse(t *testing.T) {
	b := embedded(t)
	for _, evil := range []string{"a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "/a; X-Evil=1", "a, X-Evil=1", "a\x00X-Evil", "ä X-Evil"} {
		for name, cfg := range map[string]dynasession.Config{
			"Name":          {Name: evil},
			"Cookie.Name":   {Cookie: dynasession.CookieConfig{Name: evil}},
			"Cookie.Domain": {Cookie: dynasession.CookieConfig{Domain: evil}},
			"Cookie.Path":   {Cookie: dynasession.CookieConfig{Path: "/" + evil}},
		} {
			s, err := dynasession.New(b.client, cfg)
			if err != nil {
				continue
			}
			require.NoError(t, s.CreateTable(t.Context()))
			w := newBrowser(t, s.Middleware(app{"/set": doSet})).get("/set?1")
			for _, line := range w.Header()["Set-Cookie"] {
				parsed, err := http.ParseSetCookie(line)
				require.NoError(t, err)
				assert.Empty(t, parsed.Unparsed, "%s = %q", name, evil)
				assert.NotContains(t, line, "\r", "%s = %q", name, evil)
				assert.NotContains(t, line, "\n", "%s = %q", name, evil)
			}
			assert.Empty(t, w.Header().Get("X-Evil"))
		}
	}
	// A user name and values go nowhere near a header.
	sc := newScene(t, b, dynasession.Config{})
	sc.paths["/evil"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
		s.SetUser("a\r\nX-Evil: 1")
		s.Set("a\r\nX-Evil: 1", "a\r\nX-Evil: 1")
	}
	w := sc.get("/evil")
	assert.NotContains(t, fmt.Sprint(w.Header()), "Evil")
}

// TestSharedCaches: no cache may give a session, or what was made of it, to another user.
func TestSharedCaches(t *testing.T) {
	sc := newScene(t, embedded(t), dynasession.Config{})
	for _, path := range []string{"/login?alice", "/logout"} { // which set and clear the cookie
		w := sc.get(path)
		assert.NotEmpty(t, w.Header()["Set-Cookie"])
		assert.Equal(t, "private, no-store", w.Header().Get("Cache-Control"), path)
		assert.Equal(t, "Cookie", w.Header().Get("Vary"), path)
	}
	sc.ok("/new")
	assert.Equal(t, "Cookie", sc.get("/read").Header().Get("Vary"))
	sc.b.calls.intercept(func(*call) (*http.Response, error) { return nil, errReset })
	w := sc.get("/read")
	sc.b.calls.intercept(nil)
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"), "of an error")
	assert.Equal(t, "Cookie", w.Header().Get("Vary"))
}

// TestSignInAgain: a handler can ask for a sign-in that is not too long ago.
func TestSignInAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(t, embedded(t), dynasession.Config{})
		sc.paths["/pay"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
			if time.Since(s.AuthTime()) > 5*time.Minute {
				w.WriteHeader(http.StatusForbidden)
			}
		}
		assert.Equal(t, http.StatusForbidden, sc.get("/pay").Code, "nobody has signed in")
		sc.ok("/login?alice")
		time.Sleep(5 * time.Minute)
		assert.Equal(t, http.StatusOK, sc.get("/pay").Code)
		time.Sleep(time.Second)
		assert.Equal(t, http.StatusForbidden, sc.get("/pay").Code)
		sc.ok("/login?alice")
		assert.Equal(t, http.StatusOK, sc.get("/pay").Code)
	})
}

// TestIDsAreNotCompared: an id is hashed, and DynamoDB looks the hash up. So there is no
// comparison whose time could tell how much of a guess is right.
func TestIDsAreNotCompared(t *testing.T) {
	b := embedded(t)
	s := newStore(t, b, dynasession.Config{})
	id := s.CreateID()
	require.NoError(t, s.Write(t.Context(), id, []byte(`{}`)))
	near := []byte(id)
	near[42] = map[bool]byte{true: 'b', false: 'a'}[near[42] == 'a']
	var sent []string
	b.calls.intercept(func(c *call) (*http.Response, error) {
		assert.NotContains(t, c.body, id[:10], "no part of an id is sent")
		var body struct {
			Key struct{ ID struct{ S string } }
		}
		assert.NoError(t, json.Unmarshal([]byte(c.body), &body))
		sent = append(sent, body.Key.ID.S)
		return c.send()
	})
	_, err := s.Read(t.Context(), id)
	require.NoError(t, err)
	_, err = s.Read(t.Context(), string(near))
	require.ErrorIs(t, err, dynasession.ErrNotFound)
	require.GreaterOrEqual(t, len(sent), 2) // with EventualReads who is not there is asked for twice
	same := 0
	for i := range len(sent[0]) - len("session_") {
		if sent[0][i+len("session_")] == sent[1][i+len("session_")] {
			same++
		}
	}
	assert.Less(t, same, 20, "a near guess is not near in the table: of 64 digits 4 are equal on average")
}

// TestSecurityDocument: every test that SECURITY.md names is there.
func TestSecurityDocument(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	_, code := goSources(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)(?:/([^`]+))?`").FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(named), 60)
	for _, name := range named {
		assert.Contains(t, code, "func "+name[1]+"(", name[0])
		if name[2] != "" {
			assert.Contains(t, code, `"`+name[2]+`"`, name[0])
		}
	}
}

// TestArchitectureDocument: docs/architecture.md names code and tests that are there.
func TestArchitectureDocument(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(text), "| promise | code | tests |\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n\n")
	code, tests := goSources(t)
	rows := strings.Split(table, "\n")[1:]
	require.Greater(t, len(rows), 10)
	quoted := regexp.MustCompile("`([^`]+)`")
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		require.Len(t, cells, 3, row)
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			if strings.HasSuffix(m[1], ".go") {
				assert.FileExists(t, m[1])
				continue
			}
			of, name, _ := strings.Cut(m[1], ".")
			method := regexp.MustCompile(`func \(\w* ?\*?` + of + `\) ` + name + `\(`)
			function := regexp.MustCompile(`package ` + of + `\n(?s:.*)func ` + name + `\(`)
			assert.True(t, method.MatchString(code) || function.MatchString(code), m[1])
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[2], -1) {
			assert.Contains(t, tests, "func "+m[1]+"(", row)
		}
	}
}

// goSources returns the text of all files of the module: the code, and the tests.
func goSources(t *testing.T) (code, tests string) {
	t.Helper()
	var c, s strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") {
			return err
		}
		source, err := os.ReadFile(name)
		if strings.HasSuffix(name, "_test.go") {
			s.Write(source)
		} else {
			c.Write(source)
		}
		return err
	}))
	return c.String(), s.String()
}
