package dynasession_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/testhook"
)

// The tests here run in a synctest bubble, whose clock moves only by sleeping: what the
// protocol says of times is checked to the second. Some run on DynamoDB Local too.

const cookieName = "__Host-session"

// timed is a store of a table of its own, at the beginning of a second.
type timed struct {
	*backend
	t     *testing.T
	table string
	store *dynasession.Store

	stopped time.Time    // where stop has stopped the clock
	passed  atomic.Int64 // since then
}

func newTimed(t *testing.T, b *backend, cfg dynasession.Config) *timed {
	t.Helper()
	c := &timed{backend: b, t: t, table: newTable()}
	c.store = c.with(cfg)
	return c
}

// inBubble runs f on an embedded DynamoDB in a bubble.
func inBubble(t *testing.T, cfg dynasession.Config, f func(c *timed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newTimed(t, embedded(t), cfg)
		sleepUntil(time.Now().Truncate(time.Second).Add(time.Second))
		f(c)
	})
}

// inTime runs f in a bubble, and on DynamoDB Local.
func inTime(t *testing.T, cfg dynasession.Config, f func(c *timed)) {
	t.Helper()
	eachInTime(t, func(t *testing.T, b *backend) { f(newTimed(t, b, cfg)) })
}

// inBubble reports whether time can be measured: elsewhere the machine has other work too.
func (c *timed) inBubble() bool { return c.server != nil }

// stop lets time pass by pass alone, for the stores of c. In a bubble it does anyway.
func (c *timed) stop() {
	at := time.Now().Truncate(time.Second).Add(time.Second)
	if c.inBubble() {
		sleepUntil(at)
	} else {
		c.stopped = at
	}
}

func (c *timed) now() time.Time {
	if c.stopped.IsZero() {
		return time.Now()
	}
	return c.stopped.Add(time.Duration(c.passed.Load()))
}

func (c *timed) pass(d time.Duration) {
	if c.inBubble() {
		time.Sleep(d)
	} else {
		c.passed.Add(int64(d))
	}
}

// nextLook is more than a waiter takes to see that a lock is free: up to 150 ms between two looks,
// up to 80 ms until the second look, and as much again after a try that another was before.
const nextLook = 400 * time.Millisecond

// with makes another store on the same table.
func (c *timed) with(cfg dynasession.Config) *dynasession.Store {
	c.t.Helper()
	return c.apart(cfg, 0)
}

// apart makes one whose clock is ahead, or behind.
func (c *timed) apart(cfg dynasession.Config, by time.Duration) *dynasession.Store {
	c.t.Helper()
	cfg.Table = c.table
	s := newStore(c.t, c.backend, cfg)
	testhook.SetClock(s, func() time.Time { return c.now().Add(by) })
	return s
}

func (c *timed) item() map[string]types.AttributeValue {
	c.t.Helper()
	return onlyItem(c.t, c.backend, c.table)
}

// amend overwrites attributes of an item as it is in the table.
func (c *timed) amend(item, with map[string]types.AttributeValue) {
	c.t.Helper()
	item = maps.Clone(item)
	maps.Copy(item, with)
	putItem(c.t, c.backend, c.table, item)
}

func sleepUntil(at time.Time) { time.Sleep(time.Until(at)) }

func epochText(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

func milliseconds(at time.Time) types.AttributeValue {
	return num(strconv.FormatInt(at.UnixMilli(), 10))
}

// visit is an app that tells of the session, and starts one at /new; more adds to it.
func (c *timed) visit(store *dynasession.Store, more app) http.Handler {
	all := app{
		"/new": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
			s.Set("n", 1)
			write(w, "made")
		},
		"/": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
			switch {
			case !s.IsNew():
				write(w, "live")
			case len(s.Keys()) > 0 || s.ID() != "" || s.User() != "":
				write(w, "new, but not empty")
			default:
				write(w, "new")
			}
		},
	}
	maps.Copy(all, more)
	return store.Middleware(all)
}

// acts makes a path's handler of what it does to the session.
func acts(f func(s *dynasession.Session)) func(*dynasession.Session, http.ResponseWriter, *http.Request) {
	return func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
		f(s)
		write(w, "done")
	}
}

// askAs sends a cookie whether or not a browser still would.
func askAs(h http.Handler, cookie, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "https://shop.example.com"+path, http.NoBody)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: cookie})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func onlyCookie(t *testing.T, w *httptest.ResponseRecorder) *http.Cookie {
	t.Helper()
	all := w.Result().Cookies()
	require.Len(t, all, 1)
	return all[0]
}

func TestIdleTimeoutToTheSecond(t *testing.T) {
	const idle = 10 * time.Minute
	for _, test := range []struct {
		after time.Duration
		want  string
	}{{idle - time.Second, "live"}, {idle - time.Nanosecond, "live"}, {idle, "new"}, {idle + time.Second, "new"}} {
		t.Run(test.after.String(), func(t *testing.T) {
			inBubble(t, dynasession.Config{IdleTimeout: idle}, func(c *timed) {
				b := newBrowser(c.t, c.visit(c.store, nil))
				b.ok("/new")
				assert.Equal(c.t, epochText(time.Now().Add(idle)), attr(c.item(), "expires"))
				time.Sleep(test.after)
				assert.Equal(c.t, test.want, b.ok("/"))
			})
		})
	}
}

func TestIdleSessionIsReplaced(t *testing.T) {
	inBubble(t, dynasession.Config{IdleTimeout: time.Minute}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, nil))
		b.ok("/new")
		old, oldItem := idOf(b), c.item()
		time.Sleep(time.Minute)
		c.calls.take()
		require.Equal(c.t, "new", b.ok("/"))
		reads := []string{"GetItem"}
		if *withEventualReads { // a dead session is asked for again, strongly
			reads = []string{"GetItem", "GetItem"}
		}
		assert.Equal(c.t, reads, c.calls.take())
		assert.Equal(c.t, oldItem, c.item(), "the item of a dead session is left to TTL")

		b.ok("/new")
		assert.NotEqual(c.t, old, idOf(b))
		assert.Equal(c.t, "live", b.ok("/"))
		assert.Len(c.t, items(c.t, c.backend, c.table), 2)
		_, err := c.store.Read(c.t.Context(), old)
		assert.ErrorIs(c.t, err, dynasession.ErrNotFound)
	})
}

func TestTouchAfterSavesWrites(t *testing.T) {
	const idle, touch = 10 * time.Minute, time.Minute
	inBubble(t, dynasession.Config{IdleTimeout: idle, TouchAfter: touch}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, nil))
		b.ok("/new")
		made, before := time.Now(), c.item()
		c.calls.take()
		for range 59 {
			time.Sleep(time.Second)
			require.Equal(c.t, "live", b.ok("/"))
			require.Equal(c.t, []string{"GetItem"}, c.calls.take())
		}
		sleepUntil(made.Add(touch))
		require.Equal(c.t, "live", b.ok("/"))
		require.Equal(c.t, []string{"GetItem", "UpdateItem"}, c.calls.take())
		after := c.item()
		assert.Equal(c.t, epochText(made.Add(touch+idle)), attr(after, "expires"))
		for name := range before {
			if name != "expires" {
				assert.Equal(c.t, before[name], after[name], name)
			}
		}
		c.calls.take()
		b.ok("/")
		assert.Equal(c.t, []string{"GetItem"}, c.calls.take(), "it is not due again")
		time.Sleep(idle - time.Second)
		assert.Equal(c.t, "live", b.ok("/"))
	})
}

func TestTouchKeepsASessionInUseUntilLifetime(t *testing.T) {
	// The gaps between uses are as long as they can be without a write at each.
	const idle, touch, lifetime = 2 * time.Minute, time.Minute, time.Hour
	inBubble(t, dynasession.Config{IdleTimeout: idle, TouchAfter: touch, Lifetime: lifetime}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, nil))
		b.ok("/new")
		made := time.Now()
		writes := 0
		c.calls.take()
		for time.Since(made)+touch-time.Second < lifetime-touch {
			time.Sleep(touch - time.Second)
			require.Equal(c.t, "live", b.ok("/"), time.Since(made).String())
			if len(c.calls.take()) > 1 {
				writes++
			}
		}
		assert.InDelta(c.t, 30, writes, 2, "every second use is due")
		sleepUntil(made.Add(lifetime))
		assert.Equal(c.t, "new", b.ok("/"))
	})
}

func TestLifetimeIsAbsolute(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, app{
			"/in":    acts(func(s *dynasession.Session) { s.SetUser("ada") }),
			"/renew": acts(func(s *dynasession.Session) { s.Renew() }),
			"/set":   acts(func(s *dynasession.Session) { s.Set("at", time.Now()) }),
		}))
		b.ok("/new")
		made := time.Now()
		end := made.Add(dynasession.DefaultLifetime)
		for at := made.Add(time.Minute); at.Before(end); at = at.Add(time.Minute) {
			sleepUntil(at)
			path := "/"
			switch at.Sub(made) {
			case 6 * time.Hour:
				path = "/in"
			case 12 * time.Hour:
				path = "/renew"
			case 18 * time.Hour:
				path = "/set"
			}
			id := b.cookie()
			body := b.ok(path)
			require.Contains(c.t, []string{"live", "done"}, body, at.Sub(made).String())
			if path == "/in" || path == "/renew" {
				require.NotEqual(c.t, id, b.cookie())
			}
			item := c.item()
			require.Equal(c.t, epochText(made), attr(item, "born"))
			require.Equal(c.t, epochText(end), attr(item, "until"))
		}
		sleepUntil(end.Add(-time.Second))
		assert.Equal(c.t, "live", b.ok("/"))
		assert.Equal(c.t, epochText(end), attr(c.item(), "expires"))
		sleepUntil(end)
		assert.Equal(c.t, "new", b.ok("/"))
	})
}

func TestLifetimeOfTheLatestConfigCounts(t *testing.T) {
	inBubble(t, dynasession.Config{IdleTimeout: time.Hour, Lifetime: 10 * time.Hour}, func(c *timed) {
		long := newBrowser(c.t, c.visit(c.store, nil))
		long.ok("/new")
		made := time.Now()
		short := c.visit(c.with(dynasession.Config{Lifetime: 30 * time.Minute}), nil)
		sleepUntil(made.Add(30*time.Minute - time.Second))
		assert.Equal(c.t, "live", askAs(short, long.cookie(), "/").Body.String())
		sleepUntil(made.Add(30 * time.Minute))
		assert.Equal(c.t, "new", askAs(short, long.cookie(), "/").Body.String())
		assert.Equal(c.t, "live", long.ok("/"))
	})
}

func TestRememberOutlivesIdleAndLifetime(t *testing.T) {
	const d = 30 * 24 * time.Hour
	remember := app{"/remember": acts(func(s *dynasession.Session) { s.Remember(d) })}
	for _, used := range []bool{false, true} {
		t.Run(fmt.Sprintf("used=%v", used), func(t *testing.T) {
			inBubble(t, dynasession.Config{}, func(c *timed) {
				h := c.visit(c.store, remember)
				b := newBrowser(c.t, h)
				b.ok("/new")
				time.Sleep(10 * time.Minute)
				w := b.get("/remember")
				assert.Equal(c.t, int(d/time.Second), onlyCookie(c.t, w).MaxAge)
				end := time.Now().Add(d)
				assert.Equal(c.t, epochText(end), attr(c.item(), "expires"))
				id := b.cookie()
				require.NotEmpty(c.t, id)
				c.calls.take()
				for used && time.Until(end) > 12*time.Hour {
					time.Sleep(12 * time.Hour)
					require.Equal(c.t, "live", b.ok("/"))
				}
				for _, op := range c.calls.take() {
					require.Equal(c.t, "GetItem", op, "there is nothing to extend")
				}
				sleepUntil(end.Add(-time.Second))
				assert.Equal(c.t, "live", b.ok("/"))
				sleepUntil(end)
				assert.Empty(c.t, b.cookie(), "the browser drops the cookie")
				assert.Equal(c.t, "new", askAs(h, id, "/").Body.String())
			})
		})
	}
}

func TestRememberUndone(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		h := c.visit(c.store, app{
			"/remember": acts(func(s *dynasession.Session) { s.Remember(48 * time.Hour) }),
			"/forget":   acts(func(s *dynasession.Session) { s.Remember(0) }),
		})
		b := newBrowser(c.t, h)
		b.ok("/new")
		made := time.Now()
		b.ok("/remember")
		time.Sleep(10 * time.Hour)
		w := b.get("/forget")
		assert.Zero(c.t, onlyCookie(c.t, w).MaxAge, "it ends with the browser again")
		item := c.item()
		assert.Equal(c.t, epochText(made.Add(dynasession.DefaultLifetime)), attr(item, "until"))
		assert.Equal(c.t, epochText(time.Now().Add(dynasession.DefaultIdleTimeout)), attr(item, "expires"))
		assert.NotContains(c.t, item, "idle")
		time.Sleep(dynasession.DefaultIdleTimeout - time.Second)
		assert.Equal(c.t, "live", askAs(h, b.cookie(), "/").Body.String())
		for time.Since(made) < dynasession.DefaultLifetime-30*time.Minute {
			time.Sleep(30 * time.Minute)
			b.ok("/")
		}
		sleepUntil(made.Add(dynasession.DefaultLifetime))
		assert.Equal(c.t, "new", b.ok("/"))
	})
}

func TestRememberUndoneAfterLifetimeEnds(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		h := c.visit(c.store, app{
			"/remember": acts(func(s *dynasession.Session) { s.Remember(48 * time.Hour) }),
			"/forget":   acts(func(s *dynasession.Session) { s.Remember(-time.Second) }),
		})
		b := newBrowser(c.t, h)
		b.ok("/new")
		b.ok("/remember")
		time.Sleep(30 * time.Hour)
		require.Equal(c.t, "live", b.ok("/"))
		b.get("/forget")
		assert.Equal(c.t, "new", b.ok("/"))
	})
}

// TestSignInAfterRemember: a remembered user signs in again, without "remember me".
func TestSignInAfterRemember(t *testing.T) {
	inTime(t, dynasession.Config{}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, app{
			"/remember": acts(func(s *dynasession.Session) { s.SetUser("alice"); s.Remember(30 * 24 * time.Hour) }),
			"/sign-in":  acts(func(s *dynasession.Session) { s.Remember(0); s.SetUser("alice"); s.Set("k", 1) }),
			"/user":     acts(func(s *dynasession.Session) { assert.Equal(c.t, "alice", s.User()) }),
		}))
		c.stop()
		b.ok("/new")
		b.ok("/remember")
		c.pass(48 * time.Hour)
		b.ok("/sign-in")
		b.ok("/user")
		c.pass(23*time.Hour + 30*time.Minute) // of the 24 of Lifetime
		assert.Equal(c.t, "new", b.ok("/"), "idle for longer than an hour")
	})
}

// TestRememberShorterThanTheHandler: as with a limit that has passed, nothing is stored that
// nobody would see again.
func TestRememberShorterThanTheHandler(t *testing.T) {
	inTime(t, dynasession.Config{}, func(c *timed) {
		slow := acts(func(s *dynasession.Session) {
			s.Remember(time.Second)
			c.pass(2 * time.Second)
		})
		b := newBrowser(c.t, c.visit(c.store, app{"/slow": slow}))
		c.stop()
		b.ok("/new")
		b.ok("/slow")
		assert.Empty(c.t, b.cookie())
		assert.Empty(c.t, items(c.t, c.backend, c.table))
	})
}

func TestLimitToCapsRemember(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		var limit time.Time
		h := c.visit(c.store, app{
			"/limit":    acts(func(s *dynasession.Session) { s.LimitTo(limit) }),
			"/remember": acts(func(s *dynasession.Session) { s.Remember(30 * 24 * time.Hour) }),
		})
		b := newBrowser(c.t, h)
		b.ok("/new")
		limit = time.Now().Add(40 * time.Hour) // beyond Lifetime
		b.ok("/limit")
		time.Sleep(10 * time.Minute)
		w := b.get("/remember")
		assert.Equal(c.t, int(time.Until(limit)/time.Second), onlyCookie(c.t, w).MaxAge)
		id := b.cookie()
		sleepUntil(limit.Add(-time.Second))
		assert.Equal(c.t, "live", askAs(h, id, "/").Body.String())
		sleepUntil(limit)
		assert.Equal(c.t, "new", askAs(h, id, "/").Body.String())
	})
}

func TestLimitToEndsAtTheSecondAndNeverMovesLater(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		var limit time.Time
		h := c.visit(c.store, app{
			"/limit": acts(func(s *dynasession.Session) { s.LimitTo(limit) }),
			"/zero":  acts(func(s *dynasession.Session) { s.LimitTo(time.Time{}) }),
		})
		b := newBrowser(c.t, h)
		b.ok("/new")
		end := time.Now().Add(90 * time.Minute)
		for _, limit = range []time.Time{end.Add(time.Hour), end, end.Add(time.Minute), end.Add(100 * time.Hour)} {
			b.ok("/limit")
		}
		b.ok("/zero")
		assert.Equal(c.t, epochText(end), attr(c.item(), "until"))
		assert.Equal(c.t, epochText(end), attr(c.item(), "limit"))
		for time.Until(end) > 10*time.Minute {
			time.Sleep(5 * time.Minute)
			require.Equal(c.t, "live", b.ok("/"))
		}
		sleepUntil(end.Add(-time.Second))
		assert.Equal(c.t, "live", b.ok("/"))
		sleepUntil(end)
		assert.Equal(c.t, "new", b.ok("/"))
	})
}

func TestLimitToHoldsThoughPHPMovesTheExpiry(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		end := time.Now().Add(30 * time.Minute)
		b := newBrowser(c.t, c.visit(c.store, app{"/limit": acts(func(s *dynasession.Session) { s.LimitTo(end) })}))
		b.ok("/new")
		b.ok("/limit")
		c.amend(c.item(), map[string]types.AttributeValue{"expires": num(epochText(end.Add(time.Hour)))})
		sleepUntil(end.Add(-time.Second))
		assert.Equal(c.t, "live", b.ok("/"))
		sleepUntil(end)
		assert.Equal(c.t, "new", b.ok("/"))
	})
}

func TestLimitToBeyondLifetimeStretchesNothing(t *testing.T) {
	inBubble(t, dynasession.Config{IdleTimeout: time.Hour, Lifetime: time.Hour}, func(c *timed) {
		h := c.visit(c.store, app{"/limit": acts(func(s *dynasession.Session) { s.LimitTo(time.Now().Add(100 * time.Hour)) })})
		b := newBrowser(c.t, h)
		b.ok("/new")
		b.ok("/limit")
		time.Sleep(time.Hour - time.Second)
		assert.Equal(c.t, "live", b.ok("/"))
		time.Sleep(time.Second)
		assert.Equal(c.t, "new", b.ok("/"))
	})
}

func TestLimitToInThePastEndsTheSession(t *testing.T) {
	for _, ago := range []time.Duration{0, time.Second, 1000 * time.Hour} {
		t.Run(ago.String(), func(t *testing.T) {
			inBubble(t, dynasession.Config{}, func(c *timed) {
				h := c.visit(c.store, app{"/limit": acts(func(s *dynasession.Session) {
					s.LimitTo(time.Now().Add(-ago))
					s.Set("n", 2)
				})})
				b := newBrowser(c.t, h)
				b.ok("/new")
				id := b.cookie()
				w := b.get("/limit")
				assert.Equal(c.t, http.StatusOK, w.Code)
				assert.Negative(c.t, onlyCookie(c.t, w).MaxAge)
				assert.Empty(c.t, b.cookie())
				assert.Empty(c.t, items(c.t, c.backend, c.table))
				assert.Equal(c.t, "new", askAs(h, id, "/").Body.String())

				b.ok("/limit") // of a session that is not stored yet
				assert.Empty(c.t, items(c.t, c.backend, c.table))
			})
		})
	}
}

func TestNotBeforeRefusesOlderSessions(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		old := c.visit(c.store, nil)
		early, late := newBrowser(c.t, old), newBrowser(c.t, old)
		early.ok("/new")
		time.Sleep(time.Second)
		deploy := time.Now()
		late.ok("/new")
		for _, test := range []struct {
			notBefore   time.Time
			early, late string
		}{
			{deploy.Add(-time.Second), "live", "live"},
			{deploy.Add(-time.Second + 1), "new", "live"},
			{deploy, "new", "live"},
			{deploy.Add(1), "new", "new"},
			{deploy.Add(time.Second), "new", "new"},
		} {
			h := c.visit(c.with(dynasession.Config{NotBefore: test.notBefore}), nil)
			assert.Equal(c.t, test.early, askAs(h, early.cookie(), "/").Body.String(), test.notBefore.String())
			assert.Equal(c.t, test.late, askAs(h, late.cookie(), "/").Body.String(), test.notBefore.String())
		}
		assert.Equal(c.t, "live", early.ok("/"), "the old servers still serve it")
		assert.Len(c.t, items(c.t, c.backend, c.table), 2)
	})
}

// TestTouchOfAPage: a page's requests find the expiry due together, and one moves it.
func TestTouchOfAPage(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		const requests = 20
		var loaded sync.WaitGroup
		b := newBrowser(c.t, c.visit(c.store, app{"/page": func(*session, http.ResponseWriter, *http.Request) {
			loaded.Done()
			loaded.Wait()
		}}))
		b.ok("/new")
		page := func() {
			c.calls.take()
			var all sync.WaitGroup
			loaded.Add(requests)
			for range requests {
				all.Go(func() { assert.Equal(c.t, http.StatusOK, askAs(b.handler, b.cookie(), "/page").Code) })
			}
			all.Wait()
			want := append(slices.Repeat([]string{"GetItem"}, requests), "UpdateItem")
			assert.ElementsMatch(c.t, want, c.calls.take())
		}
		for range 3 {
			time.Sleep(6 * time.Minute)
			page()
			assert.Equal(c.t, epochText(time.Now().Add(time.Hour)), attr(c.item(), "expires"))
		}

		// One that failed does not count.
		time.Sleep(6 * time.Minute)
		c.calls.intercept(func(call *call) (*http.Response, error) {
			if call.operation == "UpdateItem" {
				return nil, errors.New("no network")
			}
			return call.send()
		})
		b.ok("/")
		c.calls.intercept(nil)
		time.Sleep(touchRest)
		b.ok("/")
		assert.Equal(c.t, epochText(time.Now().Add(time.Hour)), attr(c.item(), "expires"))
	})
}

// touchRest is how long the store leaves all expiries alone after a touch has failed.
const touchRest = 5 * time.Second

// TestTouchesInAnOutage: while DynamoDB takes no writes, pages that only read cost one call for all,
// and one line, every few seconds.
func TestTouchesInAnOutage(t *testing.T) {
	for name, refuse := range map[string]func() (*http.Response, error){
		"no answer":  func() (*http.Response, error) { return nil, errReset },
		"throttling": func() (*http.Response, error) { return answerWith(http.StatusBadRequest, "ThrottlingException"), nil },
		"status 500": func() (*http.Response, error) {
			return answerWith(http.StatusInternalServerError, "InternalServerError"), nil
		},
		"a transaction": func() (*http.Response, error) {
			return answerWith(http.StatusBadRequest, "TransactionConflictException"), nil
		},
	} {
		for _, policy := range policies {
			t.Run(name+", "+policy.String(), func(t *testing.T) {
				var lines strings.Builder
				cfg := dynasession.Config{Concurrency: policy, Logger: slog.New(slog.NewTextHandler(&lines, nil))}
				inBubble(t, cfg, func(c *timed) {
					var all []*browser
					for range 50 {
						b := newBrowser(c.t, c.visit(c.store, nil))
						b.ok("/new")
						all = append(all, b)
					}
					time.Sleep(6 * time.Minute)
					touches := 0
					c.calls.intercept(func(call *call) (*http.Response, error) {
						if call.operation != "UpdateItem" || !strings.Contains(call.body, "SET #e = :e") {
							return call.send()
						}
						touches++
						return refuse()
					})
					for n := 1; n <= 3; n++ {
						for _, b := range all {
							assert.Equal(c.t, "live", b.ok("/"))
						}
						assert.Equal(c.t, n, touches)
						assert.Equal(c.t, n, strings.Count(lines.String(), "level="), lines.String())
						time.Sleep(touchRest)
					}
					c.calls.intercept(nil)
					for _, b := range all {
						assert.Equal(c.t, "live", b.ok("/"))
					}
					for _, item := range items(c.t, c.backend, c.table) {
						assert.Greater(c.t, intAttr(c.t, item, "expires"), time.Now().Add(59*time.Minute).Unix())
						assert.NotContains(c.t, item, "lock", "given up without the touch")
					}
				})
			})
		}
	}
}

// TestLockIsGivenUpAfterTheDeadline: a Save whose deadline has passed gives up the lock all the same.
func TestLockIsGivenUpAfterTheDeadline(t *testing.T) {
	inTime(t, dynasession.Config{Concurrency: dynasession.Lock}, func(c *timed) {
		for name, past := range map[string]bool{"passed": true, "open": false} {
			b := newBrowser(c.t, c.visit(c.store, app{
				"/save": acts(func(s *dynasession.Session) {
					ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
					if past {
						ctx, cancel = context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
					}
					defer cancel()
					assert.NoError(c.t, s.Save(ctx), name)
				}),
			}))
			b.ok("/new")
			b.ok("/save")
		}
		for _, item := range items(c.t, c.backend, c.table) {
			assert.NotContains(c.t, item, "lock")
		}
	})
}

// TestLockWhoseAnswerIsLost: an acquisition that nobody answered is given up, so that the next request
// need not wait for the lease.
func TestLockWhoseAnswerIsLost(t *testing.T) {
	inTime(t, dynasession.Config{Concurrency: dynasession.Lock}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, nil))
		b.ok("/new")
		c.calls.intercept(func(call *call) (*http.Response, error) {
			resp, err := call.send()
			if err == nil && call.operation == "UpdateItem" && strings.Contains(call.body, "SET #l = :end") {
				_ = resp.Body.Close()
				return nil, errReset
			}
			return resp, err
		})
		assert.Equal(c.t, http.StatusServiceUnavailable, b.get("/").Code)
		c.calls.intercept(nil)
		assert.Eventually(c.t, func() bool { return attr(c.item(), "lock") == "" }, 5*time.Second, time.Millisecond)
		assert.Equal(c.t, "live", b.ok("/"))
	})
}

// TestWaitersOfPHPsLock: whoever waited in its own process for one that waited for PHP is told of a
// lock, not of an outage.
func TestWaitersOfPHPsLock(t *testing.T) {
	inBubble(t, dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Second, LockLease: time.Hour}, func(c *timed) {
		var mu sync.Mutex
		var told []error
		cfg := dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Second, LockLease: time.Hour}
		cfg.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, err)
			w.WriteHeader(http.StatusTeapot)
		}
		h := c.visit(c.with(cfg), nil)
		b := newBrowser(c.t, h)
		b.ok("/new")
		c.amend(c.item(), map[string]types.AttributeValue{"lock": num("1")})
		c.calls.intercept(func(call *call) (*http.Response, error) { // looks take a moment, so that deadlines pass during them
			time.Sleep(7 * time.Millisecond)
			return call.send()
		})
		var all sync.WaitGroup
		for n := range 4 {
			all.Go(func() {
				time.Sleep(time.Duration(n) * 3 * time.Millisecond)
				askAs(h, b.cookie(), "/")
			})
		}
		all.Wait()
		time.Sleep(time.Minute) // the calls that were given up
		c.calls.intercept(nil)
		assert.Len(c.t, told, 4)
		for _, err := range told {
			assert.ErrorIs(c.t, err, dynasession.ErrLocked)
		}
	})
}

// TestPHPsLockUnderMerge: a store that does not lock says once that PHP does.
func TestPHPsLockUnderMerge(t *testing.T) {
	for _, policy := range policies {
		var lines strings.Builder
		cfg := dynasession.Config{Concurrency: policy, ForeignWriters: true, Logger: slog.New(slog.NewTextHandler(&lines, nil)), LockWait: time.Second}
		inBubble(t, cfg, func(c *timed) {
			b := newBrowser(c.t, c.visit(c.store, nil))
			b.ok("/new")
			assert.Empty(c.t, lines.String())
			c.amend(c.item(), map[string]types.AttributeValue{"lock": num("1")})
			for range 3 {
				b.get("/")
			}
			want := 1
			if policy == dynasession.Lock {
				want = 0
			}
			assert.Equal(c.t, want, strings.Count(lines.String(), "PHP locks"), lines.String())
		})
	}
}

// TestTouchBesideOthers: another's touch does not do where the expiry has been lowered since, nor
// where there is no time for the next request, should it fail.
func TestTouchBesideOthers(t *testing.T) {
	inBubble(t, dynasession.Config{ForeignWriters: true}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, nil))
		inAnHour := func() string { return epochText(time.Now().Add(time.Hour)) }
		b.ok("/new")
		time.Sleep(6 * time.Minute)
		b.ok("/")
		time.Sleep(time.Second)
		_, err := c.client.UpdateItem(c.t.Context(), &dynamodb.UpdateItemInput{ // as PHP does
			TableName: &c.table, Key: map[string]types.AttributeValue{"id": c.item()["id"]}, UpdateExpression: aws.String("SET expires = :e"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":e": in(24 * time.Minute)},
		})
		require.NoError(c.t, err)
		time.Sleep(time.Second)
		b.ok("/")
		assert.Equal(c.t, inAnHour(), attr(c.item(), "expires"))

		time.Sleep(59 * time.Minute)
		var first sync.Once
		c.calls.intercept(func(call *call) (*http.Response, error) {
			fails := false
			if call.operation == "UpdateItem" {
				first.Do(func() { fails = true })
			}
			if fails {
				time.Sleep(time.Second)
				return nil, errors.New("no network")
			}
			return call.send()
		})
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { assert.Equal(c.t, http.StatusOK, askAs(b.handler, b.cookie(), "/").Code) })
		}
		both.Wait()
		assert.Greater(c.t, attr(c.item(), "expires"), epochText(time.Now().Add(59*time.Minute)))
	})
}

// TestStreamBesideRemember: what a request has loaded may have ended by then, and the session not.
func TestStreamBesideRemember(t *testing.T) {
	for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.Lock} {
		for _, renew := range []bool{false, true} {
			inBubble(t, dynasession.Config{Concurrency: policy}, func(c *timed) {
				var b *browser
				h := c.visit(c.store, nil)
				b = newBrowser(c.t, c.visit(c.store, app{
					"/remember": acts(func(s *dynasession.Session) { s.Remember(30 * 24 * time.Hour) }),
					"/stream": acts(func(s *dynasession.Session) {
						assert.NoError(c.t, s.Save(context.Background())) // which gives a lock up
						other := newBrowser(c.t, b.handler)
						other.jar.SetCookies(origin, b.jar.Cookies(origin))
						other.ok("/remember")
						time.Sleep(48 * time.Hour)
						s.Set("stream", true)
						if renew {
							s.Renew()
						}
						assert.NoError(c.t, s.Save(context.Background()))
					}),
				}))
				b.ok("/new")
				b.ok("/stream")
				assert.Equal(c.t, "live", askAs(h, b.cookie(), "/").Body.String())
			})
		}
	}
}

// TestNotBeforeNow: a session that is made in NotBefore's second, or by a server whose clock is
// behind, is not lost.
func TestNotBeforeNow(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		time.Sleep(300 * time.Millisecond)
		for _, ahead := range []time.Duration{0, time.Second, 30 * time.Second} {
			b := newBrowser(c.t, c.visit(c.with(dynasession.Config{NotBefore: time.Now().Add(ahead)}), nil))
			b.ok("/new")
			assert.Equal(c.t, "live", b.ok("/"), ahead)
		}
		store := c.with(dynasession.Config{NotBefore: time.Now()})
		id := store.CreateID()
		require.NoError(c.t, store.Write(c.t.Context(), id, []byte(`{}`)))
		_, err := store.Read(c.t.Context(), id)
		assert.NoError(c.t, err)

		b := newBrowser(c.t, c.visit(c.with(dynasession.Config{NotBefore: time.Now().Add(time.Hour)}), nil))
		b.ok("/new")
		assert.Equal(c.t, "new", b.ok("/"), "an announced end is not outlived")
	})
}

func TestTouchedTimesOfASession(t *testing.T) {
	const idle, touch = 10 * time.Minute, time.Minute
	inBubble(t, dynasession.Config{IdleTimeout: idle, TouchAfter: touch}, func(c *timed) {
		type times struct{ created, expires, auth time.Time }
		var before, after times
		of := func(s *dynasession.Session) times { return times{s.Created(), s.Expires(), s.AuthTime()} }
		show := func(f func(*dynasession.Session)) func(*dynasession.Session, http.ResponseWriter, *http.Request) {
			return acts(func(s *dynasession.Session) {
				before = of(s)
				f(s)
				assert.NoError(c.t, s.Save(context.Background()))
				after = of(s)
			})
		}
		b := newBrowser(c.t, c.visit(c.store, app{
			"/new":  show(func(s *dynasession.Session) { s.Set("n", 1) }),
			"/look": show(func(*dynasession.Session) {}),
			"/set":  show(func(s *dynasession.Session) { s.Set("at", time.Now()) }),
			"/in":   show(func(s *dynasession.Session) { s.SetUser("ada") }),
			"/out":  show(func(s *dynasession.Session) { s.SetUser("") }),
		}))
		local := func(at time.Time) time.Time { return time.Unix(at.Unix(), 0) }

		time.Sleep(300 * time.Millisecond) // all is exact to the second
		made := local(time.Now())
		b.ok("/new")
		assert.Equal(c.t, times{made, made.Add(idle), time.Time{}}, before)
		assert.Equal(c.t, before, after)

		sleepUntil(made.Add(30 * time.Second))
		b.ok("/look")
		assert.Equal(c.t, times{made, made.Add(idle), time.Time{}}, after)

		b.ok("/in")
		in := local(time.Now())
		assert.Equal(c.t, times{made, in.Add(idle), in}, after)

		time.Sleep(59 * time.Second)
		b.ok("/set")
		set := local(time.Now())
		assert.Equal(c.t, times{made, in.Add(idle), in}, before)
		assert.Equal(c.t, times{made, set.Add(idle), in}, after)

		time.Sleep(touch)
		b.ok("/look")
		look := local(time.Now())
		assert.Equal(c.t, times{made, set.Add(idle), in}, before)
		assert.Equal(c.t, times{made, look.Add(idle), in}, after)

		b.ok("/out")
		assert.Equal(c.t, times{look, look.Add(idle), time.Time{}}, after, "another user's session begins anew")
	})
}

func TestTouchMakesLastUsedExact(t *testing.T) {
	const idle, touch = 10 * time.Minute, time.Minute
	inBubble(t, dynasession.Config{IdleTimeout: idle, TouchAfter: touch}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, app{"/in": acts(func(s *dynasession.Session) { s.SetUser("ada") })}))
		b.ok("/in")
		made := time.Now()
		for i := range 40 {
			time.Sleep(time.Duration(i*7%100) * time.Second)
			require.Equal(c.t, "live", b.ok("/"))
			infos, err := c.store.UserSessions(c.t.Context(), "ada")
			require.NoError(c.t, err)
			require.Len(c.t, infos, 1)
			late := time.Since(infos[0].LastUsed)
			require.GreaterOrEqual(c.t, late, time.Duration(0))
			require.Less(c.t, late, touch)
			require.True(c.t, infos[0].Created.Equal(made))
			require.True(c.t, infos[0].AuthTime.Equal(made))
			require.True(c.t, infos[0].Expires.Equal(infos[0].LastUsed.Add(idle)))
		}
	})
}

// deadHolder leaves the session locked until end by a server that is no more.
func deadHolder(c *timed, end time.Time) {
	c.t.Helper()
	c.amend(c.item(), map[string]types.AttributeValue{"lock": milliseconds(end), "holder": str("dead")})
}

func TestLockOfADeadHolderIsTakenOver(t *testing.T) {
	const lease = 3 * time.Second
	inBubble(t, dynasession.Config{Concurrency: dynasession.Lock, LockLease: lease}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, nil))
		b.ok("/new")
		end := time.Now().Add(lease)
		deadHolder(c, end)
		require.Equal(c.t, "live", b.ok("/"))
		over := time.Since(end)
		assert.GreaterOrEqual(c.t, over, 2*time.Second, "clocks may be so far apart")
		assert.Less(c.t, over, 2*time.Second+nextLook)
		assert.NotContains(c.t, c.item(), "lock")
		assert.NotContains(c.t, c.item(), "holder")
	})
}

func TestLockWaitEndsToTheMoment(t *testing.T) {
	for _, wait := range []time.Duration{0, 1500 * time.Millisecond} {
		t.Run(wait.String(), func(t *testing.T) {
			inBubble(t, dynasession.Config{Concurrency: dynasession.Lock, LockWait: wait}, func(c *timed) {
				if wait == 0 {
					wait = dynasession.DefaultLockWait
				}
				b := newBrowser(c.t, c.visit(c.store, nil))
				b.ok("/new")
				deadHolder(c, time.Now().Add(dynasession.DefaultLockLease))
				locked := c.item()
				begin := time.Now()
				w := b.get("/")
				assert.Equal(c.t, wait, time.Since(begin))
				assert.Equal(c.t, http.StatusServiceUnavailable, w.Code)
				assert.NotEmpty(c.t, w.Header().Get("Retry-After"))
				assert.Equal(c.t, locked, c.item())

				sleepUntil(begin.Add(dynasession.DefaultLockLease + 2*time.Second))
				begin = time.Now()
				assert.Equal(c.t, "live", b.ok("/"))
				assert.Equal(c.t, begin, time.Now())
			})
		})
	}
}

func TestLockErrLockedIsTold(t *testing.T) {
	var told error
	cfg := dynasession.Config{
		Concurrency: dynasession.Lock, LockWait: time.Second,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			told = err
			w.WriteHeader(http.StatusTeapot)
		},
	}
	inBubble(t, cfg, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, nil))
		b.ok("/new")
		deadHolder(c, time.Now().Add(time.Hour))
		assert.Equal(c.t, http.StatusTeapot, b.get("/").Code)
		assert.ErrorIs(c.t, told, dynasession.ErrLocked)
	})
}

func TestLockIsGivenUpByAPanic(t *testing.T) {
	inBubble(t, dynasession.Config{Concurrency: dynasession.Lock}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, app{
			"/panic": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
				s.Set("n", 2)
				panic("of the handler")
			},
		}))
		b.ok("/new")
		before, begin := c.item(), time.Now()
		assert.PanicsWithValue(c.t, "of the handler", func() { b.get("/panic") })
		assert.Equal(c.t, before, c.item(), "nothing half-done is saved")
		assert.Equal(c.t, "live", b.ok("/"))
		assert.Equal(c.t, begin, time.Now(), "nobody waits")
	})
}

func TestLockOfPHPIsGivenAnEnd(t *testing.T) {
	const lease = 4 * time.Second
	inBubble(t, dynasession.Config{Concurrency: dynasession.Lock, LockLease: lease}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, nil))
		b.ok("/new")
		c.amend(c.item(), map[string]types.AttributeValue{"lock": num("1")})
		begin := time.Now()
		var wg sync.WaitGroup
		var body string
		wg.Go(func() { body = b.ok("/") })
		time.Sleep(time.Second)
		assert.Equal(c.t, strconv.FormatInt(begin.Add(lease).UnixMilli(), 10), attr(c.item(), "lock"))
		wg.Wait()
		assert.Equal(c.t, "live", body)
		took := time.Since(begin)
		assert.GreaterOrEqual(c.t, took, lease+2*time.Second)
		assert.Less(c.t, took, lease+2*time.Second+nextLook)
	})
}

func TestLockOfPHPGivenUpInTime(t *testing.T) {
	inBubble(t, dynasession.Config{Concurrency: dynasession.Lock}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, nil))
		b.ok("/new")
		item := c.item()
		c.amend(item, map[string]types.AttributeValue{"lock": num("1")})
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(c.t, "live", b.ok("/")) })
		time.Sleep(3 * time.Second)
		putItem(c.t, c.backend, c.table, item)
		wg.Wait()
		assert.Less(c.t, time.Since(begin), 3*time.Second+nextLook)
	})
}

func TestLockLost(t *testing.T) {
	t.Parallel()
	const lease = time.Second
	cfg := dynasession.Config{Concurrency: dynasession.Lock, LockLease: lease}
	hasty := cfg
	hasty.LockWait = 50 * time.Millisecond
	for _, processes := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d processes", processes), func(t *testing.T) {
			inTime(t, cfg, func(c *timed) {
				c.stop()
				var saved error
				var meanwhile func()
				slow := func(s *dynasession.Session, w http.ResponseWriter, r *http.Request) {
					s.Set("slow", true)
					meanwhile()
					if r.URL.Path == "/slow-save" {
						saved = s.Save(r.Context())
						return
					}
					write(w, "slow")
				}
				paths := app{
					"/slow": slow, "/slow-save": slow,
					"/fast": acts(func(s *dynasession.Session) { s.Set("fast", true) }),
				}
				h := c.visit(c.store, paths)
				other, leaving := h, c.visit(c.with(hasty), paths)
				if processes == 2 {
					other = c.visit(c.with(cfg), paths)
				}
				b := newBrowser(c.t, h)
				b.ok("/new")
				for _, path := range []string{"/slow", "/slow-save"} {
					var taken map[string]types.AttributeValue
					meanwhile = func() {
						begin := time.Now()
						for range 2 { // within the lease, and before the clocks of all servers are past its end
							assert.Equal(c.t, http.StatusServiceUnavailable, askAs(leaving, b.cookie(), "/fast").Code)
							c.pass(lease)
						}
						if !c.inBubble() { // where the waiter lets it pass
							c.pass(time.Second)
						}
						assert.Equal(c.t, http.StatusOK, askAs(other, b.cookie(), "/fast").Code)
						if c.inBubble() {
							took := time.Since(begin)
							assert.GreaterOrEqual(c.t, took, lease+2*time.Second)
							assert.Less(c.t, took, lease+2*time.Second+nextLook)
						}
						taken = c.item()
					}
					w := askAs(h, b.cookie(), path)
					assert.Equal(c.t, http.StatusConflict, w.Code)
					assert.NotContains(c.t, w.Body.String(), "slow")
					assert.Equal(c.t, taken, c.item(), "nothing is saved")
					assert.Contains(c.t, attr(c.item(), "data"), "fast")
				}
				assert.ErrorIs(c.t, saved, dynasession.ErrLockLost)
			})
		})
	}
}

func TestLeaseThatNobodyTookOverStillSaves(t *testing.T) {
	inBubble(t, dynasession.Config{Concurrency: dynasession.Lock, LockLease: time.Second}, func(c *timed) {
		b := newBrowser(c.t, c.visit(c.store, app{"/slow": acts(func(s *dynasession.Session) {
			s.Set("slow", true)
			time.Sleep(time.Minute)
		})}))
		b.ok("/new")
		b.ok("/slow")
		assert.Contains(c.t, attr(c.item(), "data"), "slow")
		assert.NotContains(c.t, c.item(), "lock")
	})
}

func TestLockGivesEverybodyATurn(t *testing.T) {
	t.Parallel()
	const requests, each = 50, 20 * time.Millisecond
	for _, processes := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d processes", processes), func(t *testing.T) {
			cfg := dynasession.Config{Concurrency: dynasession.Lock}
			inTime(t, cfg, func(c *timed) {
				paths := app{"/count": acts(func(s *dynasession.Session) {
					n, _ := dynasession.Get[int](s, "count")
					time.Sleep(each)
					s.Set("count", n+1)
				})}
				handlers := []http.Handler{c.visit(c.store, paths)}
				for len(handlers) < processes {
					handlers = append(handlers, c.visit(c.with(cfg), paths))
				}
				b := newBrowser(c.t, handlers[0])
				b.ok("/new")
				begin := time.Now()
				var wg sync.WaitGroup
				for i := range requests {
					wg.Go(func() {
						assert.Equal(c.t, http.StatusOK, askAs(handlers[i%processes], b.cookie(), "/count").Code)
					})
				}
				wg.Wait()
				took := time.Since(begin)
				assert.Less(c.t, took, dynasession.DefaultLockWait)
				assert.GreaterOrEqual(c.t, took, requests*each)
				if processes == 1 && c.inBubble() {
					assert.Equal(c.t, requests*each, took, "in one process nobody polls")
				}
				assert.Contains(c.t, attr(c.item(), "data"), fmt.Sprintf(`"count":%d`, requests))
			})
		})
	}
}

// expired makes sessions that have expired so long ago.
func expired(c *timed, ago ...time.Duration) {
	c.t.Helper()
	h := c.visit(c.store, nil)
	for range ago {
		newBrowser(c.t, h).ok("/new")
	}
	for i, item := range items(c.t, c.backend, c.table) {
		c.amend(item, map[string]types.AttributeValue{"expires": num(epochText(time.Now().Add(-ago[i])))})
	}
}

func TestSweepLeavesAMargin(t *testing.T) {
	inBubble(t, dynasession.Config{}, func(c *timed) {
		expired(c, -time.Minute, 0, 59*time.Second, 60*time.Second, 61*time.Second, time.Hour)
		now := time.Now()
		stats, err := c.store.Sweep(c.t.Context(), dynasession.SweepOptions{DryRun: true})
		require.NoError(c.t, err)
		assert.Equal(c.t, 2, stats.Expired)
		assert.Zero(c.t, stats.Deleted)
		n, err := c.store.GC(c.t.Context(), 0)
		require.NoError(c.t, err)
		assert.Equal(c.t, 2, n)
		assert.Equal(c.t, now, time.Now())
		var left []string
		for _, item := range items(c.t, c.backend, c.table) {
			left = append(left, attr(item, "expires"))
		}
		assert.ElementsMatch(c.t, []string{
			epochText(now.Add(time.Minute)), epochText(now), epochText(now.Add(-59 * time.Second)), epochText(now.Add(-60 * time.Second)),
		}, left)

		time.Sleep(time.Second)
		n, err = c.store.GC(c.t.Context(), 0)
		require.NoError(c.t, err)
		assert.Equal(c.t, 1, n)
	})
}

// twoClocks are an app on a server whose clock is ahead, and on one whose is behind.
type twoClocks struct {
	*timed
	apart         time.Duration
	ahead, behind http.Handler
	sweeping      *dynasession.Store // ahead
	inside        func()             // runs in a handler at /slow, between its load and its change
}

func clocksApart(t *testing.T, apart time.Duration, cfg dynasession.Config, f func(c *twoClocks)) {
	t.Helper()
	inTime(t, cfg, func(timed *timed) {
		timed.stop()
		c := &twoClocks{timed: timed, apart: apart, sweeping: timed.apart(cfg, apart/2)}
		paths := app{
			"/set":  acts(func(s *dynasession.Session) { s.Set("n", 2) }),
			"/slow": acts(func(s *dynasession.Session) { c.inside(); s.Set("slow", true) }),
			"/read": acts(func(*dynasession.Session) { c.inside() }),
		}
		c.ahead = c.visit(c.sweeping, paths)
		c.behind = c.visit(c.timed.apart(cfg, -apart/2), paths)
		f(c)
	})
}

func (c *twoClocks) nowAhead() time.Time  { return c.now().Add(c.apart / 2) }
func (c *twoClocks) nowBehind() time.Time { return c.now().Add(-c.apart / 2) }

func (c *twoClocks) end(name string) time.Time {
	return time.Unix(intAttr(c.t, c.item(), name), 0)
}

// TestClocksApart: for as long as their clocks are apart, two servers disagree about a session
// that is ending. What one of them calls expired it leaves to the other, which may extend it,
// but never past its absolute end.
func TestClocksApart(t *testing.T) {
	const idle, lifetime = 10 * time.Minute, 15 * time.Minute
	for _, apart := range []time.Duration{2 * time.Second, 30 * time.Second} { // tolerated, and more
		t.Run(apart.String(), func(t *testing.T) {
			clocksApart(t, apart, dynasession.Config{IdleTimeout: idle, Lifetime: lifetime}, func(c *twoClocks) {
				b := newBrowser(c.t, c.ahead)
				b.ok("/new")
				at := func(h http.Handler, path string) string { return askAs(h, b.cookie(), path).Body.String() }
				assert.Equal(c.t, "live", at(c.behind, "/"), "born in the future")
				until := c.end("until")

				c.pass(2 * time.Minute) // a touch is due
				c.inside = func() { at(c.ahead, "/") }
				at(c.behind, "/read")
				end := c.end("expires")
				assert.Equal(c.t, c.nowAhead().Add(idle), end, "not shortened by who is behind")

				c.pass(end.Sub(c.nowAhead()))
				left := c.item()
				w := askAs(c.ahead, b.cookie(), "/")
				assert.Equal(c.t, "new", w.Body.String())
				assert.Empty(c.t, w.Result().Cookies(), "the browser keeps the id")
				assert.Equal(c.t, left, c.item())
				assert.Equal(c.t, "live", at(c.behind, "/"))
				assert.Equal(c.t, until, c.end("expires"), "extended")
				assert.Equal(c.t, "live", at(c.ahead, "/"))

				c.pass(until.Sub(c.nowAhead()))
				assert.Equal(c.t, "new", at(c.ahead, "/"))
				assert.Equal(c.t, "done", at(c.behind, "/set"))
				assert.Equal(c.t, until, c.end("expires"))
				assert.Equal(c.t, until, c.end("until"))
				c.pass(until.Sub(c.nowBehind()))
				assert.Equal(c.t, "new", at(c.behind, "/"))
			})
		})
	}
}

// TestSweepBesideClocksApart: a sweep by a clock that is up to a minute ahead takes nothing that
// another server serves. Farther ahead it does; then the request there gets an error, and revives nothing.
func TestSweepBesideClocksApart(t *testing.T) {
	for _, test := range []struct {
		apart  time.Duration
		status int
		swept  int
	}{{2 * time.Second, http.StatusOK, 0}, {time.Minute, http.StatusOK, 0}, {62 * time.Second, http.StatusConflict, 1}} {
		t.Run(test.apart.String(), func(t *testing.T) {
			clocksApart(t, test.apart, dynasession.Config{}, func(c *twoClocks) {
				b := newBrowser(c.t, c.behind)
				b.ok("/new")
				c.pass(c.end("expires").Add(-time.Second).Sub(c.nowBehind())) // its last second there
				c.inside = func() {
					n, err := c.sweeping.GC(c.t.Context(), 0)
					assert.NoError(c.t, err)
					assert.Equal(c.t, test.swept, n)
				}
				assert.Equal(c.t, test.status, askAs(c.behind, b.cookie(), "/slow").Code)
				assert.Len(c.t, items(c.t, c.backend, c.table), 1-test.swept)
				want := "live"
				if test.swept == 1 {
					want = "new"
				}
				assert.Equal(c.t, want, askAs(c.behind, b.cookie(), "/").Body.String())
				assert.Equal(c.t, want, askAs(c.ahead, b.cookie(), "/").Body.String())
			})
		})
	}
}

// TestLeaseBesideClocksApart: a clock that is up to 2 s ahead takes no lease before its holder
// knows it to be over. One that is farther ahead does, and the holder gets an error.
func TestLeaseBesideClocksApart(t *testing.T) {
	const lease = 30 * time.Second
	cfg := dynasession.Config{Concurrency: dynasession.Lock, LockLease: lease}
	for _, test := range []struct {
		apart time.Duration
		early int
	}{{2 * time.Second, http.StatusServiceUnavailable}, {10 * time.Second, http.StatusOK}} {
		t.Run(test.apart.String(), func(t *testing.T) {
			clocksApart(t, test.apart, cfg, func(c *twoClocks) {
				b := newBrowser(c.t, c.behind)
				b.ok("/new")
				hasty := cfg
				hasty.LockWait = 50 * time.Millisecond
				leaving := c.visit(c.timed.apart(hasty, test.apart/2), app{"/set": acts(func(s *dynasession.Session) { s.Set("n", 2) })})
				var taken map[string]types.AttributeValue
				c.inside = func() {
					c.pass(lease - 100*time.Millisecond)
					assert.Equal(c.t, test.early, askAs(leaving, b.cookie(), "/set").Code)
					c.pass(200 * time.Millisecond)
					assert.Equal(c.t, http.StatusOK, askAs(c.ahead, b.cookie(), "/set").Code)
					taken = c.item()
				}
				assert.Equal(c.t, http.StatusConflict, askAs(c.behind, b.cookie(), "/slow").Code)
				assert.Equal(c.t, taken, c.item())
			})
		})
	}
}

func TestSweepOfUnusedSessions(t *testing.T) {
	const idle, touch, unused = time.Hour, time.Minute, 10 * time.Minute
	inBubble(t, dynasession.Config{IdleTimeout: idle, TouchAfter: touch}, func(c *timed) {
		h := c.visit(c.store, nil)
		lost, kept := newBrowser(c.t, h), newBrowser(c.t, h)
		lost.ok("/new")
		kept.ok("/new")
		made := time.Now()
		gc := func() int {
			n, err := c.store.GC(c.t.Context(), unused)
			require.NoError(c.t, err)
			return n
		}
		sleepUntil(made.Add(touch))
		kept.ok("/")
		sleepUntil(made.Add(unused + touch))
		assert.Zero(c.t, gc(), "it may have been used a moment before the touch was due")
		sleepUntil(made.Add(unused + touch + time.Second))
		assert.Equal(c.t, 1, gc())
		assert.Equal(c.t, "new", lost.ok("/"))
		assert.Len(c.t, items(c.t, c.backend, c.table), 1)
		sleepUntil(made.Add(unused + 2*touch))
		assert.Zero(c.t, gc())
		sleepUntil(made.Add(unused + 2*touch + time.Second))
		assert.Equal(c.t, 1, gc())
		assert.Empty(c.t, items(c.t, c.backend, c.table))
	})
}

func TestSweepKeepsToItsRate(t *testing.T) {
	const sessions = 40
	for _, rate := range []float64{1, 7.5, 1000} {
		for _, segments := range []int{1, 4} {
			t.Run(fmt.Sprintf("%v units in %d segments", rate, segments), func(t *testing.T) {
				inBubble(t, dynasession.Config{}, func(c *timed) {
					ago := make([]time.Duration, sessions)
					for i := range ago {
						ago[i] = time.Hour
					}
					expired(c, ago...)
					begin := time.Now()
					stats, err := c.store.Sweep(c.t.Context(), dynasession.SweepOptions{UnitsPerSecond: rate, Segments: segments})
					require.NoError(c.t, err)
					assert.Equal(c.t, sessions, stats.Deleted)
					assert.GreaterOrEqual(c.t, stats.WriteUnits, float64(sessions))
					assert.Positive(c.t, stats.ReadUnits)
					assert.InDelta(c.t, (stats.ReadUnits+stats.WriteUnits)/rate, time.Since(begin).Seconds(), 0.001)
				})
			})
		}
	}
}

// signIn returns a browser of user's.
func signIn(c *timed, user string) *browser {
	c.t.Helper()
	b := newBrowser(c.t, c.visit(c.store, app{
		"/in":    acts(func(s *dynasession.Session) { s.SetUser(user) }),
		"/renew": acts(func(s *dynasession.Session) { s.Renew() }),
	}))
	b.ok("/in")
	return b
}

// destroyAda ends ada's sessions, of which there are n, in passes with so many pauses between.
func destroyAda(c *timed, n, pauses int) {
	c.t.Helper()
	begin := time.Now()
	ended, err := c.store.DestroyUser(c.t.Context(), "ada", nil)
	took := time.Since(begin)
	require.NoError(c.t, err)
	assert.Equal(c.t, n, ended)
	assert.GreaterOrEqual(c.t, took, time.Duration(pauses)*time.Second)
	if c.inBubble() {
		assert.Less(c.t, took, time.Duration(pauses)*1250*time.Millisecond)
	}
}

func TestDestroyUserFollowsALaggingIndex(t *testing.T) {
	t.Parallel()
	inTime(t, dynasession.Config{}, func(c *timed) {
		seen := signIn(c, "ada")
		var unseen *browser
		lagIndex(c.t, c.backend, c.table, "ada", 1, "Query", 2, func() {
			assert.Equal(c.t, "new", seen.ok("/"), "the first pass")
			assert.Equal(c.t, "live", unseen.ok("/"))
		})
		unseen = signIn(c, "ada")
		other := signIn(c, "bob")
		destroyAda(c, 2, 3) // two passes that find something, two that do not
		assert.Equal(c.t, "new", unseen.ok("/"))
		assert.Equal(c.t, "live", other.ok("/"))
	})
}

func TestDestroyUserAsksTwiceThoughNothingIsThere(t *testing.T) {
	t.Parallel()
	inTime(t, dynasession.Config{}, func(c *timed) {
		var begin time.Time
		lagIndex(c.t, c.backend, c.table, "ada", 1, "Query", 2, func() {
			assert.GreaterOrEqual(c.t, time.Since(begin), time.Second, "so long the index has to follow")
		})
		b := signIn(c, "ada")
		begin = time.Now()
		destroyAda(c, 1, 3)
		assert.Equal(c.t, "new", b.ok("/"))
	})
}

func TestDestroyUserTakesTwoQuietAnswers(t *testing.T) {
	t.Parallel()
	inTime(t, dynasession.Config{}, func(c *timed) {
		lagIndex(c.t, c.backend, c.table, "ada", 100, "", 0, nil)
		b := signIn(c, "ada")
		destroyAda(c, 0, 1) // the index never showed it
		assert.Equal(c.t, "live", b.ok("/"))
	})
}

// TestDestroyUserBesideARenewal: a session that is under a new id before it could be deleted
// under the old one ends all the same.
func TestDestroyUserBesideARenewal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		unseen  bool // nor does the index show the sign-in
		lags    int  // queries
		renewed string
		nth     int
		pauses  int
	}{
		{"between two passes, of which the first saw nothing", true, 1, "Query", 2, 3},
		{"before a pass reads what the index shows", false, 2, "BatchGetItem", 1, 4},
		{"before a pass deletes what it has read", false, 1, "DeleteItem", 1, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			inTime(t, dynasession.Config{}, func(c *timed) {
				var b *browser
				lag := func() {
					lagIndex(c.t, c.backend, c.table, "ada", test.lags, test.renewed, test.nth, func() { b.ok("/renew") })
				}
				if test.unseen {
					lag()
				}
				b = signIn(c, "ada")
				if !test.unseen {
					lag()
				}
				old := b.cookie()
				destroyAda(c, 1, test.pauses)
				assert.NotEqual(c.t, old, b.cookie())
				assert.Equal(c.t, "new", b.ok("/"))
				assert.Empty(c.t, items(c.t, c.backend, c.table))
			})
		})
	}
}

// TestTouchOfADeadItem: what has expired meanwhile is not revived by a request that only reads.
func TestTouchOfADeadItem(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := newScene(t, b, dynasession.Config{Concurrency: policy})
		sc.age()
		var dead map[string]types.AttributeValue
		sc.inside = func() {
			sc.edit(func(item map[string]types.AttributeValue) { item["expires"] = in(-time.Second) })
			dead = sc.item()
		}
		assert.Equal(t, "n token", sc.ok("/read"))
		assert.Equal(t, unlocked(dead), unlocked(sc.item()))
		assert.NotContains(t, sc.item(), "lock")
	})
}

// TestEndPassesWhileARequestRuns: the absolute end counts for the save, though PHP has moved
// the expiry.
func TestEndPassesWhileARequestRuns(t *testing.T) {
	for _, policy := range policies {
		for _, path := range []string{"/set?mine", "/login?alice", "/pop", "/read"} {
			subBubble(t, policy.String()+path, func(t *testing.T) {
				b := embedded(t)
				sc := newScene(t, b, dynasession.Config{Concurrency: policy})
				sc.edit(func(item map[string]types.AttributeValue) {
					item["until"], item["expires"] = in(2*time.Second), in(2*time.Second)
				})
				var ended map[string]types.AttributeValue
				sc.inside = func() {
					time.Sleep(2100 * time.Millisecond)
					sc.edit(func(item map[string]types.AttributeValue) { item["expires"] = in(time.Hour) })
					ended = sc.item()
				}
				w := sc.get(path)
				if path != "/read" {
					assert.Equal(t, http.StatusConflict, w.Code)
				}
				assert.Equal(t, unlocked(ended), unlocked(sc.item()))
			})
		}
	}
}

// TestExpiresAfterLifetimeWasLowered: Expires tells no time at which the session is dead.
func TestExpiresAfterLifetimeWasLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := embedded(t)
		sc := newScene(t, b, dynasession.Config{Lifetime: 24 * time.Hour, IdleTimeout: 3 * time.Hour})
		lowered, err := dynasession.New(b.client, dynasession.Config{Table: sc.table, Lifetime: 2 * time.Hour})
		require.NoError(t, err)
		var ends time.Time
		sc.handler = lowered.Middleware(app{"/": func(s *session, _ http.ResponseWriter, r *http.Request) {
			s.Set("at", time.Now())
			require.NoError(t, s.Save(r.Context()))
			ends = s.Expires()
		}})
		time.Sleep(90 * time.Minute)
		sc.ok("/")
		assert.Equal(t, 30*time.Minute, time.Until(ends).Round(time.Second))
	})
}

// TestSameEndAgain: what asks for the end that the session has costs no write.
func TestSameEndAgain(t *testing.T) {
	sc := newScene(t, embedded(t), dynasession.Config{})
	end := time.Now().Add(30 * time.Minute)
	sc.paths["/limit"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
		s.Remember(0)
		s.LimitTo(end)
		s.LimitTo(end.Add(time.Minute))
	}
	sc.ok("/limit")
	before := sc.item()
	assert.Equal(t, strconv.FormatInt(end.Unix(), 10), attr(before, "limit"))
	sc.ok("/limit")
	assert.Equal(t, before, sc.item())
	end = end.Add(-time.Minute)
	sc.ok("/limit")
	assert.Equal(t, strconv.FormatInt(end.Unix(), 10), attr(sc.item(), "limit"))
}
