package client_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func transportOf(t *testing.T, c *dynamodb.Client) (*http.Transport, *net.Dialer) {
	t.Helper()
	b, ok := c.Options().HTTPClient.(interface {
		GetTransport() *http.Transport
		GetDialer() *net.Dialer
	})
	require.True(t, ok)
	return b.GetTransport(), b.GetDialer()
}

func TestNewClientSettings(t *testing.T) {
	tr, dialer := transportOf(t, dynasession.NewClient(stage.AWSConfig("http://dynamodb.test")))
	assert.Equal(t, 256, tr.MaxConnsPerHost)
	assert.Equal(t, 256, tr.MaxIdleConnsPerHost)
	assert.Equal(t, 256, tr.MaxIdleConns)
	assert.Equal(t, 90*time.Second, tr.IdleConnTimeout)
	assert.Equal(t, 2*time.Second, dialer.Timeout)
	assert.Equal(t, 3*time.Second, tr.TLSHandshakeTimeout)
	assert.Zero(t, tr.ResponseHeaderTimeout, "which would hold for the last attempt too")
	assert.NotNil(t, tr.Proxy)
	assert.Equal(t, uint16(tls.VersionTLS12), tr.TLSClientConfig.MinVersion)
	o := dynasession.NewClient(stage.AWSConfig("http://dynamodb.test")).Options()
	assert.Equal(t, 4, o.Retryer.MaxAttempts())
	assert.False(t, o.DisableValidateResponseChecksum)
}

// doFunc is an HTTPClient.
type doFunc func(*http.Request) (*http.Response, error)

func (f doFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

func TestNewClientKeepsWhatIsSet(t *testing.T) {
	t.Run("HTTPClient", func(t *testing.T) {
		cfg, calls := stage.AWSConfig("http://dynamodb.test"), 0
		cfg.HTTPClient = doFunc(func(*http.Request) (*http.Response, error) {
			calls++
			return nil, context.Canceled
		})
		_, err := getItem(t.Context(), dynasession.NewClient(cfg, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }))
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 1, calls)
	})
	t.Run("an *http.Client", func(t *testing.T) {
		cfg := stage.AWSConfig("http://dynamodb.test")
		own := &http.Client{}
		cfg.HTTPClient = own
		assert.Same(t, own, dynasession.NewClient(cfg).Options().HTTPClient)
	})
	t.Run("settings of the SDK's HTTP client", func(t *testing.T) {
		roots := x509.NewCertPool()
		cfg := stage.AWSConfig("http://dynamodb.test")
		own := awshttp.NewBuildableClient().WithTimeout(7 * time.Second).WithTransportOptions(func(tr *http.Transport) {
			tr.TLSClientConfig.RootCAs = roots
			tr.MaxConnsPerHost, tr.TLSHandshakeTimeout = 3, 4*time.Second
			tr.ResponseHeaderTimeout = 7 * time.Second
		})
		cfg.HTTPClient = own
		c := dynasession.NewClient(cfg)
		tr, dialer := transportOf(t, c)
		assert.Same(t, roots, tr.TLSClientConfig.RootCAs)
		assert.Equal(t, 3, tr.MaxConnsPerHost)
		assert.Equal(t, 4*time.Second, tr.TLSHandshakeTimeout)
		assert.Equal(t, 256, tr.MaxIdleConnsPerHost)
		assert.Equal(t, 7*time.Second, tr.ResponseHeaderTimeout)
		assert.Equal(t, awshttp.DefaultDialConnectTimeout, dialer.Timeout)
		assert.Equal(t, 7*time.Second, c.Options().HTTPClient.(interface{ GetTimeout() time.Duration }).GetTimeout())
		assert.Equal(t, awshttp.DefaultHTTPTransportMaxIdleConnsPerHost, own.GetTransport().MaxIdleConnsPerHost, "the caller's own has changed")
	})
	t.Run("Retryer", func(t *testing.T) {
		cfg := stage.AWSConfig("http://dynamodb.test")
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
		assert.Equal(t, aws.NopRetryer{}, dynasession.NewClient(cfg).Options().Retryer)
	})
	t.Run("RetryMode", func(t *testing.T) {
		cfg := stage.AWSConfig("http://dynamodb.test")
		cfg.RetryMode = aws.RetryModeAdaptive
		assert.IsType(t, (*retry.AdaptiveMode)(nil), dynasession.NewClient(cfg).Options().Retryer)
	})
	t.Run("RetryMaxAttempts", func(t *testing.T) {
		cfg := stage.AWSConfig("http://dynamodb.test")
		cfg.RetryMaxAttempts = 9
		assert.Equal(t, 9, dynasession.NewClient(cfg).Options().Retryer.MaxAttempts())
	})
	t.Run("optFns come last", func(t *testing.T) {
		own := doFunc(http.DefaultClient.Do)
		var seen dynamodb.Options
		o := dynasession.NewClient(stage.AWSConfig("http://dynamodb.test"), func(o *dynamodb.Options) {
			seen = *o
			o.HTTPClient, o.Retryer, o.Region = own, aws.NopRetryer{}, "eu-central-1"
		}, func(o *dynamodb.Options) { o.Region += "-2" }).Options()
		assert.Equal(t, 4, seen.Retryer.MaxAttempts())
		assert.IsType(t, own, o.HTTPClient)
		assert.Equal(t, aws.NopRetryer{}, o.Retryer)
		assert.Equal(t, "eu-central-1-2", o.Region)
	})
}

func TestNewClientRetries(t *testing.T) {
	failed := io.ErrUnexpectedEOF
	throttled := &smithy.GenericAPIError{Code: "ProvisionedThroughputExceededException"}
	retryer := dynasession.NewClient(stage.AWSConfig("http://dynamodb.test")).Options().Retryer.(aws.RetryerV2)
	for _, tc := range []struct {
		err   error
		limit time.Duration
	}{{failed, 50 * time.Millisecond}, {throttled, 400 * time.Millisecond}} {
		for attempt := 1; attempt < retryer.MaxAttempts(); attempt++ {
			limit := tc.limit << (attempt - 1)
			low, high := limit, time.Duration(0)
			for range 1000 {
				pause, err := retryer.RetryDelay(attempt, tc.err)
				require.NoError(t, err)
				low, high = min(low, pause), max(high, pause)
			}
			// Chances of a miss: 1 of 2^1000.
			assert.Less(t, low, limit/2, "attempt %d", attempt)
			assert.Greater(t, high, limit/2, "attempt %d", attempt)
			assert.Less(t, high, limit, "attempt %d", attempt)
		}
	}
	assert.True(t, retryer.IsErrorRetryable(throttled))
	assert.False(t, retryer.IsErrorRetryable(&types.ConditionalCheckFailedException{}))

	t.Run("budget", func(t *testing.T) {
		timeout := &awshttp.ResponseTimeoutError{TimeoutDur: time.Second}
		for n, err := range slices.Repeat([]error{throttled, timeout, failed}, 256) { // 3 for each connection
			_, denied := retryer.GetRetryToken(t.Context(), err)
			require.NoError(t, denied, "retry %d", n)
		}
		_, denied := retryer.GetRetryToken(t.Context(), failed)
		require.Error(t, denied)
		for range 5 {
			release, err := retryer.GetAttemptToken(t.Context())
			require.NoError(t, err)
			require.NoError(t, release(nil))
		}
		_, denied = retryer.GetRetryToken(t.Context(), failed)
		require.NoError(t, denied, "five successes are a retry")
	})
	t.Run("each client has its own", func(t *testing.T) {
		cfg := stage.AWSConfig("http://dynamodb.test")
		one, other := dynasession.NewClient(cfg), dynasession.NewClient(cfg)
		assert.NotSame(t, one.Options().Retryer, other.Options().Retryer)
	})
}

// TestNewClientRepeats: a DynamoDB that throttles three times costs a session nothing but time.
func TestNewClientRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := stage.Embedded(t)
		failures := 3
		cfg := stage.AWSConfig("http://dynamodb.test")
		cfg.HTTPClient = doFunc(func(r *http.Request) (*http.Response, error) {
			if failures > 0 {
				failures--
				return &http.Response{
					StatusCode: http.StatusBadRequest, Header: http.Header{"X-Amzn-Errortype": {"ThrottlingException"}},
					Body: http.NoBody,
				}, nil
			}
			return b.Client.Options().HTTPClient.Do(r)
		})
		s := stage.NewStore(t, b, dynasession.Config{Table: "sessions"})
		client, err := dynasession.New(dynasession.NewClient(cfg), dynasession.Config{Table: "sessions"})
		require.NoError(t, err)
		id := s.CreateID()
		require.NoError(t, s.Write(t.Context(), id, []byte("{}")))
		data, err := client.Read(t.Context(), id)
		require.NoError(t, err)
		assert.JSONEq(t, "{}", string(data))

		failures = 4
		_, err = client.Read(t.Context(), id)
		require.ErrorIs(t, err, dynasession.ErrUnavailable)
		assert.Zero(t, failures, "attempts left")
	})
}

// TestNewClientTimeouts: a server that takes connections, and never answers.
func TestNewClientTimeouts(t *testing.T) {
	for name, tc := range map[string]struct {
		endpoint string
		attempts int64
		least    time.Duration
		most     time.Duration
	}{
		"no answer":    {"http://dynamodb.test", 4, 4 * time.Second, 4*time.Second + 350*time.Millisecond},
		"no handshake": {"https://dynamodb.test", 4, 12 * time.Second, 12*time.Second + 350*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int64
				cfg := stage.AWSConfig(tc.endpoint)
				cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
					tr.Proxy = nil
					tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
						dials.Add(1)
						near, far := net.Pipe()
						go func() { _, _ = io.Copy(io.Discard, far) }() // ends when near is closed
						return near, nil
					}
				})
				client := dynasession.NewClient(cfg)
				begin := time.Now()
				_, err := getItem(t.Context(), client)
				took := time.Since(begin) // on the bubble's clock
				require.Error(t, err)
				assert.GreaterOrEqual(t, took, tc.least)
				assert.LessOrEqual(t, took, tc.most)
				assert.Equal(t, tc.attempts, dials.Load())

				s, err := dynasession.New(client, dynasession.Config{})
				require.NoError(t, err)
				begin = time.Now()
				_, err = s.Read(t.Context(), s.CreateID())
				require.ErrorIs(t, err, dynasession.ErrUnavailable)
				assert.LessOrEqual(t, time.Since(begin), dynasession.DefaultTimeout)
				time.Sleep(time.Minute) // the last dial may go on after its request
			})
		})
	}
}

// TestSlowTable: a table that takes longer to answer than an attempt has is no outage.
func TestSlowTable(t *testing.T) {
	for _, takes := range []time.Duration{900 * time.Millisecond, 1200 * time.Millisecond, 1500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			srv := dynamotest.NewServer()
			defer srv.Close()
			o := srv.Client().Options()
			var requests atomic.Int64
			cfg := aws.Config{Region: o.Region, BaseEndpoint: aws.String("http://dynamodb.test"), Credentials: o.Credentials}
			cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
				tr.Proxy, tr.IdleConnTimeout = nil, time.Second
				tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go serveSlowly(far, o.HTTPClient, *o.BaseEndpoint, takes, &requests)
					return near, nil
				}
			})
			client := dynasession.NewClient(cfg)
			s, err := dynasession.New(srv.Client(), dynasession.Config{})
			require.NoError(t, err)
			require.NoError(t, s.CreateTable(t.Context()))
			id := s.CreateID()
			require.NoError(t, s.Write(t.Context(), id, []byte(`{"a":0}`)))
			s, err = dynasession.New(client, dynasession.Config{})
			require.NoError(t, err)
			require.NoError(t, s.Write(t.Context(), id, []byte(`{"a":1}`)), takes)
			data, err := s.Read(t.Context(), id)
			require.NoError(t, err, takes)
			assert.JSONEq(t, `{"a":1}`, string(data))
			time.Sleep(time.Minute)
		})
	}
}

// serveSlowly answers the requests of a connection as DynamoDB does, after a while.
func serveSlowly(conn net.Conn, to aws.HTTPClient, endpoint string, takes time.Duration, requests *atomic.Int64) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		requests.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		time.Sleep(takes)
		out, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, endpoint+"/", bytes.NewReader(body))
		out.Header = r.Header
		resp, err := to.Do(out)
		if err != nil {
			return
		}
		err = resp.Write(conn)
		_ = resp.Body.Close()
		if err != nil {
			return
		}
	}
}

func TestFromEnvUsesNewClient(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", server.URL)
	s, err := dynasession.FromEnv(t.Context())
	require.NoError(t, err)
	_, err = s.Read(t.Context(), s.CreateID())
	require.ErrorIs(t, err, dynasession.ErrUnavailable)
	assert.EqualValues(t, 4, calls.Load(), "attempts; the SDK has 3")
}

// slowServer is a DynamoDB over TLS that counts its connections. All items are the same.
type slowServer struct {
	*httptest.Server
	opened, open, most atomic.Int64
}

const itemAnswer = `{"Item":{"id":{"S":"session_00"},"expires":{"N":"4000000000"},"data":{"S":"{}"},"rev":{"N":"1"}}}`

// newSlowServer calls hold before each answer.
func newSlowServer(t testing.TB, hold func()) *slowServer {
	s := &slowServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		hold()
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		stage.Write(w, itemAnswer)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.opened.Add(1)
			open := s.open.Add(1)
			for most := s.most.Load(); open > most && !s.most.CompareAndSwap(most, open); most = s.most.Load() {
			}
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// config trusts the server's certificate. Nothing else of the HTTP client is changed.
func (s *slowServer) config() aws.Config {
	cfg := stage.AWSConfig(s.URL)
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.TLSClientConfig.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	})
	return cfg
}

func getItem(ctx context.Context, c *dynamodb.Client) (*dynamodb.GetItemOutput, error) {
	return c.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: aws.String("sessions"), ConsistentRead: aws.Bool(true),
		Key: map[string]types.AttributeValue{"id": stage.Str("session_00")},
	})
}

// inParallel makes n calls at the same time.
func inParallel(t testing.TB, n int, client *dynamodb.Client) {
	var failed atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := getItem(context.Background(), client); err != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	require.Zero(t, failed.Load(), "calls that failed")
}

// TestNewClientConnections: the server answers when all requests that can come at the same
// time have come, so that each of them needs a connection. On a busy machine net/http now and
// then drops one, after waiting for 50 ms for the end of a write.
func TestNewClientConnections(t *testing.T) {
	for _, tc := range []struct{ parallel, connections int }{{1, 1}, {64, 64}, {256, 256}, {1024, 256}} {
		var mu sync.Mutex
		var waiting []chan struct{}
		server := newSlowServer(t, func() {
			turn := make(chan struct{})
			mu.Lock()
			if waiting = append(waiting, turn); len(waiting) == tc.connections {
				for _, w := range waiting {
					close(w)
				}
				waiting = nil
			}
			mu.Unlock()
			<-turn
		})
		cfg := server.config()
		cfg.HTTPClient = patient(cfg.HTTPClient)
		client := dynasession.NewClient(cfg)
		for range 3 {
			inParallel(t, tc.parallel, client)
		}
		assert.GreaterOrEqual(t, server.opened.Load(), int64(tc.connections))
		assert.LessOrEqual(t, server.opened.Load(), int64(tc.connections*110/100), "connections opened by %d parallel requests", tc.parallel)
	}
}

// patient takes the time limits off: a race detector and a busy machine make handshakes slow.
func patient(c aws.HTTPClient) aws.HTTPClient {
	return c.(*awshttp.BuildableClient).WithTransportOptions(func(tr *http.Transport) {
		tr.TLSHandshakeTimeout, tr.ResponseHeaderTimeout = time.Hour, time.Hour
	})
}

// TestNewClientBursts: waves that begin whether or not the one before has ended, and calls
// without a pause. The connections of the SDK's default client are in the thousands.
func TestNewClientBursts(t *testing.T) {
	for name, burst := range map[string]func(t *testing.T, client *dynamodb.Client){
		"waves": func(t *testing.T, client *dynamodb.Client) {
			var wg sync.WaitGroup
			for range 15 {
				wg.Go(func() { inParallel(t, 256, client) })
				time.Sleep(20 * time.Millisecond)
			}
			wg.Wait()
		},
		"no pause": func(t *testing.T, client *dynamodb.Client) {
			var wg sync.WaitGroup
			for range 1024 {
				wg.Go(func() {
					for range 2 {
						inParallel(t, 1, client)
					}
				})
			}
			wg.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			server := newSlowServer(t, func() { time.Sleep(5 * time.Millisecond) })
			cfg := server.config()
			cfg.HTTPClient = patient(cfg.HTTPClient)
			burst(t, dynasession.NewClient(cfg))
			assert.LessOrEqual(t, server.opened.Load(), int64(282))
			server.Close() // its clients' connections with it
			goleak.VerifyNone(t, leaks)
		})
	}
}

// writes counts the writes onto a connection.
type writes struct {
	net.Conn
	n *atomic.Int64
}

func (w writes) Write(b []byte) (int, error) {
	w.n.Add(1)
	return w.Conn.Write(b)
}

// TestNewClientWritesOnce: header and body leave in one piece.
func TestNewClientWritesOnce(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		assert.Contains(t, string(body), "session_00")
		stage.Write(w, itemAnswer)
	}))
	defer server.Close()
	var n atomic.Int64
	cfg := stage.AWSConfig(server.URL)
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return writes{c, &n}, err
		}
	})
	client := dynasession.NewClient(cfg, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
	for range 10 {
		_, err := getItem(t.Context(), client)
		require.NoError(t, err)
	}
	assert.EqualValues(t, 10, n.Load())
}

// TestNewClientFollowsNoRedirect: it would send the session, and a signature, to wherever it points.
func TestNewClientFollowsNoRedirect(t *testing.T) {
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		var n atomic.Int64
		var server *httptest.Server
		server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) > 10 {
				stage.Write(w, itemAnswer)
				return
			}
			http.Redirect(w, r, server.URL, status)
		}))
		defer server.Close()
		_, err := getItem(t.Context(), dynasession.NewClient(stage.AWSConfig(server.URL)))
		require.Error(t, err)
		assert.EqualValues(t, 1, n.Load(), status)
	}
}

// TestNewClientCancelled: requests that give up leave nothing behind.
func TestNewClientCancelled(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	arrived := make(chan struct{}, 64)
	held := make(chan struct{})
	server := newSlowServer(t, func() {
		arrived <- struct{}{}
		<-held
	})
	client := dynasession.NewClient(server.config(), func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := getItem(ctx, client)
			assert.ErrorIs(t, err, context.Canceled)
		})
	}
	for range 8 {
		<-arrived
	}
	cancel()
	wg.Wait()
	close(held)
	server.Close()
	goleak.VerifyNone(t, leaks)
}

// clients are the SDK's default client and ours, for benchmarks.
var clients = []struct {
	name string
	make func(aws.Config, ...func(*dynamodb.Options)) *dynamodb.Client
}{{"client=sdk", dynamodb.NewFromConfig}, {"client=ours", dynasession.NewClient}}

func reportLatency(b *testing.B, server *slowServer, took []time.Duration) {
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
	b.ReportMetric(float64(server.opened.Load()), "conns")
	b.ReportMetric(float64(server.most.Load()), "conns-at-once")
}

// BenchmarkClientParallel makes calls without a pause, over TLS, of a server that answers
// after 5 ms.
func BenchmarkClientParallel(b *testing.B) {
	for _, parallel := range []struct {
		name string
		n    int
	}{{"n=64", 64}, {"n=256", 256}, {"n=1024", 1024}} {
		for _, c := range clients {
			b.Run(parallel.name+"/"+c.name, func(b *testing.B) {
				server := newSlowServer(b, func() { time.Sleep(5 * time.Millisecond) })
				client := c.make(server.config())
				var left atomic.Int64
				left.Store(int64(b.N))
				all := make([][]time.Duration, parallel.n)
				b.ResetTimer()
				var wg sync.WaitGroup
				for i := range all {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							begin := time.Now()
							if _, err := getItem(context.Background(), client); err != nil {
								b.Error(err)
								return
							}
							all[i] = append(all[i], time.Since(begin))
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				reportLatency(b, server, slices.Concat(all...))
			})
		}
	}
}

// BenchmarkClientBursts makes waves of 256 calls, 200 ms apart. Run it with
// -benchtime=15x: 15 waves.
func BenchmarkClientBursts(b *testing.B) {
	for _, c := range clients {
		b.Run(c.name, func(b *testing.B) {
			server := newSlowServer(b, func() { time.Sleep(5 * time.Millisecond) })
			client := c.make(server.config())
			all := make([][256]time.Duration, b.N)
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range all {
				next := time.After(200 * time.Millisecond)
				for j := range all[i] {
					wg.Go(func() {
						begin := time.Now()
						if _, err := getItem(context.Background(), client); err != nil {
							b.Error(err)
						}
						all[i][j] = time.Since(begin)
					})
				}
				<-next
			}
			wg.Wait()
			b.StopTimer()
			var took []time.Duration
			for i := range all {
				took = append(took, all[i][:]...)
			}
			reportLatency(b, server, took)
		})
	}
}

// TestChecksumIsMinded: an answer that does not fit its checksum is asked for again, and is never
// a session. The SDK by itself only logs it.
func TestChecksumIsMinded(t *testing.T) {
	b := stage.Embedded(t)
	s := stage.NewStore(t, b, dynasession.Config{Table: "sessions"})
	b.Server.Fault(dynamotest.Fault{Kind: dynamotest.Checksum})
	id := s.CreateID()
	require.NoError(t, s.Write(t.Context(), id, []byte(`{"a":1}`)))
	b.Calls.Take()

	b.Server.Fault(dynamotest.Fault{Kind: dynamotest.Checksum})
	data, err := s.Read(t.Context(), id)
	require.NoError(t, err)
	assert.JSONEq(t, `{"a":1}`, string(data))
	assert.Equal(t, []string{"GetItem", "GetItem"}, b.Calls.Take())

	b.Server.Fault(dynamotest.Fault{Kind: dynamotest.Checksum, Times: -1})
	_, err = s.Read(t.Context(), id)
	require.ErrorIs(t, err, dynasession.ErrUnavailable)
	assert.ErrorContains(t, err, "checksum")
}

// TestChecksumOff checks that a client without checksums stays one.
func TestChecksumOff(t *testing.T) {
	b := stage.Embedded(t)
	stage.NewStore(t, b, dynasession.Config{Table: "sessions"})
	client := b.Server.Client(func(o *dynamodb.Options) { o.DisableValidateResponseChecksum = true })
	s, err := dynasession.New(client, dynasession.Config{Table: "sessions"})
	require.NoError(t, err)
	b.Server.Fault(dynamotest.Fault{Kind: dynamotest.Checksum, Times: -1})
	_, err = s.Read(t.Context(), s.CreateID())
	require.ErrorIs(t, err, dynasession.ErrNotFound)
}
