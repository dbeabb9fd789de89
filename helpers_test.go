package dynasession_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"strconv"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

// The promises hold with every option: the tests are run with these too.
var (
	withEventualReads = flag.Bool("eventual-reads", false, "read eventually, wherever Config allows it")
	withNewClient     = flag.Bool("new-client", false, "ask DynamoDB with NewClient's clients")
)

// backend is a DynamoDB to test against: the embedded one or DynamoDB Local.
type backend struct {
	client *dynamodb.Client
	server *dynamotest.Server // nil: DynamoDB Local
	calls  *callCounter
}

// eachBackend runs f on the embedded DynamoDB and on DynamoDB Local.
func eachBackend(t *testing.T, f func(t *testing.T, b *backend)) {
	t.Helper()
	t.Run("dynamotest", func(t *testing.T) { f(t, embedded(t)) })
	t.Run("local", func(t *testing.T) { f(t, local(t)) })
}

// eachInTime is eachBackend for what waits: on the embedded DynamoDB in a bubble, whose clock
// moves only by sleeping, and on DynamoDB Local side by side.
func eachInTime(t *testing.T, f func(t *testing.T, b *backend)) {
	t.Helper()
	t.Run("dynamotest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, embedded(t)) })
	})
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		f(t, local(t))
	})
}

func embedded(t testing.TB) *backend {
	srv := dynamotest.NewServer()
	t.Cleanup(srv.Close)
	b := &backend{server: srv, calls: &callCounter{}}
	b.client = srv.Client(b.calls.wrap, retryAtOnce)
	if *withNewClient {
		o := b.client.Options()
		b.client = dynasession.NewClient(aws.Config{Region: o.Region, BaseEndpoint: o.BaseEndpoint, Credentials: o.Credentials, HTTPClient: o.HTTPClient, RetryMaxAttempts: 3})
	}
	return b
}

// retryAtOnce lets the SDK try as often as by default, without the pauses.
func retryAtOnce(o *dynamodb.Options) {
	o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	})
}

var localTransport = &http.Transport{MaxIdleConnsPerHost: 100}

func local(t testing.TB) *backend {
	endpoint := os.Getenv("DYNAMODB_LOCAL_ENDPOINT")
	if endpoint == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("DYNAMODB_LOCAL_ENDPOINT is not set: run the tests with make test")
		}
		t.Skip("DYNAMODB_LOCAL_ENDPOINT is not set: make test runs this against DynamoDB Local")
	}
	b := &backend{calls: &callCounter{}}
	if *withNewClient {
		cfg := awsConfig(endpoint)
		cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
			tr.IdleConnTimeout = 100 * time.Millisecond // else the last tests' are taken for leaks
		})
		client := dynasession.NewClient(cfg)
		b.client = dynamodb.New(client.Options(), b.calls.wrap)
		return b
	}
	b.client = dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), HTTPClient: &http.Client{Transport: localTransport},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}, b.calls.wrap, retryAtOnce)
	return b
}

// callCounter counts what goes over the wire, repetitions by the SDK included, and lets a
// test stand in between.
type callCounter struct {
	mu     sync.Mutex
	next   dynamodb.HTTPClient
	ops    []string
	meddle func(*call) (*http.Response, error)
	hear   func(body string)
}

// call is one request on its way to DynamoDB.
type call struct {
	operation string
	body      string
	next      dynamodb.HTTPClient
	request   *http.Request
}

// send sends the request, once or more.
func (c *call) send() (*http.Response, error) { return c.sendAs(c.request.Context()) }

func (c *call) sendAs(ctx context.Context) (*http.Response, error) {
	r := c.request.Clone(ctx)
	r.Body = io.NopCloser(strings.NewReader(c.body))
	return c.next.Do(r)
}

// comeLate sends a copy of a request that has long been answered, or given up.
func (c *call) comeLate(t testing.TB) {
	t.Helper()
	resp, err := c.sendAs(t.Context())
	require.NoError(t, err)
	_ = resp.Body.Close()
}

func (c *callCounter) wrap(o *dynamodb.Options) { c.next, o.HTTPClient = o.HTTPClient, c }

// intercept has f answer all requests; nil: no more.
func (c *callCounter) intercept(f func(*call) (*http.Response, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meddle = f
}

func (c *callCounter) Do(r *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c.mu.Lock()
	c.ops = append(c.ops, op)
	meddle, hear := c.meddle, c.hear
	c.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if hear == nil {
		hear = spoken.sent
	}
	hear(string(body))
	r.Body = io.NopCloser(bytes.NewReader(body))
	if meddle == nil {
		return c.next.Do(r)
	}
	return meddle(&call{op, string(body), c.next, r})
}

// take returns the operations since the last call.
func (c *callCounter) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ops := c.ops
	c.ops = nil
	return ops
}

// lag makes DynamoDB's present answer to ask its answer to all calls that are stale: a replica
// or an index that lags.
func (b *backend) lag(t testing.TB, ask func() error, stale func(*call) bool) {
	t.Helper()
	var old string
	b.calls.intercept(answered(func(_ *http.Response, body []byte) error { old = string(body); return nil }))
	require.NoError(t, ask())
	b.calls.intercept(func(c *call) (*http.Response, error) {
		if !stale(c) {
			return c.send()
		}
		resp := answerWith(http.StatusOK, "")
		resp.Body = io.NopCloser(strings.NewReader(old))
		return resp, nil
	})
	t.Cleanup(func() { b.calls.intercept(nil) })
}

// lagIndex has the index show of user what it shows now, to the next n queries. f runs before
// the nth call of an operation.
func lagIndex(t testing.TB, b *backend, table, user string, n int, operation string, nth int, f func()) {
	t.Helper()
	b.lag(t, func() error {
		_, err := b.client.Query(t.Context(), &dynamodb.QueryInput{
			TableName: &table, IndexName: aws.String("by-user"), KeyConditionExpression: aws.String("#u = :u"),
			ExpressionAttributeNames: map[string]string{"#u": "user"}, ExpressionAttributeValues: map[string]types.AttributeValue{":u": str(user)},
		})
		return err
	}, func(c *call) bool {
		if c.operation == operation {
			if nth--; nth == 0 {
				f()
			}
		}
		if c.operation == "Query" {
			n--
		}
		return c.operation == "Query" && n >= 0
	})
}

// newStore makes a store on a table of its own, with a user index.
func newStore(t testing.TB, b *backend, cfg dynasession.Config) *dynasession.Store {
	t.Helper()
	if cfg.Table == "" {
		cfg.Table = newTable()
	}
	if cfg.UserIndex == "" {
		cfg.UserIndex = "by-user"
	}
	if cfg.Logger == nil {
		cfg.Logger = spoken.logger()
	}
	if cfg.Observer == nil {
		cfg.Observer = spoken.observe
	}
	cfg.EventualReads = cfg.EventualReads || *withEventualReads && !cfg.ForeignWriters
	s, err := dynasession.New(b.client, cfg)
	require.NoError(t, err)
	require.NoError(t, s.CreateTable(t.Context()))
	b.calls.take()
	return s
}

func newTable() string { return "test-" + rand.Text() }

// keyOf returns the key of the session with the given id, in a store whose Config does not change keys.
func keyOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "session_" + hex.EncodeToString(sum[:])
}

// items returns all items of a table, but for tombstones.
func items(t testing.TB, b *backend, table string) []map[string]types.AttributeValue {
	t.Helper()
	return slices.DeleteFunc(allItems(t, b, table), isTombstone)
}

func tombstones(t testing.TB, b *backend, table string) []map[string]types.AttributeValue {
	t.Helper()
	return slices.DeleteFunc(allItems(t, b, table), func(item map[string]types.AttributeValue) bool { return !isTombstone(item) })
}

func isTombstone(item map[string]types.AttributeValue) bool { return item["moved"] != nil }

func allItems(t testing.TB, b *backend, table string) []map[string]types.AttributeValue {
	t.Helper()
	out, err := b.client.Scan(t.Context(), &dynamodb.ScanInput{TableName: &table, ConsistentRead: aws.Bool(true)})
	require.NoError(t, err)
	return out.Items
}

func onlyItem(t testing.TB, b *backend, table string) map[string]types.AttributeValue {
	t.Helper()
	all := items(t, b, table)
	require.Len(t, all, 1)
	return all[0]
}

func putItem(t testing.TB, b *backend, table string, item map[string]types.AttributeValue) {
	t.Helper()
	_, err := b.client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item})
	require.NoError(t, err)
}

func str(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
func num(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }

func attr(item map[string]types.AttributeValue, name string) string {
	switch v := item[name].(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return v.Value
	case *types.AttributeValueMemberB:
		return string(v.Value)
	}
	return ""
}

// browser keeps cookies and calls a handler, without a network: it runs in synctest
// bubbles.
type browser struct {
	t       testing.TB
	handler http.Handler
	jar     *cookiejar.Jar
}

func newBrowser(t testing.TB, h http.Handler) *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{t, h, jar}
}

var origin = &url.URL{Scheme: "https", Host: "shop.example.com", Path: "/"}

func (b *browser) do(ctx context.Context, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://shop.example.com"+path, http.NoBody)
	for _, c := range b.jar.Cookies(origin) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	b.jar.SetCookies(origin, w.Result().Cookies())
	spoken.response(w.Header(), w.Body.String())
	return w
}

func (b *browser) get(path string) *httptest.ResponseRecorder {
	return b.do(context.Background(), path)
}

// ok expects a status of 200 and returns the body.
func (b *browser) ok(path string) string {
	b.t.Helper()
	w := b.get(path)
	require.Equal(b.t, http.StatusOK, w.Code, w.Body.String())
	return w.Body.String()
}

func (b *browser) cookie() string {
	for _, c := range b.jar.Cookies(origin) {
		return c.Value
	}
	return ""
}

// app is a handler whose paths are set by the test. Each gets the loaded session; without
// one it just returns.
type app map[string]func(s *dynasession.Session, w http.ResponseWriter, r *http.Request)

func (a app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := a[r.URL.Path]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return
	}
	f(sess, w, r)
}

func write(w io.Writer, s string) { _, _ = io.WriteString(w, s) }

// answerWith is DynamoDB's answer of an error.
func answerWith(status int, code string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body:   io.NopCloser(strings.NewReader(`{"__type":"com.amazonaws.dynamodb.v20120810#` + code + `","message":"at the test's wish"}`)),
	}
}

func subBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func increment(n int) int { return n + 1 }

// atUpdate runs f when the next UpdateItem is on its way.
func atUpdate(b *backend, f func()) {
	var once sync.Once
	b.calls.intercept(func(c *call) (*http.Response, error) {
		if c.operation == "UpdateItem" {
			once.Do(func() {
				b.calls.intercept(nil)
				f()
			})
		}
		return c.send()
	})
}

func (plainText) Marshal(v any) ([]byte, error) { return append([]byte(nil), v.(string)...), nil }

func (plainText) Unmarshal(data []byte, v any) error {
	*v.(*string) = string(data)
	return nil
}

func (plainText) Join(list []dynasession.KeyValue) ([]byte, error) {
	quoted := make([]dynasession.KeyValue, len(list))
	for i, kv := range list {
		quoted[i] = dynasession.KeyValue{Key: kv.Key, Value: []byte(strconv.Quote(string(kv.Value)))}
	}
	return dynasession.JSON{}.Join(quoted)
}

func (plainText) Split(data []byte) ([]dynasession.KeyValue, error) {
	list, err := dynasession.JSON{}.Split(data)
	for i := range list {
		list[i].Value = append([]byte(nil), strings.Trim(string(list[i].Value), `"`)...)
	}
	return list, err
}
