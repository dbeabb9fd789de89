package users_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// lagIndex has the index show of user what it shows now, to the next n queries. f runs before
// the nth call of an operation.
func lagIndex(t testing.TB, b *stage.Backend, table, user string, n int, operation string, nth int, f func()) {
	t.Helper()
	b.Lag(t, func() error {
		_, err := b.Client.Query(t.Context(), &dynamodb.QueryInput{
			TableName: &table, IndexName: aws.String("by-user"), KeyConditionExpression: aws.String("#u = :u"),
			ExpressionAttributeNames: map[string]string{"#u": "user"}, ExpressionAttributeValues: map[string]types.AttributeValue{":u": stage.Str(user)},
		})
		return err
	}, func(c *stage.Call) bool {
		if c.Operation == operation {
			if nth--; nth == 0 {
				f()
			}
		}
		if c.Operation == "Query" {
			n--
		}
		return c.Operation == "Query" && n >= 0
	})
}

// TestAnotherUser: nothing of one user's session stays for the next, on every rebase either, and nothing of
// "remember me".
func TestAnotherUser(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		add := func(sc *stage.Scene) {
			sc.Paths["/login-all"] = func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
				s.Set("before", 1)
				s.AddFlash("before")
				if sc.Inside != nil {
					inside := sc.Inside
					sc.Inside = nil
					inside()
				}
				s.SetUser(r.URL.RawQuery)
				assert.False(sc.T, s.Has("before"))
				assert.Empty(sc.T, dynasession.Flashes[string](s))
				s.Set("after", 2)
				dynasession.Update(s, "n", func(n int) int { return n + 1 })
			}
			sc.Paths["/login-cart"] = func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
				s.Set("before", 1)
				s.SetUser(r.URL.RawQuery)
			}
		}
		for _, to := range []string{"bob", ""} {
			l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy}, "/login?alice")
			add(l.Scene)
			l.OK("/limit")
			rival := l.TwinWithoutLock()
			l.Inside = func() { rival.OK("/set?theirs") } // what another tab saves meanwhile does not come along
			l.OK("/login-all?" + to)
			assert.JSONEq(t, `{"after":2,"n":1}`, l.Data(), to)
			item := l.Item()
			assert.Equal(t, to, stage.Attr(item, "user"))
			assert.NotContains(t, item, "limit", "it begins anew")
			assert.WithinDuration(t, time.Now(), time.Unix(stage.IntAttr(t, item, "born"), 0), 5*time.Second)
		}
		for _, from := range []string{"", "alice"} { // from nobody, and of the same user
			l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy})
			add(l.Scene)
			if from != "" {
				l.OK("/login?" + from)
			}
			l.Edit(func(item map[string]types.AttributeValue) { item["born"] = stage.In(-time.Hour) })
			l.OK("/limit")
			before := l.Item()
			l.OK("/login-cart?alice")
			assert.JSONEq(t, `{"before":1,"n":0,"token":"t"}`, l.Data())
			assert.Equal(t, before["born"], l.Item()["born"])
			assert.Equal(t, before["limit"], l.Item()["limit"])
		}
	})
}

// TestSignInEndsRemember: unless the same request asks for it too, before or after.
func TestSignInEndsRemember(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for _, policy := range stage.Policies {
		cfg := dynasession.Config{Concurrency: policy, IdleTimeout: time.Hour, Lifetime: 24 * time.Hour}
		stage.InTime(t, cfg, func(c *stage.Timed) {
			c.Stop()
			h := c.Visit(c.Store, stage.App{
				"/remembered": stage.Handle(func(s *dynasession.Session) { s.SetUser("alice"); s.Remember(month) }),
				"/plain":      stage.Handle(func(s *dynasession.Session) { s.SetUser("alice") }),
				"/other":      stage.Handle(func(s *dynasession.Session) { s.SetUser("bob") }),
				"/both":       stage.Handle(func(s *dynasession.Session) { s.Remember(month); s.SetUser("bob") }),
				"/saved": stage.Handle(func(s *dynasession.Session) {
					s.Remember(month)
					assert.NoError(c.T, s.Save(c.T.Context()))
					s.SetUser("alice")
				}),
			})
			for path, test := range map[string]struct {
				after time.Duration
				lasts time.Duration
				anew  bool
			}{
				"/plain":      {10 * 24 * time.Hour, time.Hour, true},
				"/other":      {10 * 24 * time.Hour, time.Hour, true},
				"/remembered": {10 * 24 * time.Hour, month, false},
				"/both":       {10 * 24 * time.Hour, month, true},
				"/saved":      {10 * 24 * time.Hour, month, false},
			} {
				br := stage.NewBrowser(c.T, h)
				br.OK("/new")
				br.OK("/remembered")
				born := stage.Attr(newest(c), "born")
				c.Pass(test.after)
				br.OK(path)
				item := newest(c)
				assert.Equal(c.T, stage.EpochText(c.Now().Add(test.lasts)), stage.Attr(item, "expires"), path)
				assert.Equal(c.T, test.anew, born != stage.Attr(item, "born"), path)
				assert.Equal(c.T, test.lasts != month, stage.Attr(item, "idle") == "", path)
				br.OK("/")
			}
		})
	}
}

// newest is the item of the latest sign-in.
func newest(c *stage.Timed) map[string]types.AttributeValue {
	c.T.Helper()
	all := stage.Items(c.T, c.Backend, c.Table)
	require.NotEmpty(c.T, all)
	return slices.MaxFunc(all, func(a, b map[string]types.AttributeValue) int {
		return strings.Compare(stage.Attr(a, "auth"), stage.Attr(b, "auth"))
	})
}

// TestManySessionsOfAUser: each call has a Timeout of its own, deletes begin with the first page, and what
// was ended is returned beside an error.
func TestManySessionsOfAUser(t *testing.T) {
	const many = 2300 // pages of the index, and batches of 100
	stage.InBubble(t, dynasession.Config{UserIndex: "by-user", Timeout: time.Second}, func(c *stage.Timed) {
		until, now := stage.In(10*time.Hour), stage.In(0)
		for n := range many {
			key := fmt.Sprintf("session_%064x", n)
			stage.PutItem(c.T, c.Backend, c.Table, map[string]types.AttributeValue{
				"id": stage.Str(key), "expires": stage.In(time.Hour), "until": until, "born": now, "auth": now, "rev": stage.Num("1"), "w": stage.Str("abcdefgh"),
				"user": stage.Str("alice"), "data": stage.Str(`{"x":"` + strings.Repeat("x", 1000) + `"}`),
			})
		}
		c.Calls.Take()
		slow := func(call *stage.Call) (*http.Response, error) {
			time.Sleep(15 * time.Millisecond)
			return call.Send()
		}
		c.Calls.Intercept(slow)
		infos, err := c.Store.UserSessions(context.Background(), "alice")
		require.NoError(c.T, err)
		assert.Len(c.T, infos, many)

		c.Calls.Take()
		deletes, queries := 0, 0
		c.Calls.Intercept(func(call *stage.Call) (*http.Response, error) {
			switch call.Operation {
			case "DeleteItem":
				if deletes++; deletes > 150 {
					return nil, stage.ErrReset
				}
			case "Query":
				queries++
			}
			return slow(call)
		})
		ended, err := c.Store.DestroyUser(context.Background(), "alice", nil)
		require.ErrorIs(c.T, err, dynasession.ErrUnavailable)
		assert.Equal(c.T, 150, ended)
		assert.Equal(c.T, 1, queries, "the first page's sessions are ended first")

		c.Calls.Intercept(slow)
		ended, err = c.Store.DestroyUser(context.Background(), "alice", nil)
		require.NoError(c.T, err)
		assert.Equal(c.T, many-150, ended)
		c.Calls.Intercept(nil)
		assert.Empty(c.T, stage.Items(c.T, c.Backend, c.Table))
	})
}

// TestProtocolSetUserBeforeDestroyUsersDelete checks that DestroyUser spares a session on which another user has signed in since
// the index was read.
func TestProtocolSetUserBeforeDestroyUsersDelete(t *testing.T) {
	t.Parallel()
	for name, trace := range map[string]func(t *testing.T, sc *stage.Scene){
		"the index has shown alice": func(t *testing.T, sc *stage.Scene) {
			ended, err := sc.Store.DestroyUser(t.Context(), "alice", func(dynasession.Info) bool {
				sc.Edit(func(item map[string]types.AttributeValue) { item["user"] = stage.Str("bob") })
				return false
			})
			require.NoError(t, err)
			assert.Zero(t, ended)
			assert.Equal(t, "n token bob", sc.OK("/read"))
		},
		"the index still shows alice": func(t *testing.T, sc *stage.Scene) {
			lagIndex(t, sc.B, sc.Table, "alice", 1, "", 0, nil)
			sc.OK("/login?bob")
			ended, err := sc.Store.DestroyUser(t.Context(), "alice", nil)
			require.NoError(t, err)
			assert.Zero(t, ended)
			assert.Equal(t, "bob", sc.OK("/read"))
		},
		"while a request runs": func(t *testing.T, sc *stage.Scene) {
			old := sc.Twin()
			sc.Inside = func() {
				ended, err := sc.Store.DestroyUser(t.Context(), "alice", nil)
				require.NoError(t, err)
				assert.Equal(t, 1, ended)
			}
			sc.Failed(sc.Get("/login?alice2"), http.StatusConflict, dynasession.ErrGone)
			sc.NothingLeft(old, sc.Browser)
		},
	} {
		t.Run(name, func(t *testing.T) {
			stage.EachInTime(t, func(t *testing.T, b *stage.Backend) {
				sc := stage.NewScene(t, b, dynasession.Config{})
				sc.OK("/login?alice")
				trace(t, sc)
			})
		})
	}
}

// signIn returns a browser of user's.
func signIn(c *stage.Timed, user string) *stage.Browser {
	c.T.Helper()
	b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{
		"/in":    stage.Handle(func(s *dynasession.Session) { s.SetUser(user) }),
		"/renew": stage.Handle(func(s *dynasession.Session) { s.Renew() }),
	}))
	b.OK("/in")
	return b
}

// destroyAda ends ada's sessions, and checks that it ends n, with the given number of pauses between its passes.
func destroyAda(c *stage.Timed, n, pauses int) {
	c.T.Helper()
	begin := time.Now()
	ended, err := c.Store.DestroyUser(c.T.Context(), "ada", nil)
	took := time.Since(begin)
	require.NoError(c.T, err)
	assert.Equal(c.T, n, ended)
	assert.GreaterOrEqual(c.T, took, time.Duration(pauses)*time.Second)
	if c.InBubble() {
		assert.Less(c.T, took, time.Duration(pauses)*1250*time.Millisecond)
	}
}

func TestDestroyUserFollowsALaggingIndex(t *testing.T) {
	t.Parallel()
	stage.InTime(t, dynasession.Config{}, func(c *stage.Timed) {
		seen := signIn(c, "ada")
		var unseen *stage.Browser
		lagIndex(c.T, c.Backend, c.Table, "ada", 1, "Query", 2, func() {
			assert.Equal(c.T, "new", seen.OK("/"), "the first pass")
			assert.Equal(c.T, "live", unseen.OK("/"))
		})
		unseen = signIn(c, "ada")
		other := signIn(c, "bob")
		destroyAda(c, 2, 3) // two passes that find something, two that do not
		assert.Equal(c.T, "new", unseen.OK("/"))
		assert.Equal(c.T, "live", other.OK("/"))
	})
}

func TestDestroyUserAsksTwiceThoughNothingIsThere(t *testing.T) {
	t.Parallel()
	stage.InTime(t, dynasession.Config{}, func(c *stage.Timed) {
		var begin time.Time
		lagIndex(c.T, c.Backend, c.Table, "ada", 1, "Query", 2, func() {
			assert.GreaterOrEqual(c.T, time.Since(begin), time.Second, "so long the index has to follow")
		})
		b := signIn(c, "ada")
		begin = time.Now()
		destroyAda(c, 1, 3)
		assert.Equal(c.T, "new", b.OK("/"))
	})
}

func TestDestroyUserTakesTwoQuietAnswers(t *testing.T) {
	t.Parallel()
	stage.InTime(t, dynasession.Config{}, func(c *stage.Timed) {
		lagIndex(c.T, c.Backend, c.Table, "ada", 100, "", 0, nil)
		b := signIn(c, "ada")
		destroyAda(c, 0, 1) // the index never showed it
		assert.Equal(c.T, "live", b.OK("/"))
	})
}

// TestDestroyUserBesideARenewal: a session that is under a new id before it could be deleted
// under the old one ends all the same.
func TestDestroyUserBesideARenewal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		unseen  bool // nor does the index show the sign-in
		lags    int  // queries
		renewed string
		nth     int
		pauses  int
	}{
		{"between two passes, of which the first saw nothing", true, 1, "Query", 2, 3},
		{"before a pass reads what the index shows", false, 2, "BatchGetItem", 1, 4},
		{"before a pass deletes what it has read", false, 1, "DeleteItem", 1, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			stage.InTime(t, dynasession.Config{}, func(c *stage.Timed) {
				var b *stage.Browser
				lag := func() {
					lagIndex(c.T, c.Backend, c.Table, "ada", test.lags, test.renewed, test.nth, func() { b.OK("/renew") })
				}
				if test.unseen {
					lag()
				}
				b = signIn(c, "ada")
				if !test.unseen {
					lag()
				}
				old := b.Cookie()
				destroyAda(c, 1, test.pauses)
				assert.NotEqual(c.T, old, b.Cookie())
				assert.Equal(c.T, "new", b.OK("/"))
				assert.Empty(c.T, stage.Items(c.T, c.Backend, c.Table))
			})
		})
	}
}

func TestUserSessionsAfterRenewal(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		l := stage.NewLineage(t, b, dynasession.Config{UserIndex: "by-user"}, "/login?alice", "/renew")
		found, err := l.Store.UserSessions(t.Context(), "alice")
		require.NoError(t, err)
		require.Len(t, found, 1)
		assert.NotEmpty(t, found[0].Ref)
		done := false
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			if c.Operation == "DeleteItem" && !done {
				done = true
				l.RenewBy("/renew")
			}
			return c.Send()
		})
		n, err := l.Store.DestroyUser(t.Context(), "alice", nil)
		b.Calls.Intercept(nil)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		l.Nobody()
	})
}

// TestUserIsUTF8: DynamoDB's strings are, and the SDK would make another user of it.
func TestUserIsUTF8(t *testing.T) {
	sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{})
	sc.Paths["/in"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.SetUser("a\xff") }
	assert.Equal(t, http.StatusInternalServerError, sc.Get("/in").Code)
	assert.NotContains(t, sc.Item(), "user")
	for _, user := range []string{"a\xff", "a\xfe"} {
		_, err := sc.Store.UserSessions(t.Context(), user)
		assert.ErrorContains(t, err, "UTF-8")
		_, err = sc.Store.DestroyUser(t.Context(), user, nil)
		assert.ErrorContains(t, err, "UTF-8")
	}
}

// TestDestroyUserOfManySessions: each delete has Config.Timeout for itself.
func TestDestroyUserOfManySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stage.Embedded(t)
		sc := stage.EmptyScene(t, b, dynasession.Config{Timeout: time.Second})
		for range 150 {
			sc.Twin().OK("/login?alice")
		}
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			time.Sleep(10 * time.Millisecond)
			return c.Send()
		})
		n, err := sc.Store.DestroyUser(t.Context(), "alice", nil)
		require.NoError(t, err)
		assert.Equal(t, 150, n)
	})
}
