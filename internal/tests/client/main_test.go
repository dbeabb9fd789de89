// Package client_test tests what a Store expects of its table and client: the settings of NewClient, the options of a
// caller's client, and the table that CreateTable makes and Open checks.
package client_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
