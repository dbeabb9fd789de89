// Package cost_test counts what a request costs: calls, capacity units and allocations. Its benchmarks measure the
// time.
package cost_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
