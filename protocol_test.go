package dynasession_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// These tests hold the storage protocol to its promises, one interleaving each: what the
// other request does happens inside the first one's handler, after it has loaded, or around
// one of its calls.

// scene is a browser that has a session in a table of its own.
type scene struct {
	*browser
	t     *testing.T
	b     *backend
	cfg   dynasession.Config
	store *dynasession.Store
	table string
	paths app
	// inside runs in the next handler, between its load and its changes.
	inside func()

	mu        sync.Mutex
	errs      []error
	failedOps []string
}

// newScene stores a session of {"n":0,"token":"t"}.
func newScene(t *testing.T, b *backend, cfg dynasession.Config) *scene {
	t.Helper()
	sc := emptyScene(t, b, cfg)
	sc.ok("/new")
	return sc
}

// emptyScene stores none.
func emptyScene(t *testing.T, b *backend, cfg dynasession.Config) *scene {
	t.Helper()
	if cfg.Table == "" {
		cfg.Table = newTable()
	}
	sc := &scene{t: t, b: b, table: cfg.Table}
	cfg.Observer = func(ctx context.Context, e dynasession.Event) {
		spoken.observe(ctx, e)
		if e.Err != nil {
			sc.mu.Lock()
			defer sc.mu.Unlock()
			sc.errs, sc.failedOps = append(sc.errs, e.Err), append(sc.failedOps, e.Op)
		}
	}
	sc.cfg, sc.store = cfg, newStore(t, b, cfg)
	sc.paths = app{
		"/new": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
			s.Set("n", 0)
			s.Set("token", "t")
		},
		"/read": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
			if s.IsNew() {
				write(w, "none")
				return
			}
			write(w, strings.TrimSpace(strings.Join(s.Keys(), " ")+" "+s.User()))
		},
		"/set": func(s *dynasession.Session, _ http.ResponseWriter, r *http.Request) {
			s.Set(r.URL.RawQuery, true)
		},
		"/count": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
			dynasession.Update(s, "n", func(n int) int { return n + 1 })
		},
		"/pop": func(s *dynasession.Session, w http.ResponseWriter, r *http.Request) {
			if _, ok := dynasession.Pop[string](s, "token"); !ok {
				http.NotFound(w, r)
			}
		},
		"/login": func(s *dynasession.Session, _ http.ResponseWriter, r *http.Request) {
			s.SetUser(r.URL.RawQuery)
		},
		"/renew": func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Renew() },
		"/limit": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
			s.LimitTo(time.Now().Add(30 * time.Minute))
		},
		"/logout": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
			s.Destroy()
		},
	}
	for path, f := range sc.paths {
		sc.paths[path] = func(s *dynasession.Session, w http.ResponseWriter, r *http.Request) {
			if inside := sc.inside; inside != nil {
				sc.inside = nil
				inside()
			}
			f(s, w, r)
		}
	}
	sc.browser = newBrowser(t, sc.store.Middleware(sc.paths))
	return sc
}

// twin is another tab of the browser as it is now: same cookie, but none that is set later.
func (sc *scene) twin() *browser {
	twin := newBrowser(sc.t, sc.handler)
	twin.jar.SetCookies(origin, sc.jar.Cookies(origin))
	return twin
}

// rival is a twin whose requests do not wait for one that has the lock.
func (sc *scene) rival() *browser {
	twin := sc.twin()
	if cfg := sc.cfg; cfg.Concurrency == dynasession.Lock {
		cfg.Concurrency = dynasession.Merge
		twin.handler = newStore(sc.t, sc.b, cfg).Middleware(sc.paths)
	}
	return twin
}

func (sc *scene) id() string { return idOf(sc.browser) }

func idOf(b *browser) string {
	id, _, _ := strings.Cut(b.cookie(), ".")
	return id
}

func (sc *scene) data() string {
	sc.t.Helper()
	data, err := sc.store.Read(sc.t.Context(), sc.id())
	require.NoError(sc.t, err)
	return string(data)
}

func (sc *scene) item() map[string]types.AttributeValue {
	sc.t.Helper()
	return onlyItem(sc.t, sc.b, sc.table)
}

// edit writes the item as PHP or an operator would.
func (sc *scene) edit(f func(item map[string]types.AttributeValue)) {
	sc.t.Helper()
	item := sc.item()
	f(item)
	putItem(sc.t, sc.b, sc.table, item)
}

// age makes the stored expiry old enough to be moved by a reader.
func (sc *scene) age() {
	sc.t.Helper()
	sc.edit(func(item map[string]types.AttributeValue) { item["expires"] = in(10 * time.Minute) })
}

// in returns the time after d as an attribute.
func in(d time.Duration) types.AttributeValue {
	return num(strconv.FormatInt(time.Now().Add(d).Unix(), 10))
}

// unlocked gives the item without its lock, which a failed request gives up too.
func unlocked(item map[string]types.AttributeValue) map[string]types.AttributeValue {
	item = maps.Clone(item)
	delete(item, "lock")
	delete(item, "holder")
	return item
}

func intAttr(t *testing.T, item map[string]types.AttributeValue, name string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(attr(item, name), 10, 64)
	require.NoError(t, err, name)
	return n
}

// failed expects that the last operation that failed did so by want, and w to say so.
func (sc *scene) failed(w *httptest.ResponseRecorder, status int, want error) {
	sc.t.Helper()
	assert.Equal(sc.t, status, w.Code, w.Body.String())
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if assert.NotEmpty(sc.t, sc.errs) {
		assert.ErrorIs(sc.t, sc.errs[len(sc.errs)-1], want)
	}
}

func (sc *scene) noneFailed() {
	sc.t.Helper()
	sc.mu.Lock()
	defer sc.mu.Unlock()
	assert.Empty(sc.t, sc.errs)
}

// nothingLeft expects an empty table, and cookies that open nothing and store nothing.
func (sc *scene) nothingLeft(browsers ...*browser) {
	sc.t.Helper()
	assert.Empty(sc.t, items(sc.t, sc.b, sc.table))
	for _, br := range browsers {
		assert.Equal(sc.t, "none", br.ok("/read"))
	}
	assert.Empty(sc.t, items(sc.t, sc.b, sc.table), "after reading")
}

// around has f run around the next request of an operation. It loses the answer if f returns
// an error, or does not apply.
func (sc *scene) around(operation string, f func(apply func()) error) {
	sc.aroundNth(operation, 1, f)
}

func (sc *scene) aroundNth(operation string, n int, f func(apply func()) error) {
	calls := sc.b.calls
	calls.intercept(func(c *call) (resp *http.Response, err error) {
		if c.operation != operation {
			return c.send()
		}
		if n--; n > 0 {
			return c.send()
		}
		calls.intercept(nil)
		lost := f(func() { resp, err = c.send() })
		if resp == nil {
			return nil, errReset
		}
		if lost != nil {
			_ = resp.Body.Close()
			return nil, lost
		}
		return resp, err
	})
}

// cut loses the answer to the next request of an operation.
func (sc *scene) cut(operation string) { sc.cutNth(operation, 1) }

func (sc *scene) cutNth(operation string, n int) {
	sc.aroundNth(operation, n, func(apply func()) error {
		apply()
		return errReset
	})
}

var policies = []dynasession.Concurrency{dynasession.Merge, dynasession.Lock, dynasession.LastWriteWins}

func eachPolicy(t *testing.T, f func(t *testing.T, b *backend, policy dynasession.Concurrency)) {
	t.Helper()
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, policy := range policies {
			t.Run(policy.String(), func(t *testing.T) { f(t, b, policy) })
		}
	})
}

func TestProtocolLogoutWhileARequestRuns(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/set?mine", "/login?alice", "/count", "/pop"} {
			t.Run(path, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy})
				old := sc.twin()
				sc.inside = func() {
					if policy == dynasession.Lock { // a request would wait for this one
						require.NoError(t, sc.store.Destroy(t.Context(), sc.id()))
						return
					}
					sc.twin().ok("/logout")
				}
				sc.failed(sc.get(path), http.StatusConflict, dynasession.ErrGone)
				sc.nothingLeft(old, sc.browser)
			})
		}
		t.Run("reader", func(t *testing.T) {
			sc := newScene(t, b, dynasession.Config{Concurrency: policy})
			old := sc.twin()
			sc.age()
			sc.inside = func() { require.NoError(t, sc.store.Destroy(t.Context(), sc.id())) }
			assert.Equal(t, "n token", sc.ok("/read"), "it had loaded before")
			sc.noneFailed()
			sc.nothingLeft(old, sc.browser)
		})
	})
}

func TestProtocolOneTokenIsSpentOnce(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{})
		sc.inside = func() { sc.twin().ok("/pop") }
		sc.failed(sc.get("/pop"), http.StatusConflict, dynasession.ErrConflict)
		assert.JSONEq(t, `{"n":0}`, sc.data())
		assert.Equal(t, http.StatusNotFound, sc.get("/pop").Code, "spent")

		t.Run("against an unrelated change", func(t *testing.T) {
			sc := newScene(t, b, dynasession.Config{})
			sc.inside = func() { sc.twin().ok("/set?theirs") }
			sc.ok("/pop")
			assert.JSONEq(t, `{"n":0,"theirs":true}`, sc.data())
		})
	})
}

func TestProtocolRenew(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		cfg := dynasession.Config{Concurrency: policy}
		t.Run("against Set", func(t *testing.T) {
			sc := newScene(t, b, cfg)
			old := sc.twin()
			sc.inside = func() { sc.rival().ok("/set?theirs") }
			sc.ok("/login?alice")
			assert.Equal(t, "n theirs token alice", sc.ok("/read"))
			assert.Equal(t, "none", old.ok("/read"))
			sc.item()
		})
		t.Run("against Renew", func(t *testing.T) {
			sc := newScene(t, b, cfg)
			old, winner := sc.twin(), sc.rival()
			sc.inside = func() { winner.ok("/login?bob") }
			sc.failed(sc.get("/login?alice"), http.StatusConflict, dynasession.ErrGone)
			assert.Equal(t, "n token bob", winner.ok("/read"))
			assert.Equal(t, "none", old.ok("/read"))
			assert.Equal(t, "none", sc.ok("/read"), "the loser has no session")
			assert.Equal(t, "bob", attr(sc.item(), "user"))
		})
		t.Run("against Destroy", func(t *testing.T) {
			sc := newScene(t, b, cfg)
			old := sc.twin()
			sc.inside = func() { sc.rival().ok("/logout") }
			sc.failed(sc.get("/login?alice"), http.StatusConflict, dynasession.ErrGone)
			sc.nothingLeft(old, sc.browser)
		})
	})
}

func TestProtocolRenewLosesItsAnswer(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		cfg := dynasession.Config{Concurrency: policy}
		load := "GetItem"
		if policy == dynasession.Lock {
			load = "UpdateItem"
		}
		for _, applied := range []bool{true, false} {
			t.Run(fmt.Sprintf("applied %v", applied), func(t *testing.T) {
				sc := newScene(t, b, cfg)
				old := sc.twin()
				sc.around("TransactWriteItems", func(apply func()) error {
					if applied {
						apply()
					}
					return errReset
				})
				b.calls.take()
				sc.ok("/login?alice")
				assert.Equal(t, []string{load, "TransactWriteItems", "TransactWriteItems"}, b.calls.take())
				sc.item()
				assert.Equal(t, "n token alice", sc.ok("/read"))
				assert.Equal(t, "none", old.ok("/read"))
			})
		}
		t.Run("and a logout comes between", func(t *testing.T) {
			sc := newScene(t, b, cfg)
			old := sc.rival()
			sc.around("TransactWriteItems", func(func()) error {
				old.ok("/logout")
				return errReset
			})
			sc.failed(sc.get("/login?alice"), http.StatusConflict, dynasession.ErrGone)
			sc.nothingLeft(old, sc.browser)
		})
		t.Run("and another renewal comes between", func(t *testing.T) {
			sc := newScene(t, b, cfg)
			old, winner := sc.twin(), sc.rival()
			sc.around("TransactWriteItems", func(func()) error {
				winner.ok("/login?bob")
				return errReset
			})
			sc.failed(sc.get("/login?alice"), http.StatusConflict, dynasession.ErrGone)
			assert.Equal(t, "n token bob", winner.ok("/read"))
			assert.Equal(t, "none", old.ok("/read"))
			assert.Equal(t, "bob", attr(sc.item(), "user"), "one session under one id")
		})
		t.Run("and the new session is changed or destroyed before a late copy", func(t *testing.T) {
			for _, destroyed := range []bool{false, true} {
				sc := newScene(t, b, cfg)
				var copyOf *call
				b.calls.intercept(func(c *call) (*http.Response, error) {
					if c.operation == "TransactWriteItems" {
						copyOf = c
					}
					return c.send()
				})
				sc.ok("/login?alice")
				b.calls.intercept(nil)
				if destroyed {
					sc.ok("/logout")
				} else {
					sc.ok("/set?mine")
				}
				before := items(t, b, sc.table)
				copyOf.comeLate(t)
				assert.Equal(t, before, items(t, b, sc.table))
			}
		})
		t.Run("and is repeated when the token is forgotten", func(t *testing.T) {
			sc := newScene(t, b, cfg)
			old := sc.twin()
			sc.around("TransactWriteItems", func(apply func()) error {
				apply()
				b.calls.intercept(func(c *call) (*http.Response, error) { // the service knows a token for 10 minutes
					c.body = regexp.MustCompile(`("ClientRequestToken":)"\w{36}"`).ReplaceAllString(c.body, `$1"`+strings.Repeat("0", 36)+`"`)
					return c.send()
				})
				return errReset
			})
			sc.ok("/login?alice")
			b.calls.intercept(nil)
			sc.item()
			assert.Equal(t, "n token alice", sc.ok("/read"))
			assert.Equal(t, "none", old.ok("/read"))
		})
	})
}

// TestProtocolLateCopy: a copy that stays in the network while its repetition is answered does
// nothing when it comes, neither to what was written since nor to a session that was destroyed.
func TestProtocolLateCopy(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/count", "/pop", "/limit", "/read"} {
			t.Run(path, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy})
				sc.age()
				old, other := sc.twin(), sc.rival()
				var copies []*call // of the taking of the lock too
				b.calls.intercept(func(c *call) (*http.Response, error) {
					if c.operation == "UpdateItem" {
						copies = append(copies, c)
					}
					return c.send()
				})
				sc.ok(path)
				b.calls.intercept(nil)
				require.NotEmpty(t, copies)
				come := func() {
					for _, c := range copies {
						c.comeLate(t)
					}
				}
				other.ok("/count")
				switch {
				case policy == dynasession.LastWriteWins && path != "/read": // writes over all that lives
				case policy == dynasession.Lock && path == "/read": // moves the expiry while it has the lock, which comes again
				default:
					before := sc.item()
					come()
					assert.Equal(t, before, unlocked(sc.item()), "the lock ends by itself")
				}
				other.ok("/logout")
				come()
				sc.nothingLeft(old, sc.browser)
			})
		}
		t.Run("of what was not answered", func(t *testing.T) {
			sc := newScene(t, b, dynasession.Config{Concurrency: policy})
			old, other := sc.twin(), sc.rival()
			var late *call
			b.calls.intercept(func(c *call) (*http.Response, error) {
				if c.operation != "UpdateItem" || !strings.Contains(c.body, "#d = :d") {
					return c.send()
				}
				b.calls.intercept(nil)
				late = c
				other.ok("/logout")
				return nil, errReset
			})
			sc.failed(sc.get("/count"), http.StatusConflict, dynasession.ErrGone)
			late.comeLate(t)
			sc.nothingLeft(old, sc.browser)
		})
	})
}

// TestProtocolRenewalIsRepeatedAsItWas: with the same token and the same bytes, or the
// service would do it twice or refuse it.
func TestProtocolRenewalIsRepeatedAsItWas(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, code := range []string{"", "ThrottlingException"} {
			sc := newScene(t, b, dynasession.Config{})
			var sent []string
			fails := 4 // more than the SDK tries
			b.calls.intercept(func(c *call) (*http.Response, error) {
				if c.operation != "TransactWriteItems" {
					return c.send()
				}
				sent = append(sent, c.body)
				if fails--; fails >= 0 && code != "" {
					return answerWith(http.StatusBadRequest, code), nil
				}
				resp, err := c.send()
				if fails >= 0 {
					_ = resp.Body.Close()
					return nil, errReset
				}
				return resp, err
			})
			var errs []error
			sc.handler = sc.store.Middleware(app{
				"/read": func(s *session, w http.ResponseWriter, _ *http.Request) { write(w, s.User()) },
				"/login": func(s *session, _ http.ResponseWriter, r *http.Request) {
					s.SetUser("alice")
					for range 2 {
						errs = append(errs, s.Save(r.Context()))
					}
				},
			})
			sc.ok("/login")
			b.calls.intercept(nil)
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
			assert.Equal(t, "alice", sc.ok("/read"))
			sc.item()
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
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, test := range tests {
			t.Run(fmt.Sprintf("applied %v, then %d others", test.applied, test.others), func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{})
				sc.around("UpdateItem", func(apply func()) error {
					if test.applied {
						apply()
					}
					for range test.others {
						sc.twin().ok("/count")
					}
					return errReset
				})
				w := sc.get("/count")
				if test.status == http.StatusOK {
					assert.Equal(t, test.status, w.Code, w.Body.String())
				} else {
					sc.failed(w, test.status, dynasession.ErrConflict)
				}
				assert.JSONEq(t, fmt.Sprintf(`{"n":%d,"token":"t"}`, test.count), sc.data())
				assert.LessOrEqual(t, len(attr(sc.item(), "w")), 32)
			})
		}
		for _, policy := range policies {
			t.Run(policy.String(), func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy})
				if policy == dynasession.Lock {
					sc.cutNth("UpdateItem", 2) // the first is the lock's
				} else {
					sc.cut("UpdateItem")
				}
				sc.ok("/count")
				assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.data())
				assert.Empty(t, attr(sc.item(), "lock"))
				assert.Equal(t, "n token", sc.ok("/read"))
			})
		}
		t.Run("of a Pop", func(t *testing.T) {
			sc := newScene(t, b, dynasession.Config{})
			sc.cut("UpdateItem")
			sc.ok("/pop")
			assert.JSONEq(t, `{"n":0}`, sc.data())
		})
		t.Run("of a lock", func(t *testing.T) {
			sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Second})
			sc.cut("UpdateItem")
			sc.ok("/count")
			assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.data())
		})
		t.Run("under a lock, among saves that do not ask for it", func(t *testing.T) {
			sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
			other := sc.rival()
			sc.inside = func() {
				other.ok("/count")
				sc.aroundNth("UpdateItem", 2, func(apply func()) error { // the first is refused: rev has moved
					apply()
					other.ok("/count")
					return errReset
				})
			}
			sc.ok("/count")
			assert.JSONEq(t, `{"n":3,"token":"t"}`, sc.data())
			assert.Empty(t, attr(sc.item(), "lock"))
		})
	})
}

func TestProtocolCreationLosesItsAnswer(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := emptyScene(t, b, dynasession.Config{Concurrency: policy})
		sc.cut("PutItem")
		sc.ok("/new")
		sc.item()
		assert.Equal(t, "n token", sc.ok("/read"))
	})
}

// TestProtocolNewIDIsTaken: a creation never adopts, merges with or overwrites what is there.
func TestProtocolNewIDIsTaken(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := emptyScene(t, b, dynasession.Config{Concurrency: policy})
		var there map[string]types.AttributeValue
		b.calls.intercept(func(c *call) (*http.Response, error) {
			if c.operation == "PutItem" {
				b.calls.intercept(nil)
				var put struct {
					Item struct{ ID struct{ S string } }
				}
				require.NoError(t, json.Unmarshal([]byte(c.body), &put))
				there = map[string]types.AttributeValue{
					"id": str(put.Item.ID.S), "w": str("another1"), "rev": num("1"),
					"expires": in(time.Hour), "born": in(0), "until": in(time.Hour), "data": str(`{"theirs":true}`),
				}
				putItem(t, b, sc.table, there)
			}
			return c.send()
		})
		sc.failed(sc.get("/new"), http.StatusConflict, dynasession.ErrConflict)
		assert.Empty(t, sc.cookie())
		assert.Equal(t, there, sc.item())
	})
}

// TestProtocolPHPWritesUnderALock: PHP's write removes lock and leaves holder, which alone
// must not let the save pass.
func TestProtocolPHPWritesUnderALock(t *testing.T) {
	const theirs = `{"php":true}`
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, path := range []string{"/set?mine", "/login?alice", "/read"} {
			t.Run(path, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, ForeignWriters: true})
				sc.age()
				var written map[string]types.AttributeValue
				sc.inside = func() {
					sc.edit(func(item map[string]types.AttributeValue) {
						require.NotEmpty(t, attr(item, "holder"))
						delete(item, "lock")
						item["data"], item["expires"] = str(theirs), in(20*time.Minute)
						written = item
					})
				}
				w := sc.get(path)
				if path == "/read" {
					assert.Equal(t, http.StatusOK, w.Code)
				} else {
					sc.failed(w, http.StatusConflict, dynasession.ErrLockLost)
				}
				assert.Equal(t, written, sc.item())
				assert.JSONEq(t, theirs, sc.data())
			})
		}
	})
}

// waitInVain waits for the lock until it has another value: on a busy machine a wait may be over
// before it has the answer to its first call.
func (sc *scene) waitInVain() {
	before := sc.item()["lock"]
	w := sc.get("/set?mine")
	for tries := 0; tries < 20 && reflect.DeepEqual(before, sc.item()["lock"]); tries++ {
		w = sc.get("/set?mine")
	}
	sc.failed(w, http.StatusServiceUnavailable, dynasession.ErrLocked)
}

// TestProtocolPHPHoldsTheLock: PHP's lock is a 1, which has no end. A request that waits sets one.
func TestProtocolPHPHoldsTheLock(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: 100 * time.Millisecond, ForeignWriters: true})
		sc.edit(func(item map[string]types.AttributeValue) { item["lock"] = num("1") })
		before := sc.item()
		begin := time.Now().UnixMilli()
		sc.waitInVain()
		after := sc.item()
		assert.GreaterOrEqual(t, intAttr(t, after, "lock"), begin+dynasession.DefaultLockLease.Milliseconds())
		assert.Equal(t, unlocked(before), unlocked(after))
	})
}

// TestProtocolOddLock: to PHP a lock is held whatever its value is. Each is given an end.
func TestProtocolOddLock(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for name, odd := range map[string]types.AttributeValue{
			"zero": num("0"), "negative": num("-1"), "fraction": num("1.5"), "small": num("0.001"), "string": str("1"), "empty": str(""),
			"bool": &types.AttributeValueMemberBOOL{Value: true}, "null": &types.AttributeValueMemberNULL{Value: true},
		} {
			t.Run(name, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: 100 * time.Millisecond, ForeignWriters: true})
				sc.edit(func(item map[string]types.AttributeValue) { item["lock"] = odd })
				begin := time.Now().UnixMilli()
				sc.waitInVain()
				assert.GreaterOrEqual(t, intAttr(t, sc.item(), "lock"), begin+dynasession.DefaultLockLease.Milliseconds())
			})
		}
	})
}

func TestProtocolTouchAfterLimitTo(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.LastWriteWins} {
			t.Run(policy.String(), func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy})
				sc.age()
				sc.inside = func() { sc.twin().ok("/limit") }
				assert.Equal(t, "n token", sc.ok("/read"))
				item := sc.item()
				assert.LessOrEqual(t, intAttr(t, item, "expires"), intAttr(t, item, "until"))
				assert.LessOrEqual(t, intAttr(t, item, "until"), time.Now().Add(30*time.Minute).Unix())
				sc.noneFailed()
			})
		}
	})
}

// TestProtocolExpiresAloneProvesNothing: PHP moves expires without a look at until.
func TestProtocolExpiresAloneProvesNothing(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, name := range []string{"until", "born"} {
			t.Run(name, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy})
				sc.edit(func(item map[string]types.AttributeValue) {
					item["expires"] = in(time.Hour)
					item["until"] = in(time.Hour)
					item[name] = in(-25 * time.Hour)
				})
				old := sc.twin()
				before := sc.item()
				assert.Equal(t, "none", sc.ok("/read"))
				assert.Equal(t, before, sc.item(), "nor is it locked or changed")
				_, err := sc.store.Read(t.Context(), idOf(old))
				require.ErrorIs(t, err, dynasession.ErrNotFound)
			})
		}
		if policy == dynasession.LastWriteWins { // never sees what others wrote
			return
		}
		t.Run("inside", func(t *testing.T) {
			sc := newScene(t, b, dynasession.Config{Concurrency: policy})
			var moved map[string]types.AttributeValue
			sc.inside = func() {
				sc.edit(func(item map[string]types.AttributeValue) {
					item["until"], item["rev"] = in(-time.Second), num("7")
				})
				moved = sc.item()
			}
			sc.failed(sc.get("/set?mine"), http.StatusConflict, dynasession.ErrGone)
			assert.Equal(t, unlocked(moved), unlocked(sc.item()))
		})
	})
}

// TestProtocolStaleReplica: what a lagging replica shows is taken only if it is live and not
// older than what this browser's last response wrote.
func TestProtocolStaleReplica(t *testing.T) {
	cfg := dynasession.Config{EventualReads: true}
	t.Run("old rev", func(t *testing.T) {
		sc := newScene(t, embedded(t), cfg)
		sc.b.server.HoldReplicas()
		sc.ok("/set?mine")
		sc.b.calls.take()
		assert.Equal(t, "mine n token", sc.ok("/read"))
		assert.Equal(t, []string{"GetItem", "GetItem"}, sc.b.calls.take())
		sc.b.server.ReleaseReplicas()
		assert.Equal(t, "mine n token", sc.ok("/read"))
		assert.Equal(t, []string{"GetItem"}, sc.b.calls.take())
	})
	t.Run("old expires", func(t *testing.T) {
		sc := newScene(t, embedded(t), cfg)
		live := sc.item()
		sc.edit(func(item map[string]types.AttributeValue) { item["expires"] = in(-time.Second) })
		sc.b.server.HoldReplicas()
		putItem(t, sc.b, sc.table, live)
		assert.Equal(t, "n token", sc.ok("/read"))
	})
	t.Run("old until", func(t *testing.T) {
		sc := newScene(t, embedded(t), cfg)
		live := sc.item()
		sc.edit(func(item map[string]types.AttributeValue) { item["until"] = in(-time.Second) })
		sc.b.server.HoldReplicas()
		putItem(t, sc.b, sc.table, live)
		assert.Equal(t, "n token", sc.ok("/read"))
	})
	t.Run("not there yet", func(t *testing.T) {
		sc := emptyScene(t, embedded(t), cfg)
		sc.b.server.HoldReplicas()
		sc.ok("/new")
		assert.Equal(t, "n token", sc.ok("/read"))
		sc.ok("/login?alice")
		assert.Equal(t, "n token alice", sc.ok("/read"))
	})
	t.Run("still there", func(t *testing.T) {
		sc := newScene(t, embedded(t), cfg)
		old := sc.twin()
		sc.b.server.HoldReplicas()
		sc.twin().ok("/logout")
		sc.failed(sc.get("/set?mine"), http.StatusConflict, dynasession.ErrGone)
		sc.b.server.ReleaseReplicas()
		sc.nothingLeft(old, sc.browser)
	})
	t.Run("own write on top of another's, LastWriteWins", func(t *testing.T) {
		sc := newScene(t, embedded(t), dynasession.Config{EventualReads: true, Concurrency: dynasession.LastWriteWins})
		other := sc.twin()
		sc.inside = func() {
			other.ok("/set?theirs")
			sc.b.server.HoldReplicas()
		}
		sc.ok("/set?mine")
		assert.Equal(t, "mine n token", sc.ok("/read"), "the cookie's rev is above that of what was overwritten")
	})
	t.Run("merge on an old rev", func(t *testing.T) {
		sc := newScene(t, embedded(t), cfg)
		old := sc.twin()
		sc.b.server.HoldReplicas()
		sc.ok("/set?mine")
		old.ok("/set?theirs") // its cookie knows of no newer one
		sc.b.server.ReleaseReplicas()
		assert.JSONEq(t, `{"mine":true,"n":0,"theirs":true,"token":"t"}`, sc.data())
	})
}

// TestProtocolIDWrittenAgain: neither rev nor the second of birth tells the two apart, but
// the mark of the creation does.
func TestProtocolIDWrittenAgain(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/set?mine", "/login?alice", "/read"} {
			t.Run(path, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy})
				sc.age()
				id, before := sc.id(), sc.item()
				var fresh map[string]types.AttributeValue
				sc.inside = func() {
					require.NoError(t, sc.store.Destroy(t.Context(), id))
					require.NoError(t, sc.store.Write(t.Context(), id, []byte(`{"n":0,"token":"t"}`)))
					sc.edit(func(item map[string]types.AttributeValue) {
						item["born"], item["expires"], item["until"] = before["born"], before["expires"], before["until"]
					})
					fresh = sc.item()
					require.Equal(t, before["rev"], fresh["rev"])
				}
				w := sc.get(path)
				if path == "/read" {
					assert.Equal(t, http.StatusOK, w.Code)
				} else {
					assert.Equal(t, http.StatusConflict, w.Code, w.Body.String())
				}
				assert.Equal(t, fresh, sc.item())
			})
		}
	})
}

// TestProtocolDeadItem: a refusal that returns an item returns dead ones too.
func TestProtocolDeadItem(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/set?mine", "/login?alice", "/pop"} {
			t.Run(path, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy})
				var dead map[string]types.AttributeValue
				sc.inside = func() {
					sc.edit(func(item map[string]types.AttributeValue) { item["expires"] = in(-time.Second) })
					dead = sc.item()
				}
				sc.failed(sc.get(path), http.StatusConflict, dynasession.ErrGone)
				assert.Equal(t, unlocked(dead), unlocked(sc.item()))
			})
		}
	})
}

// TestProtocolForeignWriter: PHP leaves rev as it was, so the data itself is compared, with
// its type: a B never equals an S.
func TestProtocolForeignWriter(t *testing.T) {
	tests := []struct {
		name   string
		binary bool // what Go wrote
		data   types.AttributeValue
		path   string
		status int
		want   string
	}{
		{"same data as B", false, &types.AttributeValueMemberB{Value: []byte(`{"n":0,"token":"t"}`)}, "/set?mine", 200, `{"mine":true,"n":0,"token":"t"}`},
		{"same data as S", true, str(`{"n":0,"token":"t"}`), "/set?mine", 200, `{"mine":true,"n":0,"token":"t"}`},
		{"same data, renewed", false, &types.AttributeValueMemberB{Value: []byte(`{"n":0,"token":"t"}`)}, "/login?alice", 200, `{"n":0,"token":"t"}`},
		{"other data", false, str(`{"n":5,"php":true,"token":"t"}`), "/count", 200, `{"n":6,"php":true,"token":"t"}`},
		{"other data, renewed", false, str(`{"php":true}`), "/login?alice", 200, `{"php":true}`},
		{"token spent", false, str(`{"php":true}`), "/pop", 409, `{"php":true}`},
		{"no data", false, nil, "/set?mine", 200, `{"mine":true}`},
	}
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{ForeignWriters: true, BinaryData: test.binary})
				sc.inside = func() {
					sc.edit(func(item map[string]types.AttributeValue) {
						delete(item, "data")
						if test.data != nil {
							item["data"] = test.data
						}
					})
				}
				w := sc.get(test.path)
				assert.Equal(t, test.status, w.Code, w.Body.String())
				assert.JSONEq(t, test.want, sc.data())
				sc.item()
			})
		}
	})
}

// TestProtocolSetUserBeforeDestroyUsersDelete: the index knows who was signed in, and lags.
func TestProtocolSetUserBeforeDestroyUsersDelete(t *testing.T) {
	t.Parallel()
	for name, trace := range map[string]func(t *testing.T, sc *scene){
		"the index has shown alice": func(t *testing.T, sc *scene) {
			ended, err := sc.store.DestroyUser(t.Context(), "alice", func(dynasession.Info) bool {
				sc.edit(func(item map[string]types.AttributeValue) { item["user"] = str("bob") })
				return false
			})
			require.NoError(t, err)
			assert.Zero(t, ended)
			assert.Equal(t, "n token bob", sc.ok("/read"))
		},
		"the index still shows alice": func(t *testing.T, sc *scene) {
			lagIndex(t, sc.b, sc.table, "alice", 1, "", 0, nil)
			sc.ok("/login?bob")
			ended, err := sc.store.DestroyUser(t.Context(), "alice", nil)
			require.NoError(t, err)
			assert.Zero(t, ended)
			assert.Equal(t, "bob", sc.ok("/read"))
		},
		"while a request runs": func(t *testing.T, sc *scene) {
			old := sc.twin()
			sc.inside = func() {
				ended, err := sc.store.DestroyUser(t.Context(), "alice", nil)
				require.NoError(t, err)
				assert.Equal(t, 1, ended)
			}
			sc.failed(sc.get("/login?alice2"), http.StatusConflict, dynasession.ErrGone)
			sc.nothingLeft(old, sc.browser)
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachInTime(t, func(t *testing.T, b *backend) {
				sc := newScene(t, b, dynasession.Config{})
				sc.ok("/login?alice")
				trace(t, sc)
			})
		})
	}
}

// TestProtocolSweepAfterATouch: any use moves the expiry, though it may still be a past one.
func TestProtocolSweepAfterATouch(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for name, to := range map[string]time.Duration{"alive": time.Hour, "used and dead again": -90 * time.Second} {
			t.Run(name, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{})
				sc.edit(func(item map[string]types.AttributeValue) { item["expires"] = in(-2 * time.Minute) })
				sc.around("DeleteItem", func(apply func()) error {
					sc.edit(func(item map[string]types.AttributeValue) { item["expires"] = in(to) })
					apply()
					return nil
				})
				stats, err := sc.store.Sweep(t.Context(), dynasession.SweepOptions{})
				require.NoError(t, err)
				assert.Equal(t, 1, stats.Expired)
				assert.Zero(t, stats.Deleted)
				sc.item()
			})
		}
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
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, test := range tests {
			t.Run(test.path, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy})
				conflicts := 1
				if policy == dynasession.Lock && test.operation == "UpdateItem" {
					conflicts = 2 // at taking the lock, and at the save
				}
				last := ""
				b.calls.intercept(func(c *call) (*http.Response, error) {
					if c.operation != test.operation || conflicts == 0 || c.body == last {
						return c.send()
					}
					conflicts--
					last = c.body
					return conflictAnswer(c), nil
				})
				sc.ok(test.path)
				b.calls.intercept(nil)
				assert.Zero(t, conflicts)
				assert.Equal(t, test.want, sc.ok("/read"))
			})
		}
	})
}

// conflictAnswer is DynamoDB's while another transaction on the item is under way.
func conflictAnswer(c *call) *http.Response {
	if c.operation != "TransactWriteItems" {
		return answerWith(http.StatusBadRequest, "TransactionConflictException")
	}
	r := answerWith(http.StatusBadRequest, "")
	r.Body = io.NopCloser(strings.NewReader(`{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
		"Message":"cancelled","CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}`))
	return r
}

// TestProtocolStaleAnswer is TestProtocolStaleReplica on any backend: what was there is the
// answer to every eventual read.
func TestProtocolStaleAnswer(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		cfg := dynasession.Config{EventualReads: true}
		hold := func(sc *scene) {
			key := attr(sc.item(), "id")
			b.lag(sc.t, func() error {
				_, err := b.client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &sc.table, Key: map[string]types.AttributeValue{"id": str(key)}})
				return err
			}, func(c *call) bool {
				return c.operation == "GetItem" && !strings.Contains(c.body, `"ConsistentRead":true`)
			})
		}
		t.Run("old rev", func(t *testing.T) {
			sc := newScene(t, b, cfg)
			hold(sc)
			sc.ok("/set?mine")
			b.calls.take()
			assert.Equal(t, "mine n token", strings.TrimSpace(sortedWords(sc.ok("/read"))))
			assert.Equal(t, []string{"GetItem", "GetItem"}, b.calls.take())
		})
		t.Run("old expires", func(t *testing.T) {
			sc := newScene(t, b, cfg)
			live := sc.item()
			sc.edit(func(item map[string]types.AttributeValue) { item["expires"] = in(-time.Second) })
			hold(sc)
			putItem(t, b, sc.table, live)
			assert.Equal(t, "n token", sc.ok("/read"))
		})
		t.Run("still there", func(t *testing.T) {
			sc := newScene(t, b, cfg)
			old := sc.twin()
			hold(sc)
			sc.twin().ok("/logout")
			sc.failed(sc.get("/set?mine"), http.StatusConflict, dynasession.ErrGone)
			b.calls.intercept(nil)
			sc.nothingLeft(old, sc.browser)
		})
	})
}

func sortedWords(s string) string {
	words := strings.Fields(s)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// phpWrote is an item as PHP makes it: without a mark, a revision or a birth.
func phpWrote(item map[string]types.AttributeValue, data string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": item["id"], "expires": in(time.Hour), "data": str(data)}
}

// TestProtocolPHPBringsASessionBack: a running request writes nothing into what PHP has made
// anew after a logout.
func TestProtocolPHPBringsASessionBack(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/set?mine", "/count", "/login?alice"} {
			t.Run(path, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy, ForeignWriters: true})
				var made map[string]types.AttributeValue
				sc.inside = func() {
					made = phpWrote(sc.item(), `{"php":true}`)
					require.NoError(t, sc.store.Destroy(t.Context(), sc.id()))
					putItem(t, b, sc.table, made)
				}
				w := sc.get(path)
				assert.Equal(t, http.StatusConflict, w.Code)
				assert.Equal(t, made, sc.item())
			})
		}
	})
}

// TestProtocolPHPWritesAfterALostAnswer: PHP leaves the marks, so that a save which had taken
// effect is recognised under what PHP has written since, and counts once.
func TestProtocolPHPWritesAfterALostAnswer(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, ofPHP := range []bool{false, true} {
			t.Run(fmt.Sprintf("item of PHP %v", ofPHP), func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{ForeignWriters: true})
				if ofPHP {
					item := sc.item()
					_, err := b.client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &sc.table, Key: map[string]types.AttributeValue{"id": item["id"]}})
					require.NoError(t, err)
					putItem(t, b, sc.table, phpWrote(item, deedBefore))
				}
				sc.around("UpdateItem", func(apply func()) error {
					apply()
					sc.edit(func(item map[string]types.AttributeValue) { item["data"] = str(`{"n":1,"php":true}`) })
					return errReset
				})
				sc.ok("/count")
				assert.JSONEq(t, `{"n":1,"php":true}`, sc.data())
			})
		}
	})
}

// TestProtocolPHPWritesPastTheLock: without locking it changes the data and leaves the lock.
func TestProtocolPHPWritesPastTheLock(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, ForeignWriters: true})
		sc.inside = func() {
			sc.edit(func(item map[string]types.AttributeValue) {
				item["data"], item["expires"] = str(`{"n":5,"php":true}`), in(20*time.Minute)
			})
		}
		sc.ok("/count")
		assert.JSONEq(t, `{"n":6,"php":true}`, sc.data())
		assert.NotContains(t, sc.item(), "lock")
	})
}

// TestProtocolSlowTouch: it does not shorten what another has extended meanwhile.
func TestProtocolSlowTouch(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.LastWriteWins} {
			sc := newScene(t, b, dynasession.Config{Concurrency: policy})
			sc.age()
			var extended string
			sc.around("UpdateItem", func(apply func()) error {
				time.Sleep(1100 * time.Millisecond) // expiries are in seconds
				sc.twin().ok("/set?theirs")
				extended = attr(sc.item(), "expires")
				apply()
				return nil
			})
			assert.Equal(t, "n token", sc.ok("/read"))
			require.NotEmpty(t, extended)
			assert.Equal(t, extended, attr(sc.item(), "expires"), policy)
		}
	})
}

// TestProtocolUnlockWithoutTheTouch: a touch that is refused does not keep the lock.
func TestProtocolUnlockWithoutTheTouch(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
		sc.age()
		sc.inside = func() {
			sc.edit(func(item map[string]types.AttributeValue) { item["until"] = in(20 * time.Minute) })
		}
		sc.ok("/read")
		item := sc.item()
		assert.NotContains(t, item, "lock")
		assert.NotContains(t, item, "holder")
		assert.LessOrEqual(t, intAttr(t, item, "expires"), intAttr(t, item, "until"))
	})
}

// TestProtocolLockThatComesTooLate: who asked for it has gone, and it is given up at once.
func TestProtocolLockThatComesTooLate(t *testing.T) {
	const patience = 5 * time.Second // of the test, with code that is broken
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
		ctx, cancel := context.WithCancel(t.Context())
		gone, given := make(chan struct{}), make(chan struct{}, 100)
		b.calls.intercept(func(c *call) (*http.Response, error) {
			if strings.Contains(c.body, "REMOVE #l") {
				defer func() { given <- struct{}{} }()
				return c.send()
			}
			cancel()
			select {
			case <-gone:
			case <-time.After(patience):
				t.Error("who asked has not gone")
			}
			return c.send()
		})
		sc.do(ctx, "/count")
		close(gone)
		select {
		case <-given:
		case <-time.After(patience):
			t.Error("the lock is not given up")
		}
		b.calls.intercept(nil)
		assert.NotContains(t, sc.item(), "lock")
		assert.JSONEq(t, deedBefore, sc.data())
	})
}

// TestProtocolMovedItem: encrypted data opens under its own id only.
func TestProtocolMovedItem(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := newScene(t, b, dynasession.Config{Concurrency: policy, EncryptionKeys: [][]byte{bytes.Repeat([]byte{7}, 32)}})
		assert.Equal(t, "n token", sc.ok("/read"))
		item := sc.item()
		other := newBrowser(t, sc.handler)
		other.ok("/new")
		moved := maps.Clone(item)
		for _, it := range items(t, b, sc.table) {
			if attr(it, "id") != attr(item, "id") {
				moved["id"] = it["id"]
			}
		}
		require.NotEqual(t, item["id"], moved["id"])
		putItem(t, b, sc.table, moved)

		w := other.get("/read")
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		assert.NotEmpty(t, other.cookie(), "another server may have the key")
		assert.ElementsMatch(t, []map[string]types.AttributeValue{item, moved}, items(t, b, sc.table))
		assert.Equal(t, "n token", sc.ok("/read"), "the original is as it was")
	})
}

// TestProtocolEndSetMeanwhile: what is saved onto a session that another request has ended
// by LimitTo is not there, so that the client must not hear that it is.
func TestProtocolEndSetMeanwhile(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.LastWriteWins} {
			table := newTable()
			s := newStore(t, b, dynasession.Config{Table: table, Concurrency: policy})
			br := newBrowser(t, nil)
			br.handler = s.Middleware(app{"/set": doSet, "/slow": func(s *session, _ http.ResponseWriter, _ *http.Request) {
				item := onlyItem(t, b, table)
				item["until"], item["rev"] = num("1000000000"), num("7") // and PHP has moved expires
				putItem(t, b, table, item)
				s.Set("key", "slow")
			}})
			br.ok("/set?1")
			require.Equal(t, http.StatusConflict, br.get("/slow").Code, policy)
		}
	})
}
