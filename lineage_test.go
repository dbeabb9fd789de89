package dynasession_test

import (
	"context"
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

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

// TestCancelledRenewals: whatever cancels a renewal for a moment, it is repeated as it was.
func TestCancelledRenewals(t *testing.T) {
	passing := map[string]error{
		"TransactionConflict": dynasession.ErrConflict, "ThrottlingError": dynasession.ErrUnavailable, "ProvisionedThroughputExceeded": dynasession.ErrUnavailable,
	}
	lasting := []string{"ValidationError", "ItemCollectionSizeLimitExceeded", "AccessDenied", "DuplicateItem", "Unheard"}
	for _, policy := range policies {
		for _, ghost := range []bool{false, true} {
			parts := 2
			if ghost {
				parts = 3
			}
			scene := func(t *testing.T) (l *lineage, br *browser, bodies *[]string) {
				l = newLineage(t, embedded(t), dynasession.Config{Concurrency: policy})
				br = l.browser
				if ghost {
					l.renewBy("/login?alice")
					br = l.with(0)
				}
				bodies = &[]string{}
				l.b.calls.intercept(func(c *call) (*http.Response, error) {
					if c.operation == "TransactWriteItems" {
						var in map[string]any // whose members have no order
						assert.NoError(t, json.Unmarshal([]byte(c.body), &in))
						*bodies = append(*bodies, fmt.Sprint(in))
					}
					return c.send()
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
							l.b.server.Fault(dynamotest.Fault{Operation: "TransactWriteItems", Kind: dynamotest.Refuse, Reasons: reasons, Times: 2})
							br.ok("/login?bob")
							require.Len(t, *bodies, 3)
							assert.Len(t, slices.Compact(*bodies), 1, "the same bytes, with the same token")
							l.live("bob")

							l, br, _ = scene(t)
							l.b.server.Fault(dynamotest.Fault{Operation: "TransactWriteItems", Kind: dynamotest.Refuse, Reasons: reasons, Times: -1})
							before := unlocked(l.item())
							w := br.get("/login?bob")
							require.ErrorIs(t, l.errs[len(l.errs)-1], end)
							assert.GreaterOrEqual(t, w.Code, 400)
							assert.Empty(t, cookies(w))
							l.b.server.ClearFaults()
							assert.Equal(t, before, unlocked(l.item()))
						})
					})
				}
			}
			for _, code := range lasting {
				t.Run(fmt.Sprintf("%v, ghost %v, %s", policy, ghost, code), func(t *testing.T) {
					reasons := make([]string, parts)
					reasons[parts-1] = code
					l, br, bodies := scene(t)
					l.b.server.Fault(dynamotest.Fault{Operation: "TransactWriteItems", Kind: dynamotest.Refuse, Reasons: reasons, Times: -1})
					w := br.get("/login?bob")
					assert.Equal(t, http.StatusInternalServerError, w.Code)
					assert.Empty(t, cookies(w))
					assert.Len(t, *bodies, 1)
				})
			}
		}
	}
}

// pairsEach is how many pairs of requests run side by side, for each policy and backend.
const pairsEach = 300

// TestRandomPairs: a renewal beside a logout, or beside a request with the old cookie, at random moments, and
// their answers in any order at the browser. A logout that is acknowledged ends what the session has become, and no
// older request replaces a newer cookie.
func TestRandomPairs(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := emptyScene(t, b, dynasession.Config{Concurrency: policy, UserIndex: "by-user"})
		sc.addPaths()
		rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
		outcomes := map[string]int{}
		for n := range pairsEach {
			user := fmt.Sprintf("user%d", n)
			renewal := []string{"/login?" + user, "/renew"}[rng.IntN(2)]
			beside := []string{"/logout", "/logout", "/limit-past", "/set?beside", "/count", "/read", "/login?" + user + "-again", "/restart", "/flash"}[rng.IntN(9)]
			br := newBrowser(t, sc.handler)
			br.ok("/new")
			if rng.IntN(2) == 0 {
				br.ok("/login?" + user)
			}
			first := idOf(br)
			delays := [2]time.Duration{time.Duration(rng.IntN(4000)) * time.Microsecond, time.Duration(rng.IntN(4000)) * time.Microsecond}
			var answers [2]*httptest.ResponseRecorder
			var both sync.WaitGroup
			for i, path := range []string{renewal, beside} {
				both.Go(func() {
					time.Sleep(delays[i])
					answers[i] = askAs(sc.handler, first, path)
				})
			}
			both.Wait()
			order := []int{0, 1}
			if rng.IntN(2) == 0 {
				order = []int{1, 0}
			}
			for _, i := range order {
				br.jar.SetCookies(origin, answers[i].Result().Cookies())
			}
			what := fmt.Sprintf("%s %d beside %s %d, answers %v", renewal, answers[0].Code, beside, answers[1].Code, order)
			renewed := newID(answers[0])
			outcomes[fmt.Sprintf("%s %d, %s %d", strings.TrimRight(renewal, "0123456789"), answers[0].Code, strings.TrimRight(strings.ReplaceAll(beside, "-again", ""), "0123456789"), answers[1].Code)]++
			live := 0
			for _, id := range []string{first, renewed, newID(answers[1])} {
				if id == "" {
					continue
				}
				if ok, err := sc.store.ValidateID(t.Context(), id); assert.NoError(t, err) && ok {
					live++
				}
			}
			switch path, _, _ := strings.Cut(beside, "?"); path {
			case "/logout", "/limit-past":
				if path == "/limit-past" && answers[1].Code == http.StatusConflict { // with the old cookie
					require.Empty(t, cookies(answers[1]), what)
					require.Equal(t, renewed, idOf(br), what)
					break
				}
				require.Equal(t, http.StatusOK, answers[1].Code, what)
				if renewed != "" { // a sign-in that came after the logout has started a new session
					data, err := sc.store.Read(t.Context(), renewed)
					if err == nil {
						require.NotContains(t, string(data), "token", "%s: signed out, and still signed in", what)
						live--
					}
				}
				require.Zero(t, live, what)
			case "/restart":
				require.Equal(t, http.StatusOK, answers[1].Code, what)
				if renewed != "" {
					data, err := sc.store.Read(t.Context(), renewed)
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
				if *withEventualReads { // every save sets the cookie: Config.EventualReads says what that means
					br.jar.SetCookies(origin, answers[0].Result().Cookies())
				} else {
					require.Empty(t, cookies(answers[1]), what)
				}
				require.Equal(t, renewed, idOf(br), "%s: the newer cookie is replaced", what)
				require.Equal(t, 1, live, what)
				body := br.ok("/read")
				require.Contains(t, body, "token", what)
				if strings.HasPrefix(renewal, "/login") {
					require.Contains(t, body, user, what)
				}
			}
		}
		t.Log(outcomes)
	})
}

// newID is the id that a response brings; "" for none.
func newID(w *httptest.ResponseRecorder) string {
	for _, c := range w.Result().Cookies() {
		if c.MaxAge >= 0 {
			id, _, _ := strings.Cut(c.Value, ".")
			return id
		}
	}
	return ""
}

// TestAnotherUser: nothing of one user's session stays for the next, on every rebase either, and nothing of
// "remember me".
func TestAnotherUser(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		add := func(sc *scene) {
			sc.paths["/login-all"] = func(s *session, _ http.ResponseWriter, r *http.Request) {
				s.Set("before", 1)
				s.AddFlash("before")
				if sc.inside != nil {
					inside := sc.inside
					sc.inside = nil
					inside()
				}
				s.SetUser(r.URL.RawQuery)
				assert.False(sc.t, s.Has("before"))
				assert.Empty(sc.t, dynasession.Flashes[string](s))
				s.Set("after", 2)
				dynasession.Update(s, "n", func(n int) int { return n + 1 })
			}
			sc.paths["/login-cart"] = func(s *session, _ http.ResponseWriter, r *http.Request) {
				s.Set("before", 1)
				s.SetUser(r.URL.RawQuery)
			}
		}
		for _, to := range []string{"bob", ""} {
			l := newLineage(t, b, dynasession.Config{Concurrency: policy}, "/login?alice")
			add(l.scene)
			l.ok("/limit")
			rival := l.rival()
			l.inside = func() { rival.ok("/set?theirs") } // what another tab saves meanwhile does not come along
			l.ok("/login-all?" + to)
			assert.JSONEq(t, `{"after":2,"n":1}`, l.data(), to)
			item := l.item()
			assert.Equal(t, to, attr(item, "user"))
			assert.NotContains(t, item, "limit", "it begins anew")
			assert.WithinDuration(t, time.Now(), time.Unix(intAttr(t, item, "born"), 0), 5*time.Second)
		}
		for _, from := range []string{"", "alice"} { // from nobody, and of the same user
			l := newLineage(t, b, dynasession.Config{Concurrency: policy})
			add(l.scene)
			if from != "" {
				l.ok("/login?" + from)
			}
			l.edit(func(item map[string]types.AttributeValue) { item["born"] = in(-time.Hour) })
			l.ok("/limit")
			before := l.item()
			l.ok("/login-cart?alice")
			assert.JSONEq(t, `{"before":1,"n":0,"token":"t"}`, l.data())
			assert.Equal(t, before["born"], l.item()["born"])
			assert.Equal(t, before["limit"], l.item()["limit"])
		}
	})
}

// TestSignInEndsRemember: unless the same request asks for it too, before or after.
func TestSignInEndsRemember(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for _, policy := range policies {
		cfg := dynasession.Config{Concurrency: policy, IdleTimeout: time.Hour, Lifetime: 24 * time.Hour}
		inTime(t, cfg, func(c *timed) {
			c.stop()
			h := c.visit(c.store, app{
				"/remembered": acts(func(s *dynasession.Session) { s.SetUser("alice"); s.Remember(month) }),
				"/plain":      acts(func(s *dynasession.Session) { s.SetUser("alice") }),
				"/other":      acts(func(s *dynasession.Session) { s.SetUser("bob") }),
				"/both":       acts(func(s *dynasession.Session) { s.Remember(month); s.SetUser("bob") }),
				"/saved": acts(func(s *dynasession.Session) {
					s.Remember(month)
					assert.NoError(c.t, s.Save(c.t.Context()))
					s.SetUser("alice")
				}),
			})
			for path, test := range map[string]struct {
				after time.Duration
				lasts time.Duration
				anew  bool
			}{
				"/plain":      {10 * 24 * time.Hour, time.Hour, true},
				"/other":      {10 * 24 * time.Hour, time.Hour, true},
				"/remembered": {10 * 24 * time.Hour, month, false},
				"/both":       {10 * 24 * time.Hour, month, true},
				"/saved":      {10 * 24 * time.Hour, month, false},
			} {
				br := newBrowser(c.t, h)
				br.ok("/new")
				br.ok("/remembered")
				born := attr(newest(c), "born")
				c.pass(test.after)
				br.ok(path)
				item := newest(c)
				assert.Equal(c.t, epochText(c.now().Add(test.lasts)), attr(item, "expires"), path)
				assert.Equal(c.t, test.anew, born != attr(item, "born"), path)
				assert.Equal(c.t, test.lasts != month, attr(item, "idle") == "", path)
				br.ok("/")
			}
		})
	}
}

// newest is the item of the latest sign-in.
func newest(c *timed) map[string]types.AttributeValue {
	c.t.Helper()
	all := items(c.t, c.backend, c.table)
	require.NotEmpty(c.t, all)
	return slices.MaxFunc(all, func(a, b map[string]types.AttributeValue) int {
		return strings.Compare(attr(a, "auth"), attr(b, "auth"))
	})
}

// TestSlowClockSave: a server whose clock is behind saves its changes, and does not end the session earlier
// for all others.
func TestSlowClockSave(t *testing.T) {
	for _, policy := range policies {
		for _, behind := range []time.Duration{10 * time.Second, 30 * time.Second, 59 * time.Second} {
			t.Run(fmt.Sprintf("%v, %v behind", policy, behind), func(t *testing.T) {
				cfg := dynasession.Config{Concurrency: policy, TouchAfter: time.Second}
				inTime(t, cfg, func(c *timed) {
					c.stop()
					var inside func()
					paths := app{
						"/set": acts(func(s *dynasession.Session) { s.Set("fast", true) }),
						"/slow": acts(func(s *dynasession.Session) {
							if inside != nil {
								inside()
							}
							s.Set("slow", true)
						}),
						"/limit": acts(func(s *dynasession.Session) { s.LimitTo(c.now().Add(10 * time.Minute)) }),
					}
					fast := c.visit(c.store, paths)
					slowStore := c.apart(cfg, -behind)
					slow := c.visit(slowStore, paths)
					br := newBrowser(c.t, fast)
					br.ok("/new")
					c.pass(time.Minute)
					if policy != dynasession.Lock {
						inside = func() { askAs(fast, br.cookie(), "/") } // a touch, between its load and its save
					} else {
						askAs(fast, br.cookie(), "/")
					}
					c.calls.take()
					require.Equal(c.t, http.StatusOK, askAs(slow, br.cookie(), "/slow").Code)
					calls := c.calls.take()
					assert.LessOrEqual(c.t, len(calls), 5, "at most one call more: %v", calls)
					assert.Equal(c.t, epochText(c.now().Add(time.Hour)), attr(c.item(), "expires"))
					assert.Contains(c.t, attr(c.item(), "data"), "slow")
					id := idOf(br)
					require.NoError(c.t, slowStore.Write(c.t.Context(), id, []byte(`{"n":5}`)))
					require.NoError(c.t, slowStore.UpdateTimestamp(c.t.Context(), id))
					assert.Equal(c.t, epochText(c.now().Add(time.Hour)), attr(c.item(), "expires"))
					require.Equal(c.t, http.StatusOK, askAs(slow, id, "/limit").Code)
					assert.Equal(c.t, epochText(c.now().Add(10*time.Minute)), attr(c.item(), "expires"), "which LimitTo asked for")
				})
			})
		}
	}
}

// TestShortenedIdleTimeout: beyond the margin for clocks the setting of the server counts that is asked.
func TestShortenedIdleTimeout(t *testing.T) {
	long := 12 * time.Hour
	for _, policy := range policies {
		for name, spoil := range map[string]func(c *timed, item map[string]types.AttributeValue){
			"made under 12 h": func(*timed, map[string]types.AttributeValue) {},
			"a clock that was off": func(c *timed, item map[string]types.AttributeValue) {
				item["expires"] = num(epochText(c.now().Add(70 * time.Minute)))
			},
			"in milliseconds": func(c *timed, item map[string]types.AttributeValue) {
				item["expires"] = milliseconds(c.now().Add(10 * time.Minute))
			},
		} {
			for _, use := range []string{"/", "/set", "UpdateTimestamp", "Write"} {
				t.Run(fmt.Sprintf("%v, %s, %s", policy, name, use), func(t *testing.T) {
					inTime(t, dynasession.Config{Concurrency: policy, IdleTimeout: long, Lifetime: 2 * long}, func(c *timed) {
						c.stop()
						set := app{"/set": acts(func(s *dynasession.Session) { s.Set("n", 2) })}
						br := newBrowser(c.t, c.visit(c.store, set))
						br.ok("/new")
						id := idOf(br)
						item := c.item()
						spoil(c, item)
						putItem(c.t, c.backend, c.table, item)
						short := c.with(dynasession.Config{Concurrency: policy, IdleTimeout: 10 * time.Minute, Lifetime: 2 * long})
						br.handler = c.visit(short, set)
						c.calls.take()
						switch use {
						case "UpdateTimestamp":
							require.NoError(c.t, short.UpdateTimestamp(c.t.Context(), id))
						case "Write":
							require.NoError(c.t, short.Write(c.t.Context(), id, []byte(`{}`)))
						default:
							br.ok(use)
							assert.Equal(c.t, []string{loadCall(policy), "UpdateItem"}, c.calls.take(), "a touch, no call more")
						}
						assert.Equal(c.t, epochText(c.now().Add(10*time.Minute)), attr(c.item(), "expires"))
						br.ok("/")
						assert.Equal(c.t, epochText(c.now().Add(10*time.Minute)), attr(c.item(), "expires"))
						c.pass(time.Hour)
						assert.Equal(c.t, "new", br.ok("/"))
					})
				})
			}
		}
	}
}

// TestTwoIdleTimeouts: while a deploy changes IdleTimeout, each use counts by the setting of its server.
func TestTwoIdleTimeouts(t *testing.T) {
	for _, policy := range policies {
		settings := []time.Duration{10 * time.Minute, 12 * time.Hour}
		inTime(t, dynasession.Config{Concurrency: policy, IdleTimeout: settings[1]}, func(c *timed) {
			c.stop()
			handlers := []http.Handler{c.visit(c.with(dynasession.Config{Concurrency: policy, IdleTimeout: settings[0]}), nil), c.visit(c.store, nil)}
			br := newBrowser(c.t, handlers[1])
			br.ok("/new")
			for n := range 10 {
				c.pass(time.Minute)
				c.calls.take()
				br.handler = handlers[n%2]
				assert.Equal(c.t, "live", br.ok("/"))
				assert.Equal(c.t, []string{loadCall(policy), "UpdateItem"}, c.calls.take())
				assert.Equal(c.t, epochText(c.now().Add(settings[n%2])), attr(c.item(), "expires"))
			}
		})
	}
}

// TestLoweredByTwoClocks: of two servers that lower an expiry which is too far away, the one whose clock is behind
// does not end the session before the other's use has.
func TestLoweredByTwoClocks(t *testing.T) {
	const idle = 10 * time.Minute
	for _, policy := range policies {
		for _, path := range []string{"/slow", "/write"} {
			if policy == dynasession.Lock && path == "/slow" {
				continue // the other request waits until this one has saved
			}
			t.Run(fmt.Sprintf("%v%s", policy, path), func(t *testing.T) {
				clocksApart(t, 30*time.Second, dynasession.Config{Concurrency: policy, IdleTimeout: idle}, func(c *twoClocks) {
					b := newBrowser(c.t, c.ahead)
					b.ok("/new")
					item := c.item()
					item["expires"] = num(epochText(c.now().Add(12 * time.Hour)))
					putItem(c.t, c.backend, c.table, item)
					lower := func() { askAs(c.ahead, b.cookie(), "/") }
					if path == "/write" {
						behind := c.timed.apart(dynasession.Config{Concurrency: policy, IdleTimeout: idle}, -15*time.Second)
						first := true
						c.calls.intercept(func(call *call) (*http.Response, error) {
							res, err := call.send()
							if first { // it is refused and shows the expiry; what comes of that is late
								first = false
								lower()
							}
							return res, err
						})
						require.NoError(c.t, behind.Write(c.t.Context(), idOf(b), []byte(`{}`)))
					} else {
						c.inside = lower
						askAs(c.behind, b.cookie(), path)
					}
					assert.Equal(c.t, epochText(c.nowAhead().Add(idle)), attr(c.item(), "expires"))
				})
			})
		}
	}
}

// TestPHPMovedExpires: PHP's lifetime is its own, but for the absolute end.
func TestPHPMovedExpires(t *testing.T) {
	for _, policy := range policies {
		inTime(t, dynasession.Config{Concurrency: policy, ForeignWriters: true}, func(c *timed) {
			c.stop()
			br := newBrowser(c.t, c.visit(c.store, app{"/set": acts(func(s *dynasession.Session) {
				dynasession.Update(s, "n", func(n int) int { return n + 1 })
			})}))
			br.ok("/new")
			item := c.item()
			far := c.now().Add(5 * time.Hour)
			c.amend(item, map[string]types.AttributeValue{"expires": num(epochText(far))})
			br.ok("/")
			br.ok("/set")
			assert.Equal(c.t, epochText(far), attr(c.item(), "expires"), "one visit to a page of Go's does not shorten it")
			c.amend(c.item(), map[string]types.AttributeValue{"expires": num(epochText(c.now().Add(100 * time.Hour)))})
			br.ok("/set")
			assert.Equal(c.t, attr(item, "until"), attr(c.item(), "expires"))
		})
	}
}

// TestUnwritableItems: an item whose rev or marks this package did not write is refused at once, and not sixty
// times. The session can be read, and can end.
func TestUnwritableItems(t *testing.T) {
	const tiny = "1E-130"
	for name, spoil := range map[string]func(item map[string]types.AttributeValue){
		"rev is text": func(item map[string]types.AttributeValue) { item["rev"] = str("7") },
		"rev is null": func(item map[string]types.AttributeValue) { item["rev"] = &types.AttributeValueMemberNULL{Value: true} },
		"rev is 0":    func(item map[string]types.AttributeValue) { item["rev"] = num("0") },
		"rev is 1.5":  func(item map[string]types.AttributeValue) { item["rev"] = num("1.5") },
		"rev is huge": func(item map[string]types.AttributeValue) {
			item["rev"] = num("9.9999999999999999999999999999999999999E+125")
		},
		"rev is tiny":   func(item map[string]types.AttributeValue) { item["rev"] = num(tiny) },
		"w is empty":    func(item map[string]types.AttributeValue) { item["w"] = str("") },
		"w is a number": func(item map[string]types.AttributeValue) { item["w"] = num("7") },
		"w is a set": func(item map[string]types.AttributeValue) {
			item["w"] = &types.AttributeValueMemberSS{Value: []string{"a"}}
		},
		"w and rev do so": func(item map[string]types.AttributeValue) { item["w"], item["rev"] = num("7"), str("7") },
	} {
		t.Run(name, func(t *testing.T) {
			eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
				for _, path := range []string{"/set?mine", "/count", "/login?alice", "/renew", "/read", "/logout"} {
					l := newLineage(t, b, dynasession.Config{Concurrency: policy})
					l.edit(spoil)
					b.calls.take()
					w := l.get(path)
					calls := b.calls.take()
					assert.LessOrEqual(t, len(calls), 5, "%s: %v", path, calls)
					switch {
					case path == "/read":
						assert.Equal(t, "n token", w.Body.String())
					case path == "/logout" && w.Code == http.StatusOK:
						l.nobody()
					case w.Code != http.StatusOK: // some can be written: LastWriteWins asks less
						l.failed(w, http.StatusInternalServerError, dynasession.ErrCorrupt)
						assert.Equal(t, l.ids[0], l.id(), "%s: the cookie stays", path)
						assert.Empty(t, cookies(w), path)
					}
				}
			})
		})
	}
}

// TestUnitsOfARenewal: sign-ins and logouts cost what they did before there were tombstones.
func TestUnitsOfARenewal(t *testing.T) {
	for _, index := range []string{"", "by-user"} {
		for _, policy := range policies {
			for size, units := range map[int]float64{40: 1, 700: 1, 1500: 2, 5000: 6} {
				t.Run(fmt.Sprintf("%v, %d B, index %q", policy, size, index), func(t *testing.T) {
					cost := map[string]float64{}
					cfg := dynasession.Config{Concurrency: policy, NoCompression: true, UserIndex: index}
					sc := emptyScene(t, embedded(t), cfg)
					sc.addPaths()
					store := observed(t, sc, cost)
					br := newBrowser(t, store.Middleware(sc.paths))
					sc.paths["/fill"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("x", strings.Repeat("x", size)) }
					br.ok("/fill")
					clear(cost)
					br.ok("/login?alice")
					extra := 0.0
					if index != "" {
						extra = 2 // the index gets the user, in a transaction
					}
					assert.InDelta(t, 4*units+extra, cost["renew"], 0, "2 W for the new item, 2 W for the old")
					clear(cost)
					br.ok("/logout")
					if index != "" {
						extra = 1
					}
					assert.InDelta(t, units+extra, cost["destroy"], 0)
				})
			}
		}
	}
}

// observed is a store like sc's, of a table of its own, that adds up what each operation costs.
func observed(t *testing.T, sc *scene, cost map[string]float64) *dynasession.Store {
	t.Helper()
	cfg := sc.cfg
	cfg.Table = newTable()
	cfg.Observer = func(_ context.Context, e dynasession.Event) { cost[e.Op] += e.WriteUnits }
	s, err := dynasession.New(sc.b.client, cfg)
	require.NoError(t, err)
	require.NoError(t, s.CreateTable(t.Context()))
	return s
}
