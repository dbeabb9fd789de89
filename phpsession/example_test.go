package phpsession_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/phpsession"
)

// exampleID is what PHP has in the browser's cookie.
const exampleID = "4c1bd2cj2tqp5g3u9r0k7ea8vo"

// visit makes a store as the examples need it, with a session that PHP has stored, and a request of that session's
// browser. It returns what the session is afterwards.
func visit(cfg dynasession.Config, php string, handler http.HandlerFunc) string {
	ctx := context.Background()
	db := dynamotest.NewServer()
	defer db.Close()
	store, err := dynasession.New(db.Client(), cfg)
	if err != nil {
		return err.Error()
	}
	if err := store.CreateTable(ctx); err != nil {
		return err.Error()
	}
	if err := store.Write(ctx, exampleID, []byte(php)); err != nil {
		return err.Error()
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://shop.example.com/", http.NoBody)
	r.AddCookie(&http.Cookie{Name: cfg.Cookie.Name, Value: exampleID})
	store.Middleware(handler).ServeHTTP(httptest.NewRecorder(), r)
	data, err := store.Read(ctx, exampleID)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// The user who signed in at PHP is signed in here. What PHP keeps, and Go has no use for, stays as it is.
func Example() {
	handler := func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return // the middleware answers
		}
		var user struct {
			ID    int    `php:"id"`
			Email string `php:"email"`
		}
		if err := sess.Decode("user", &user); err != nil {
			return
		}
		fmt.Println(user.ID, user.Email)
		sess.Set("seen", []string{"intro"})
	}
	after := visit(phpsession.Config("PHPSESSID"),
		`user|O:4:"User":2:{s:2:"id";i:7;s:5:"email";s:15:"ada@example.com";}`, handler)
	fmt.Println(after)
	// Output:
	// 7 ada@example.com
	// user|O:4:"User":2:{s:2:"id";i:7;s:5:"email";s:15:"ada@example.com";}seen|a:1:{i:0;s:5:"intro";}
}

// A table that a PHP application writes with these settings of the AWS SDK for PHP:
//
//	'table_name' => 'app_sessions', 'hash_key' => 'sid', 'data_attribute_type' => 'binary',
//	'session_lifetime' => 7200, 'locking' => true, 'max_lock_wait_time' => 5
//
// and session.serialize_handler = php_serialize.
func ExampleConfig() {
	cfg := phpsession.Config("SHOP")
	cfg.Table = "app_sessions"
	cfg.Attributes.ID = "sid"
	cfg.BinaryData = true
	cfg.IdleTimeout = 2 * time.Hour
	cfg.Concurrency = dynasession.Lock
	cfg.LockWait = 5 * time.Second
	cfg.Codec = phpsession.PHPSerialize{}

	after := visit(cfg, `a:1:{s:4:"cart";a:1:{i:0;i:4711;}}`, func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		dynasession.Update(sess, "cart", func(cart []int) []int { return append(cart, 4712) })
	})
	fmt.Println(after)
	// Output:
	// a:1:{s:4:"cart";a:2:{i:0;i:4711;i:1;i:4712;}}
}

func ExampleLookup() {
	visit(phpsession.Config("CAKEPHP"), `Auth|a:1:{s:4:"User";a:2:{s:2:"id";i:7;s:4:"role";s:5:"admin";}}`, func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		id, ok := phpsession.Lookup[int](sess, "Auth.User.id") // CakePHP: $session->read('Auth.User.id')
		fmt.Println(id, ok)
		_, ok = phpsession.Lookup[string](sess, "Auth.User.email")
		fmt.Println(ok)
	})
	// Output:
	// 7 true
	// false
}

// CakePHP 3 signs a user out when Config.time is too old, however much the user does at Go's pages: a middleware
// keeps that clock.
func ExampleKeepAlive() {
	keepAlive := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if sess, err := dynasession.Load(r.Context()); err == nil {
				phpsession.KeepAlive(sess, time.Minute)
			}
			next.ServeHTTP(w, r)
		})
	}
	page := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		last, _ := phpsession.Lookup[int64](sess, "Config.time")
		fmt.Println(time.Since(time.Unix(last, 0)) < time.Minute)
	})
	data := fmt.Sprintf(`Config|a:2:{s:4:"time";i:%d;s:7:"timeout";i:24;}`, time.Now().Add(-10*time.Minute).Unix())
	visit(phpsession.Config("CAKEPHP"), data, keepAlive(page).ServeHTTP)
	// Output:
	// true
}

// A Value changes what Go has no type for, and keeps the rest of it: classes, private properties, references.
func ExampleValue() {
	after := visit(phpsession.Config(""), "cart|O:4:\"Cart\":2:{s:11:\"\x00Cart\x00lines\";a:0:{}s:5:\"total\";d:0;}", func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return
		}
		dynasession.Update(sess, "cart", func(v phpsession.Value) phpsession.Value {
			if cart, ok := v.V.(*phpsession.Object); ok && cart.Class == "Cart" {
				cart.Get("total").V = 9.5
			}
			return v
		})
	})
	fmt.Printf("%q\n", after)
	// Output:
	// "cart|O:4:\"Cart\":2:{s:11:\"\x00Cart\x00lines\";a:0:{}s:5:\"total\";d:9.5;}"
}
