// Package docs_test checks the documents against the code: the examples of README.md run, the code and tests that
// docs/architecture.md and SECURITY.md name exist, and every exported name is shown in use.
package docs_test

import (
	"os"
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) {
	if err := os.Chdir("../../.."); err != nil { // the paths in these tests start at the root
		panic(err)
	}
	stage.Main(m)
}
