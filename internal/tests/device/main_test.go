// Package device_test tests device-bound sessions without a browser: a program signs the proofs, in bubbles, so that each time is
// exact to the second.
package device_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
