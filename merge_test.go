package dynasession_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

// TestSavesOfOneSession overlap from two goroutines of a request: they go one after the
// other, so that no Update counts twice and no second item is made.
func TestSavesOfOneSession(t *testing.T) {
	b := embedded(t)
	table := newTable()
	s := newStore(t, b, dynasession.Config{Table: table})
	overlap := func(s *session, first, second func()) {
		var calls atomic.Int32
		inFlight, overtaken := make(chan struct{}), make(chan struct{})
		b.server.Intercept(func(_ context.Context, _ dynamotest.Request, apply func()) error {
			switch calls.Add(1) {
			case 1:
				close(inFlight)
				select { // a second save that does not wait comes by now
				case <-overtaken:
				case <-time.After(100 * time.Millisecond):
				}
			case 2:
				defer close(overtaken)
			}
			apply()
			return nil
		})
		defer b.server.Intercept(nil)
		dynasession.Update(s, "n", increment)
		done := make(chan struct{})
		go func() { defer close(done); first() }()
		<-inFlight
		s.Set("b", 1)
		second()
		<-done
	}
	br := newBrowser(t, s.Middleware(app{
		"/first": func(s *session, w http.ResponseWriter, r *http.Request) {
			overlap(s, func() { assert.NoError(t, s.Save(r.Context())) }, func() { write(w, "committed") })
			s.Set("late", 1)
		},
		"/again": func(s *session, _ http.ResponseWriter, r *http.Request) {
			save := func() { assert.NoError(t, s.Save(r.Context())) }
			overlap(s, save, save)
		},
		"/show": func(s *session, w http.ResponseWriter, _ *http.Request) {
			n, _ := dynasession.Get[int](s, "n")
			write(w, strings.Join(s.Keys(), ",")+strings.Repeat("!", n))
		},
	}))
	br.ok("/first")
	require.Equal(t, "b,late,n!", br.ok("/show"))
	br.ok("/again")
	require.Equal(t, "b,late,n!!", br.ok("/show"))
	require.Len(t, items(t, b, table), 1)
}

// TestChangesDuringASave: what a goroutine changes during a save is held to its guarantees by
// the next one, though that save has merged meanwhile.
func TestChangesDuringASave(t *testing.T) {
	for name, tc := range map[string]struct {
		other  string // what another tab has done
		during func(*session)
		status int
	}{
		"Pop of a token that is spent": {"/pop", func(s *session) {
			_, ok := dynasession.Pop[string](s, "token")
			assert.True(t, ok)
		}, http.StatusConflict},
		"Pop, then Set": {"/pop", func(s *session) {
			dynasession.Pop[string](s, "token")
			s.Set("token", "new")
		}, http.StatusConflict},
		"Update of what no longer decodes": {"/text", countUp, http.StatusInternalServerError},
	} {
		t.Run(name, func(t *testing.T) {
			b := embedded(t)
			sc := newScene(t, b, dynasession.Config{})
			twin := sc.twin()
			sc.paths["/text"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("n", "many") }
			sc.paths["/save"] = func(s *session, _ http.ResponseWriter, r *http.Request) {
				require.Equal(t, http.StatusOK, twin.get(tc.other).Code)
				atUpdate(b, func() { tc.during(s) })
				s.Set("x", 1)
				assert.NoError(t, s.Save(r.Context()))
			}
			assert.Equal(t, tc.status, sc.get("/save").Code)
		})
	}
}

// TestSetOfWhatWasLoaded: that a value is the one that was loaded does not make it the one that
// is stored by the time of the save.
func TestSetOfWhatWasLoaded(t *testing.T) {
	eachPolicy(t, func(t *testing.T, b *backend, policy dynasession.Concurrency) {
		sc := newScene(t, b, dynasession.Config{Concurrency: policy, LockWait: 100 * time.Millisecond})
		sc.paths["/other"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
			s.Set("n", 1)
			s.Set("token", "theirs")
			s.Set("draft", true)
		}
		mine := func(s *session) {
			s.Set("n", 0)
			dynasession.Update(s, "token", func(old string) string { return strings.Replace(old, "theirs", "taken", 1) })
			s.Delete("draft")
		}
		sc.paths["/mine"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { mine(s) }
		sc.paths["/mine-and-more"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
			sc.twin().get("/other")
			mine(s)
			s.Set("more", true)
		}
		stream := func(other string, want error) func(*session, http.ResponseWriter, *http.Request) {
			return func(s *session, w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush() // which gives a lock up, too
				require.Equal(t, http.StatusOK, sc.twin().get(other).Code)
				mine(s)
				assert.ErrorIs(t, s.Save(r.Context()), want)
			}
		}
		sc.paths["/stream"] = stream("/other", nil)
		sc.paths["/stream-past-logout"] = stream("/logout", dynasession.ErrGone)

		before := sc.item()
		sc.ok("/mine")
		assert.Equal(t, before["rev"], sc.item()["rev"], "by itself it is no reason to write")
		if policy == dynasession.Merge { // under Lock the other waits, and the last write has all of it
			sc.ok("/mine-and-more")
			assert.JSONEq(t, `{"n":0,"token":"taken","more":true}`, sc.data())
		}
		if policy != dynasession.LastWriteWins {
			sc.edit(func(item map[string]types.AttributeValue) { item["data"] = str(`{"n":0,"token":"t"}`) })
			sc.ok("/stream")
			assert.JSONEq(t, `{"n":0,"token":"taken"}`, sc.data())
		}
		sc.ok("/stream-past-logout")
	})
}

// TestChangeDuringTheLastSave: what a goroutine of the handler's changes while the handler's
// changes are saved is saved too, and what it changes meanwhile is reported.
func TestChangeDuringTheLastSave(t *testing.T) {
	for name, early := range map[string]bool{"when the handler returns": false, "after the header": true} {
		t.Run(name, func(t *testing.T) {
			b := embedded(t)
			var log bytes.Buffer
			sc := newScene(t, b, dynasession.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			sc.paths["/"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
				if early {
					w.WriteHeader(http.StatusOK)
				}
				s.Set("saves", 0)
				var again func()
				again = func() {
					dynasession.Update(s, "saves", func(n int) int { return n + 1 })
					atUpdate(b, again)
				}
				atUpdate(b, again)
			}
			sc.ok("/")
			b.calls.intercept(nil)
			sc.paths["/saves"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
				n, _ := dynasession.Get[int](s, "saves")
				assert.Positive(t, n, "those of the first save are saved, not those of all")
			}
			sc.ok("/saves")
			assert.Contains(t, log.String(), "after its request ended")
		})
	}
}

// TestSetDuringAMergingSave: that a value was the one that was loaded says nothing once a save has
// merged.
func TestSetDuringAMergingSave(t *testing.T) {
	b := embedded(t)
	sc := newScene(t, b, dynasession.Config{})
	sc.paths["/other"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("n", 1) }
	sc.paths["/"] = func(s *session, _ http.ResponseWriter, r *http.Request) {
		sc.twin().ok("/other")
		s.Set("mine", true)
		atUpdate(b, func() { s.Set("n", 0) })
		assert.NoError(t, s.Save(r.Context()))
	}
	sc.ok("/")
	assert.JSONEq(t, `{"n":0,"token":"t","mine":true}`, sc.data())
}

// TestUserDuringASave: a save that is under way hides no change.
func TestUserDuringASave(t *testing.T) {
	b := embedded(t)
	sc := newScene(t, b, dynasession.Config{})
	sc.paths["/in"] = func(s *session, _ http.ResponseWriter, r *http.Request) {
		s.SetUser("alice")
		s.Remember(48 * time.Hour)
		seen := false
		b.calls.intercept(func(c *call) (*http.Response, error) {
			seen = true
			assert.Equal(t, "alice", s.User())
			assert.False(t, s.AuthTime().IsZero())
			assert.WithinDuration(t, time.Now().Add(48*time.Hour), s.Expires(), time.Minute)
			return c.send()
		})
		require.NoError(t, s.Save(r.Context()))
		b.calls.intercept(nil)
		assert.True(t, seen)
	}
	sc.ok("/in")
}

// TestRememberUndoneInAMerge: Remember(0) is meant, also if the session was not remembered when it
// was loaded.
func TestRememberUndoneInAMerge(t *testing.T) {
	sc := newScene(t, embedded(t), dynasession.Config{})
	sc.paths["/remember"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Remember(720 * time.Hour) }
	sc.paths["/forget"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
		sc.twin().ok("/remember")
		s.Remember(0)
		s.Remember(0)
		s.Set("x", 1)
	}
	sc.ok("/forget")
	assert.NotContains(t, sc.item(), "idle")

	sc.paths["/twice"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
		s.Remember(720 * time.Hour)
		s.Remember(720 * time.Hour)
	}
	sc.ok("/twice")
	assert.Contains(t, sc.item(), "idle")
}

// TestPopOfWhatWasSetAsItIs: it is still the token that was loaded, and one request gets it.
func TestPopOfWhatWasSetAsItIs(t *testing.T) {
	sc := newScene(t, embedded(t), dynasession.Config{})
	sc.paths["/set-and-pop"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
		require.Equal(t, http.StatusOK, sc.twin().get("/pop").Code)
		s.Set("token", "t")
		_, ok := dynasession.Pop[string](s, "token")
		assert.True(t, ok)
	}
	sc.failed(sc.get("/set-and-pop"), http.StatusConflict, dynasession.ErrConflict)
}
