package lostanswer_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// A victim is a server in a process of its own, that is killed while it serves a request. It
// is this test binary, told so by its environment.
const victimEnv = "DYNASESSION_TEST_VICTIM"

const victimLease = 2 * time.Second

// victim serves one request: of a session and path that the environment names.
func victim() {
	field := strings.Fields(os.Getenv(victimEnv))
	endpoint, table, policy, id, path := field[0], field[1], field[2], field[3], field[4]
	client := dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	cfg := dynasession.Config{Table: table, LockLease: victimLease, Logger: slog.New(slog.DiscardHandler)}
	if err := cfg.Concurrency.UnmarshalText([]byte(policy)); err != nil {
		panic(err)
	}
	store, err := dynasession.New(client, cfg)
	if err != nil {
		panic(err)
	}
	handler := store.Middleware(stage.App{
		"/new": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("n", 0); s.Set("token", "t") },
		"/count": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
			dynasession.Update(s, "n", func(n int) int { return n + 1 })
		},
		"/login":  func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.SetUser("alice") },
		"/logout": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Destroy() },
		"/hang": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
			s.Set("mine", true)
			_, _ = http.Post(endpoint+"/inside", "", nil)
		},
	})
	r := httptest.NewRequest(http.MethodGet, "https://shop.example.com"+path, http.NoBody)
	if id != "-" {
		r.AddCookie(&http.Cookie{Name: stage.CookieName, Value: id})
	}
	handler.ServeHTTP(httptest.NewRecorder(), r)
}

// killer is the victim's way to DynamoDB. It lets nothing pass after the moment of the kill.
type killer struct {
	operation string // "": the handler says so itself
	nth       int
	after     bool   // DynamoDB has done it
	before    func() // the kill, when all is ready for it
	now       chan struct{}
	once      sync.Once
	dead      chan struct{}
	proxy     http.Handler
}

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if op == k.operation {
		k.nth--
	}
	if op != k.operation || k.nth != 0 {
		k.proxy.ServeHTTP(w, r)
		return
	}
	if k.after {
		k.proxy.ServeHTTP(httptest.NewRecorder(), r)
	}
	k.once.Do(func() { close(k.now) })
	<-k.dead
}

// kill runs a victim, and kills it as k says.
func (k *killer) kill(sc *stage.Scene, policy dynasession.Concurrency, path string) {
	t := sc.T
	t.Helper()
	endpoint := os.Getenv("DYNAMODB_LOCAL_ENDPOINT")
	if sc.B.Server != nil {
		endpoint = sc.B.Server.URL()
	}
	target, err := url.Parse(endpoint)
	require.NoError(t, err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	k.proxy = &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	k.now, k.dead = make(chan struct{}), make(chan struct{})
	if k.nth == 0 {
		k.nth = 1
	}
	srv := httptest.NewServer(k)
	defer srv.Close()
	id := sc.ID()
	if id == "" {
		id = "-"
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %s %s", victimEnv, srv.URL, sc.Table, policy, id, path))
	said := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-k.now:
	case err := <-ended:
		require.FailNow(t, "the victim ended by itself", "%v: %s", err, said)
	}
	if k.before != nil {
		k.before()
	}
	require.NoError(t, cmd.Process.Kill()) // SIGKILL
	<-ended
	close(k.dead)
}

// TestKilled: a server that dies in the middle of a save leaves the session as it was before
// or as it is after.
func TestKilled(t *testing.T) {
	tests := []struct {
		path      string
		operation string
		before    string // what the session is, beside its user
		after     string
	}{
		{"/new", "PutItem", "", stage.NewData},
		{"/count", "UpdateItem", stage.NewData, `{"n":1,"token":"t"}`},
		{"/login", "TransactWriteItems", stage.NewData, stage.NewData + "alice"},
		{"/logout", "DeleteItem", stage.NewData, ""},
	}
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		for _, test := range tests {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, after %v", test.path, after), func(t *testing.T) {
					sc := &faultScene{Scene: stage.EmptyScene(t, b, dynasession.Config{})} // which asks for no lock
					sc.judge = sc.Store
					if test.before != "" {
						sc.OK("/new")
					}
					k := &killer{operation: test.operation, after: after}
					if policy == dynasession.Lock && test.operation == "UpdateItem" {
						k.nth = 2 // the first takes the lock
					}
					k.kill(sc.Scene, policy, test.path)
					want := test.before
					if after {
						want = test.after
					}
					assert.Equal(t, want, sc.contents())
					if after && test.path != "/count" {
						want = "" // ended, or under an id that nobody was told
					}
					assert.Equal(t, want, sc.opens(sc.Browser))
					for _, item := range stage.Items(t, b, sc.Table) {
						if _, locked := item["lock"]; locked {
							assert.LessOrEqual(t, stage.IntAttr(t, item, "lock"), time.Now().Add(victimLease).UnixMilli())
						}
					}
				})
			}
		}
	})
}

// TestKilledUnderALock: the next request gets in when the lease has ended, and not before.
func TestKilledUnderALock(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
		k := &killer{}
		k.kill(sc, dynasession.Lock, "/hang")
		end := stage.IntAttr(t, sc.Item(), "lock")
		assert.LessOrEqual(t, end, time.Now().Add(victimLease).UnixMilli())
		sc.OK("/count")
		assert.Greater(t, time.Now().UnixMilli(), end)
		assert.JSONEq(t, `{"n":1,"token":"t"}`, sc.Data(), "nothing of the handler that was killed")
	})
}

// TestKilledWhileAnotherWaits: a renewal dies while a request of another server waits for the
// lock. That gets in when the lease has ended; or, when the renewal was done, finds nothing.
func TestKilledWhileAnotherWaits(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		for after, want := range map[bool]string{false: "n token", true: "none"} {
			t.Run(fmt.Sprintf("after %v", after), func(t *testing.T) {
				sc := stage.NewScene(t, b, dynasession.Config{Concurrency: dynasession.Lock})
				other := sc.Twin()
				answer := make(chan *httptest.ResponseRecorder, 1)
				var end int64
				k := &killer{operation: "TransactWriteItems", after: after}
				k.before = func() {
					item := sc.Item()
					if !after {
						end = stage.IntAttr(t, item, "lock")
					}
					b.Calls.Take()
					go func() { answer <- other.Get("/read") }()
					assert.Eventually(t, func() bool { return len(b.Calls.Take()) > 0 }, 5*time.Second, time.Millisecond)
				}
				k.kill(sc, dynasession.Lock, "/login")
				w := <-answer
				assert.Equal(t, http.StatusOK, w.Code)
				assert.Equal(t, want, w.Body.String())
				assert.Greater(t, time.Now().UnixMilli(), end)
				assert.NotContains(t, sc.Item(), "lock", "never two owners, and none that stays")
			})
		}
	})
}
