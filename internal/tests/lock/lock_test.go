package lock_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// Waiting for a lock costs reads, which are cheap, and not refused writes: of six tries to
// take it, five do.
func TestLockTries(t *testing.T) {
	const requests, each = 60, 20 * time.Millisecond
	cases := []struct {
		name      string
		processes int
		inTurn    bool // each process has one request at a time, and pauses between two
		atMost    int  // tries
	}{
		{"one process", 1, false, requests},
		{"two processes", 2, false, requests * 12 / 10},
		// One round by itself may have more: of two that look at the same moment one is refused.
		{"five processes", 5, false, requests * 135 / 100},
		// Blind tries would be 90 to 98.
		{"three processes, one request at a time", 3, true, requests * 135 / 100},
	}
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		contended, locks, allTries := 0, 0, 0
		for _, c := range cases {
			if c.processes > 1 {
				contended += requests
			}
			t.Run(c.name, func(t *testing.T) {
				cfg := dynasession.Config{Concurrency: dynasession.Lock}
				sc := stage.EmptyScene(t, b, cfg)
				cfg.Table = sc.Table
				sc.OK("/new")
				paths := stage.App{"/count": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
					n, _ := dynasession.Get[int](s, "n")
					time.Sleep(each) // the handler's work
					s.Set("n", n+1)
				}}
				var wg sync.WaitGroup
				start := make(chan struct{})
				for range c.processes {
					handler := stage.NewStore(t, b, cfg).Middleware(paths)
					ask := func() { assert.Equal(t, http.StatusOK, stage.Ask(handler, sc.Cookie(), "/count").Code) }
					workers := requests / c.processes
					if c.inTurn {
						workers = 1
					}
					for range workers {
						wg.Go(func() {
							<-start
							for range requests / c.processes / workers {
								ask()
								if c.inTurn {
									time.Sleep(rand.N(6 * each))
								}
							}
						})
					}
				}
				b.Calls.Take()
				close(start)
				wg.Wait()
				calls := make(map[string]int)
				for _, op := range b.Calls.Take() {
					calls[op]++
				}
				tries := calls["UpdateItem"] - requests // each saves with one more
				t.Logf("%d locks, %d tries, %d looks", requests, tries, calls["GetItem"])
				assert.LessOrEqual(t, tries, c.atMost)
				assert.GreaterOrEqual(t, tries, requests)
				if c.processes > 1 {
					locks += requests
					allTries += tries
				} else {
					assert.Equal(t, map[string]int{"UpdateItem": 2 * requests}, calls, "nobody has to look")
				}
				assert.Contains(t, stage.Attr(stage.OnlyItem(t, b, sc.Table), "data"), fmt.Sprintf(`"n":%d`, requests))
			})
		}
		if locks == contended { // all rounds were asked for
			assert.LessOrEqual(t, allTries, locks*12/10)
		}
	})
}

// TestBoundIsConditional: PHP's lock is given an end only while it is PHP's.
func TestBoundIsConditional(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: 200 * time.Millisecond, ForeignWriters: true})
		sc.Edit(func(item map[string]types.AttributeValue) { item["lock"] = stage.Num("1") })
		var taken map[string]types.AttributeValue
		sc.AroundNth("UpdateItem", 2, func(apply func()) error {
			sc.Edit(func(item map[string]types.AttributeValue) {
				item["lock"], item["holder"] = stage.Num(fmt.Sprint(time.Now().Add(time.Minute).UnixMilli())), stage.Str("another")
			})
			taken = sc.Item()
			apply()
			return nil
		})
		sc.Failed(sc.Get("/set?mine"), http.StatusServiceUnavailable, dynasession.ErrLocked)
		require.NotNil(t, taken)
		assert.Equal(t, taken, sc.Item(), "the lock is the other's")
	})
}

// TestDeedsAfterTheLease checks that a request that has lost its lock writes nothing: no save, renewal or touch.
func TestDeedsAfterTheLease(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, path := range []string{"/login?alice", "/renew", "/set?mine", "/count", "/pop", "/read"} {
			t.Run(path, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
				var taken map[string]types.AttributeValue
				sc.Inside = func() {
					sc.Edit(func(item map[string]types.AttributeValue) {
						item["lock"], item["holder"] = stage.Num(fmt.Sprint(time.Now().Add(time.Minute).UnixMilli())), stage.Str("another")
					})
					taken = sc.Item()
				}
				w := sc.Get(path)
				if path == "/read" {
					assert.Equal(t, http.StatusOK, w.Code)
				} else {
					sc.Failed(w, http.StatusConflict, dynasession.ErrLockLost)
				}
				assert.Equal(t, taken, sc.Item())
			})
		}
	})
}

// TestHolderCounts: another's lease may end in the same millisecond.
func TestHolderCounts(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, path := range []string{"/login?alice", "/set?mine", "/pop", "/read"} {
			t.Run(path, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
				var taken map[string]types.AttributeValue
				sc.Inside = func() {
					sc.Edit(func(item map[string]types.AttributeValue) { item["holder"] = stage.Str("another") })
					taken = sc.Item()
				}
				w := sc.Get(path)
				if path != "/read" {
					sc.Failed(w, http.StatusConflict, dynasession.ErrLockLost)
				}
				assert.Equal(t, taken, sc.Item())
			})
		}
	})
}

// TestLockedAndDestroyed: a lock is given up also when the session it was taken for is not
// there any more, for the handler.
func TestLockedAndDestroyed(t *testing.T) {
	b := stage.Embedded(t)
	table := stage.NewTable()
	s := stage.NewStore(t, b, dynasession.Config{Table: table, Concurrency: dynasession.Lock})
	br := stage.NewBrowser(t, s.Middleware(stage.App{
		"/set": stage.DoSet,
		"/fail": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
			b.Server.Fault(dynamotest.Fault{Operation: "DeleteItem", Kind: dynamotest.Cut, Times: 3})
			s.Destroy()
		},
		"/panic": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
			s.Destroy()
			panic("mine")
		},
	}))
	br.OK("/set?1")
	require.PanicsWithValue(t, "mine", func() { br.Get("/panic") })
	require.NotContains(t, stage.OnlyItem(t, b, table), "lock")
	require.Equal(t, http.StatusServiceUnavailable, br.Get("/fail").Code)
	require.NotContains(t, stage.OnlyItem(t, b, table), "lock")
	br.OK("/set?2")
}

// TestLockHasRoom: what is stored can be locked, and so loaded, by a store under Lock.
func TestLockHasRoom(t *testing.T) {
	for _, policy := range stage.Policies {
		t.Run(policy.String(), func(t *testing.T) {
			stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy, NoCompression: true})
				size := 400<<10 - 300
				sc.Paths["/big"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
					s.Set("big", strings.Repeat("x", size))
				}
				for ; sc.Get("/big").Code == http.StatusOK; size += 20 {
				}
				locking, err := dynasession.New(b.Client, stage.Options(dynasession.Config{Table: sc.Table, Concurrency: dynasession.Lock}))
				require.NoError(t, err)
				sc.Handler = locking.Middleware(sc.Paths)
				assert.Equal(t, "big n token", sc.OK("/read"))
			})
		})
	}
}

// TestLockWaitInAnOutage: if no answer has shown a lock, the error names none.
func TestLockWaitInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stage.Embedded(t)
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Second})
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			<-c.Request.Context().Done()
			return nil, c.Request.Context().Err()
		})
		sc.Failed(sc.Get("/read"), http.StatusServiceUnavailable, dynasession.ErrUnavailable)
		time.Sleep(time.Minute) // the call that was given up
	})
}

// TestLookHasATimeout: a waiter's look at the lock ends with Config.Timeout.
func TestLookHasATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stage.Embedded(t)
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Minute, Timeout: time.Second})
		holder, err := dynasession.New(b.Client, stage.Options(dynasession.Config{Table: sc.Table, Concurrency: dynasession.Lock}))
		require.NoError(t, err)
		tab := stage.NewBrowser(t, holder.Middleware(stage.App{"/hold": func(*stage.Session, http.ResponseWriter, *http.Request) {
			b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
				if c.Operation == "GetItem" {
					<-c.Request.Context().Done()
					return nil, c.Request.Context().Err()
				}
				return c.Send()
			})
			begin := time.Now()
			sc.Get("/read")
			assert.Less(t, time.Since(begin), 5*time.Second) // on the bubble's clock
			b.Calls.Intercept(nil)
		}}))
		tab.Jar = sc.Jar
		tab.OK("/hold")
	})
}

// TestProtocolOddLock: to PHP a lock is held whatever its value is. Each is given an end.
func TestProtocolOddLock(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for name, odd := range map[string]types.AttributeValue{
			"zero": stage.Num("0"), "negative": stage.Num("-1"), "fraction": stage.Num("1.5"), "small": stage.Num("0.001"), "string": stage.Str("1"), "empty": stage.Str(""),
			"bool": &types.AttributeValueMemberBOOL{Value: true}, "null": &types.AttributeValueMemberNULL{Value: true},
		} {
			t.Run(name, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: 100 * time.Millisecond, ForeignWriters: true})
				sc.Edit(func(item map[string]types.AttributeValue) { item["lock"] = odd })
				begin := time.Now().UnixMilli()
				sc.WaitInVain()
				assert.GreaterOrEqual(t, stage.IntAttr(t, sc.Item(), "lock"), begin+dynasession.DefaultLockLease.Milliseconds())
			})
		}
	})
}

// TestProtocolUnlockWithoutTheTouch: a touch that is refused does not keep the lock.
func TestProtocolUnlockWithoutTheTouch(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
		sc.Age()
		sc.Inside = func() {
			sc.Edit(func(item map[string]types.AttributeValue) { item["until"] = stage.In(20 * time.Minute) })
		}
		sc.OK("/read")
		item := sc.Item()
		assert.NotContains(t, item, "lock")
		assert.NotContains(t, item, "holder")
		assert.LessOrEqual(t, stage.IntAttr(t, item, "expires"), stage.IntAttr(t, item, "until"))
	})
}

// TestProtocolLockThatComesTooLate checks that a lock is given up at once if its request has gone meanwhile.
func TestProtocolLockThatComesTooLate(t *testing.T) {
	const patience = 5 * time.Second // of the test, with code that is broken
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
		ctx, cancel := context.WithCancel(t.Context())
		gone, given := make(chan struct{}), make(chan struct{}, 100)
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			if strings.Contains(c.Body, "REMOVE #l") {
				defer func() { given <- struct{}{} }()
				return c.Send()
			}
			cancel()
			select {
			case <-gone:
			case <-time.After(patience):
				t.Error("who asked has not gone")
			}
			return c.Send()
		})
		sc.Do(ctx, "/count")
		close(gone)
		select {
		case <-given:
		case <-time.After(patience):
			t.Error("the lock is not given up")
		}
		b.Calls.Intercept(nil)
		assert.NotContains(t, sc.Item(), "lock")
		assert.JSONEq(t, stage.NewData, sc.Data())
	})
}

// TestLockIsGivenUpAfterTheDeadline: a Save whose deadline has passed gives up the lock all the same.
func TestLockIsGivenUpAfterTheDeadline(t *testing.T) {
	stage.InTime(t, dynasession.Config{Concurrency: dynasession.Lock}, func(c *stage.Timed) {
		for name, past := range map[string]bool{"passed": true, "open": false} {
			b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{
				"/save": stage.Handle(func(s *dynasession.Session) {
					ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
					if past {
						ctx, cancel = context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
					}
					defer cancel()
					assert.NoError(c.T, s.Save(ctx), name)
				}),
			}))
			b.OK("/new")
			b.OK("/save")
		}
		for _, item := range stage.Items(c.T, c.Backend, c.Table) {
			assert.NotContains(c.T, item, "lock")
		}
	})
}

// TestLockWhoseAnswerIsLost: an acquisition that nobody answered is given up, so that the next request
// need not wait for the lease.
func TestLockWhoseAnswerIsLost(t *testing.T) {
	stage.InTime(t, dynasession.Config{Concurrency: dynasession.Lock}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
		b.OK("/new")
		c.Calls.Intercept(func(call *stage.Call) (*http.Response, error) {
			resp, err := call.Send()
			if err == nil && call.Operation == "UpdateItem" && strings.Contains(call.Body, "SET #l = :end") {
				_ = resp.Body.Close()
				return nil, stage.ErrReset
			}
			return resp, err
		})
		assert.Equal(c.T, http.StatusServiceUnavailable, b.Get("/").Code)
		c.Calls.Intercept(nil)
		assert.Eventually(c.T, func() bool { return stage.Attr(c.Item(), "lock") == "" }, 5*time.Second, time.Millisecond)
		assert.Equal(c.T, "live", b.OK("/"))
	})
}

// deadHolder leaves the session locked until end by a server that is no more.
func deadHolder(c *stage.Timed, end time.Time) {
	c.T.Helper()
	c.Amend(c.Item(), map[string]types.AttributeValue{"lock": stage.Milliseconds(end), "holder": stage.Str("dead")})
}

func TestLockOfADeadHolderIsTakenOver(t *testing.T) {
	const lease = 3 * time.Second
	stage.InBubble(t, dynasession.Config{Concurrency: dynasession.Lock, LockLease: lease}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
		b.OK("/new")
		end := time.Now().Add(lease)
		deadHolder(c, end)
		require.Equal(c.T, "live", b.OK("/"))
		over := time.Since(end)
		assert.GreaterOrEqual(c.T, over, 2*time.Second, "clocks may be so far apart")
		assert.Less(c.T, over, 2*time.Second+stage.NextLook)
		assert.NotContains(c.T, c.Item(), "lock")
		assert.NotContains(c.T, c.Item(), "holder")
	})
}

func TestLockWaitEndsToTheMoment(t *testing.T) {
	for _, wait := range []time.Duration{0, 1500 * time.Millisecond} {
		t.Run(wait.String(), func(t *testing.T) {
			stage.InBubble(t, dynasession.Config{Concurrency: dynasession.Lock, LockWait: wait}, func(c *stage.Timed) {
				if wait == 0 {
					wait = dynasession.DefaultLockWait
				}
				b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
				b.OK("/new")
				deadHolder(c, time.Now().Add(dynasession.DefaultLockLease))
				locked := c.Item()
				begin := time.Now()
				w := b.Get("/")
				assert.Equal(c.T, wait, time.Since(begin))
				assert.Equal(c.T, http.StatusServiceUnavailable, w.Code)
				assert.NotEmpty(c.T, w.Header().Get("Retry-After"))
				assert.Equal(c.T, locked, c.Item())

				stage.SleepUntil(begin.Add(dynasession.DefaultLockLease + 2*time.Second))
				begin = time.Now()
				assert.Equal(c.T, "live", b.OK("/"))
				assert.Equal(c.T, begin, time.Now())
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
	stage.InBubble(t, cfg, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
		b.OK("/new")
		deadHolder(c, time.Now().Add(time.Hour))
		assert.Equal(c.T, http.StatusTeapot, b.Get("/").Code)
		assert.ErrorIs(c.T, told, dynasession.ErrLocked)
	})
}

func TestLockIsGivenUpByAPanic(t *testing.T) {
	stage.InBubble(t, dynasession.Config{Concurrency: dynasession.Lock}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{
			"/panic": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
				s.Set("n", 2)
				panic("of the handler")
			},
		}))
		b.OK("/new")
		before, begin := c.Item(), time.Now()
		assert.PanicsWithValue(c.T, "of the handler", func() { b.Get("/panic") })
		assert.Equal(c.T, before, c.Item(), "nothing half-done is saved")
		assert.Equal(c.T, "live", b.OK("/"))
		assert.Equal(c.T, begin, time.Now(), "nobody waits")
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
			stage.InTime(t, cfg, func(c *stage.Timed) {
				c.Stop()
				var saved error
				var meanwhile func()
				slow := func(s *dynasession.Session, w http.ResponseWriter, r *http.Request) {
					s.Set("slow", true)
					meanwhile()
					if r.URL.Path == "/slow-save" {
						saved = s.Save(r.Context())
						return
					}
					stage.Write(w, "slow")
				}
				paths := stage.App{
					"/slow": slow, "/slow-save": slow,
					"/fast": stage.Handle(func(s *dynasession.Session) { s.Set("fast", true) }),
				}
				h := c.Visit(c.Store, paths)
				other, leaving := h, c.Visit(c.With(hasty), paths)
				if processes == 2 {
					other = c.Visit(c.With(cfg), paths)
				}
				b := stage.NewBrowser(c.T, h)
				b.OK("/new")
				for _, path := range []string{"/slow", "/slow-save"} {
					var taken map[string]types.AttributeValue
					meanwhile = func() {
						begin := time.Now()
						for range 2 { // within the lease, and before the clocks of all servers are past its end
							assert.Equal(c.T, http.StatusServiceUnavailable, stage.Ask(leaving, b.Cookie(), "/fast").Code)
							c.Pass(lease)
						}
						if !c.InBubble() { // where the waiter lets it pass
							c.Pass(time.Second)
						}
						assert.Equal(c.T, http.StatusOK, stage.Ask(other, b.Cookie(), "/fast").Code)
						if c.InBubble() {
							took := time.Since(begin)
							assert.GreaterOrEqual(c.T, took, lease+2*time.Second)
							assert.Less(c.T, took, lease+2*time.Second+stage.NextLook)
						}
						taken = c.Item()
					}
					w := stage.Ask(h, b.Cookie(), path)
					assert.Equal(c.T, http.StatusConflict, w.Code)
					assert.NotContains(c.T, w.Body.String(), "slow")
					assert.Equal(c.T, taken, c.Item(), "nothing is saved")
					assert.Contains(c.T, stage.Attr(c.Item(), "data"), "fast")
				}
				assert.ErrorIs(c.T, saved, dynasession.ErrLockLost)
			})
		})
	}
}

func TestLeaseThatNobodyTookOverStillSaves(t *testing.T) {
	stage.InBubble(t, dynasession.Config{Concurrency: dynasession.Lock, LockLease: time.Second}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{"/slow": stage.Handle(func(s *dynasession.Session) {
			s.Set("slow", true)
			time.Sleep(time.Minute)
		})}))
		b.OK("/new")
		b.OK("/slow")
		assert.Contains(c.T, stage.Attr(c.Item(), "data"), "slow")
		assert.NotContains(c.T, c.Item(), "lock")
	})
}

func TestLockGivesEverybodyATurn(t *testing.T) {
	t.Parallel()
	const requests, each = 50, 20 * time.Millisecond
	for _, processes := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d processes", processes), func(t *testing.T) {
			cfg := dynasession.Config{Concurrency: dynasession.Lock}
			stage.InTime(t, cfg, func(c *stage.Timed) {
				paths := stage.App{"/count": stage.Handle(func(s *dynasession.Session) {
					n, _ := dynasession.Get[int](s, "count")
					time.Sleep(each)
					s.Set("count", n+1)
				})}
				handlers := []http.Handler{c.Visit(c.Store, paths)}
				for len(handlers) < processes {
					handlers = append(handlers, c.Visit(c.With(cfg), paths))
				}
				b := stage.NewBrowser(c.T, handlers[0])
				b.OK("/new")
				begin := time.Now()
				var wg sync.WaitGroup
				for i := range requests {
					wg.Go(func() {
						assert.Equal(c.T, http.StatusOK, stage.Ask(handlers[i%processes], b.Cookie(), "/count").Code)
					})
				}
				wg.Wait()
				took := time.Since(begin)
				assert.Less(c.T, took, dynasession.DefaultLockWait)
				assert.GreaterOrEqual(c.T, took, requests*each)
				if processes == 1 && c.InBubble() {
					assert.Equal(c.T, requests*each, took, "in one process nobody polls")
				}
				assert.Contains(c.T, stage.Attr(c.Item(), "data"), fmt.Sprintf(`"count":%d`, requests))
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
			stage.ClocksApart(t, test.apart, cfg, func(c *stage.TwoClocks) {
				b := stage.NewBrowser(c.T, c.Behind)
				b.OK("/new")
				hasty := cfg
				hasty.LockWait = 50 * time.Millisecond
				leaving := c.Visit(c.Apart(hasty, test.apart/2), stage.App{"/set": stage.Handle(func(s *dynasession.Session) { s.Set("n", 2) })})
				var taken map[string]types.AttributeValue
				c.Inside = func() {
					c.Pass(lease - 100*time.Millisecond)
					assert.Equal(c.T, test.early, stage.Ask(leaving, b.Cookie(), "/set").Code)
					c.Pass(200 * time.Millisecond)
					assert.Equal(c.T, http.StatusOK, stage.Ask(c.Ahead, b.Cookie(), "/set").Code)
					taken = c.Item()
				}
				assert.Equal(c.T, http.StatusConflict, stage.Ask(c.Behind, b.Cookie(), "/slow").Code)
				assert.Equal(c.T, taken, c.Item())
			})
		})
	}
}
