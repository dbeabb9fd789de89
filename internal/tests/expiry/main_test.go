// Package expiry_test tests when a session ends: IdleTimeout, Lifetime, Remember, LimitTo, NotBefore, touches, and
// servers whose clocks differ.
package expiry_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
