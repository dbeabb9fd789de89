package php_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestPHPMovedExpires: PHP's lifetime is its own, but for the absolute end.
func TestPHPMovedExpires(t *testing.T) {
	for _, policy := range stage.Policies {
		stage.InTime(t, dynasession.Config{Concurrency: policy, ForeignWriters: true}, func(c *stage.Timed) {
			c.Stop()
			br := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{"/set": stage.Handle(func(s *dynasession.Session) {
				dynasession.Update(s, "n", func(n int) int { return n + 1 })
			})}))
			br.OK("/new")
			item := c.Item()
			far := c.Now().Add(5 * time.Hour)
			c.Amend(item, map[string]types.AttributeValue{"expires": stage.Num(stage.EpochText(far))})
			br.OK("/")
			br.OK("/set")
			assert.Equal(c.T, stage.EpochText(far), stage.Attr(c.Item(), "expires"), "one visit to a page of Go's does not shorten it")
			c.Amend(c.Item(), map[string]types.AttributeValue{"expires": stage.Num(stage.EpochText(c.Now().Add(100 * time.Hour)))})
			br.OK("/set")
			assert.Equal(c.T, stage.Attr(item, "until"), stage.Attr(c.Item(), "expires"))
		})
	}
}

// TestBinaryWithForeignWriters: what PHP would find as binary, where all else is a string, is refused.
func TestBinaryWithForeignWriters(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, binary := range []bool{false, true} {
			table := stage.NewTable()
			cfg := dynasession.Config{Table: table, Concurrency: policy, ForeignWriters: true, NoCompression: true, BinaryData: binary, Codec: rawCodec{}}
			var told error
			cfg.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
				told = err
				w.WriteHeader(http.StatusTeapot)
			}
			s := stage.NewStore(t, b, cfg)
			br := stage.NewBrowser(t, s.Middleware(stage.App{
				"/text":  func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("k", []byte("text")) },
				"/bytes": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("k", []byte{0xff}) },
			}))
			br.OK("/text")
			before := stage.OnlyItem(t, b, table)
			w := br.Get("/bytes")
			err := s.Write(t.Context(), s.CreateID(), []byte{0xff})
			if binary {
				assert.Equal(t, http.StatusOK, w.Code)
				require.NoError(t, err)
				continue
			}
			assert.Equal(t, http.StatusTeapot, w.Code)
			require.ErrorContains(t, told, "Config.BinaryData")
			require.ErrorContains(t, err, "Config.BinaryData")
			assert.Equal(t, before, stage.Unlocked(stage.OnlyItem(t, b, table)))
		}
	})
}

// rawCodec keeps one value, as it is.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }

func (rawCodec) Unmarshal(data []byte, v any) error {
	p, ok := v.(*[]byte)
	if !ok {
		return errors.New("not a []byte")
	}
	*p = data
	return nil
}

func (rawCodec) Join(values []dynasession.KeyValue) ([]byte, error) { return values[0].Value, nil }

func (rawCodec) Split(data []byte) ([]dynasession.KeyValue, error) {
	return []dynasession.KeyValue{{Key: "k", Value: data}}, nil
}

// TestProtocolPHPWritesUnderALock: PHP's write removes lock and leaves holder, which alone
// must not let the save pass.
func TestProtocolPHPWritesUnderALock(t *testing.T) {
	const theirs = `{"php":true}`
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, path := range []string{"/set?mine", "/login?alice", "/read"} {
			t.Run(path, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, ForeignWriters: true})
				sc.Age()
				var written map[string]types.AttributeValue
				sc.Inside = func() {
					sc.Edit(func(item map[string]types.AttributeValue) {
						require.NotEmpty(t, stage.Attr(item, "holder"))
						delete(item, "lock")
						item["data"], item["expires"] = stage.Str(theirs), stage.In(20*time.Minute)
						written = item
					})
				}
				w := sc.Get(path)
				if path == "/read" {
					assert.Equal(t, http.StatusOK, w.Code)
				} else {
					sc.Failed(w, http.StatusConflict, dynasession.ErrLockLost)
				}
				assert.Equal(t, written, sc.Item())
				assert.JSONEq(t, theirs, sc.Data())
			})
		}
	})
}

// TestProtocolPHPHoldsTheLock: PHP's lock is a 1, which has no end. A request that waits sets one.
func TestProtocolPHPHoldsTheLock(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: 100 * time.Millisecond, ForeignWriters: true})
		sc.Edit(func(item map[string]types.AttributeValue) { item["lock"] = stage.Num("1") })
		before := sc.Item()
		begin := time.Now().UnixMilli()
		sc.WaitInVain()
		after := sc.Item()
		assert.GreaterOrEqual(t, stage.IntAttr(t, after, "lock"), begin+dynasession.DefaultLockLease.Milliseconds())
		assert.Equal(t, stage.Unlocked(before), stage.Unlocked(after))
	})
}

// TestProtocolForeignWriter: PHP leaves rev as it was, so the data itself is compared, with
// its type: a B never equals an S.
func TestProtocolForeignWriter(t *testing.T) {
	tests := []struct {
		name   string
		binary bool // what Go wrote
		data   types.AttributeValue
		path   string
		status int
		want   string
	}{
		{"same data as B", false, &types.AttributeValueMemberB{Value: []byte(`{"n":0,"token":"t"}`)}, "/set?mine", 200, `{"mine":true,"n":0,"token":"t"}`},
		{"same data as S", true, stage.Str(`{"n":0,"token":"t"}`), "/set?mine", 200, `{"mine":true,"n":0,"token":"t"}`},
		{"same data, renewed", false, &types.AttributeValueMemberB{Value: []byte(`{"n":0,"token":"t"}`)}, "/login?alice", 200, `{"n":0,"token":"t"}`},
		{"other data", false, stage.Str(`{"n":5,"php":true,"token":"t"}`), "/count", 200, `{"n":6,"php":true,"token":"t"}`},
		{"other data, renewed", false, stage.Str(`{"php":true}`), "/login?alice", 200, `{"php":true}`},
		{"token spent", false, stage.Str(`{"php":true}`), "/pop", 409, `{"php":true}`},
		{"no data", false, nil, "/set?mine", 200, `{"mine":true}`},
	}
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{ForeignWriters: true, BinaryData: test.binary})
				sc.Inside = func() {
					sc.Edit(func(item map[string]types.AttributeValue) {
						delete(item, "data")
						if test.data != nil {
							item["data"] = test.data
						}
					})
				}
				w := sc.Get(test.path)
				assert.Equal(t, test.status, w.Code, w.Body.String())
				assert.JSONEq(t, test.want, sc.Data())
				sc.Item()
			})
		}
	})
}

// phpWrote is an item as PHP makes it: without a mark, a revision or a birth.
func phpWrote(item map[string]types.AttributeValue, data string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": item["id"], "expires": stage.In(time.Hour), "data": stage.Str(data)}
}

// TestProtocolPHPBringsASessionBack: a running request writes nothing into what PHP has made
// anew after a logout.
func TestProtocolPHPBringsASessionBack(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, path := range []string{"/set?mine", "/count", "/login?alice"} {
			t.Run(path, func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy, ForeignWriters: true})
				var made map[string]types.AttributeValue
				sc.Inside = func() {
					made = phpWrote(sc.Item(), `{"php":true}`)
					require.NoError(t, sc.Store.Destroy(t.Context(), sc.ID()))
					stage.PutItem(t, b, sc.Table, made)
				}
				w := sc.Get(path)
				assert.Equal(t, http.StatusConflict, w.Code)
				assert.Equal(t, made, sc.Item())
			})
		}
	})
}

// TestProtocolPHPWritesAfterALostAnswer: PHP leaves the marks, so that a save which had taken
// effect is recognised under what PHP has written since, and counts once.
func TestProtocolPHPWritesAfterALostAnswer(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for _, ofPHP := range []bool{false, true} {
			t.Run(fmt.Sprintf("item of PHP %v", ofPHP), func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{ForeignWriters: true})
				if ofPHP {
					item := sc.Item()
					_, err := b.Client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &sc.Table, Key: map[string]types.AttributeValue{"id": item["id"]}})
					require.NoError(t, err)
					stage.PutItem(t, b, sc.Table, phpWrote(item, stage.NewData))
				}
				sc.Around("UpdateItem", func(apply func()) error {
					apply()
					sc.Edit(func(item map[string]types.AttributeValue) { item["data"] = stage.Str(`{"n":1,"php":true}`) })
					return stage.ErrReset
				})
				sc.OK("/count")
				assert.JSONEq(t, `{"n":1,"php":true}`, sc.Data())
			})
		}
	})
}

// TestProtocolPHPWritesPastTheLock: without locking it changes the data and leaves the lock.
func TestProtocolPHPWritesPastTheLock(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, ForeignWriters: true})
		sc.Inside = func() {
			sc.Edit(func(item map[string]types.AttributeValue) {
				item["data"], item["expires"] = stage.Str(`{"n":5,"php":true}`), stage.In(20*time.Minute)
			})
		}
		sc.OK("/count")
		assert.JSONEq(t, `{"n":6,"php":true}`, sc.Data())
		assert.NotContains(t, sc.Item(), "lock")
	})
}

func TestNamesThatPHPWouldCut(t *testing.T) {
	for _, name := range []string{"_admin", "__x", "_"} {
		_, err := dynasession.New(stage.Embedded(t).Client, dynasession.Config{Name: name})
		require.ErrorContains(t, err, "Config.Name", name)
	}
	_, err := dynasession.New(stage.Embedded(t).Client, dynasession.Config{Name: "ad_min_"})
	require.NoError(t, err)
}

func TestLimitToHoldsThoughPHPMovesTheExpiry(t *testing.T) {
	stage.InBubble(t, dynasession.Config{}, func(c *stage.Timed) {
		end := time.Now().Add(30 * time.Minute)
		b := stage.NewBrowser(c.T, c.Visit(c.Store, stage.App{"/limit": stage.Handle(func(s *dynasession.Session) { s.LimitTo(end) })}))
		b.OK("/new")
		b.OK("/limit")
		c.Amend(c.Item(), map[string]types.AttributeValue{"expires": stage.Num(stage.EpochText(end.Add(time.Hour)))})
		stage.SleepUntil(end.Add(-time.Second))
		assert.Equal(c.T, "live", b.OK("/"))
		stage.SleepUntil(end)
		assert.Equal(c.T, "new", b.OK("/"))
	})
}

// TestWaitersOfPHPsLock: whoever waited in its own process for one that waited for PHP is told of a
// lock, not of an outage.
func TestWaitersOfPHPsLock(t *testing.T) {
	stage.InBubble(t, dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Second, LockLease: time.Hour}, func(c *stage.Timed) {
		var mu sync.Mutex
		var told []error
		cfg := dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Second, LockLease: time.Hour}
		cfg.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, err)
			w.WriteHeader(http.StatusTeapot)
		}
		h := c.Visit(c.With(cfg), nil)
		b := stage.NewBrowser(c.T, h)
		b.OK("/new")
		c.Amend(c.Item(), map[string]types.AttributeValue{"lock": stage.Num("1")})
		c.Calls.Intercept(func(call *stage.Call) (*http.Response, error) { // looks take a moment, so that deadlines pass during them
			time.Sleep(7 * time.Millisecond)
			return call.Send()
		})
		var all sync.WaitGroup
		for n := range 4 {
			all.Go(func() {
				time.Sleep(time.Duration(n) * 3 * time.Millisecond)
				stage.Ask(h, b.Cookie(), "/")
			})
		}
		all.Wait()
		time.Sleep(time.Minute) // the calls that were given up
		c.Calls.Intercept(nil)
		assert.Len(c.T, told, 4)
		for _, err := range told {
			assert.ErrorIs(c.T, err, dynasession.ErrLocked)
		}
	})
}

// TestPHPsLockUnderMerge: a store that does not lock says once that PHP does.
func TestPHPsLockUnderMerge(t *testing.T) {
	for _, policy := range stage.Policies {
		var lines strings.Builder
		cfg := dynasession.Config{Concurrency: policy, ForeignWriters: true, Logger: slog.New(slog.NewTextHandler(&lines, nil)), LockWait: time.Second}
		stage.InBubble(t, cfg, func(c *stage.Timed) {
			b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
			b.OK("/new")
			assert.Empty(c.T, lines.String())
			c.Amend(c.Item(), map[string]types.AttributeValue{"lock": stage.Num("1")})
			for range 3 {
				b.Get("/")
			}
			want := 1
			if policy == dynasession.Lock {
				want = 0
			}
			assert.Equal(c.T, want, strings.Count(lines.String(), "PHP locks"), lines.String())
		})
	}
}

func TestLockOfPHPIsGivenAnEnd(t *testing.T) {
	const lease = 4 * time.Second
	stage.InBubble(t, dynasession.Config{Concurrency: dynasession.Lock, LockLease: lease}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
		b.OK("/new")
		c.Amend(c.Item(), map[string]types.AttributeValue{"lock": stage.Num("1")})
		begin := time.Now()
		var wg sync.WaitGroup
		var body string
		wg.Go(func() { body = b.OK("/") })
		time.Sleep(time.Second)
		assert.Equal(c.T, strconv.FormatInt(begin.Add(lease).UnixMilli(), 10), stage.Attr(c.Item(), "lock"))
		wg.Wait()
		assert.Equal(c.T, "live", body)
		took := time.Since(begin)
		assert.GreaterOrEqual(c.T, took, lease+2*time.Second)
		assert.Less(c.T, took, lease+2*time.Second+stage.NextLook)
	})
}

func TestLockOfPHPGivenUpInTime(t *testing.T) {
	stage.InBubble(t, dynasession.Config{Concurrency: dynasession.Lock}, func(c *stage.Timed) {
		b := stage.NewBrowser(c.T, c.Visit(c.Store, nil))
		b.OK("/new")
		item := c.Item()
		c.Amend(item, map[string]types.AttributeValue{"lock": stage.Num("1")})
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(c.T, "live", b.OK("/")) })
		time.Sleep(3 * time.Second)
		stage.PutItem(c.T, c.Backend, c.Table, item)
		wg.Wait()
		assert.Less(c.T, time.Since(begin), 3*time.Second+stage.NextLook)
	})
}

func TestRenewWithForeignWriters(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy, ForeignWriters: true}, "/login?alice")
		assert.Nil(t, l.Raw(l.Key(0)))
		assert.Equal(t, "none", l.With(0).OK("/read"))
		l.Live("alice")
	})
}
