// Package webclient makes a DynamoDB client that suits web requests. The root's NewClient documents what it does, and why.
package webclient

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
	maxConns      = 256
	dialTime      = 2 * time.Second
	handshakeTime = 3 * time.Second
	answerTime    = time.Second

	maxAttempts     = 4
	retryCost       = retry.DefaultRetryCost
	firstPause      = 25 * time.Millisecond
	throttledFactor = 8
)

// New returns dynamodb.NewFromConfig(cfg, optFns...) with other defaults.
func New(cfg aws.Config, optFns ...func(*dynamodb.Options)) *dynamodb.Client {
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTime })
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

// httpClient sends bodies that net/http knows to be in memory. For any other body, net/http sends the header first,
// so that the answer can come before net/http has asked the body for its end. The SDK has closed the body by then;
// net/http takes that for a failed write, and drops the connection.
type httpClient struct {
	*awshttp.BuildableClient // for code that asks for its settings
	client                   *http.Client
	answer                   time.Duration // how long an attempt waits for an answer; 0 for the transport's limit
}

func newHTTPClient(c *awshttp.BuildableClient) aws.HTTPClient {
	client, ok := c.Freeze().(*http.Client)
	if !ok {
		return c
	}
	// Otherwise net/http would send the body again, to wherever a redirect points. DynamoDB sends none.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	hc := &httpClient{BuildableClient: c, client: client}
	if c.GetTransport().ResponseHeaderTimeout == 0 {
		hc.answer = answerTime
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
		// With GetBody, net/http tries another connection if the server has closed an idle one.
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, _ = r.GetBody()
	}
	if c.answer == 0 || isLast(r) {
		return c.client.Do(r) //nolint:gosec // G704: the address in r is the SDK's, of the configuration
	}
	return c.doInTime(r)
}

// isLast reports whether r is the last attempt of a call that has a deadline. The SDK tells DynamoDB which attempt it
// is.
func isLast(r *http.Request) bool {
	attempt, rest, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Amz-Sdk-Request"), "attempt="), "; ")
	most, _, _ := strings.Cut(strings.TrimPrefix(rest, "max="), ";")
	_, ends := r.Context().Deadline()
	return ends && attempt != "" && attempt == most
}

// noAnswerError is the error of an attempt that got no answer in time. The SDK repeats what has timed out.
type noAnswerError struct{ after time.Duration }

func (e *noAnswerError) Error() string { return fmt.Sprintf("no answer within %v", e.after) }
func (*noAnswerError) Timeout() bool   { return true }
func (*noAnswerError) Temporary() bool { return true }

// doInTime does for one request what Transport.ResponseHeaderTimeout does for all.
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

// cancelled is a body that ends the context of its request.
type cancelled struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *cancelled) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// pool replaces what has the SDK's default.
func pool(t *http.Transport) {
	replace(&t.MaxConnsPerHost, awshttp.DefaultHTTPTransportMaxConnsPerHost, maxConns)
	replace(&t.MaxIdleConnsPerHost, awshttp.DefaultHTTPTransportMaxIdleConnsPerHost, maxConns)
	replace(&t.MaxIdleConns, awshttp.DefaultHTTPTransportMaxIdleConns, maxConns)
	replace(&t.TLSHandshakeTimeout, awshttp.DefaultHTTPTransportTLSHandleshakeTimeout, handshakeTime)
}

func replace[T comparable](field *T, old, value T) {
	if *field == old {
		*field = value
	}
}

func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.Backoff = retry.BackoffDelayerFunc(retryPause)
		o.RateLimiter = ratelimit.NewTokenRateLimit(maxConns * (maxAttempts - 1) * retryCost)
		o.RetryCost, o.RetryTimeoutCost, o.ThrottlingRetryCost = retryCost, retryCost, retryCost
	})
}

// retryPause returns a pause of full jitter. The SDK counts the attempts from 1, or from 0 in its newer retries.
func retryPause(attempt int, err error) (time.Duration, error) {
	limit := firstPause << min(attempt, maxAttempts)
	if retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) == aws.TrueTernary {
		limit *= throttledFactor
	}
	return rand.N(limit), nil
}
