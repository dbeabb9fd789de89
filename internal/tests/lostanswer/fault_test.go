package lostanswer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// Everything that can go wrong between a server and DynamoDB happens here to each call of
// each kind of request, once and for good. A request ends in one of two ways: it is answered
// with success, and its change is in the table; or with an error, and the table is as
// before. Where DynamoDB did something and its answer was lost for good, nobody can know: then
// the table may have the change, whole and once.

// trouble is what happens to a call.
type trouble struct {
	name  string
	spoil func(*stage.Call) (*http.Response, error)
	// mute: DynamoDB may have done what was asked, and the client is not told.
	mute bool
	// slow: it takes until the client's patience ends.
	slow bool
	// passes: the SDK repeats it, so that trouble that happens once is none.
	passes bool
	// dawdles: the SDK would repeat it, but that is after the client's patience ends.
	dawdles bool
	// ofKind: one of those that stand for all.
	ofKind bool
}

var troubles = []trouble{
	{name: "connection refused", passes: true, spoil: func(*stage.Call) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}},
	{name: "reset before", passes: true, ofKind: true, spoil: resetBefore},
	{name: "reset after", passes: true, mute: true, ofKind: true, spoil: resetAfter},
	{name: "throughput exceeded", passes: true, spoil: refusal(http.StatusBadRequest, "ProvisionedThroughputExceededException")},
	{name: "throttling", passes: true, ofKind: true, spoil: throttled},
	{name: "throttling, and no time for more", slow: true, dawdles: true, ofKind: true, spoil: throttled},
	{name: "status 500 after, and no time for more", slow: true, dawdles: true, mute: true, spoil: stage.Answered(func(r *http.Response, _ []byte) error {
		*r = *stage.AnswerWith(http.StatusInternalServerError, "InternalServerError")
		return nil
	})},
	{name: "request limit", passes: true, spoil: refusal(http.StatusBadRequest, "RequestLimitExceeded")},
	{name: "status 500", passes: true, spoil: refusal(http.StatusInternalServerError, "InternalServerError")},
	{name: "status 503", passes: true, spoil: refusal(http.StatusServiceUnavailable, "ServiceUnavailable")},
	{name: "status 500 after", passes: true, mute: true, spoil: stage.Answered(func(r *http.Response, _ []byte) error {
		*r = *stage.AnswerWith(http.StatusInternalServerError, "InternalServerError")
		return nil
	})},
	{name: "wrong checksum", passes: true, mute: true, spoil: stage.Answered(func(r *http.Response, _ []byte) error {
		r.Header.Set("X-Amz-Crc32", "1")
		return nil
	})},
	{name: "flipped bits", passes: true, mute: true, spoil: stage.Answered(func(r *http.Response, body []byte) error {
		if r.Header.Get("X-Amz-Crc32") == "" { // of DynamoDB Local's errors: nothing could tell
			return stage.ErrReset
		}
		body = bytes.ReplaceAll(body, []byte("token"), []byte("nekot"))
		body = append(body, ' ')
		r.Body = io.NopCloser(bytes.NewReader(body))
		return nil
	})},
	{name: "empty", passes: true, mute: true, spoil: stage.Answered(func(r *http.Response, _ []byte) error {
		r.StatusCode, r.Header, r.Body = http.StatusOK, http.Header{}, http.NoBody
		return nil
	})},
	{name: "null", passes: true, mute: true, spoil: stage.Answered(func(r *http.Response, _ []byte) error {
		r.StatusCode, r.Header, r.Body = http.StatusOK, http.Header{}, io.NopCloser(strings.NewReader("null"))
		return nil
	})},
	{name: "truncated", passes: true, mute: true, spoil: stage.Answered(func(r *http.Response, body []byte) error {
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), iotest.ErrReader(io.ErrUnexpectedEOF)))
		return nil
	})},
	{name: "short", mute: true, ofKind: true, spoil: stage.Answered(func(r *http.Response, body []byte) error {
		r.Body = io.NopCloser(bytes.NewReader(body[:len(body)/2]))
		r.Header.Del("X-Amz-Crc32")
		return nil
	})},
	{name: "garbage", passes: true, mute: true, spoil: stage.Answered(func(r *http.Response, _ []byte) error {
		r.StatusCode = http.StatusOK
		r.Header = http.Header{"Content-Type": {"text/html"}}
		r.Body = io.NopCloser(strings.NewReader("<html>a captive portal</html>"))
		return nil
	})},
	{name: "slow before", slow: true, spoil: func(c *stage.Call) (*http.Response, error) {
		<-c.Request.Context().Done()
		return nil, c.Request.Context().Err()
	}},
	{name: "slow after", slow: true, mute: true, ofKind: true, spoil: func(c *stage.Call) (*http.Response, error) {
		_, err := stage.Answered(func(*http.Response, []byte) error { return nil })(c)
		if err == nil {
			<-c.Request.Context().Done()
			err = c.Request.Context().Err()
		}
		return nil, err
	}},
}

var (
	resetBefore = func(*stage.Call) (*http.Response, error) { return nil, stage.ErrReset }
	resetAfter  = stage.Answered(func(*http.Response, []byte) error { return stage.ErrReset })
	throttled   = refusal(http.StatusBadRequest, "ThrottlingException")
)

// spoiled has the calls that f makes meet spoils in turn, and the last one for good.
func spoiled(b *stage.Backend, f func(), spoils ...func(*stage.Call) (*http.Response, error)) {
	b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
		spoil := spoils[0]
		if len(spoils) > 1 {
			spoils = spoils[1:]
		}
		return spoil(c)
	})
	f()
	b.Calls.Intercept(nil)
}

func refusal(status int, code string) func(*stage.Call) (*http.Response, error) {
	return func(*stage.Call) (*http.Response, error) { return stage.AnswerWith(status, code), nil }
}

// deed is a request, and what it makes of the session {"n":0,"token":"t"}.
type deed struct {
	path  string
	fresh bool // there is no session yet
	aged  bool // the expiry is old enough to be moved
	after string
	// halves: it takes two writes, and the first one alone leaves nothing.
	halves bool
	some   bool // meets one trouble of a kind
}

const deedNone = ""

var deeds = []deed{
	{path: "/read", after: stage.NewData},
	{path: "/read", aged: true, after: stage.NewData},
	{path: "/new", fresh: true, after: stage.NewData},
	{path: "/set?mine", after: `{"n":0,"token":"t","mine":true}`},
	{path: "/count", after: `{"n":1,"token":"t"}`},
	{path: "/pop", after: `{"n":0}`},
	{path: "/login?alice", after: stage.NewData + "alice"},
	{path: "/renew", after: stage.NewData},
	{path: "/limit", after: stage.NewData + " limited"},
	{path: "/logout", after: deedNone},
	{path: "/remember", some: true, after: stage.NewData + " remembered"},
	{path: "/flash", some: true, after: `{"n":0,"token":"t","flash":"hello"}`},
	{path: "/save", some: true, after: `{"n":0,"token":"t","mine":true}`},
	{path: "/restart", some: true, halves: true, after: `{"mine":true}`},
	{path: "/panic-before", some: true, after: stage.NewData},
	{path: "/panic-after", some: true, after: `{"n":0,"token":"t","mine":true}`},
}

// addDeeds adds what only deeds do.
func addDeeds(a stage.App) {
	mine := func(s *stage.Session) { s.Set("mine", true) }
	a["/remember"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Remember(30 * 24 * time.Hour) }
	a["/flash"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.AddFlash("hello") }
	a["/save"] = func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
		if mine(s); s.Save(r.Context()) == nil {
			stage.Write(w, "saved")
		}
	}
	a["/restart"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Destroy(); mine(s) }
	a["/panic-before"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		mine(s)
		panic(http.ErrAbortHandler)
	}
	a["/panic-after"] = func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
		mine(s)
		stage.Write(w, "first byte")
		s.Set("half", "done")
		panic(http.ErrAbortHandler)
	}
}

func (d *deed) before() string {
	if d.fresh {
		return deedNone
	}
	return stage.NewData
}

func (d *deed) String() string {
	if d.aged {
		return d.path + ", aged"
	}
	return d.path
}

func TestFaults(t *testing.T) {
	t.Run("dynamotest", func(t *testing.T) {
		eachDeed(t, func(t *testing.T, cfg dynasession.Config, d deed) {
			synctest.Test(t, func(t *testing.T) { // whose end finds goroutines that are left
				tryTroubles(t, stage.Embedded(t), cfg, d, dynasession.DefaultTimeout)
			})
		}, dynasession.Config{EventualReads: true}, dynasession.Config{ForeignWriters: true, Concurrency: dynasession.Lock})
	})
	t.Run("local", func(t *testing.T) {
		stage.LocalTransport.CloseIdleConnections()
		leaks := goleak.IgnoreCurrent()
		eachDeed(t, func(t *testing.T, cfg dynasession.Config, d deed) {
			tryTroubles(t, stage.Local(t), cfg, d, impatience)
		})
		stage.LocalTransport.CloseIdleConnections()
		goleak.VerifyNone(t, leaks)
	})
}

// eachDeed runs the deeds side by side: most of the time they wait. With more options, some of
// them meet one trouble of a kind.
func eachDeed(t *testing.T, f func(*testing.T, dynasession.Config, deed), more ...dynasession.Config) {
	var all []dynasession.Config
	for _, policy := range stage.Policies {
		all = append(all, dynasession.Config{Concurrency: policy})
	}
	for i, cfg := range append(all, more...) {
		t.Run(fmt.Sprintf("%v, eventual %v, foreign %v", cfg.Concurrency, cfg.EventualReads, cfg.ForeignWriters), func(t *testing.T) {
			for _, d := range deeds {
				if i >= len(all) {
					if d.some {
						continue
					}
					d.some = true
				}
				t.Run(d.String(), func(t *testing.T) {
					t.Parallel()
					f(t, cfg, d)
				})
			}
		})
	}
}

// impatience is Config.Timeout where the tests wait for its end.
const impatience = 50 * time.Millisecond

// tryTroubles has all troubles happen to each of the deed's calls.
func tryTroubles(t *testing.T, b *stage.Backend, cfg dynasession.Config, d deed, patience time.Duration) {
	cfg.Table = stage.NewTable()
	dry := newFaultScene(t, b, cfg, d)
	b.Calls.Take()
	dry.OK(d.path)
	calls := len(b.Calls.Take())
	require.Equal(t, d.after, dry.contents(), "without trouble")
	dry.clear()
	troubles := troubles
	if d.some {
		troubles = ofKinds(troubles)
	}
	eachTrouble(t, troubles, calls, func(tr *trouble) *faultScene {
		cfg.Timeout = tr.patience(patience)
		return newFaultScene(t, withTrouble(b, tr), cfg, d)
	}, (*faultScene).happen)
}

// ofKinds returns those that stand for all.
func ofKinds(all []trouble) []trouble {
	return slices.DeleteFunc(slices.Clone(all), func(tr trouble) bool { return !tr.ofKind })
}

// with returns the backend with the client that tr meets.
func withTrouble(b *stage.Backend, tr *trouble) *stage.Backend {
	if !tr.dawdles {
		return b
	}
	slow := *b
	slow.Client = dynamodb.New(b.Client.Options(), func(o *dynamodb.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
			o.RateLimiter = ratelimit.None
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 2 * dynasession.DefaultTimeout, nil })
		})
	})
	return &slow
}

// patience is Config.Timeout while tr happens: end, if it lasts until then; else the default.
func (tr *trouble) patience(end time.Duration) time.Duration {
	if tr.slow {
		return end
	}
	return 0
}

// eachTrouble has each trouble happen to each call, once and for good.
func eachTrouble(t *testing.T, troubles []trouble, calls int, scene func(*trouble) *faultScene, happen func(*faultScene, *trouble)) {
	t.Helper()
	for _, tr := range troubles {
		for nth := range calls {
			for _, forGood := range []bool{false, true} {
				sc := scene(&tr)
				sc.fail = fmt.Sprintf("%s in call %d, for good: %v", tr.name, nth+1, forGood)
				sc.nth, sc.forGood = nth, forGood
				happen(sc, &tr)
				sc.clear()
				if t.Failed() {
					return
				}
			}
		}
	}
}

// faultScene is a scene of a deed.
type faultScene struct {
	*stage.Scene
	deed   deed
	policy dynasession.Concurrency
	judge  *dynasession.Store // reads past locks
	fail   string

	nth     int // the call that meets trouble
	forGood bool
}

// spoil has tr happen to the nth call from now, and maybe to all that follow.
func (sc *faultScene) spoil(tr *trouble) {
	nth := sc.nth
	sc.B.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
		if nth--; nth >= 0 || nth < -1 && !sc.forGood {
			return c.Send()
		}
		return tr.spoil(c)
	})
}

func newFaultScene(t *testing.T, b *stage.Backend, cfg dynasession.Config, d deed) *faultScene {
	t.Helper()
	patience := cfg.Timeout
	cfg.Timeout = 0 // for what comes before the deed
	sc := &faultScene{Scene: stage.EmptyScene(t, b, cfg), deed: d, policy: cfg.Concurrency}
	var err error
	sc.judge, err = dynasession.New(b.Client, stage.Options(dynasession.Config{Table: sc.Table, Logger: stage.Output.Logger()}))
	require.NoError(t, err)
	addDeeds(sc.Paths)
	sc.Handler = survives(sc.Handler)
	if !d.fresh {
		sc.OK("/new")
	}
	if d.aged {
		sc.Age()
	}
	if cfg.Timeout = patience; patience != 0 {
		sc.Store = stage.NewStore(t, b, cfg)
		sc.Handler = survives(sc.Store.Middleware(sc.Paths))
	}
	return sc
}

// survives lets a test see what the response was before the panic.
func survives(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { stage.Serve(h, w, r) })
}

// contents reports what the table has, beside when that ends: the data and the user of the one
// session, if there is one.
func (sc *faultScene) contents() string {
	sc.T.Helper()
	all := stage.Items(sc.T, sc.B, sc.Table)
	if len(all) == 0 {
		return deedNone
	}
	require.Len(sc.T, all, 1, sc.fail)
	return told(all[0])
}

var flashKey = regexp.MustCompile(`"[^"]*flash[^"]*"`)

// told is what counts of an item.
func told(item map[string]types.AttributeValue) string {
	s := flashKey.ReplaceAllString(stage.Plain(stage.Attr(item, "data")), `"flash"`) + stage.Attr(item, "user")
	if _, remembered := item["idle"]; remembered {
		s += " remembered"
	}
	if _, limited := item["limit"]; limited {
		s += " limited"
	}
	return s
}

// opens reports what a browser's cookie opens.
func (sc *faultScene) opens(br *stage.Browser) string {
	sc.T.Helper()
	if br.Cookie() == "" {
		return deedNone
	}
	data, err := sc.judge.Read(sc.T.Context(), stage.IDOf(br))
	if errors.Is(err, dynasession.ErrNotFound) {
		return deedNone
	}
	require.NoError(sc.T, err, sc.fail)
	item := sc.Item()
	require.Equal(sc.T, stage.Attr(item, "data"), string(data), sc.fail)
	return told(item)
}

func (sc *faultScene) clear() {
	for _, item := range stage.Items(sc.T, sc.B, sc.Table) {
		_, err := sc.B.Client.DeleteItem(sc.T.Context(), &dynamodb.DeleteItemInput{
			TableName: &sc.Table, Key: map[string]types.AttributeValue{"id": item["id"]},
		})
		require.NoError(sc.T, err)
	}
}

// happen does the deed, with trouble.
func (sc *faultScene) happen(tr *trouble) {
	t, d := sc.T, &sc.deed
	t.Helper()
	old := sc.Twin()
	sc.spoil(tr)
	w := sc.Get(d.path)
	sc.B.Calls.Intercept(nil)

	now := sc.contents()
	if w.Code == http.StatusOK {
		if d.path == "/renew" || d.halves {
			assert.True(t, sc.idMoved(old), sc.fail)
		}
		if d.aged && tr.passes && !sc.forGood && (sc.nth == 0 || sc.B.Server != nil) {
			if sc.nth != 0 { // the touch itself failed, which is only logged
				time.Sleep(stage.TouchRest)
				sc.OK("/read")
			}
			assert.Greater(t, stage.IntAttr(t, sc.Item(), "expires"), time.Now().Add(50*time.Minute).Unix(), sc.fail)
		}
		assert.Equal(t, d.after, now, sc.fail)
		assert.Equal(t, d.after, sc.opens(sc.Browser), sc.fail)
		if d.path == "/read" {
			assert.Equal(t, "n token", w.Body.String(), sc.fail)
		}
	} else {
		assert.False(t, tr.passes && !sc.forGood, "%s: %d", sc.fail, w.Code)
		assert.GreaterOrEqual(t, w.Code, 400, sc.fail)
		if now != d.before() && (!d.halves || now != deedNone) {
			assert.True(t, tr.mute, "%s: an error, and %q", sc.fail, now)
			assert.Equal(t, d.after, now, sc.fail)
		}
		if now == d.before() && (d.path != "/renew" || !tr.mute) { // else it may be under an id that nobody was told
			assert.Equal(t, d.before(), sc.opens(sc.Browser), sc.fail)
		}
	}
	if d.path == "/renew" && sc.idMoved(old) || now == deedNone || d.halves && now == d.after || d.path == "/login?alice" && now == d.after {
		assert.Equal(t, deedNone, sc.opens(old), "%s: the old cookie", sc.fail)
	}
	sc.unlocks(old, now)
}

// idMoved reports whether the session's item is another than that of a browser's cookie.
func (sc *faultScene) idMoved(old *stage.Browser) bool {
	sum := sha256.Sum256([]byte(stage.IDOf(old)))
	return stage.Attr(sc.Item(), "id") != "session_"+hex.EncodeToString(sum[:])
}

// unlocks expects that a lock which was left behind ends with its lease.
func (sc *faultScene) unlocks(br *stage.Browser, now string) {
	t := sc.T
	t.Helper()
	for _, item := range stage.Items(t, sc.B, sc.Table) {
		if _, locked := item["lock"]; locked {
			assert.Equal(t, dynasession.Lock, sc.policy, sc.fail)
			assert.LessOrEqual(t, stage.IntAttr(t, item, "lock"), time.Now().Add(dynasession.DefaultLockLease).UnixMilli(), sc.fail)
		}
	}
	if sc.policy != dynasession.Lock || sc.B.Server == nil || sc.opens(br) == deedNone {
		return
	}
	time.Sleep(dynasession.DefaultLockLease + 2*time.Second) // in a bubble; servers' clocks may differ by two seconds
	sc.OK("/set?later")
	assert.NotEqual(t, now, sc.contents(), sc.fail)
	assert.NotContains(t, sc.Item(), "lock", sc.fail)
}

// verb is an operation of Store, and what it makes of the session that deeds begin with.
type verb struct {
	name  string
	run   func(ctx context.Context, s *dynasession.Store, id string) (string, error)
	gives string
	after string
	pace  pace
}

// pace is how long a verb may take.
type pace int

const (
	quickPace   pace = iota // no longer than Config.Timeout
	callsPace               // that, for each of its calls
	patientPace             // twelve times that, for each of its calls
	slowPace                // it waits for seconds
)

var verbs = []verb{
	{"Read", func(ctx context.Context, s *dynasession.Store, id string) (string, error) {
		data, err := s.Read(ctx, id)
		return stage.Plain(string(data)), err
	}, stage.NewData, stage.NewData + "alice", quickPace},
	{"ValidateID", func(ctx context.Context, s *dynasession.Store, id string) (string, error) {
		ok, err := s.ValidateID(ctx, id)
		return fmt.Sprint(ok), err
	}, "true", stage.NewData + "alice", quickPace},
	{"Write", func(ctx context.Context, s *dynasession.Store, id string) (string, error) {
		return "", s.Write(ctx, id, []byte(`{"n":7}`))
	}, "", `{"n":7}alice`, quickPace},
	{"Destroy", func(ctx context.Context, s *dynasession.Store, id string) (string, error) {
		return "", s.Destroy(ctx, id)
	}, "", deedNone, quickPace},
	{"UpdateTimestamp", func(ctx context.Context, s *dynasession.Store, id string) (string, error) {
		return "", s.UpdateTimestamp(ctx, id)
	}, "", stage.NewData + "alice", quickPace},
	{"Sweep", func(ctx context.Context, s *dynasession.Store, _ string) (string, error) {
		stats, err := s.Sweep(ctx, dynasession.SweepOptions{})
		return fmt.Sprint(stats.Deleted), err
	}, "1", deedNone, patientPace},
	{"GC", func(ctx context.Context, s *dynasession.Store, _ string) (string, error) {
		n, err := s.GC(ctx, 0)
		return fmt.Sprint(n), err
	}, "0", stage.NewData + "alice", patientPace},
	{"UserSessions", func(ctx context.Context, s *dynasession.Store, _ string) (string, error) {
		infos, err := s.UserSessions(ctx, "alice")
		return fmt.Sprint(len(infos)), err
	}, "1", stage.NewData + "alice", quickPace},
	{"DestroyUser", func(ctx context.Context, s *dynasession.Store, _ string) (string, error) {
		_, err := s.DestroyUser(ctx, "alice", nil) // whose count leaves out what no answer told
		return "", err
	}, "", deedNone, slowPace},
	{"Open", func(ctx context.Context, s *dynasession.Store, _ string) (string, error) {
		return "", s.Open(ctx)
	}, "", stage.NewData + "alice", callsPace},
	{"CreateTable", func(ctx context.Context, s *dynasession.Store, _ string) (string, error) {
		return "", s.CreateTable(ctx)
	}, "", stage.NewData + "alice", callsPace},
}

// TestFaultsOfVerbs is TestFaults of Store's own operations.
func TestFaultsOfVerbs(t *testing.T) {
	t.Run("dynamotest", func(t *testing.T) {
		for _, policy := range stage.Policies {
			troubles := troubles
			if policy != dynasession.Merge { // which none asks for
				troubles = ofKinds(troubles)
			}
			for _, v := range verbs {
				if policy != dynasession.Merge && v.pace != quickPace {
					continue
				}
				t.Run(fmt.Sprint(policy, " ", v.name), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { v.tryTroubles(t, stage.Embedded(t), policy, dynasession.DefaultTimeout, troubles) })
				})
			}
		}
	})
	t.Run("local", func(t *testing.T) {
		for _, v := range verbs {
			t.Run(v.name, func(t *testing.T) {
				t.Parallel()
				some := slices.DeleteFunc(slices.Clone(troubles), func(tr trouble) bool {
					return v.pace >= callsPace && tr.slow || v.pace >= patientPace && tr.name != "reset after" // the bubble has them all
				})
				v.tryTroubles(t, stage.Local(t), dynasession.Merge, impatience, some)
			})
		}
	})
}

func (v *verb) tryTroubles(t *testing.T, b *stage.Backend, policy dynasession.Concurrency, patience time.Duration, troubles []trouble) {
	cfg := dynasession.Config{Table: stage.NewTable(), UserIndex: "by-user", Concurrency: policy}
	dry := v.scene(t, b, cfg)
	b.Calls.Take()
	got, err := v.run(t.Context(), dry.Store, dry.ID())
	require.NoError(t, err)
	require.Equal(t, v.gives, got)
	require.Equal(t, v.after, dry.contents())
	calls := len(b.Calls.Take())
	dry.clear()
	eachTrouble(t, troubles, calls, func(tr *trouble) *faultScene {
		cfg.Timeout = tr.patience(patience)
		if v.pace == patientPace && b.Server == nil {
			cfg.Timeout = 4 * patience
		}
		return v.scene(t, withTrouble(b, tr), cfg)
	}, v.happen)
}

func (v *verb) scene(t *testing.T, b *stage.Backend, cfg dynasession.Config) *faultScene {
	t.Helper()
	patience := cfg.Timeout
	cfg.Timeout = 0
	sc := newFaultScene(t, b, cfg, deed{})
	sc.OK("/login?alice")
	if v.name == "Sweep" {
		sc.Edit(func(item map[string]types.AttributeValue) { item["expires"] = stage.In(-2 * time.Minute) })
	}
	if cfg.Timeout = patience; patience != 0 {
		sc.Store = stage.NewStore(t, b, cfg)
	}
	return sc
}

func (v *verb) happen(sc *faultScene, tr *trouble) {
	t := sc.T
	t.Helper()
	sc.spoil(tr)
	got, err := v.run(t.Context(), sc.Store, sc.ID())
	sc.B.Calls.Intercept(nil)
	now := sc.contents()
	if err == nil {
		if v.name != "Sweep" || !tr.mute { // which does not count a delete that it did not hear of
			assert.Equal(t, v.gives, got, sc.fail)
		}
		assert.Equal(t, v.after, now, sc.fail)
		assert.False(t, v.name == "ValidateID" && sc.forGood && sc.nth == 0, "%s: nobody can have told", sc.fail)
		return
	}
	assert.False(t, tr.passes && !sc.forGood, "%s: %v", sc.fail, err)
	assert.ErrorIs(t, err, dynasession.ErrUnavailable, sc.fail)
	assert.NotContains(t, err.Error(), sc.ID(), sc.fail)
	if before := stage.NewData + "alice"; now != before {
		assert.True(t, tr.mute || v.name == "DestroyUser", "%s: %v, and %q", sc.fail, err, now)
		assert.Equal(t, v.after, now, sc.fail)
	}
}

const bareHeader = "X-Bare"

// bare answers a conditional call with a refusal that holds nothing but more.
func bare(code, more string) func(*stage.Call) (*http.Response, error) {
	return func(c *stage.Call) (*http.Response, error) {
		transaction := c.Operation == "TransactWriteItems"
		if !strings.Contains(c.Body, `"ConditionExpression"`) || transaction != (code == "TransactionCanceledException") {
			return c.Send()
		}
		r := stage.AnswerWith(http.StatusBadRequest, code)
		r.Header.Set(bareHeader, "1")
		r.Body = io.NopCloser(strings.NewReader(`{"__type":"com.amazonaws.dynamodb.v20120810#` + code + `","message":"refused"` + more + `}`))
		return r, nil
	}
}

const othersItem = "another session's item"

var bareRefusals = []trouble{
	{name: "no item", spoil: bare("ConditionalCheckFailedException", ``)},
	{name: "item null", spoil: bare("ConditionalCheckFailedException", `,"Item":null`)},
	{name: "empty item", spoil: bare("ConditionalCheckFailedException", `,"Item":{}`)},
	{name: othersItem, spoil: bare("ConditionalCheckFailedException", `,"Item":{"id":{"S":"session_0"}}`)},
}

var bareCancellations = []trouble{
	{name: "no reasons", spoil: bare("TransactionCanceledException", ``)},
	{name: "reasons null", spoil: bare("TransactionCanceledException", `,"CancellationReasons":null`)},
	{name: "empty reasons", spoil: bare("TransactionCanceledException", `,"CancellationReasons":[]`)},
	{name: "one reason", spoil: bare("TransactionCanceledException", `,"CancellationReasons":[{"Code":"ConditionalCheckFailed"}]`)},
	{name: "three reasons", spoil: bare("TransactionCanceledException",
		`,"CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed"},{"Code":"None"}]`)},
	{name: "reasons without codes", spoil: bare("TransactionCanceledException", `,"CancellationReasons":[{},{}]`)},
	{name: "reasons of null", spoil: bare("TransactionCanceledException", `,"CancellationReasons":[null,null]`)},
	{name: "the put, without its item", spoil: bare("TransactionCanceledException",
		`,"CancellationReasons":[{"Code":"ConditionalCheckFailed"},{"Code":"None"}]`)},
	{name: "the deletion, without its item", spoil: bare("TransactionCanceledException",
		`,"CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed","Item":null}]`)},
}

// TestRefusalsWithoutDetails: a refusal that does not tell what is there, or of what it is, is an
// error, and the session stays.
func TestRefusalsWithoutDetails(t *testing.T) {
	eachDeed(t, func(t *testing.T, cfg dynasession.Config, d deed) {
		synctest.Test(t, func(t *testing.T) {
			all := bareRefusals
			if d.path == "/login?alice" || d.path == "/renew" { // transactions
				all = bareCancellations
			}
			for _, tr := range all {
				sc := newFaultScene(t, stage.Embedded(t), cfg, d)
				sc.forGood = true
				if cfg.Concurrency == dynasession.Lock && !d.fresh {
					sc.nth = 1 // the first takes the lock
				}
				old, refused := sc.Twin(), false
				sc.spoil(&trouble{spoil: func(c *stage.Call) (*http.Response, error) {
					r, err := tr.spoil(c)
					refused = refused || err == nil && r.Header.Get(bareHeader) != ""
					return r, err
				}})
				w := sc.Get(d.path)
				sc.B.Calls.Intercept(nil)
				if !refused {
					assert.Equal(t, d.after, sc.contents(), tr.name)
					continue
				}
				switch d.path {
				case "/read": // its touch is no error
					assert.Equal(t, http.StatusOK, w.Code, tr.name)
				case "/panic-before": // nor is giving up the lock
				default:
					assert.GreaterOrEqual(t, w.Code, 400, tr.name)
				}
				left := d.before()
				if d.halves && cfg.ForeignWriters { // its first half is no conditional call
					left = deedNone
				}
				assert.Equal(t, left, sc.contents(), tr.name)
				assert.Equal(t, left, sc.opens(old), tr.name)
			}
		})
	})
	for _, v := range verbs {
		for _, tr := range bareRefusals {
			stage.SubBubble(t, v.name+", "+tr.name, func(t *testing.T) {
				b := stage.Embedded(t)
				sc := v.scene(t, b, dynasession.Config{Table: stage.NewTable(), UserIndex: "by-user"})
				before := sc.contents()
				refused := false
				b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
					r, err := tr.spoil(c)
					refused = refused || err == nil && r.Header.Get(bareHeader) != ""
					return r, err
				})
				_, err := v.run(t.Context(), sc.Store, sc.ID())
				b.Calls.Intercept(nil)
				if refused {
					assert.Equal(t, before, sc.contents())
					assert.Equal(t, v.pace == quickPace || tr.name == othersItem, err != nil, err) // the others pass over what is refused
				} else {
					assert.Equal(t, v.after, sc.contents())
				}
			})
		}
	}
}

// TestClientGoneAtEachCall: whenever the client goes, the deed is done or not, and no lock is left.
func TestClientGoneAtEachCall(t *testing.T) {
	eachDeed(t, func(t *testing.T, cfg dynasession.Config, d deed) {
		cfg.Table = stage.NewTable()
		synctest.Test(t, func(t *testing.T) {
			for nth := range 3 {
				for _, applied := range []bool{false, true} {
					b := stage.Embedded(t)
					sc := newFaultScene(t, b, cfg, d)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					n := nth
					b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
						if n--; n != -1 {
							return c.Send()
						}
						if !applied {
							cancel()
						}
						r, err := c.Send()
						cancel()
						return r, err
					})
					w := sc.Do(ctx, d.path)
					b.Calls.Intercept(nil)
					synctest.Wait() // for a lock that is given up beside
					now := sc.contents()
					if w.Code == http.StatusOK {
						assert.Equal(t, d.after, now)
						assert.Equal(t, d.after, sc.opens(sc.Browser))
					} else {
						assert.Contains(t, []string{d.before(), d.after}, now)
					}
					for _, item := range stage.Items(t, b, sc.Table) {
						assert.NotContains(t, item, "lock", "call %d, status %d", nth+1, w.Code)
					}
				}
			}
		})
	})
}

// TestVerbsCancelled: a verb ends with its caller's context, before it has done anything or after.
func TestVerbsCancelled(t *testing.T) {
	for _, v := range verbs {
		for _, applied := range []bool{false, true} {
			stage.SubBubble(t, fmt.Sprintf("%s, applied: %v", v.name, applied), func(t *testing.T) {
				b := stage.Embedded(t)
				sc := v.scene(t, b, dynasession.Config{Table: stage.NewTable(), UserIndex: "by-user"})
				before := sc.contents()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
					if applied {
						if r, err := c.SendAs(context.WithoutCancel(c.Request.Context())); err == nil {
							_ = r.Body.Close()
						}
					}
					cancel()
					<-c.Request.Context().Done()
					return nil, c.Request.Context().Err()
				})
				begin := time.Now()
				_, err := v.run(ctx, sc.Store, sc.ID())
				b.Calls.Intercept(nil)
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
