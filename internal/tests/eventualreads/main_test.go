// Package eventualreads_test tests that Config.EventualReads changes what a read costs and no other promise.
package eventualreads_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
