package stage

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dynasession/dynasession"
)

func TestMain(m *testing.M) { Main(m) }

func TestHearing(t *testing.T) {
	for _, plain := range []bool{false, true} {
		var h Recorder
		b := Embedded(t)
		s := NewStore(t, b, dynasession.Config{InsecurePlainIDs: plain})
		id, other := s.CreateID(), s.CreateID()
		if plain {
			id = "php-" + strings.Repeat("0a", 14)
		}
		b.Calls.Hear = h.Sent
		if err := s.Write(t.Context(), id, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(&h, "x%q %s", other, id[1:])
		if h.IDs() != 0 {
			t.Error("an id that is not there")
		}
		_, _ = fmt.Fprintf(&h, "x%sx", id)
		if h.IDs() != 1 {
			t.Error("an id was not heard")
		}
	}
}

// leakEnv is the environment variable that names how TestWatchOutput prints an id.
const leakEnv = "DYNASESSION_TEST_LEAK"

var leaks = map[string]func(id string){
	"stdout":   func(id string) { fmt.Println(id) },
	"stderr":   func(id string) { _, _ = fmt.Fprint(os.Stderr, id) },
	"log":      func(id string) { log.Print(id) },
	"slog":     func(id string) { slog.Error("leak", "id", id) },
	"response": func(id string) { Output.Response(http.Header{"X-Id": {id}}, "") },
	"body":     func(id string) { Output.Response(nil, id) },
	"logger":   func(id string) { Output.Logger().Debug(id) },
	"event":    func(id string) { Output.Observe(context.Background(), dynasession.Event{Ref: id}) },
	"nothing":  func(string) {},
}

// TestWatchOutput checks that a run of this program fails if it prints an id anywhere.
func TestWatchOutput(t *testing.T) {
	if leak := leaks[os.Getenv(leakEnv)]; leak != nil { // in the run that the rest of this test starts
		s := NewStore(t, Embedded(t), dynasession.Config{})
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
