// Localdb runs a command that needs Amazon's DynamoDB Local:
//
//	go run ./internal/localdb -- go test ./...
//
// The command finds the database's address in the environment variable
// DYNAMODB_LOCAL_ENDPOINT. If that is already set, localdb starts no database
// and only runs the command. Otherwise it starts the database with the first of
// these that works:
//
//   - Docker;
//   - Java, with the copy of DynamoDB Local that AWS publishes on npm. Localdb
//     downloads it once, to the user's cache directory.
//
// The database keeps its data in memory, and ends with the command. Localdb
// exits with the command's exit code, or with 125 if it could not run the
// command.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	endpointVar = "DYNAMODB_LOCAL_ENDPOINT"

	// exitFailed is the exit code if the command was not run. The programs env,
	// nohup and docker run use the same code.
	exitFailed = 125

	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// database is a running DynamoDB Local.
type database struct {
	name     string
	endpoint string
	stop     func() error
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		_, _ = fmt.Fprintln(stderr, "usage: localdb -- command [argument ...]")
		return exitFailed
	}
	ctx, stop := withSignals(ctx)
	defer stop()

	endpoint := os.Getenv(endpointVar)
	if endpoint == "" {
		db, err := start(ctx, stderr)
		if err != nil {
			_, _ = fmt.Fprintf(stderr, "localdb: %v\n", err)
			return exitFailed
		}
		defer func() {
			if err := db.stop(); err != nil {
				_, _ = fmt.Fprintf(stderr, "localdb: stopping %s: %v\n", db.name, err)
			}
		}()
		endpoint = db.endpoint
		_, _ = fmt.Fprintf(stderr, "localdb: %s at %s\n", db.name, endpoint)
	}
	return runCommand(ctx, args, endpoint, stdin, stdout, stderr)
}

// start starts a database in the first way that works on this machine.
func start(ctx context.Context, stderr io.Writer) (*database, error) {
	var errs []error
	for _, way := range []func(context.Context, io.Writer) (*database, error){startDocker, startJava} {
		db, err := way(ctx, stderr)
		if err == nil {
			return db, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("no DynamoDB Local: %w", errors.Join(errs...))
}

// runCommand runs the command and returns its exit code. If a signal ends ctx,
// runCommand sends the signal to the command and still waits for it.
func runCommand(ctx context.Context, args []string, endpoint string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.Env = append(os.Environ(), endpointVar+"="+endpoint)
	cmd.Cancel = func() error {
		var sig signalError
		if errors.As(context.Cause(ctx), &sig) {
			return cmd.Process.Signal(sig.Signal)
		}
		return cmd.Process.Kill()
	}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		_, _ = fmt.Fprintf(stderr, "localdb: %v\n", err)
		return exitFailed
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()) // as shells do
	}
	return cmd.ProcessState.ExitCode()
}

// signalError is the cause of a [withSignals] context that a signal has ended.
type signalError struct{ os.Signal }

func (e signalError) Error() string { return "stopped by signal: " + e.String() }

// withSignals returns a context that the first interrupt or SIGTERM ends, with a
// [signalError] as the cause.
func withSignals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case sig := <-signals:
			cancel(signalError{sig})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// waitReady waits until the database at endpoint lists its tables. It returns an
// error if ctx ends first, or if exited is closed because the database exited.
func waitReady(ctx context.Context, endpoint string, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := listTables(ctx, endpoint)
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return errors.New("it exited at once")
		case <-ctx.Done():
			return fmt.Errorf("it does not respond: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func listTables(ctx context.Context, endpoint string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810.ListTables")
	// DynamoDB Local requires a signature but does not check it.
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 "+
		"Credential=localdb/20120810/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ListTables: %s", res.Status)
	}
	return nil
}
