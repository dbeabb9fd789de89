package dynasession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

const (
	clientConns     = 256
	clientDial      = 2 * time.Second
	clientHandshake = 3 * time.Second
	clientAnswer    = time.Second

	clientAttempts  = 4
	clientRetryCost = retry.DefaultRetryCost
	clientPause     = 25 * time.Millisecond
	throttledFactor = 8
)

// NewClient makes a DynamoDB client as web requests want it, for [New]. [FromEnv] uses it. It
// is dynamodb.NewFromConfig with other defaults:
//
//   - It opens at most 256 connections to a host, and keeps as many idle. More parallel requests
//     wait for one to get free. With calls of 5 ms, 256 connections carry 51,200 calls a second.
//     The SDK keeps 10 idle ones: at every burst it dials anew, and a TLS handshake takes longer,
//     and more CPU, than a call.
//   - An attempt ends 1 s after its request is written if no byte of an answer has come: DynamoDB
//     takes milliseconds, so by then a packet or a server is lost. The last attempt of a call whose
//     context has a deadline ends only with that, since DynamoDB itself may be slow. A TCP connection has 2 s, so that
//     one lost SYN can be repeated, and a TLS handshake 3 s, since hundreds of them at a time are
//     slow on a small machine. The SDK waits for an answer without end, and for the others 30 s and
//     10 s. An HTTPS proxy that takes a connection and stays silent is net/http's, which waits for
//     a minute.
//   - A request of up to 4 KB goes out in one write: its body is handed to net/http as bytes. The
//     SDK hands it a reader that net/http does not know, which costs a second write and, when the
//     answer is fast, the connection. A redirect is an error, as it is with the SDK's reader.
//   - A call has 4 attempts, as many as end within Config.Timeout's 5 s. The pauses between them
//     are random, up to 50, 100 and 200 ms, so that those that failed together do not come back
//     together; after throttling, which DynamoDB counts by the second, up to 0.4, 0.8 and 1.6 s. The
//     SDK has 3 attempts, and pauses up to 2 and 4 s.
//   - Retries have a budget, so that they do not double the load of a table in trouble: 3 retries
//     for each of the 256 connections at once, refilled by a fifth of a retry for each success. The
//     SDK's 100 retries are gone when one pool of connections breaks.
//
// Checksums, signatures, and the correction of a wrong clock are the SDK's.
//
// What cfg says goes first: an HTTPClient of another type is used as it is; of a
// *http.BuildableClient of the SDK, what still has the SDK's default is set, but for how it dials
// (LoadDefaultConfig makes one for AWS_CA_BUNDLE); Retryer and RetryMode replace the retries, and
// RetryMaxAttempts their number. optFns come last.
func NewClient(cfg aws.Config, optFns ...func(*dynamodb.Options)) *dynamodb.Client {
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) { d.Timeout = clientDial })
	}
	if c, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = c.WithTransportOptions(pool)
	}
	if cfg.Retryer == nil && cfg.RetryMode == "" {
		cfg.Retryer = newRetryer
	}
	return dynamodb.NewFromConfig(cfg, append(slices.Clip(optFns), func(o *dynamodb.Options) {
		if c, ok := o.HTTPClient.(*awshttp.BuildableClient); ok {
			o.HTTPClient = newHTTPClient(c)
		}
	})...)
}

// httpClient sends bodies that net/http knows to be in memory. Of others it flushes the header
// first, so that the answer can come before net/http has asked the body for its end. The SDK has
// closed the body by then, net/http takes that for a failed write, and drops the connection.
type httpClient struct {
	*awshttp.BuildableClient // for who asks what it is made of
	client                   *http.Client
	answer                   time.Duration // how long an attempt waits for an answer; 0: the transport says
}

func newHTTPClient(c *awshttp.BuildableClient) aws.HTTPClient {
	client, ok := c.Freeze().(*http.Client)
	if !ok {
		return c
	}
	// A body that can be sent again would be, to wherever a redirect points. DynamoDB has none.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	hc := &httpClient{BuildableClient: c, client: client}
	if c.GetTransport().ResponseHeaderTimeout == 0 {
		hc.answer = clientAnswer
	}
	return hc
}

// Do changes r, which the SDK makes for each attempt.
func (c *httpClient) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.ContentLength > 0 {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, err
		}
		// GetBody lets net/http pass over an idle connection that the server has closed.
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, _ = r.GetBody()
	}
	if c.answer == 0 || isLast(r) {
		return c.client.Do(r) //nolint:gosec // G704: the address in r is the SDK's, of the configuration
	}
	return c.doInTime(r)
}

// isLast reports whether r is the last attempt of a call that ends by itself. The SDK tells DynamoDB which
// attempt it is.
func isLast(r *http.Request) bool {
	attempt, rest, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Amz-Sdk-Request"), "attempt="), "; ")
	most, _, _ := strings.Cut(strings.TrimPrefix(rest, "max="), ";")
	_, ends := r.Context().Deadline()
	return ends && attempt != "" && attempt == most
}

// noAnswerError is of an attempt to which no answer came in time. The SDK repeats what has timed out.
type noAnswerError struct{ after time.Duration }

func (e *noAnswerError) Error() string { return fmt.Sprintf("no answer within %v", e.after) }
func (*noAnswerError) Timeout() bool   { return true }
func (*noAnswerError) Temporary() bool { return true }

// doInTime is Transport.ResponseHeaderTimeout for one request.
func (c *httpClient) doInTime(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	late := &noAnswerError{c.answer}
	var mu sync.Mutex
	var timer *time.Timer
	answered := false
	stop := func() {
		mu.Lock()
		defer mu.Unlock()
		if answered = true; timer != nil {
			timer.Stop()
		}
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) {
			mu.Lock()
			defer mu.Unlock()
			if timer == nil && !answered {
				timer = time.AfterFunc(c.answer, func() { cancel(late) })
			}
		},
		GotFirstResponseByte: stop,
	})
	resp, err := c.client.Do(r.WithContext(ctx)) //nolint:gosec // G704: the address in r is the SDK's, of the configuration
	stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), late) {
			err = late
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &cancelled{resp.Body, cancel}
	return resp, nil
}

// cancelled is a body that ends its request's context.
type cancelled struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *cancelled) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// pool sets what has the SDK's default.
func pool(t *http.Transport) {
	replace(&t.MaxConnsPerHost, awshttp.DefaultHTTPTransportMaxConnsPerHost, clientConns)
	replace(&t.MaxIdleConnsPerHost, awshttp.DefaultHTTPTransportMaxIdleConnsPerHost, clientConns)
	replace(&t.MaxIdleConns, awshttp.DefaultHTTPTransportMaxIdleConns, clientConns)
	replace(&t.TLSHandshakeTimeout, awshttp.DefaultHTTPTransportTLSHandleshakeTimeout, clientHandshake)
}

func replace[T comparable](field *T, old, value T) {
	if *field == old {
		*field = value
	}
}

func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = clientAttempts
		o.Backoff = retry.BackoffDelayerFunc(retryPause)
		o.RateLimiter = ratelimit.NewTokenRateLimit(clientConns * (clientAttempts - 1) * clientRetryCost)
		o.RetryCost, o.RetryTimeoutCost, o.ThrottlingRetryCost = clientRetryCost, clientRetryCost, clientRetryCost
	})
}

// retryPause is of full jitter. The SDK counts the attempts from 1, or from 0 with its new
// retries.
func retryPause(attempt int, err error) (time.Duration, error) {
	limit := clientPause << min(attempt, clientAttempts)
	if retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) == aws.TrueTernary {
		limit *= throttledFactor
	}
	return rand.N(limit), nil
}
