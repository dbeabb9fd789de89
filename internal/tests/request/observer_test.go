package request_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestObserverIsToldOfWhatIsNotSent: a save that fails before any call is a save.
func TestObserverIsToldOfWhatIsNotSent(t *testing.T) {
	for name, value := range map[string]any{"too large": strings.Repeat("\"", 3<<20), "does not encode": func() {}} {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", stored ", stored), func(t *testing.T) {
				sc := stage.EmptyScene(t, stage.Embedded(t), dynasession.Config{NoCompression: true})
				if stored {
					sc.OK("/new")
				}
				sc.Paths["/"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("k", value) }
				assert.Equal(t, http.StatusInternalServerError, sc.Get("/").Code)
				assert.Equal(t, []string{"save"}, sc.FailedOps)
			})
		}
	}
}

// TestNothingToStoreIsNotTold: what a visitor without a session leaves behind, and is worth no item,
// is no change that came too late.
func TestNothingToStoreIsNotTold(t *testing.T) {
	for name, f := range map[string]func(*stage.Session){
		"delete":       func(s *stage.Session) { s.Delete("x") },
		"set, delete":  func(s *stage.Session) { s.Set("x", 1); s.Delete("x") },
		"sign out":     func(s *stage.Session) { s.SetUser("") },
		"renew":        func(s *stage.Session) { s.Renew() },
		"remember":     func(s *stage.Session) { s.Remember(time.Hour) },
		"limit":        func(s *stage.Session) { s.LimitTo(time.Now().Add(time.Hour)) },
		"limit passed": func(s *stage.Session) { s.Set("x", 1); s.LimitTo(time.Now().Add(-time.Hour)) },
		"flash":        func(s *stage.Session) { s.AddFlash("x"); dynasession.Flashes[string](s) },
		"logout":       func(s *stage.Session) { s.Destroy(); s.Delete("cart") },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			sc := stage.EmptyScene(t, stage.Embedded(t), dynasession.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			sc.Paths["/"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { f(s) }
			sc.OK("/")
			assert.Empty(t, log.String())
			sc.OK("/new")
			sc.OK("/")
			assert.Empty(t, log.String())
		})
	}
}
