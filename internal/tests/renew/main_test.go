// Package renew_test tests that a renewal replaces the id and leaves a tombstone, and that a logout is never undone.
package renew_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
