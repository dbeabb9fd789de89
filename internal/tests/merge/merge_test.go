package merge_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// atUpdate runs f when the next UpdateItem is on its way.
func atUpdate(b *stage.Backend, f func()) {
	var once sync.Once
	b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
		if c.Operation == "UpdateItem" {
			once.Do(func() {
				b.Calls.Intercept(nil)
				f()
			})
		}
		return c.Send()
	})
}

// TestSavesOfOneSession overlap from two goroutines of a request: they go one after the
// other, so that no Update counts twice and no second item is made.
func TestSavesOfOneSession(t *testing.T) {
	b := stage.Embedded(t)
	table := stage.NewTable()
	s := stage.NewStore(t, b, dynasession.Config{Table: table})
	overlap := func(s *stage.Session, first, second func()) {
		var calls atomic.Int32
		inFlight, overtaken := make(chan struct{}), make(chan struct{})
		b.Server.Intercept(func(_ context.Context, _ dynamotest.Request, apply func()) error {
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
		defer b.Server.Intercept(nil)
		dynasession.Update(s, "n", stage.Increment)
		done := make(chan struct{})
		go func() { defer close(done); first() }()
		<-inFlight
		s.Set("b", 1)
		second()
		<-done
	}
	br := stage.NewBrowser(t, s.Middleware(stage.App{
		"/first": func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
			overlap(s, func() { assert.NoError(t, s.Save(r.Context())) }, func() { stage.Write(w, "committed") })
			s.Set("late", 1)
		},
		"/again": func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
			save := func() { assert.NoError(t, s.Save(r.Context())) }
			overlap(s, save, save)
		},
		"/show": func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
			n, _ := dynasession.Get[int](s, "n")
			stage.Write(w, strings.Join(s.Keys(), ",")+strings.Repeat("!", n))
		},
	}))
	br.OK("/first")
	require.Equal(t, "b,late,n!", br.OK("/show"))
	br.OK("/again")
	require.Equal(t, "b,late,n!!", br.OK("/show"))
	require.Len(t, stage.Items(t, b, table), 1)
}

// TestChangesDuringASave: what a goroutine changes during a save is held to its guarantees by
// the next one, though that save has merged meanwhile.
func TestChangesDuringASave(t *testing.T) {
	for name, tc := range map[string]struct {
		other  string // what another tab has done
		during func(*stage.Session)
		status int
	}{
		"Pop of a token that is spent": {"/pop", func(s *stage.Session) {
			_, ok := dynasession.Pop[string](s, "token")
			assert.True(t, ok)
		}, http.StatusConflict},
		"Pop, then Set": {"/pop", func(s *stage.Session) {
			dynasession.Pop[string](s, "token")
			s.Set("token", "new")
		}, http.StatusConflict},
		"Update of what no longer decodes": {"/text", stage.CountUp, http.StatusInternalServerError},
	} {
		t.Run(name, func(t *testing.T) {
			b := stage.Embedded(t)
			sc := stage.NewScene(t, b, dynasession.Config{})
			twin := sc.Twin()
			sc.Paths["/text"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("n", "many") }
			sc.Paths["/save"] = func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
				require.Equal(t, http.StatusOK, twin.Get(tc.other).Code)
				atUpdate(b, func() { tc.during(s) })
				s.Set("x", 1)
				assert.NoError(t, s.Save(r.Context()))
			}
			assert.Equal(t, tc.status, sc.Get("/save").Code)
		})
	}
}

// TestSetOfWhatWasLoaded: that a value is the one that was loaded does not make it the one that
// is stored by the time of the save.
func TestSetOfWhatWasLoaded(t *testing.T) {
	stage.EachPolicy(t, func(t *testing.T, b *stage.Backend, policy dynasession.Concurrency) {
		sc := stage.NewScene(t, b, dynasession.Config{Concurrency: policy, LockWait: 100 * time.Millisecond})
		sc.Paths["/other"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
			s.Set("n", 1)
			s.Set("token", "theirs")
			s.Set("draft", true)
		}
		mine := func(s *stage.Session) {
			s.Set("n", 0)
			dynasession.Update(s, "token", func(old string) string { return strings.Replace(old, "theirs", "taken", 1) })
			s.Delete("draft")
		}
		sc.Paths["/mine"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { mine(s) }
		sc.Paths["/mine-and-more"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
			sc.Twin().Get("/other")
			mine(s)
			s.Set("more", true)
		}
		stream := func(other string, want error) func(*stage.Session, http.ResponseWriter, *http.Request) {
			return func(s *stage.Session, w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush() // which gives a lock up, too
				require.Equal(t, http.StatusOK, sc.Twin().Get(other).Code)
				mine(s)
				assert.ErrorIs(t, s.Save(r.Context()), want)
			}
		}
		sc.Paths["/stream"] = stream("/other", nil)
		sc.Paths["/stream-past-logout"] = stream("/logout", dynasession.ErrGone)

		before := sc.Item()
		sc.OK("/mine")
		assert.Equal(t, before["rev"], sc.Item()["rev"], "by itself it is no reason to write")
		if policy == dynasession.Merge { // under Lock the other waits, and the last write has all of it
			sc.OK("/mine-and-more")
			assert.JSONEq(t, `{"n":0,"token":"taken","more":true}`, sc.Data())
		}
		if policy != dynasession.LastWriteWins {
			sc.Edit(func(item map[string]types.AttributeValue) { item["data"] = stage.Str(`{"n":0,"token":"t"}`) })
			sc.OK("/stream")
			assert.JSONEq(t, `{"n":0,"token":"taken"}`, sc.Data())
		}
		sc.OK("/stream-past-logout")
	})
}

// TestChangeDuringTheLastSave: what a goroutine of the handler's changes while the handler's
// changes are saved is saved too, and what it changes meanwhile is reported.
func TestChangeDuringTheLastSave(t *testing.T) {
	for name, early := range map[string]bool{"when the handler returns": false, "after the header": true} {
		t.Run(name, func(t *testing.T) {
			b := stage.Embedded(t)
			var log bytes.Buffer
			sc := stage.NewScene(t, b, dynasession.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			sc.Paths["/"] = func(s *stage.Session, w http.ResponseWriter, _ *http.Request) {
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
			sc.OK("/")
			b.Calls.Intercept(nil)
			sc.Paths["/saves"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
				n, _ := dynasession.Get[int](s, "saves")
				assert.Positive(t, n, "those of the first save are saved, not those of all")
			}
			sc.OK("/saves")
			assert.Contains(t, log.String(), "after its request ended")
		})
	}
}

// TestSetDuringAMergingSave: that a value was the one that was loaded says nothing once a save has
// merged.
func TestSetDuringAMergingSave(t *testing.T) {
	b := stage.Embedded(t)
	sc := stage.NewScene(t, b, dynasession.Config{})
	sc.Paths["/other"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("n", 1) }
	sc.Paths["/"] = func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
		sc.Twin().OK("/other")
		s.Set("mine", true)
		atUpdate(b, func() { s.Set("n", 0) })
		assert.NoError(t, s.Save(r.Context()))
	}
	sc.OK("/")
	assert.JSONEq(t, `{"n":0,"token":"t","mine":true}`, sc.Data())
}

// TestUserDuringASave: a save that is under way hides no change.
func TestUserDuringASave(t *testing.T) {
	b := stage.Embedded(t)
	sc := stage.NewScene(t, b, dynasession.Config{})
	sc.Paths["/in"] = func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
		s.SetUser("alice")
		s.Remember(48 * time.Hour)
		seen := false
		b.Calls.Intercept(func(c *stage.Call) (*http.Response, error) {
			seen = true
			assert.Equal(t, "alice", s.User())
			assert.False(t, s.AuthTime().IsZero())
			assert.WithinDuration(t, time.Now().Add(48*time.Hour), s.Expires(), time.Minute)
			return c.Send()
		})
		require.NoError(t, s.Save(r.Context()))
		b.Calls.Intercept(nil)
		assert.True(t, seen)
	}
	sc.OK("/in")
}

// TestRememberUndoneInAMerge: Remember(0) is meant, also if the session was not remembered when it
// was loaded.
func TestRememberUndoneInAMerge(t *testing.T) {
	sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{})
	sc.Paths["/remember"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Remember(720 * time.Hour) }
	sc.Paths["/forget"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		sc.Twin().OK("/remember")
		s.Remember(0)
		s.Remember(0)
		s.Set("x", 1)
	}
	sc.OK("/forget")
	assert.NotContains(t, sc.Item(), "idle")

	sc.Paths["/twice"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		s.Remember(720 * time.Hour)
		s.Remember(720 * time.Hour)
	}
	sc.OK("/twice")
	assert.Contains(t, sc.Item(), "idle")
}

// TestPopOfWhatWasSetAsItIs: it is still the token that was loaded, and one request gets it.
func TestPopOfWhatWasSetAsItIs(t *testing.T) {
	sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{})
	sc.Paths["/set-and-pop"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		require.Equal(t, http.StatusOK, sc.Twin().Get("/pop").Code)
		s.Set("token", "t")
		_, ok := dynasession.Pop[string](s, "token")
		assert.True(t, ok)
	}
	sc.Failed(sc.Get("/set-and-pop"), http.StatusConflict, dynasession.ErrConflict)
}

// TestSaveShowsTheMergedState: and what is changed later is saved too.
func TestSaveShowsTheMergedState(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		s := stage.NewStore(t, b, dynasession.Config{})
		var br *stage.Browser
		br = stage.NewBrowser(t, s.Middleware(stage.App{
			"/set": stage.DoSet, "/get": stage.DoGet,
			"/other": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("other", "seen") },
			"/save": func(s *stage.Session, _ http.ResponseWriter, r *http.Request) {
				br.OK("/other")
				s.Set("key", "saved")
				assert.NoError(t, s.Save(r.Context()))
				v, _ := dynasession.Get[string](s, "other")
				assert.Equal(t, "seen", v)
				s.Set("key", "again")
			},
			"/restart": func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
				before := s.ID()
				s.Destroy()
				assert.Empty(t, s.ID())
				assert.False(t, s.Has("key"))
				assert.True(t, s.IsNew())
				s.Set("key", "fresh from "+before[:0])
			},
		}))
		br.OK("/set?1")
		br.OK("/save")
		require.Equal(t, "again", br.OK("/get"))
		old := stage.IDOf(br)
		br.OK("/restart")
		require.NotEqual(t, old, stage.IDOf(br))
		require.Equal(t, "fresh from ", br.OK("/get"))
		_, err := s.Read(t.Context(), old)
		require.ErrorIs(t, err, dynasession.ErrNotFound)
	})
}

func TestProtocolOneTokenIsSpentOnce(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{})
		sc.Inside = func() { sc.Twin().OK("/pop") }
		sc.Failed(sc.Get("/pop"), http.StatusConflict, dynasession.ErrConflict)
		assert.JSONEq(t, `{"n":0}`, sc.Data())
		assert.Equal(t, http.StatusNotFound, sc.Get("/pop").Code, "spent")

		t.Run("against an unrelated change", func(t *testing.T) {
			sc := stage.NewScene(t, b, dynasession.Config{})
			sc.Inside = func() { sc.Twin().OK("/set?theirs") }
			sc.OK("/pop")
			assert.JSONEq(t, `{"n":0,"theirs":true}`, sc.Data())
		})
	})
}

// TestParallelSameKey: one of the two values, never a mix.
func TestParallelSameKey(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		s := stage.NewStore(t, b, dynasession.Config{})
		one, two := strings.Repeat("1", 2000), strings.Repeat("2", 3000)
		a := stage.App{
			"/set": func(s *dynasession.Session, _ http.ResponseWriter, r *http.Request) {
				s.Set("key", map[string]string{"0": "0", "1": one, "2": two}[r.FormValue("v")])
			},
			"/get": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
				v, _ := dynasession.Get[string](s, "key")
				stage.Write(w, v)
			},
		}
		br := stage.NewBrowser(t, s.Middleware(a))
		for range 20 {
			br.OK("/set?v=0")
			var wg sync.WaitGroup
			for v := 1; v <= 2; v++ {
				wg.Go(func() { assert.Equal(t, http.StatusOK, br.Get(fmt.Sprintf("/set?v=%d", v)).Code) })
			}
			wg.Wait()
			require.Contains(t, []string{one, two}, br.OK("/get"))
		}
	})
}

// TestFlashesOfTwoGoroutines: one of them shows the message.
func TestFlashesOfTwoGoroutines(t *testing.T) {
	sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{})
	sc.Paths["/"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
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
	sc.OK("/")
}

// TestConflictsAreCounted checks Event.Conflicts: of a save that was merged, and of one that then failed.
func TestConflictsAreCounted(t *testing.T) {
	b := stage.Embedded(t)
	var saves []dynasession.Event
	store := stage.NewStore(t, b, dynasession.Config{Observer: func(_ context.Context, e dynasession.Event) {
		if e.Op == "save" {
			saves = append(saves, e)
		}
	}})
	start := func(id string) *dynasession.Session {
		sess, err := store.Start(t.Context(), id)
		require.NoError(t, err)
		return sess
	}
	first := start("")
	first.Set("token", "t")
	require.NoError(t, first.Save(t.Context()))
	id := first.ID()
	one, two, three := start(id), start(id), start(id)
	one.Set("a", 1)
	two.Set("b", 2)
	require.NoError(t, one.Save(t.Context()))
	require.NoError(t, two.Save(t.Context()))
	dynasession.Pop[string](two, "token")
	require.NoError(t, two.Save(t.Context()))
	dynasession.Pop[string](three, "token")
	require.ErrorIs(t, three.Save(t.Context()), dynasession.ErrConflict)
	var conflicts []int
	for _, e := range saves {
		conflicts = append(conflicts, e.Conflicts)
	}
	assert.Equal(t, []int{0, 0, 1, 0, 1}, conflicts)
}
