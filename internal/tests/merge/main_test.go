// Package merge_test tests the Merge policy: the changes of concurrent requests are all stored, and conflicts are
// reported.
package merge_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
