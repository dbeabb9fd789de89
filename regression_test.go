package dynasession_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

// Bugs that reviews found.

// atUpdate runs f when the next UpdateItem is on its way.
func atUpdate(b *backend, f func()) {
	var once sync.Once
	b.calls.intercept(func(c *call) (*http.Response, error) {
		if c.operation == "UpdateItem" {
			once.Do(func() {
				b.calls.intercept(nil)
				f()
			})
		}
		return c.send()
	})
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
// changes are saved is saved too, and what it changes during that is told.
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

// TestFailedLateSaveIsToldOnce: and not as a change that came after the request.
func TestFailedLateSaveIsToldOnce(t *testing.T) {
	b := embedded(t)
	var log bytes.Buffer
	sc := newScene(t, b, dynasession.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	sc.paths["/"] = func(s *session, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		s.Set("bad", func() {})
	}
	sc.ok("/")
	assert.Equal(t, 1, strings.Count(log.String(), "level="), log.String())
	assert.Contains(t, log.String(), "after the response's headers is lost")
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

// TestCookieOfASaveBefore: the handler may replace the header that Save has put it into.
func TestCookieOfASaveBefore(t *testing.T) {
	saving := func(w http.ResponseWriter, r *http.Request) {
		s, err := dynasession.Load(r.Context())
		if assert.NoError(t, err) {
			s.Set("a", 1)
			assert.NoError(t, s.Save(r.Context()))
		}
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("Set-Cookie", "theme=dark")
	}
	for name, h := range map[string]http.Handler{
		"handler":             http.HandlerFunc(saving),
		"http.TimeoutHandler": http.TimeoutHandler(http.HandlerFunc(saving), time.Minute, "late"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, embedded(t), dynasession.Config{})
			w := httptest.NewRecorder()
			s.Middleware(h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://shop.example.com/", http.NoBody))
			assert.Len(t, w.Result().Cookies(), 2)
			assert.Equal(t, "private, max-age=60", w.Header().Get("Cache-Control"))
		})
	}
	t.Run("another store's save fails", func(t *testing.T) {
		b := embedded(t)
		outer, inner := newStore(t, b, dynasession.Config{Name: "a"}), newStore(t, b, dynasession.Config{Name: "b"})
		w := httptest.NewRecorder()
		outer.Middleware(inner.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			one, err := outer.Load(r.Context())
			other, err2 := inner.Load(r.Context())
			if assert.NoError(t, errors.Join(err, err2)) {
				one.Set("x", 1)
				assert.NoError(t, one.Save(r.Context()))
				other.Set("bad", func() {})
			}
		}))).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://shop.example.com/", http.NoBody))
		require.Equal(t, http.StatusInternalServerError, w.Code)
		assert.Len(t, w.Result().Cookies(), 1)
	})
}

// TestUploads: net/http removes the files of its own request, of which the handler has a copy.
func TestUploads(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := newStore(t, embedded(t), dynasession.Config{})
	srv := httptest.NewServer(s.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, r.ParseMultipartForm(1))
		files, err := os.ReadDir(dir)
		assert.NoError(t, err)
		assert.NotEmpty(t, files)
		w.WriteHeader(http.StatusNoContent)
	})))
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("photo", "photo.jpg")
	require.NoError(t, err)
	_, _ = file.Write(make([]byte, 11<<20))
	require.NoError(t, form.Close())
	resp, err := srv.Client().Post(srv.URL, form.FormDataContentType(), &body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	srv.Close()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// TestWriteKeepsRemembered: a Write from outside does not cut a remembered session short.
func TestWriteKeepsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(t, embedded(t), dynasession.Config{})
		sc.paths["/remember"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Remember(30 * 24 * time.Hour) }
		sc.ok("/remember")
		id, expires := sc.id(), attr(sc.item(), "expires")
		require.NoError(t, sc.store.Write(t.Context(), id, []byte(`{"n":1}`)))
		assert.Equal(t, expires, attr(sc.item(), "expires"))
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "n", sc.ok("/read"))
		time.Sleep(31 * 24 * time.Hour) // its id is written anew, as a session like any other
		require.NoError(t, sc.store.Write(t.Context(), id, []byte(`{"n":1}`)))
		assert.Equal(t, in(time.Hour), sc.item()["expires"])
	})
}

// TestVerbsBesideARenewal: the transaction that is in the way is over soon.
func TestVerbsBesideARenewal(t *testing.T) {
	b := embedded(t)
	sc := newScene(t, b, dynasession.Config{})
	conflict := dynamotest.Fault{Operation: "UpdateItem", Kind: dynamotest.Refuse, Code: "TransactionConflictException"}
	b.server.Fault(conflict)
	assert.NoError(t, sc.store.Write(t.Context(), sc.id(), []byte(`{"n":1}`)))
	b.server.Fault(conflict)
	assert.NoError(t, sc.store.UpdateTimestamp(t.Context(), sc.id()))
}

// TestGzip: dynamodb.Options.EnableAcceptEncodingGzip.
func TestGzip(t *testing.T) {
	srv := dynamotest.NewServer()
	t.Cleanup(srv.Close)
	compressed := 0
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		srv.ServeHTTP(answer, r)
		maps.Copy(w.Header(), answer.Header())
		w.Header().Del("Content-Length")
		w.Header().Del("X-Amz-Crc32")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(answer.Code)
		assert.Equal(t, "gzip", r.Header.Get("Accept-Encoding"))
		compressed++
		z := gzip.NewWriter(w)
		_, _ = z.Write(answer.Body.Bytes())
		_ = z.Close()
	}))
	defer front.Close()
	client := dynamodb.New(srv.Client().Options(), func(o *dynamodb.Options) {
		o.BaseEndpoint, o.HTTPClient, o.EnableAcceptEncodingGzip = &front.URL, front.Client(), true
	}, retryAtOnce)
	s, err := dynasession.New(client, dynasession.Config{})
	require.NoError(t, err)
	require.NoError(t, s.CreateTable(t.Context()))
	id := s.CreateID()
	require.NoError(t, s.Write(t.Context(), id, []byte(`{"a":1}`)))
	data, err := s.Read(t.Context(), id)
	require.NoError(t, err)
	assert.JSONEq(t, `{"a":1}`, string(data))
	assert.Positive(t, compressed)
}

// TestLockHasRoom: what is stored can be locked, and so loaded, by a store under Lock.
func TestLockHasRoom(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy.String(), func(t *testing.T) {
			eachBackend(t, func(t *testing.T, b *backend) {
				sc := newScene(t, b, dynasession.Config{Concurrency: policy, NoCompression: true})
				size := 400<<10 - 300
				sc.paths["/big"] = func(s *session, _ http.ResponseWriter, _ *http.Request) { s.Set("big", strings.Repeat("x", size)) }
				for ; sc.get("/big").Code == http.StatusOK; size += 20 {
				}
				locking, err := dynasession.New(b.client, dynasession.Config{Table: sc.table, Concurrency: dynasession.Lock})
				require.NoError(t, err)
				sc.handler = locking.Middleware(sc.paths)
				assert.Equal(t, "big n token", sc.ok("/read"))
			})
		})
	}
}

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

// TestCreateTableWhileDeleting: the old table's end is waited for, and the table made.
func TestCreateTableWhileDeleting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := embedded(t)
		s, err := dynasession.New(b.client, dynasession.Config{})
		require.NoError(t, err)
		described := 0
		b.calls.intercept(func(c *call) (*http.Response, error) {
			switch {
			case c.operation == "CreateTable" && described == 0:
				return answerWith(http.StatusBadRequest, "ResourceInUseException"), nil
			case c.operation == "DescribeTable" && described < 3:
				described++
				return tableOf("DELETING"), nil
			}
			return c.send()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.NoError(t, s.CreateTable(ctx))
	})
}

// TestCreateTableInAStateThatStays: only Open's error tells.
func TestCreateTableInAStateThatStays(t *testing.T) {
	b := embedded(t)
	s := newStore(t, b, dynasession.Config{})
	b.calls.intercept(func(c *call) (*http.Response, error) {
		if c.operation == "DescribeTable" {
			return tableOf("INACCESSIBLE_ENCRYPTION_CREDENTIALS"), nil
		}
		return c.send()
	})
	err := s.CreateTable(t.Context())
	require.ErrorIs(t, err, dynasession.ErrTable)
	assert.ErrorContains(t, err, "INACCESSIBLE_ENCRYPTION_CREDENTIALS")
}

func tableOf(status string) *http.Response {
	r := answerWith(http.StatusOK, "")
	r.Body = io.NopCloser(strings.NewReader(`{"Table":{"TableName":"sessions","TableStatus":"` + status + `",
		"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}]}}`))
	return r
}

// TestCreateTableTwiceAtOnce: two servers that start together.
func TestCreateTableTwiceAtOnce(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		s, err := dynasession.New(b.client, dynasession.Config{Table: newTable()})
		require.NoError(t, err)
		b.calls.intercept(func(c *call) (*http.Response, error) {
			if c.operation == "UpdateTimeToLive" {
				b.calls.intercept(nil)
				assert.NoError(t, s.CreateTable(t.Context()))
			}
			return c.send()
		})
		assert.NoError(t, s.CreateTable(t.Context()))
	})
}

// TestWrongTableIsTold: a read, a put and an index are refused in other words each.
func TestWrongTableIsTold(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		for name, tc := range map[string]struct {
			key      string
			is, user types.ScalarAttributeType
		}{
			"another key":     {"pk", types.ScalarAttributeTypeS, types.ScalarAttributeTypeS},
			"a number":        {"id", types.ScalarAttributeTypeN, types.ScalarAttributeTypeS},
			"index of number": {"id", types.ScalarAttributeTypeS, types.ScalarAttributeTypeN},
		} {
			t.Run(name, func(t *testing.T) {
				table := newTable()
				_, err := b.client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
					TableName: &table, BillingMode: types.BillingModePayPerRequest,
					KeySchema: []types.KeySchemaElement{{AttributeName: &tc.key, KeyType: types.KeyTypeHash}},
					AttributeDefinitions: []types.AttributeDefinition{
						{AttributeName: &tc.key, AttributeType: tc.is}, {AttributeName: aws.String("user"), AttributeType: tc.user},
					},
					GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
						IndexName: aws.String("by-user"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
						KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("user"), KeyType: types.KeyTypeHash}},
					}},
				})
				require.NoError(t, err)
				var failed error
				s, err := dynasession.New(b.client, dynasession.Config{
					Table: table, UserIndex: "by-user", Logger: spoken.logger(), Observer: func(_ context.Context, e dynasession.Event) { failed = e.Err },
				})
				require.NoError(t, err)
				newBrowser(t, s.Middleware(app{"/": func(s *session, _ http.ResponseWriter, _ *http.Request) { s.SetUser("alice") }})).get("/")
				assert.ErrorIs(t, failed, dynasession.ErrTable)
			})
		}
	})
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

// TestExpiresAfterLifetimeWasLowered: Expires tells no time at which the session is dead.
func TestExpiresAfterLifetimeWasLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := embedded(t)
		sc := newScene(t, b, dynasession.Config{Lifetime: 24 * time.Hour, IdleTimeout: 3 * time.Hour})
		lowered, err := dynasession.New(b.client, dynasession.Config{Table: sc.table, Lifetime: 2 * time.Hour})
		require.NoError(t, err)
		var ends time.Time
		sc.handler = lowered.Middleware(app{"/": func(s *session, _ http.ResponseWriter, r *http.Request) {
			s.Set("at", time.Now())
			require.NoError(t, s.Save(r.Context()))
			ends = s.Expires()
		}})
		time.Sleep(90 * time.Minute)
		sc.ok("/")
		assert.Equal(t, 30*time.Minute, time.Until(ends).Round(time.Second))
	})
}

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

// TestLockWaitInAnOutage: where nobody has told of a lock, none is told of.
func TestLockWaitInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := embedded(t)
		sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Second})
		b.calls.intercept(func(c *call) (*http.Response, error) {
			<-c.request.Context().Done()
			return nil, c.request.Context().Err()
		})
		sc.failed(sc.get("/read"), http.StatusServiceUnavailable, dynasession.ErrUnavailable)
		time.Sleep(time.Minute) // the call that was given up
	})
}

// TestLookHasATimeout: a waiter's look at the lock ends with Config.Timeout.
func TestLookHasATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := embedded(t)
		sc := newScene(t, b, dynasession.Config{Concurrency: dynasession.Lock, LockWait: time.Minute, Timeout: time.Second})
		holder, err := dynasession.New(b.client, dynasession.Config{Table: sc.table, Concurrency: dynasession.Lock})
		require.NoError(t, err)
		tab := newBrowser(t, holder.Middleware(app{"/hold": func(*session, http.ResponseWriter, *http.Request) {
			b.calls.intercept(func(c *call) (*http.Response, error) {
				if c.operation == "GetItem" {
					<-c.request.Context().Done()
					return nil, c.request.Context().Err()
				}
				return c.send()
			})
			begin := time.Now()
			sc.get("/read")
			assert.Less(t, time.Since(begin), 5*time.Second) // on the bubble's clock
			b.calls.intercept(nil)
		}}))
		tab.jar = sc.jar
		tab.ok("/hold")
	})
}

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

// unitsOf counts the write units of what handle does, and of a request after it that reads only.
func unitsOf(t *testing.T, cfg dynasession.Config, handle func(*session)) (written, read int) {
	t.Helper()
	db := dynamotest.NewServer()
	defer db.Close()
	store, err := dynasession.New(db.Client(), cfg)
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	browser := newBrowser(t, store.Middleware(app{
		"/set":  func(s *session, _ http.ResponseWriter, _ *http.Request) { handle(s) },
		"/read": func(*session, http.ResponseWriter, *http.Request) {},
	}))
	db.ResetCalls()
	browser.ok("/set")
	_, created := db.Calls().Units()
	db.ResetCalls()
	browser.ok("/read")
	_, kept := db.Calls().Units()
	return int(created), int(kept)
}

// TestCompressionCountsTheLock: under Lock, every request writes the item with its lock.
func TestCompressionCountsTheLock(t *testing.T) {
	for n := 800; n < 1000; n++ {
		written, read := unitsOf(t, dynasession.Config{Concurrency: dynasession.Lock}, func(s *session) { s.Set("text", strings.Repeat("words ", n/6)) })
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
	written, _ := unitsOf(t, dynasession.Config{}, func(s *session) {
		s.SetUser(strings.Repeat("u", 260))
		s.Set("orders", ids)
	})
	assert.Equal(t, 1, written)
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

func (plainText) Marshal(v any) ([]byte, error) { return append([]byte(nil), v.(string)...), nil }
func (plainText) Unmarshal(data []byte, v any) error {
	*v.(*string) = string(data)
	return nil
}

func (plainText) Join(list []dynasession.KeyValue) ([]byte, error) {
	quoted := make([]dynasession.KeyValue, len(list))
	for i, kv := range list {
		quoted[i] = dynasession.KeyValue{Key: kv.Key, Value: []byte(strconv.Quote(string(kv.Value)))}
	}
	return dynasession.JSON{}.Join(quoted)
}

func (plainText) Split(data []byte) ([]dynasession.KeyValue, error) {
	list, err := dynasession.JSON{}.Split(data)
	for i := range list {
		list[i].Value = append([]byte(nil), strings.Trim(string(list[i].Value), `"`)...)
	}
	return list, err
}

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

// TestSameEndAgain: what asks for the end that the session has costs no write.
func TestSameEndAgain(t *testing.T) {
	sc := newScene(t, embedded(t), dynasession.Config{})
	end := time.Now().Add(30 * time.Minute)
	sc.paths["/limit"] = func(s *session, _ http.ResponseWriter, _ *http.Request) {
		s.Remember(0)
		s.LimitTo(end)
		s.LimitTo(end.Add(time.Minute))
	}
	sc.ok("/limit")
	before := sc.item()
	assert.Equal(t, strconv.FormatInt(end.Unix(), 10), attr(before, "limit"))
	sc.ok("/limit")
	assert.Equal(t, before, sc.item())
	end = end.Add(-time.Minute)
	sc.ok("/limit")
	assert.Equal(t, strconv.FormatInt(end.Unix(), 10), attr(sc.item(), "limit"))
}

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
