package cost_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestUnitsOfARenewal: sign-ins and logouts cost what they did before there were tombstones.
func TestUnitsOfARenewal(t *testing.T) {
	for _, index := range []string{"", "by-user"} {
		for _, policy := range stage.Policies {
			for size, units := range map[int]float64{40: 1, 700: 1, 1500: 2, 5000: 6} {
				t.Run(fmt.Sprintf("%v, %d B, index %q", policy, size, index), func(t *testing.T) {
					cost := map[string]float64{}
					cfg := dynasession.Config{Concurrency: policy, NoCompression: true, UserIndex: index}
					sc := stage.EmptyScene(t, stage.Embedded(t), cfg)
					sc.AddPaths()
					store := observed(t, sc, cost)
					br := stage.NewBrowser(t, store.Middleware(sc.Paths))
					sc.Paths["/fill"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("x", strings.Repeat("x", size)) }
					br.OK("/fill")
					clear(cost)
					br.OK("/login?alice")
					extra := 0.0
					if index != "" {
						extra = 2 // the index gets the user, in a transaction
					}
					assert.InDelta(t, 4*units+extra, cost["renew"], 0, "2 W for the new item, 2 W for the old")
					clear(cost)
					br.OK("/logout")
					if index != "" {
						extra = 1
					}
					assert.InDelta(t, units+extra, cost["destroy"], 0)
				})
			}
		}
	}
}

// observed is a store like sc's, of a table of its own, that adds up what each operation costs.
func observed(t *testing.T, sc *stage.Scene, cost map[string]float64) *dynasession.Store {
	t.Helper()
	cfg := sc.Cfg
	cfg.Table = stage.NewTable()
	cfg.Observer = func(_ context.Context, e dynasession.Event) { cost[e.Op] += e.WriteUnits }
	s, err := dynasession.New(sc.B.Client, cfg)
	require.NoError(t, err)
	require.NoError(t, s.CreateTable(t.Context()))
	return s
}

// TestCalls counts at the wire what each kind of request costs.
func TestCalls(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		s := stage.NewStore(t, b, dynasession.Config{})
		a := stage.App{
			"/set": stage.DoSet, "/get": stage.DoGet,
			"/login":  func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.SetUser("ann") },
			"/logout": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Destroy() },
		}
		mux := http.NewServeMux()
		mux.Handle("/", a)
		mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { stage.Write(w, "none") })
		br := stage.NewBrowser(t, s.Middleware(mux))
		for _, step := range []struct {
			path  string
			calls []string
		}{
			{"/none", nil},
			{"/get", nil}, // no cookie: nothing to read
			{"/set?1", []string{"PutItem"}},
			{"/none", nil},
			{"/get", []string{"GetItem"}},
			{"/get", []string{"GetItem"}},
			{"/set?2", []string{"GetItem", "UpdateItem"}},
			{"/set?2", []string{"GetItem"}}, // the same value is no change
			{"/login", []string{"GetItem", "TransactWriteItems"}},
			{"/get", []string{"GetItem"}},
			{"/logout", []string{"GetItem", "DeleteItem"}},
			{"/get", nil},
		} {
			br.OK(step.path)
			require.Equal(t, step.calls, b.Calls.Take(), step.path)
		}
	})
}

// TestIdleMiddlewareAllocations: a handler that leaves the session alone.
func TestIdleMiddlewareAllocations(t *testing.T) {
	b := stage.Embedded(t)
	s := stage.NewStore(t, b, dynasession.Config{})
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	h := s.Middleware(next)
	for _, cookie := range []string{"", "__Host-Http-session=" + s.CreateID()} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		w := httptest.NewRecorder()
		bare := testing.AllocsPerRun(100, func() { next.ServeHTTP(w, r) })
		wrapped := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) })
		require.LessOrEqual(t, wrapped-bare, 4.0)
	}
	require.Empty(t, b.Calls.Take())
}
