// Idwatch runs a test's program, and fails if what that prints could be a session id:
//
//	go build -o bin/idwatch ./internal/idwatch && go test -exec "$PWD/bin/idwatch" ./...
//
// It hears the process's own descriptors: what the runtime prints at a panic or a race, and
// what processes print that the tests start, counts too. Idwatch exits with the program's exit
// code, or with 1 if there was such a word.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

func run(args []string, out io.Writer) int {
	if len(args) == 0 {
		_, _ = fmt.Fprintln(out, "usage: idwatch command [argument ...]")
		return 1
	}
	w := &watcher{out: out}
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, w, w
	cmd.WaitDelay = time.Minute // for what is left of its children, as go test has it
	err := cmd.Run()
	w.word()
	if w.ids > 0 {
		_, _ = fmt.Fprintf(out, "FAIL: of the words above, %d could be session ids\n", w.ids)
	}
	exit := (*exec.ExitError)(nil)
	switch {
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode()
	case err != nil:
		_, _ = fmt.Fprintln(out, "idwatch:", err)
		return 1
	case w.ids > 0:
		return 1
	}
	return 0
}

// idMin is the least length of PHP's ids. The library's have 43 characters.
const idMin = 22

// watcher passes on what is written, and counts the words that could be ids: long ones with
// digits and small letters among them. What is all capitals may be a request's id of AWS's; a
// UUID's hyphens make short words of it. One id in 2,000 has no digit, and is missed.
type watcher struct {
	out                      io.Writer
	capitals, digits, smalls int // of the word that is going on
	ids                      int
}

func (w *watcher) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c >= '0' && c <= '9':
			w.digits++
		case c >= 'a' && c <= 'z':
			w.smalls++
		case c >= 'A' && c <= 'Z':
			w.capitals++
		default:
			w.word()
		}
	}
	return w.out.Write(p)
}

// word is the end of one.
func (w *watcher) word() {
	if w.capitals+w.digits+w.smalls >= idMin && w.digits > 0 && w.smalls > 0 {
		w.ids++
	}
	w.capitals, w.digits, w.smalls = 0, 0, 0
}
