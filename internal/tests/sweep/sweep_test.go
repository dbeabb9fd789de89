package sweep_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
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
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// fill puts items into a table, 25 a call, and as many calls at once.
func fill(t *testing.T, b *stage.Backend, table string, items []map[string]types.AttributeValue) {
	t.Helper()
	const batch, parallel = 25, 8
	work := make(chan []types.WriteRequest)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for requests := range work {
				for len(requests) > 0 {
					out, err := b.Client.BatchWriteItem(context.Background(), &dynamodb.BatchWriteItemInput{
						RequestItems: map[string][]types.WriteRequest{table: requests},
					})
					if !assert.NoError(t, err) {
						break
					}
					requests = out.UnprocessedItems[table]
				}
			}
		})
	}
	for some := range slices.Chunk(items, batch) {
		var requests []types.WriteRequest
		for _, item := range some {
			requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: item}})
		}
		work <- requests
	}
	close(work)
	wg.Wait()
}

// heldMemory samples what is in use after a collection, at one in fifty deletes.
type heldMemory struct {
	next    dynamodb.HTTPClient
	deletes atomic.Int64
	mu      sync.Mutex
	most    uint64
}

func (h *heldMemory) Do(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DeleteItem") && h.deletes.Add(1)%50 == 0 {
		h.sample()
	}
	return h.next.Do(r)
}

func (h *heldMemory) sample() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.most = max(h.most, m.HeapAlloc)
	return m.HeapAlloc
}

// A sweep over 100,000 items, broken off and started again, while users come back to
// sessions that it is about to delete for being unused. Nearly all items pass its filter, so
// that it holds whole pages; most turn out to be in use, since deletes take longest here.
func TestSweepOfAFullTable(t *testing.T) {
	const (
		size, expired, unused = 100_000, 3000, 3000
		segments, pages       = 4, 4
		pageSize              = 1 << 20 // Scan's
		ceiling               = 300     // units a second: DynamoDB Local is faster
	)
	b := stage.Local(t)
	memory := &heldMemory{}
	b.Client = dynamodb.New(b.Client.Options(), func(o *dynamodb.Options) { memory.next, o.HTTPClient = o.HTTPClient, memory })
	table := stage.NewTable()
	// A page takes DynamoDB Local seconds on a busy machine.
	cfg := dynasession.Config{Table: table, IdleTimeout: time.Hour, TouchAfter: 30 * time.Minute, Timeout: time.Minute}
	s := stage.NewStore(t, b, cfg)
	now := time.Now()
	ids := make([]string, unused)
	var all []map[string]types.AttributeValue
	add := func(hash string, expires time.Time) {
		all = append(all, map[string]types.AttributeValue{
			"id": stage.Str("session_" + hash), "expires": stage.Num(stage.EpochText(expires)), "born": stage.Num(stage.EpochText(now.Add(-2 * time.Hour))),
			"rev": stage.Num("1"), "w": stage.Str("creation"), "data": stage.Str(`{"note":"a small session: scans take as long as they are large"}`),
		})
	}
	for i := range size {
		switch {
		case i < expired:
			add(fmt.Sprintf("%064x", i), now.Add(-time.Hour))
		case i < expired+unused: // for 20 to 50 minutes, but alive
			ids[i-expired] = fmt.Sprintf("%043d", i)
			hash := sha256.Sum256([]byte(ids[i-expired]))
			add(hex.EncodeToString(hash[:]), now.Add(10*time.Minute))
		default: // used 20 minutes ago, or just now: it would have to be older to be moved
			add(fmt.Sprintf("%064x", i), now.Add(40*time.Minute))
		}
	}
	fill(t, b, table, all)
	all = nil

	// The users: each comes back, and then the session must not go any more.
	tells := func(f func(s *dynasession.Session)) func(*dynasession.Session, http.ResponseWriter, *http.Request) {
		return func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
			if s.IsNew() {
				stage.Write(w, "new")
				return
			}
			f(s)
			stage.Write(w, "old")
		}
	}
	h := s.Middleware(stage.App{
		"/read":  tells(func(*dynasession.Session) {}),
		"/set":   tells(func(s *dynasession.Session) { s.Set("back", true) }),
		"/renew": tells(func(s *dynasession.Session) { s.Renew() }),
	})
	old := func(id, path string) (*httptest.ResponseRecorder, bool) {
		w := stage.Ask(h, id, path)
		return w, w.Code == http.StatusOK && w.Body.String() == "old"
	}
	alive := make(map[string]bool)
	renewed := 0 // each leaves a tombstone
	stop := make(chan struct{})
	var mu sync.Mutex
	var users sync.WaitGroup
	for u := range 3 {
		users.Go(func() {
			for _, id := range ids[u*unused/3 : (u+1)*unused/3] {
				select {
				case <-stop:
					return
				default:
				}
				w, ok := old(id, []string{"/read", "/set", "/renew"}[u])
				if u == 2 && ok {
					id = stage.OnlyCookie(t, w).Value
					renewed++
				}
				// What was only read may go while it is; whoever reads it once more keeps it.
				if u == 0 && ok {
					_, ok = old(id, "/read")
				}
				if ok {
					mu.Lock()
					alive[id] = true
					mu.Unlock()
				}
			}
		})
	}

	base := memory.sample()
	var told []dynasession.SweepStats
	sweep := func(ctx context.Context, ceiling float64, pages int) (dynasession.SweepStats, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		told = told[:0]
		begin, most := time.Now(), 0.0
		stats, err := s.Sweep(ctx, dynasession.SweepOptions{
			MaxLifetime: 15 * time.Minute, Segments: segments, UnitsPerSecond: ceiling,
			Progress: func(p dynasession.SweepStats) {
				told = append(told, p)
				if len(told) == pages {
					cancel()
				}
				most = max(most, p.ReadUnits+p.WriteUnits-ceiling*time.Since(begin).Seconds())
			},
		})
		if ceiling != 0 {
			// Each segment may have one call ahead of the ceiling: 1 MB read eventually is 128 units.
			assert.LessOrEqual(t, most, float64(segments*128))
		}
		return stats, err
	}
	first, err := sweep(t.Context(), ceiling, pages)
	require.ErrorIs(t, err, context.Canceled)
	require.GreaterOrEqual(t, len(told), pages)
	assert.Positive(t, first.Scanned)
	assert.Less(t, first.Scanned, size)
	second, err := sweep(t.Context(), 0, -1)
	require.NoError(t, err)
	close(stop)
	users.Wait()

	assert.True(t, slices.IsSortedFunc(told, func(a, b dynasession.SweepStats) int {
		return min(b.Scanned-a.Scanned, b.Expired-a.Expired, b.Deleted-a.Deleted) * -1
	}), "progress goes one way")
	assert.Equal(t, second, told[len(told)-1])
	deleted := first.Deleted + second.Deleted
	t.Logf("broken off after %d items, then %d; %d deleted; %d users came back in time; at most %.1f MB held, a page is 1 MB, segments %d",
		first.Scanned, second.Scanned, deleted, len(alive), float64(memory.most-base)/pageSize, segments)
	assert.NotEmpty(t, alive)
	for id := range alive {
		if _, ok := old(id, "/read"); !ok {
			t.Error("a session in use was deleted")
		}
	}
	assert.GreaterOrEqual(t, deleted, expired)
	assert.LessOrEqual(t, deleted, expired+unused-len(alive), "live sessions are left alone")
	left, err := b.Client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &table})
	require.NoError(t, err)
	assert.EqualValues(t, size-deleted+renewed, *left.Table.ItemCount, "which DynamoDB Local counts at once")
	// A page becomes maps of attributes and records, five times as large.
	assert.Less(t, memory.most-base, uint64(segments*pageSize*7))
}

// TestSweepIsPatient: throttling slows a sweep down, and only a minute of it ends one.
func TestSweepIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stage.Embedded(t)
		s := stage.NewStore(t, b, dynasession.Config{})
		require.NoError(t, s.Write(t.Context(), s.CreateID(), []byte("{}")))
		time.Sleep(2 * time.Hour)

		begin := time.Now()
		throttled := func(lasts time.Duration) {
			b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
				if time.Since(begin) < lasts {
					return stage.AnswerWith(http.StatusBadRequest, "ProvisionedThroughputExceededException"), nil
				}
				return c.Send()
			})
		}
		throttled(2 * time.Minute)
		_, err := s.Sweep(t.Context(), dynasession.SweepOptions{})
		require.ErrorIs(t, err, dynasession.ErrUnavailable)
		assert.InDelta(t, time.Minute, time.Since(begin), float64(time.Second))

		begin = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = s.Sweep(ctx, dynasession.SweepOptions{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.InDelta(t, 10*time.Second, time.Since(begin), float64(time.Second))

		begin = time.Now()
		throttled(40 * time.Second)
		stats, err := s.Sweep(t.Context(), dynasession.SweepOptions{})
		require.NoError(t, err)
		assert.Equal(t, 1, stats.Deleted)
	})
}

// TestGCOfWhatWasSavedInTheSameSecond checks that the revision is compared when the expiry is the same.
func TestGCOfWhatWasSavedInTheSameSecond(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{})
		sc.Edit(func(item map[string]types.AttributeValue) {
			item["expires"], item["born"] = stage.In(10*time.Minute), stage.In(-time.Hour)
		})
		sc.Around("DeleteItem", func(apply func()) error {
			sc.Edit(func(item map[string]types.AttributeValue) {
				item["rev"], item["data"] = stage.Num("2"), stage.Str(`{"n":1}`)
			})
			apply()
			return nil
		})
		stats, err := sc.Store.Sweep(t.Context(), dynasession.SweepOptions{MaxLifetime: 15 * time.Minute})
		require.NoError(t, err)
		assert.Equal(t, 1, stats.Expired)
		assert.Zero(t, stats.Deleted)
		assert.Equal(t, `{"n":1}`, sc.Data())
	})
}

const stubID = "0123456789abcdefghijklmnopqrstuv"

// stubScene is a table that PHP shares, and its requests with 'locking' => true.
type stubScene struct {
	t     *testing.T
	b     *stage.Backend
	table string
	store *dynasession.Store
}

func newStubScene(t *testing.T, b *stage.Backend) *stubScene {
	sc := &stubScene{t, b, stage.NewTable(), nil}
	sc.store = stage.NewStore(t, b, dynasession.Config{
		Table: sc.table, InsecurePlainIDs: true, ForeignWriters: true, NoCompression: true, IdleTimeout: 24 * time.Minute,
	})
	return sc
}

func (sc *stubScene) key() map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": stage.Str("session_" + stubID)}
}

// phpLocks is PHP's read: it takes the lock of whatever is there, or makes it.
func (sc *stubScene) phpLocks() bool {
	sc.t.Helper()
	_, err := sc.b.Client.UpdateItem(sc.t.Context(), &dynamodb.UpdateItemInput{
		TableName: &sc.table, Key: sc.key(),
		UpdateExpression: aws.String("SET #l = :one"), ConditionExpression: aws.String("attribute_not_exists(#l)"),
		ExpressionAttributeNames:  map[string]string{"#l": "lock"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":one": stage.Num("1")},
	})
	if err != nil {
		refused := (*types.ConditionalCheckFailedException)(nil)
		require.ErrorAs(sc.t, err, &refused)
	}
	return err == nil
}

// phpWrites is PHP's write, which asks nothing.
func (sc *stubScene) phpWrites(data string) {
	sc.t.Helper()
	_, err := sc.b.Client.UpdateItem(sc.t.Context(), &dynamodb.UpdateItemInput{
		TableName: &sc.table, Key: sc.key(),
		UpdateExpression:         aws.String("SET #e = :e, #d = :d REMOVE #l"),
		ExpressionAttributeNames: map[string]string{"#e": "expires", "#d": "data", "#l": "lock"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":e": stage.Num(strconv.FormatInt(time.Now().Add(24*time.Minute).Unix(), 10)), ":d": stage.Str(data),
		},
	})
	require.NoError(sc.t, err)
}

func (sc *stubScene) sweep(expired, deleted int) {
	sc.t.Helper()
	stats, err := sc.store.Sweep(sc.t.Context(), dynasession.SweepOptions{})
	require.NoError(sc.t, err)
	require.Equal(sc.t, []int{expired, deleted}, []int{stats.Expired, stats.Deleted})
}

func inStubScene(t *testing.T, f func(t *testing.T, sc *stubScene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newStubScene(t, stage.Embedded(t))) })
}

func TestSweepTakesStubsAway(t *testing.T) {
	inStubScene(t, func(t *testing.T, sc *stubScene) {
		require.True(t, sc.phpLocks()) // and dies
		sc.sweep(0, 0)
		require.False(t, sc.phpLocks(), "to PHP it is locked as before")
		time.Sleep(23 * time.Minute)
		sc.sweep(0, 0)
		time.Sleep(2 * time.Minute)
		dry, err := sc.store.Sweep(t.Context(), dynasession.SweepOptions{DryRun: true})
		require.NoError(t, err)
		require.Equal(t, 1, dry.Expired)
		require.Len(t, stage.Items(t, sc.b, sc.table), 1)
		sc.sweep(1, 1)
		require.Empty(t, stage.Items(t, sc.b, sc.table))
	})
}

func TestSweepOfAStubLosesNoSession(t *testing.T) {
	read := func(t *testing.T, sc *stubScene) string {
		t.Helper()
		data, err := sc.store.Read(t.Context(), stubID)
		require.NoError(t, err)
		return string(data)
	}
	t.Run("written before the end", func(t *testing.T) {
		inStubScene(t, func(t *testing.T, sc *stubScene) {
			require.True(t, sc.phpLocks())
			sc.sweep(0, 0)
			sc.phpWrites(`{"n":1}`)
			sc.sweep(0, 0)
			require.Equal(t, `{"n":1}`, read(t, sc))
			require.NotContains(t, stage.OnlyItem(t, sc.b, sc.table), "lock")
		})
	})
	t.Run("written after it was deleted", func(t *testing.T) {
		inStubScene(t, func(t *testing.T, sc *stubScene) {
			require.True(t, sc.phpLocks())
			sc.sweep(0, 0)
			time.Sleep(time.Hour)
			sc.sweep(1, 1)
			sc.phpWrites(`{"n":1}`)
			require.Equal(t, `{"n":1}`, read(t, sc))
		})
	})
	for _, end := range []string{"UpdateItem", "DeleteItem"} {
		t.Run("written between the scan and the "+end, func(t *testing.T) {
			inStubScene(t, func(t *testing.T, sc *stubScene) {
				require.True(t, sc.phpLocks())
				if end == "DeleteItem" {
					sc.sweep(0, 0)
					time.Sleep(time.Hour)
				}
				before(sc.b.Server, end, func() { sc.phpWrites(`{"n":1}`) })
				_, err := sc.store.Sweep(t.Context(), dynasession.SweepOptions{})
				require.NoError(t, err)
				require.Equal(t, `{"n":1}`, read(t, sc))
				require.NotContains(t, stage.OnlyItem(t, sc.b, sc.table), "lock")
			})
		})
	}
	t.Run("written and locked again before the UpdateItem", func(t *testing.T) {
		inStubScene(t, func(t *testing.T, sc *stubScene) {
			require.True(t, sc.phpLocks())
			before(sc.b.Server, "UpdateItem", func() {
				sc.phpWrites(`{"n":1}`)
				require.True(t, sc.phpLocks())
			})
			sc.sweep(0, 0)
			require.Equal(t, "1", stage.Attr(stage.OnlyItem(t, sc.b, sc.table), "lock"), "a session's lock is no stub's")
		})
	})
	t.Run("destroyed and locked again before the DeleteItem", func(t *testing.T) {
		inStubScene(t, func(t *testing.T, sc *stubScene) {
			require.True(t, sc.phpLocks())
			sc.sweep(0, 0)
			time.Sleep(time.Hour)
			before(sc.b.Server, "DeleteItem", func() {
				sc.phpWrites(`{"n":1}`)
				require.NoError(t, sc.store.Destroy(t.Context(), stubID))
				require.True(t, sc.phpLocks())
			})
			sc.sweep(1, 0)
			require.False(t, sc.phpLocks(), "the new lock stays")
		})
	})
	t.Run("locked again by the next request", func(t *testing.T) {
		inStubScene(t, func(t *testing.T, sc *stubScene) {
			require.True(t, sc.phpLocks())
			sc.sweep(0, 0)
			sc.phpWrites(`{"n":1}`)
			require.NoError(t, sc.store.Destroy(t.Context(), stubID))
			require.True(t, sc.phpLocks())
			time.Sleep(time.Hour)
			sc.sweep(0, 0) // a new stub: its time begins now
			require.False(t, sc.phpLocks())
		})
	})
}

// before runs f before the next operation of that name takes effect.
func before(server *dynamotest.Server, operation string, f func()) {
	server.Intercept(func(_ context.Context, r dynamotest.Request, apply func()) error {
		if r.Operation == operation {
			server.Intercept(nil)
			f()
		}
		apply()
		return nil
	})
}

// TestSweepOfOthersStubs: of another name, of a store that shares nothing, with data.
func TestSweepOfOthersStubs(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := newStubScene(t, b)
		past := stage.Num("1000000000000") // an end, long ago
		for _, item := range []map[string]types.AttributeValue{
			{"id": stage.Str("other_" + stubID), "lock": past},
			{"id": stage.Str("session_" + stubID), "lock": past, "data": stage.Str("{}")},
			{"id": stage.Str("session_" + stubID + "a")},
			{"id": stage.Str("session_" + stubID + "b"), "lock": stage.Num("99999999999999")},
		} {
			stage.PutItem(t, b, sc.table, item)
		}
		sc.sweep(0, 0)
		require.Len(t, stage.Items(t, b, sc.table), 4)

		stage.PutItem(t, b, sc.table, map[string]types.AttributeValue{"id": stage.Str("session_" + stubID + "c"), "lock": past})
		alone := stage.NewStore(t, b, dynasession.Config{Table: sc.table, InsecurePlainIDs: true})
		stats, err := alone.Sweep(t.Context(), dynasession.SweepOptions{})
		require.NoError(t, err)
		require.Zero(t, stats.Expired)
		sc.sweep(1, 1)
		require.Len(t, stage.Items(t, b, sc.table), 4)
	})
}

// TestProtocolSweepAfterATouch: any use moves the expiry, though it may still be a past one.
func TestProtocolSweepAfterATouch(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for name, to := range map[string]time.Duration{"alive": time.Hour, "used and dead again": -90 * time.Second} {
			t.Run(name, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{})
				sc.Edit(func(item map[string]types.AttributeValue) { item["expires"] = stage.In(-2 * time.Minute) })
				sc.Around("DeleteItem", func(apply func()) error {
					sc.Edit(func(item map[string]types.AttributeValue) { item["expires"] = stage.In(to) })
					apply()
					return nil
				})
				stats, err := sc.Store.Sweep(t.Context(), dynasession.SweepOptions{})
				require.NoError(t, err)
				assert.Equal(t, 1, stats.Expired)
				assert.Zero(t, stats.Deleted)
				sc.Item()
			})
		}
	})
}

// expired makes sessions that have expired so long ago.
func expired(c *stage.Timed, ago ...time.Duration) {
	c.T.Helper()
	h := c.Visit(c.Store, nil)
	for range ago {
		stage.NewBrowser(c.T, h).OK("/new")
	}
	for i, item := range stage.Items(c.T, c.Backend, c.Table) {
		c.Amend(item, map[string]types.AttributeValue{"expires": stage.Num(stage.EpochText(time.Now().Add(-ago[i])))})
	}
}

func TestSweepLeavesAMargin(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		expired(c, -time.Minute, 0, 59*time.Second, 60*time.Second, 61*time.Second, time.Hour)
		now := time.Now()
		stats, err := c.Store.Sweep(c.T.Context(), dynasession.SweepOptions{DryRun: true})
		require.NoError(c.T, err)
		assert.Equal(c.T, 2, stats.Expired)
		assert.Zero(c.T, stats.Deleted)
		n, err := c.Store.GC(c.T.Context(), 0)
		require.NoError(c.T, err)
		assert.Equal(c.T, 2, n)
		assert.Equal(c.T, now, time.Now())
		var left []string
		for _, item := range stage.Items(c.T, c.Backend, c.Table) {
			left = append(left, stage.Attr(item, "expires"))
		}
		assert.ElementsMatch(c.T, []string{
			stage.EpochText(now.Add(time.Minute)), stage.EpochText(now), stage.EpochText(now.Add(-59 * time.Second)), stage.EpochText(now.Add(-60 * time.Second)),
		}, left)

		time.Sleep(time.Second)
		n, err = c.Store.GC(c.T.Context(), 0)
		require.NoError(c.T, err)
		assert.Equal(c.T, 1, n)
	})
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
			stage.ClocksApart(t, test.apart, dynasession.Config{}, func(c *stage.TwoClocks) {
				b := stage.NewBrowser(c.T, c.Behind)
				b.OK("/new")
				c.Pass(c.End("expires").Add(-time.Second).Sub(c.NowBehind())) // its last second there
				c.Inside = func() {
					n, err := c.Sweeping.GC(c.T.Context(), 0)
					assert.NoError(c.T, err)
					assert.Equal(c.T, test.swept, n)
				}
				assert.Equal(c.T, test.status, stage.Ask(c.Behind, b.Cookie(), "/slow").Code)
				assert.Len(c.T, stage.Items(c.T, c.Backend, c.Table), 1-test.swept)
				want := "live"
				if test.swept == 1 {
					want = "new"
				}
				assert.Equal(c.T, want, stage.Ask(c.Behind, b.Cookie(), "/").Body.String())
				assert.Equal(c.T, want, stage.Ask(c.Ahead, b.Cookie(), "/").Body.String())
			})
		})
	}
}

func TestSweepOfUnusedSessions(t *testing.T) {
	const idle, touch, unused = time.Hour, time.Minute, 10 * time.Minute
	stage.InBubble(t, dynasession.Config{IdleTimeout: idle, TouchAfter: touch}, func(c *stage.Timed) {
		h := c.Visit(c.Store, nil)
		lost, kept := stage.NewBrowser(c.T, h), stage.NewBrowser(c.T, h)
		lost.OK("/new")
		kept.OK("/new")
		made := time.Now()
		gc := func() int {
			n, err := c.Store.GC(c.T.Context(), unused)
			require.NoError(c.T, err)
			return n
		}
		stage.SleepUntil(made.Add(touch))
		kept.OK("/")
		stage.SleepUntil(made.Add(unused + touch))
		assert.Zero(c.T, gc(), "it may have been used a moment before the touch was due")
		stage.SleepUntil(made.Add(unused + touch + time.Second))
		assert.Equal(c.T, 1, gc())
		assert.Equal(c.T, "new", lost.OK("/"))
		assert.Len(c.T, stage.Items(c.T, c.Backend, c.Table), 1)
		stage.SleepUntil(made.Add(unused + 2*touch))
		assert.Zero(c.T, gc())
		stage.SleepUntil(made.Add(unused + 2*touch + time.Second))
		assert.Equal(c.T, 1, gc())
		assert.Empty(c.T, stage.Items(c.T, c.Backend, c.Table))
	})
}

func TestSweepKeepsToItsRate(t *testing.T) {
	const sessions = 40
	for _, rate := range []float64{1, 7.5, 1000} {
		for _, segments := range []int{1, 4} {
			t.Run(fmt.Sprintf("%v units in %d segments", rate, segments), func(t *testing.T) {
				stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
					ago := make([]time.Duration, sessions)
					for i := range ago {
						ago[i] = time.Hour
					}
					expired(c, ago...)
					begin := time.Now()
					stats, err := c.Store.Sweep(c.T.Context(), dynasession.SweepOptions{UnitsPerSecond: rate, Segments: segments})
					require.NoError(c.T, err)
					assert.Equal(c.T, sessions, stats.Deleted)
					assert.GreaterOrEqual(c.T, stats.WriteUnits, float64(sessions))
					assert.Positive(c.T, stats.ReadUnits)
					assert.InDelta(c.T, (stats.ReadUnits+stats.WriteUnits)/rate, time.Since(begin).Seconds(), 0.001)
				})
			})
		}
	}
}

func TestSweepOnATombstone(t *testing.T) {
	stage.InTime(t, dynasession.Config{}, func(c *stage.Timed) {
		c.Stop()
		h := c.Visit(c.Store, stage.App{"/renew": stage.Handle(func(s *dynasession.Session) { s.Renew() })})
		br := stage.NewBrowser(c.T, h)
		br.OK("/new")
		br.OK("/renew")
		sweep := func() dynasession.SweepStats {
			stats, err := c.Store.Sweep(c.T.Context(), dynasession.SweepOptions{})
			require.NoError(c.T, err)
			return stats
		}
		collect := func() int {
			n, err := c.Store.GC(c.T.Context(), time.Second)
			require.NoError(c.T, err)
			return n
		}
		for range 2 {
			sweep()
			if c.InBubble() {
				assert.Zero(c.T, sweep().Expired)
			}
			assert.Len(c.T, stage.Tombstones(c.T, c.Backend, c.Table), 1)
			c.Pass(stage.Grace + time.Second)
		}
		c.Pass(60*time.Second - stage.Grace - time.Second)
		assert.Len(c.T, stage.Tombstones(c.T, c.Backend, c.Table), 1)
		c.Pass(stage.Grace)
		stats := sweep()
		assert.Zero(c.T, stats.Deleted, "it is no session")
		assert.Zero(c.T, stats.Expired)
		assert.Empty(c.T, stage.Tombstones(c.T, c.Backend, c.Table))
		br.OK("/renew")
		collect()
		assert.Len(c.T, stage.Tombstones(c.T, c.Backend, c.Table), 1)
	})
}

// TestSweepPredicts checks that a dry run knows the units that the sweep then takes.
func TestSweepPredicts(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		table := stage.NewTable()
		store := stage.NewStore(t, b, dynasession.Config{Table: table, NoCompression: true})
		for i := range 30 {
			sess, err := store.Start(t.Context())
			require.NoError(t, err)
			sess.Set("data", strings.Repeat("x", 200*i))
			if i%3 == 0 {
				sess.SetUser(fmt.Sprint("user", i))
			}
			require.NoError(t, sess.Save(t.Context()))
			if i%5 == 0 {
				sess.Renew() // leaves a tombstone
				require.NoError(t, sess.Save(t.Context()))
			}
		}
		for _, item := range stage.AllItems(t, b, table) {
			item["expires"] = stage.In(-time.Hour)
			stage.PutItem(t, b, table, item)
		}
		dry, err := store.Sweep(t.Context(), dynasession.SweepOptions{DryRun: true})
		require.NoError(t, err)
		assert.Len(t, stage.AllItems(t, b, table), 36)
		done, err := store.Sweep(t.Context(), dynasession.SweepOptions{})
		require.NoError(t, err)
		assert.Empty(t, stage.AllItems(t, b, table))
		assert.Equal(t, 30, dry.Expired)
		assert.Equal(t, 30, done.Deleted)
		assert.InEpsilon(t, done.WriteUnits, dry.WriteUnits, 0.05)
		assert.InDelta(t, done.ReadUnits, dry.ReadUnits, 0.5)
	})
}
