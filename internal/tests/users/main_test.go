// Package users_test tests UserSessions and DestroyUser, which find sessions through an index that may be behind.
package users_test

import (
	"testing"

	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
