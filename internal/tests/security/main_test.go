// Package security_test runs the attacks and situations that SECURITY.md names.
package security_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
