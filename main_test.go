package dynasession_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/dynasession/dynasession"
)

// runTests runs the tests of a package, and fails if they leave goroutines, or print an id.
func runTests(m *testing.M) {
	out, stop := watchOutput()
	code := m.Run()
	localTransport.CloseIdleConnections()
	stop()
	if err := goleak.Find(); err != nil && code == 0 {
		_, _ = fmt.Fprintln(out, "goroutines that the tests left:", err)
		code = 1
	}
	if n := spoken.ids(); n > 0 {
		_, _ = fmt.Fprintf(out, "FAIL: what the tests and the library wrote holds %d session ids\n", n)
		code = 1
	}
	os.Exit(code)
}

// spoken is all that the suite and the library have said: output, logs, events, errors, and
// what responses hold beside cookies. None of it may be the id of a session, of whatever test.
var spoken hearing

// hearing keeps of a text what could be a session id, and of calls to DynamoDB what could be
// the hash of one, or the id itself.
type hearing struct {
	mu     sync.Mutex
	words  []string
	hashes map[string]bool
	plain  map[string]bool
}

// runsOf returns the longest runs in text of bytes that are in set, of at least so many.
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

// Write hears p.
func (h *hearing) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.words = append(h.words, runsOf(string(p), idChars, 22)...)
	return len(p), nil
}

func (h *hearing) sent(body string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hashes == nil {
		h.hashes, h.plain = map[string]bool{}, map[string]bool{}
	}
	for _, hash := range runsOf(body, hexDigits, 64) {
		h.hashes[hash] = true
	}
	for _, key := range plainKeys.FindAllStringSubmatch(body, -1) {
		if !h.hashes[key[1]] {
			h.plain[key[1]] = true
		}
	}
}

// ids counts the words in which there is an id of a session that was sent.
func (h *hearing) ids() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, word := range h.words {
		for i := range max(len(word)-42, 0) {
			if sum := sha256.Sum256([]byte(word[i : i+43])); h.hashes[hex.EncodeToString(sum[:])] {
				n++
			}
		}
		for id := range h.plain {
			n += strings.Count(word, id)
		}
	}
	return n
}

func (h *hearing) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(h, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (h *hearing) observe(_ context.Context, e dynasession.Event) {
	_, _ = fmt.Fprintf(h, "%v %+v %#v\n", e, e, e)
}

func (h *hearing) response(header http.Header, body string) {
	for name, lines := range header {
		if name != "Set-Cookie" {
			_, _ = fmt.Fprintln(h, name, lines)
		}
	}
	_, _ = io.WriteString(h, body)
}

// watchOutput lets spoken hear what goes to os.Stdout and os.Stderr.
func watchOutput() (stdout *os.File, stop func()) {
	var copies sync.WaitGroup
	stdout = os.Stdout
	pipes := []*os.File{watchFile(&os.Stdout, &copies), watchFile(&os.Stderr, &copies)}
	log.SetOutput(os.Stderr) // it holds the one of before; slog's default logger is its
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
	copies.Go(func() { _, _ = io.Copy(io.MultiWriter(to, &spoken), r) })
	return w
}

func TestHearing(t *testing.T) {
	for _, plain := range []bool{false, true} {
		var h hearing
		b := embedded(t)
		s := newStore(t, b, dynasession.Config{InsecurePlainIDs: plain})
		id, other := s.CreateID(), s.CreateID()
		if plain {
			id = "php-" + strings.Repeat("0a", 14)
		}
		b.calls.hear = h.sent
		if err := s.Write(t.Context(), id, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(&h, "x%q %s", other, id[1:])
		if h.ids() != 0 {
			t.Error("an id that is not there")
		}
		_, _ = fmt.Fprintf(&h, "x%sx", id)
		if h.ids() != 1 {
			t.Error("an id was not heard")
		}
	}
}

// leakEnv has TestWatchOutput print an id, in the way that it names.
const leakEnv = "DYNASESSION_TEST_LEAK"

var leaks = map[string]func(id string){
	"stdout":   func(id string) { fmt.Println(id) },
	"stderr":   func(id string) { _, _ = fmt.Fprint(os.Stderr, id) },
	"log":      func(id string) { log.Print(id) },
	"slog":     func(id string) { slog.Error("leak", "id", id) },
	"response": func(id string) { spoken.response(http.Header{"X-Id": {id}}, "") },
	"body":     func(id string) { spoken.response(nil, id) },
	"logger":   func(id string) { spoken.logger().Debug(id) },
	"event":    func(id string) { spoken.observe(context.Background(), dynasession.Event{Ref: id}) },
	"nothing":  func(string) {},
}

// TestWatchOutput: a run of this program fails that prints an id, wherever that is.
func TestWatchOutput(t *testing.T) {
	if leak := leaks[os.Getenv(leakEnv)]; leak != nil { // in the run that it starts
		s := newStore(t, embedded(t), dynasession.Config{})
		id := s.CreateID()
		if err := s.Write(t.Context(), id, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		leak(id)
		return
	}
	for how := range leaks {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWatchOutput$")
		cmd.Env = append(os.Environ(), leakEnv+"="+how, "GORACE=atexit_sleep_ms=0")
		out, err := cmd.CombinedOutput()
		if heard := strings.Contains(string(out), " session ids\n"); (err != nil) != heard || heard != (how != "nothing") {
			t.Errorf("%s: heard: %v, error: %v", how, heard, err)
		}
	}
}
