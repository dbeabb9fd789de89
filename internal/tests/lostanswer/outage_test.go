package lostanswer_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestServersThatCannotOpen: a server with other keys, or of another build, says that it cannot open a
// session. It is the server's fault: the browser keeps its cookie, and its session.
func TestServersThatCannotOpen(t *testing.T) {
	key := func(b byte) [][]byte { return [][]byte{bytes.Repeat([]byte{b}, 32)} }
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
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
				sc := stage.NewScene(t, b, test.right)
				good := sc.Item()
				if test.edit != nil {
					sc.Edit(test.edit)
				}
				before := sc.Item()
				var lines strings.Builder
				test.wrong.Table, test.wrong.Logger = sc.Table, slog.New(slog.NewTextHandler(&lines, nil))
				wrong := stage.NewStore(t, b, test.wrong)
				for _, path := range []string{"/read", "/set?mine", "/login?alice", "/logout"} {
					w := stage.Ask(wrong.Middleware(sc.Paths), sc.Cookie(), path)
					assert.Equal(t, http.StatusInternalServerError, w.Code, path)
					assert.Empty(t, stage.Cookies(w), path)
				}
				assert.Equal(t, 4, strings.Count(lines.String(), "level=ERROR"), lines.String())
				_, err := wrong.Read(t.Context(), sc.ID())
				require.ErrorIs(t, err, dynasession.ErrCorrupt)
				assert.Equal(t, before, stage.Unlocked(sc.Item()))
				stage.PutItem(t, b, sc.Table, good)
				assert.Equal(t, "n token", sc.OK("/read"))
			})
		}
	})
}

// TestTwoCookiesOneCorrupt: of two cookies of the name, the one whose session can be read counts.
func TestTwoCookiesOneCorrupt(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
		bad := stage.NewBrowser(t, sc.Handler)
		bad.OK("/new")
		item := sc.Raw(stage.KeyOf(stage.IDOf(bad)))
		item["data"] = stage.Str("{")
		stage.PutItem(t, b, sc.Table, item)
		for _, ids := range [][]string{{stage.IDOf(bad), sc.ID()}, {sc.ID(), stage.IDOf(bad)}} {
			br := stage.BrowserWithCookies(t, sc.Handler, ids...)
			assert.Equal(t, "n token", br.OK("/read"))
			br.OK("/count")
		}
		w := stage.BrowserWithCookies(t, sc.Handler, stage.IDOf(bad)).Get("/read")
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		assert.Negative(t, stage.OnlyCookie(t, w).MaxAge, "no server could read it")
	})
}

// TestAnswersInBetween: an error without one of DynamoDB's codes is something else's word, perhaps after
// DynamoDB has done what was asked.
func TestAnswersInBetween(t *testing.T) {
	bodies := map[string]string{"empty": "", "a page": "<html>403</html>", "JSON": `{"message":"Forbidden"}`}
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, status := range []int{400, 403, 404, 408, 413, 429, 499} {
			for name, body := range bodies {
				t.Run(fmt.Sprintf("%d, %s", status, name), func(t *testing.T) {
					sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy})
					var errs []error
					sc.Paths["/twice"] = func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
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
					b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
						resp, err := c.Send()
						if err == nil && c.Operation == "UpdateItem" && strings.Contains(c.Body, "#r = :r1") || strings.Contains(c.Body, "ADD #r") {
							if lost++; lost == 1 {
								_ = resp.Body.Close()
								return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
							}
						}
						return resp, err
					})
					sc.Get("/twice")
					b.Calls.Intercept(nil)
					for _, err := range errs[:len(errs)-1] {
						require.ErrorIs(t, err, dynasession.ErrUnavailable)
					}
					require.NoError(t, errs[len(errs)-1])
					if policy != dynasession.LastWriteWins {
						assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.Data(), "counted once")
					}
				})
			}
		}
	})
}
