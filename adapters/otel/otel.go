// Package dynaotel reports sessions to OpenTelemetry: a span and metrics for each operation of a store. The spans of its calls
// to DynamoDB, which otelaws makes, are inside of these.
package dynaotel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/dynasession/dynasession"
)

const scope = "github.com/dynasession/dynasession/adapters/otel"

// Options are where spans and metrics go. The zero value means OpenTelemetry's global providers.
type Options struct {
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// Instrument sets Before and Observer of cfg. Functions that are set already are still called.
//
// A span has the name "session" and the operation's: "session load". Its attributes are session.id, which is the Ref of the
// session and opens nothing (session.previous_id at a renewal), dynasession.operation, dynasession.conflicts, and error.type
// if it failed. Operations that a middleware runs have its request's span as parent.
//
// The metrics are dynasession.operation.duration, a histogram in seconds, with the attributes dynasession.operation and
// error.type; dynasession.units, the capacity units of DynamoDB, with the attribute dynasession.units.type, read or write; and
// dynasession.conflicts, the writes that were refused because another request came first.
func Instrument(cfg *dynasession.Config, o Options) error {
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	meter := o.MeterProvider.Meter(scope)
	duration, err1 := meter.Float64Histogram("dynasession.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of the operations of a session store."),
		metric.WithExplicitBucketBoundaries(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	units, err2 := meter.Float64Counter("dynasession.units", metric.WithUnit("{unit}"),
		metric.WithDescription("Capacity units that DynamoDB counted."))
	conflicts, err3 := meter.Int64Counter("dynasession.conflicts", metric.WithUnit("{write}"),
		metric.WithDescription("Writes that were refused because another request came first."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("dynaotel: %w", err)
	}
	tracer := o.TracerProvider.Tracer(scope)
	before, observer := cfg.Before, cfg.Observer
	cfg.Before = func(ctx context.Context, op string) context.Context {
		if before != nil {
			ctx = before(ctx, op)
		}
		ctx, span := tracer.Start(ctx, "session "+op, trace.WithAttributes(operation(op)))
		return context.WithValue(ctx, spanKey{}, span)
	}
	cfg.Observer = func(ctx context.Context, e dynasession.Event) {
		set := []attribute.KeyValue{operation(e.Op)}
		if e.Err != nil {
			set = append(set, attribute.String("error.type", kind(e.Err)))
		}
		attributes := metric.WithAttributeSet(attribute.NewSet(set...))
		duration.Record(ctx, e.Duration.Seconds(), attributes)
		count(ctx, units, "read", e.ReadUnits)
		count(ctx, units, "write", e.WriteUnits)
		if e.Conflicts > 0 {
			conflicts.Add(ctx, int64(e.Conflicts), metric.WithAttributes(operation(e.Op)))
		}
		if span, ok := ctx.Value(spanKey{}).(trace.Span); ok {
			end(span, e)
		}
		if observer != nil {
			observer(ctx, e)
		}
	}
	return nil
}

// spanKey finds the span of Before in the context of Observer. The context may hold a later one, of another library.
type spanKey struct{}

func operation(op string) attribute.KeyValue { return attribute.String("dynasession.operation", op) }

func count(ctx context.Context, units metric.Float64Counter, typ string, n float64) {
	if n > 0 {
		units.Add(ctx, n, metric.WithAttributes(attribute.String("dynasession.units.type", typ)))
	}
}

func end(span trace.Span, e dynasession.Event) {
	if e.Ref != "" {
		key := attribute.Key("session.id")
		if e.Op == "renew" { // it names the session as it was
			key = "session.previous_id"
		}
		span.SetAttributes(key.String(e.Ref))
	}
	if e.Conflicts > 0 {
		span.SetAttributes(attribute.Int("dynasession.conflicts", e.Conflicts))
	}
	if e.Err != nil {
		span.SetAttributes(attribute.String("error.type", kind(e.Err)))
		span.SetStatus(codes.Error, e.Err.Error())
	}
	span.End(trace.WithTimestamp(e.Start.Add(e.Duration)))
}

// kinds are the values of error.type.
var kinds = []struct {
	err  error
	name string
}{
	{dynasession.ErrUnavailable, "unavailable"}, {dynasession.ErrCredentials, "credentials"}, {dynasession.ErrTable, "table"},
	{dynasession.ErrConflict, "conflict"}, {dynasession.ErrGone, "gone"}, {dynasession.ErrLocked, "locked"},
	{dynasession.ErrLockLost, "lock_lost"}, {dynasession.ErrTooLarge, "too_large"}, {dynasession.ErrCorrupt, "corrupt"},
	{dynasession.ErrNotFound, "not_found"}, {dynasession.ErrInvalidID, "invalid_id"}, {context.Canceled, "canceled"},
}

func kind(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return "_OTHER"
}
