package dynaotel_test

import (
	"context"
	"fmt"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/dynasession/dynasession"
	dynaotel "github.com/dynasession/dynasession/adapters/otel"
	"github.com/dynasession/dynasession/dynamotest"
)

// Each operation of the store is a span.
func Example() {
	server := dynamotest.NewServer() // a real program has AWS's
	defer server.Close()
	spans := tracetest.NewSpanRecorder() // and an exporter
	cfg := dynasession.Config{}
	err := dynaotel.Instrument(&cfg, dynaotel.Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))})
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := dynasession.New(server.Client(), cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	if err := store.CreateTable(ctx); err != nil {
		fmt.Println(err)
		return
	}
	id := store.CreateID()
	_ = store.Write(ctx, id, []byte(`{"k":1}`))
	_, _ = store.Read(ctx, id)
	for _, s := range spans.Ended() {
		fmt.Println(s.Name())
	}
	// Output:
	// session write
	// session read
}
