package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/examples/internal/embedded"
)

// openStore makes the store, on the embedded DynamoDB unless AWS's is wanted.
func openStore(ctx context.Context, aws, create bool) (*dynasession.Store, error) {
	cfg, err := dynasession.ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	cfg.UserIndex = cmp.Or(cfg.UserIndex, "by-user") // for "your devices"
	cfg.ErrorHandler = sorry
	cfg.Cookie.Insecure = true // over plain HTTP browsers drop Secure cookies; leave this out behind TLS

	var client *dynamodb.Client
	if embedded.Wanted(aws) {
		client, create = embedded.Client(), true
	} else {
		aws, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, err
		}
		client = dynasession.NewClient(aws)
		fmt.Printf("Running on the table %q of DynamoDB in AWS, which -create-table makes.\n", cmp.Or(cfg.Table, dynasession.DefaultTable))
	}
	store, err := dynasession.New(client, cfg)
	if err != nil {
		return nil, err
	}
	prepare := store.Open // tells what is wrong with the table
	if create {
		prepare = store.CreateTable
	}
	if err := prepare(ctx); err != nil {
		return nil, err
	}
	return store, nil
}

// sorry answers a request whose session could not be loaded or saved.
func sorry(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusServiceUnavailable, "Our database does not answer. What you did last may not be saved: please try again."
	switch {
	case errors.Is(err, dynasession.ErrGone):
		status, text = http.StatusConflict, "You have been signed out meanwhile, here or on another device."
	case errors.Is(err, dynasession.ErrConflict):
		status, text = http.StatusConflict, "Another tab has just changed the same thing. Please look, and try again."
	case !errors.Is(err, dynasession.ErrUnavailable):
		status, text = http.StatusInternalServerError, "Something is wrong on our side."
	}
	log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
	render(w, status, "sorry", view{Sorry: text})
}
