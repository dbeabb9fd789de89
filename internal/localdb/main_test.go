package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// roleVar names the program that the test binary acts as. The binary runs the tests
// if it is not set.
const roleVar = "LOCALDB_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "":
		os.Exit(m.Run())
	case "localdb":
		_ = os.Setenv(roleVar, "command")
		main()
	case "command":
		command()
	case "java":
		java()
	}
}

// command acts as the command. It prints the endpoint that it was given and the
// error of a ListTables call there, and exits with code 7. With the argument wait,
// it waits for a signal before it exits.
func command() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	endpoint := os.Getenv(endpointVar)
	fmt.Println(endpoint, listTables(context.Background(), endpoint))
	if len(os.Args) > 1 && os.Args[1] == "wait" {
		fmt.Println("got", <-signals)
	}
	os.Exit(7)
}

// java acts as DynamoDB Local. If LOCALDB_TEST_STARTED names a file that does not
// exist, java creates the file and fails, as if its port were in use. The next
// start then succeeds.
func java() {
	flags := flag.NewFlagSet("java", flag.ExitOnError)
	port := flags.String("port", "", "")
	flags.Bool("inMemory", false, "")
	flags.Bool("disableTelemetry", false, "")
	flags.Bool("jar", false, "")
	_ = flags.Parse(os.Args[4:]) // after -Dname=value -jar name
	if started := os.Getenv("LOCALDB_TEST_STARTED"); started != "" {
		file, err := os.OpenFile(started, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_ = file.Close()
			fmt.Println("Address already in use")
			os.Exit(1)
		}
	}
	server := &http.Server{Addr: "127.0.0.1:" + *port, Handler: fakeDynamoDB(), ReadHeaderTimeout: time.Second}
	fmt.Println(server.ListenAndServe())
	os.Exit(1)
}

func fakeDynamoDB() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") != "DynamoDB_20120810.ListTables" || r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, `{"TableNames":[]}`)
	})
}

// machine sets up a machine with an empty cache and no programs but the given
// ones: scripts maps their names to shell scripts. It returns the directory of
// the programs.
func machine(t *testing.T, scripts map[string]string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("this test replaces programs by shell scripts")
	}
	bin := t.TempDir()
	for name, script := range scripts {
		script = "#!/bin/sh\nPATH=/usr/bin:/bin\n" + script + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700))
	}
	t.Setenv("PATH", bin)
	t.Setenv(endpointVar, "")
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache) // os.UserCacheDir uses this on Linux,
	t.Setenv("HOME", cache)           // and this on other systems
	return bin
}

// runTest runs localdb with this test binary as the command, and returns its
// exit code and what it printed.
func runTest(t *testing.T) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv(roleVar, "command")
	var out, err bytes.Buffer
	code = run(t.Context(), []string{"--", self(t)}, nil, &out, &err)
	return code, out.String(), err.String()
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

func javaScript(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("%s=java exec '%s' \"$@\"", roleVar, self(t))
}

// cached puts an unpacked DynamoDB Local into the machine's cache.
func cached(t *testing.T) {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(cache, "dynasession", emulator.dir), 0o700))
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"--"}} {
		var stderr bytes.Buffer
		assert.Equal(t, exitFailed, run(t.Context(), args, nil, io.Discard, &stderr))
		assert.Contains(t, stderr.String(), "usage:")
	}
}

func TestEndpointIsSet(t *testing.T) {
	db := httptest.NewServer(fakeDynamoDB())
	t.Cleanup(db.Close)
	machine(t, nil)
	t.Setenv(endpointVar, db.URL)

	code, stdout, stderr := runTest(t)
	assert.Equal(t, 7, code)
	assert.Equal(t, db.URL+" <nil>\n", stdout)
	assert.Empty(t, stderr)
}

func TestCommandIsMissing(t *testing.T) {
	t.Setenv(endpointVar, "http://127.0.0.1:1")
	var stderr bytes.Buffer
	assert.Equal(t, exitFailed, run(t.Context(), []string{"no-such-command"}, nil, io.Discard, &stderr))
	assert.Contains(t, stderr.String(), "no-such-command")
}

func TestCommandIsKilled(t *testing.T) {
	machine(t, map[string]string{"killed": "kill -KILL $$"})
	t.Setenv(endpointVar, "http://127.0.0.1:1")
	assert.Equal(t, 128+9, run(t.Context(), []string{"killed"}, nil, io.Discard, io.Discard))
}

func TestDocker(t *testing.T) {
	db := httptest.NewServer(fakeDynamoDB())
	t.Cleanup(db.Close)
	bin := machine(t, map[string]string{"docker": `
		echo "$*" >>"$0.log"
		case $1 in
		run) echo 0123456789abcdef; echo "Pulling" >&2 ;;
		port) echo ` + strings.TrimPrefix(db.URL, "http://") + ` ;;
		esac`})

	code, stdout, stderr := runTest(t)
	assert.Equal(t, 7, code)
	assert.Equal(t, db.URL+" <nil>\n", stdout)
	assert.Contains(t, stderr, "Pulling")

	log := dockerLog(t, bin)
	require.Len(t, log, 4)
	assert.Equal(t, "info", log[0])
	assert.Regexp(t, `^run --rm --detach --name \S+ --publish 127.0.0.1:0:8000 amazon/dynamodb-local `+
		`-jar DynamoDBLocal.jar -inMemory -disableTelemetry$`, log[1])
	name := strings.Fields(log[1])[4]
	assert.Equal(t, "port "+name+" 8000/tcp", log[2])
	assert.Equal(t, "rm --force "+name, log[3])
}

func TestDockerFailsAndJavaWorks(t *testing.T) {
	bin := machine(t, map[string]string{
		"docker": `echo "$*" >>"$0.log"; [ "$1" != run ]`,
		"java":   javaScript(t),
	})
	cached(t)

	code, stdout, _ := runTest(t)
	assert.Equal(t, 7, code)
	assert.Contains(t, stdout, " <nil>\n")

	log := dockerLog(t, bin)
	require.Len(t, log, 3)
	assert.Equal(t, "rm --force "+strings.Fields(log[1])[4], log[2])
}

func dockerLog(t *testing.T, bin string) []string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(bin, "docker.log"))
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(log)), "\n")
}

func TestJava(t *testing.T) {
	machine(t, map[string]string{"docker": "exit 1", "java": javaScript(t)})
	cached(t)

	code, stdout, stderr := runTest(t)
	assert.Equal(t, 7, code)
	endpoint, result, _ := strings.Cut(stdout, " ")
	assert.Equal(t, "<nil>\n", result)
	assert.Contains(t, stderr, endpoint)
	assertStopped(t, endpoint)
}

func TestJavaIsStoppedOnPanic(t *testing.T) {
	machine(t, map[string]string{"java": javaScript(t)})
	cached(t)
	var stderr panicWriter
	assert.Panics(t, func() { run(t.Context(), []string{"command"}, nil, io.Discard, &stderr) })
	_, endpoint, _ := strings.Cut(strings.TrimSpace(stderr.written), " at ")
	assertStopped(t, endpoint)
}

func TestJavaTriesAnotherPort(t *testing.T) {
	machine(t, map[string]string{"java": javaScript(t)})
	cached(t)
	t.Setenv("LOCALDB_TEST_STARTED", filepath.Join(t.TempDir(), "started"))

	code, stdout, _ := runTest(t)
	assert.Equal(t, 7, code)
	assert.Contains(t, stdout, " <nil>\n")
}

func TestJavaFails(t *testing.T) {
	machine(t, map[string]string{"java": "echo no heap; exit 1"})
	cached(t)

	code, stdout, stderr := runTest(t)
	assert.Equal(t, exitFailed, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "no heap")
}

func TestJavaEndsEarly(t *testing.T) {
	machine(t, map[string]string{"java": javaScript(t)})
	cached(t)
	t.Setenv(roleVar, "")
	db, err := startJava(t.Context(), io.Discard)
	require.NoError(t, err)
	require.NoError(t, db.stop())
	assert.ErrorContains(t, db.stop(), "exited before it was stopped")
}

func TestToolIsMissing(t *testing.T) {
	machine(t, nil)
	code, _, stderr := runTest(t)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr, "no Docker engine")
	assert.Contains(t, stderr, "java is missing: install")

	machine(t, map[string]string{"java": "exit 1"})
	code, _, stderr = runTest(t)
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr, "npm is missing, ")
}

// TestSignal starts localdb as a process, and sends it a signal while the command
// runs.
func TestSignal(t *testing.T) {
	machine(t, map[string]string{"java": javaScript(t)})
	cached(t)
	cmd := exec.CommandContext(t.Context(), self(t), "--", self(t), "wait")
	cmd.Env = append(os.Environ(), roleVar+"=localdb")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	var endpoint, result string
	_, err = fmt.Fscanln(stdout, &endpoint, &result)
	require.NoError(t, err)
	assert.Equal(t, "<nil>", result)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	rest, err := io.ReadAll(stdout)
	require.NoError(t, err)
	assert.Equal(t, "got terminated\n", string(rest), "the command must receive the signal")

	require.Error(t, cmd.Wait())
	assert.Equal(t, 7, cmd.ProcessState.ExitCode(), "localdb must wait for the command")
	assertStopped(t, endpoint)
}

// TestSignalBeforeTheCommand interrupts localdb while it waits for a database
// that never answers.
func TestSignalBeforeTheCommand(t *testing.T) {
	bin := machine(t, map[string]string{"java": `echo >"$0.started"; exec sleep 60`})
	cached(t)
	cmd := exec.CommandContext(t.Context(), self(t), "--", self(t))
	cmd.Env = append(os.Environ(), roleVar+"=localdb")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(bin, "java.started"))
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, cmd.Wait())
	assert.Equal(t, exitFailed, cmd.ProcessState.ExitCode())
	assert.Empty(t, stdout.String())
	assert.Equal(t, "localdb: stopped by signal: terminated\n", stderr.String())
}

type panicWriter struct{ written string }

func (w *panicWriter) Write(p []byte) (int, error) {
	w.written = string(p)
	panic("write")
}

func assertStopped(t *testing.T, endpoint string) {
	t.Helper()
	address := strings.TrimPrefix(endpoint, "http://")
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if !assert.Errorf(t, err, "the database still listens on %q", address) {
		_ = conn.Close()
	}
}
