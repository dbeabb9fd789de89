package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

const image = "amazon/dynamodb-local"

// startDocker starts DynamoDB Local in a Docker container.
func startDocker(ctx context.Context, stderr io.Writer) (_ *database, err error) {
	if !dockerWorks(ctx) {
		return nil, errors.New("no Docker engine is running here (docker info fails)")
	}
	// The name is chosen here, so that the container can be removed even if
	// docker run is interrupted before it prints the container's id.
	name := "dynasession-localdb-" + strings.ToLower(rand.Text())
	remove := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_, err := docker(ctx, io.Discard, "rm", "--force", name)
		return err
	}
	defer func() {
		if err != nil {
			_ = remove() // fails if there is no container yet
			err = fmt.Errorf("docker: %w", err)
		}
	}()

	_, err = docker(ctx, stderr, "run", "--rm", "--detach", "--name", name, "--publish", "127.0.0.1:0:8000",
		image, "-jar", "DynamoDBLocal.jar", "-inMemory", "-disableTelemetry")
	if err != nil {
		return nil, err
	}
	ports, err := docker(ctx, stderr, "port", name, "8000/tcp")
	if err != nil {
		return nil, err
	}
	address, _, _ := strings.Cut(ports, "\n")
	endpoint := "http://" + address
	if err := waitReady(ctx, endpoint, nil); err != nil {
		return nil, err
	}
	return &database{name: "DynamoDB Local in Docker", endpoint: endpoint, stop: remove}, nil
}

func dockerWorks(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := docker(ctx, io.Discard, "info")
	return err == nil
}

// docker runs a docker command and returns what it prints.
func docker(ctx context.Context, stderr io.Writer, args ...string) (string, error) {
	var stdout bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w", args[0], err)
	}
	return strings.TrimSpace(stdout.String()), nil
}
