// Counter counts the visits of each browser. It needs no AWS account, unless -aws is given or
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
	aws := flag.Bool("aws", false, "use DynamoDB in AWS, with the AWS settings of this machine")
	flag.Parse()
	ctx := context.Background()
	store, err := openStore(ctx, *aws)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Open(ctx); err != nil { // returns an error if the table cannot be used
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
	cfg.Cookie.Insecure = true // browsers drop Secure cookies over plain HTTP; remove this line behind TLS
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
		return // the middleware responds with the error
	}
	// Two visits at the same moment both count. If another request was first, Update runs the function
	// again on the new value.
	dynasession.Update(sess, "visits", func(n int) int { return n + 1 })
	visits, _ := dynasession.Get[int](sess, "visits")
	fmt.Fprintf(w, "Visit %d.\n", visits)
}
