package security_test

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestFixation: an id that an attacker has chosen, knows, or had before is never taken on.
func TestFixation(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("plain ids %v", plain), func(t *testing.T) {
				fixation(t, b, dynasession.Config{Concurrency: policy, InsecurePlainIDs: plain})
			})
		}
	})
}

func fixation(t *testing.T, b *stage.Backend, cfg dynasession.Config) {
	sc := stage.NewScene(t, b, cfg)
	sc.OK("/login?alice")
	cfg.Table, cfg.Name = sc.Table, "admin"
	other := stage.NewStore(t, b, cfg)
	otherID := other.CreateID()
	require.NoError(t, other.Write(t.Context(), otherID, []byte(`{"token":"x"}`)))
	destroyed, expired := sc.Store.CreateID(), sc.Store.CreateID()
	for _, id := range []string{destroyed, expired} {
		require.NoError(t, sc.Store.Write(t.Context(), id, []byte(`{"token":"x"}`)))
	}
	require.NoError(t, sc.Store.Destroy(t.Context(), destroyed))
	for _, item := range stage.Items(t, b, sc.Table) {
		if _, signedIn := item["user"]; !signedIn && strings.HasPrefix(stage.Attr(item, "id"), "session_") {
			item["expires"] = stage.In(-time.Second)
			stage.PutItem(t, b, sc.Table, item)
		}
	}
	before := sc.Twin()
	sc.OK("/login?alice") // again: the id of before is worth nothing
	for name, id := range map[string]string{
		"chosen": sc.Store.CreateID(), "of PHP's form": "php-" + strings.Repeat("0a", 14), "of another name": otherID,
		"destroyed": destroyed, "expired": expired, "of before the sign-in": stage.IDOf(before),
	} {
		kept := stage.AllItems(t, b, sc.Table)
		br := stage.BrowserWithCookies(t, sc.Handler, id)
		assert.Equal(t, "none", br.OK("/read"), name)
		if id == stage.IDOf(before) {
			w := br.Get("/new") // its cookie would replace that of the sign-in
			assert.Equal(t, http.StatusConflict, w.Code, name)
			assert.Empty(t, w.Result().Cookies(), name)
			assert.ElementsMatch(t, kept, stage.AllItems(t, b, sc.Table), name)
			continue
		}
		br.OK("/new")
		assert.Regexp(t, "^[0-9A-Za-z]{43}$", stage.IDOf(br), name)
		assert.NotEqual(t, id, stage.IDOf(br), name)
		for _, item := range kept {
			assert.Contains(t, stage.AllItems(t, b, sc.Table), item, name)
		}
	}
	assert.Equal(t, "n token alice", sc.OK("/read"))
}

// TestTokensAreTheServers: each visitor gets an id that the server has made, and another one
// at each sign-in, also the same user's, and after a sign-out.
func TestTokensAreTheServers(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, plain := range []bool{false, true} {
			sc := stage.EmptyScene(t, b, dynasession.Config{InsecurePlainIDs: plain})
			seen := map[string]bool{}
			for range 2 {
				visitor := stage.NewBrowser(t, sc.Handler)
				for _, path := range []string{"/new", "/login?alice", "/login?alice", "/renew", "/logout", "/new"} {
					visitor.OK(path)
					if path == "/logout" {
						assert.Empty(t, stage.IDOf(visitor))
						continue
					}
					id := stage.IDOf(visitor)
					assert.Regexp(t, "^[0-9A-Za-z]{43}$", id)
					assert.False(t, seen[id], "%s gave an id again", path)
					seen[id] = true
					_, err := sc.Store.Read(t.Context(), id)
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
		stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
			cfg := dynasession.Config{}
			if encrypted {
				cfg.EncryptionKeys = [][]byte{bytes.Repeat([]byte{7}, 32)}
			}
			sc := stage.NewScene(t, b, cfg)
			sc.OK("/set?" + secret)
			sc.OK("/login?alice")
			item := sc.Item()
			stolen := ""
			for name := range item {
				stolen += "\n" + stage.Attr(item, name)
			}
			assert.NotContains(t, stolen, sc.ID())
			assert.Equal(t, !encrypted, strings.Contains(stolen, secret))
			for _, word := range regexp.MustCompile(`[0-9A-Za-z]+`).FindAllString(stolen, -1) {
				for from := range word {
					for _, length := range []int{22, 32, 43, 64} {
						if from+length > len(word) {
							continue
						}
						_, err := sc.Store.Read(t.Context(), word[from:from+length])
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
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{EncryptionKeys: [][]byte{bytes.Repeat([]byte{7}, 32)}})
		sound := sc.Item()
		data := []byte(stage.Attr(sound, "data"))
		forged := [][]byte{[]byte(stage.NewData), append(bytes.Clone(data), 0), {}}
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
			stage.PutItem(t, b, sc.Table, item)
			_, err := sc.Store.Read(t.Context(), sc.ID())
			require.ErrorIs(t, err, dynasession.ErrCorrupt)
		}
		w := sc.Twin().Get("/read")
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		assert.NotContains(t, w.Body.String(), "none", "an error, not an empty session")
		stage.PutItem(t, b, sc.Table, sound)
		assert.Equal(t, "n token", sc.OK("/read"))
	})
}

// TestReplayedItem says what encryption does not see: an older copy of the same item, and
// attributes beside the data. Who can write the table can do that.
func TestReplayedItem(t *testing.T) {
	sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{EncryptionKeys: [][]byte{bytes.Repeat([]byte{7}, 32)}})
	old := sc.Item()
	sc.OK("/pop")
	stage.PutItem(t, sc.B, sc.Table, old)
	assert.Equal(t, "n token", sc.OK("/read"))
	sc.Edit(func(item map[string]types.AttributeValue) { item["user"] = stage.Str("root") })
	assert.Equal(t, "n token root", sc.OK("/read"))
}

// TestKeyRotation: old keys still read, the first one writes, and a key that is gone opens
// nothing.
func TestKeyRotation(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		key := func(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }
		table := stage.NewTable()
		with := func(keys ...[]byte) *dynasession.Store {
			return stage.NewStore(t, b, dynasession.Config{Table: table, EncryptionKeys: keys})
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
		"deep":             stage.Str(`{"a":` + strings.Repeat("[", 300_000)),
		"deep and closed":  stage.Str(`{"a":` + strings.Repeat("[", 150_000) + strings.Repeat("]", 150_000) + `}`),
		"not JSON":         stage.Str("\x00\x01"),
		"another type":     &types.AttributeValueMemberBOOL{Value: true},
		"a list":           &types.AttributeValueMemberL{Value: []types.AttributeValue{stage.Str("a")}},
		"half an envelope": &types.AttributeValueMemberB{Value: []byte{0xC1}},
		"unknown envelope": &types.AttributeValueMemberB{Value: []byte{0xC1, 0x80, 1}},
		"encrypted":        &types.AttributeValueMemberB{Value: append([]byte{0xC1, 2}, make([]byte, 60)...)},
	} {
		t.Run(name, func(t *testing.T) {
			stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
				sc := stage.NewScene(t, b, dynasession.Config{})
				id := sc.ID()
				sc.Edit(func(item map[string]types.AttributeValue) { item["data"] = data })
				hostile := sc.Item()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				w := sc.Get("/read")
				runtime.ReadMemStats(&after)
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
				sc.Failed(w, http.StatusInternalServerError, dynasession.ErrCorrupt)
				assert.Equal(t, hostile, sc.Item(), "it stays for who looks into it")
				switch name {
				case "half an envelope", "unknown envelope", "encrypted":
					assert.Equal(t, id, sc.ID(), "another server may open it")
				default:
					assert.Empty(t, sc.Cookie(), "the browser is not locked out")
				}
				_, err := sc.Store.Read(t.Context(), id)
				if err != nil { // Read does not decode
					require.ErrorIs(t, err, dynasession.ErrCorrupt)
				}
			})
		})
	}
}

// TestTooManyKeys: what does not fit is refused before it is sent, and the session stays.
func TestTooManyKeys(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
		sc.Paths["/fill"] = func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
			for range 20_000 {
				s.Set(rand.Text(), rand.Text())
			}
			stage.Write(w, "saved")
		}
		w := sc.Get("/fill")
		sc.Failed(w, http.StatusInternalServerError, dynasession.ErrTooLarge)
		assert.NotContains(t, w.Body.String(), "saved")
		assert.JSONEq(t, stage.NewData, sc.Data())
		assert.Equal(t, "n token", sc.OK("/read"))
	})
}

// TestCookieTricks: whatever a client sends, it gets its own session, or a new one.
func TestCookieTricks(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{})
		id := sc.ID()
		flip := func(i int) string {
			flipped := []byte(id)
			flipped[i] = map[bool]byte{true: 'b', false: 'a'}[flipped[i] == 'a']
			return string(flipped)
		}
		tricks := []string{
			"", `"` + id + `"`, id + "\x00", id + "\x7f", "\xff\xfe" + id[2:], strings.Repeat("a", 8192), strings.ToLower(id) + "x",
			id + "; Domain=evil.example", id + "\r\nSet-Cookie: a=b", "../" + id[3:], "%00" + id[3:], "session_" + id, "' OR 1=1 --",
			stage.Attr(sc.Item(), "id"), strings.TrimPrefix(stage.Attr(sc.Item(), "id"), "session_"), flip(0), flip(20), flip(42),
		}
		for _, trick := range tricks {
			if strings.HasPrefix(trick, id+";") {
				continue // the browser's own syntax: the cookie is id
			}
			br := stage.BrowserWithCookies(t, sc.Handler, trick)
			assert.Equal(t, "none", br.OK("/read"), "%q", trick)
		}
		assert.Equal(t, "n token", stage.BrowserWithCookies(t, sc.Handler, append(tricks[:5:5], id)...).OK("/read"), "the others do not hide it")

		// A parent domain's, or another path's, beside the host's own: the first that opens.
		planted := stage.NewBrowser(t, sc.Handler)
		planted.OK("/set?planted")
		assert.Equal(t, "n token", stage.BrowserWithCookies(t, sc.Handler, id, stage.IDOf(planted)).OK("/read"))
		assert.Equal(t, "n token", stage.BrowserWithCookies(t, sc.Handler, sc.Store.CreateID(), id).OK("/read"))
		assert.True(t, strings.HasPrefix(stage.CookieName, "__Host-"), "which no browser takes from a domain or another path (RFC 6265bis, section 4.1.3.2)")
	})
}

// TestNoSettingSplitsTheResponse: line breaks and separators in any setting that goes into a
// header are refused, or do not get there.
func TestNoSettingSplitsTheResponse(t *testing.T) {
	b := stage.Embedded(t)
	for _, evil := range []string{"a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "/a; X-Evil=1", "a, X-Evil=1", "a\x00X-Evil", "ä X-Evil"} {
		for name, cfg := range map[string]dynasession.Config{
			"Name":          {Name: evil},
			"Cookie.Name":   {Cookie: dynasession.CookieConfig{Name: evil}},
			"Cookie.Domain": {Cookie: dynasession.CookieConfig{Domain: evil}},
			"Cookie.Path":   {Cookie: dynasession.CookieConfig{Path: "/" + evil}},
		} {
			s, err := dynasession.New(b.Client, cfg)
			if err != nil {
				continue
			}
			require.NoError(t, s.CreateTable(t.Context()))
			w := stage.NewBrowser(t, s.Middleware(stage.App{"/set": stage.DoSet})).Get("/set?1")
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
	sc := stage.NewScene(t, b, dynasession.Config{})
	sc.Paths["/evil"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		s.SetUser("a\r\nX-Evil: 1")
		s.Set("a\r\nX-Evil: 1", "a\r\nX-Evil: 1")
	}
	w := sc.Get("/evil")
	assert.NotContains(t, fmt.Sprint(w.Header()), "Evil")
}

// TestSharedCaches: no cache may give a session, or what was made of it, to another user.
func TestSharedCaches(t *testing.T) {
	sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{})
	for _, path := range []string{"/login?alice", "/logout"} { // which set and clear the cookie
		w := sc.Get(path)
		assert.NotEmpty(t, w.Header()["Set-Cookie"])
		assert.Equal(t, "private, no-store", w.Header().Get("Cache-Control"), path)
		assert.Equal(t, "Cookie", w.Header().Get("Vary"), path)
	}
	sc.OK("/new")
	assert.Equal(t, "Cookie", sc.Get("/read").Header().Get("Vary"))
	sc.B.Calls.Intercept(func(*stage.Call) (*http.Response, error) { return nil, stage.ErrReset })
	w := sc.Get("/read")
	sc.B.Calls.Intercept(nil)
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"), "of an error")
	assert.Equal(t, "Cookie", w.Header().Get("Vary"))
}

// TestSignInAgain: a handler can ask for a sign-in that is not too long ago.
func TestSignInAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{})
		sc.Paths["/pay"] = func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
			if time.Since(s.AuthTime()) > 5*time.Minute {
				w.WriteHeader(http.StatusForbidden)
			}
		}
		assert.Equal(t, http.StatusForbidden, sc.Get("/pay").Code, "nobody has signed in")
		sc.OK("/login?alice")
		time.Sleep(5 * time.Minute)
		assert.Equal(t, http.StatusOK, sc.Get("/pay").Code)
		time.Sleep(time.Second)
		assert.Equal(t, http.StatusForbidden, sc.Get("/pay").Code)
		sc.OK("/login?alice")
		assert.Equal(t, http.StatusOK, sc.Get("/pay").Code)
	})
}

// TestIDsAreNotCompared: an id is hashed, and DynamoDB looks the hash up. So there is no
// comparison whose time could tell how much of a guess is right.
func TestIDsAreNotCompared(t *testing.T) {
	b := stage.Embedded(t)
	s := stage.NewStore(t, b, dynasession.Config{})
	id := s.CreateID()
	require.NoError(t, s.Write(t.Context(), id, []byte(`{}`)))
	near := []byte(id)
	near[42] = map[bool]byte{true: 'b', false: 'a'}[near[42] == 'a']
	var sent []string
	b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
		assert.NotContains(t, c.Body, id[:10], "no part of an id is sent")
		var body struct {
			Key struct{ ID struct{ S string } }
		}
		assert.NoError(t, json.Unmarshal([]byte(c.Body), &body))
		sent = append(sent, body.Key.ID.S)
		return c.Send()
	})
	_, err := s.Read(t.Context(), id)
	require.NoError(t, err)
	_, err = s.Read(t.Context(), string(near))
	require.ErrorIs(t, err, dynasession.ErrNotFound)
	require.GreaterOrEqual(t, len(sent), 2) // with EventualReads, an absent session is read twice
	same := 0
	for i := range len(sent[0]) - len("session_") {
		if sent[0][i+len("session_")] == sent[1][i+len("session_")] {
			same++
		}
	}
	assert.Less(t, same, 20, "a near guess is not near in the table: of 64 digits 4 are equal on average")
}

// TestUnknownIDsAreNotAdopted is session fixation.
func TestUnknownIDsAreNotAdopted(t *testing.T) {
	b := stage.Embedded(t)
	table := stage.NewTable()
	s := stage.NewStore(t, b, dynasession.Config{Table: table})
	h := s.Middleware(stage.App{"/set": stage.DoSet})
	chosen := s.CreateID()
	r := httptest.NewRequest(http.MethodGet, "/set?1", http.NoBody)
	r.AddCookie(&http.Cookie{Name: stage.CookieName, Value: chosen})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.NotContains(t, w.Header().Get("Set-Cookie"), chosen)
	_, err := s.Read(t.Context(), chosen)
	require.ErrorIs(t, err, dynasession.ErrNotFound)
	b.Calls.Take()
	r.Header.Set("Cookie", stage.CookieName+"=../../etc; "+stage.CookieName+"="+chosen[1:])
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, []string{"PutItem"}, b.Calls.Take(), "what has not the form of an id is not asked for")
}

// TestErrorsHoldNoSecrets: no id and no data in errors, whatever goes wrong.
func TestErrorsHoldNoSecrets(t *testing.T) {
	b := stage.Embedded(t)
	s := stage.NewStore(t, b, dynasession.Config{})
	id := s.CreateID()
	secret := "very-secret-value"
	for _, f := range []dynamotest.Fault{
		{Kind: dynamotest.Truncate}, {Kind: dynamotest.Garbage}, {Kind: dynamotest.Cut}, {Kind: dynamotest.Cut, Applied: true},
		{Kind: dynamotest.Refuse}, {Kind: dynamotest.Refuse, Code: "ValidationException"}, {Kind: dynamotest.Refuse, Code: "AccessDeniedException"},
		{Kind: dynamotest.Refuse, Code: "ProvisionedThroughputExceededException"},
	} {
		require.NoError(t, s.Write(t.Context(), id, []byte(`{"a":"`+secret+`"}`)))
		f.Times = -1
		b.Server.Fault(f)
		_, read := s.Read(t.Context(), id)
		for _, err := range []error{read, s.Write(t.Context(), id, []byte(`{"a":"`+secret+`"}`)), s.Destroy(t.Context(), id), s.UpdateTimestamp(t.Context(), id)} {
			if err != nil {
				for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
					assert.NotContains(t, text, id)
					assert.NotContains(t, text, secret)
				}
			}
		}
		require.Error(t, read)
		b.Server.ClearFaults()
	}
}

// TestSizesTellNothing: with keys, an item's size depends on the length of what it holds, and on nothing else.
func TestSizesTellNothing(t *testing.T) {
	b := stage.Embedded(t)
	key := [][]byte{bytes.Repeat([]byte{1}, 32)}
	sizes := map[int]bool{}
	for _, guess := range []string{"token=aaaaaaaaaaaaaaaa", "token=s3cr3t-s3cr3t-s3", strings.Repeat("token=s3cr3t-s3cr3t-s3", 1)} {
		table := stage.NewTable()
		s := stage.NewStore(t, b, dynasession.Config{Table: table, EncryptionKeys: key})
		h := s.Middleware(stage.App{"/": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
			s.Set("secret", strings.Repeat("token=s3cr3t-s3cr3t-s3", 60))
			s.Set("visits", strings.Repeat(guess, 60))
		}})
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://shop.example.com/", http.NoBody))
		sizes[len(stage.Attr(stage.OnlyItem(t, b, table), "data"))] = true
	}
	assert.Len(t, sizes, 1, sizes)
}

// TestHashesOpenNothing: a store with plain ids does not open the sessions of one of the same name that
// hashes its ids, by the hashes that the table shows.
func TestHashesOpenNothing(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{})
		sc.OK("/login?alice")
		hash := strings.TrimPrefix(stage.Attr(sc.Item(), "id"), "session_")
		plain := stage.NewStore(t, b, dynasession.Config{Table: sc.Table, InsecurePlainIDs: true})
		for _, id := range []string{hash, strings.ToUpper(hash)} {
			assert.Equal(t, "none", stage.BrowserWithCookies(t, plain.Middleware(sc.Paths), id).OK("/read"))
			_, err := plain.Read(t.Context(), id)
			require.ErrorIs(t, err, dynasession.ErrInvalidID)
			require.ErrorIs(t, plain.Write(t.Context(), id, nil), dynasession.ErrInvalidID)
		}
		php := stage.NewStore(t, b, dynasession.Config{Name: "php", InsecurePlainIDs: true, ForeignWriters: true})
		require.NoError(t, php.Write(t.Context(), hash, []byte(`{}`)), "PHP may make such ids")
	})
}

func TestAttributesThatAreRefused(t *testing.T) {
	for _, name := range []string{"moved", "\xff", "a\xc3", "rev"} {
		for field, a := range map[string]dynasession.Attributes{"ID": {ID: name}, "Expires": {Expires: name}, "Data": {Data: name}, "User": {User: name}} {
			_, err := dynasession.New(stage.Embedded(t).Client, dynasession.Config{Attributes: a})
			require.ErrorContains(t, err, "Config.Attributes."+field, "%q", name)
		}
	}
	_, err := dynasession.New(stage.Embedded(t).Client, dynasession.Config{Attributes: dynasession.Attributes{Data: "Daten für später"}})
	require.NoError(t, err)
}

// TestWrongKeys: the text says what is wrong with the table's key, and advises what helps.
func TestWrongKeys(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for name, test := range map[string]struct {
			key  string
			kind types.ScalarAttributeType
			want string
		}{
			"another type": {"id", types.ScalarAttributeTypeN, `HASH "id" of type N, not the one hash key "id" of type S: a key cannot be changed`},
			"another name": {"pk", types.ScalarAttributeTypeS, `set Config.Attributes.ID to "pk"`},
		} {
			table := stage.NewTable()
			_, err := b.Client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
				TableName: &table, BillingMode: types.BillingModePayPerRequest,
				KeySchema:            []types.KeySchemaElement{{AttributeName: &test.key, KeyType: types.KeyTypeHash}},
				AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &test.key, AttributeType: test.kind}},
			})
			require.NoError(t, err)
			s, err := dynasession.New(b.Client, dynasession.Config{Table: table})
			require.NoError(t, err)
			require.ErrorContains(t, s.Open(t.Context()), test.want, name)
		}
	})
}

// TestStoreInALog shows the table and the name in every handler.
func TestStoreInALog(t *testing.T) {
	s, err := dynasession.New(stage.Embedded(t).Client, dynasession.Config{Table: "tea-shop", EncryptionKeys: [][]byte{bytes.Repeat([]byte("k"), 32)}})
	require.NoError(t, err)
	var lines bytes.Buffer
	slog.New(slog.NewJSONHandler(&lines, nil)).Info("x", "store", s)
	slog.New(slog.NewTextHandler(&lines, nil)).Info("x", "store", s)
	assert.Equal(t, 2, strings.Count(lines.String(), "tea-shop"), lines.String())
	assert.NotContains(t, lines.String()+fmt.Sprintf("%+v %#v", s, s), "kkkk")
}
