package renew_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestProtocolLogoutWhileARequestRuns(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/set?mine", "/login?alice", "/count", "/pop"} {
			t.Run(path, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
				old := sc.Twin()
				sc.Inside = func() {
					if policy == dynasession.Lock { // a request would wait for this one
						require.NoError(t, sc.Store.Destroy(t.Context(), sc.ID()))
						return
					}
					sc.Twin().OK("/logout")
				}
				sc.Failed(sc.Get(path), http.StatusConflict, dynasession.ErrGone)
				sc.NothingLeft(old, sc.Browser)
			})
		}
		t.Run("reader", func(t *testing.T) {
			sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
			old := sc.Twin()
			sc.Age()
			sc.Inside = func() { require.NoError(t, sc.Store.Destroy(t.Context(), sc.ID())) }
			assert.Equal(t, "n token", sc.OK("/read"), "it had loaded before")
			sc.NoneFailed()
			sc.NothingLeft(old, sc.Browser)
		})
	})
}

// TestProtocolIDWrittenAgain: neither rev nor the second of birth tells the two apart, but
// the mark of the creation does.
func TestProtocolIDWrittenAgain(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/set?mine", "/login?alice", "/read"} {
			t.Run(path, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
				sc.Age()
				id, before := sc.ID(), sc.Item()
				var fresh map[string]types.AttributeValue
				sc.Inside = func() {
					require.NoError(t, sc.Store.Destroy(t.Context(), id))
					require.NoError(t, sc.Store.Write(t.Context(), id, []byte(`{"n":0,"token":"t"}`)))
					sc.Edit(func(item map[string]types.AttributeValue) {
						item["born"], item["expires"], item["until"] = before["born"], before["expires"], before["until"]
					})
					fresh = sc.Item()
					require.Equal(t, before["rev"], fresh["rev"])
				}
				w := sc.Get(path)
				if path == "/read" {
					assert.Equal(t, http.StatusOK, w.Code)
				} else {
					assert.Equal(t, http.StatusConflict, w.Code, w.Body.String())
				}
				assert.Equal(t, fresh, sc.Item())
			})
		}
	})
}

// TestProtocolDeadItem: a refusal that returns an item returns dead ones too.
func TestProtocolDeadItem(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/set?mine", "/login?alice", "/pop"} {
			t.Run(path, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
				var dead map[string]types.AttributeValue
				sc.Inside = func() {
					sc.Edit(func(item map[string]types.AttributeValue) { item["expires"] = stage.In(-time.Second) })
					dead = sc.Item()
				}
				sc.Failed(sc.Get(path), http.StatusConflict, dynasession.ErrGone)
				assert.Equal(t, stage.Unlocked(dead), stage.Unlocked(sc.Item()))
			})
		}
	})
}

func TestLogoutFollows(t *testing.T) {
	// A request that has loaded the session while others renew it.
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		cfg := dynasession.Config{Concurrency: policy}
		for _, path := range []string{"/logout", "/limit-past"} {
			for n := 1; n <= 3; n++ {
				t.Run(fmt.Sprintf("%s, loaded before %d renewals", path, n), func(t *testing.T) {
					l := stage.NewLineage(t, b, cfg)
					rival := l.TwinWithoutLock()
					l.Inside = func() {
						for i := range n {
							rival.OK(fmt.Sprintf("/login?alice%d", i))
						}
						l.IDs = append(l.IDs, stage.IDOf(rival))
						b.Calls.Take()
					}
					w := l.Get(path)
					require.Equal(t, http.StatusOK, w.Code)
					assert.Equal(t, slices.Repeat([]string{"DeleteItem"}, n+1), b.Calls.Take())
					assert.Empty(t, l.Cookie(), "cleared")
					l.Nobody()
					assert.Equal(t, "none", rival.OK("/read"))
				})
			}
		}
		t.Run("with the old cookie", func(t *testing.T) {
			for n := range 2 {
				l := stage.NewLineage(t, b, cfg, "/login?alice", "/renew")
				old := l.With(n)
				w := old.Get("/logout")
				assert.Equal(t, http.StatusOK, w.Code)
				assert.Negative(t, stage.OnlyCookie(t, w).MaxAge)
				l.Nobody()
				assert.Equal(t, "none", l.OK("/read"))
			}
			l := stage.NewLineage(t, b, cfg, "/login?alice", "/renew")
			require.NoError(t, l.Store.Destroy(t.Context(), l.IDs[0]))
			l.Nobody()
		})
		t.Run("then Set", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			old := l.With(0)
			old.OK("/restart")
			assert.NotContains(t, l.IDs, stage.IDOf(old))
			assert.Equal(t, "mine", old.OK("/read"))
			assert.Equal(t, "none", l.OK("/read"))
			l.Live("")
		})
		t.Run("loses answers", func(t *testing.T) {
			for lost := range 4 { // bits: the first, the second
				l := stage.NewLineage(t, b, cfg)
				rival, n := l.TwinWithoutLock(), 0
				l.Inside = func() { rival.OK("/login?alice") }
				b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
					resp, err := c.Send()
					if c.Operation != "DeleteItem" {
						return resp, err
					}
					if n++; n <= 2 && lost&(1<<(n-1)) != 0 {
						_ = resp.Body.Close()
						return nil, stage.ErrReset
					}
					return resp, err
				})
				l.OK("/logout")
				b.Calls.Intercept(nil)
				l.Nobody()
				l.NoneFailed()
			}
		})
		t.Run("is cut off after the first step", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			n := 0
			b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
				if c.Operation != "DeleteItem" {
					return c.Send()
				}
				if n++; n > 1 {
					return nil, stage.ErrReset
				}
				return c.Send()
			})
			old := l.With(0)
			assert.Equal(t, http.StatusServiceUnavailable, old.Get("/logout").Code)
			b.Calls.Intercept(nil)
			l.Live("alice")
			old.OK("/logout")
			l.Nobody()
		})
		t.Run("never arrives", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			deletes := 0
			b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
				if c.Operation == "DeleteItem" { // each finds that the session has just been renewed again
					deletes++
					next := strings.Repeat(fmt.Sprint(deletes), 64)
					key := keyPattern.FindStringSubmatch(c.Body)[1]
					stage.PutItem(t, b, l.Table, tombstoneItem(key, l.Key(1)[:len(l.Key(1))-64]+next))
				}
				return c.Send()
			})
			w := l.With(0).Get("/logout")
			b.Calls.Intercept(nil)
			l.Failed(w, http.StatusConflict, dynasession.ErrConflict)
			assert.Empty(t, stage.Cookies(w))
			assert.Equal(t, 9, deletes, "and gives up after 8 steps")
		})
		t.Run("under the lock of another", func(t *testing.T) {
			if policy != dynasession.Lock {
				return
			}
			l := stage.NewLineage(t, b, cfg, "/login?alice")
			old := l.With(0)
			l.Inside = func() { old.OK("/logout") }
			l.Failed(l.Get("/set?mine"), http.StatusConflict, dynasession.ErrGone)
			l.Nobody()
		})
		t.Run("while the renewal is under way", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg)
			rival, n := l.TwinWithoutLock(), 0
			l.Inside = func() {
				b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
					if c.Operation == "DeleteItem" {
						if n++; n == 1 {
							return stage.AnswerWith(http.StatusBadRequest, "TransactionConflictException"), nil
						}
						if n == 2 {
							rival.OK("/login?alice")
						}
					}
					return c.Send()
				})
			}
			l.OK("/logout")
			b.Calls.Intercept(nil)
			l.Nobody()
		})
		t.Run("and a late copy", func(t *testing.T) {
			l := stage.NewLineage(t, b, cfg)
			id := l.ID()
			var first *stage.Call
			l.Inside = func() {
				b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
					if c.Operation == "DeleteItem" && first == nil {
						first = c
						return nil, stage.ErrReset
					}
					return c.Send()
				})
			}
			l.OK("/logout")
			b.Calls.Intercept(nil)
			require.NoError(t, l.Store.Write(t.Context(), id, []byte(`{"made":"anew"}`)))
			before := l.Item()
			first.ComeLate(t)
			assert.Equal(t, before, l.Item())
		})
	})
}

// TestRenewedAndLoggedOutThenALateCopy: when DynamoDB has forgotten the token, the condition on the old
// item refuses a copy.
func TestRenewedAndLoggedOutThenALateCopy(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy})
		var sent *stage.Call
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			if c.Operation == "TransactWriteItems" {
				sent = c
			}
			return c.Send()
		})
		l.RenewBy("/login?alice")
		b.Calls.Intercept(nil)
		l.OK("/logout")
		sent.Body = tokenPattern.ReplaceAllString(sent.Body, `$1"`+strings.Repeat("0", 36)+`"`)
		sent.ComeLate(t)
		l.Nobody()
	})
}
