package eventualreads_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// TestReadIsStrong checks that Read and ValidateID read consistently: they have no cookie with a revision.
func TestReadIsStrong(t *testing.T) {
	b := stage.Embedded(t)
	sc := stage.NewScene(t, b, dynasession.Config{EventualReads: true})
	b.Server.HoldReplicas()
	require.NoError(t, sc.Store.Write(t.Context(), sc.ID(), []byte(`{"new":1}`)))
	data, err := sc.Store.Read(t.Context(), sc.ID())
	require.NoError(t, err)
	assert.JSONEq(t, `{"new":1}`, string(data))
	require.NoError(t, sc.Store.Destroy(t.Context(), sc.ID()))
	alive, err := sc.Store.ValidateID(t.Context(), sc.ID())
	require.NoError(t, err)
	assert.False(t, alive)
}

// TestTwoRevisionsOfOneID: the higher one counts, wherever it stands.
func TestTwoRevisionsOfOneID(t *testing.T) {
	b := stage.Embedded(t)
	sc := stage.NewScene(t, b, dynasession.Config{EventualReads: true})
	b.Server.HoldReplicas()
	older := sc.Cookie()
	sc.OK("/set?a")
	r := httptest.NewRequest(http.MethodGet, "https://shop.example.com/read", http.NoBody)
	r.Header.Set("Cookie", stage.CookieName+"="+older+"; "+stage.CookieName+"="+sc.Cookie())
	w := httptest.NewRecorder()
	sc.Handler.ServeHTTP(w, r)
	assert.Equal(t, "a n token", w.Body.String())
}

// TestProtocolStaleReplica: what a lagging replica shows is taken only if it is live and not
// older than what this browser's last response wrote.
func TestProtocolStaleReplica(t *testing.T) {
	cfg := dynasession.Config{EventualReads: true}
	t.Run("old rev", func(t *testing.T) {
		sc := stage.NewScene(t, stage.Embedded(t), cfg)
		sc.B.Server.HoldReplicas()
		sc.OK("/set?mine")
		sc.B.Calls.Take()
		assert.Equal(t, "mine n token", sc.OK("/read"))
		assert.Equal(t, []string{"GetItem", "GetItem"}, sc.B.Calls.Take())
		sc.B.Server.ReleaseReplicas()
		assert.Equal(t, "mine n token", sc.OK("/read"))
		assert.Equal(t, []string{"GetItem"}, sc.B.Calls.Take())
	})
	t.Run("old expires", func(t *testing.T) {
		sc := stage.NewScene(t, stage.Embedded(t), cfg)
		live := sc.Item()
		sc.Edit(func(item map[string]types.AttributeValue) { item["expires"] = stage.In(-time.Second) })
		sc.B.Server.HoldReplicas()
		stage.PutItem(t, sc.B, sc.Table, live)
		assert.Equal(t, "n token", sc.OK("/read"))
	})
	t.Run("old until", func(t *testing.T) {
		sc := stage.NewScene(t, stage.Embedded(t), cfg)
		live := sc.Item()
		sc.Edit(func(item map[string]types.AttributeValue) { item["until"] = stage.In(-time.Second) })
		sc.B.Server.HoldReplicas()
		stage.PutItem(t, sc.B, sc.Table, live)
		assert.Equal(t, "n token", sc.OK("/read"))
	})
	t.Run("not there yet", func(t *testing.T) {
		sc := stage.EmptyScene(t, stage.Embedded(t), cfg)
		sc.B.Server.HoldReplicas()
		sc.OK("/new")
		assert.Equal(t, "n token", sc.OK("/read"))
		sc.OK("/login?alice")
		assert.Equal(t, "n token alice", sc.OK("/read"))
	})
	t.Run("still there", func(t *testing.T) {
		sc := stage.NewScene(t, stage.Embedded(t), cfg)
		old := sc.Twin()
		sc.B.Server.HoldReplicas()
		sc.Twin().OK("/logout")
		sc.Failed(sc.Get("/set?mine"), http.StatusConflict, dynasession.ErrGone)
		sc.B.Server.ReleaseReplicas()
		sc.NothingLeft(old, sc.Browser)
	})
	t.Run("own write on top of another's, LastWriteWins", func(t *testing.T) {
		sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{EventualReads: true, Concurrency: dynasession.LastWriteWins})
		other := sc.Twin()
		sc.Inside = func() {
			other.OK("/set?theirs")
			sc.B.Server.HoldReplicas()
		}
		sc.OK("/set?mine")
		assert.Equal(t, "mine n token", sc.OK("/read"), "the cookie's rev is above that of what was overwritten")
	})
	t.Run("merge on an old rev", func(t *testing.T) {
		sc := stage.NewScene(t, stage.Embedded(t), cfg)
		old := sc.Twin()
		sc.B.Server.HoldReplicas()
		sc.OK("/set?mine")
		old.OK("/set?theirs") // its cookie knows of no newer one
		sc.B.Server.ReleaseReplicas()
		assert.JSONEq(t, `{"mine":true,"n":0,"theirs":true,"token":"t"}`, sc.Data())
	})
}

// TestTombstoneOfAReplica: a replica that lags shows the session as it was before its renewal, or
// nothing, or the tombstone.
func TestTombstoneOfAReplica(t *testing.T) {
	for _, policy := range []dynasession.Concurrency{dynasession.Merge, dynasession.LastWriteWins} {
		stage.SubBubble(t, policy.String(), func(t *testing.T) {
			b := stage.Embedded(t)
			cfg := dynasession.Config{EventualReads: true, Concurrency: policy}
			stale := func() (*stage.Lineage, *stage.Browser) {
				l := stage.NewLineage(t, b, cfg)
				old := l.Twin()
				b.Server.HoldReplicas()
				l.RenewBy("/login?alice")
				return l, old
			}
			l, old := stale()
			assert.Equal(t, "n token", old.OK("/read"), "the replica's values")
			l.Conflict(old, "/set?mine")
			old.OK("/logout")
			b.Server.ReleaseReplicas()
			l.Nobody()

			l, old = stale()
			b.Server.ReleaseReplicas()
			assert.Equal(t, "none", old.OK("/read"))
			l.Conflict(old, "/set?mine")

			l = stage.NewLineage(t, b, cfg)
			l.RenewBy("/login?alice")
			b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
				if c.Operation == "GetItem" && strings.Contains(c.Body, `"ConsistentRead":false`) {
					r := stage.AnswerWith(http.StatusOK, "")
					r.Body = io.NopCloser(strings.NewReader(`{}`))
					return r, nil
				}
				return c.Send()
			})
			l.Conflict(l.With(0), "/set?mine")
			b.Calls.Intercept(nil)
		})
	}
}
