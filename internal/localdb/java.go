package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
)

// startJava starts DynamoDB Local with the machine's own Java.
func startJava(ctx context.Context, stderr io.Writer) (*database, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return nil, errors.New("java is missing: install a Java runtime, version 11 or newer" +
			" (Debian and Ubuntu: apt-get install default-jre-headless; macOS: brew install openjdk)")
	}
	dir, err := emulator.install(ctx, stderr)
	if err != nil {
		return nil, err
	}
	// Another program may take the port before Java does. Java then exits, and
	// another port may work.
	for tries := 3; ; tries-- {
		db, err := startJavaIn(ctx, dir)
		if err == nil || tries == 1 || ctx.Err() != nil {
			return db, err
		}
	}
}

func startJavaIn(ctx context.Context, dir string) (*database, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	var output bytes.Buffer
	// The database must outlive the command that uses it, so ctx must not end it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "java", "-Djava.library.path=DynamoDBLocal_lib",
		"-jar", "DynamoDBLocal.jar", "-inMemory", "-port", strconv.Itoa(port), "-disableTelemetry")
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // returns an error because the process is killed
		close(exited)
	}()
	stop := func() error {
		select {
		case <-exited:
			if ctx.Err() == nil { // Ctrl-C in a terminal reaches Java as well
				return fmt.Errorf("it exited before it was stopped; it printed:\n%s", output.Bytes())
			}
		default:
		}
		_ = cmd.Process.Kill() // fails only if the process has exited
		<-exited
		return nil
	}

	endpoint := "http://127.0.0.1:" + strconv.Itoa(port)
	if err := waitReady(ctx, endpoint, exited); err != nil {
		_ = stop()
		return nil, fmt.Errorf("java -jar DynamoDBLocal.jar: %w; it printed:\n%s", err, output.Bytes())
	}
	return &database{name: "DynamoDB Local in Java", endpoint: endpoint, stop: stop}, nil
}

// freePort returns a TCP port that nothing listened on a moment ago.
func freePort(ctx context.Context) (int, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}
