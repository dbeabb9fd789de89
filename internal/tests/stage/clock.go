package stage

import (
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/testhook"
)

// A Timed is a store with a table of its own and a clock that the test can stop.
type Timed struct {
	*Backend
	T     *testing.T
	Table string
	Store *dynasession.Store

	stopped time.Time    // the time at which Stop stopped the clock; zero if it runs
	passed  atomic.Int64 // nanoseconds that Pass added since then
}

func newTimed(t *testing.T, b *Backend, cfg dynasession.Config) *Timed {
	t.Helper()
	c := &Timed{Backend: b, T: t, Table: NewTable()}
	c.Store = c.With(cfg)
	return c
}

// InBubble runs f with the embedded DynamoDB, in a synctest bubble, at the beginning of a second.
func InBubble(t *testing.T, cfg dynasession.Config, f func(c *Timed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newTimed(t, Embedded(t), cfg)
		SleepUntil(time.Now().Truncate(time.Second).Add(time.Second))
		f(c)
	})
}

// InTime runs f in a bubble and with DynamoDB Local.
func InTime(t *testing.T, cfg dynasession.Config, f func(c *Timed)) {
	t.Helper()
	EachInTime(t, func(t *testing.T, b *Backend) { f(newTimed(t, b, cfg)) })
}

// InBubble reports whether f runs in a bubble. Elsewhere, measured times depend on what else the machine does.
func (c *Timed) InBubble() bool { return c.Server != nil }

// Stop stops the clock of c's stores at the beginning of a second. After that, only Pass moves it.
func (c *Timed) Stop() {
	at := time.Now().Truncate(time.Second).Add(time.Second)
	if c.InBubble() {
		SleepUntil(at)
	} else {
		c.stopped = at
	}
}

// Now returns the time by the clock of c's stores.
func (c *Timed) Now() time.Time {
	if c.stopped.IsZero() {
		return time.Now()
	}
	return c.stopped.Add(time.Duration(c.passed.Load()))
}

// Pass moves the clock forward by d. In a bubble, it sleeps.
func (c *Timed) Pass(d time.Duration) {
	if c.InBubble() {
		time.Sleep(d)
	} else {
		c.passed.Add(int64(d))
	}
}

// NextLook is longer than a waiter takes to notice that a lock is free: it waits up to 150 ms between two reads and
// up to 80 ms before the second one, and as long again if another waiter gets the lock first.
const NextLook = 400 * time.Millisecond

// With returns another store on the same table.
func (c *Timed) With(cfg dynasession.Config) *dynasession.Store {
	c.T.Helper()
	return c.Apart(cfg, 0)
}

// Apart returns another store on the same table, whose clock is ahead by the given duration.
func (c *Timed) Apart(cfg dynasession.Config, by time.Duration) *dynasession.Store {
	c.T.Helper()
	cfg.Table = c.Table
	s := NewStore(c.T, c.Backend, cfg)
	testhook.SetClock(s, func() time.Time { return c.Now().Add(by) })
	return s
}

// Item returns the only item of the table.
func (c *Timed) Item() map[string]types.AttributeValue {
	c.T.Helper()
	return OnlyItem(c.T, c.Backend, c.Table)
}

// Amend stores item with the given attributes changed.
func (c *Timed) Amend(item, with map[string]types.AttributeValue) {
	c.T.Helper()
	item = maps.Clone(item)
	maps.Copy(item, with)
	PutItem(c.T, c.Backend, c.Table, item)
}

// SleepUntil sleeps until at.
func SleepUntil(at time.Time) { time.Sleep(time.Until(at)) }

// Visit returns an app that creates a session at /new and, at /, writes whether there is one. The paths of more are
// added.
func (c *Timed) Visit(store *dynasession.Store, more App) http.Handler {
	all := App{
		"/new": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
			s.Set("n", 1)
			Write(w, "made")
		},
		"/": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
			switch {
			case !s.IsNew():
				Write(w, "live")
			case len(s.Keys()) > 0 || s.ID() != "" || s.User() != "":
				Write(w, "new, but not empty")
			default:
				Write(w, "new")
			}
		},
	}
	maps.Copy(all, more)
	return store.Middleware(all)
}

// TouchRest is how long a store does not touch any session after a touch failed.
const TouchRest = 5 * time.Second

// TwoClocks is an app on two servers, one with a clock that is ahead and one with a clock that is behind.
type TwoClocks struct {
	*Timed
	apart         time.Duration
	Ahead, Behind http.Handler
	Sweeping      *dynasession.Store // its clock is ahead
	Inside        func()             // runs in the handlers of /slow and /read, after the load
}

// ClocksApart runs f with two servers whose clocks differ by apart.
func ClocksApart(t *testing.T, apart time.Duration, cfg dynasession.Config, f func(c *TwoClocks)) {
	t.Helper()
	InTime(t, cfg, func(timed *Timed) {
		timed.Stop()
		c := &TwoClocks{Timed: timed, apart: apart, Sweeping: timed.Apart(cfg, apart/2)}
		paths := App{
			"/set":  Handle(func(s *dynasession.Session) { s.Set("n", 2) }),
			"/slow": Handle(func(s *dynasession.Session) { c.Inside(); s.Set("slow", true) }),
			"/read": Handle(func(*dynasession.Session) { c.Inside() }),
		}
		c.Ahead = c.Visit(c.Sweeping, paths)
		c.Behind = c.Visit(c.Apart(cfg, -apart/2), paths)
		f(c)
	})
}

// NowAhead returns the time by the clock that is ahead.
func (c *TwoClocks) NowAhead() time.Time { return c.Now().Add(c.apart / 2) }

// NowBehind returns the time by the clock that is behind.
func (c *TwoClocks) NowBehind() time.Time { return c.Now().Add(-c.apart / 2) }

// End returns the time in an attribute of the only item.
func (c *TwoClocks) End(name string) time.Time {
	return time.Unix(IntAttr(c.T, c.Item(), name), 0)
}
