package dynasession_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// TestUserIsUTF8: DynamoDB's strings are, and the SDK would make another user of it.
func TestUserIsUTF8(t *testing.T) {
	sc := newScene(t, embedded(t), dynasession.Config{})
	sc.paths["/in"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.SetUser("a\xff") }
	assert.Equal(t, http.StatusInternalServerError, sc.get("/in").Code)
	assert.NotContains(t, sc.item(), "user")
	for _, user := range []string{"a\xff", "a\xfe"} {
		_, err := sc.store.UserSessions(t.Context(), user)
		assert.ErrorContains(t, err, "UTF-8")
		_, err = sc.store.DestroyUser(t.Context(), user, nil)
		assert.ErrorContains(t, err, "UTF-8")
	}
}

// TestDestroyUserOfManySessions: each delete has Config.Timeout for itself.
func TestDestroyUserOfManySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := embedded(t)
		sc := emptyScene(t, b, dynasession.Config{Timeout: time.Second})
		for range 150 {
			sc.twin().ok("/login?alice")
		}
		b.calls.intercept(func(c *call) (*http.Response, error) {
			time.Sleep(10 * time.Millisecond)
			return c.send()
		})
		n, err := sc.store.DestroyUser(t.Context(), "alice", nil)
		require.NoError(t, err)
		assert.Equal(t, 150, n)
	})
}
