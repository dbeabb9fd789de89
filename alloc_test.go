//go:build !race

package dynasession_test

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

// TestStoreAllocations: the Store makes fewer than the SDK's call alone, since the SDK works out the
// endpoint only once, and neither writes the usual requests nor reads the usual items.
func TestStoreAllocations(t *testing.T) {
	for _, size := range benchSizes {
		s := newBareStore(t, size.bytes)
		assert.LessOrEqual(t, allocsOf(t, s.storeRead), allocsOf(t, s.sdkRead)-23, "Store.Read, %s", size.name)
		assert.LessOrEqual(t, allocsOf(t, s.storeWrite), allocsOf(t, s.sdkWrite)-14, "Store.Write, %s", size.name)
	}
}

// TestMiddlewareAllocations: what the middleware adds to no middleware, and to the SDK's calls.
func TestMiddlewareAllocations(t *testing.T) {
	most := map[string]float64{"alone": 4, "alone-with-cookie": 4, "read": -15, "change": -15}
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
