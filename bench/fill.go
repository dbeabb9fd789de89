package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// fill puts n sessions into a table, in the form in which this library stores signed-in sessions.
// The first of them, living in number, expire in a day. The others expired an hour ago.
func fill(ctx context.Context, db *dynamodb.Client, table, key string, n, living int) error {
	const batch, writers = 25, 8
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	people := makePeople(min(n, 1000), shop) // the contents repeat; the keys do not
	starts := make(chan int)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for start := range starts {
				var puts []types.WriteRequest
				for i := start; i < min(start+batch, n); i++ {
					puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: stocked(key, &people[i%len(people)], i, i < living)}})
				}
				out, err := db.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: puts}})
				if err == nil && len(out.UnprocessedItems) > 0 {
					err = fmt.Errorf("DynamoDB left items of a batch unprocessed")
				}
				if err != nil {
					cancel(fmt.Errorf("filling the table: %w", err))
				}
			}
		})
	}
	for start := 0; start < n && ctx.Err() == nil; start += batch {
		starts <- start
	}
	close(starts)
	wg.Wait()
	return context.Cause(ctx)
}

// stocked returns the ith item, which holds a session of p.
func stocked(key string, p *person, i int, alive bool) map[string]attribute {
	sum := sha256.Sum256([]byte(strconv.Itoa(i)))
	end := time.Now().Add(-time.Hour)
	if alive {
		end = time.Now().Add(24 * time.Hour)
	}
	return map[string]attribute{
		key:       text("session_" + hex.EncodeToString(sum[:])),
		"expires": number(end.Unix()),
		"data":    text(`{"profile":` + p.profile.json + `}`),
		"rev":     number(1),
		"w":       text(hex.EncodeToString(sum[:4])),
		"born":    number(end.Add(-time.Hour).Unix()),
		"until":   number(end.Add(23 * time.Hour).Unix()),
		"user":    text(p.id),
		"auth":    number(end.Add(-time.Hour).Unix()),
	}
}
