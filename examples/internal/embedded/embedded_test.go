package embedded_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession/examples/internal/embedded"
)

func TestWanted(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	require.True(t, embedded.Wanted())

	t.Setenv("AWS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
	require.True(t, embedded.Wanted(), "a CA bundle is no setting")

	for _, name := range []string{"AWS_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL_DYNAMODB"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "x")
			require.False(t, embedded.Wanted())
		})
	}

	require.NoError(t, os.Mkdir(filepath.Join(home, ".aws"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(home, ".aws", "config"), nil, 0o600))
	require.False(t, embedded.Wanted(), "a shared file")
}
