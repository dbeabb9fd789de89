package renew_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestProtocolRenew(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		cfg := dynasession.Config{Concurrency: policy}
		t.Run("against Set", func(t *testing.T) {
			sc := stage.NewScene(t, b, cfg)
			old := sc.Twin()
			sc.Inside = func() { sc.TwinWithoutLock().OK("/set?theirs") }
			sc.OK("/login?alice")
			assert.Equal(t, "n theirs token alice", sc.OK("/read"))
			assert.Equal(t, "none", old.OK("/read"))
			sc.Item()
		})
		t.Run("against Renew", func(t *testing.T) {
			sc := stage.NewScene(t, b, cfg)
			old, winner := sc.Twin(), sc.TwinWithoutLock()
			sc.Inside = func() { winner.OK("/login?bob") }
			sc.Failed(sc.Get("/login?alice"), http.StatusConflict, dynasession.ErrGone)
			assert.Equal(t, "n token bob", winner.OK("/read"))
			assert.Equal(t, "none", old.OK("/read"))
			assert.Equal(t, "none", sc.OK("/read"), "the loser has no session")
			assert.Equal(t, "bob", stage.Attr(sc.Item(), "user"))
		})
		t.Run("against Destroy", func(t *testing.T) {
			sc := stage.NewScene(t, b, cfg)
			old := sc.Twin()
			sc.Inside = func() { sc.TwinWithoutLock().OK("/logout") }
			sc.Failed(sc.Get("/login?alice"), http.StatusConflict, dynasession.ErrGone)
			sc.NothingLeft(old, sc.Browser)
		})
	})
}

// TestProtocolNewIDIsTaken: a creation never adopts, merges with or overwrites what is there.
func TestProtocolNewIDIsTaken(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.EmptyScene(t, b, dynasession.Config{Concurrency: policy})
		var there map[string]types.AttributeValue
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			if c.Operation == "PutItem" {
				b.Calls.Intercept(nil)
				var put struct {
					Item struct{ ID struct{ S string } }
				}
				require.NoError(t, json.Unmarshal([]byte(c.Body), &put))
				there = map[string]types.AttributeValue{
					"id": stage.Str(put.Item.ID.S), "w": stage.Str("another1"), "rev": stage.Num("1"),
					"expires": stage.In(time.Hour), "born": stage.In(0), "until": stage.In(time.Hour), "data": stage.Str(`{"theirs":true}`),
				}
				stage.PutItem(t, b, sc.Table, there)
			}
			return c.Send()
		})
		sc.Failed(sc.Get("/new"), http.StatusConflict, dynasession.ErrConflict)
		assert.Empty(t, sc.Cookie())
		assert.Equal(t, there, sc.Item())
	})
}

// TestProtocolMovedItem: encrypted data opens under its own id only.
func TestProtocolMovedItem(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy, EncryptionKeys: [][]byte{bytes.Repeat([]byte{7}, 32)}})
		assert.Equal(t, "n token", sc.OK("/read"))
		item := sc.Item()
		other := stage.NewBrowser(t, sc.Handler)
		other.OK("/new")
		moved := maps.Clone(item)
		for _, it := range stage.Items(t, b, sc.Table) {
			if stage.Attr(it, "id") != stage.Attr(item, "id") {
				moved["id"] = it["id"]
			}
		}
		require.NotEqual(t, item["id"], moved["id"])
		stage.PutItem(t, b, sc.Table, moved)

		w := other.Get("/read")
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		assert.NotEmpty(t, other.Cookie(), "another server may have the key")
		assert.ElementsMatch(t, []map[string]types.AttributeValue{item, moved}, stage.Items(t, b, sc.Table))
		assert.Equal(t, "n token", sc.OK("/read"), "the original is as it was")
	})
}

// loadCalls are the calls of a load that finds no live session.
func loadCalls(policy dynasession.Concurrency) []string {
	if *stage.WithEventualReads && policy != dynasession.Lock { // the second one is consistent
		return []string{stage.LoadCall(policy), stage.LoadCall(policy)}
	}
	return []string{stage.LoadCall(policy)}
}

func TestRenewLeavesATombstone(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/login?alice", "/renew", "/sign-out"} {
			l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy})
			l.Edit(func(item map[string]types.AttributeValue) { item["others"] = stage.Str("x") })
			began := time.Now()
			l.RenewBy(path)
			tomb, item := l.Raw(l.Key(0)), l.Item()
			assert.ElementsMatch(t, []string{"id", "expires", "until", "w", "moved"}, mapKeys(tomb), path)
			assert.Equal(t, "1", stage.Attr(tomb, "until"))
			assert.Len(t, stage.Attr(tomb, "w"), 8)
			assert.Equal(t, stage.Attr(item, "w"), stage.Attr(tomb, "w"))
			assert.Equal(t, l.Key(1), stage.Attr(tomb, "moved"))
			assert.Equal(t, l.Key(1), stage.Attr(item, "id"))
			assert.Equal(t, "1", stage.Attr(item, "rev"))
			assert.NotContains(t, item, "others", "others' attributes stay behind, as they always have")
			assert.WithinDuration(t, began.Add(stage.Grace), time.Unix(stage.IntAttr(t, tomb, "expires"), 0), 5*time.Second)
		}
	})
}

func mapKeys(item map[string]types.AttributeValue) (keys []string) {
	for k := range item {
		keys = append(keys, k)
	}
	return keys
}

func tombstoneItem(key, moved string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": stage.Str(key), "expires": stage.In(stage.Grace), "until": stage.Num("1"), "w": stage.Str("abcdefgh"), "moved": stage.Str(moved)}
}

// TestGraceEnds: a tombstone that is over is a dead item, but for a request that had loaded the
// session.
func TestGraceEnds(t *testing.T) {
	for _, policy := range stage.Policies {
		t.Run(policy.String(), func(t *testing.T) {
			stage.InTime(t, dynasession.Config{Concurrency: policy}, func(c *stage.Timed) {
				c.Stop()
				inside := func() {}
				h := c.Visit(c.Store, stage.App{
					"/login":  stage.Handle(func(s *dynasession.Session) { s.SetUser("alice") }),
					"/logout": stage.Handle(func(s *dynasession.Session) { s.Destroy() }),
					"/slow":   stage.Handle(func(s *dynasession.Session) { inside(); s.Destroy() }),
					"/set":    stage.Handle(func(s *dynasession.Session) { s.Set("n", 2) }),
				})
				merging := c.Visit(c.With(dynasession.Config{}), stage.App{"/login": stage.Handle(func(s *dynasession.Session) { s.SetUser("alice") })})
				begin := func() (string, *stage.Browser) {
					br := stage.NewBrowser(c.T, h)
					br.OK("/new")
					id := br.Cookie()
					return id, br
				}
				old, br := begin()
				br.OK("/login")
				c.Pass(stage.Grace - time.Second)
				assert.Equal(c.T, http.StatusConflict, stage.Ask(h, old, "/set").Code, "still fresh")
				c.Pass(time.Second)
				w := stage.Ask(h, old, "/set")
				assert.Equal(c.T, http.StatusOK, w.Code)
				assert.NotContains(c.T, []string{old, br.Cookie()}, stage.OnlyCookie(c.T, w).Value)

				assert.Equal(c.T, http.StatusOK, stage.Ask(h, old, "/logout").Code)
				assert.Equal(c.T, "live", br.OK("/"), "only the dead item was deleted")

				old, br = begin()
				br.Handler = merging
				inside = func() { br.OK("/login"); c.Pass(stage.Grace + time.Second) }
				assert.Equal(c.T, http.StatusOK, stage.Ask(h, old, "/slow").Code)
				assert.Equal(c.T, "new", br.OK("/"), "it had loaded the session")
			})
		})
	}
}

func TestGhost(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		cfg := dynasession.Config{Concurrency: policy}
		t.Run("reads", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			before := stage.AllItems(t, b, l.Table)
			b.Calls.Take()
			w := l.With(0).Get("/state")
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, "[] user= id= ref= new=true n=0 false false true", w.Body.String())
			assert.Empty(t, stage.Cookies(w))
			assert.Equal(t, loadCalls(policy), b.Calls.Take())
			w = l.With(0).Get("/takes")
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Empty(t, stage.Cookies(w))
			assert.Equal(t, loadCalls(policy), b.Calls.Take())
			assert.ElementsMatch(t, before, stage.AllItems(t, b, l.Table))
		})
		t.Run("changes", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			before := stage.AllItems(t, b, l.Table)
			for _, path := range []string{"/set?mine", "/delete", "/count", "/flash", "/remember", "/limit", "/renew", "/sign-out"} {
				b.Calls.Take()
				l.Conflict(l.With(0), path)
				assert.Equal(t, loadCalls(policy), b.Calls.Take(), path)
				assert.ElementsMatch(t, before, stage.AllItems(t, b, l.Table), path)
			}
		})
		t.Run("among tickets", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			for _, ids := range [][]string{{l.IDs[0], l.IDs[1]}, {l.IDs[1], l.IDs[0]}} {
				assert.Equal(t, "n token alice", stage.BrowserWithCookies(t, l.Handler, ids...).OK("/read"))
			}
		})
		t.Run("signs in", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			old := l.With(0)
			b.Calls.Take()
			old.OK("/login-and-more")
			assert.Equal(t, append(loadCalls(policy), "TransactWriteItems"), b.Calls.Take())
			l.IDs = append(l.IDs, stage.IDOf(old))
			l.Live("carol")
			assert.Equal(t, "after before carol", old.OK("/read"))
			assert.Equal(t, l.Key(2), stage.Attr(l.Raw(l.Key(0)), "moved"))
			assert.Equal(t, l.Key(2), stage.Attr(l.Raw(l.Key(1)), "moved"))
			assert.NotContains(t, fmt.Sprint(l.Raw(l.Key(1))), "alice")
			assert.Equal(t, "none", l.OK("/read"), "what was signed in first is over")

			t.Run("again", func(t *testing.T) { // two responses were lost
				third := l.With(0)
				third.OK("/login?dave")
				l.Live("dave")
				assert.Equal(t, "dave", third.OK("/read"))
				assert.Equal(t, "none", old.OK("/read"))
			})
		})
		for name, test := range map[string]struct {
			then func(l *stage.Lineage)
			user string
		}{
			"after a change":  {func(l *stage.Lineage) { l.OK("/set?used") }, "alice"},
			"after a renewal": {func(l *stage.Lineage) { l.RenewBy("/renew") }, "alice"},
		} {
			t.Run("signs in "+name, func(t *testing.T) {
				l := stage.NewLineage(t, b, cfg, "/login?alice")
				test.then(l)
				before := l.Item()
				l.Conflict(l.With(0), "/login?bob")
				assert.Equal(t, before, l.Item())
				l.Live(test.user)
			})
		}
		t.Run("signs in after a logout", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			l.OK("/logout")
			old := l.With(0)
			old.OK("/login?bob")
			l.IDs = append(l.IDs, stage.IDOf(old))
			l.Live("bob")
			assert.Equal(t, l.Key(2), stage.Attr(l.Raw(l.Key(0)), "moved"))
			old.OK("/logout")
			l.Nobody()
		})
		t.Run("signs in without the tombstone", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			old := l.With(0)
			l.Inside = func() { l.Remove(l.Key(0)) }
			old.OK("/login?bob")
			assert.Equal(t, "bob", old.OK("/read"))
			assert.Equal(t, "n token alice", l.OK("/read"))
		})
		t.Run("signs in beside Store.Write", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			l.Inside = func() { require.NoError(t, l.Store.Write(t.Context(), l.IDs[0], []byte(`{"x":1}`))) }
			l.Conflict(l.With(0), "/login?bob")
			assert.Equal(t, "n token alice", l.OK("/read"))
		})
		t.Run("signs in beside another that does", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			one, two := l.With(0), l.With(0)
			l.Inside = func() { two.OK("/login?two") }
			one.OK("/login?one")
			l.Live("one")
			assert.Equal(t, "one", one.OK("/read"))
			assert.Equal(t, "none", two.OK("/read"))
		})
		t.Run("signs in and its answer is lost", func(t *testing.T) {
			for _, applied := range []bool{true, false} {
				for _, forgotten := range []bool{true, false} {
					l := stage.NewLineage(t, b, cfg, "/login?alice")
					old := l.With(0)
					l.Around("TransactWriteItems", func(apply func()) error {
						if applied {
							apply()
						}
						if forgotten {
							b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
								c.Body = tokenPattern.ReplaceAllString(c.Body, `$1"`+l.IDs[0][:36]+`"`)
								return c.Send()
							})
						}
						return stage.ErrReset
					})
					w := old.Get("/login?bob")
					b.Calls.Intercept(nil)
					assert.Equal(t, http.StatusOK, w.Code)
					assert.NotEmpty(t, stage.OnlyCookie(t, w).Value)
					l.Live("bob")
					assert.Equal(t, "bob", old.OK("/read"))
				}
			}
		})
		t.Run("signs in after the first byte", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			before := stage.AllItems(t, b, l.Table)
			w := l.With(0).Get("/late-login")
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Empty(t, stage.Cookies(w))
			l.Mu.Lock()
			err := l.Errs[len(l.Errs)-1]
			l.Mu.Unlock()
			require.Error(t, err)
			assert.NotErrorIs(t, err, dynasession.ErrGone, "it is the cookie that cannot be delivered")
			assert.ElementsMatch(t, before, stage.AllItems(t, b, l.Table))
		})
		t.Run("waits for no lock", func(t *testing.T) {
			l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy, LockWait: 10 * time.Second})
			if policy != dynasession.Lock {
				return
			}
			other := l.Twin()
			body := make(chan string, 1)
			l.Inside = func() {
				go func() { body <- other.Get("/read").Body.String() }()
				assert.Eventually(t, func() bool { return slices.Contains(b.Calls.Take(), "UpdateItem") }, 5*time.Second, time.Millisecond)
			}
			l.RenewBy("/login?alice")
			assert.Equal(t, "none", <-body)
			assert.NotContains(t, l.Raw(l.Key(0)), "lock")
		})
	})
}

// TestGhostNeverShowsTheSession: nothing of the new session is in what a request with the old cookie
// gets, logs, or reports.
func TestGhostNeverShowsTheSession(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy}, "/login?alice-in-the-table")
		l.OK("/set?secret-key")
		before := len(l.Errs)
		for _, path := range []string{"/state", "/read", "/set?x", "/count", "/login?bob", "/renew", "/takes"} {
			w := l.With(0).Get(path)
			said := w.Body.String() + fmt.Sprint(w.Header())
			for _, err := range l.Errs[before:] {
				said += err.Error()
			}
			for _, secret := range []string{"alice", "secret-key", l.IDs[0], l.IDs[1], l.Key(1), l.Key(1)[len(l.Key(1))-64:][:16]} {
				assert.NotContains(t, said, secret, path)
			}
		}
	})
}

// TestSaveAfterRenewal: a request that loaded the session before somebody else renewed it stores
// nothing, and brings no cookie.
func TestSaveAfterRenewal(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, php := range []bool{false, true} { // an item without marks, rev and data
			for _, path := range []string{"/set?mine", "/count", "/flash", "/login?bob", "/renew", "/remember", "/limit", "/read"} {
				t.Run(fmt.Sprintf("%s, of PHP's %v", path, php), func(t *testing.T) {
					l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy})
					if php {
						key := l.Key(0)
						l.Remove(key)
						stage.PutItem(t, b, l.Table, map[string]types.AttributeValue{"id": stage.Str(key), "expires": stage.In(10 * time.Minute)})
					} else {
						l.Age()
					}
					rival := l.TwinWithoutLock()
					l.Inside = func() {
						rival.OK("/login?alice")
						l.IDs = append(l.IDs, stage.IDOf(rival))
					}
					w := l.Get(path)
					assert.Empty(t, stage.Cookies(w))
					if path == "/read" {
						assert.Equal(t, http.StatusOK, w.Code)
						l.NoneFailed()
					} else {
						l.Failed(w, http.StatusConflict, dynasession.ErrGone)
					}
					assert.Equal(t, l.Key(1), stage.Attr(l.Raw(l.Key(0)), "moved"))
					assert.Len(t, l.Raw(l.Key(0)), 5, "the tombstone is as it was")
					l.Live("alice")
				})
			}
		}
	})
}

func TestStoreVerbsOnATombstone(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy}, "/login?alice")
		ctx, before := t.Context(), stage.AllItems(t, b, l.Table)
		_, err := l.Store.Read(ctx, l.IDs[0])
		require.ErrorIs(t, err, dynasession.ErrNotFound)
		valid, err := l.Store.ValidateID(ctx, l.IDs[0])
		require.NoError(t, err)
		assert.False(t, valid)
		require.ErrorIs(t, l.Store.UpdateTimestamp(ctx, l.IDs[0]), dynasession.ErrNotFound)
		assert.ElementsMatch(t, before, stage.AllItems(t, b, l.Table))

		require.NoError(t, l.Store.Write(ctx, l.IDs[0], []byte(`{"x":1}`)))
		assert.NotContains(t, l.Raw(l.Key(0)), "moved", "replaced")
		assert.Equal(t, "x", l.With(0).OK("/read"))
		assert.Equal(t, "n token alice", l.OK("/read"))
	})
}

var (
	tokenPattern = regexp.MustCompile(`("ClientRequestToken":)"\w{36}"`)
	keyPattern   = regexp.MustCompile(`"Key":{"id":{"S":"(\w+)"}}`)
)
