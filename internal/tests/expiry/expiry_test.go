package expiry_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestShortenedIdleTimeout: beyond the margin for clocks the setting of the server counts that is asked.
func TestShortenedIdleTimeout(t *testing.T) {
	long := 12 * time.Hour
	for _, policy := range stage.Policies {
		for name, spoil := range map[string]func(c *stage.Timed, item map[string]types.AttributeValue){
			"made under 12 h": func(*stage.Timed, map[string]types.AttributeValue) {},
			"a clock that was off": func(c *stage.Timed, item map[string]types.AttributeValue) {
				item["expires"] = stage.Num(stage.EpochText(c.Now().Add(70 * time.Minute)))
			},
			"in milliseconds": func(c *stage.Timed, item map[string]types.AttributeValue) {
				item["expires"] = stage.Milliseconds(c.Now().Add(10 * time.Minute))
			},
		} {
			for _, use := range []string{"/", "/set", "UpdateTimestamp", "Write"} {
				t.Run(fmt.Sprintf("%v, %s, %s", policy, name, use), func(t *testing.T) {
					stage.InTime(t, dynasession.Config{Concurrency: policy, IdleTimeout: long, Lifetime: 2 * long}, func(c *stage.Timed) {
						c.Stop()
						set := stage.App{"/set": stage.Handle(func(s *dynasession.Session) { s.Set("n", 2) })}
						br := stage.NewBrowser(c.T, c.Visit(c.Store, set))
						br.OK("/new")
						id := stage.IDOf(br)
						item := c.Item()
						spoil(c, item)
						stage.PutItem(c.T, c.Backend, c.Table, item)
						short := c.With(dynasession.Config{Concurrency: policy, IdleTimeout: 10 * time.Minute, Lifetime: 2 * long})
						br.Handler = c.Visit(short, set)
						c.Calls.Take()
						switch use {
						case "UpdateTimestamp":
							require.NoError(c.T, short.UpdateTimestamp(c.T.Context(), id))
						case "Write":
							require.NoError(c.T, short.Write(c.T.Context(), id, []byte(`{}`)))
						default:
							br.OK(use)
							assert.Equal(c.T, []string{stage.LoadCall(policy), "UpdateItem"}, c.Calls.Take(), "a touch, no call more")
						}
						assert.Equal(c.T, stage.EpochText(c.Now().Add(10*time.Minute)), stage.Attr(c.Item(), "expires"))
						br.OK("/")
						assert.Equal(c.T, stage.EpochText(c.Now().Add(10*time.Minute)), stage.Attr(c.Item(), "expires"))
						c.Pass(time.Hour)
						assert.Equal(c.T, "new", br.OK("/"))
					})
				})
			}
		}
	}
}

// TestTwoIdleTimeouts: while a deploy changes IdleTimeout, each use counts by the setting of its server.
func TestTwoIdleTimeouts(t *testing.T) {
	for _, policy := range stage.Policies {
		settings := []time.Duration{10 * time.Minute, 12 * time.Hour}
		stage.InTime(t, dynasession.Config{Concurrency: policy, IdleTimeout: settings[1]}, func(c *stage.Timed) {
			c.Stop()
			handlers := []http.Handler{c.Visit(c.With(dynasession.Config{Concurrency: policy, IdleTimeout: settings[0]}), nil), c.Visit(c.Store, nil)}
			br := stage.NewBrowser(c.T, handlers[1])
			br.OK("/new")
			for n := range 10 {
				c.Pass(time.Minute)
				c.Calls.Take()
				br.Handler = handlers[n%2]
				assert.Equal(c.T, "live", br.OK("/"))
				assert.Equal(c.T, []string{stage.LoadCall(policy), "UpdateItem"}, c.Calls.Take())
				assert.Equal(c.T, stage.EpochText(c.Now().Add(settings[n%2])), stage.Attr(c.Item(), "expires"))
			}
		})
	}
}

// TestLoweredByTwoClocks: of two servers that lower an expiry which is too far away, the one whose clock is behind
// does not end the session before the other's use has.
func TestLoweredByTwoClocks(t *testing.T) {
	const idle = 10 * time.Minute
	for _, policy := range stage.Policies {
		for _, path := range []string{"/slow", "/write"} {
			if policy == dynasession.Lock && path == "/slow" {
				continue // the other request waits until this one has saved
			}
			t.Run(fmt.Sprintf("%v%s", policy, path), func(t *testing.T) {
				stage.ClocksApart(t, 30*time.Second, dynasession.Config{Concurrency: policy, IdleTimeout: idle}, func(c *stage.TwoClocks) {
					b := stage.NewBrowser(c.T, c.Ahead)
					b.OK("/new")
					item := c.Item()
					item["expires"] = stage.Num(stage.EpochText(c.Now().Add(12 * time.Hour)))
					stage.PutItem(c.T, c.Backend, c.Table, item)
					lower := func() { stage.Ask(c.Ahead, b.Cookie(), "/") }
					if path == "/write" {
						behind := c.Apart(dynasession.Config{Concurrency: policy, IdleTimeout: idle}, -15*time.Second)
						first := true
						c.Calls.Intercept(func(call *stage.Call) (*http.Response, error) {
							res, err := call.Send()
							if first { // it is refused and shows the expiry; what comes of that is late
								first = false
								lower()
							}
							return res, err
						})
						require.NoError(c.T, behind.Write(c.T.Context(), stage.IDOf(b), []byte(`{}`)))
					} else {
						c.Inside = lower
						stage.Ask(c.Behind, b.Cookie(), path)
					}
					assert.Equal(c.T, stage.EpochText(c.NowAhead().Add(idle)), stage.Attr(c.Item(), "expires"))
				})
			})
		}
	}
}

func TestProtocolTouchAfterLimitTo(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.LastWriteWins} {
			t.Run(policy.String(), func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
				sc.Age()
				sc.Inside = func() { sc.Twin().OK("/limit") }
				assert.Equal(t, "n token", sc.OK("/read"))
				item := sc.Item()
				assert.LessOrEqual(t, stage.IntAttr(t, item, "expires"), stage.IntAttr(t, item, "until"))
				assert.LessOrEqual(t, stage.IntAttr(t, item, "until"), time.Now().Add(30*time.Minute).Unix())
				sc.NoneFailed()
			})
		}
	})
}

// TestProtocolExpiresAloneProvesNothing: PHP moves expires without a look at until.
func TestProtocolExpiresAloneProvesNothing(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, name := range []string{"until", "born"} {
			t.Run(name, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
				sc.Edit(func(item map[string]types.AttributeValue) {
					item["expires"] = stage.In(time.Hour)
					item["until"] = stage.In(time.Hour)
					item[name] = stage.In(-25 * time.Hour)
				})
				old := sc.Twin()
				before := sc.Item()
				assert.Equal(t, "none", sc.OK("/read"))
				assert.Equal(t, before, sc.Item(), "nor is it locked or changed")
				_, err := sc.Store.Read(t.Context(), stage.IDOf(old))
				require.ErrorIs(t, err, dynasession.ErrNotFound)
			})
		}
		if policy == dynasession.LastWriteWins { // never sees what others wrote
			return
		}
		t.Run("inside", func(t *testing.T) {
			sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
			var moved map[string]types.AttributeValue
			sc.Inside = func() {
				sc.Edit(func(item map[string]types.AttributeValue) {
					item["until"], item["rev"] = stage.In(-time.Second), stage.Num("7")
				})
				moved = sc.Item()
			}
			sc.Failed(sc.Get("/set?mine"), http.StatusConflict, dynasession.ErrGone)
			assert.Equal(t, stage.Unlocked(moved), stage.Unlocked(sc.Item()))
		})
	})
}

// TestProtocolEndSetMeanwhile: what is saved onto a session that another request has ended
// by LimitTo is not there, so that the client must not hear that it is.
func TestProtocolEndSetMeanwhile(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.LastWriteWins} {
			table := stage.NewTable()
			s := stage.NewStore(t, b, dynasession.Config{Table: table, Concurrency: policy})
			br := stage.NewBrowser(t, nil)
			br.Handler = s.Middleware(stage.App{"/set": stage.DoSet, "/slow": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
				item := stage.OnlyItem(t, b, table)
				item["until"], item["rev"] = stage.Num("1000000000"), stage.Num("7") // and PHP has moved expires
				stage.PutItem(t, b, table, item)
				s.Set("key", "slow")
			}})
			br.OK("/set?1")
			require.Equal(t, http.StatusConflict, br.Get("/slow").Code, policy)
		}
	})
}

func TestIdleTimeoutToTheSecond(t *testing.T) {
	const idle = 10 * time.Minute
	for _, test := range []struct {
		after time.Duration
		want  string
	}{{idle - time.Second, "live"}, {idle - time.Nanosecond, "live"}, {idle, "new"}, {idle + time.Second, "new"}} {
		t.Run(test.after.String(), func(t *testing.T) {
			stage.InBubble(t, dynasession.Config{IdleTimeout: idle}, func(c *stage.Timed) {
				b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
				b.OK("/new")
				assert.Equal(c.T, stage.EpochText(time.Now().Add(idle)), stage.Attr(c.Item(), "expires"))
				time.Sleep(test.after)
				assert.Equal(c.T, test.want, b.OK("/"))
			})
		})
	}
}

func TestIdleSessionIsReplaced(t *testing.T) {
	stage.InBubble(t, dynasession.Config{IdleTimeout: time.Minute}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
		b.OK("/new")
		old, oldItem := stage.IDOf(b), c.Item()
		time.Sleep(time.Minute)
		c.Calls.Take()
		require.Equal(c.T, "new", b.OK("/"))
		reads := []string{"GetItem"}
		if *stage.WithEventualReads { // a dead session is asked for again, strongly
			reads = []string{"GetItem", "GetItem"}
		}
		assert.Equal(c.T, reads, c.Calls.Take())
		assert.Equal(c.T, oldItem, c.Item(), "the item of a dead session is left to TTL")

		b.OK("/new")
		assert.NotEqual(c.T, old, stage.IDOf(b))
		assert.Equal(c.T, "live", b.OK("/"))
		assert.Len(c.T, stage.Items(c.T, c.Backend, c.Table), 2)
		_, err := c.Store.Read(c.T.Context(), old)
		assert.ErrorIs(c.T, err, dynasession.ErrNotFound)
	})
}

func TestLifetimeIsAbsolute(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{
			"/in":    stage.Handle(func(s *dynasession.Session) { s.SetUser("ada") }),
			"/renew": stage.Handle(func(s *dynasession.Session) { s.Renew() }),
			"/set":   stage.Handle(func(s *dynasession.Session) { s.Set("at", time.Now()) }),
		}))
		b.OK("/new")
		made := time.Now()
		end := made.Add(dynasession.DefaultLifetime)
		for at := made.Add(time.Minute); at.Before(end); at = at.Add(time.Minute) {
			stage.SleepUntil(at)
			path := "/"
			switch at.Sub(made) {
			case 6 * time.Hour:
				path = "/in"
			case 12 * time.Hour:
				path = "/renew"
			case 18 * time.Hour:
				path = "/set"
			}
			id := b.Cookie()
			body := b.OK(path)
			require.Contains(c.T, []string{"live", "done"}, body, at.Sub(made).String())
			if path == "/in" || path == "/renew" {
				require.NotEqual(c.T, id, b.Cookie())
			}
			item := c.Item()
			require.Equal(c.T, stage.EpochText(made), stage.Attr(item, "born"))
			require.Equal(c.T, stage.EpochText(end), stage.Attr(item, "until"))
		}
		stage.SleepUntil(end.Add(-time.Second))
		assert.Equal(c.T, "live", b.OK("/"))
		assert.Equal(c.T, stage.EpochText(end), stage.Attr(c.Item(), "expires"))
		stage.SleepUntil(end)
		assert.Equal(c.T, "new", b.OK("/"))
	})
}

func TestLifetimeOfTheLatestConfigCounts(t *testing.T) {
	stage.InBubble(t, dynasession.Config{IdleTimeout: time.Hour, Lifetime: 10 * time.Hour}, func(c *stage.Timed) {
		long := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
		long.OK("/new")
		made := time.Now()
		short := c.Visit(c.With(dynasession.Config{Lifetime: 30 * time.Minute}), nil)
		stage.SleepUntil(made.Add(30*time.Minute - time.Second))
		assert.Equal(c.T, "live", stage.Ask(short, long.Cookie(), "/").Body.String())
		stage.SleepUntil(made.Add(30 * time.Minute))
		assert.Equal(c.T, "new", stage.Ask(short, long.Cookie(), "/").Body.String())
		assert.Equal(c.T, "live", long.OK("/"))
	})
}

func TestLimitToCapsRemember(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		var limit time.Time
		h := c.Visit(c.Store, stage.App{
			"/limit":    stage.Handle(func(s *dynasession.Session) { s.LimitTo(limit) }),
			"/remember": stage.Handle(func(s *dynasession.Session) { s.Remember(30 * 24 * time.Hour) }),
		})
		b := stage.NewBrowser(c.T, h)
		b.OK("/new")
		limit = time.Now().Add(40 * time.Hour) // beyond Lifetime
		b.OK("/limit")
		time.Sleep(10 * time.Minute)
		w := b.Get("/remember")
		assert.Equal(c.T, int(time.Until(limit)/time.Second), stage.OnlyCookie(c.T, w).MaxAge)
		id := b.Cookie()
		stage.SleepUntil(limit.Add(-time.Second))
		assert.Equal(c.T, "live", stage.Ask(h, id, "/").Body.String())
		stage.SleepUntil(limit)
		assert.Equal(c.T, "new", stage.Ask(h, id, "/").Body.String())
	})
}

func TestLimitToEndsAtTheSecondAndNeverMovesLater(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		var limit time.Time
		h := c.Visit(c.Store, stage.App{
			"/limit": stage.Handle(func(s *dynasession.Session) { s.LimitTo(limit) }),
			"/zero":  stage.Handle(func(s *dynasession.Session) { s.LimitTo(time.Time{}) }),
		})
		b := stage.NewBrowser(c.T, h)
		b.OK("/new")
		end := time.Now().Add(90 * time.Minute)
		for _, limit = range []time.Time{end.Add(time.Hour), end, end.Add(time.Minute), end.Add(100 * time.Hour)} {
			b.OK("/limit")
		}
		b.OK("/zero")
		assert.Equal(c.T, stage.EpochText(end), stage.Attr(c.Item(), "until"))
		assert.Equal(c.T, stage.EpochText(end), stage.Attr(c.Item(), "limit"))
		for time.Until(end) > 10*time.Minute {
			time.Sleep(5 * time.Minute)
			require.Equal(c.T, "live", b.OK("/"))
		}
		stage.SleepUntil(end.Add(-time.Second))
		assert.Equal(c.T, "live", b.OK("/"))
		stage.SleepUntil(end)
		assert.Equal(c.T, "new", b.OK("/"))
	})
}

func TestLimitToBeyondLifetimeStretchesNothing(t *testing.T) {
	stage.InBubble(t, dynasession.Config{IdleTimeout: time.Hour, Lifetime: time.Hour}, func(c *stage.Timed) {
		h := c.Visit(c.Store, stage.App{"/limit": stage.Handle(func(s *dynasession.Session) { s.LimitTo(time.Now().Add(100 * time.Hour)) })})
		b := stage.NewBrowser(c.T, h)
		b.OK("/new")
		b.OK("/limit")
		time.Sleep(time.Hour - time.Second)
		assert.Equal(c.T, "live", b.OK("/"))
		time.Sleep(time.Second)
		assert.Equal(c.T, "new", b.OK("/"))
	})
}

func TestLimitToInThePastEndsTheSession(t *testing.T) {
	for _, ago := range []time.Duration{0, time.Second, 1000 * time.Hour} {
		t.Run(ago.String(), func(t *testing.T) {
			stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
				h := c.Visit(c.Store, stage.App{"/limit": stage.Handle(func(s *dynasession.Session) {
					s.LimitTo(time.Now().Add(-ago))
					s.Set("n", 2)
				})})
				b := stage.NewBrowser(c.T, h)
				b.OK("/new")
				id := b.Cookie()
				w := b.Get("/limit")
				assert.Equal(c.T, http.StatusOK, w.Code)
				assert.Negative(c.T, stage.OnlyCookie(c.T, w).MaxAge)
				assert.Empty(c.T, b.Cookie())
				assert.Empty(c.T, stage.Items(c.T, c.Backend, c.Table))
				assert.Equal(c.T, "new", stage.Ask(h, id, "/").Body.String())

				b.OK("/limit") // of a session that is not stored yet
				assert.Empty(c.T, stage.Items(c.T, c.Backend, c.Table))
			})
		})
	}
}

func TestNotBeforeRefusesOlderSessions(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		old := c.Visit(c.Store, nil)
		early, late := stage.NewBrowser(c.T, old), stage.NewBrowser(c.T, old)
		early.OK("/new")
		time.Sleep(time.Second)
		deploy := time.Now()
		late.OK("/new")
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
			h := c.Visit(c.With(dynasession.Config{NotBefore: test.notBefore}), nil)
			assert.Equal(c.T, test.early, stage.Ask(h, early.Cookie(), "/").Body.String(), test.notBefore.String())
			assert.Equal(c.T, test.late, stage.Ask(h, late.Cookie(), "/").Body.String(), test.notBefore.String())
		}
		assert.Equal(c.T, "live", early.OK("/"), "the old servers still serve it")
		assert.Len(c.T, stage.Items(c.T, c.Backend, c.Table), 2)
	})
}

// TestNotBeforeNow: a session that is made in NotBefore's second, or by a server whose clock is
// behind, is not lost.
func TestNotBeforeNow(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		time.Sleep(300 * time.Millisecond)
		for _, ahead := range []time.Duration{0, time.Second, 30 * time.Second} {
			b := stage.NewBrowser(c.T, c.Visit(c.With(dynasession.Config{NotBefore: time.Now().Add(ahead)}), nil))
			b.OK("/new")
			assert.Equal(c.T, "live", b.OK("/"), ahead)
		}
		store := c.With(dynasession.Config{NotBefore: time.Now()})
		id := store.CreateID()
		require.NoError(c.T, store.Write(c.T.Context(), id, []byte(`{}`)))
		_, err := store.Read(c.T.Context(), id)
		assert.NoError(c.T, err)

		b := stage.NewBrowser(c.T, c.Visit(c.With(dynasession.Config{NotBefore: time.Now().Add(time.Hour)}), nil))
		b.OK("/new")
		assert.Equal(c.T, "new", b.OK("/"), "an announced end is not outlived")
	})
}

// TestEndPassesWhileARequestRuns: the absolute end counts for the save, though PHP has moved
// the expiry.
func TestEndPassesWhileARequestRuns(t *testing.T) {
	for _, policy := range stage.Policies {
		for _, path := range []string{"/set?mine", "/login?alice", "/pop", "/read"} {
			stage.SubBubble(t, policy.String()+path, func(t *testing.T) {
				b := stage.Embedded(t)
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
				sc.Edit(func(item map[string]types.AttributeValue) {
					item["until"], item["expires"] = stage.In(2*time.Second), stage.In(2*time.Second)
				})
				var ended map[string]types.AttributeValue
				sc.Inside = func() {
					time.Sleep(2100 * time.Millisecond)
					sc.Edit(func(item map[string]types.AttributeValue) { item["expires"] = stage.In(time.Hour) })
					ended = sc.Item()
				}
				w := sc.Get(path)
				if path != "/read" {
					assert.Equal(t, http.StatusConflict, w.Code)
				}
				assert.Equal(t, stage.Unlocked(ended), stage.Unlocked(sc.Item()))
			})
		}
	}
}

// TestExpiresAfterLifetimeWasLowered checks that Expires returns no time after the end of the session.
func TestExpiresAfterLifetimeWasLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stage.Embedded(t)
		sc := stage.NewScene(t, b, dynasession.Config{Lifetime: 24 * time.Hour, IdleTimeout: 3 * time.Hour})
		lowered, err := dynasession.New(b.Client, stage.Options(dynasession.Config{Table: sc.Table, Lifetime: 2 * time.Hour}))
		require.NoError(t, err)
		var ends time.Time
		sc.Handler = lowered.Middleware(stage.App{"/": func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
			s.Set("at", time.Now())
			require.NoError(t, s.Save(r.Context()))
			ends = s.Expires()
		}})
		time.Sleep(90 * time.Minute)
		sc.OK("/")
		assert.Equal(t, 30*time.Minute, time.Until(ends).Round(time.Second))
	})
}

// TestSameEndAgain: what asks for the end that the session has costs no write.
func TestSameEndAgain(t *testing.T) {
	sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{})
	end := time.Now().Add(30 * time.Minute)
	sc.Paths["/limit"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		s.Remember(0)
		s.LimitTo(end)
		s.LimitTo(end.Add(time.Minute))
	}
	sc.OK("/limit")
	before := sc.Item()
	assert.Equal(t, strconv.FormatInt(end.Unix(), 10), stage.Attr(before, "limit"))
	sc.OK("/limit")
	assert.Equal(t, before, sc.Item())
	end = end.Add(-time.Minute)
	sc.OK("/limit")
	assert.Equal(t, strconv.FormatInt(end.Unix(), 10), stage.Attr(sc.Item(), "limit"))
}

func TestNotBeforeAfterRenewal(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		renew := stage.App{"/renew": stage.Handle(func(s *dynasession.Session) { s.Renew() })}
		br := stage.NewBrowser(c.T, c.Visit(c.Store, renew))
		br.OK("/new")
		c.Pass(time.Minute)
		revoked := c.Visit(c.With(dynasession.Config{NotBefore: time.Now()}), renew)
		br.OK("/renew")
		br.Handler = revoked
		assert.Equal(c.T, "new", br.OK("/"), "a renewal keeps the birth")
	})
}
