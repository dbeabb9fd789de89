package embedded_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession/examples/internal/embedded"
)

func TestWanted(t *testing.T) {
	t.Setenv("DYNASESSION_TABLE", "")
	for _, name := range []string{"AWS_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ACCESS_KEY_ID"} {
		t.Setenv(name, "x")
	}
	require.True(t, embedded.Wanted(false), "the machine's AWS settings do not matter")
	require.False(t, embedded.Wanted(true))
	t.Setenv("DYNASESSION_TABLE", "sessions")
	require.False(t, embedded.Wanted(false))
}
