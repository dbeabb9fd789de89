package expiry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestRememberOutlivesIdleAndLifetime(t *testing.T) {
	const d = 30 * 24 * time.Hour
	remember := stage.App{"/remember": stage.Handle(func(s *dynasession.Session) { s.Remember(d) })}
	for _, used := range []bool{false, true} {
		t.Run(fmt.Sprintf("used=%v", used), func(t *testing.T) {
			stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
				h := c.Visit(c.Store, remember)
				b := stage.NewBrowser(c.T, h)
				b.OK("/new")
				time.Sleep(10 * time.Minute)
				w := b.Get("/remember")
				assert.Equal(c.T, int(d/time.Second), stage.OnlyCookie(c.T, w).MaxAge)
				end := time.Now().Add(d)
				assert.Equal(c.T, stage.EpochText(end), stage.Attr(c.Item(), "expires"))
				id := b.Cookie()
				require.NotEmpty(c.T, id)
				c.Calls.Take()
				for used && time.Until(end) > 12*time.Hour {
					time.Sleep(12 * time.Hour)
					require.Equal(c.T, "live", b.OK("/"))
				}
				for _, op := range c.Calls.Take() {
					require.Equal(c.T, "GetItem", op, "there is nothing to extend")
				}
				stage.SleepUntil(end.Add(-time.Second))
				assert.Equal(c.T, "live", b.OK("/"))
				stage.SleepUntil(end)
				assert.Empty(c.T, b.Cookie(), "the browser drops the cookie")
				assert.Equal(c.T, "new", stage.Ask(h, id, "/").Body.String())
			})
		})
	}
}

func TestRememberUndone(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		h := c.Visit(c.Store, stage.App{
			"/remember": stage.Handle(func(s *dynasession.Session) { s.Remember(48 * time.Hour) }),
			"/forget":   stage.Handle(func(s *dynasession.Session) { s.Remember(0) }),
		})
		b := stage.NewBrowser(c.T, h)
		b.OK("/new")
		made := time.Now()
		b.OK("/remember")
		time.Sleep(10 * time.Hour)
		w := b.Get("/forget")
		assert.Zero(c.T, stage.OnlyCookie(c.T, w).MaxAge, "it ends with the browser again")
		item := c.Item()
		assert.Equal(c.T, stage.EpochText(made.Add(dynasession.DefaultLifetime)), stage.Attr(item, "until"))
		assert.Equal(c.T, stage.EpochText(time.Now().Add(dynasession.DefaultIdleTimeout)), stage.Attr(item, "expires"))
		assert.NotContains(c.T, item, "idle")
		time.Sleep(dynasession.DefaultIdleTimeout - time.Second)
		assert.Equal(c.T, "live", stage.Ask(h, b.Cookie(), "/").Body.String())
		for time.Since(made) < dynasession.DefaultLifetime-30*time.Minute {
			time.Sleep(30 * time.Minute)
			b.OK("/")
		}
		stage.SleepUntil(made.Add(dynasession.DefaultLifetime))
		assert.Equal(c.T, "new", b.OK("/"))
	})
}

func TestRememberUndoneAfterLifetimeEnds(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		h := c.Visit(c.Store, stage.App{
			"/remember": stage.Handle(func(s *dynasession.Session) { s.Remember(48 * time.Hour) }),
			"/forget":   stage.Handle(func(s *dynasession.Session) { s.Remember(-time.Second) }),
		})
		b := stage.NewBrowser(c.T, h)
		b.OK("/new")
		b.OK("/remember")
		time.Sleep(30 * time.Hour)
		require.Equal(c.T, "live", b.OK("/"))
		b.Get("/forget")
		assert.Equal(c.T, "new", b.OK("/"))
	})
}

// TestSignInAfterRemember: a remembered user signs in again, without "remember me".
func TestSignInAfterRemember(t *testing.T) {
	stage.InTime(t, dynasession.Config{}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{
			"/remember": stage.Handle(func(s *dynasession.Session) { s.SetUser("alice"); s.Remember(30 * 24 * time.Hour) }),
			"/sign-in":  stage.Handle(func(s *dynasession.Session) { s.Remember(0); s.SetUser("alice"); s.Set("k", 1) }),
			"/user":     stage.Handle(func(s *dynasession.Session) { assert.Equal(c.T, "alice", s.User()) }),
		}))
		c.Stop()
		b.OK("/new")
		b.OK("/remember")
		c.Pass(48 * time.Hour)
		b.OK("/sign-in")
		b.OK("/user")
		c.Pass(23*time.Hour + 30*time.Minute) // of the 24 of Lifetime
		assert.Equal(c.T, "new", b.OK("/"), "idle for longer than an hour")
	})
}

// TestRememberShorterThanTheHandler: as with a limit that has passed, nothing is stored that
// nobody would see again.
func TestRememberShorterThanTheHandler(t *testing.T) {
	stage.InTime(t, dynasession.Config{}, func(c *stage.Timed) {
		slow := stage.Handle(func(s *dynasession.Session) {
			s.Remember(time.Second)
			c.Pass(2 * time.Second)
		})
		b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{"/slow": slow}))
		c.Stop()
		b.OK("/new")
		b.OK("/slow")
		assert.Empty(c.T, b.Cookie())
		assert.Empty(c.T, stage.Items(c.T, c.Backend, c.Table))
	})
}
