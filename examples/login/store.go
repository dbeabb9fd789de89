package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/examples/internal/embedded"
)

// openStore opens the store. It uses the embedded DynamoDB unless the user asked for DynamoDB in AWS.
func openStore(ctx context.Context, aws, create, secure bool, j *journal) (*dynasession.Store, error) {
	cfg, err := dynasession.ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	cfg.UserIndex = cmp.Or(cfg.UserIndex, "by-user") // for the page "Your devices"
	cfg.ErrorHandler = sorry
	cfg.Observer = j.observe
	if secure {
		cfg.DeviceBound = 10 * time.Minute
	} else {
		cfg.Cookie.Insecure = true // browsers drop Secure cookies over plain HTTP; remove this line behind TLS
	}

	var client *dynamodb.Client
	if embedded.Wanted(aws) {
		client, create = embedded.Client(), true
	} else {
		aws, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, err
		}
		client = dynasession.NewClient(aws)
		fmt.Printf("Running on the table %q of DynamoDB in AWS. The flag -create-table creates it.\n",
			cmp.Or(cfg.Table, dynasession.DefaultTable))
	}
	store, err := dynasession.New(dynamodb.New(client.Options(), j.watch), cfg)
	if err != nil {
		return nil, err
	}
	prepare := store.Open // returns an error if the table cannot be used
	if create {
		prepare = store.CreateTable
	}
	if err := prepare(ctx); err != nil {
		return nil, err
	}
	return store, nil
}

// sorry responds to a request whose session could not be loaded or saved.
func sorry(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusServiceUnavailable,
		"Our database does not respond. Your last change may not be saved. Please try again."
	switch {
	case errors.Is(err, dynasession.ErrGone):
		status, text = http.StatusConflict, "You have been signed out in the meantime, on this device or another one."
	case errors.Is(err, dynasession.ErrConflict):
		status, text = http.StatusConflict, "Another tab has just changed the same thing. Please check and try again."
	case !errors.Is(err, dynasession.ErrUnavailable):
		status, text = http.StatusInternalServerError, "Something went wrong on our side."
	}
	log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
	render(w, status, "sorry", view{Sorry: text})
}
