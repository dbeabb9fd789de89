package cost_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// unitsOf counts the write units of what handle does, and of a request after it that reads only.
func unitsOf(t *testing.T, cfg dynasession.Config, handle func(*stage.Session)) (written, read int) {
	t.Helper()
	db := dynamotest.NewServer()
	defer db.Close()
	store, err := dynasession.New(db.Client(), cfg)
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	browser := stage.NewBrowser(t, store.Middleware(stage.App{
		"/set":  func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { handle(s) },
		"/read": func(*stage.Session, http.ResponseWriter, *http.Request) {},
	}))
	db.ResetCalls()
	browser.OK("/set")
	_, created := db.Calls().Units()
	db.ResetCalls()
	browser.OK("/read")
	_, kept := db.Calls().Units()
	return int(created), int(kept)
}

// TestCompressionCountsTheLock: under Lock, every request writes the item with its lock.
func TestCompressionCountsTheLock(t *testing.T) {
	for n := 800; n < 1000; n++ {
		written, read := unitsOf(t, dynasession.Config{Concurrency: dynasession.Lock}, func(s *stage.Session) { s.Set("text", strings.Repeat("words ", n/6)) })
		require.Equal(t, 1, written, n)
		require.Equal(t, 2, read, "%d: locked, and released", n)
	}
}

// TestCompressionBesideMuchElse: DEFLATE is tried also where the rest of the item is much of it.
func TestCompressionBesideMuchElse(t *testing.T) {
	ids := make([]int, 260)
	for i := range ids {
		ids[i] = 10000 + i
	}
	written, _ := unitsOf(t, dynasession.Config{}, func(s *stage.Session) {
		s.SetUser(strings.Repeat("u", 260))
		s.Set("orders", ids)
	})
	assert.Equal(t, 1, written)
}
