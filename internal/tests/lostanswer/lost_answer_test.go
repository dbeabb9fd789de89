package lostanswer_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestSaveAgainAfterLostAnswers: a save that took effect, and nobody said, is repeated as
// itself.
func TestSaveAgainAfterLostAnswers(t *testing.T) {
	lost := func(op string) dynamotest.Fault {
		return dynamotest.Fault{Operation: op, Kind: dynamotest.Cut, Applied: true, Times: 3}
	}
	for name, again := range map[string]func(s *stage.Session, w http.ResponseWriter, r *http.Request){
		"Save":   func(s *stage.Session, _ http.ResponseWriter, r *http.Request) { assert.NoError(t, s.Save(r.Context())) },
		"commit": func(_ *stage.Session, w http.ResponseWriter, _ *http.Request) { stage.Write(w, "ok") },
	} {
		t.Run(name, func(t *testing.T) {
			b := stage.Embedded(t)
			table := stage.NewTable()
			s := stage.NewStore(t, b, dynasession.Config{Table: table})
			twice := func(op string, change func(s *stage.Session)) stage.SessionHandler {
				return func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
					change(s)
					b.Server.Fault(lost(op))
					assert.ErrorIs(t, s.Save(r.Context()), dynasession.ErrUnavailable)
					again(s, w, r)
				}
			}
			br := stage.NewBrowser(t, s.Middleware(stage.App{
				"/new":    twice("PutItem", func(s *stage.Session) { s.Set("token", "x") }),
				"/update": twice("UpdateItem", func(s *stage.Session) { dynasession.Update(s, "n", stage.Increment) }),
				"/pop":    twice("UpdateItem", func(s *stage.Session) { dynasession.Pop[string](s, "token") }),
				"/renew":  twice("TransactWriteItems", func(s *stage.Session) { s.SetUser("ann") }),
				"/show": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
					n, _ := dynasession.Get[int](s, "n")
					stage.Write(w, s.User()+strings.Join(s.Keys(), ",")+strings.Repeat("!", n))
				},
			}))
			for _, step := range []struct{ path, want string }{
				{"/new", "token"}, {"/update", "n,token!"}, {"/pop", "n!"}, {"/renew", "annn!"},
			} {
				br.OK(step.path)
				require.Equal(t, step.want, br.OK("/show"), step.path)
				require.Len(t, stage.Items(t, b, table), 1)
			}
		})
	}
}

// TestSaveMoreAfterLostAnswers: with more changes it is no repetition. What took effect must
// not count twice, so that is an error.
func TestSaveMoreAfterLostAnswers(t *testing.T) {
	b := stage.Embedded(t)
	s := stage.NewStore(t, b, dynasession.Config{})
	applied := true
	br := stage.NewBrowser(t, s.Middleware(stage.App{
		"/set": stage.DoSet,
		"/more": func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
			dynasession.Update(s, "n", stage.Increment)
			b.Server.Fault(dynamotest.Fault{Operation: "UpdateItem", Kind: dynamotest.Cut, Applied: applied, Times: 3})
			assert.ErrorIs(t, s.Save(r.Context()), dynasession.ErrUnavailable)
			dynasession.Update(s, "n", stage.Increment)
			stage.Write(w, "ok")
		},
		"/show": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
			n, _ := dynasession.Get[int](s, "n")
			stage.Write(w, strings.Repeat("!", n))
		},
	}))
	br.OK("/set?1")
	require.Equal(t, http.StatusConflict, br.Get("/more").Code)
	require.Equal(t, "!", br.OK("/show"))
	applied = false
	br.OK("/more")
	require.Equal(t, "!!!", br.OK("/show"))
}

// An unanswered save, more changes on top, and another save: what the first one may have
// done must not be done twice.
func TestUnansweredSaveWithMoreOnTop(t *testing.T) {
	type spoils = []func(*stage.Call) (*http.Response, error)
	saveFails := func(sc *stage.Scene, s *dynasession.Session, how ...func(*stage.Call) (*http.Response, error)) {
		spoiled(sc.B, func() { require.ErrorIs(sc.T, s.Save(sc.T.Context()), dynasession.ErrUnavailable) }, how...)
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
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for name, test := range cases {
			t.Run(name, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{})
				twin := sc.Twin()
				sc.Paths["/twice"] = func(s *dynasession.Session, _ http.ResponseWriter, r *http.Request) {
					stage.CountUp(s)
					saveFails(sc, s, resetAfter, resetBefore)
					for i := range test.others {
						twin.OK("/set?k" + strconv.Itoa(i))
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
				require.Equal(t, http.StatusConflict, sc.Get("/twice").Code)
				require.Contains(t, sc.Data(), `"n":1`)
			})
		}
	})
}

// TestUnansweredSaveThatIsThenInTheWay: what nobody answered is not forgotten when what comes
// after it is refused for another reason until time is up.
func TestUnansweredSaveThatIsThenInTheWay(t *testing.T) {
	conflict := func(c *stage.Call) (*http.Response, error) { return conflictAnswer(c), nil }
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for name, later := range map[string]func(*stage.Call) (*http.Response, error){"conflict": conflict, "throttled": throttled} {
			for _, deed := range []string{"count", "login", "new"} {
				t.Run(deed+", "+name, func(t *testing.T) {
					sc := stage.EmptyScene(t, b, dynasession.Config{Concurrency: policy})
					if deed != "new" {
						sc.OK("/new")
					}
					sc.Paths["/twice"] = func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
						switch deed {
						case "count":
							stage.CountUp(s)
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
					sc.OK("/twice")
					want := map[string]string{"count": `{"n":1,"token":"t"}`, "login": stage.NewData, "new": stage.NewData}[deed]
					assert.JSONEq(t, want, sc.Data())
					sc.Item()
				})
			}
		}
	})
}

// conflictAnswer is DynamoDB's while another transaction on the item is under way.
func conflictAnswer(c *stage.Call) *http.Response {
	if c.Operation != "TransactWriteItems" {
		return stage.AnswerWith(http.StatusBadRequest, "TransactionConflictException")
	}
	r := stage.AnswerWith(http.StatusBadRequest, "")
	r.Body = io.NopCloser(strings.NewReader(`{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
		"Message":"cancelled","CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}`))
	return r
}

// TestAnswersOfOthers: a connection that mixes up answers shows nobody another's session, and takes
// no session for lost.
func TestAnswersOfOthers(t *testing.T) {
	for _, policy := range stage.Policies {
		for _, keys := range [][][]byte{nil, {[]byte(strings.Repeat("k", 32))}} {
			b := stage.Embedded(t)
			sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy, EncryptionKeys: keys})
			other := stage.NewBrowser(t, sc.Handler)
			other.OK("/login?mallory")
			theirs := stage.KeyOf(stage.IDOf(other))
			mine := stage.KeyOf(sc.ID())
			b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
				resp, err := c.Send()
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				resp.Header.Del("X-Amz-Crc32")
				resp.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(string(body), mine, theirs)))
				return resp, nil
			})
			for _, path := range []string{"/read", "/set?mine", "/login?me"} {
				w := sc.Get(path)
				assert.Equal(t, http.StatusServiceUnavailable, w.Code, path)
				assert.NotContains(t, w.Body.String(), "mallory")
				assert.Empty(t, stage.Cookies(w), path)
			}
			_, err := sc.Store.Read(t.Context(), sc.ID())
			require.ErrorIs(t, err, dynasession.ErrUnavailable)
			b.Calls.Intercept(nil)
			assert.Equal(t, "n token", sc.OK("/read"))
			assert.Equal(t, "mallory", other.OK("/read"))
		}
	}
}
