package dynasession_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// Guards that could be taken out without any other test noticing, as mutations showed.

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

func subBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
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

// TestWriteBesideAnother: a session that is made between Write's two calls is written to, not over.
func TestWriteBesideAnother(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := emptyScene(t, b, dynasession.Config{})
		id := sc.store.CreateID()
		var made map[string]types.AttributeValue
		sc.around("PutItem", func(apply func()) error {
			assert.NoError(t, sc.store.Write(t.Context(), id, []byte(`{"theirs":1}`)))
			made = sc.item()
			apply()
			return nil
		})
		require.NoError(t, sc.store.Write(t.Context(), id, []byte(`{"mine":1}`)))
		assert.Equal(t, made["w"], sc.item()["w"], "running requests merge with it")
		assert.Equal(t, "2", attr(sc.item(), "rev"))
	})
}

// TestGCOfWhatWasSavedInTheSameSecond: the expiry is the same; the revision tells.
func TestGCOfWhatWasSavedInTheSameSecond(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{})
		sc.edit(func(item map[string]types.AttributeValue) {
			item["expires"], item["born"] = in(10*time.Minute), in(-time.Hour)
		})
		sc.around("DeleteItem", func(apply func()) error {
			sc.edit(func(item map[string]types.AttributeValue) { item["rev"], item["data"] = num("2"), str(`{"n":1}`) })
			apply()
			return nil
		})
		stats, err := sc.store.Sweep(t.Context(), dynasession.SweepOptions{MaxLifetime: 15 * time.Minute})
		require.NoError(t, err)
		assert.Equal(t, 1, stats.Expired)
		assert.Zero(t, stats.Deleted)
		assert.Equal(t, `{"n":1}`, sc.data())
	})
}

// TestClientGoneLate: neither a save after the first byte nor the end of a lock dies with the client.
func TestClientGoneLate(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := newScene(t, b, dynasession.Config{Concurrency: policy})
		ctx, cancel := context.WithCancel(t.Context())
		sc.paths["/late"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
			write(w, "first")
			cancel()
			s.Set("late", true)
		}
		sc.do(ctx, "/late")
		assert.Contains(t, sc.data(), "late")
		ctx, cancel = context.WithCancel(t.Context())
		sc.paths["/panic"] = func(*session, http.ResponseWriter, *http.Request) {
			cancel()
			panic(http.ErrAbortHandler)
		}
		assert.Panics(t, func() { sc.do(ctx, "/panic") })
		assert.NotContains(t, sc.item(), "lock")
	})
}

// TestLateSaveFails: what cannot be saved after the headers have gone is told to the handler, if
// it asks, to Logger and to Observer. The response goes on, and ErrorHandler has no say any more.
func TestLateSaveFails(t *testing.T) {
	ways := map[string]func(w http.ResponseWriter){ // in which the headers go
		"write": func(http.ResponseWriter) {},
		"flush": func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		"read from": func(w http.ResponseWriter) {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader(""))
		},
		"hijack": func(w http.ResponseWriter) {
			_, _, err := w.(http.Hijacker).Hijack()
			assert.ErrorIs(t, err, errHijack)
		},
	}
	reasons := map[error]func(sc *scene, s *session){
		dynasession.ErrUnavailable: func(sc *scene, _ *session) {
			sc.b.calls.intercept(func(*call) (*http.Response, error) { return nil, errReset })
		},
		dynasession.ErrGone:     func(sc *scene, _ *session) { assert.NoError(t, sc.store.Destroy(sc.t.Context(), sc.id())) },
		dynasession.ErrTooLarge: func(_ *scene, s *session) { s.Set("large", strings.Repeat("x", 450<<10)) },
	}
	for _, policy := range policies {
		for way, send := range ways {
			for reason, spoil := range reasons {
				for _, saves := range []bool{false, true} {
					subBubble(t, fmt.Sprintf("%v, %s, %v, saves %v", policy, way, reason, saves), func(t *testing.T) {
						lateSaveFails(t, policy, send, reason, spoil, saves)
					})
				}
			}
		}
	}
}

func lateSaveFails(t *testing.T, policy dynasession.Concurrency, send func(http.ResponseWriter), reason error, spoil func(*scene, *session), saves bool) {
	var logged bytes.Buffer
	sc := newScene(t, embedded(t), dynasession.Config{
		Concurrency: policy, NoCompression: true, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { t.Error("ErrorHandler is called:", err) },
	})
	var ref string
	sc.paths["/late"] = func(s *session, w http.ResponseWriter, r *http.Request) {
		ref = s.Ref()
		write(w, "first")
		send(w)
		spoil(sc, s)
		s.Set("late", true)
		if saves {
			assert.ErrorIs(t, s.Save(r.Context()), reason)
		}
		write(w, " last")
	}
	before := items(t, sc.b, sc.table)
	if errors.Is(reason, dynasession.ErrGone) {
		before = nil
	}
	below := sc.handler
	sc.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		below.ServeHTTP(struct {
			http.ResponseWriter
			http.Flusher
			http.Hijacker
		}{w, w.(http.Flusher), hijackable{w}}, r)
	})
	w := sc.get("/late")
	sc.b.calls.intercept(nil)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, "first last", w.Body.String())
	assert.ElementsMatch(t, before, items(t, sc.b, sc.table))
	assert.Equal(t, 1, strings.Count(logged.String(), "a change after the response's headers is lost"), logged.String())
	assert.Contains(t, logged.String(), "level=ERROR")
	assert.Contains(t, logged.String(), ref)
	assert.NotContains(t, logged.String(), "xxxx")
	sc.mu.Lock()
	defer sc.mu.Unlock()
	assert.Contains(t, sc.failedOps, "late save")
	for _, err := range sc.errs {
		assert.ErrorIs(t, err, reason)
	}
}

// TestVerbsCancelled: a verb ends with its caller's context, before it has done anything or after.
func TestVerbsCancelled(t *testing.T) {
	for _, v := range verbs {
		for _, applied := range []bool{false, true} {
			subBubble(t, fmt.Sprintf("%s, applied: %v", v.name, applied), func(t *testing.T) {
				b := embedded(t)
				sc := v.scene(t, b, dynasession.Config{Table: newTable(), UserIndex: "by-user"})
				before := sc.contents()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				b.calls.intercept(func(c *call) (*http.Response, error) {
					if applied {
						if r, err := c.sendAs(context.WithoutCancel(c.request.Context())); err == nil {
							_ = r.Body.Close()
						}
					}
					cancel()
					<-c.request.Context().Done()
					return nil, c.request.Context().Err()
				})
				begin := time.Now()
				_, err := v.run(ctx, sc.store, sc.id())
				b.calls.intercept(nil)
				assert.LessOrEqual(t, time.Since(begin), 2*time.Minute)
				switch now := sc.contents(); {
				case err == nil:
					assert.Equal(t, v.after, now)
				case applied:
					assert.Contains(t, []string{before, v.after}, now)
				default:
					assert.Equal(t, before, now)
				}
			})
		}
	}
}

// TestClientGoneAtEachCall: whenever the client goes, the deed is done or not, and no lock is left.
func TestClientGoneAtEachCall(t *testing.T) {
	eachDeed(t, func(t *testing.T, cfg dynasession.Config, d deed) {
		cfg.Table = newTable()
		synctest.Test(t, func(t *testing.T) {
			for nth := range 3 {
				for _, applied := range []bool{false, true} {
					b := embedded(t)
					sc := newFaultScene(t, b, cfg, d)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					n := nth
					b.calls.intercept(func(c *call) (*http.Response, error) {
						if n--; n != -1 {
							return c.send()
						}
						if !applied {
							cancel()
						}
						r, err := c.send()
						cancel()
						return r, err
					})
					w := sc.do(ctx, d.path)
					b.calls.intercept(nil)
					synctest.Wait() // for a lock that is given up beside
					now := sc.contents()
					if w.Code == http.StatusOK {
						assert.Equal(t, d.after, now)
						assert.Equal(t, d.after, sc.opens(sc.browser))
					} else {
						assert.Contains(t, []string{d.before(), d.after}, now)
					}
					for _, item := range items(t, b, sc.table) {
						assert.NotContains(t, item, "lock", "call %d, status %d", nth+1, w.Code)
					}
				}
			}
		})
	})
}
