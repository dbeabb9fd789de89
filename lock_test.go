package dynasession_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynasession/dynasession"
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
