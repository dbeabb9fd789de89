// Lambda is a page that counts its visits, behind an AWS Lambda function URL. template.yaml makes the function and the table:
//
//	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build -o bootstrap .
//	sam deploy --guided
//
// A function URL streams the response, and passes cookies on as they are. The middleware works without changes: no server keeps
// anything, so every instance of the function serves every session.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/aws/aws-lambda-go/lambdaurl"

	"github.com/dynasession/dynasession"
)

func main() {
	ctx := context.Background()
	store, err := dynasession.FromEnv(ctx) // DYNASESSION_TABLE is in template.yaml
	if err != nil {
		log.Fatal(err)
	}
	// Not Open: it makes two calls at every cold start. A wrong table is ErrTable at the first request.
	lambdaurl.Start(handler(store))
}

func handler(store *dynasession.Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		sess, err := dynasession.Load(r.Context())
		if err != nil {
			return // the middleware answers
		}
		dynasession.Update(sess, "visits", func(n int) int { return n + 1 })
		visits, _ := dynasession.Get[int](sess, "visits")
		fmt.Fprintf(w, "This is visit %d of your browser.\n", visits)
	})
	return store.Middleware(mux)
}
