package lostanswer_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestProtocolRenewLosesItsAnswer(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		cfg := dynasession.Config{Concurrency: policy}
		load := "GetItem"
		if policy == dynasession.Lock {
			load = "UpdateItem"
		}
		for _, applied := range []bool{true, false} {
			t.Run(fmt.Sprintf("applied %v", applied), func(t *testing.T) {
				sc := stage.NewScene(t, b, cfg)
				old := sc.Twin()
				sc.Around("TransactWriteItems", func(apply func()) error {
					if applied {
						apply()
					}
					return stage.ErrReset
				})
				b.Calls.Take()
				sc.OK("/login?alice")
				assert.Equal(t, []string{load, "TransactWriteItems", "TransactWriteItems"}, b.Calls.Take())
				sc.Item()
				assert.Equal(t, "n token alice", sc.OK("/read"))
				assert.Equal(t, "none", old.OK("/read"))
			})
		}
		t.Run("and a logout comes between", func(t *testing.T) {
			sc := stage.NewScene(t, b, cfg)
			old := sc.TwinWithoutLock()
			sc.Around("TransactWriteItems", func(func()) error {
				old.OK("/logout")
				return stage.ErrReset
			})
			sc.Failed(sc.Get("/login?alice"), http.StatusConflict, dynasession.ErrGone)
			sc.NothingLeft(old, sc.Browser)
		})
		t.Run("and another renewal comes between", func(t *testing.T) {
			sc := stage.NewScene(t, b, cfg)
			old, winner := sc.Twin(), sc.TwinWithoutLock()
			sc.Around("TransactWriteItems", func(func()) error {
				winner.OK("/login?bob")
				return stage.ErrReset
			})
			sc.Failed(sc.Get("/login?alice"), http.StatusConflict, dynasession.ErrGone)
			assert.Equal(t, "n token bob", winner.OK("/read"))
			assert.Equal(t, "none", old.OK("/read"))
			assert.Equal(t, "bob", stage.Attr(sc.Item(), "user"), "one session under one id")
		})
		t.Run("and the new session is changed or destroyed before a late copy", func(t *testing.T) {
			for _, destroyed := range []bool{false, true} {
				sc := stage.NewScene(t, b, cfg)
				var copyOf *stage.Call
				b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
					if c.Operation == "TransactWriteItems" {
						copyOf = c
					}
					return c.Send()
				})
				sc.OK("/login?alice")
				b.Calls.Intercept(nil)
				if destroyed {
					sc.OK("/logout")
				} else {
					sc.OK("/set?mine")
				}
				before := stage.Items(t, b, sc.Table)
				copyOf.ComeLate(t)
				assert.Equal(t, before, stage.Items(t, b, sc.Table))
			}
		})
		t.Run("and is repeated when the token is forgotten", func(t *testing.T) {
			sc := stage.NewScene(t, b, cfg)
			old := sc.Twin()
			sc.Around("TransactWriteItems", func(apply func()) error {
				apply()
				b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) { // the service knows a token for 10 minutes
					c.Body = regexp.MustCompile(`("ClientRequestToken":)"\w{36}"`).ReplaceAllString(c.Body, `$1"`+strings.Repeat("0", 36)+`"`)
					return c.Send()
				})
				return stage.ErrReset
			})
			sc.OK("/login?alice")
			b.Calls.Intercept(nil)
			sc.Item()
			assert.Equal(t, "n token alice", sc.OK("/read"))
			assert.Equal(t, "none", old.OK("/read"))
		})
	})
}

// TestProtocolLateCopy: a copy that stays in the network while its repetition is answered does
// nothing when it comes, neither to what was written since nor to a session that was destroyed.
func TestProtocolLateCopy(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/count", "/pop", "/limit", "/read"} {
			t.Run(path, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
				sc.Age()
				old, other := sc.Twin(), sc.TwinWithoutLock()
				var copies []*stage.Call // of the taking of the lock too
				b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
					if c.Operation == "UpdateItem" {
						copies = append(copies, c)
					}
					return c.Send()
				})
				sc.OK(path)
				b.Calls.Intercept(nil)
				require.NotEmpty(t, copies)
				come := func() {
					for _, c := range copies {
						c.ComeLate(t)
					}
				}
				other.OK("/count")
				switch {
				case policy == dynasession.LastWriteWins && path != "/read": // writes over all that lives
				case policy == dynasession.Lock && path == "/read": // moves the expiry while it has the lock, which comes again
				default:
					before := sc.Item()
					come()
					assert.Equal(t, before, stage.Unlocked(sc.Item()), "the lock ends by itself")
				}
				other.OK("/logout")
				come()
				sc.NothingLeft(old, sc.Browser)
			})
		}
		t.Run("of what was not answered", func(t *testing.T) {
			sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
			old, other := sc.Twin(), sc.TwinWithoutLock()
			var late *stage.Call
			b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
				if c.Operation != "UpdateItem" || !strings.Contains(c.Body, "#d = :d") {
					return c.Send()
				}
				b.Calls.Intercept(nil)
				late = c
				other.OK("/logout")
				return nil, stage.ErrReset
			})
			sc.Failed(sc.Get("/count"), http.StatusConflict, dynasession.ErrGone)
			late.ComeLate(t)
			sc.NothingLeft(old, sc.Browser)
		})
	})
}

// TestProtocolRenewalIsRepeatedAsItWas: with the same token and the same bytes, or the
// service would do it twice or refuse it.
func TestProtocolRenewalIsRepeatedAsItWas(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, code := range []string{"", "ThrottlingException"} {
			sc := stage.NewScene(t, b, dynasession.Config{})
			var sent []string
			fails := 4 // more than the SDK tries
			b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
				if c.Operation != "TransactWriteItems" {
					return c.Send()
				}
				sent = append(sent, c.Body)
				if fails--; fails >= 0 && code != "" {
					return stage.AnswerWith(http.StatusBadRequest, code), nil
				}
				resp, err := c.Send()
				if fails >= 0 {
					_ = resp.Body.Close()
					return nil, stage.ErrReset
				}
				return resp, err
			})
			var errs []error
			sc.Handler = sc.Store.Middleware(stage.App{
				"/read": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) { stage.Write(w, s.User()) },
				"/login": func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
					s.SetUser("alice")
					for range 2 {
						errs = append(errs, s.Save(r.Context()))
					}
				},
			})
			sc.OK("/login")
			b.Calls.Intercept(nil)
			require.Len(t, errs, 2)
			require.ErrorIs(t, errs[0], dynasession.ErrUnavailable)
			require.NoError(t, errs[1])
			require.Len(t, sent, 5, "two saves of three tries at most")
			for _, body := range sent {
				require.Contains(t, body, "ClientRequestToken")
				if code == "" { // else DynamoDB has said that it did nothing
					require.JSONEq(t, sent[0], body)
				}
			}
			assert.Equal(t, "alice", sc.OK("/read"))
			sc.Item()
		}
	})
}

// TestProtocolSaveLosesItsAnswer: an Update counts once, whatever the others have written
// between the try that nobody answered and its repetition. When its mark may have been
// written over, the save does not guess.
func TestProtocolSaveLosesItsAnswer(t *testing.T) {
	tests := []struct {
		applied bool
		others  int
		status  int
		count   int
	}{
		{true, 0, http.StatusOK, 1},
		{true, 1, http.StatusOK, 2},
		{true, 2, http.StatusOK, 3},
		{true, 3, http.StatusConflict, 4},
		{true, 4, http.StatusConflict, 5},
		{true, 9, http.StatusConflict, 10},
		{false, 0, http.StatusOK, 1},
		{false, 1, http.StatusOK, 2},
		{false, 3, http.StatusOK, 4},
		{false, 4, http.StatusConflict, 4},
	}
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, test := range tests {
			t.Run(fmt.Sprintf("applied %v, then %d others", test.applied, test.others), func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{})
				sc.Around("UpdateItem", func(apply func()) error {
					if test.applied {
						apply()
					}
					for range test.others {
						sc.Twin().OK("/count")
					}
					return stage.ErrReset
				})
				w := sc.Get("/count")
				if test.status == http.StatusOK {
					assert.Equal(t, test.status, w.Code, w.Body.String())
				} else {
					sc.Failed(w, test.status, dynasession.ErrConflict)
				}
				assert.JSONEq(t, fmt.Sprintf(`{"n":%d,"token":"t"}`, test.count), sc.Data())
				assert.LessOrEqual(t, len(stage.Attr(sc.Item(), "w")), 32)
			})
		}
		for _, policy := range stage.Policies {
			t.Run(policy.String(), func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
				if policy == dynasession.Lock {
					sc.CutNth("UpdateItem", 2) // the first is the lock's
				} else {
					sc.Cut("UpdateItem")
				}
				sc.OK("/count")
				assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.Data())
				assert.Empty(t, stage.Attr(sc.Item(), "lock"))
				assert.Equal(t, "n token", sc.OK("/read"))
			})
		}
		t.Run("of a Pop", func(t *testing.T) {
			sc := stage.NewScene(t, b, dynasession.Config{})
			sc.Cut("UpdateItem")
			sc.OK("/pop")
			assert.JSONEq(t, `{"n":0}`, sc.Data())
		})
		t.Run("of a lock", func(t *testing.T) {
			sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Second})
			sc.Cut("UpdateItem")
			sc.OK("/count")
			assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.Data())
		})
		t.Run("under a lock, among saves that do not ask for it", func(t *testing.T) {
			sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
			other := sc.TwinWithoutLock()
			sc.Inside = func() {
				other.OK("/count")
				sc.AroundNth("UpdateItem", 2, func(apply func()) error { // the first is refused: rev has moved
					apply()
					other.OK("/count")
					return stage.ErrReset
				})
			}
			sc.OK("/count")
			assert.JSONEq(t, `{"n":3,"token":"t"}`, sc.Data())
			assert.Empty(t, stage.Attr(sc.Item(), "lock"))
		})
	})
}

func TestProtocolCreationLosesItsAnswer(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.EmptyScene(t, b, dynasession.Config{Concurrency: policy})
		sc.Cut("PutItem")
		sc.OK("/new")
		sc.Item()
		assert.Equal(t, "n token", sc.OK("/read"))
	})
}

// TestProtocolTransactionConflict: another transaction on the item is a refusal without
// knowledge, which the SDK does not repeat.
func TestProtocolTransactionConflict(t *testing.T) {
	tests := []struct{ path, operation, want string }{
		{"/set?mine", "UpdateItem", "mine n token"},
		{"/count", "UpdateItem", "n token"},
		{"/pop", "UpdateItem", "n"},
		{"/login?alice", "TransactWriteItems", "n token alice"},
		{"/logout", "DeleteItem", "none"},
	}
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, test := range tests {
			t.Run(test.path, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
				conflicts := 1
				if policy == dynasession.Lock && test.operation == "UpdateItem" {
					conflicts = 2 // at taking the lock, and at the save
				}
				last := ""
				b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
					if c.Operation != test.operation || conflicts == 0 || c.Body == last {
						return c.Send()
					}
					conflicts--
					last = c.Body
					return conflictAnswer(c), nil
				})
				sc.OK(test.path)
				b.Calls.Intercept(nil)
				assert.Zero(t, conflicts)
				assert.Equal(t, test.want, sc.OK("/read"))
			})
		}
	})
}

// TestProtocolStaleAnswer is TestProtocolStaleReplica on any backend: what was there is the
// answer to every eventual read.
func TestProtocolStaleAnswer(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		cfg := dynasession.Config{EventualReads: true}
		hold := func(sc *stage.Scene) {
			key := stage.Attr(sc.Item(), "id")
			b.Lag(sc.T, func() error {
				_, err := b.Client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &sc.Table, Key: map[string]types.AttributeValue{"id": stage.Str(key)}})
				return err
			}, func(c *stage.Call) bool {
				return c.Operation == "GetItem" && !strings.Contains(c.Body, `"ConsistentRead":true`)
			})
		}
		t.Run("old rev", func(t *testing.T) {
			sc := stage.NewScene(t, b, cfg)
			hold(sc)
			sc.OK("/set?mine")
			b.Calls.Take()
			assert.Equal(t, "mine n token", strings.TrimSpace(sortedWords(sc.OK("/read"))))
			assert.Equal(t, []string{"GetItem", "GetItem"}, b.Calls.Take())
		})
		t.Run("old expires", func(t *testing.T) {
			sc := stage.NewScene(t, b, cfg)
			live := sc.Item()
			sc.Edit(func(item map[string]types.AttributeValue) { item["expires"] = stage.In(-time.Second) })
			hold(sc)
			stage.PutItem(t, b, sc.Table, live)
			assert.Equal(t, "n token", sc.OK("/read"))
		})
		t.Run("still there", func(t *testing.T) {
			sc := stage.NewScene(t, b, cfg)
			old := sc.Twin()
			hold(sc)
			sc.Twin().OK("/logout")
			sc.Failed(sc.Get("/set?mine"), http.StatusConflict, dynasession.ErrGone)
			b.Calls.Intercept(nil)
			sc.NothingLeft(old, sc.Browser)
		})
	})
}

func sortedWords(s string) string {
	words := strings.Fields(s)
	slices.Sort(words)
	return strings.Join(words, " ")
}
