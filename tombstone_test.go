package dynasession_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// Renewals leave tombstones, logouts follow them, and a request with an old cookie is a ghost. These
// tests hold each rule of them to what it says, on both backends and under all policies.

const grace = 30 * time.Second

// lineage is a session and what it is renewed to. The scene's browser has the newest cookie.
type lineage struct {
	*scene
	ids []string // from before the renewals, oldest first; the last is the present one
}

// newLineage signs in with that path, if there is one.
func newLineage(t *testing.T, b *backend, cfg dynasession.Config, paths ...string) *lineage {
	t.Helper()
	l := &lineage{scene: newScene(t, b, cfg)}
	l.addPaths()
	l.ids = []string{l.id()}
	for _, path := range paths {
		l.renewBy(path)
	}
	return l
}

func (l *lineage) renewBy(path string) {
	l.t.Helper()
	l.ok(path)
	l.ids = append(l.ids, l.id())
}

// with is a browser that has the cookie of the n-th id.
func (l *lineage) with(n int) *browser { return bearer(l.t, l.handler, l.ids[n]) }

func bearer(t *testing.T, h http.Handler, id string) *browser {
	br := newBrowser(t, h)
	br.jar.SetCookies(origin, []*http.Cookie{{Name: cookieName, Value: id, Path: "/", Secure: true}})
	return br
}

// key is that of the item of the n-th id.
func (l *lineage) key(n int) string { return keyOf(l.ids[n]) }

// raw is the item of a key, tombstones too; nil for none.
func (sc *scene) raw(key string) map[string]types.AttributeValue {
	sc.t.Helper()
	out, err := sc.b.client.GetItem(sc.t.Context(), &dynamodb.GetItemInput{
		TableName: &sc.table, Key: map[string]types.AttributeValue{"id": str(key)}, ConsistentRead: aws.Bool(true),
	})
	require.NoError(sc.t, err)
	if len(out.Item) == 0 {
		return nil
	}
	return out.Item
}

func (sc *scene) remove(key string) {
	sc.t.Helper()
	_, err := sc.b.client.DeleteItem(context.Background(), &dynamodb.DeleteItemInput{TableName: &sc.table, Key: map[string]types.AttributeValue{"id": str(key)}})
	require.NoError(sc.t, err)
}

func (sc *scene) addPaths() {
	add := func(path string, f func(s *session)) {
		sc.paths[path] = func(s *session, w http.ResponseWriter, _ *http.Request) {
			if inside := sc.inside; inside != nil {
				sc.inside = nil
				inside()
			}
			f(s)
			write(w, "done")
		}
	}
	add("/delete", func(s *session) { s.Delete("absent") })
	add("/flash", func(s *session) { s.AddFlash("hello") })
	add("/remember", func(s *session) { s.Remember(time.Hour) })
	add("/sign-out", func(s *session) { s.SetUser("") })
	add("/limit-past", func(s *session) { s.LimitTo(time.Now().Add(-time.Hour)) })
	add("/restart", func(s *session) { s.Destroy(); s.Set("mine", true) })
	add("/login-and-more", func(s *session) { s.Set("before", 1); s.SetUser("carol"); s.Set("after", 2) })
	add("/takes", func(s *session) {
		_, popped := dynasession.Pop[string](s, "token")
		flashes := dynasession.Flashes[string](s)
		assert.False(sc.t, popped)
		assert.Empty(sc.t, flashes)
	})
	sc.paths["/state"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
		n, has := dynasession.Get[int](s, "n")
		write(w, fmt.Sprintf("%v user=%s id=%s ref=%s new=%v n=%d %v %v %v",
			s.Keys(), s.User(), s.ID(), s.Ref(), s.IsNew(), n, has, s.Has("token"), s.AuthTime().IsZero()))
	}
	sc.paths["/late-login"] = func(s *session, w http.ResponseWriter, r *http.Request) {
		write(w, "begun")
		_ = http.NewResponseController(w).Flush()
		s.SetUser("late")
		sc.mu.Lock()
		sc.errs = append(sc.errs, s.Save(r.Context()))
		sc.mu.Unlock()
	}
}

// cookies are what a response sets or clears.
func cookies(w *httptest.ResponseRecorder) []*http.Cookie { return w.Result().Cookies() }

// conflict expects 409 without a cookie.
func (l *lineage) conflict(br *browser, path string) {
	l.t.Helper()
	w := br.get(path)
	l.failed(w, http.StatusConflict, dynasession.ErrGone)
	assert.Empty(l.t, cookies(w), path)
}

// live expects that one session, of that user, and no other is in the table.
func (l *lineage) live(user string) {
	l.t.Helper()
	assert.Equal(l.t, user, attr(l.item(), "user"))
}

func (l *lineage) nobody() {
	l.t.Helper()
	assert.Empty(l.t, items(l.t, l.b, l.table))
}

func loadCall(policy dynasession.Concurrency) string {
	if policy == dynasession.Lock {
		return "UpdateItem"
	}
	return "GetItem"
}

// loadCalls are the calls of a load that finds no live session.
func loadCalls(policy dynasession.Concurrency) []string {
	if *withEventualReads && policy != dynasession.Lock { // the second one is consistent
		return []string{loadCall(policy), loadCall(policy)}
	}
	return []string{loadCall(policy)}
}

func TestRenewLeavesATombstone(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/login?alice", "/renew", "/sign-out"} {
			l := newLineage(t, b, dynasession.Config{Concurrency: policy})
			l.edit(func(item map[string]types.AttributeValue) { item["others"] = str("x") })
			began := time.Now()
			l.renewBy(path)
			tomb, item := l.raw(l.key(0)), l.item()
			assert.ElementsMatch(t, []string{"id", "expires", "until", "w", "moved"}, mapKeys(tomb), path)
			assert.Equal(t, "1", attr(tomb, "until"))
			assert.Len(t, attr(tomb, "w"), 8)
			assert.Equal(t, attr(item, "w"), attr(tomb, "w"))
			assert.Equal(t, l.key(1), attr(tomb, "moved"))
			assert.Equal(t, l.key(1), attr(item, "id"))
			assert.Equal(t, "1", attr(item, "rev"))
			assert.NotContains(t, item, "others", "others' attributes stay behind, as they always have")
			assert.WithinDuration(t, began.Add(grace), time.Unix(intAttr(t, tomb, "expires"), 0), 5*time.Second)
		}
	})
}

func mapKeys(item map[string]types.AttributeValue) (keys []string) {
	for k := range item {
		keys = append(keys, k)
	}
	return keys
}

func TestRenewWithForeignWriters(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		l := newLineage(t, b, dynasession.Config{Concurrency: policy, ForeignWriters: true}, "/login?alice")
		assert.Nil(t, l.raw(l.key(0)))
		assert.Equal(t, "none", l.with(0).ok("/read"))
		l.live("alice")
	})
}

func TestLogoutFollows(t *testing.T) {
	// A request that has loaded the session while others renew it.
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		cfg := dynasession.Config{Concurrency: policy}
		for _, path := range []string{"/logout", "/limit-past"} {
			for n := 1; n <= 3; n++ {
				t.Run(fmt.Sprintf("%s, loaded before %d renewals", path, n), func(t *testing.T) {
					l := newLineage(t, b, cfg)
					rival := l.rival()
					l.inside = func() {
						for i := range n {
							rival.ok(fmt.Sprintf("/login?alice%d", i))
						}
						l.ids = append(l.ids, idOf(rival))
						b.calls.take()
					}
					w := l.get(path)
					require.Equal(t, http.StatusOK, w.Code)
					assert.Equal(t, slices.Repeat([]string{"DeleteItem"}, n+1), b.calls.take())
					assert.Empty(t, l.cookie(), "cleared")
					l.nobody()
					assert.Equal(t, "none", rival.ok("/read"))
				})
			}
		}
		t.Run("with the old cookie", func(t *testing.T) {
			for n := range 2 {
				l := newLineage(t, b, cfg, "/login?alice", "/renew")
				old := l.with(n)
				w := old.get("/logout")
				assert.Equal(t, http.StatusOK, w.Code)
				assert.Negative(t, onlyCookie(t, w).MaxAge)
				l.nobody()
				assert.Equal(t, "none", l.ok("/read"))
			}
			l := newLineage(t, b, cfg, "/login?alice", "/renew")
			require.NoError(t, l.store.Destroy(t.Context(), l.ids[0]))
			l.nobody()
		})
		t.Run("then Set", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			old := l.with(0)
			old.ok("/restart")
			assert.NotContains(t, l.ids, idOf(old))
			assert.Equal(t, "mine", old.ok("/read"))
			assert.Equal(t, "none", l.ok("/read"))
			l.live("")
		})
		t.Run("loses answers", func(t *testing.T) {
			for lost := range 4 { // bits: the first, the second
				l := newLineage(t, b, cfg)
				rival, n := l.rival(), 0
				l.inside = func() { rival.ok("/login?alice") }
				b.calls.intercept(func(c *call) (*http.Response, error) {
					resp, err := c.send()
					if c.operation != "DeleteItem" {
						return resp, err
					}
					if n++; n <= 2 && lost&(1<<(n-1)) != 0 {
						_ = resp.Body.Close()
						return nil, errReset
					}
					return resp, err
				})
				l.ok("/logout")
				b.calls.intercept(nil)
				l.nobody()
				l.noneFailed()
			}
		})
		t.Run("is cut off after the first step", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			n := 0
			b.calls.intercept(func(c *call) (*http.Response, error) {
				if c.operation != "DeleteItem" {
					return c.send()
				}
				if n++; n > 1 {
					return nil, errReset
				}
				return c.send()
			})
			old := l.with(0)
			assert.Equal(t, http.StatusServiceUnavailable, old.get("/logout").Code)
			b.calls.intercept(nil)
			l.live("alice")
			old.ok("/logout")
			l.nobody()
		})
		t.Run("never arrives", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			deletes := 0
			b.calls.intercept(func(c *call) (*http.Response, error) {
				if c.operation == "DeleteItem" { // each finds that the session has just been renewed again
					deletes++
					next := strings.Repeat(fmt.Sprint(deletes), 64)
					key := keyPattern.FindStringSubmatch(c.body)[1]
					putItem(t, b, l.table, tombstoneItem(key, l.key(1)[:len(l.key(1))-64]+next))
				}
				return c.send()
			})
			w := l.with(0).get("/logout")
			b.calls.intercept(nil)
			l.failed(w, http.StatusConflict, dynasession.ErrConflict)
			assert.Empty(t, cookies(w))
			assert.Equal(t, 9, deletes, "and gives up after 8 steps")
		})
		t.Run("under the lock of another", func(t *testing.T) {
			if policy != dynasession.Lock {
				return
			}
			l := newLineage(t, b, cfg, "/login?alice")
			old := l.with(0)
			l.inside = func() { old.ok("/logout") }
			l.failed(l.get("/set?mine"), http.StatusConflict, dynasession.ErrGone)
			l.nobody()
		})
		t.Run("while the renewal is under way", func(t *testing.T) {
			l := newLineage(t, b, cfg)
			rival, n := l.rival(), 0
			l.inside = func() {
				b.calls.intercept(func(c *call) (*http.Response, error) {
					if c.operation == "DeleteItem" {
						if n++; n == 1 {
							return answerWith(http.StatusBadRequest, "TransactionConflictException"), nil
						}
						if n == 2 {
							rival.ok("/login?alice")
						}
					}
					return c.send()
				})
			}
			l.ok("/logout")
			b.calls.intercept(nil)
			l.nobody()
		})
		t.Run("and a late copy", func(t *testing.T) {
			l := newLineage(t, b, cfg)
			id := l.id()
			var first *call
			l.inside = func() {
				b.calls.intercept(func(c *call) (*http.Response, error) {
					if c.operation == "DeleteItem" && first == nil {
						first = c
						return nil, errReset
					}
					return c.send()
				})
			}
			l.ok("/logout")
			b.calls.intercept(nil)
			require.NoError(t, l.store.Write(t.Context(), id, []byte(`{"made":"anew"}`)))
			before := l.item()
			first.comeLate(t)
			assert.Equal(t, before, l.item())
		})
	})
}

func tombstoneItem(key, moved string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": str(key), "expires": in(grace), "until": num("1"), "w": str("abcdefgh"), "moved": str(moved)}
}

// TestGraceEnds: a tombstone that is over is a dead item, but for a request that had loaded the
// session.
func TestGraceEnds(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy.String(), func(t *testing.T) {
			inTime(t, dynasession.Config{Concurrency: policy}, func(c *timed) {
				c.stop()
				inside := func() {}
				h := c.visit(c.store, app{
					"/login":  acts(func(s *dynasession.Session) { s.SetUser("alice") }),
					"/logout": acts(func(s *dynasession.Session) { s.Destroy() }),
					"/slow":   acts(func(s *dynasession.Session) { inside(); s.Destroy() }),
					"/set":    acts(func(s *dynasession.Session) { s.Set("n", 2) }),
				})
				merging := c.visit(c.with(dynasession.Config{}), app{"/login": acts(func(s *dynasession.Session) { s.SetUser("alice") })})
				begin := func() (string, *browser) {
					br := newBrowser(c.t, h)
					br.ok("/new")
					id := br.cookie()
					return id, br
				}
				old, br := begin()
				br.ok("/login")
				c.pass(grace - time.Second)
				assert.Equal(c.t, http.StatusConflict, askAs(h, old, "/set").Code, "still fresh")
				c.pass(time.Second)
				w := askAs(h, old, "/set")
				assert.Equal(c.t, http.StatusOK, w.Code)
				assert.NotContains(c.t, []string{old, br.cookie()}, onlyCookie(c.t, w).Value)

				assert.Equal(c.t, http.StatusOK, askAs(h, old, "/logout").Code)
				assert.Equal(c.t, "live", br.ok("/"), "only the dead item was deleted")

				old, br = begin()
				br.handler = merging
				inside = func() { br.ok("/login"); c.pass(grace + time.Second) }
				assert.Equal(c.t, http.StatusOK, askAs(h, old, "/slow").Code)
				assert.Equal(c.t, "new", br.ok("/"), "it had loaded the session")
			})
		})
	}
}

func TestGhost(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		cfg := dynasession.Config{Concurrency: policy}
		t.Run("reads", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			before := allItems(t, b, l.table)
			b.calls.take()
			w := l.with(0).get("/state")
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, "[] user= id= ref= new=true n=0 false false true", w.Body.String())
			assert.Empty(t, cookies(w))
			assert.Equal(t, loadCalls(policy), b.calls.take())
			w = l.with(0).get("/takes")
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Empty(t, cookies(w))
			assert.Equal(t, loadCalls(policy), b.calls.take())
			assert.ElementsMatch(t, before, allItems(t, b, l.table))
		})
		t.Run("changes", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			before := allItems(t, b, l.table)
			for _, path := range []string{"/set?mine", "/delete", "/count", "/flash", "/remember", "/limit", "/renew", "/sign-out"} {
				b.calls.take()
				l.conflict(l.with(0), path)
				assert.Equal(t, loadCalls(policy), b.calls.take(), path)
				assert.ElementsMatch(t, before, allItems(t, b, l.table), path)
			}
		})
		t.Run("among tickets", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			for _, ids := range [][]string{{l.ids[0], l.ids[1]}, {l.ids[1], l.ids[0]}} {
				assert.Equal(t, "n token alice", bearing(t, l.handler, ids...).ok("/read"))
			}
		})
		t.Run("signs in", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			old := l.with(0)
			b.calls.take()
			old.ok("/login-and-more")
			assert.Equal(t, append(loadCalls(policy), "TransactWriteItems"), b.calls.take())
			l.ids = append(l.ids, idOf(old))
			l.live("carol")
			assert.Equal(t, "after before carol", old.ok("/read"))
			assert.Equal(t, l.key(2), attr(l.raw(l.key(0)), "moved"))
			assert.Equal(t, l.key(2), attr(l.raw(l.key(1)), "moved"))
			assert.NotContains(t, fmt.Sprint(l.raw(l.key(1))), "alice")
			assert.Equal(t, "none", l.ok("/read"), "what was signed in first is over")

			t.Run("again", func(t *testing.T) { // two responses were lost
				third := l.with(0)
				third.ok("/login?dave")
				l.live("dave")
				assert.Equal(t, "dave", third.ok("/read"))
				assert.Equal(t, "none", old.ok("/read"))
			})
		})
		for name, test := range map[string]struct {
			then func(l *lineage)
			user string
		}{
			"after a change":  {func(l *lineage) { l.ok("/set?used") }, "alice"},
			"after a renewal": {func(l *lineage) { l.renewBy("/renew") }, "alice"},
		} {
			t.Run("signs in "+name, func(t *testing.T) {
				l := newLineage(t, b, cfg, "/login?alice")
				test.then(l)
				before := l.item()
				l.conflict(l.with(0), "/login?bob")
				assert.Equal(t, before, l.item())
				l.live(test.user)
			})
		}
		t.Run("signs in after a logout", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			l.ok("/logout")
			old := l.with(0)
			old.ok("/login?bob")
			l.ids = append(l.ids, idOf(old))
			l.live("bob")
			assert.Equal(t, l.key(2), attr(l.raw(l.key(0)), "moved"))
			old.ok("/logout")
			l.nobody()
		})
		t.Run("signs in without the tombstone", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			old := l.with(0)
			l.inside = func() { l.remove(l.key(0)) }
			old.ok("/login?bob")
			assert.Equal(t, "bob", old.ok("/read"))
			assert.Equal(t, "n token alice", l.ok("/read"))
		})
		t.Run("signs in beside Store.Write", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			l.inside = func() { require.NoError(t, l.store.Write(t.Context(), l.ids[0], []byte(`{"x":1}`))) }
			l.conflict(l.with(0), "/login?bob")
			assert.Equal(t, "n token alice", l.ok("/read"))
		})
		t.Run("signs in beside another that does", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			one, two := l.with(0), l.with(0)
			l.inside = func() { two.ok("/login?two") }
			one.ok("/login?one")
			l.live("one")
			assert.Equal(t, "one", one.ok("/read"))
			assert.Equal(t, "none", two.ok("/read"))
		})
		t.Run("signs in and its answer is lost", func(t *testing.T) {
			for _, applied := range []bool{true, false} {
				for _, forgotten := range []bool{true, false} {
					l := newLineage(t, b, cfg, "/login?alice")
					old := l.with(0)
					l.around("TransactWriteItems", func(apply func()) error {
						if applied {
							apply()
						}
						if forgotten {
							b.calls.intercept(func(c *call) (*http.Response, error) {
								c.body = tokenPattern.ReplaceAllString(c.body, `$1"`+l.ids[0][:36]+`"`)
								return c.send()
							})
						}
						return errReset
					})
					w := old.get("/login?bob")
					b.calls.intercept(nil)
					assert.Equal(t, http.StatusOK, w.Code)
					assert.NotEmpty(t, onlyCookie(t, w).Value)
					l.live("bob")
					assert.Equal(t, "bob", old.ok("/read"))
				}
			}
		})
		t.Run("signs in after the first byte", func(t *testing.T) {
			l := newLineage(t, b, cfg, "/login?alice")
			before := allItems(t, b, l.table)
			w := l.with(0).get("/late-login")
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Empty(t, cookies(w))
			l.mu.Lock()
			err := l.errs[len(l.errs)-1]
			l.mu.Unlock()
			require.Error(t, err)
			assert.NotErrorIs(t, err, dynasession.ErrGone, "it is the cookie that cannot be delivered")
			assert.ElementsMatch(t, before, allItems(t, b, l.table))
		})
		t.Run("waits for no lock", func(t *testing.T) {
			l := newLineage(t, b, dynasession.Config{Concurrency: policy, LockWait: 10 * time.Second})
			if policy != dynasession.Lock {
				return
			}
			other := l.twin()
			body := make(chan string, 1)
			l.inside = func() {
				go func() { body <- other.get("/read").Body.String() }()
				assert.Eventually(t, func() bool { return slices.Contains(b.calls.take(), "UpdateItem") }, 5*time.Second, time.Millisecond)
			}
			l.renewBy("/login?alice")
			assert.Equal(t, "none", <-body)
			assert.NotContains(t, l.raw(l.key(0)), "lock")
		})
	})
}

// TestGhostNeverShowsTheSession: nothing of the new session is in what a request with the old cookie
// gets, logs, or reports.
func TestGhostNeverShowsTheSession(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		l := newLineage(t, b, dynasession.Config{Concurrency: policy}, "/login?alice-in-the-table")
		l.ok("/set?secret-key")
		before := len(l.errs)
		for _, path := range []string{"/state", "/read", "/set?x", "/count", "/login?bob", "/renew", "/takes"} {
			w := l.with(0).get(path)
			said := w.Body.String() + fmt.Sprint(w.Header())
			for _, err := range l.errs[before:] {
				said += err.Error()
			}
			for _, secret := range []string{"alice", "secret-key", l.ids[0], l.ids[1], l.key(1), l.key(1)[len(l.key(1))-64:][:16]} {
				assert.NotContains(t, said, secret, path)
			}
		}
	})
}

// TestSaveAfterRenewal: a request that loaded the session before somebody else renewed it stores
// nothing, and brings no cookie.
func TestSaveAfterRenewal(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, php := range []bool{false, true} { // an item without marks, rev and data
			for _, path := range []string{"/set?mine", "/count", "/flash", "/login?bob", "/renew", "/remember", "/limit", "/read"} {
				t.Run(fmt.Sprintf("%s, of PHP's %v", path, php), func(t *testing.T) {
					l := newLineage(t, b, dynasession.Config{Concurrency: policy})
					if php {
						key := l.key(0)
						l.remove(key)
						putItem(t, b, l.table, map[string]types.AttributeValue{"id": str(key), "expires": in(10 * time.Minute)})
					} else {
						l.age()
					}
					rival := l.rival()
					l.inside = func() {
						rival.ok("/login?alice")
						l.ids = append(l.ids, idOf(rival))
					}
					w := l.get(path)
					assert.Empty(t, cookies(w))
					if path == "/read" {
						assert.Equal(t, http.StatusOK, w.Code)
						l.noneFailed()
					} else {
						l.failed(w, http.StatusConflict, dynasession.ErrGone)
					}
					assert.Equal(t, l.key(1), attr(l.raw(l.key(0)), "moved"))
					assert.Len(t, l.raw(l.key(0)), 5, "the tombstone is as it was")
					l.live("alice")
				})
			}
		}
	})
}

func TestStoreVerbsOnATombstone(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		l := newLineage(t, b, dynasession.Config{Concurrency: policy}, "/login?alice")
		ctx, before := t.Context(), allItems(t, b, l.table)
		_, err := l.store.Read(ctx, l.ids[0])
		require.ErrorIs(t, err, dynasession.ErrNotFound)
		valid, err := l.store.ValidateID(ctx, l.ids[0])
		require.NoError(t, err)
		assert.False(t, valid)
		require.ErrorIs(t, l.store.UpdateTimestamp(ctx, l.ids[0]), dynasession.ErrNotFound)
		assert.ElementsMatch(t, before, allItems(t, b, l.table))

		require.NoError(t, l.store.Write(ctx, l.ids[0], []byte(`{"x":1}`)))
		assert.NotContains(t, l.raw(l.key(0)), "moved", "replaced")
		assert.Equal(t, "x", l.with(0).ok("/read"))
		assert.Equal(t, "n token alice", l.ok("/read"))
	})
}

func TestSweepOnATombstone(t *testing.T) {
	inTime(t, dynasession.Config{}, func(c *timed) {
		c.stop()
		h := c.visit(c.store, app{"/renew": acts(func(s *dynasession.Session) { s.Renew() })})
		br := newBrowser(c.t, h)
		br.ok("/new")
		br.ok("/renew")
		sweep := func() dynasession.SweepStats {
			stats, err := c.store.Sweep(c.t.Context(), dynasession.SweepOptions{})
			require.NoError(c.t, err)
			return stats
		}
		collect := func() int {
			n, err := c.store.GC(c.t.Context(), time.Second)
			require.NoError(c.t, err)
			return n
		}
		for range 2 {
			sweep()
			if c.inBubble() {
				assert.Zero(c.t, sweep().Expired)
			}
			assert.Len(c.t, tombstones(c.t, c.backend, c.table), 1)
			c.pass(grace + time.Second)
		}
		c.pass(60*time.Second - grace - time.Second)
		assert.Len(c.t, tombstones(c.t, c.backend, c.table), 1)
		c.pass(grace)
		stats := sweep()
		assert.Zero(c.t, stats.Deleted, "it is no session")
		assert.Zero(c.t, stats.Expired)
		assert.Empty(c.t, tombstones(c.t, c.backend, c.table))
		br.ok("/renew")
		collect()
		assert.Len(c.t, tombstones(c.t, c.backend, c.table), 1)
	})
}

func TestUserSessionsAfterRenewal(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		l := newLineage(t, b, dynasession.Config{UserIndex: "by-user"}, "/login?alice", "/renew")
		found, err := l.store.UserSessions(t.Context(), "alice")
		require.NoError(t, err)
		require.Len(t, found, 1)
		assert.NotEmpty(t, found[0].Ref)
		done := false
		b.calls.intercept(func(c *call) (*http.Response, error) {
			if c.operation == "DeleteItem" && !done {
				done = true
				l.renewBy("/renew")
			}
			return c.send()
		})
		n, err := l.store.DestroyUser(t.Context(), "alice", nil)
		b.calls.intercept(nil)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		l.nobody()
	})
}

// TestTombstoneOfAReplica: a replica that lags shows the session as it was before its renewal, or
// nothing, or the tombstone.
func TestTombstoneOfAReplica(t *testing.T) {
	for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.LastWriteWins} {
		subBubble(t, policy.String(), func(t *testing.T) {
			b := embedded(t)
			cfg := dynasession.Config{EventualReads: true, Concurrency: policy}
			stale := func() (*lineage, *browser) {
				l := newLineage(t, b, cfg)
				old := l.twin()
				b.server.HoldReplicas()
				l.renewBy("/login?alice")
				return l, old
			}
			l, old := stale()
			assert.Equal(t, "n token", old.ok("/read"), "the replica's values")
			l.conflict(old, "/set?mine")
			old.ok("/logout")
			b.server.ReleaseReplicas()
			l.nobody()

			l, old = stale()
			b.server.ReleaseReplicas()
			assert.Equal(t, "none", old.ok("/read"))
			l.conflict(old, "/set?mine")

			l = newLineage(t, b, cfg)
			l.renewBy("/login?alice")
			b.calls.intercept(func(c *call) (*http.Response, error) {
				if c.operation == "GetItem" && strings.Contains(c.body, `"ConsistentRead":false`) {
					r := answerWith(http.StatusOK, "")
					r.Body = io.NopCloser(strings.NewReader(`{}`))
					return r, nil
				}
				return c.send()
			})
			l.conflict(l.with(0), "/set?mine")
			b.calls.intercept(nil)
		})
	}
}

func TestNotBeforeAfterRenewal(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		renew := app{"/renew": acts(func(s *dynasession.Session) { s.Renew() })}
		br := newBrowser(c.t, c.visit(c.store, renew))
		br.ok("/new")
		c.pass(time.Minute)
		revoked := c.visit(c.with(dynasession.Config{NotBefore: time.Now()}), renew)
		br.ok("/renew")
		br.handler = revoked
		assert.Equal(c.t, "new", br.ok("/"), "a renewal keeps the birth")
	})
}

// TestRenewedAndLoggedOutThenALateCopy: when DynamoDB has forgotten the token, the condition on the old
// item refuses a copy.
func TestRenewedAndLoggedOutThenALateCopy(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		l := newLineage(t, b, dynasession.Config{Concurrency: policy})
		var sent *call
		b.calls.intercept(func(c *call) (*http.Response, error) {
			if c.operation == "TransactWriteItems" {
				sent = c
			}
			return c.send()
		})
		l.renewBy("/login?alice")
		b.calls.intercept(nil)
		l.ok("/logout")
		sent.body = tokenPattern.ReplaceAllString(sent.body, `$1"`+strings.Repeat("0", 36)+`"`)
		sent.comeLate(t)
		l.nobody()
	})
}

// TestAnswersOfOthers: a connection that mixes up answers shows nobody another's session, and takes
// no session for lost.
func TestAnswersOfOthers(t *testing.T) {
	for _, policy := range policies {
		for _, keys := range [][][]byte{nil, {[]byte(strings.Repeat("k", 32))}} {
			b := embedded(t)
			sc := newScene(t, b, dynasession.Config{Concurrency: policy, EncryptionKeys: keys})
			other := newBrowser(t, sc.handler)
			other.ok("/login?mallory")
			theirs := keyOf(idOf(other))
			mine := keyOf(sc.id())
			b.calls.intercept(func(c *call) (*http.Response, error) {
				resp, err := c.send()
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				resp.Header.Del("X-Amz-Crc32")
				resp.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(string(body), mine, theirs)))
				return resp, nil
			})
			for _, path := range []string{"/read", "/set?mine", "/login?me"} {
				w := sc.get(path)
				assert.Equal(t, http.StatusServiceUnavailable, w.Code, path)
				assert.NotContains(t, w.Body.String(), "mallory")
				assert.Empty(t, cookies(w), path)
			}
			_, err := sc.store.Read(t.Context(), sc.id())
			require.ErrorIs(t, err, dynasession.ErrUnavailable)
			b.calls.intercept(nil)
			assert.Equal(t, "n token", sc.ok("/read"))
			assert.Equal(t, "mallory", other.ok("/read"))
		}
	}
}

var (
	tokenPattern = regexp.MustCompile(`("ClientRequestToken":)"\w{36}"`)
	keyPattern   = regexp.MustCompile(`"Key":{"id":{"S":"(\w+)"}}`)
)
