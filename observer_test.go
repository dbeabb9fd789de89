package dynasession_test

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
)

// TestObserverIsToldOfWhatIsNotSent: a save that fails before any call is a save.
func TestObserverIsToldOfWhatIsNotSent(t *testing.T) {
	for name, value := range map[string]any{"too large": strings.Repeat("\"", 3<<20), "does not encode": func() {}} {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", stored ", stored), func(t *testing.T) {
				sc := emptyScene(t, embedded(t), dynasession.Config{NoCompression: true})
				if stored {
					sc.ok("/new")
				}
				sc.paths["/"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("k", value) }
				assert.Equal(t, http.StatusInternalServerError, sc.get("/").Code)
				assert.Equal(t, []string{"save"}, sc.failedOps)
			})
		}
	}
}

// TestNothingToStoreIsNotTold: what a visitor without a session leaves behind, and is worth no item,
// is no change that came too late.
func TestNothingToStoreIsNotTold(t *testing.T) {
	for name, f := range map[string]func(*session){
		"delete":       func(s *session) { s.Delete("x") },
		"set, delete":  func(s *session) { s.Set("x", 1); s.Delete("x") },
		"sign out":     func(s *session) { s.SetUser("") },
		"renew":        func(s *session) { s.Renew() },
		"remember":     func(s *session) { s.Remember(time.Hour) },
		"limit":        func(s *session) { s.LimitTo(time.Now().Add(time.Hour)) },
		"limit passed": func(s *session) { s.Set("x", 1); s.LimitTo(time.Now().Add(-time.Hour)) },
		"flash":        func(s *session) { s.AddFlash("x"); dynasession.Flashes[string](s) },
		"logout":       func(s *session) { s.Destroy(); s.Delete("cart") },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			sc := emptyScene(t, embedded(t), dynasession.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			sc.paths["/"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { f(s) }
			sc.ok("/")
			assert.Empty(t, log.String())
			sc.ok("/new")
			sc.ok("/")
			assert.Empty(t, log.String())
		})
	}
}
