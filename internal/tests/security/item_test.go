package security_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// scripted is a DynamoDB that says what a test wants.
type scripted func(operation string, body []byte) (status int, answer string)

func (s scripted) Do(r *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	status, answer := s(op, body)
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body:   io.NopCloser(strings.NewReader(answer)),
	}, nil
}

func (s scripted) client() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient: s, RetryMaxAttempts: 1, Retryer: aws.NopRetryer{},
	})
}

const (
	liveItem = `{"id":{"S":"session_x"},"expires":{"N":"9999999999"},"rev":{"N":"1"},"w":{"S":"creation"},
		"born":{"N":"1790000000"},"until":{"N":"9999999999"},"data":{"S":"{\"a\":1,\"token\":\"t\"}"},"idle":{"N":"9999"}}`
	refused = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
)

// FuzzItem has a store read what somebody else has put into the table, and merge with it:
// the session, or an error, and never a write of what cannot be read.
func FuzzItem(f *testing.F) {
	for _, item := range []string{
		liveItem,
		`{}`,
		`{"id":{"S":"x"},"lock":{"N":"1"}}`,
		`{"expires":{"N":"1e300"},"rev":{"N":"-1"},"w":{"S":""},"data":{"B":"wQEAAA=="}}`,
		`{"expires":{"S":"9999999999"},"data":{"L":[{"M":{"a":{"NULL":true}}}]}}`,
		`{"expires":{"N":"9999999999.5"},"data":{"S":"{\"a\":"},"born":{"N":"99999999999999999999"}}`,
		`{"expires":{"N":"9999999999"},"idle":{"N":"9"},"data":{"B":"wQM="},"w":{"SS":["a"]},"lock":{"N":"9e99"},"holder":{"S":"h"}}`,
		strings.Replace(liveItem, `{\"a\":1`, strings.Repeat(`[`, 10_000), 1),
	} {
		for kind := range byte(12) {
			f.Add([]byte(item), kind)
		}
	}
	f.Fuzz(func(t *testing.T, item []byte, kind byte) {
		if !json.Valid(item) || len(item) > 400<<10 {
			return
		}
		cfg := dynasession.Config{
			Concurrency: stage.Policies[kind%3], ForeignWriters: kind&4 != 0, Timeout: time.Second, LockWait: time.Millisecond,
			Logger: slog.New(slog.DiscardHandler), Lifetime: 100 * 365 * 24 * 3600e9, IdleTimeout: 3600e9,
		}
		if kind&8 != 0 {
			cfg.EncryptionKeys = [][]byte{bytes.Repeat([]byte{7}, 32)}
		}
		// Each store has a script of its own: a call that it has given up on may still be under way
		// when the next one begins.
		answer := func(first string) (store *dynasession.Store, written func() string) {
			var mu sync.Mutex
			var calls int
			var last []byte
			store, err := dynasession.New(scripted(func(op string, body []byte) (int, string) {
				mu.Lock()
				defer mu.Unlock()
				calls++
				switch {
				case calls > 20:
					return http.StatusInternalServerError, `{"__type":"InternalServerError"}` // enough
				case op == "GetItem" && calls == 1:
					return http.StatusOK, `{"Item":` + first + `}`
				case op == "UpdateItem" && calls == 1:
					return http.StatusOK, `{"Attributes":` + first + `}`
				case op == "UpdateItem" && calls == 2:
					return http.StatusBadRequest, `{"__type":"` + refused + `","Item":` + string(item) + `}`
				}
				last = body
				return http.StatusOK, `{}`
			}).client(), cfg)
			require.NoError(t, err)
			return store, func() string {
				mu.Lock()
				defer mu.Unlock()
				return string(last)
			}
		}

		// Read as it is.
		store, _ := answer(string(item))
		if data, err := store.Read(t.Context(), store.CreateID()); err != nil {
			require.Nil(t, data)
		}
		for _, first := range []string{string(item), liveItem} {
			store, written := answer(first)
			br := stage.NewBrowser(t, store.Middleware(stage.App{"/": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
				s.Set("mine", true)
				stage.CountUp(s)
				dynasession.Pop[string](s, "token")
				for _, key := range s.Keys() {
					_ = s.Decode(key, new(any))
				}
				stage.Write(w, s.User()+s.Created().String()+s.Expires().String())
			}}))
			br.Jar.SetCookies(stage.Origin, []*http.Cookie{{Name: stage.CookieName, Value: store.CreateID(), Secure: true, Path: "/"}})
			w := br.Get("/")
			if w.Code == http.StatusOK {
				require.NotEmpty(t, written())
				if kind&8 == 0 {
					require.Contains(t, written(), `mine`)
				}
				continue
			}
			require.Contains(t, []int{http.StatusConflict, http.StatusInternalServerError, http.StatusServiceUnavailable}, w.Code)
		}
	})
}

// TestUnwritableItems: an item whose rev or marks this package did not write is refused at once, and not sixty
// times. The session can be read, and can end.
func TestUnwritableItems(t *testing.T) {
	const tiny = "1E-130"
	for name, spoil := range map[string]func(item map[string]types.AttributeValue){
		"rev is text": func(item map[string]types.AttributeValue) { item["rev"] = stage.Str("7") },
		"rev is null": func(item map[string]types.AttributeValue) { item["rev"] = &types.AttributeValueMemberNULL{Value: true} },
		"rev is 0":    func(item map[string]types.AttributeValue) { item["rev"] = stage.Num("0") },
		"rev is 1.5":  func(item map[string]types.AttributeValue) { item["rev"] = stage.Num("1.5") },
		"rev is huge": func(item map[string]types.AttributeValue) {
			item["rev"] = stage.Num("9.9999999999999999999999999999999999999E+125")
		},
		"rev is tiny":   func(item map[string]types.AttributeValue) { item["rev"] = stage.Num(tiny) },
		"w is empty":    func(item map[string]types.AttributeValue) { item["w"] = stage.Str("") },
		"w is a number": func(item map[string]types.AttributeValue) { item["w"] = stage.Num("7") },
		"w is a set": func(item map[string]types.AttributeValue) {
			item["w"] = &types.AttributeValueMemberSS{Value: []string{"a"}}
		},
		"w and rev do so": func(item map[string]types.AttributeValue) { item["w"], item["rev"] = stage.Num("7"), stage.Str("7") },
	} {
		t.Run(name, func(t *testing.T) {
			stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
				for _, path := range []string{"/set?mine", "/count", "/login?alice", "/renew", "/read", "/logout"} {
					l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy})
					l.Edit(spoil)
					b.Calls.Take()
					w := l.Get(path)
					calls := b.Calls.Take()
					assert.LessOrEqual(t, len(calls), 5, "%s: %v", path, calls)
					switch {
					case path == "/read":
						assert.Equal(t, "n token", w.Body.String())
					case path == "/logout" && w.Code == http.StatusOK:
						l.Nobody()
					case w.Code != http.StatusOK: // some can be written: LastWriteWins asks less
						l.Failed(w, http.StatusInternalServerError, dynasession.ErrCorrupt)
						assert.Equal(t, l.IDs[0], l.ID(), "%s: the cookie stays", path)
						assert.Empty(t, stage.Cookies(w), path)
					}
				}
			})
		})
	}
}
