package dynasession_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// TestFlashesOfTwoGoroutines: one of them shows the message.
func TestFlashesOfTwoGoroutines(t *testing.T) {
	sc := newScene(t, embedded(t), dynasession.Config{})
	sc.paths["/"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
		for range 500 {
			s.AddFlash("Saved.")
			var shown [2]int
			var wg sync.WaitGroup
			for i := range shown {
				wg.Go(func() { shown[i] = len(dynasession.Flashes[string](s)) })
			}
			wg.Wait()
			require.Equal(t, 1, shown[0]+shown[1])
		}
	}
	sc.ok("/")
}

// TestDeepValues: what encoding/json would not read again is not stored.
func TestDeepValues(t *testing.T) {
	sc := newScene(t, embedded(t), dynasession.Config{})
	var deep any
	for range 9999 {
		deep = []any{deep}
	}
	for path, value := range map[string]any{"/deep": deep, "/too-deep": []any{deep}} {
		sc.paths[path] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("deep", value) }
	}
	sc.ok("/deep")
	assert.Equal(t, "deep n token", sc.ok("/read"))
	assert.Equal(t, http.StatusInternalServerError, sc.get("/too-deep").Code)
	assert.Equal(t, "deep n token", sc.ok("/read"))
}

// plainText encodes strings as they are, and so the empty one as nil.
type plainText struct{ dynasession.JSON }

// TestEmptyEncodings: a codec may encode a value as nothing. It is a value all the same.
func TestEmptyEncodings(t *testing.T) {
	sc := emptyScene(t, embedded(t), dynasession.Config{Codec: plainText{}})
	sc.paths["/new"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
		s.Set("full", "full")
		s.Set("token", "")
	}
	sc.paths["/other"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("other", "x") }
	sc.paths["/empty"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
		sc.twin().get("/other")
		dynasession.Update(s, "full", func(string) string { return "" })
		_, ok := dynasession.Pop[string](s, "token")
		assert.True(t, ok)
	}
	sc.ok("/new")
	sc.ok("/empty")
	assert.JSONEq(t, `{"full":"","other":"x"}`, sc.data())
}
