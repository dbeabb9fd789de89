// Earlier does one thing with the sessions of a table, by the version of the package that it is built in.
// TestEarlierVersion builds it in one from before renewals left tombstones.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/dynasession/dynasession"
)

func main() {
	endpoint, table, policy, deed, id := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	var concurrency dynasession.Concurrency
	must(concurrency.UnmarshalText([]byte(policy)))
	store, err := dynasession.New(dynasession.NewClient(aws.Config{
		Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}), dynasession.Config{Table: table, Concurrency: concurrency})
	must(err)
	ctx := context.Background()
	switch deed {
	case "read":
		_, err = store.Read(ctx, id)
	case "touch":
		err = store.UpdateTimestamp(ctx, id)
	case "write":
		err = store.Write(ctx, id, []byte(`{"written":true}`))
	case "sweep":
		var stats dynasession.SweepStats
		stats, err = store.Sweep(ctx, dynasession.SweepOptions{})
		fmt.Println("deleted", stats.Deleted)
	default:
		request(store, deed, id)
		return
	}
	fmt.Println(err)
}

// request is one that loads the session, waits for a line, and then does its deed.
func request(store *dynasession.Store, deed, id string) {
	h := store.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		must(err)
		fmt.Println("new", sess.IsNew())
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		switch deed {
		case "set":
			sess.Set("earlier", true)
		case "login":
			sess.SetUser("earlier")
		case "logout":
			sess.Destroy()
		}
	}))
	r := httptest.NewRequest(http.MethodGet, "https://shop.example.com/", http.NoBody)
	r.AddCookie(&http.Cookie{Name: "__Host-session", Value: id})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code, len(w.Result().Cookies()))
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
