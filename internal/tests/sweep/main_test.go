// Package sweep_test tests that Sweep and GC delete what is over and nothing else.
package sweep_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
