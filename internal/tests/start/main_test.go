// Package start_test tests sessions outside of the middleware, which Store.Start returns: they keep the same promises. It
// also tests All and End, which need no request.
package start_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
