package main

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// library returns a handler that calls serve with the session of each request.
type library struct {
	name string
	key  string // name of the table's hash key
	site func(t *testing.T, db *dynamodb.Client, table string, serve func(w http.ResponseWriter, r *http.Request, s session)) http.Handler
}

var libraries = []library{
	{"dynasession", "id", func(t *testing.T, db *dynamodb.Client, table string, serve func(http.ResponseWriter, *http.Request, session)) http.Handler {
		store, err := dynasession.New(db, dynasession.Config{Table: table})
		require.NoError(t, err)
		return store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := dynasession.Load(r.Context())
			if assert.NoError(t, err) {
				serve(w, r, ownSession{s})
			}
		}))
	}},
	{"scs", tokenKey, func(_ *testing.T, db *dynamodb.Client, table string, serve func(http.ResponseWriter, *http.Request, session)) http.Handler {
		manager := scs.New()
		manager.Store = &scsStore{db, table, true}
		return manager.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			serve(w, r, &scsSession{manager: manager, ctx: r.Context()})
		}))
	}},
	{"gorilla/sessions", "id", func(t *testing.T, db *dynamodb.Client, table string, serve func(http.ResponseWriter, *http.Request, session)) http.Handler {
		store := &gorillaStore{
			db: db, table: table, strong: true, codecs: securecookie.CodecsFromPairs(securecookie.GenerateRandomKey(32)),
			options: sessions.Options{Path: "/", MaxAge: 24 * 60 * 60, HttpOnly: true, Secure: true},
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := store.Get(r, "session")
			if assert.NoError(t, err) {
				serve(w, r, &gorillaSession{s, w, r})
			}
		})
	}},
}

// TestLoss measures what parallel requests lose: the keys that are left after 20 requests have each set one, and whether a
// request that saves after the user has signed out signs the user in again. README has the numbers.
func TestLoss(t *testing.T) {
	const parallel = 20
	eachServer(t, func(t *testing.T, endpoint string) {
		for _, lib := range libraries {
			db := newClient(endpoint)
			table := "loss-" + lib.key + fmt.Sprint(len(lib.name))
			require.NoError(t, createTable(t.Context(), db, table, lib.key))
			var loaded sync.WaitGroup // all parallel requests have loaded their session
			reached, leave := make(chan struct{}), make(chan struct{})
			kept, name := 0, ""
			server := httptest.NewTLSServer(lib.site(t, db, table, func(_ http.ResponseWriter, r *http.Request, s session) {
				var err error
				switch r.URL.Path {
				case "/sign-in":
					s.signIn("alice")
					s.set("name", `"Alice"`)
					err = s.save()
				case "/read":
					name = s.get("name")
				case "/set":
					s.get("name")
					loaded.Done()
					loaded.Wait()
					s.set(r.URL.RawQuery, "1")
					err = s.save()
				case "/count":
					for n := range parallel {
						if s.get(fmt.Sprint("key", n)) == "1" {
							kept++
						}
					}
				case "/slow":
					s.get("name") // some load only now
					close(reached)
					<-leave
					s.set("late", "1")
					_ = s.save() // is refused by some
				case "/sign-out":
					s.destroy()
					err = s.save()
				}
				assert.NoError(t, err)
			}))
			defer server.Close()
			client := server.Client()
			var err error
			client.Jar, err = cookiejar.New(nil)
			require.NoError(t, err)
			get := func(c *http.Client, path string) {
				resp, err := c.Get(server.URL + path)
				if assert.NoError(t, err) {
					_ = resp.Body.Close()
				}
			}
			get(client, "/sign-in")
			stolen := *client // a tab with the cookie of before the sign-out
			stolen.Jar, err = cookiejar.New(nil)
			require.NoError(t, err)
			base, err := http.NewRequest(http.MethodGet, server.URL, http.NoBody)
			require.NoError(t, err)
			stolen.Jar.SetCookies(base.URL, client.Jar.Cookies(base.URL))

			var all sync.WaitGroup
			loaded.Add(parallel)
			for n := range parallel {
				all.Go(func() { get(&stolen, fmt.Sprint("/set?key", n)) })
			}
			all.Wait()
			get(&stolen, "/count")

			all.Go(func() { get(&stolen, "/slow") })
			<-reached
			get(client, "/sign-out")
			close(leave)
			all.Wait()
			get(&stolen, "/read")
			t.Logf("%s: %d of %d keys left; after the sign-out the old cookie shows the name %q", lib.name, kept, parallel, name)
			if lib.name == "dynasession" {
				assert.Equal(t, parallel, kept)
				assert.Empty(t, name)
			} else {
				assert.LessOrEqual(t, kept, 2, "this is what README says of it")
				assert.Equal(t, `"Alice"`, name, "this is what README says of it")
			}
		}
	})
}
