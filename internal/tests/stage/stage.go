// Package stage is what the tests under internal/tests share. A Backend is a DynamoDB, a Browser keeps cookies, a
// Scene is a browser with a session in a table of its own, and a Timed is a table beside a clock that the test moves.
// Calls to DynamoDB can be counted, delayed, repeated and spoiled.
package stage

import (
	"crypto/rand"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

// AWSConfig returns the configuration of a client for endpoint, with credentials that mean nothing.
func AWSConfig(endpoint string) aws.Config {
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: &endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
}

// The tests must pass with these options as well: see make options.
var (
	WithEventualReads = flag.Bool("eventual-reads", false, "read eventually, wherever Config allows it")
	WithNewClient     = flag.Bool("new-client", false, "ask DynamoDB with NewClient's clients")
	WithDeviceBound   = flag.Bool("device-bound", false, "offer browsers to bind their sessions, wherever Config allows it")
)

// A Backend is a DynamoDB to test against.
type Backend struct {
	Client *dynamodb.Client
	Server *dynamotest.Server // nil for DynamoDB Local
	Calls  *CallCounter
}

// EachBackend runs f with the embedded DynamoDB of dynamotest and with DynamoDB Local.
func EachBackend(t *testing.T, f func(t *testing.T, b *Backend)) {
	t.Helper()
	t.Run("dynamotest", func(t *testing.T) { f(t, Embedded(t)) })
	t.Run("local", func(t *testing.T) { f(t, Local(t)) })
}

// EachInTime is like EachBackend, for tests that wait: with the embedded DynamoDB, f runs in a synctest bubble; with
// DynamoDB Local, it runs in parallel with other tests.
func EachInTime(t *testing.T, f func(t *testing.T, b *Backend)) {
	t.Helper()
	t.Run("dynamotest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, Embedded(t)) })
	})
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		f(t, Local(t))
	})
}

// Embedded returns a backend of its own for the test.
func Embedded(t testing.TB) *Backend {
	srv := dynamotest.NewServer()
	t.Cleanup(srv.Close)
	b := &Backend{Server: srv, Calls: &CallCounter{}}
	b.Client = srv.Client(b.Calls.Wrap, RetryAtOnce)
	if *WithNewClient {
		o := b.Client.Options()
		b.Client = dynasession.NewClient(aws.Config{Region: o.Region, BaseEndpoint: o.BaseEndpoint, Credentials: o.Credentials, HTTPClient: o.HTTPClient, RetryMaxAttempts: 3})
	}
	return b
}

// RetryAtOnce makes the SDK try as often as by default, without pauses.
func RetryAtOnce(o *dynamodb.Options) {
	o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	})
}

// LocalTransport keeps the connections to DynamoDB Local.
var LocalTransport = &http.Transport{MaxIdleConnsPerHost: 100}

// Local returns a backend that is DynamoDB Local. It skips the test if no DynamoDB Local runs; with CI=true the test
// fails.
func Local(t testing.TB) *Backend {
	endpoint := os.Getenv("DYNAMODB_LOCAL_ENDPOINT")
	if endpoint == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("DYNAMODB_LOCAL_ENDPOINT is not set: run the tests with make test")
		}
		t.Skip("DYNAMODB_LOCAL_ENDPOINT is not set: make test runs this against DynamoDB Local")
	}
	b := &Backend{Calls: &CallCounter{}}
	if *WithNewClient {
		cfg := AWSConfig(endpoint)
		cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
			tr.IdleConnTimeout = 100 * time.Millisecond // or the connections of the last tests count as leaks
		})
		client := dynasession.NewClient(cfg)
		b.Client = dynamodb.New(client.Options(), b.Calls.Wrap)
		return b
	}
	b.Client = dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), HTTPClient: &http.Client{Transport: LocalTransport},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}, b.Calls.Wrap, RetryAtOnce)
	return b
}

// NewStore returns a store with a new table, unless cfg names one, and with a user index.
func NewStore(t testing.TB, b *Backend, cfg dynasession.Config) *dynasession.Store {
	t.Helper()
	if cfg.Table == "" {
		cfg.Table = NewTable()
	}
	if cfg.UserIndex == "" {
		cfg.UserIndex = "by-user"
	}
	if cfg.Logger == nil {
		cfg.Logger = Output.Logger()
	}
	if cfg.Observer == nil {
		cfg.Observer = Output.Observe
	}
	cfg = Options(cfg)
	s, err := dynasession.New(b.Client, cfg)
	require.NoError(t, err)
	require.NoError(t, s.CreateTable(t.Context()))
	b.Calls.Take()
	return s
}

// Options returns cfg with the options that the tests are run with, as far as it allows them.
func Options(cfg dynasession.Config) dynasession.Config {
	cfg.EventualReads = cfg.EventualReads || *WithEventualReads && !cfg.ForeignWriters
	if c := cfg.Cookie; *WithDeviceBound && !cfg.InsecurePlainIDs && !cfg.ForeignWriters && cfg.Concurrency != dynasession.LastWriteWins &&
		c.Domain == "" && !c.Insecure && !c.Partitioned && !strings.HasPrefix(c.Name, "__Host-Http-") {
		cfg.DeviceBound = 10 * time.Minute
	} else if *WithDeviceBound && c.Name == "" && cfg.Name == "" && !c.Insecure && c.Domain == "" && c.Path == "" {
		cfg.Cookie.Name = CookieName
	}
	return cfg
}

// NewTable returns a name for a table that no other test uses.
func NewTable() string { return "test-" + rand.Text() }

// SubBubble runs f as a subtest in a synctest bubble.
func SubBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// Increment returns n + 1, for Update.
func Increment(n int) int { return n + 1 }

// Policies are the values of Config.Concurrency.
var Policies = []dynasession.Concurrency{dynasession.Merge, dynasession.Lock, dynasession.LastWriteWins}

// EachPolicy runs f with each policy on each backend.
func EachPolicy(t *testing.T, f func(t *testing.T, b *Backend, policy dynasession.Concurrency)) {
	t.Helper()
	EachBackend(t, func(t *testing.T, b *Backend) {
		for _, policy := range Policies {
			t.Run(policy.String(), func(t *testing.T) { f(t, b, policy) })
		}
	})
}
