// Package php_test tests that PHP may use the same sessions at the same time.
package php_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
