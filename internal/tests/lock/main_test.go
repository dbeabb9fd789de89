// Package lock_test tests the Lock policy: one request at a time has the session, and a lock whose holder died ends.
package lock_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
