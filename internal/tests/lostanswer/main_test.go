// Package lostanswer_test tests that a call to DynamoDB that fails, is throttled, or whose answer is lost, does no
// harm: what a response promised is stored, once, and what failed is not.
package lostanswer_test

import (
	"os"
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimEnv) != "" {
		victim()
		return
	}
	stage.Main(m)
}
