package dynasession_test

import (
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
	eachBackend(t, func(t *testing.T, b *backend) {
		contended, locks, allTries := 0, 0, 0
		for _, c := range cases {
			if c.processes > 1 {
				contended += requests
			}
			t.Run(c.name, func(t *testing.T) {
				cfg := dynasession.Config{Concurrency: dynasession.Lock}
				sc := emptyScene(t, b, cfg)
				cfg.Table = sc.table
				sc.ok("/new")
				paths := app{"/count": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
					n, _ := dynasession.Get[int](s, "n")
					time.Sleep(each) // the handler's work
					s.Set("n", n+1)
				}}
				var wg sync.WaitGroup
				start := make(chan struct{})
				for range c.processes {
					handler := newStore(t, b, cfg).Middleware(paths)
					ask := func() { assert.Equal(t, http.StatusOK, askAs(handler, sc.cookie(), "/count").Code) }
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
				b.calls.take()
				close(start)
				wg.Wait()
				calls := make(map[string]int)
				for _, op := range b.calls.take() {
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
				assert.Contains(t, attr(onlyItem(t, b, sc.table), "data"), fmt.Sprintf(`"n":%d`, requests))
			})
		}
		if locks == contended { // all rounds were asked for
			assert.LessOrEqual(t, allTries, locks*12/10)
		}
	})
}

// TestBoundIsConditional: PHP's lock is given an end only while it is PHP's.
func TestBoundIsConditional(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: 200 * time.Millisecond, ForeignWriters: true})
		sc.edit(func(item map[string]types.AttributeValue) { item["lock"] = num("1") })
		var taken map[string]types.AttributeValue
		sc.aroundNth("UpdateItem", 2, func(apply func()) error {
			sc.edit(func(item map[string]types.AttributeValue) {
				item["lock"], item["holder"] = num(fmt.Sprint(time.Now().Add(time.Minute).UnixMilli())), str("another")
			})
			taken = sc.item()
			apply()
			return nil
		})
		sc.failed(sc.get("/set?mine"), http.StatusServiceUnavailable, dynasession.ErrLocked)
		require.NotNil(t, taken)
		assert.Equal(t, taken, sc.item(), "the lock is the other's")
	})
}

// TestDeedsAfterTheLease: who has lost the lock writes nothing, a renewal and a touch neither.
func TestDeedsAfterTheLease(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, path := range []string{"/login?alice", "/renew", "/set?mine", "/count", "/pop", "/read"} {
			t.Run(path, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
				var taken map[string]types.AttributeValue
				sc.inside = func() {
					sc.edit(func(item map[string]types.AttributeValue) {
						item["lock"], item["holder"] = num(fmt.Sprint(time.Now().Add(time.Minute).UnixMilli())), str("another")
					})
					taken = sc.item()
				}
				w := sc.get(path)
				if path == "/read" {
					assert.Equal(t, http.StatusOK, w.Code)
				} else {
					sc.failed(w, http.StatusConflict, dynasession.ErrLockLost)
				}
				assert.Equal(t, taken, sc.item())
			})
		}
	})
}

// TestHolderCounts: another's lease may end in the same millisecond.
func TestHolderCounts(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for _, path := range []string{"/login?alice", "/set?mine", "/pop", "/read"} {
			t.Run(path, func(t *testing.T) {
				sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
				var taken map[string]types.AttributeValue
				sc.inside = func() {
					sc.edit(func(item map[string]types.AttributeValue) { item["holder"] = str("another") })
					taken = sc.item()
				}
				w := sc.get(path)
				if path != "/read" {
					sc.failed(w, http.StatusConflict, dynasession.ErrLockLost)
				}
				assert.Equal(t, taken, sc.item())
			})
		}
	})
}

// TestLockedAndDestroyed: a lock is given up also when the session it was taken for is not
// there any more, for the handler.
func TestLockedAndDestroyed(t *testing.T) {
	b := embedded(t)
	table := newTable()
	s := newStore(t, b, dynasession.Config{Table: table, Concurrency: dynasession.Lock})
	br := newBrowser(t, s.Middleware(app{
		"/set": doSet,
		"/fail": func(s *session, _ http.ResponseWriter, _ *http.Request) {
			b.server.Fault(dynamotest.Fault{Operation: "DeleteItem", Kind: dynamotest.Cut, Times: 3})
			s.Destroy()
		},
		"/panic": func(s *session, _ http.ResponseWriter, _ *http.Request) {
			s.Destroy()
			panic("mine")
		},
	}))
	br.ok("/set?1")
	require.PanicsWithValue(t, "mine", func() { br.get("/panic") })
	require.NotContains(t, onlyItem(t, b, table), "lock")
	require.Equal(t, http.StatusServiceUnavailable, br.get("/fail").Code)
	require.NotContains(t, onlyItem(t, b, table), "lock")
	br.ok("/set?2")
}

// TestLockHasRoom: what is stored can be locked, and so loaded, by a store under Lock.
func TestLockHasRoom(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy.String(), func(t *testing.T) {
			eachBackend(t, func(t *testing.T, b *backend) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy, NoCompression: true})
				size := 400<<10 - 300
				sc.paths["/big"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("big", strings.Repeat("x", size)) }
				for ; sc.get("/big").Code == http.StatusOK; size += 20 {
				}
				locking, err := dynasession.New(b.client, dynasession.Config{Table: sc.table, Concurrency: dynasession.Lock})
				require.NoError(t, err)
				sc.handler = locking.Middleware(sc.paths)
				assert.Equal(t, "big n token", sc.ok("/read"))
			})
		})
	}
}

// TestLockWaitInAnOutage: if no answer has shown a lock, the error names none.
func TestLockWaitInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := embedded(t)
		sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Second})
		b.calls.intercept(func(c *call) (*http.Response, error) {
			<-c.request.Context().Done()
			return nil, c.request.Context().Err()
		})
		sc.failed(sc.get("/read"), http.StatusServiceUnavailable, dynasession.ErrUnavailable)
		time.Sleep(time.Minute) // the call that was given up
	})
}

// TestLookHasATimeout: a waiter's look at the lock ends with Config.Timeout.
func TestLookHasATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := embedded(t)
		sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Minute, Timeout: time.Second})
		holder, err := dynasession.New(b.client, dynasession.Config{Table: sc.table, Concurrency: dynasession.Lock})
		require.NoError(t, err)
		tab := newBrowser(t, holder.Middleware(app{"/hold": func(*session, http.ResponseWriter, *http.Request) {
			b.calls.intercept(func(c *call) (*http.Response, error) {
				if c.operation == "GetItem" {
					<-c.request.Context().Done()
					return nil, c.request.Context().Err()
				}
				return c.send()
			})
			begin := time.Now()
			sc.get("/read")
			assert.Less(t, time.Since(begin), 5*time.Second) // on the bubble's clock
			b.calls.intercept(nil)
		}}))
		tab.jar = sc.jar
		tab.ok("/hold")
	})
}
