package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession"
)

// sweepSegments is the number of segments of the table that Store.Sweep scans in parallel.
const sweepSegments = 8

// sweepTimeout limits one page of a scan. It is long because DynamoDB Local reads the whole table for
// some pages.
const sweepTimeout = time.Minute

// swept is the outcome of a sweep.
type swept struct {
	dynasession.SweepStats
	items        int
	duration     time.Duration
	before, peak uint64 // bytes of the heap before the sweep, and the most during it
}

// runSweep fills a table with sessions, half of them expired, and sweeps it.
func runSweep(ctx context.Context, endpoint string, items int, log io.Writer) (*swept, error) {
	db := newClient(endpoint)
	table := fmt.Sprintf("bench-%d", time.Now().UnixNano())
	if err := createTable(ctx, db, table, "id"); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := fill(ctx, db, table, "id", items, items/2); err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(log, "filled a table with %d items in %v\n", items, time.Since(began).Round(time.Second))
	store, err := dynasession.New(db, dynasession.Config{Table: table, Timeout: sweepTimeout})
	if err != nil {
		return nil, err
	}
	runtime.GC()
	s := &swept{items: items, before: heapInUse()}
	stop, peak := make(chan struct{}), make(chan uint64)
	go watchHeap(stop, peak)
	began = time.Now()
	s.SweepStats, err = store.Sweep(ctx, dynasession.SweepOptions{Segments: sweepSegments, Progress: tenths(items, log)})
	s.duration = time.Since(began)
	close(stop)
	s.peak = <-peak
	if err == nil {
		_, err = db.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table})
	}
	return s, err
}

// tenths returns a progress function that logs a line for each tenth of the items scanned.
func tenths(items int, log io.Writer) func(dynasession.SweepStats) {
	next := 1
	return func(s dynasession.SweepStats) {
		if 10*s.Scanned >= next*items {
			_, _ = fmt.Fprintf(log, "%d scanned, %d deleted\n", s.Scanned, s.Deleted)
			next = 10*s.Scanned/items + 1
		}
	}
}

// watchHeap samples the size of the heap until stop is closed, then sends the largest one to peak.
func watchHeap(stop <-chan struct{}, peak chan<- uint64) {
	largest := uint64(0)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			largest = max(largest, heapInUse())
		case <-stop:
			peak <- max(largest, heapInUse())
			return
		}
	}
}

// heapInUse returns the bytes of live objects and of dead objects that are not yet collected.
func heapInUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
