//go:build !race

package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The race detector drops pooled memory at random. make test runs this file without it.

// TestOverheadAllocations bounds what this library allocates beside the SDK's calls, and compares it with scs.
func TestOverheadAllocations(t *testing.T) {
	for _, size := range overheadSizes {
		t.Run(size.name, func(t *testing.T) {
			allocs := map[string]float64{}
			for via, requests := range overheads(t, size.bytes) {
				for req, send := range requests {
					send()
					allocs[via+" "+req] = testing.AllocsPerRun(200, send)
				}
			}
			for _, tc := range []struct {
				req  string
				most float64
			}{{"read", 40}, {"change", 60}} {
				ours := allocs["ours "+tc.req] - allocs["sdk "+tc.req]
				theirs := allocs["scs "+tc.req] - allocs["none "+tc.req]
				t.Logf("%s: ours %v, scs %v", tc.req, ours, theirs)
				assert.LessOrEqual(t, ours, tc.most, tc.req)
				assert.Less(t, ours, theirs/4, tc.req)
			}
			for _, req := range []string{"alone", "alone-with-cookie"} {
				assert.LessOrEqual(t, allocs["ours "+req], allocs["none "+req]+4, req)
			}
		})
	}
}
