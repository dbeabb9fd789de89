package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

// KeyOf returns the key of the session with the given id, in a store whose Config does not change keys.
func KeyOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "session_" + hex.EncodeToString(sum[:])
}

// Items returns all items of a table except tombstones.
func Items(t testing.TB, b *Backend, table string) []map[string]types.AttributeValue {
	t.Helper()
	return slices.DeleteFunc(AllItems(t, b, table), IsTombstone)
}

// Tombstones returns the tombstones in a table.
func Tombstones(t testing.TB, b *Backend, table string) []map[string]types.AttributeValue {
	t.Helper()
	return slices.DeleteFunc(AllItems(t, b, table), func(item map[string]types.AttributeValue) bool { return !IsTombstone(item) })
}

// IsTombstone reports whether item is a tombstone.
func IsTombstone(item map[string]types.AttributeValue) bool { return item["moved"] != nil }

// AllItems returns all items of a table, tombstones included.
func AllItems(t testing.TB, b *Backend, table string) []map[string]types.AttributeValue {
	t.Helper()
	out, err := b.Client.Scan(t.Context(), &dynamodb.ScanInput{TableName: &table, ConsistentRead: aws.Bool(true)})
	require.NoError(t, err)
	return out.Items
}

// OnlyItem returns the item of a table that has only one, besides tombstones.
func OnlyItem(t testing.TB, b *Backend, table string) map[string]types.AttributeValue {
	t.Helper()
	all := Items(t, b, table)
	require.Len(t, all, 1)
	return all[0]
}

// PutItem stores item unconditionally.
func PutItem(t testing.TB, b *Backend, table string, item map[string]types.AttributeValue) {
	t.Helper()
	_, err := b.Client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item})
	require.NoError(t, err)
}

// Str returns a string attribute.
func Str(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }

// Num returns a number attribute.
func Num(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }

// Attr returns the value of a string, number or binary attribute, or "" if item does not have it.
func Attr(item map[string]types.AttributeValue, name string) string {
	switch v := item[name].(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return v.Value
	case *types.AttributeValueMemberB:
		return string(v.Value)
	}
	return ""
}

// In returns the time after d as a number of seconds.
func In(d time.Duration) types.AttributeValue {
	return Num(strconv.FormatInt(time.Now().Add(d).Unix(), 10))
}

// Unlocked returns a copy of item without its lock.
func Unlocked(item map[string]types.AttributeValue) map[string]types.AttributeValue {
	item = maps.Clone(item)
	delete(item, "lock")
	delete(item, "holder")
	return item
}

// IntAttr returns the value of an attribute that must be an integer.
func IntAttr(t *testing.T, item map[string]types.AttributeValue, name string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(Attr(item, name), 10, 64)
	require.NoError(t, err, name)
	return n
}

// EpochText returns a time as DynamoDB's TTL and PHP write it: in seconds.
func EpochText(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// Milliseconds returns a time as a lock's end is stored.
func Milliseconds(at time.Time) types.AttributeValue {
	return Num(strconv.FormatInt(at.UnixMilli(), 10))
}

// ItemOf returns the item of the session with the given id.
func ItemOf(t testing.TB, b *Backend, table, id string) map[string]types.AttributeValue {
	t.Helper()
	out, err := b.Client.GetItem(t.Context(), GetItem(table, id))
	require.NoError(t, err)
	require.NotEmpty(t, out.Item)
	return out.Item
}

// GetItem returns the consistent read of the session with the given id, which a token may carry.
func GetItem(table, id string) *dynamodb.GetItemInput {
	id, _, _ = strings.Cut(id, ".")
	return &dynamodb.GetItemInput{
		TableName: &table, Key: map[string]types.AttributeValue{"id": Str(KeyOf(id))}, ConsistentRead: aws.Bool(true),
	}
}

// Bin returns a binary attribute.
func Bin(v []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: v} }
