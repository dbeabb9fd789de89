package dynasession_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

// A counter of one browser's visits: the whole of what most programs need.
func Example() {
	server := dynamotest.NewServer() // a real program has AWS's: config.LoadDefaultConfig, dynasession.NewClient
	defer server.Close()
	store, err := dynasession.New(server.Client(), dynasession.Config{Table: "sessions"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := store.CreateTable(context.Background()); err != nil {
		fmt.Println(err)
		return
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return // the middleware answers
		}
		dynasession.Update(sess, "visits", func(n int) int { return n + 1 })
		visits, _ := dynasession.Get[int](sess, "visits")
		fmt.Fprintf(w, "visit %d", visits)
	})

	alice, bob := visitor(store.Middleware(mux)), visitor(store.Middleware(mux))
	fmt.Println(alice.get("/"))
	fmt.Println(alice.get("/"))
	fmt.Println(bob.get("/"))
	// Output:
	// visit 1
	// visit 2
	// visit 1
}

// The zero Config is ready for production; a field that is zero has the default. New reports
// everything that is wrong at once.
func ExampleConfig() {
	cfg := dynasession.Config{
		Table:       "shop-" + dynasession.DefaultTable,
		Name:        "shop", // else DefaultName
		IdleTimeout: dynasession.DefaultIdleTimeout / 4,
		Lifetime:    dynasession.DefaultLifetime / 3,
		Timeout:     -time.Second, // else DefaultTimeout
		Cookie: dynasession.CookieConfig{
			SameSite: http.SameSiteStrictMode,
			Path:     "shop",
		},
	}
	_, err := dynasession.New(dynamotest.NewServer().Client(), cfg)
	fmt.Println(err)
	fmt.Println(dynasession.DefaultName, dynasession.DefaultTimeout)
	// Output:
	// dynasession: Config.Timeout is -1s: must not be negative; 0 is for 5s
	// dynasession: Config.Cookie.Path is "shop": must begin with /, and hold no ; and no control characters
	// session 5s
}

// With EncryptionKeys, the table and its backups show no values. To change keys, put the new
// one before the old one, and drop the old one after Lifetime. A Config prints without them.
func ExampleConfig_encryptionKeys() {
	oldKey := bytes.Repeat([]byte{1}, 32) // of a secret store: 32 random bytes
	newKey := bytes.Repeat([]byte{2}, 32)

	server, ctx := dynamotest.NewServer(), context.Background()
	before, _ := dynasession.New(server.Client(), dynasession.Config{EncryptionKeys: [][]byte{oldKey}})
	_ = before.CreateTable(ctx)
	id := before.CreateID()
	_ = before.Write(ctx, id, []byte(`{"card":"4111"}`))

	cfg := dynasession.Config{EncryptionKeys: [][]byte{newKey, oldKey}}
	fmt.Println(cfg)
	after, _ := dynasession.New(server.Client(), cfg)
	data, err := after.Read(ctx, id)
	fmt.Println(string(data), err)

	without, _ := dynasession.New(server.Client(), dynasession.Config{})
	_, err = without.Read(ctx, id)
	fmt.Println(errors.Is(err, dynasession.ErrCorrupt))
	// Output:
	// dynasession.Config{EncryptionKeys: [2 keys]}
	// {"card":"4111"} <nil>
	// true
}

// An Observer sees each operation, with what it cost: for metrics and traces.
func ExampleConfig_observer() {
	store := exampleStore(dynasession.Config{
		Observer: func(_ context.Context, e dynasession.Event) {
			fmt.Printf("%s: %v read, %v written, error %v\n", e.Op, e.ReadUnits, e.WriteUnits, e.Err)
		},
	})
	v := visitor(store.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if sess, err := dynasession.Load(r.Context()); err == nil {
			sess.Set("seen", true)
		}
	})))
	v.get("/")
	v.get("/") // the same value: nothing is written
	// Output:
	// save: 0 read, 1 written, error <nil>
	// load: 1 read, 0 written, error <nil>
}

// An ErrorHandler answers in the application's own words. It is called when a session could
// not be loaded, or what a handler changed could not be saved.
func ExampleConfig_errorHandler() {
	server := dynamotest.NewServer()
	store, _ := dynasession.New(server.Client(), dynasession.Config{
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			switch {
			case errors.Is(err, dynasession.ErrGone):
				http.Error(w, "You have signed out.", http.StatusUnauthorized)
			case errors.Is(err, dynasession.ErrConflict), errors.Is(err, dynasession.ErrLockLost):
				http.Error(w, "Somebody was faster. Please look again.", http.StatusConflict)
			case errors.Is(err, dynasession.ErrUnavailable), errors.Is(err, dynasession.ErrLocked):
				w.Header().Set("Retry-After", "2")
				http.Error(w, "Please try again in a moment.", http.StatusServiceUnavailable)
			case errors.Is(err, dynasession.ErrTooLarge):
				http.Error(w, "Your cart is full.", http.StatusRequestEntityTooLarge)
			case errors.Is(err, dynasession.ErrTable):
				http.Error(w, "We have a problem: the table.", http.StatusInternalServerError)
			default: // ErrCorrupt, a value that does not encode, …
				http.Error(w, "We have a problem.", http.StatusInternalServerError)
			}
		},
	})
	v := visitor(store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.Set("a", 1)
		fmt.Fprint(w, "saved") // nobody made the table: this is not sent
	})))
	fmt.Println(v.get("/"))
	// Output: We have a problem: the table.
}

// Overlapping requests of one session can take turns instead of being merged: like PHP.
func ExampleConcurrency() {
	store := exampleStore(dynasession.Config{
		Concurrency: dynasession.Lock, // or Merge, the default, or LastWriteWins
		LockWait:    dynasession.DefaultLockWait,
		LockLease:   2 * dynasession.DefaultLockLease, // above the slowest handler
	})
	v := visitor(store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sess, err := store.Load(r.Context()) // takes the lock; the save gives it up
		if err != nil {
			return
		}
		n, _ := dynasession.Get[int](sess, "n")
		sess.Set("n", n+1) // right under Lock; under Merge, Update loses no count
		fmt.Fprint(w, n+1)
	})))
	v.get("/")
	fmt.Println(v.get("/"))
	fmt.Println(dynasession.Merge, dynasession.Lock, dynasession.LastWriteWins)
	// Output:
	// 2
	// merge lock last-write-wins
}

// In a program: AWS's settings from the SDK's own chain, the table looked at before the first
// request comes.
func ExampleNew() {
	server := dynamotest.NewServer()
	defer server.Close()
	for name, value := range map[string]string{ // in this example only
		"AWS_ENDPOINT_URL_DYNAMODB": server.URL(), "AWS_REGION": "eu-central-1",
		"AWS_ACCESS_KEY_ID": "example", "AWS_SECRET_ACCESS_KEY": "example",
	} {
		defer setenv(name, value)()
	}

	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := dynasession.New(dynasession.NewClient(cfg), dynasession.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	if err := store.Open(ctx); errors.Is(err, dynasession.ErrTable) {
		fmt.Println("no right table; making it:", store.CreateTable(ctx))
	}
	fmt.Println(store.Open(ctx))
	// Output:
	// no right table; making it: <nil>
	// <nil>
}

// FromEnv takes AWS's settings and those of Config from the environment.
func ExampleFromEnv() {
	for name, value := range map[string]string{
		"AWS_REGION": "eu-central-1", "DYNASESSION_TABLE": "carts", "DYNASESSION_IDLE_TIMEOUT": "20m", "DYNASESSION_CONCURRENCY": "lock",
	} {
		defer setenv(name, value)()
	}
	_, err := dynasession.FromEnv(context.Background())
	fmt.Println(err)

	cfg, err := dynasession.ConfigFromEnv()
	fmt.Println(cfg, err)
	// Output:
	// <nil>
	// dynasession.Config{Table: carts, IdleTimeout: 20m0s, Concurrency: lock} <nil>
}

// CreateTable and Open are for set-up and start-up: the middleware needs neither.
func ExampleStore_CreateTable() {
	ctx := context.Background()
	store, _ := dynasession.New(dynamotest.NewServer().Client(), dynasession.Config{
		UserIndex:  "by-user",
		Attributes: dynasession.Attributes{ID: "pk", Expires: "ttl"}, // else id, expires, data, user
	})
	fmt.Println(errors.Is(store.Open(ctx), dynasession.ErrTable))
	fmt.Println(store.CreateTable(ctx))
	fmt.Println(store.Open(ctx))
	// Output:
	// true
	// <nil>
	// <nil>
}

// Open reports what is wrong with a table, and what to do.
func ExampleStore_Open() {
	store, _ := dynasession.New(dynamotest.NewServer().Client(), dynasession.Config{Table: "carts"})
	err := store.Open(context.Background())
	text, _, _ := strings.Cut(err.Error(), "; ")
	fmt.Println(text)
	// Output: dynasession: the table is not usable: DescribeTable: no table (or index) "carts" in this account and the region us-east-1
}

// The middleware wraps a whole application. Requests that do not load their session cost
// nothing: no call, no cookie.
func ExampleStore_Middleware() {
	server := dynamotest.NewServer()
	store, _ := dynasession.New(server.Client(), dynasession.Config{})
	_ = store.CreateTable(context.Background())

	mux := http.NewServeMux()
	mux.HandleFunc("GET /static", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "body {}") })
	mux.HandleFunc("GET /cart", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		dynasession.Update(sess, "cart", func(cart []string) []string { return append(cart, "tea") })
		cart, _ := dynasession.Get[[]string](sess, "cart")
		fmt.Fprint(w, cart)
	})
	v := visitor(store.Middleware(mux))
	calls := func(path string) {
		server.ResetCalls()
		body := v.get(path)
		var names []string
		for _, c := range server.Calls() {
			names = append(names, c.Operation)
		}
		fmt.Println(body, names)
	}
	calls("/static")
	calls("/cart")
	calls("/cart")
	// Output:
	// body {} []
	// [tea] [PutItem]
	// [tea tea] [GetItem UpdateItem]
}

// Two stores, nested: a session for the browser, and a short one for what is precious. The
// function Load returns the innermost's, the methods each store's own.
func ExampleStore_Load() {
	shop := exampleStore(dynasession.Config{Name: "shop"})
	admin := exampleStore(dynasession.Config{Name: "admin", Lifetime: 15 * time.Minute})

	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outer, err := shop.Load(r.Context())
		if err != nil {
			return
		}
		inner, err := admin.Load(r.Context())
		if err != nil {
			return
		}
		innermost, _ := dynasession.Load(r.Context())
		outer.Set("theme", "dark")
		inner.SetUser("root")
		fmt.Fprint(w, innermost == inner)
	})
	v := visitor(shop.Middleware(admin.Middleware(handler)))
	fmt.Println(v.get("/"))
	fmt.Println(v.cookieNames())
	// Output:
	// true
	// [__Host-Http-admin __Host-Http-shop]
}

// A handler that gets an error just returns: the middleware answers.
func ExampleLoad() {
	server := dynamotest.NewServer()
	store, _ := dynasession.New(server.Client(func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 }),
		dynasession.Config{Logger: slog.New(slog.DiscardHandler)})
	_ = store.CreateTable(context.Background())
	v := visitor(store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.Set("name", "Alice")
		fmt.Fprint(w, "Hello!")
	})))
	fmt.Println(v.get("/"))
	server.Close() // from here on, as if the network were down
	fmt.Println(v.get("/"))

	_, err := dynasession.Load(context.Background())
	fmt.Println(errors.Is(err, dynasession.ErrNoMiddleware))
	// Output:
	// Hello!
	// Service Unavailable
	// true
}

// Wrong: what is changed after the response was written comes too late. Of a new session
// nothing is stored, since its cookie can't be sent any more; that is logged. Change first,
// then write.
func ExampleLoad_incorrect() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.LevelKey || a.Key == slog.MessageKey {
				return a
			}
			return slog.Attr{}
		},
	}))
	store := exampleStore(dynasession.Config{Logger: log})
	v := visitor(store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		fmt.Fprintln(w, "Welcome!")
		sess.Set("welcomed", true) // too late
	})))
	v.get("/")
	fmt.Println("cookies:", v.cookieNames())
	// Output:
	// level=ERROR msg="dynasession: a change after the response's headers is lost"
	// cookies: []
}

// Get returns a copy: changing it changes nothing, until it is set.
func ExampleGet() {
	withSession(func(sess *dynasession.Session) {
		sess.Set("cart", []string{"tea"})
		cart, ok := dynasession.Get[[]string](sess, "cart")
		cart[0] = "coffee"
		again, _ := dynasession.Get[[]string](sess, "cart")
		_, isText := dynasession.Get[string](sess, "cart")
		fmt.Println(cart, ok, again, isText)
	})
	// Output: [coffee] true [tea] false
}

// Update loses no change, also when two requests change the same key at once: its function
// runs again on the newer value.
func ExampleUpdate() {
	store := exampleStore(dynasession.Config{})
	var other func() // another tab's request
	mux := http.NewServeMux()
	mux.HandleFunc("/add/{item}", func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		item := r.PathValue("item")
		dynasession.Update(sess, "cart", func(cart []string) []string { return append(cart, item) })
		if item == "tea" {
			other()
		}
	})
	mux.HandleFunc("/cart", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		cart, _ := dynasession.Get[[]string](sess, "cart")
		fmt.Fprint(w, cart)
	})
	v := visitor(store.Middleware(mux))
	v.get("/add/cups")
	other = func() { v.get("/add/milk") } // while the request for tea is under way
	v.get("/add/tea")
	fmt.Println(v.get("/cart"))
	// Output: [cups milk tea]
}

// Pop is for what counts once. Of two requests that pop the same value, one is saved, and the
// other's response is that of ErrConflict.
func ExamplePop() {
	withSession(func(sess *dynasession.Session) {
		sess.Set("token", "pay-once")
		token, ok := dynasession.Pop[string](sess, "token")
		fmt.Println(token, ok)
		_, ok = dynasession.Pop[string](sess, "token")
		fmt.Println(ok)
	})
	// Output:
	// pay-once true
	// false
}

// Flash messages survive a redirect, and are shown once.
func ExampleFlashes() {
	store := exampleStore(dynasession.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/save", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.AddFlash("Saved.")
		sess.AddFlash("You have 2 letters.")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		for _, text := range dynasession.Flashes[string](sess) {
			fmt.Fprint(w, text, " ")
		}
	})
	v := visitor(store.Middleware(mux))
	v.get("/save")
	fmt.Printf("%q\n", v.get("/"))
	fmt.Printf("%q\n", v.get("/"))
	// Output:
	// "Saved. You have 2 letters. "
	// ""
}

// Decode tells apart what Get does not: no value, and one of another type.
func ExampleSession_Decode() {
	withSession(func(sess *dynasession.Session) {
		sess.Set("age", 42)
		sess.Set("note", "x")
		sess.Delete("note")
		var age int
		fmt.Println(sess.Decode("age", &age), age)
		var name string
		fmt.Println(errors.Is(sess.Decode("name", &name), dynasession.ErrNoKey))
		fmt.Println(sess.Decode("age", &name))
		fmt.Println(sess.Keys(), sess.Has("age"), sess.Has("note"))
	})
	// Output:
	// <nil> 42
	// true
	// dynasession: key "age": does not decode as string: at offset 2, no value for a Go string
	// [age] true false
}

// SetUser changes the session's id: one that somebody knew before the sign-in is worth
// nothing (session fixation).
func ExampleSession_SetUser() {
	store := exampleStore(dynasession.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/cart", func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.Set("cart", "tea")
	})
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.SetUser("alice") // after the password was checked
	})
	mux.HandleFunc("/pay", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		if sess.User() == "" || time.Since(sess.AuthTime()) > 10*time.Minute {
			http.Error(w, "Please sign in again.", http.StatusUnauthorized)
			return
		}
		cart, _ := dynasession.Get[string](sess, "cart")
		fmt.Fprintf(w, "%s pays for %s", sess.User(), cart)
	})
	v := visitor(store.Middleware(mux))
	v.get("/cart")
	before := v.cookies["__Host-Http-session"]
	fmt.Println(v.get("/pay"))
	v.get("/login")
	fmt.Println(v.get("/pay"))
	fmt.Println("same id:", before == v.cookies["__Host-Http-session"])
	// Output:
	// Please sign in again.
	// alice pays for tea
	// same id: false
}

// Renew is for other changes of privilege than a sign-in: the old id ends.
func ExampleSession_Renew() {
	store := exampleStore(dynasession.Config{})
	v := visitor(store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		before := sess.ID() // secret; "" as long as nothing is stored
		sess.Set("admin", true)
		sess.Renew()
		if err := sess.Save(r.Context()); err != nil {
			return
		}
		fmt.Fprintln(w, sess.ID() != before, len(sess.Ref()))
	})))
	v.get("/")
	fmt.Print(v.get("/"))
	// Output: true 16
}

// "Remember me" lets one session last longer than Config says, used or not.
func ExampleSession_Remember() {
	withSession(func(sess *dynasession.Session) {
		lasts := func() time.Duration { return sess.Expires().Sub(sess.Created()).Round(time.Minute) }
		fmt.Println(lasts())
		sess.Remember(30 * 24 * time.Hour)
		fmt.Println(lasts())
		sess.Remember(0) // no longer
		fmt.Println(lasts())
	})
	// Output:
	// 1h0m0s
	// 720h0m0s
	// 1h0m0s
}

// LimitTo ends a session no later than what it rests on: here an identity provider's token.
// Remember does not pass it.
func ExampleSession_LimitTo() {
	withSession(func(sess *dynasession.Session) {
		tokenEnds := time.Now().Add(10 * time.Minute)
		sess.SetUser("alice")
		sess.LimitTo(tokenEnds)
		sess.Remember(30 * 24 * time.Hour)
		fmt.Println(sess.Expires().Sub(sess.Created()).Round(time.Minute))
	})
	// Output: 10m0s
}

// A stream sends its headers early: Save stores what there is before them, and again later.
func ExampleSession_Save() {
	store := exampleStore(dynasession.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.Set("position", 0)
		if err := sess.Save(r.Context()); err != nil { // puts the new cookie into the header
			http.Error(w, "no session", http.StatusServiceUnavailable)
			return
		}
		for i := 1; i <= 3; i++ {
			fmt.Fprintln(w, "event", i)
			_ = http.NewResponseController(w).Flush()
			sess.Set("position", i)
			if err := sess.Save(r.Context()); err != nil {
				return // signed out elsewhere, say: ErrGone
			}
		}
	})
	mux.HandleFunc("/position", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		position, _ := dynasession.Get[int](sess, "position")
		fmt.Fprint(w, sess.IsNew(), position)
	})
	v := visitor(store.Middleware(mux))
	fmt.Println(v.get("/events"))
	fmt.Println(v.get("/position"))
	// Output:
	// event 1
	// event 2
	// event 3
	// false 3
}

// Destroy signs out: the item is deleted, the cookie cleared. What is set afterwards starts a
// new session, here for the farewell.
func ExampleSession_Destroy() {
	store := exampleStore(dynasession.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.SetUser("alice")
	})
	mux.HandleFunc("/logout", func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.Destroy()
		sess.AddFlash("Good-bye!")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		fmt.Fprintf(w, "user %q, messages %v", sess.User(), dynasession.Flashes[string](sess))
	})
	v := visitor(store.Middleware(mux))
	v.get("/login")
	fmt.Println(v.get("/"))
	v.get("/logout")
	fmt.Println(v.get("/"))
	// Output:
	// user "alice", messages []
	// user "", messages [Good-bye!]
}

// Start is for what is not net/http: here, for commands that carry a token. The answer to a command holds the new token,
// if there is one.
func ExampleStore_Start() {
	store := exampleStore(dynasession.Config{})
	ctx := context.Background()
	run := func(token string, command func(*dynasession.Session)) (newToken string, err error) {
		sess, err := store.Start(ctx, token)
		if err != nil {
			return "", err
		}
		defer sess.Close()
		command(sess)
		if err := sess.Save(ctx); err != nil {
			return "", err
		}
		if c := sess.Cookie(); c != nil {
			return c.Value, nil
		}
		return token, nil
	}
	token, _ := run("", func(s *dynasession.Session) { s.Set("cart", []string{"book"}) })
	signedIn, _ := run(token, func(s *dynasession.Session) { s.SetUser("alice") })
	fmt.Println(signedIn != token)
	_, _ = run(signedIn, func(s *dynasession.Session) {
		cart, _ := dynasession.Get[[]string](s, "cart")
		fmt.Println(s.User(), cart)
	})
	// Output:
	// true
	// alice [book]
}

// A framework with a header of its own takes over these lines.
func ExampleSession_SetHeaders() {
	store := exampleStore(dynasession.Config{})
	ctx := context.Background()
	sess, err := store.Start(ctx)
	if err != nil {
		fmt.Println(err) // a real program answers with 503
		return
	}
	defer sess.Close()
	sess.SetUser("alice")
	if err := sess.Save(ctx); err != nil {
		fmt.Println(err)
		return
	}
	h := http.Header{}
	sess.SetHeaders(h)
	fmt.Println(len(h["Set-Cookie"]), h["Cache-Control"])
	// Output:
	// 1 [private, no-store]
}

// A framework that is not built on net/http finds the cookies by their name.
func ExampleStore_CookieName() {
	fmt.Println(exampleStore(dynasession.Config{}).CookieName())
	// Output: __Host-Http-session
}

// The cookie of a session of Start is set by its caller.
func ExampleSession_Cookie() {
	ctx := context.Background()
	sess, _ := exampleStore(dynasession.Config{}).Start(ctx)
	sess.Set("cart", []string{"book"})
	fmt.Println(sess.Cookie())
	_ = sess.Save(ctx)
	c := sess.Cookie()
	fmt.Println(c.Name, c.Secure, c.HttpOnly, c.Value == sess.ID())
	// Output:
	//
	// __Host-Http-session true true true
}

// Close reports changes that nobody has saved.
func ExampleSession_Close() {
	sess, _ := exampleStore(dynasession.Config{}).Start(context.Background())
	sess.Set("cart", []string{"book"})
	fmt.Println(sess.Close() != nil)
	// Output: true
}

// A page can tell somebody whose session has expired from a first visit.
func ExampleSession_Ended() {
	store := exampleStore(dynasession.Config{})
	v := visitor(store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		switch {
		case err != nil:
			return
		case sess.Ended():
			fmt.Fprint(w, "your session has expired")
		case sess.IsNew():
			sess.Set("seen", true)
			fmt.Fprint(w, "welcome")
		}
	})))
	fmt.Println(v.get("/"))
	for i := range store.All(context.Background()) {
		_ = store.End(context.Background(), i)
	}
	fmt.Println(v.get("/"))
	// Output:
	// welcome
	// your session has expired
}

// The deadline is when the user must sign in again, whatever happens.
func ExampleSession_Deadline() {
	sess, _ := exampleStore(dynasession.Config{}).Start(context.Background())
	fmt.Println(time.Until(sess.Deadline()).Round(time.Hour))
	sess.LimitTo(time.Now().Add(2 * time.Hour)) // the end of an access token
	fmt.Println(time.Until(sess.Deadline()).Round(time.Hour))
	// Output:
	// 24h0m0s
	// 2h0m0s
}

// Before something precious, a session that is not bound to a device needs a recent sign-in.
func ExampleSession_DeviceBound() {
	withSession(func(sess *dynasession.Session) {
		sess.SetUser("alice")
		recent := time.Since(sess.AuthTime()) < 10*time.Minute
		fmt.Println(sess.DeviceBound(), sess.DeviceBound() || recent)
	})
	// Output: false true
}

// All answers "who is signed in?", by reading the whole table.
func ExampleStore_All() {
	store := exampleStore(dynasession.Config{})
	ctx := context.Background()
	for _, user := range []string{"alice", "bob", "alice"} {
		sess, _ := store.Start(ctx)
		sess.SetUser(user)
		_ = sess.Save(ctx)
	}
	count := map[string]int{}
	for i, err := range store.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		count[i.User]++
	}
	fmt.Println(count)
	// Output: map[alice:2 bob:1]
}

// End signs one browser out.
func ExampleStore_End() {
	store := exampleStore(dynasession.Config{})
	ctx := context.Background()
	sess, _ := store.Start(ctx)
	sess.SetUser("alice")
	_ = sess.Save(ctx)
	for i := range store.All(ctx) {
		if i.Ref == sess.Ref() {
			fmt.Println(store.End(ctx, i))
		}
	}
	ok, _ := store.ValidateID(ctx, sess.ID())
	fmt.Println(ok)
	// Output:
	// <nil>
	// false
}

// Close is there for SaveHandler: a Store holds nothing that has to be closed.
func ExampleStore_Close() {
	fmt.Println(exampleStore(dynasession.Config{}).Close())
	// Output: <nil>
}

// "Your devices": the list of a user's sessions, and "sign out everywhere else".
func ExampleStore_UserSessions() {
	store := exampleStore(dynasession.Config{UserIndex: "by-user"})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.SetUser("alice")
	})
	mux.HandleFunc("/devices", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		infos, err := store.UserSessions(r.Context(), sess.User())
		if err != nil {
			http.Error(w, "no list", http.StatusServiceUnavailable)
			return
		}
		others := 0
		for _, info := range infos {
			if info.Ref == sess.Ref() {
				fmt.Fprintf(w, "%s is signed in here, ", info.User)
			} else {
				others++
			}
		}
		fmt.Fprintf(w, "and on %d other device(s)", others)
	})
	phone, laptop := visitor(store.Middleware(mux)), visitor(store.Middleware(mux))
	phone.get("/login")
	laptop.get("/login")
	fmt.Println(laptop.get("/devices"))
	// Output: alice is signed in here, and on 1 other device(s)
}

// Decode reads what the sessions of a list say: here the device of each.
func ExampleInfo_Decode() {
	store := exampleStore(dynasession.Config{UserIndex: "by-user"})
	v := visitor(store.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.SetUser("alice")
		sess.Set("device", "phone")
	})))
	v.get("/")
	infos, err := store.UserSessions(context.Background(), "alice")
	if err != nil || len(infos) != 1 {
		fmt.Println(err)
		return
	}
	var device string
	fmt.Println(infos[0].Decode("device", &device), device)
	fmt.Println(errors.Is(infos[0].Decode("city", new(string)), dynasession.ErrNoKey))
	// Output:
	// <nil> phone
	// true
}

// Keys tells what a listed session holds, without its flash messages.
func ExampleInfo_Keys() {
	store, ctx := exampleStore(dynasession.Config{}), context.Background()
	sess, _ := store.Start(ctx)
	sess.Set("device", "phone")
	sess.Set("cart", []string{"book"})
	sess.AddFlash("welcome")
	_ = sess.Save(ctx)
	for i := range store.All(ctx) {
		fmt.Println(i.Keys())
	}
	// Output: [cart device]
}

// Keys returns the keys in order, without those of flash messages.
func ExampleSession_Keys() {
	withSession(func(sess *dynasession.Session) {
		sess.Set("device", "phone")
		sess.Set("cart", []string{"book"})
		sess.AddFlash("welcome")
		fmt.Println(sess.Keys())
	})
	// Output: [cart device]
}

// DestroyUser ends a user's sessions: after a change of the password all but this one.
func ExampleStore_DestroyUser() {
	store := exampleStore(dynasession.Config{UserIndex: "by-user"})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.SetUser("alice")
	})
	mux.HandleFunc("/password", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		this := sess.Ref()
		ended, err := store.DestroyUser(r.Context(), sess.User(), func(i dynasession.Info) bool { return i.Ref == this })
		fmt.Fprintln(w, ended, "other sessions ended, error", err)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		fmt.Fprintf(w, "%q\n", sess.User())
	})
	phone, laptop := visitor(store.Middleware(mux)), visitor(store.Middleware(mux))
	phone.get("/login")
	laptop.get("/login")
	fmt.Println(laptop.get("/password"))
	fmt.Println(laptop.get("/"), phone.get("/"))
	// Output:
	// 1 other sessions ended, error <nil>
	// "alice" ""
}

// The verbs of PHP's SessionHandlerInterface, without a browser: for tools, and for other
// protocols than HTTP.
func ExampleSaveHandler() {
	store := exampleStore(dynasession.Config{})
	ctx := context.Background()
	var handler dynasession.SaveHandler = store

	id := store.CreateID()
	fmt.Println(handler.Write(ctx, id, []byte(`{"user":"alice"}`)))
	data, err := handler.Read(ctx, id)
	fmt.Println(string(data), err)
	fmt.Println(store.UpdateTimestamp(ctx, id)) // used again: the idle time starts anew
	fmt.Println(store.ValidateID(ctx, id))
	fmt.Println(handler.Destroy(ctx, id))
	fmt.Println(store.ValidateID(ctx, id))
	// Output:
	// <nil>
	// {"user":"alice"} <nil>
	// <nil>
	// true <nil>
	// <nil>
	// false <nil>
}

// Read returns the bytes that the codec made; no session, and one that has expired, are errors.
func ExampleStore_Read() {
	store := exampleStore(dynasession.Config{})
	ctx := context.Background()
	_, err := store.Read(ctx, store.CreateID())
	fmt.Println(errors.Is(err, dynasession.ErrNotFound))
	_, err = store.Read(ctx, "../../etc/passwd")
	fmt.Println(errors.Is(err, dynasession.ErrInvalidID))
	// Output:
	// true
	// true
}

// Write makes or replaces a session, merging nothing.
func ExampleStore_Write() {
	store := exampleStore(dynasession.Config{})
	ctx, id := context.Background(), store.CreateID()
	fmt.Println(store.Write(ctx, id, []byte(`{"a":1}`)))
	fmt.Println(store.Write(ctx, id, []byte(`{"b":2}`)))
	data, _ := store.Read(ctx, id)
	fmt.Println(string(data))
	// Output:
	// <nil>
	// <nil>
	// {"b":2}
}

// Destroy ends a session whose id is known. It may be gone already.
func ExampleStore_Destroy() {
	store := exampleStore(dynasession.Config{})
	fmt.Println(store.Destroy(context.Background(), store.CreateID()))
	// Output: <nil>
}

// A daily job where DynamoDB's TTL is too slow, or off. A dry run counts first.
func ExampleStore_Sweep() {
	store := exampleStore(dynasession.Config{})
	ctx := context.Background()
	for range 3 {
		_ = store.Write(ctx, store.CreateID(), []byte(`{}`))
	}
	stats, err := store.Sweep(ctx, dynasession.SweepOptions{
		MaxLifetime:    30 * time.Minute, // also what nobody has used for so long
		DryRun:         true,
		Segments:       2,
		UnitsPerSecond: 500, // leaves the rest of the table's capacity to the application
		Progress:       func(dynasession.SweepStats) { /* a line of a log, after each page */ },
	})
	fmt.Println(stats.Scanned, stats.Expired, stats.Deleted, err)
	// Output: 3 0 0 <nil>
}

// GC is PHP's gc. It reads the whole table; DynamoDB's TTL does the same and costs nothing.
func ExampleStore_GC() {
	store := exampleStore(dynasession.Config{})
	deleted, err := store.GC(context.Background(), 0)
	fmt.Println(deleted, err)
	// Output: 0 <nil>
}

// strictJSON refuses what a type has no field for.
type strictJSON struct{ dynasession.JSON }

func (strictJSON) Unmarshal(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if dec.Decode(v) != nil {
		return fmt.Errorf("does not decode as %T", v) // not the cause, which quotes the data
	}
	return nil
}

// A Codec of one's own can build on JSON and change one thing.
func ExampleCodec() {
	store := exampleStore(dynasession.Config{Codec: strictJSON{}})
	v := visitor(store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		sess.Set("cart", map[string]int{"Tea": 2, "Milk": 1})
		var cart struct{ Tea int }
		fmt.Fprint(w, sess.Decode("cart", &cart))
	})))
	fmt.Println(v.get("/"))
	// Output: dynasession: key "cart": does not decode as *struct { Tea int }
}

// JSON splits what another program has written, and leaves what it does not touch as it is.
func ExampleJSON() {
	var codec dynasession.JSON
	values, err := codec.Split([]byte(`{ "price": 1.50, "user": "alice" }`))
	if err != nil {
		fmt.Println(err)
		return
	}
	var user string
	_ = codec.Unmarshal(values[1].Value, &user)
	values[1].Value, _ = codec.Marshal(strings.ToUpper(user))
	values = append(values, dynasession.KeyValue{Key: "vip", Value: []byte("true")})
	data, err := codec.Join(values)
	fmt.Println(string(data), err)
	// Output: {"price":1.50,"user":"ALICE","vip":true} <nil>
}

// exampleStore makes a store with a table of its own, in the process.
func exampleStore(cfg dynasession.Config) *dynasession.Store {
	store, err := dynasession.New(dynamotest.NewServer().Client(), cfg)
	if err == nil {
		err = store.CreateTable(context.Background())
	}
	if err != nil {
		fmt.Println(err)
	}
	return store
}

// withSession runs f as a handler.
func withSession(f func(*dynasession.Session)) {
	store := exampleStore(dynasession.Config{})
	visitor(store.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if sess, err := dynasession.Load(r.Context()); err == nil {
			f(sess)
		}
	}))).get("/")
}

// exampleVisitor is a browser with cookies.
type exampleVisitor struct {
	handler http.Handler
	cookies map[string]string
}

func visitor(h http.Handler) *exampleVisitor { return &exampleVisitor{h, map[string]string{}} }

func (v *exampleVisitor) get(path string) string {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	v.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if v.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		}
	}
	return strings.TrimSuffix(w.Body.String(), "\n")
}

func (v *exampleVisitor) cookieNames() []string {
	return slices.Sorted(maps.Keys(v.cookies))
}

func setenv(name, value string) (undo func()) {
	before, was := os.LookupEnv(name)
	os.Setenv(name, value)
	return func() {
		if was {
			os.Setenv(name, before)
		} else {
			os.Unsetenv(name)
		}
	}
}
