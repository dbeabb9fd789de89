package dynasession_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

const stubID = "0123456789abcdefghijklmnopqrstuv"

// stubScene is a table that PHP shares, and its requests with 'locking' => true.
type stubScene struct {
	t     *testing.T
	b     *backend
	table string
	store *dynasession.Store
}

func newStubScene(t *testing.T, b *backend) *stubScene {
	sc := &stubScene{t, b, newTable(), nil}
	sc.store = newStore(t, b, dynasession.Config{
		Table: sc.table, InsecurePlainIDs: true, ForeignWriters: true, NoCompression: true, IdleTimeout: 24 * time.Minute,
	})
	return sc
}

func (sc *stubScene) key() map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": str("session_" + stubID)}
}

// phpLocks is PHP's read: it takes the lock of whatever is there, or makes it.
func (sc *stubScene) phpLocks() bool {
	sc.t.Helper()
	_, err := sc.b.client.UpdateItem(sc.t.Context(), &dynamodb.UpdateItemInput{
		TableName: &sc.table, Key: sc.key(),
		UpdateExpression: aws.String("SET #l = :one"), ConditionExpression: aws.String("attribute_not_exists(#l)"),
		ExpressionAttributeNames:  map[string]string{"#l": "lock"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":one": num("1")},
	})
	if err != nil {
		refused := (*types.ConditionalCheckFailedException)(nil)
		require.ErrorAs(sc.t, err, &refused)
	}
	return err == nil
}

// phpWrites is PHP's write, which asks nothing.
func (sc *stubScene) phpWrites(data string) {
	sc.t.Helper()
	_, err := sc.b.client.UpdateItem(sc.t.Context(), &dynamodb.UpdateItemInput{
		TableName: &sc.table, Key: sc.key(),
		UpdateExpression:         aws.String("SET #e = :e, #d = :d REMOVE #l"),
		ExpressionAttributeNames: map[string]string{"#e": "expires", "#d": "data", "#l": "lock"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":e": num(strconv.FormatInt(time.Now().Add(24*time.Minute).Unix(), 10)), ":d": str(data),
		},
	})
	require.NoError(sc.t, err)
}

func (sc *stubScene) sweep(expired, deleted int) {
	sc.t.Helper()
	stats, err := sc.store.Sweep(sc.t.Context(), dynasession.SweepOptions{})
	require.NoError(sc.t, err)
	require.Equal(sc.t, []int{expired, deleted}, []int{stats.Expired, stats.Deleted})
}

func inStubScene(t *testing.T, f func(t *testing.T, sc *stubScene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newStubScene(t, embedded(t))) })
}

func TestSweepTakesStubsAway(t *testing.T) {
	inStubScene(t, func(t *testing.T, sc *stubScene) {
		require.True(t, sc.phpLocks()) // and dies
		sc.sweep(0, 0)
		require.False(t, sc.phpLocks(), "to PHP it is locked as before")
		time.Sleep(23 * time.Minute)
		sc.sweep(0, 0)
		time.Sleep(2 * time.Minute)
		dry, err := sc.store.Sweep(t.Context(), dynasession.SweepOptions{DryRun: true})
		require.NoError(t, err)
		require.Equal(t, 1, dry.Expired)
		require.Len(t, items(t, sc.b, sc.table), 1)
		sc.sweep(1, 1)
		require.Empty(t, items(t, sc.b, sc.table))
	})
}

func TestSweepOfAStubLosesNoSession(t *testing.T) {
	read := func(t *testing.T, sc *stubScene) string {
		t.Helper()
		data, err := sc.store.Read(t.Context(), stubID)
		require.NoError(t, err)
		return string(data)
	}
	t.Run("written before the end", func(t *testing.T) {
		inStubScene(t, func(t *testing.T, sc *stubScene) {
			require.True(t, sc.phpLocks())
			sc.sweep(0, 0)
			sc.phpWrites(`{"n":1}`)
			sc.sweep(0, 0)
			require.Equal(t, `{"n":1}`, read(t, sc))
			require.NotContains(t, onlyItem(t, sc.b, sc.table), "lock")
		})
	})
	t.Run("written after it was deleted", func(t *testing.T) {
		inStubScene(t, func(t *testing.T, sc *stubScene) {
			require.True(t, sc.phpLocks())
			sc.sweep(0, 0)
			time.Sleep(time.Hour)
			sc.sweep(1, 1)
			sc.phpWrites(`{"n":1}`)
			require.Equal(t, `{"n":1}`, read(t, sc))
		})
	})
	for _, end := range []string{"UpdateItem", "DeleteItem"} {
		t.Run("written between the scan and the "+end, func(t *testing.T) {
			inStubScene(t, func(t *testing.T, sc *stubScene) {
				require.True(t, sc.phpLocks())
				if end == "DeleteItem" {
					sc.sweep(0, 0)
					time.Sleep(time.Hour)
				}
				before(sc.b.server, end, func() { sc.phpWrites(`{"n":1}`) })
				_, err := sc.store.Sweep(t.Context(), dynasession.SweepOptions{})
				require.NoError(t, err)
				require.Equal(t, `{"n":1}`, read(t, sc))
				require.NotContains(t, onlyItem(t, sc.b, sc.table), "lock")
			})
		})
	}
	t.Run("written and locked again before the UpdateItem", func(t *testing.T) {
		inStubScene(t, func(t *testing.T, sc *stubScene) {
			require.True(t, sc.phpLocks())
			before(sc.b.server, "UpdateItem", func() {
				sc.phpWrites(`{"n":1}`)
				require.True(t, sc.phpLocks())
			})
			sc.sweep(0, 0)
			require.Equal(t, "1", attr(onlyItem(t, sc.b, sc.table), "lock"), "a session's lock is no stub's")
		})
	})
	t.Run("destroyed and locked again before the DeleteItem", func(t *testing.T) {
		inStubScene(t, func(t *testing.T, sc *stubScene) {
			require.True(t, sc.phpLocks())
			sc.sweep(0, 0)
			time.Sleep(time.Hour)
			before(sc.b.server, "DeleteItem", func() {
				sc.phpWrites(`{"n":1}`)
				require.NoError(t, sc.store.Destroy(t.Context(), stubID))
				require.True(t, sc.phpLocks())
			})
			sc.sweep(1, 0)
			require.False(t, sc.phpLocks(), "the new lock stays")
		})
	})
	t.Run("locked again by the next request", func(t *testing.T) {
		inStubScene(t, func(t *testing.T, sc *stubScene) {
			require.True(t, sc.phpLocks())
			sc.sweep(0, 0)
			sc.phpWrites(`{"n":1}`)
			require.NoError(t, sc.store.Destroy(t.Context(), stubID))
			require.True(t, sc.phpLocks())
			time.Sleep(time.Hour)
			sc.sweep(0, 0) // a new stub: its time begins now
			require.False(t, sc.phpLocks())
		})
	})
}

// before runs f before the next operation of that name takes effect.
func before(server *dynamotest.Server, operation string, f func()) {
	server.Intercept(func(_ context.Context, r dynamotest.Request, apply func()) error {
		if r.Operation == operation {
			server.Intercept(nil)
			f()
		}
		apply()
		return nil
	})
}

// TestSweepOfOthersStubs: of another name, of a store that shares nothing, with data.
func TestSweepOfOthersStubs(t *testing.T) {
	eachBackend(t, func(t *testing.T, b *backend) {
		sc := newStubScene(t, b)
		past := num("1000000000000") // an end, long ago
		for _, item := range []map[string]types.AttributeValue{
			{"id": str("other_" + stubID), "lock": past},
			{"id": str("session_" + stubID), "lock": past, "data": str("{}")},
			{"id": str("session_" + stubID + "a")},
			{"id": str("session_" + stubID + "b"), "lock": num("99999999999999")},
		} {
			putItem(t, b, sc.table, item)
		}
		sc.sweep(0, 0)
		require.Len(t, items(t, b, sc.table), 4)

		putItem(t, b, sc.table, map[string]types.AttributeValue{"id": str("session_" + stubID + "c"), "lock": past})
		alone := newStore(t, b, dynasession.Config{Table: sc.table, InsecurePlainIDs: true})
		stats, err := alone.Sweep(t.Context(), dynasession.SweepOptions{})
		require.NoError(t, err)
		require.Zero(t, stats.Expired)
		sc.sweep(1, 1)
		require.Len(t, items(t, b, sc.table), 4)
	})
}
