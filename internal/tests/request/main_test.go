// Package request_test tests the way of a request through the middleware: load once, save before the first byte,
// cookies, panics, streams, websockets, and clients that go away.
package request_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
