package main

import (
	"bufio"
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
)

//go:embed php
var scripts embed.FS

// phpServer is a php process that serves the scripts.
type phpServer struct {
	url   *url.URL
	ended chan error // receives the result of Wait when the process has ended
	stop  func()     // ends the process and waits for it; may be called more than once
}

// Lines that php writes to its standard error.
var (
	phpStarted = regexp.MustCompile(`\((http://[^)]+)\) started$`)
	phpAccess  = regexp.MustCompile(` (Accepted|Closing|\[\d+\]: [A-Z]+ \S+)$`)
)

// startPHP starts php on a free port, with env added to this program's environment. The process ends
// when ctx is done.
func startPHP(ctx context.Context, env ...string) (*phpServer, error) {
	path, err := exec.LookPath("php")
	if err != nil {
		return nil, fmt.Errorf("this example needs PHP 8.1 or newer in the PATH (on Debian, install php-cli): %w", err)
	}
	dir, err := os.MkdirTemp("", "php-share-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &phpServer{ended: make(chan error, 1)}
	var done sync.WaitGroup
	p.stop = func() {
		cancel()
		done.Wait()
		_ = os.RemoveAll(dir)
	}
	if err := p.start(ctx, &done, path, dir, env); err != nil {
		p.stop()
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return p, nil
}

func (p *phpServer) start(ctx context.Context, done *sync.WaitGroup, path, dir string, env []string) error {
	files, err := fs.Sub(scripts, "php")
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "-d", "display_errors=0", "-d", "log_errors=1", "-d", "error_log=",
		"-S", "127.0.0.1:0", filepath.Join(dir, "index.php"))
	cmd.Env = append(os.Environ(), env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	address := make(chan string, 1)
	done.Go(func() {
		listen(stderr, address)
		p.ended <- cmd.Wait()
	})
	found, ok := <-address
	if !ok {
		return fmt.Errorf("it ended before it listened: %w", <-p.ended)
	}
	p.url, err = url.Parse(found)
	return err
}

// listen reads php's standard error. It sends the address on which php listens to address, and logs
// every line that does not report a request, since such lines are errors.
func listen(stderr io.Reader, address chan<- string) {
	defer close(address)
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if m := phpStarted.FindStringSubmatch(lines.Text()); m != nil {
			address <- m[1]
		} else if !phpAccess.MatchString(lines.Text()) {
			log.Printf("php: %s", lines.Text())
		}
	}
}
