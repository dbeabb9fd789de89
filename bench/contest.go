package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dynasession/dynasession"
)

// idleTimeout is the IdleTimeout of scs, for the contestants that set one.
const idleTimeout = 30 * time.Minute

// contestant is a session library with the settings that it runs with.
type contestant struct {
	name    string
	short   string // label in the picture
	ends    string // the kind of timeout after which the store refuses to serve a session
	reads   string
	key     string // name of the table's hash key
	ours    *dynasession.Config
	handler func(db *dynamodb.Client, table string, people []person) http.Handler
}

// Short names that reports and tests look up.
const (
	ownDefault      = "dynasession"
	ownEventual     = "dynasession, EventualReads"
	ownUncompressed = "dynasession, NoCompression"
	scsIdle         = "scs, IdleTimeout, eventual reads"
)

const (
	strongReads   = "strong"
	eventualReads = "eventual"
	idleAndEnd    = "idle and absolute timeout"
	endOnly       = "absolute timeout"
	sinceChange   = "time since the last change"
	idleOnly      = "idle timeout"
)

func contestants() []contestant {
	own := func(name, short, reads string, cfg dynasession.Config) contestant {
		return contestant{name: name, short: short, ends: idleAndEnd, reads: reads, key: "id", ours: &cfg}
	}
	scs := func(name, short, ends string, strong bool, idle time.Duration) contestant {
		c := contestant{name: name, short: short, ends: ends, reads: eventualReads, key: tokenKey}
		if strong {
			c.reads = strongReads
		}
		c.handler = func(db *dynamodb.Client, table string, people []person) http.Handler {
			return scsSite(db, table, people, strong, idle)
		}
		return c
	}
	gorilla := func(name, short string, strong bool) contestant {
		c := contestant{name: name, short: short, ends: sinceChange, reads: eventualReads, key: "id"}
		if strong {
			c.reads = strongReads
		}
		c.handler = func(db *dynamodb.Client, table string, people []person) http.Handler {
			return gorillaSite(db, table, people, strong)
		}
		return c
	}
	php := func(name, short string, locking bool) contestant {
		return contestant{name: name, short: short, ends: idleOnly, reads: strongReads, key: "id", handler: func(db *dynamodb.Client, table string, people []person) http.Handler {
			return phpSite(db, table, people, locking)
		}}
	}
	return []contestant{
		own("dynasession", ownDefault, strongReads, dynasession.Config{}),
		own("dynasession, EventualReads", ownEventual, eventualReads, dynasession.Config{EventualReads: true}),
		own("dynasession, NoCompression", ownUncompressed, strongReads, dynasession.Config{NoCompression: true}),
		gorilla("gorilla/sessions 1.4.0, plain store", "gorilla/sessions, eventual reads", false),
		gorilla("gorilla/sessions 1.4.0, plain store", "gorilla/sessions, strong reads", true),
		scs("scs 2.9.0, plain store", "scs, eventual reads", endOnly, false, 0),
		scs("scs 2.9.0, plain store", "scs, strong reads", endOnly, true, 0),
		scs("scs 2.9.0, plain store, IdleTimeout", scsIdle, idleAndEnd, false, idleTimeout),
		scs("scs 2.9.0, plain store, IdleTimeout", "scs, IdleTimeout, strong reads", idleAndEnd, true, idleTimeout),
		php("AWS SDK for PHP 3.305's handler, model", "PHP handler", false),
		php("AWS SDK for PHP 3.305's handler, model, locking", "PHP handler, locking", true),
	}
}

// result is the outcome of one contestant's run.
type result struct {
	contestant
	tally
	requests int
	heap     uint64 // bytes in use after the run and a garbage collection
}

func (r *result) perThousand(n float64) float64 { return n * 1000 / float64(r.requests) }

// cost returns the price of a million requests in dollars.
func (r *result) cost() float64 {
	return dollars(r.ReadUnits, r.WriteUnits) * 1e6 / float64(r.requests)
}

func newClient(endpoint string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", ""),
	})
}

// run drives the trace through c. It creates a table for the run, and first fills it with stock
// other sessions.
func run(ctx context.Context, endpoint string, c contestant, people []person, stock int) (*result, error) {
	direct := newClient(endpoint)
	table := fmt.Sprintf("bench-%d", time.Now().UnixNano())
	if err := createTable(ctx, direct, table, c.key); err != nil {
		return nil, err
	}
	if stock > 0 {
		if err := fill(ctx, direct, table, c.key, stock, stock); err != nil {
			return nil, err
		}
	}
	counter := newProxy(endpoint, true)
	server := httptest.NewServer(counter)
	defer server.Close()
	handler, err := c.site(newClient(server.URL), table, people)
	if err != nil {
		return nil, err
	}
	if err := drive(ctx, handler, len(people)); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	runtime.GC()
	runtime.GC() // the second run frees what pools kept after the first
	heap := heapInUse()
	t, err := counter.take()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	if _, err := direct.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table}); err != nil {
		return nil, err
	}
	return &result{contestant: c, tally: t, requests: len(people) * perUser, heap: heap}, nil
}

func (c *contestant) site(db *dynamodb.Client, table string, people []person) (http.Handler, error) {
	if c.ours == nil {
		return c.handler(db, table, people), nil
	}
	cfg := *c.ours
	cfg.Table = table
	store, err := dynasession.New(db, cfg)
	if err != nil {
		return nil, err
	}
	return store.Middleware(&application{people: people, open: func(_ http.ResponseWriter, r *http.Request) (session, error) {
		s, err := dynasession.Load(r.Context())
		return ownSession{s}, err
	}}), nil
}

// ownSession adapts a session of this library to the session interface.
type ownSession struct{ *dynasession.Session }

func (s ownSession) get(key string) string {
	v, _ := dynasession.Get[json.RawMessage](s.Session, key)
	return string(v)
}

func (s ownSession) set(key, text string) { s.Set(key, json.RawMessage(text)) }
func (s ownSession) signIn(user string)   { s.SetUser(user) }
func (s ownSession) destroy()             { s.Destroy() }
func (s ownSession) save() error          { return nil } // the middleware saves

func createTable(ctx context.Context, db *dynamodb.Client, table, key string) error {
	_, err := db.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &table, BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
	})
	return err
}
