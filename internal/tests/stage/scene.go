package stage

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// NewData is what NewScene stores.
const NewData = `{"n":0,"token":"t"}`

// A Scene is a browser with a session in a table of its own. Its Inside hook and its Around methods let another
// request happen at an exact point of one that runs.
type Scene struct {
	*Browser
	T      *testing.T
	B      *Backend
	Cfg    dynasession.Config
	Store  *dynasession.Store
	Table  string
	Paths  App
	Inside func() // runs once, in the next handler, between its load and its changes

	Mu        sync.Mutex // guards the fields below
	Errs      []error    // of the operations that failed
	FailedOps []string   // their names
}

// NewScene returns a scene whose session holds NewData.
func NewScene(t *testing.T, b *Backend, cfg dynasession.Config) *Scene {
	t.Helper()
	sc := EmptyScene(t, b, cfg)
	sc.OK("/new")
	return sc
}

// EmptyScene returns a scene without a session.
func EmptyScene(t *testing.T, b *Backend, cfg dynasession.Config) *Scene {
	t.Helper()
	if cfg.Table == "" {
		cfg.Table = NewTable()
	}
	sc := &Scene{T: t, B: b, Table: cfg.Table}
	cfg.Observer = func(ctx context.Context, e dynasession.Event) {
		Output.Observe(ctx, e)
		if e.Err != nil {
			sc.Mu.Lock()
			defer sc.Mu.Unlock()
			sc.Errs, sc.FailedOps = append(sc.Errs, e.Err), append(sc.FailedOps, e.Op)
		}
	}
	sc.Cfg, sc.Store = cfg, NewStore(t, b, cfg)
	sc.Paths = App{
		"/new": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
			s.Set("n", 0)
			s.Set("token", "t")
		},
		"/read": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
			if s.IsNew() {
				Write(w, "none")
				return
			}
			Write(w, strings.TrimSpace(strings.Join(s.Keys(), " ")+" "+s.User()))
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
		"/renew": func(s *Session, _ http.ResponseWriter, _ *http.Request) { s.Renew() },
		"/limit": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
			s.LimitTo(time.Now().Add(30 * time.Minute))
		},
		"/logout": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
			s.Destroy()
		},
	}
	for path, f := range sc.Paths {
		sc.Paths[path] = func(s *dynasession.Session, w http.ResponseWriter, r *http.Request) {
			if inside := sc.Inside; inside != nil {
				sc.Inside = nil
				inside()
			}
			f(s, w, r)
		}
	}
	sc.Browser = NewBrowser(t, sc.Store.Middleware(sc.Paths))
	return sc
}

// Twin returns another tab of the browser: it has the cookies that the browser has now, and gets no later ones.
func (sc *Scene) Twin() *Browser {
	twin := NewBrowser(sc.T, sc.Handler)
	twin.Jar.SetCookies(Origin, sc.Jar.Cookies(Origin))
	return twin
}

// TwinWithoutLock returns a twin whose requests do not wait for the lock.
func (sc *Scene) TwinWithoutLock() *Browser {
	twin := sc.Twin()
	if cfg := sc.Cfg; cfg.Concurrency == dynasession.Lock {
		cfg.Concurrency = dynasession.Merge
		twin.Handler = NewStore(sc.T, sc.B, cfg).Middleware(sc.Paths)
	}
	return twin
}

// ID returns the id in the browser's cookie.
func (sc *Scene) ID() string { return IDOf(sc.Browser) }

// Data returns the stored data of the session.
func (sc *Scene) Data() string {
	sc.T.Helper()
	data, err := sc.Store.Read(sc.T.Context(), sc.ID())
	require.NoError(sc.T, err)
	return Plain(string(data))
}

var deviceValue = regexp.MustCompile(`,?"_device\.bound":"[^"]*"`)

// Plain returns a session's data without the state of its binding to a device, which a sign-in adds with -device-bound.
func Plain(data string) string {
	plain := strings.Replace(deviceValue.ReplaceAllString(data, ""), "{,", "{", 1)
	if plain == "{}" && plain != data {
		return ""
	}
	return plain
}

// Item returns the only item of the table.
func (sc *Scene) Item() map[string]types.AttributeValue {
	sc.T.Helper()
	return OnlyItem(sc.T, sc.B, sc.Table)
}

// Edit changes the item unconditionally, as PHP or an operator would.
func (sc *Scene) Edit(f func(item map[string]types.AttributeValue)) {
	sc.T.Helper()
	item := sc.Item()
	f(item)
	PutItem(sc.T, sc.B, sc.Table, item)
}

// Age makes the stored expiry so early that the next read touches the session.
func (sc *Scene) Age() {
	sc.T.Helper()
	sc.Edit(func(item map[string]types.AttributeValue) { item["expires"] = In(10 * time.Minute) })
}

// Failed asserts that w has the given status and that the last operation that failed did so with want.
func (sc *Scene) Failed(w *httptest.ResponseRecorder, status int, want error) {
	sc.T.Helper()
	assert.Equal(sc.T, status, w.Code, w.Body.String())
	sc.Mu.Lock()
	defer sc.Mu.Unlock()
	if assert.NotEmpty(sc.T, sc.Errs) {
		assert.ErrorIs(sc.T, sc.Errs[len(sc.Errs)-1], want)
	}
}

// NoneFailed asserts that no operation failed.
func (sc *Scene) NoneFailed() {
	sc.T.Helper()
	sc.Mu.Lock()
	defer sc.Mu.Unlock()
	assert.Empty(sc.T, sc.Errs)
}

// NothingLeft asserts that the table is empty except for tombstones, and stays so while the browsers read.
func (sc *Scene) NothingLeft(browsers ...*Browser) {
	sc.T.Helper()
	assert.Empty(sc.T, Items(sc.T, sc.B, sc.Table))
	for _, br := range browsers {
		assert.Equal(sc.T, "none", br.OK("/read"))
	}
	assert.Empty(sc.T, Items(sc.T, sc.B, sc.Table), "after reading")
}

// Around makes f run in place of the next call of an operation. f may call apply, which makes the call. If it does
// not, or returns an error, the caller gets no answer.
func (sc *Scene) Around(operation string, f func(apply func()) error) {
	sc.AroundNth(operation, 1, f)
}

// AroundNth is like Around, for the nth call.
func (sc *Scene) AroundNth(operation string, n int, f func(apply func()) error) {
	calls := sc.B.Calls
	calls.Intercept(func(c *Call) (resp *http.Response, err error) {
		if c.Operation != operation {
			return c.Send()
		}
		if n--; n > 0 {
			return c.Send()
		}
		calls.Intercept(nil)
		lost := f(func() { resp, err = c.Send() })
		if resp == nil {
			return nil, ErrReset
		}
		if lost != nil {
			_ = resp.Body.Close()
			return nil, lost
		}
		return resp, err
	})
}

// Cut loses the answer to the next call of an operation.
func (sc *Scene) Cut(operation string) { sc.CutNth(operation, 1) }

// CutNth loses the answer to the nth call of an operation.
func (sc *Scene) CutNth(operation string, n int) {
	sc.AroundNth(operation, n, func(apply func()) error {
		apply()
		return ErrReset
	})
}

// WaitInVain sends requests that fail with ErrLocked until one of them changes the lock attribute: on a busy machine,
// a wait may be over before its first call returns.
func (sc *Scene) WaitInVain() {
	before := sc.Item()["lock"]
	w := sc.Get("/set?mine")
	for tries := 0; tries < 20 && reflect.DeepEqual(before, sc.Item()["lock"]); tries++ {
		w = sc.Get("/set?mine")
	}
	sc.Failed(w, http.StatusServiceUnavailable, dynasession.ErrLocked)
}

// Raw returns the item with the given key, which may be a tombstone, or nil.
func (sc *Scene) Raw(key string) map[string]types.AttributeValue {
	sc.T.Helper()
	out, err := sc.B.Client.GetItem(sc.T.Context(), &dynamodb.GetItemInput{
		TableName: &sc.Table, Key: map[string]types.AttributeValue{"id": Str(key)}, ConsistentRead: aws.Bool(true),
	})
	require.NoError(sc.T, err)
	if len(out.Item) == 0 {
		return nil
	}
	return out.Item
}

// Remove deletes the item with the given key.
func (sc *Scene) Remove(key string) {
	sc.T.Helper()
	_, err := sc.B.Client.DeleteItem(context.Background(), &dynamodb.DeleteItemInput{TableName: &sc.Table, Key: map[string]types.AttributeValue{"id": Str(key)}})
	require.NoError(sc.T, err)
}
