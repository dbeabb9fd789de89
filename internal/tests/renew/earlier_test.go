package renew_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// earlierCommit is the last one before renewals left tombstones.
const earlierCommit = "5abd894"

// buildEarlier builds testdata/earlier in that commit's version of the package.
func buildEarlier(t *testing.T) string {
	t.Helper()
	if err := exec.Command("git", "cat-file", "-e", earlierCommit+"^{commit}").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the history has no commit %s: fetch all of it", earlierCommit)
		}
		t.Skipf("the history has no commit %s: this test builds it", earlierCommit)
	}
	dir := t.TempDir()
	archive := filepath.Join(dir, "tree.tar")
	run := func(at, name string, args ...string) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = at
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
	}
	run("../../..", "git", "archive", "--output="+archive, earlierCommit)
	tree := filepath.Join(dir, "tree")
	require.NoError(t, os.MkdirAll(filepath.Join(tree, "earlier"), 0o750))
	run(".", "tar", "-xf", archive, "-C", tree)
	source, err := os.ReadFile(filepath.Join("testdata", "earlier", "main.go"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(tree, "earlier", "main.go"), source, 0o600))
	program := filepath.Join(dir, "earlier.exe")
	run(tree, "go", "build", "-o", program, "./earlier")
	return program
}

// TestEarlierVersion: while an earlier version runs beside this one, it takes a tombstone for a dead item. It
// neither serves nor changes it, but for Store.Write and its sweep.
func TestEarlierVersion(t *testing.T) {
	program := buildEarlier(t)
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		endpoint := os.Getenv("DYNAMODB_LOCAL_ENDPOINT")
		if b.Server != nil {
			endpoint = b.Server.URL()
		}
		l := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy}, "/login?alice")
		start := func(deed, id string) (in io.WriteCloser, out *bufio.Reader) {
			cmd := exec.CommandContext(t.Context(), program, endpoint, l.Table, policy.String(), deed, id)
			in, err := cmd.StdinPipe()
			require.NoError(t, err)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			cmd.Stderr = os.Stderr
			require.NoError(t, cmd.Start())
			t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
			return in, bufio.NewReader(stdout)
		}
		line := func(out *bufio.Reader) string {
			s, err := out.ReadString('\n')
			require.NoError(t, err, s)
			return strings.TrimSpace(s)
		}
		before := l.Raw(l.Key(0))

		for _, verb := range []string{"read", "touch"} {
			_, out := start(verb, l.IDs[0])
			assert.Contains(t, line(out), "no such session", verb)
		}
		for deed, answer := range map[string]string{"load": "200 0", "set": "200 1", "logout": "200 1"} {
			in, out := start(deed, l.IDs[0])
			assert.Equal(t, "new true", line(out), deed)
			_, _ = io.WriteString(in, "\n")
			assert.Equal(t, answer, line(out), deed)
		}
		assert.Equal(t, before, l.Raw(l.Key(0)), "no lock, no touch, nothing is left")
		assert.Equal(t, "n token alice", l.OK("/read"))

		// What it had loaded before the renewal.
		for _, deed := range []string{"set", "login"} {
			l := stage.NewLineage(t, b, dynasession.Config{Concurrency: dynasession.Merge, Table: l.Table})
			in, out := start(deed, l.IDs[0])
			assert.Equal(t, "new false", line(out), deed)
			l.RenewBy("/login?alice")
			tomb := l.Raw(l.Key(0))
			_, _ = io.WriteString(in, "\n")
			assert.Equal(t, "409 0", line(out), deed)
			assert.Equal(t, tomb, l.Raw(l.Key(0)), deed)
			assert.Equal(t, "n token alice", l.OK("/read"))
		}

		old := stage.NewLineage(t, b, dynasession.Config{Concurrency: policy, Table: l.Table}, "/renew")
		expired := old.Raw(old.Key(0))
		expired["expires"] = stage.In(-2 * time.Minute)
		stage.PutItem(t, b, l.Table, expired)
		_, out := start("sweep", "-")
		assert.Equal(t, "deleted 1", line(out))
		assert.Nil(t, old.Raw(old.Key(0)))
		assert.Equal(t, before, l.Raw(l.Key(0)), "not within its time")

		_, out = start("write", l.IDs[0])
		assert.Equal(t, "<nil>", line(out))
		assert.NotContains(t, l.Raw(l.Key(0)), "moved", "replaced")
		assert.Equal(t, &types.AttributeValueMemberS{Value: `{"written":true}`}, l.Raw(l.Key(0))["data"])
	})
}
