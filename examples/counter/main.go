// Counter counts how often each browser has visited it. It needs no AWS, unless -aws is given or
// DYNASESSION_TABLE is set.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/examples/internal/embedded"
)

func main() {
	aws := flag.Bool("aws", false, "use DynamoDB in AWS, as the AWS settings say")
	flag.Parse()
	ctx := context.Background()
	store, err := openStore(ctx, *aws)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Open(ctx); err != nil { // tells at once what is wrong with the table
		log.Fatal(err)
	}
	srv := &http.Server{Addr: "localhost:8080", Handler: handler(store), ReadHeaderTimeout: 5 * time.Second}
	fmt.Println("http://" + srv.Addr)
	log.Fatal(srv.ListenAndServe())
}

func openStore(ctx context.Context, aws bool) (*dynasession.Store, error) {
	cfg, err := dynasession.ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	cfg.Cookie.Insecure = true // over plain HTTP browsers drop Secure cookies; leave this out behind TLS
	if !embedded.Wanted(aws) {
		settings, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, err
		}
		fmt.Println("Running on DynamoDB in AWS.")
		return dynasession.New(dynasession.NewClient(settings), cfg)
	}
	store, err := dynasession.New(embedded.Client(), cfg)
	if err != nil {
		return nil, err
	}
	if err := store.CreateTable(ctx); err != nil {
		return nil, err
	}
	return store, nil
}

func handler(store *dynasession.Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", visit)
	return store.Middleware(mux)
}

func visit(w http.ResponseWriter, r *http.Request) {
	sess, err := dynasession.Load(r.Context())
	if err != nil {
		return // the middleware answers
	}
	// Two visits at the same moment both count: Update runs its function again if it must.
	dynasession.Update(sess, "visits", func(n int) int { return n + 1 })
	visits, _ := dynasession.Get[int](sess, "visits")
	fmt.Fprintf(w, "Visit %d.\n", visits)
}
