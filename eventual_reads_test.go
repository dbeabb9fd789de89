package dynasession_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// TestReadIsStrong: no cookie tells Read and ValidateID what is too old.
func TestReadIsStrong(t *testing.T) {
	b := embedded(t)
	sc := newScene(t, b, dynasession.Config{EventualReads: true})
	b.server.HoldReplicas()
	require.NoError(t, sc.store.Write(t.Context(), sc.id(), []byte(`{"new":1}`)))
	data, err := sc.store.Read(t.Context(), sc.id())
	require.NoError(t, err)
	assert.JSONEq(t, `{"new":1}`, string(data))
	require.NoError(t, sc.store.Destroy(t.Context(), sc.id()))
	alive, err := sc.store.ValidateID(t.Context(), sc.id())
	require.NoError(t, err)
	assert.False(t, alive)
}

// TestTwoRevisionsOfOneID: the higher one counts, wherever it stands.
func TestTwoRevisionsOfOneID(t *testing.T) {
	b := embedded(t)
	sc := newScene(t, b, dynasession.Config{EventualReads: true})
	b.server.HoldReplicas()
	older := sc.cookie()
	sc.ok("/set?a")
	r := httptest.NewRequest(http.MethodGet, "https://shop.example.com/read", http.NoBody)
	r.Header.Set("Cookie", cookieName+"="+older+"; "+cookieName+"="+sc.cookie())
	w := httptest.NewRecorder()
	sc.handler.ServeHTTP(w, r)
	assert.Equal(t, "a n token", w.Body.String())
}
