package renew_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// matrixDeed is what one of two requests, or a verb of Store, does to the session {"n":0,"token":"t"}. Both come
// with the cookie that the browser had first.
type matrixDeed struct {
	name  string
	path  string // of a request; "" for a verb
	verb  func(ctx context.Context, s *dynasession.Store, id string) error
	user  string // who is signed in afterwards
	key   string // that it sets
	ends  bool   // it ends the session
	renew bool
	pops  bool
}

var matrixDeeds = []matrixDeed{
	{name: "sign-in", path: "/login?alice", user: "alice", renew: true},
	{name: "other sign-in", path: "/login?bob", user: "bob", renew: true},
	{name: "renew", path: "/renew", renew: true},
	{name: "logout", path: "/logout", ends: true},
	{name: "LimitTo(past)", path: "/limit-past", ends: true},
	{name: "save", path: "/set?mine", key: "mine"},
	{name: "other save", path: "/set?theirs", key: "theirs"},
	{name: "count", path: "/count"},
	{name: "pop", path: "/pop", pops: true},
	{name: "read", path: "/read"},
	{name: "remember", path: "/remember"},
	{name: "limit", path: "/limit"},
	{name: "Store.Destroy", ends: true, verb: func(ctx context.Context, s *dynasession.Store, id string) error { return s.Destroy(ctx, id) }},
	{name: "UpdateTimestamp", verb: func(ctx context.Context, s *dynasession.Store, id string) error { return s.UpdateTimestamp(ctx, id) }},
	{name: "Sweep", verb: func(ctx context.Context, s *dynasession.Store, _ string) error {
		_, err := s.Sweep(ctx, dynasession.SweepOptions{})
		return err
	}},
	{name: "DestroyUser", verb: func(ctx context.Context, s *dynasession.Store, _ string) error {
		_, err := s.DestroyUser(ctx, "carol", nil)
		return err
	}},
}

// TestMatrix runs each deed beside each other one, the second at each call of the first, before DynamoDB gets the
// call and after it has answered, and takes the responses in both orders. What is right follows from what was
// acknowledged.
func TestMatrix(t *testing.T) {
	for _, policy := range stage.Policies {
		for _, signedIn := range []bool{false, true} {
			if !signedIn && policy != dynasession.Merge {
				continue // sign-ins and logouts are the same under all policies
			}
			for i := range matrixDeeds {
				first := &matrixDeeds[i]
				t.Run(fmt.Sprintf("%v, signed in %v, %s", policy, signedIn, first.name), func(t *testing.T) {
					for j := range matrixDeeds {
						second := &matrixDeeds[j]
						if !first.ends && !second.ends && !first.renew && !second.renew ||
							policy != dynasession.Merge && (!first.ends && !first.renew || !second.ends && !second.renew) {
							continue // TestHistories and the tests of the protocol have those
						}
						for at := 0; ; at++ {
							reached := false
							for _, after := range []bool{false, true} {
								synctest.Test(t, func(t *testing.T) {
									m := newMatrixPair(t, policy, signedIn)
									if m.run(first, second, at, after) {
										reached = true
									}
									m.what = fmt.Sprintf("%s beside %s, at call %d, after %v", second.name, first.name, at, after)
									m.judge(first, second)
									time.Sleep(time.Minute) // calls that were given up
								})
							}
							if !reached || t.Failed() {
								break
							}
						}
					}
				})
			}
		}
	}
}

type matrixPair struct {
	*stage.Scene
	id      string
	what    string
	acked   [2]bool
	answers [2]*httptest.ResponseRecorder
}

func newMatrixPair(t *testing.T, policy dynasession.Concurrency, signedIn bool) *matrixPair {
	sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{Concurrency: policy, UserIndex: "by-user", LockWait: time.Second})
	sc.AddPaths()
	sc.OK("/set?kept") // by which the session is known again
	if signedIn {
		sc.OK("/login?carol")
	}
	for _, tomb := range stage.Tombstones(t, sc.B, sc.Table) {
		sc.Remove(stage.Attr(tomb, "id"))
	}
	sc.Age() // a touch is due
	return &matrixPair{Scene: sc, id: sc.ID()}
}

// run reports whether the first deed has made so many calls.
func (m *matrixPair) run(first, second *matrixDeed, at int, after bool) bool {
	var n, hits atomic.Int64
	var beside sync.WaitGroup // the first may give its call up, and end before the second
	m.B.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
		if n.Add(1)-1 != int64(at) || hits.Add(1) > 1 {
			return c.Send()
		}
		beside.Add(1)
		defer beside.Done()
		if !after {
			m.do(1, second)
			return c.Send()
		}
		resp, err := c.Send()
		m.do(1, second)
		return resp, err
	})
	m.do(0, first)
	beside.Wait()
	m.B.Calls.Intercept(nil)
	if hits.Load() == 0 {
		m.do(1, second)
		return false
	}
	return true
}

func (m *matrixPair) do(i int, d *matrixDeed) {
	if d.verb != nil {
		err := d.verb(context.Background(), m.Store, m.id)
		m.acked[i] = err == nil
		return
	}
	m.answers[i] = stage.Ask(m.Handler, m.id, d.path)
	m.acked[i] = m.answers[i].Code < http.StatusBadRequest
}

// judge works out from what was acknowledged what must be in the table and in the browser.
func (m *matrixPair) judge(deeds ...*matrixDeed) {
	t := m.T
	t.Helper()
	var live []map[string]types.AttributeValue
	for _, item := range stage.Items(t, m.B, m.Table) {
		if stage.IntAttr(t, item, "expires") > time.Now().Unix() && (stage.Attr(item, "until") == "" || stage.IntAttr(t, item, "until") > time.Now().Unix()) {
			live = append(live, item)
		}
		if stage.Attr(item, "until") != "" {
			assert.LessOrEqual(t, stage.IntAttr(t, item, "expires"), stage.IntAttr(t, item, "until"), m.what)
		}
	}
	var kept map[string]types.AttributeValue // the session that there was
	for _, item := range live {
		if strings.Contains(stage.Attr(item, "data"), `"kept"`) || stage.Attr(item, "user") == "carol" {
			require.Nil(t, kept, "%s: the session is there twice", m.what)
			kept = item
		}
	}
	ended, popped := false, 0
	for i, d := range deeds {
		ended = ended || d.ends && m.acked[i] || d.name == "DestroyUser" && m.acked[i]
		if d.pops && m.acked[i] {
			popped++
		}
	}
	if deeds[0].ends && m.acked[0] || deeds[1].ends && m.acked[1] {
		require.Nil(t, kept, "%s: ended, and still there: %v", m.what, m.acked)
	}
	if m.Cfg.Concurrency != dynasession.LastWriteWins {
		require.LessOrEqual(t, popped, 1, "%s: spent twice", m.what)
	}
	if kept == nil {
		return
	}
	var data map[string]any
	if text := stage.Attr(kept, "data"); text != "" {
		require.NoError(t, json.Unmarshal([]byte(text), &data), m.what)
	}
	for i, d := range deeds {
		if d.key == "" || m.Cfg.Concurrency == dynasession.LastWriteWins {
			continue
		}
		_, has := data[d.key]
		if other := 1 - i; deeds[other].key != d.key || !m.acked[other] {
			require.Equal(t, m.acked[i] && has, has, "%s: refused, and done", m.what)
		}
		require.True(t, has || !m.acked[i], "%s: acknowledged, and lost", m.what)
	}
	if popped > 0 && m.Cfg.Concurrency != dynasession.LastWriteWins {
		require.NotContains(t, data, "token", m.what)
	}
	// The browser, whichever response comes last.
	signIns := 0
	for i, d := range deeds {
		if d.renew && m.acked[i] {
			signIns++
		}
	}
	if ended || signIns > 1 {
		return
	}
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		if deeds[order[1]].name == "remember" && signIns > 0 {
			continue // Remember sets the cookie again: SECURITY.md has that
		}
		if *stage.WithEventualReads {
			continue // every save sets the cookie: Config.EventualReads says what that means
		}
		br := stage.BrowserWithID(t, m.Handler, m.id)
		for _, i := range order {
			if w := m.answers[i]; w != nil {
				br.Jar.SetCookies(stage.Origin, w.Result().Cookies())
			}
		}
		require.Equal(t, stage.Attr(kept, "id"), stage.KeyOf(stage.IDOf(br)), "%s: the newer cookie is replaced, %v", m.what, order)
	}
}
