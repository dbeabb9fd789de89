package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/dynasession/dynasession"
)

// Output records what the tests and the library write in this process: to standard output, to logs, in events and
// errors, and in responses, except for cookies. No session id may be in it.
var Output Recorder

// A Recorder keeps the words of texts that could be session ids, and the hashes and plain ids in calls to DynamoDB
// that they could belong to. The zero value is ready to use.
type Recorder struct {
	mu     sync.Mutex
	words  []string
	hashes map[string]bool
	plain  map[string]bool
}

// runsOf returns the runs of bytes in text that are all in set and have at least the given length.
func runsOf(text string, set *[256]bool, least int) (runs []string) {
	for i := 0; i < len(text); {
		begin := i
		for i < len(text) && set[text[i]] {
			i++
		}
		if i-begin >= least {
			runs = append(runs, text[begin:i])
		}
		i++
	}
	return runs
}

func setOf(chars string) *[256]bool {
	var set [256]bool
	for i := range len(chars) {
		set[chars[i]] = true
	}
	return &set
}

var (
	hexDigits = setOf("0123456789abcdef")
	idChars   = setOf("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz,-") // PHP's too
	plainKeys = regexp.MustCompile(`"[0-9A-Za-z._-]+_([0-9A-Za-z,-]{22,256})"`)
)

// Write records p.
func (r *Recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.words = append(r.words, runsOf(string(p), idChars, 22)...)
	return len(p), nil
}

// Sent records the body of a request to DynamoDB.
func (r *Recorder) Sent(body string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hashes == nil {
		r.hashes, r.plain = map[string]bool{}, map[string]bool{}
	}
	for _, hash := range runsOf(body, hexDigits, 64) {
		r.hashes[hash] = true
	}
	for _, key := range plainKeys.FindAllStringSubmatch(body, -1) {
		if !r.hashes[key[1]] {
			r.plain[key[1]] = true
		}
	}
}

// IDs returns how often a recorded text holds the id of a session whose key was sent to DynamoDB.
func (r *Recorder) IDs() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, word := range r.words {
		for i := range max(len(word)-42, 0) {
			if sum := sha256.Sum256([]byte(word[i : i+43])); r.hashes[hex.EncodeToString(sum[:])] {
				n++
			}
		}
		for id := range r.plain {
			n += strings.Count(word, id)
		}
	}
	return n
}

// Logger returns a logger that writes to r at every level.
func (r *Recorder) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Observe records e. It is a Config.Observer.
func (r *Recorder) Observe(_ context.Context, e dynasession.Event) {
	_, _ = fmt.Fprintf(r, "%v %+v %#v\n", e, e, e)
}

// Response records a response, except for its cookies.
func (r *Recorder) Response(header http.Header, body string) {
	for name, lines := range header {
		if name != "Set-Cookie" {
			_, _ = fmt.Fprintln(r, name, lines)
		}
	}
	_, _ = io.WriteString(r, body)
}

// Main runs the tests of a package and exits. The run fails if the tests leave goroutines behind, or if they or the
// library printed, logged or reported the id of a session. ignore names goroutines that others start and keep.
func Main(m *testing.M, ignore ...goleak.Option) {
	flag.Parse()
	if *WithDeviceBound {
		CookieName = "__Host-session"
	}
	out, stop := watchOutput()
	code := m.Run()
	LocalTransport.CloseIdleConnections()
	stop()
	if err := goleak.Find(ignore...); err != nil && code == 0 {
		_, _ = fmt.Fprintln(out, "goroutines that the tests left:", err)
		code = 1
	}
	if n := Output.IDs(); n > 0 {
		_, _ = fmt.Fprintf(out, "FAIL: what the tests and the library wrote holds %d session ids\n", n)
		code = 1
	}
	os.Exit(code)
}

// watchOutput records in Output what is written to os.Stdout and os.Stderr until stop is called.
func watchOutput() (stdout *os.File, stop func()) {
	var copies sync.WaitGroup
	stdout = os.Stdout
	pipes := []*os.File{watchFile(&os.Stdout, &copies), watchFile(&os.Stderr, &copies)}
	log.SetOutput(os.Stderr) // it holds the earlier os.Stderr, and slog's default logger writes through it
	return stdout, func() {
		for _, p := range pipes {
			_ = p.Close()
		}
		copies.Wait()
		os.Stdout = stdout
	}
}

func watchFile(file **os.File, copies *sync.WaitGroup) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	to := *file
	*file = w
	copies.Go(func() { _, _ = io.Copy(io.MultiWriter(to, &Output), r) })
	return w
}
