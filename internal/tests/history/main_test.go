// Package history_test compares a Store with models: of one session, of the verbs of SaveHandler, and of the
// histories of many concurrent requests, which must be linearizable.
package history_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
