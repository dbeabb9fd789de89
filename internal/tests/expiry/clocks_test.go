package expiry_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestSlowClockSave: a server whose clock is behind saves its changes, and does not end the session earlier
// for all others.
func TestSlowClockSave(t *testing.T) {
	for _, policy := range stage.Policies {
		for _, behind := range []time.Duration{10 * time.Second, 30 * time.Second, 59 * time.Second} {
			t.Run(fmt.Sprintf("%v, %v behind", policy, behind), func(t *testing.T) {
				cfg := dynasession.Config{Concurrency: policy, TouchAfter: time.Second}
				stage.InTime(t, cfg, func(c *stage.Timed) {
					c.Stop()
					var inside func()
					paths := stage.App{
						"/set": stage.Handle(func(s *dynasession.Session) { s.Set("fast", true) }),
						"/slow": stage.Handle(func(s *dynasession.Session) {
							if inside != nil {
								inside()
							}
							s.Set("slow", true)
						}),
						"/limit": stage.Handle(func(s *dynasession.Session) { s.LimitTo(c.Now().Add(10 * time.Minute)) }),
					}
					fast := c.Visit(c.Store, paths)
					slowStore := c.Apart(cfg, -behind)
					slow := c.Visit(slowStore, paths)
					br := stage.NewBrowser(c.T, fast)
					br.OK("/new")
					c.Pass(time.Minute)
					if policy != dynasession.Lock {
						inside = func() { stage.Ask(fast, br.Cookie(), "/") } // a touch, between its load and its save
					} else {
						stage.Ask(fast, br.Cookie(), "/")
					}
					c.Calls.Take()
					require.Equal(c.T, http.StatusOK, stage.Ask(slow, br.Cookie(), "/slow").Code)
					calls := c.Calls.Take()
					assert.LessOrEqual(c.T, len(calls), 5, "at most one call more: %v", calls)
					assert.Equal(c.T, stage.EpochText(c.Now().Add(time.Hour)), stage.Attr(c.Item(), "expires"))
					assert.Contains(c.T, stage.Attr(c.Item(), "data"), "slow")
					id := stage.IDOf(br)
					require.NoError(c.T, slowStore.Write(c.T.Context(), id, []byte(`{"n":5}`)))
					require.NoError(c.T, slowStore.UpdateTimestamp(c.T.Context(), id))
					assert.Equal(c.T, stage.EpochText(c.Now().Add(time.Hour)), stage.Attr(c.Item(), "expires"))
					require.Equal(c.T, http.StatusOK, stage.Ask(slow, id, "/limit").Code)
					assert.Equal(c.T, stage.EpochText(c.Now().Add(10*time.Minute)), stage.Attr(c.Item(), "expires"), "which LimitTo asked for")
				})
			})
		}
	}
}

// TestClocksApart: for as long as their clocks are apart, two servers disagree about a session
// that is ending. What one of them calls expired it leaves to the other, which may extend it,
// but never past its absolute end.
func TestClocksApart(t *testing.T) {
	const idle, lifetime = 10 * time.Minute, 15 * time.Minute
	for _, apart := range []time.Duration{2 * time.Second, 30 * time.Second} { // tolerated, and more
		t.Run(apart.String(), func(t *testing.T) {
			stage.ClocksApart(t, apart, dynasession.Config{IdleTimeout: idle, Lifetime: lifetime}, func(c *stage.TwoClocks) {
				b := stage.NewBrowser(c.T, c.Ahead)
				b.OK("/new")
				at := func(h http.Handler, path string) string { return stage.Ask(h, b.Cookie(), path).Body.String() }
				assert.Equal(c.T, "live", at(c.Behind, "/"), "born in the future")
				until := c.End("until")

				c.Pass(2 * time.Minute) // a touch is due
				c.Inside = func() { at(c.Ahead, "/") }
				at(c.Behind, "/read")
				end := c.End("expires")
				assert.Equal(c.T, c.NowAhead().Add(idle), end, "not shortened by who is behind")

				c.Pass(end.Sub(c.NowAhead()))
				left := c.Item()
				w := stage.Ask(c.Ahead, b.Cookie(), "/")
				assert.Equal(c.T, "new", w.Body.String())
				assert.Empty(c.T, w.Result().Cookies(), "the browser keeps the id")
				assert.Equal(c.T, left, c.Item())
				assert.Equal(c.T, "live", at(c.Behind, "/"))
				assert.Equal(c.T, until, c.End("expires"), "extended")
				assert.Equal(c.T, "live", at(c.Ahead, "/"))

				c.Pass(until.Sub(c.NowAhead()))
				assert.Equal(c.T, "new", at(c.Ahead, "/"))
				assert.Equal(c.T, "done", at(c.Behind, "/set"))
				assert.Equal(c.T, until, c.End("expires"))
				assert.Equal(c.T, until, c.End("until"))
				c.Pass(until.Sub(c.NowBehind()))
				assert.Equal(c.T, "new", at(c.Behind, "/"))
			})
		})
	}
}
