package dynasession_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// TestServersThatCannotOpen: a server with other keys, or of another build, says that it cannot open a
// session. It is the server's fault: the browser keeps its cookie, and its session.
func TestServersThatCannotOpen(t *testing.T) {
	key := func(b byte) [][]byte { return [][]byte{bytes.Repeat([]byte{b}, 32)} }
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for name, test := range map[string]struct {
			right, wrong dynasession.Config
			edit         func(item map[string]types.AttributeValue)
		}{
			"other keys": {right: dynasession.Config{EncryptionKeys: key(1)}, wrong: dynasession.Config{EncryptionKeys: key(2)}},
			"no keys":    {right: dynasession.Config{EncryptionKeys: key(1)}},
			"keys":       {wrong: dynasession.Config{EncryptionKeys: key(2)}},
			"a later form": {edit: func(item map[string]types.AttributeValue) {
				item["data"] = &types.AttributeValueMemberB{Value: []byte{0xC1, 0x40, 1, 2, 3}}
			}},
		} {
			t.Run(name, func(t *testing.T) {
				test.right.Concurrency, test.wrong.Concurrency = policy, policy
				sc := newScene(t, b, test.right)
				good := sc.item()
				if test.edit != nil {
					sc.edit(test.edit)
				}
				before := sc.item()
				var lines strings.Builder
				test.wrong.Table, test.wrong.Logger = sc.table, slog.New(slog.NewTextHandler(&lines, nil))
				wrong := newStore(t, b, test.wrong)
				for _, path := range []string{"/read", "/set?mine", "/login?alice", "/logout"} {
					w := askAs(wrong.Middleware(sc.paths), sc.cookie(), path)
					assert.Equal(t, http.StatusInternalServerError, w.Code, path)
					assert.Empty(t, cookies(w), path)
				}
				assert.Equal(t, 4, strings.Count(lines.String(), "level=ERROR"), lines.String())
				_, err := wrong.Read(t.Context(), sc.id())
				require.ErrorIs(t, err, dynasession.ErrCorrupt)
				assert.Equal(t, before, unlocked(sc.item()))
				putItem(t, b, sc.table, good)
				assert.Equal(t, "n token", sc.ok("/read"))
			})
		}
	})
}

// TestTwoCookiesOneCorrupt: of two cookies of the name, the one whose session can be read counts.
func TestTwoCookiesOneCorrupt(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := newScene(t, b, dynasession.Config{Concurrency: policy})
		bad := newBrowser(t, sc.handler)
		bad.ok("/new")
		item := sc.raw(keyOf(idOf(bad)))
		item["data"] = str("{")
		putItem(t, b, sc.table, item)
		for _, ids := range [][]string{{idOf(bad), sc.id()}, {sc.id(), idOf(bad)}} {
			br := bearing(t, sc.handler, ids...)
			assert.Equal(t, "n token", br.ok("/read"))
			br.ok("/count")
		}
		w := bearing(t, sc.handler, idOf(bad)).get("/read")
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		assert.Negative(t, onlyCookie(t, w).MaxAge, "no server could read it")
	})
}

// TestLargeBeforeCompression: DynamoDB's limit holds for what a session is, not for what it compresses to.
func TestLargeBeforeCompression(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newScene(t, b, dynasession.Config{})
		for size, fits := range map[int]bool{390 << 10: true, 400 << 10: false, 4 << 20: false} {
			sc.paths["/fill"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("big", strings.Repeat("x", size)) }
			w := sc.get("/fill")
			if fits {
				assert.Equal(t, http.StatusOK, w.Code, size)
				continue
			}
			sc.failed(w, http.StatusInternalServerError, dynasession.ErrTooLarge)
			require.ErrorIs(t, sc.store.Write(t.Context(), sc.id(), make([]byte, size)), dynasession.ErrTooLarge)
		}
	})
}

// TestInfoDecodesWhenAsked: listing sessions reads none of their values.
func TestInfoDecodesWhenAsked(t *testing.T) {
	b := embedded(t)
	codec := &countingCodec{}
	sc := newScene(t, b, dynasession.Config{UserIndex: "by-user", Codec: codec})
	sc.ok("/login?alice")
	codec.splits = 0
	infos, err := sc.store.UserSessions(t.Context(), "alice")
	require.NoError(t, err)
	require.Len(t, infos, 1)
	assert.Zero(t, codec.splits)
	var token string
	for range 2 {
		require.NoError(t, infos[0].Decode("token", &token))
	}
	assert.Equal(t, "t", token)
	assert.Equal(t, 1, codec.splits)
}

type countingCodec struct {
	dynasession.JSON
	splits int
}

func (c *countingCodec) Split(data []byte) ([]dynasession.KeyValue, error) {
	c.splits++
	return c.JSON.Split(data)
}

// TestManySessionsOfAUser: each call has a Timeout of its own, deletes begin with the first page, and what
// was ended is returned beside an error.
func TestManySessionsOfAUser(t *testing.T) {
	const many = 2300 // pages of the index, and batches of 100
	inBubble(t, dynasession.Config{UserIndex: "by-user", Timeout: time.Second}, func(c *timed) {
		until, now := in(10*time.Hour), in(0)
		for n := range many {
			key := fmt.Sprintf("session_%064x", n)
			putItem(c.t, c.backend, c.table, map[string]types.AttributeValue{
				"id": str(key), "expires": in(time.Hour), "until": until, "born": now, "auth": now, "rev": num("1"), "w": str("abcdefgh"),
				"user": str("alice"), "data": str(`{"x":"` + strings.Repeat("x", 1000) + `"}`),
			})
		}
		c.calls.take()
		slow := func(call *call) (*http.Response, error) {
			time.Sleep(15 * time.Millisecond)
			return call.send()
		}
		c.calls.intercept(slow)
		infos, err := c.store.UserSessions(context.Background(), "alice")
		require.NoError(c.t, err)
		assert.Len(c.t, infos, many)

		c.calls.take()
		deletes, queries := 0, 0
		c.calls.intercept(func(call *call) (*http.Response, error) {
			switch call.operation {
			case "DeleteItem":
				if deletes++; deletes > 150 {
					return nil, errReset
				}
			case "Query":
				queries++
			}
			return slow(call)
		})
		ended, err := c.store.DestroyUser(context.Background(), "alice", nil)
		require.ErrorIs(c.t, err, dynasession.ErrUnavailable)
		assert.Equal(c.t, 150, ended)
		assert.Equal(c.t, 1, queries, "the first page's sessions are ended first")

		c.calls.intercept(slow)
		ended, err = c.store.DestroyUser(context.Background(), "alice", nil)
		require.NoError(c.t, err)
		assert.Equal(c.t, many-150, ended)
		c.calls.intercept(nil)
		assert.Empty(c.t, items(c.t, c.backend, c.table))
	})
}

// TestAnswersInBetween: an error without one of DynamoDB's codes is something else's word, perhaps after
// DynamoDB has done what was asked.
func TestAnswersInBetween(t *testing.T) {
	bodies := map[string]string{"empty": "", "a page": "<html>403</html>", "JSON": `{"message":"Forbidden"}`}
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, status := range []int{400, 403, 404, 408, 413, 429, 499} {
			for name, body := range bodies {
				t.Run(fmt.Sprintf("%d, %s", status, name), func(t *testing.T) {
					sc := newScene(t, b, dynasession.Config{Concurrency: policy})
					var errs []error
					sc.paths["/twice"] = func(s *session, _ http.ResponseWriter, r *http.Request) {
						dynasession.Update(s, "n", func(n int) int { return n + 1 })
						errs = nil
						for range 3 {
							err := s.Save(r.Context())
							if errs = append(errs, err); err == nil {
								return
							}
						}
					}
					lost := 0
					b.calls.intercept(func(c *call) (*http.Response, error) {
						resp, err := c.send()
						if err == nil && c.operation == "UpdateItem" && strings.Contains(c.body, "#r = :r1") || strings.Contains(c.body, "ADD #r") {
							if lost++; lost == 1 {
								_ = resp.Body.Close()
								return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
							}
						}
						return resp, err
					})
					sc.get("/twice")
					b.calls.intercept(nil)
					for _, err := range errs[:len(errs)-1] {
						require.ErrorIs(t, err, dynasession.ErrUnavailable)
					}
					require.NoError(t, errs[len(errs)-1])
					if policy != dynasession.LastWriteWins {
						assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.data(), "counted once")
					}
				})
			}
		}
	})
}

// TestBinaryWithForeignWriters: what PHP would find as binary, where all else is a string, is refused.
func TestBinaryWithForeignWriters(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		for _, binary := range []bool{false, true} {
			table := newTable()
			cfg := dynasession.Config{Table: table, Concurrency: policy, ForeignWriters: true, NoCompression: true, BinaryData: binary, Codec: rawCodec{}}
			var told error
			cfg.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
				told = err
				w.WriteHeader(http.StatusTeapot)
			}
			s := newStore(t, b, cfg)
			br := newBrowser(t, s.Middleware(app{
				"/text":  func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("k", []byte("text")) },
				"/bytes": func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("k", []byte{0xff}) },
			}))
			br.ok("/text")
			before := onlyItem(t, b, table)
			w := br.get("/bytes")
			err := s.Write(t.Context(), s.CreateID(), []byte{0xff})
			if binary {
				assert.Equal(t, http.StatusOK, w.Code)
				require.NoError(t, err)
				continue
			}
			assert.Equal(t, http.StatusTeapot, w.Code)
			require.ErrorContains(t, told, "Config.BinaryData")
			require.ErrorContains(t, err, "Config.BinaryData")
			assert.Equal(t, before, unlocked(onlyItem(t, b, table)))
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

// TestSizesTellNothing: with keys, an item's size depends on the length of what it holds, and on nothing else.
func TestSizesTellNothing(t *testing.T) {
	b := embedded(t)
	key := [][]byte{bytes.Repeat([]byte{1}, 32)}
	sizes := map[int]bool{}
	for _, guess := range []string{"token=aaaaaaaaaaaaaaaa", "token=s3cr3t-s3cr3t-s3", strings.Repeat("token=s3cr3t-s3cr3t-s3", 1)} {
		table := newTable()
		s := newStore(t, b, dynasession.Config{Table: table, EncryptionKeys: key})
		h := s.Middleware(app{"/": func(s *session, _ http.ResponseWriter, _ *http.Request) {
			s.Set("secret", strings.Repeat("token=s3cr3t-s3cr3t-s3", 60))
			s.Set("visits", strings.Repeat(guess, 60))
		}})
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://shop.example.com/", http.NoBody))
		sizes[len(attr(onlyItem(t, b, table), "data"))] = true
	}
	assert.Len(t, sizes, 1, sizes)
}
