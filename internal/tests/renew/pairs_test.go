package renew_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestCancelledRenewals: whatever cancels a renewal for a moment, it is repeated as it was.
func TestCancelledRenewals(t *testing.T) {
	passing := map[string]error{
		"TransactionConflict": dynasession.ErrConflict, "ThrottlingError": dynasession.ErrUnavailable, "ProvisionedThroughputExceeded": dynasession.ErrUnavailable,
	}
	lasting := []string{"ValidationError", "ItemCollectionSizeLimitExceeded", "AccessDenied", "DuplicateItem", "Unheard"}
	for _, policy := range stage.Policies {
		for _, ghost := range []bool{false, true} {
			parts := 2
			if ghost {
				parts = 3
			}
			scene := func(t *testing.T) (l *stage.Lineage, br *stage.Browser, bodies *[]string) {
				l = stage.NewLineage(t, stage.Embedded(t), dynasession.Config{Concurrency: policy})
				br = l.Browser
				if ghost {
					l.RenewBy("/login?alice")
					br = l.With(0)
				}
				bodies = &[]string{}
				l.B.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
					if c.Operation == "TransactWriteItems" {
						var in map[string]any // whose members have no order
						assert.NoError(t, json.Unmarshal([]byte(c.Body), &in))
						*bodies = append(*bodies, fmt.Sprint(in))
					}
					return c.Send()
				})
				return l, br, bodies
			}
			for code, end := range passing {
				for at := range parts {
					t.Run(fmt.Sprintf("%v, ghost %v, %s in %d", policy, ghost, code, at), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							reasons := make([]string, parts)
							reasons[at] = code
							l, br, bodies := scene(t)
							l.B.Server.Fault(dynamotest.Fault{Operation: "TransactWriteItems", Kind: dynamotest.Refuse, Reasons: reasons, Times: 2})
							br.OK("/login?bob")
							require.Len(t, *bodies, 3)
							assert.Len(t, slices.Compact(*bodies), 1, "the same bytes, with the same token")
							l.Live("bob")

							l, br, _ = scene(t)
							l.B.Server.Fault(dynamotest.Fault{Operation: "TransactWriteItems", Kind: dynamotest.Refuse, Reasons: reasons, Times: -1})
							before := stage.Unlocked(l.Item())
							w := br.Get("/login?bob")
							require.ErrorIs(t, l.Errs[len(l.Errs)-1], end)
							assert.GreaterOrEqual(t, w.Code, 400)
							assert.Empty(t, stage.Cookies(w))
							l.B.Server.ClearFaults()
							assert.Equal(t, before, stage.Unlocked(l.Item()))
						})
					})
				}
			}
			for _, code := range lasting {
				t.Run(fmt.Sprintf("%v, ghost %v, %s", policy, ghost, code), func(t *testing.T) {
					reasons := make([]string, parts)
					reasons[parts-1] = code
					l, br, bodies := scene(t)
					l.B.Server.Fault(dynamotest.Fault{Operation: "TransactWriteItems", Kind: dynamotest.Refuse, Reasons: reasons, Times: -1})
					w := br.Get("/login?bob")
					assert.Equal(t, http.StatusInternalServerError, w.Code)
					assert.Empty(t, stage.Cookies(w))
					assert.Len(t, *bodies, 1)
				})
			}
		}
	}
}

// TestRandomPairs: a renewal beside a logout, or beside a request with the old cookie, at random moments, and
// their answers in any order at the browser. A logout that is acknowledged ends what the session has become, and no
// older request replaces a newer cookie.
func TestRandomPairs(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.EmptyScene(t, b, dynasession.Config{Concurrency: policy, UserIndex: "by-user"})
		sc.AddPaths()
		rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
		outcomes := map[string]int{}
		for n := range pairsEach {
			user := fmt.Sprintf("user%d", n)
			renewal := []string{"/login?" + user, "/renew"}[rng.IntN(2)]
			beside := []string{"/logout", "/logout", "/limit-past", "/set?beside", "/count", "/read", "/login?" + user + "-again", "/restart", "/flash"}[rng.IntN(9)]
			br := stage.NewBrowser(t, sc.Handler)
			br.OK("/new")
			if rng.IntN(2) == 0 {
				br.OK("/login?" + user)
			}
			first := stage.IDOf(br)
			delays := [2]time.Duration{time.Duration(rng.IntN(4000)) * time.Microsecond, time.Duration(rng.IntN(4000)) * time.Microsecond}
			var answers [2]*httptest.ResponseRecorder
			var both sync.WaitGroup
			for i, path := range []string{renewal, beside} {
				both.Go(func() {
					time.Sleep(delays[i])
					answers[i] = stage.Ask(sc.Handler, first, path)
				})
			}
			both.Wait()
			order := []int{0, 1}
			if rng.IntN(2) == 0 {
				order = []int{1, 0}
			}
			for _, i := range order {
				br.Jar.SetCookies(stage.Origin, answers[i].Result().Cookies())
			}
			what := fmt.Sprintf("%s %d beside %s %d, answers %v", renewal, answers[0].Code, beside, answers[1].Code, order)
			renewed := newID(answers[0])
			outcomes[fmt.Sprintf("%s %d, %s %d", strings.TrimRight(renewal, "0123456789"), answers[0].Code, strings.TrimRight(strings.ReplaceAll(beside, "-again", ""), "0123456789"), answers[1].Code)]++
			live := 0
			for _, id := range []string{first, renewed, newID(answers[1])} {
				if id == "" {
					continue
				}
				if ok, err := sc.Store.ValidateID(t.Context(), id); assert.NoError(t, err) && ok {
					live++
				}
			}
			switch path, _, _ := strings.Cut(beside, "?"); path {
			case "/logout", "/limit-past":
				if path == "/limit-past" && answers[1].Code == http.StatusConflict { // with the old cookie
					require.Empty(t, stage.Cookies(answers[1]), what)
					require.Equal(t, renewed, stage.IDOf(br), what)
					break
				}
				require.Equal(t, http.StatusOK, answers[1].Code, what)
				if renewed != "" { // a sign-in that came after the logout has started a new session
					data, err := sc.Store.Read(t.Context(), renewed)
					if err == nil {
						require.NotContains(t, string(data), "token", "%s: signed out, and still signed in", what)
						live--
					}
				}
				require.Zero(t, live, what)
			case "/restart":
				require.Equal(t, http.StatusOK, answers[1].Code, what)
				if renewed != "" {
					data, err := sc.Store.Read(t.Context(), renewed)
					if err == nil {
						require.NotContains(t, string(data), "token", "%s: signed out, and still signed in", what)
						live--
					}
				}
				require.Equal(t, 1, live, what) // what was set after the logout
			case "/login":
				require.Equal(t, 1, live, "%s: two sign-ins leave one session", what)
			default:
				require.Equal(t, http.StatusOK, answers[0].Code, what)
				if *stage.WithEventualReads { // every save sets the cookie: Config.EventualReads says what that means
					br.Jar.SetCookies(stage.Origin, answers[0].Result().Cookies())
				} else {
					require.Empty(t, stage.Cookies(answers[1]), what)
				}
				require.Equal(t, renewed, stage.IDOf(br), "%s: the newer cookie is replaced", what)
				require.Equal(t, 1, live, what)
				body := br.OK("/read")
				require.Contains(t, body, "token", what)
				if strings.HasPrefix(renewal, "/login") {
					require.Contains(t, body, user, what)
				}
			}
		}
		t.Log(outcomes)
	})
}
