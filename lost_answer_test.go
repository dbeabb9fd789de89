package dynasession_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

// TestSaveAgainAfterLostAnswers: a save that took effect, and nobody said, is repeated as
// itself.
func TestSaveAgainAfterLostAnswers(t *testing.T) {
	lost := func(op string) dynamotest.Fault {
		return dynamotest.Fault{Operation: op, Kind: dynamotest.Cut, Applied: true, Times: 3}
	}
	for name, again := range map[string]func(s *session, w http.ResponseWriter, r *http.Request){
		"Save":   func(s *session, _ http.ResponseWriter, r *http.Request) { assert.NoError(t, s.Save(r.Context())) },
		"commit": func(_ *session, w http.ResponseWriter, _ *http.Request) { write(w, "ok") },
	} {
		t.Run(name, func(t *testing.T) {
			b := embedded(t)
			table := newTable()
			s := newStore(t, b, dynasession.Config{Table: table})
			twice := func(op string, change func(s *session)) sessionHandler {
				return func(s *session, w http.ResponseWriter, r *http.Request) {
					change(s)
					b.server.Fault(lost(op))
					assert.ErrorIs(t, s.Save(r.Context()), dynasession.ErrUnavailable)
					again(s, w, r)
				}
			}
			br := newBrowser(t, s.Middleware(app{
				"/new":    twice("PutItem", func(s *session) { s.Set("token", "x") }),
				"/update": twice("UpdateItem", func(s *session) { dynasession.Update(s, "n", increment) }),
				"/pop":    twice("UpdateItem", func(s *session) { dynasession.Pop[string](s, "token") }),
				"/renew":  twice("TransactWriteItems", func(s *session) { s.SetUser("ann") }),
				"/show": func(s *session, w http.ResponseWriter, _ *http.Request) {
					n, _ := dynasession.Get[int](s, "n")
					write(w, s.User()+strings.Join(s.Keys(), ",")+strings.Repeat("!", n))
				},
			}))
			for _, step := range []struct{ path, want string }{
				{"/new", "token"}, {"/update", "n,token!"}, {"/pop", "n!"}, {"/renew", "annn!"},
			} {
				br.ok(step.path)
				require.Equal(t, step.want, br.ok("/show"), step.path)
				require.Len(t, items(t, b, table), 1)
			}
		})
	}
}

// TestSaveMoreAfterLostAnswers: with more changes it is no repetition. What took effect must
// not count twice, so that is an error.
func TestSaveMoreAfterLostAnswers(t *testing.T) {
	b := embedded(t)
	s := newStore(t, b, dynasession.Config{})
	applied := true
	br := newBrowser(t, s.Middleware(app{
		"/set": doSet,
		"/more": func(s *session, w http.ResponseWriter, r *http.Request) {
			dynasession.Update(s, "n", increment)
			b.server.Fault(dynamotest.Fault{Operation: "UpdateItem", Kind: dynamotest.Cut, Applied: applied, Times: 3})
			assert.ErrorIs(t, s.Save(r.Context()), dynasession.ErrUnavailable)
			dynasession.Update(s, "n", increment)
			write(w, "ok")
		},
		"/show": func(s *session, w http.ResponseWriter, _ *http.Request) {
			n, _ := dynasession.Get[int](s, "n")
			write(w, strings.Repeat("!", n))
		},
	}))
	br.ok("/set?1")
	require.Equal(t, http.StatusConflict, br.get("/more").Code)
	require.Equal(t, "!", br.ok("/show"))
	applied = false
	br.ok("/more")
	require.Equal(t, "!!!", br.ok("/show"))
}

// An unanswered save, more changes on top, and another save: what the first one may have
// done must not be done twice.
func TestUnansweredSaveWithMoreOnTop(t *testing.T) {
	type spoils = []func(*call) (*http.Response, error)
	saveFails := func(sc *scene, s *dynasession.Session, how ...func(*call) (*http.Response, error)) {
		spoiled(sc.b, func() { require.ErrorIs(sc.t, s.Save(sc.t.Context()), dynasession.ErrUnavailable) }, how...)
	}
	cases := map[string]struct {
		others int
		again  spoils // saves of more that fail
	}{
		"its mark is among those that the item keeps":         {},
		"so many others have written that it is not":          {others: 4},
		"a second save got no answer either":                  {again: spoils{resetBefore}},
		"a second save was throttled":                         {again: spoils{throttled}},
		"a second save, the same again, got no answer either": {again: spoils{resetBefore, resetBefore}},
	}
	eachBackend(t, func(t *testing.T, b *backend) {
		for name, test := range cases {
			t.Run(name, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{})
				twin := sc.twin()
				sc.paths["/twice"] = func(s *dynasession.Session, _ http.ResponseWriter, r *http.Request) {
					countUp(s)
					saveFails(sc, s, resetAfter, resetBefore)
					for i := range test.others {
						twin.ok("/set?k" + strconv.Itoa(i))
					}
					if len(test.again) > 0 {
						s.Set("more", 0)
					}
					for _, spoil := range test.again {
						saveFails(sc, s, spoil)
					}
					s.Set("last", 1)
					require.ErrorIs(t, s.Save(r.Context()), dynasession.ErrConflict)
				}
				require.Equal(t, http.StatusConflict, sc.get("/twice").Code)
				require.Contains(t, sc.data(), `"n":1`)
			})
		}
	})
}

// TestUnansweredSaveThatIsThenInTheWay: what nobody answered is not forgotten when what comes
// after it is refused for another reason until time is up.
func TestUnansweredSaveThatIsThenInTheWay(t *testing.T) {
	conflict := func(c *call) (*http.Response, error) { return conflictAnswer(c), nil }
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for name, later := range map[string]func(*call) (*http.Response, error){"conflict": conflict, "throttled": throttled} {
			for _, deed := range []string{"count", "login", "new"} {
				t.Run(deed+", "+name, func(t *testing.T) {
					sc := emptyScene(t, b, dynasession.Config{Concurrency: policy})
					if deed != "new" {
						sc.ok("/new")
					}
					sc.paths["/twice"] = func(s *session, _ http.ResponseWriter, r *http.Request) {
						switch deed {
						case "count":
							countUp(s)
						case "login":
							s.SetUser("alice")
						default:
							s.Set("n", 0)
							s.Set("token", "t")
						}
						ctx, cancel := context.WithTimeout(r.Context(), 200*time.Millisecond)
						defer cancel()
						spoiled(b, func() { assert.Error(t, s.Save(ctx)) }, resetAfter, later)
						assert.NoError(t, s.Save(r.Context()))
					}
					sc.ok("/twice")
					want := map[string]string{"count": `{"n":1,"token":"t"}`, "login": deedBefore, "new": deedBefore}[deed]
					assert.JSONEq(t, want, sc.data())
					sc.item()
				})
			}
		}
	})
}
