//go:build !race

package cost_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The race detector allocates too: make test runs these without it.

func allocsOf(t *testing.T, call func(context.Context) error) float64 {
	require.NoError(t, call(t.Context()))
	return testing.AllocsPerRun(200, func() { _ = call(context.Background()) })
}

// TestStoreAllocations bounds what a Store adds to the SDK's own call.
func TestStoreAllocations(t *testing.T) {
	for _, size := range benchSizes {
		s := newBareStore(t, size.bytes)
		assert.LessOrEqual(t, allocsOf(t, s.storeRead), allocsOf(t, s.sdkRead)+15, "Store.Read, %s", size.name)
		assert.LessOrEqual(t, allocsOf(t, s.storeWrite), allocsOf(t, s.sdkWrite)+25, "Store.Write, %s", size.name)
	}
}

// TestMiddlewareAllocations bounds what the middleware adds to a bare handler, and to the SDK's calls.
func TestMiddlewareAllocations(t *testing.T) {
	most := map[string]float64{"alone": 4, "alone-with-cookie": 4, "read": 40, "change": 60}
	for _, size := range benchSizes[:2] {
		s := newBareStore(t, size.bytes)
		for _, q := range benchRequests {
			vias := s.vias(q)
			with := allocsOf(t, vias["middleware"])
			delete(vias, "middleware")
			for _, without := range vias {
				added := with - allocsOf(t, without)
				t.Logf("%s, %s: %v allocations added", q.name, size.name, added)
				assert.LessOrEqual(t, added, most[q.name], "%s, %s", q.name, size.name)
			}
		}
	}
}
