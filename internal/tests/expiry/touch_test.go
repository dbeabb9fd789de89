package expiry_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
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
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestProtocolSlowTouch: it does not shorten what another has extended meanwhile.
func TestProtocolSlowTouch(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.LastWriteWins} {
			sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
			sc.Age()
			var extended string
			sc.Around("UpdateItem", func(apply func()) error {
				time.Sleep(1100 * time.Millisecond) // expiries are in seconds
				sc.Twin().OK("/set?theirs")
				extended = stage.Attr(sc.Item(), "expires")
				apply()
				return nil
			})
			assert.Equal(t, "n token", sc.OK("/read"))
			require.NotEmpty(t, extended)
			assert.Equal(t, extended, stage.Attr(sc.Item(), "expires"), policy)
		}
	})
}

func TestTouchAfterSavesWrites(t *testing.T) {
	const idle, touch = 10 * time.Minute, time.Minute
	stage.InBubble(t, dynasession.Config{IdleTimeout: idle, TouchAfter: touch}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
		b.OK("/new")
		made, before := time.Now(), c.Item()
		c.Calls.Take()
		for range 59 {
			time.Sleep(time.Second)
			require.Equal(c.T, "live", b.OK("/"))
			require.Equal(c.T, []string{"GetItem"}, c.Calls.Take())
		}
		stage.SleepUntil(made.Add(touch))
		require.Equal(c.T, "live", b.OK("/"))
		require.Equal(c.T, []string{"GetItem", "UpdateItem"}, c.Calls.Take())
		after := c.Item()
		assert.Equal(c.T, stage.EpochText(made.Add(touch+idle)), stage.Attr(after, "expires"))
		for name := range before {
			if name != "expires" {
				assert.Equal(c.T, before[name], after[name], name)
			}
		}
		c.Calls.Take()
		b.OK("/")
		assert.Equal(c.T, []string{"GetItem"}, c.Calls.Take(), "it is not due again")
		time.Sleep(idle - time.Second)
		assert.Equal(c.T, "live", b.OK("/"))
	})
}

func TestTouchKeepsASessionInUseUntilLifetime(t *testing.T) {
	// The gaps between uses are as long as they can be without a write at each.
	const idle, touch, lifetime = 2 * time.Minute, time.Minute, time.Hour
	stage.InBubble(t, dynasession.Config{IdleTimeout: idle, TouchAfter: touch, Lifetime: lifetime}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
		b.OK("/new")
		made := time.Now()
		writes := 0
		c.Calls.Take()
		for time.Since(made)+touch-time.Second < lifetime-touch {
			time.Sleep(touch - time.Second)
			require.Equal(c.T, "live", b.OK("/"), time.Since(made).String())
			if len(c.Calls.Take()) > 1 {
				writes++
			}
		}
		assert.InDelta(c.T, 30, writes, 2, "every second use is due")
		stage.SleepUntil(made.Add(lifetime))
		assert.Equal(c.T, "new", b.OK("/"))
	})
}

// TestTouchOfAPage: a page's requests find the expiry due together, and one moves it.
func TestTouchOfAPage(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		const requests = 20
		var loaded sync.WaitGroup
		b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{"/page": func(*stage.Session, http.ResponseWriter, *http.Request) {
			loaded.Done()
			loaded.Wait()
		}}))
		b.OK("/new")
		page := func() {
			c.Calls.Take()
			var all sync.WaitGroup
			loaded.Add(requests)
			for range requests {
				all.Go(func() { assert.Equal(c.T, http.StatusOK, stage.Ask(b.Handler, b.Cookie(), "/page").Code) })
			}
			all.Wait()
			want := append(slices.Repeat([]string{"GetItem"}, requests), "UpdateItem")
			assert.ElementsMatch(c.T, want, c.Calls.Take())
		}
		for range 3 {
			time.Sleep(6 * time.Minute)
			page()
			assert.Equal(c.T, stage.EpochText(time.Now().Add(time.Hour)), stage.Attr(c.Item(), "expires"))
		}

		// One that failed does not count.
		time.Sleep(6 * time.Minute)
		c.Calls.Intercept(func(call *stage.Call) (*http.Response, error) {
			if call.Operation == "UpdateItem" {
				return nil, errors.New("no network")
			}
			return call.Send()
		})
		b.OK("/")
		c.Calls.Intercept(nil)
		time.Sleep(stage.TouchRest)
		b.OK("/")
		assert.Equal(c.T, stage.EpochText(time.Now().Add(time.Hour)), stage.Attr(c.Item(), "expires"))
	})
}

// TestTouchesInAnOutage: while DynamoDB takes no writes, pages that only read cost one call for all,
// and one line, every few seconds.
func TestTouchesInAnOutage(t *testing.T) {
	for name, refuse := range map[string]func() (*http.Response, error){
		"no answer": func() (*http.Response, error) { return nil, stage.ErrReset },
		"throttling": func() (*http.Response, error) {
			return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
		},
		"status 500": func() (*http.Response, error) {
			return stage.AnswerWith(http.StatusInternalServerError, "InternalServerError"), nil
		},
		"a transaction": func() (*http.Response, error) {
			return stage.AnswerWith(http.StatusBadRequest, "TransactionConflictException"), nil
		},
	} {
		for _, policy := range stage.Policies {
			t.Run(name+", "+policy.String(), func(t *testing.T) {
				var lines strings.Builder
				cfg := dynasession.Config{Concurrency: policy, Logger: slog.New(slog.NewTextHandler(&lines, nil))}
				stage.InBubble(t, cfg, func(c *stage.Timed) {
					var all []*stage.Browser
					for range 50 {
						b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
						b.OK("/new")
						all = append(all, b)
					}
					time.Sleep(6 * time.Minute)
					touches := 0
					c.Calls.Intercept(func(call *stage.Call) (*http.Response, error) {
						if call.Operation != "UpdateItem" || !strings.Contains(call.Body, "SET #e = :e") {
							return call.Send()
						}
						touches++
						return refuse()
					})
					for n := 1; n <= 3; n++ {
						for _, b := range all {
							assert.Equal(c.T, "live", b.OK("/"))
						}
						assert.Equal(c.T, n, touches)
						assert.Equal(c.T, n, strings.Count(lines.String(), "level="), lines.String())
						time.Sleep(stage.TouchRest)
					}
					c.Calls.Intercept(nil)
					for _, b := range all {
						assert.Equal(c.T, "live", b.OK("/"))
					}
					for _, item := range stage.Items(c.T, c.Backend, c.Table) {
						assert.Greater(c.T, stage.IntAttr(c.T, item, "expires"), time.Now().Add(59*time.Minute).Unix())
						assert.NotContains(c.T, item, "lock", "given up without the touch")
					}
				})
			})
		}
	}
}

// TestTouchBesideOthers: another's touch does not do where the expiry has been lowered since, nor
// where there is no time for the next request, should it fail.
func TestTouchBesideOthers(t *testing.T) {
	stage.InBubble(t, dynasession.Config{ForeignWriters: true}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
		inAnHour := func() string { return stage.EpochText(time.Now().Add(time.Hour)) }
		b.OK("/new")
		time.Sleep(6 * time.Minute)
		b.OK("/")
		time.Sleep(time.Second)
		_, err := c.Client.UpdateItem(c.T.Context(), &dynamodb.UpdateItemInput{ // as PHP does
			TableName: &c.Table, Key: map[string]types.AttributeValue{"id": c.Item()["id"]}, UpdateExpression: aws.String("SET expires = :e"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":e": stage.In(24 * time.Minute)},
		})
		require.NoError(c.T, err)
		time.Sleep(time.Second)
		b.OK("/")
		assert.Equal(c.T, inAnHour(), stage.Attr(c.Item(), "expires"))

		time.Sleep(59 * time.Minute)
		var first sync.Once
		c.Calls.Intercept(func(call *stage.Call) (*http.Response, error) {
			fails := false
			if call.Operation == "UpdateItem" {
				first.Do(func() { fails = true })
			}
			if fails {
				time.Sleep(time.Second)
				return nil, errors.New("no network")
			}
			return call.Send()
		})
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { assert.Equal(c.T, http.StatusOK, stage.Ask(b.Handler, b.Cookie(), "/").Code) })
		}
		both.Wait()
		assert.Greater(c.T, stage.Attr(c.Item(), "expires"), stage.EpochText(time.Now().Add(59*time.Minute)))
	})
}

// TestStreamBesideRemember: what a request has loaded may have ended by then, and the session not.
func TestStreamBesideRemember(t *testing.T) {
	for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.Lock} {
		for _, renew := range []bool{false, true} {
			stage.InBubble(t, dynasession.Config{Concurrency: policy}, func(c *stage.Timed) {
				var b *stage.Browser
				h := c.Visit(c.Store, nil)
				b = stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{
					"/remember": stage.Handle(func(s *dynasession.Session) { s.Remember(30 * 24 * time.Hour) }),
					"/stream": stage.Handle(func(s *dynasession.Session) {
						assert.NoError(c.T, s.Save(context.Background())) // which gives a lock up
						other := stage.NewBrowser(c.T, b.Handler)
						other.Jar.SetCookies(stage.Origin, b.Jar.Cookies(stage.Origin))
						other.OK("/remember")
						time.Sleep(48 * time.Hour)
						s.Set("stream", true)
						if renew {
							s.Renew()
						}
						assert.NoError(c.T, s.Save(context.Background()))
					}),
				}))
				b.OK("/new")
				b.OK("/stream")
				assert.Equal(c.T, "live", stage.Ask(h, b.Cookie(), "/").Body.String())
			})
		}
	}
}

func TestTouchedTimesOfASession(t *testing.T) {
	const idle, touch = 10 * time.Minute, time.Minute
	stage.InBubble(t, dynasession.Config{IdleTimeout: idle, TouchAfter: touch}, func(c *stage.Timed) {
		type times struct{ created, expires, auth time.Time }
		var before, after times
		of := func(s *dynasession.Session) times { return times{s.Created(), s.Expires(), s.AuthTime()} }
		show := func(f func(*dynasession.Session)) func(*dynasession.Session, http.ResponseWriter, *http.Request) {
			return stage.Handle(func(s *dynasession.Session) {
				before = of(s)
				f(s)
				assert.NoError(c.T, s.Save(context.Background()))
				after = of(s)
			})
		}
		b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{
			"/new":  show(func(s *dynasession.Session) { s.Set("n", 1) }),
			"/look": show(func(*dynasession.Session) {}),
			"/set":  show(func(s *dynasession.Session) { s.Set("at", time.Now()) }),
			"/in":   show(func(s *dynasession.Session) { s.SetUser("ada") }),
			"/out":  show(func(s *dynasession.Session) { s.SetUser("") }),
		}))
		local := func(at time.Time) time.Time { return time.Unix(at.Unix(), 0) }

		time.Sleep(300 * time.Millisecond) // all is exact to the second
		made := local(time.Now())
		b.OK("/new")
		assert.Equal(c.T, times{made, made.Add(idle), time.Time{}}, before)
		assert.Equal(c.T, before, after)

		stage.SleepUntil(made.Add(30 * time.Second))
		b.OK("/look")
		assert.Equal(c.T, times{made, made.Add(idle), time.Time{}}, after)

		b.OK("/in")
		in := local(time.Now())
		assert.Equal(c.T, times{made, in.Add(idle), in}, after)

		time.Sleep(59 * time.Second)
		b.OK("/set")
		set := local(time.Now())
		assert.Equal(c.T, times{made, in.Add(idle), in}, before)
		assert.Equal(c.T, times{made, set.Add(idle), in}, after)

		time.Sleep(touch)
		b.OK("/look")
		look := local(time.Now())
		assert.Equal(c.T, times{made, set.Add(idle), in}, before)
		assert.Equal(c.T, times{made, look.Add(idle), in}, after)

		b.OK("/out")
		assert.Equal(c.T, times{look, look.Add(idle), time.Time{}}, after, "another user's session begins anew")
	})
}

func TestTouchMakesLastUsedExact(t *testing.T) {
	const idle, touch = 10 * time.Minute, time.Minute
	stage.InBubble(t, dynasession.Config{IdleTimeout: idle, TouchAfter: touch}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{"/in": stage.Handle(func(s *dynasession.Session) { s.SetUser("ada") })}))
		b.OK("/in")
		made := time.Now()
		for i := range 40 {
			time.Sleep(time.Duration(i*7%100) * time.Second)
			require.Equal(c.T, "live", b.OK("/"))
			infos, err := c.Store.UserSessions(c.T.Context(), "ada")
			require.NoError(c.T, err)
			require.Len(c.T, infos, 1)
			late := time.Since(infos[0].LastUsed)
			require.GreaterOrEqual(c.T, late, time.Duration(0))
			require.Less(c.T, late, touch)
			require.True(c.T, infos[0].Created.Equal(made))
			require.True(c.T, infos[0].AuthTime.Equal(made))
			require.True(c.T, infos[0].Expires.Equal(infos[0].LastUsed.Add(idle)))
		}
	})
}

// TestTouchOfADeadItem: what has expired meanwhile is not revived by a request that only reads.
func TestTouchOfADeadItem(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
		sc.Age()
		var dead map[string]types.AttributeValue
		sc.Inside = func() {
			sc.Edit(func(item map[string]types.AttributeValue) { item["expires"] = stage.In(-time.Second) })
			dead = sc.Item()
		}
		assert.Equal(t, "n token", sc.OK("/read"))
		assert.Equal(t, stage.Unlocked(dead), stage.Unlocked(sc.Item()))
		assert.NotContains(t, sc.Item(), "lock")
	})
}
