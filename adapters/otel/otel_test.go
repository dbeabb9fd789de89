package dynaotel_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/github.com/aws/aws-sdk-go-v2/otelaws" //nolint:staticcheck // SA1019: its last versions are what traces the SDK until there is another
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/codes"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/dynasession/dynasession"
	dynaotel "github.com/dynasession/dynasession/adapters/otel"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }

// observed is a server of sessions with traces and metrics.
type observed struct {
	*stage.Browser
	spans   *tracetest.SpanRecorder
	metrics http.Handler
	store   *dynasession.Store
}

func observe(t *testing.T, b *stage.Backend, cfg dynasession.Config, app stage.App) *observed {
	t.Helper()
	o := &observed{spans: tracetest.NewSpanRecorder()}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(o.spans))
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	require.NoError(t, err)
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	t.Cleanup(func() {
		_ = tracers.Shutdown(context.Background())
		_ = meters.Shutdown(context.Background())
	})
	o.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})

	options := b.Client.Options()
	otelaws.AppendMiddlewares(&options.APIOptions, otelaws.WithTracerProvider(tracers), otelaws.WithAttributeBuilder(otelaws.DynamoDBAttributeBuilder))
	traced := *b
	traced.Client = dynamodb.New(options)
	require.NoError(t, dynaotel.Instrument(&cfg, dynaotel.Options{TracerProvider: tracers, MeterProvider: meters}))
	o.store = stage.NewStore(t, &traced, cfg)
	o.Browser = stage.NewBrowser(t, otelhttp.NewHandler(o.store.Middleware(app), "server", otelhttp.WithTracerProvider(tracers)))
	o.spans.Reset()
	return o
}

// tree returns the names of the spans that have ended, each with those of its parents, sorted.
func (o *observed) tree() []string {
	byID := map[string]sdktrace.ReadOnlySpan{}
	for _, s := range o.spans.Ended() {
		byID[s.SpanContext().SpanID().String()] = s
	}
	var all []string
	for _, s := range o.spans.Ended() {
		path := s.Name()
		for p := byID[s.Parent().SpanID().String()]; p != nil; p = byID[p.Parent().SpanID().String()] {
			path = p.Name() + " > " + path
		}
		all = append(all, path)
	}
	slices.Sort(all)
	return all
}

func (o *observed) span(name string) sdktrace.ReadOnlySpan {
	for _, s := range o.spans.Ended() {
		if s.Name() == name {
			return s
		}
	}
	return nil
}

func attributes(s sdktrace.ReadOnlySpan) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes() {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

// scrape returns the lines of a scrape of Prometheus that are the library's, without those of buckets and labels of the scope.
func (o *observed) scrape(t *testing.T) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	o.metrics.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	scope := regexp.MustCompile(`,?otel_scope_[a-z_]+="[^"]*"`)
	got := map[string]string{}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "dynasession_") && !strings.Contains(line, "_bucket") && !strings.Contains(line, "_sum") {
			name, value, _ := strings.Cut(strings.TrimSpace(scope.ReplaceAllString(line, "")), " ")
			if strings.Contains(name, "{") && strings.Contains(line, `session load`) {
				name, value, _ = strings.Cut(line, "} ")
			}
			got[name] = value
		}
	}
	return got
}

var app = stage.App{
	"/read":  func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { s.Has("k") },
	"/set":   func(s *dynasession.Session, _ http.ResponseWriter, r *http.Request) { s.Set("k", r.URL.RawQuery) },
	"/login": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { s.SetUser("alice") },
	"/pop": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
		dynasession.Pop[string](s, "k")
	},
}

// TestSpans checks that the spans of a request nest: the server's, the operation's, and otelaws's of the call.
func TestSpans(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		o := observe(t, b, dynasession.Config{Concurrency: policy}, app)
		o.OK("/set?1")
		assert.Equal(t, []string{"GET", "GET > session save", "GET > session save > DynamoDB.PutItem"}, o.tree())
		o.spans.Reset()
		o.OK("/set?2")
		load := "DynamoDB." + stage.LoadCall(policy)
		assert.Equal(t, []string{"GET", "GET > session load", "GET > session load > " + load, "GET > session save", "GET > session save > DynamoDB.UpdateItem"}, o.tree())
		a := attributes(o.span("session load"))
		assert.Equal(t, "load", a["dynasession.operation"])
		var ref string
		for i := range o.store.All(t.Context()) {
			ref = i.Ref
		}
		assert.Equal(t, ref, a["session.id"])
		o.spans.Reset()
		o.OK("/login")
		a = attributes(o.span("session renew"))
		assert.Equal(t, ref, a["session.previous_id"])
		assert.NotContains(t, a, "session.id")
		for _, s := range o.spans.Ended() {
			for _, v := range attributes(s) {
				assert.NotContains(t, v, stage.IDOf(o.Browser), "an id")
			}
		}
	})
}

// TestErrors checks what an outage looks like.
func TestErrors(t *testing.T) {
	b := stage.Embedded(t)
	o := observe(t, b, dynasession.Config{}, app)
	o.OK("/set?1")
	o.spans.Reset()
	b.Calls.Intercept(func(*stage.Call) (*http.Response, error) {
		return stage.AnswerWith(http.StatusBadRequest, "ThrottlingException"), nil
	})
	o.Get("/read")
	b.Calls.Intercept(nil)
	s := o.span("session load")
	require.NotNil(t, s)
	assert.Equal(t, "unavailable", attributes(s)["error.type"])
	assert.Equal(t, codes.Error, s.Status().Code)
	assert.Contains(t, s.Status().Description, "ThrottlingException")
	assert.Contains(t, strings.Join(slices.Collect(maps.Keys(o.scrape(t))), "\n"), `error_type="unavailable"`)
}

// TestMetrics checks a scrape.
func TestMetrics(t *testing.T) {
	b := stage.Embedded(t)
	var o *observed
	paths := maps.Clone(app)
	paths["/slow"] = func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
		o.OK("/set?other")
		s.Set("mine", true)
	}
	paths["/slow-pop"] = func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) {
		o.OK("/pop")
		dynasession.Pop[string](s, "k")
	}
	o = observe(t, b, dynasession.Config{}, paths)
	o.OK("/set?1")
	o.OK("/slow")
	o.Get("/slow-pop")
	got := o.scrape(t)
	sum := map[string]string{}
	for name, value := range got {
		sum[regexp.MustCompile(`\{,?`).ReplaceAllString(name, "{")] = value
	}
	for name, value := range map[string]string{
		`dynasession_operation_duration_seconds_count{dynasession_operation="load"}`:                       "4",
		`dynasession_operation_duration_seconds_count{dynasession_operation="save"}`:                       "4",
		`dynasession_operation_duration_seconds_count{dynasession_operation="save",error_type="conflict"}`: "1",
		`dynasession_conflicts_total{dynasession_operation="save"}`:                                        "2",
		`dynasession_units_total{dynasession_units_type="read"}`:                                           "4",
	} {
		assert.Equal(t, value, sum[name], "%s in %v", name, sum)
	}
	assert.Contains(t, sum, `dynasession_units_total{dynasession_units_type="write"}`)
}

type key struct{}

// TestEarlierFunctions checks that Before and Observer of the Config are still called.
func TestEarlierFunctions(t *testing.T) {
	var ops []string
	b := stage.Embedded(t)
	o := observe(t, b, dynasession.Config{
		Before: func(ctx context.Context, op string) context.Context { return context.WithValue(ctx, key{}, op) },
		Observer: func(ctx context.Context, e dynasession.Event) {
			assert.Equal(t, e.Op, ctx.Value(key{}))
			ops = append(ops, e.Op)
		},
	}, app)
	o.OK("/set?1")
	assert.Equal(t, []string{"save"}, ops)
}

// TestGlobalProviders checks that the zero Options work.
func TestGlobalProviders(t *testing.T) {
	cfg := dynasession.Config{}
	require.NoError(t, dynaotel.Instrument(&cfg, dynaotel.Options{}))
	store := stage.NewStore(t, stage.Embedded(t), cfg)
	require.NoError(t, store.Write(t.Context(), store.CreateID(), nil))
}
