package stage

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"
)

// Answered returns an interceptor that sends the request, and then changes the response, or loses it if spoil returns
// an error.
func Answered(spoil func(r *http.Response, body []byte) error) func(*Call) (*http.Response, error) {
	return func(c *Call) (*http.Response, error) {
		r, err := c.Send()
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err := spoil(r, body); err != nil {
			return nil, err
		}
		r.ContentLength = -1 // the length of the changed body is unknown; the old one would only make the response too short
		return r, nil
	}
}

// A CallCounter is an HTTP client that counts the requests to DynamoDB, including the SDK's retries. A test can
// intercept them.
type CallCounter struct {
	mu     sync.Mutex
	next   dynamodb.HTTPClient
	ops    []string
	meddle func(*Call) (*http.Response, error)
	Hear   func(body string) // gets the bodies of requests, instead of Output.Sent
}

// A Call is an intercepted request to DynamoDB.
type Call struct {
	Operation string
	Body      string
	next      dynamodb.HTTPClient
	Request   *http.Request
}

// Send sends the request. It may be called more than once.
func (c *Call) Send() (*http.Response, error) { return c.SendAs(c.Request.Context()) }

// SendAs is like Send, with another context.
func (c *Call) SendAs(ctx context.Context) (*http.Response, error) {
	r := c.Request.Clone(ctx)
	r.Body = io.NopCloser(strings.NewReader(c.Body))
	return c.next.Do(r)
}

// ComeLate sends a copy of a request that was answered, or given up, some time ago.
func (c *Call) ComeLate(t testing.TB) {
	t.Helper()
	resp, err := c.SendAs(t.Context())
	require.NoError(t, err)
	_ = resp.Body.Close()
}

// Wrap puts c in front of the client's HTTP client. It is an option of a DynamoDB client.
func (c *CallCounter) Wrap(o *dynamodb.Options) { c.next, o.HTTPClient = o.HTTPClient, c }

// Intercept makes f answer all requests. If f is nil, they go to DynamoDB again.
func (c *CallCounter) Intercept(f func(*Call) (*http.Response, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meddle = f
}

// Do implements dynamodb.HTTPClient.
func (c *CallCounter) Do(r *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c.mu.Lock()
	c.ops = append(c.ops, op)
	meddle, hear := c.meddle, c.Hear
	c.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if hear == nil {
		hear = Output.Sent
	}
	hear(string(body))
	r.Body = io.NopCloser(bytes.NewReader(body))
	if meddle == nil {
		return c.next.Do(r)
	}
	return meddle(&Call{op, string(body), c.next, r})
}

// Take returns the names of the operations that were called since the last Take.
func (c *CallCounter) Take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ops := c.ops
	c.ops = nil
	return ops
}

// Lag records what DynamoDB answers to ask, and gives the same answer to all later calls for which stale returns
// true, as a replica or an index would that lags behind.
func (b *Backend) Lag(t testing.TB, ask func() error, stale func(*Call) bool) {
	t.Helper()
	var old string
	b.Calls.Intercept(Answered(func(_ *http.Response, body []byte) error { old = string(body); return nil }))
	require.NoError(t, ask())
	b.Calls.Intercept(func(c *Call) (*http.Response, error) {
		if !stale(c) {
			return c.Send()
		}
		resp := AnswerWith(http.StatusOK, "")
		resp.Body = io.NopCloser(strings.NewReader(old))
		return resp, nil
	})
	t.Cleanup(func() { b.Calls.Intercept(nil) })
}

// AnswerWith returns an error response of DynamoDB. If code is empty, it is a response without an error.
func AnswerWith(status int, code string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body:   io.NopCloser(strings.NewReader(`{"__type":"com.amazonaws.dynamodb.v20120810#` + code + `","message":"made by a test"}`)),
	}
}

// ErrReset is the error of a connection that was reset.
var ErrReset = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
