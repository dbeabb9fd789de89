package dynafiber

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/gofiber/fiber/v3"
)

// Storage is a fiber.Storage for fiber's csrf, limiter and cache: values under keys in a DynamoDB table, which may be that
// of the sessions. It is no place for sessions: use [Middleware].
//
// The table has hashes of the keys. A value is not returned from the second of its expiry on; DynamoDB's TTL deletes it
// later. Writes are unconditional.
type Storage struct {
	client *dynamodb.Client
	table  string
	prefix string
}

var _ fiber.Storage = (*Storage)(nil)

// NewStorage returns a Storage in table, which has the hash key "id" and TTL on "expires", as Store.CreateTable makes it.
// The keys of its items begin with name and "_": choose one that differs from Config.Name of every store in the table.
func NewStorage(client *dynamodb.Client, table, name string) *Storage {
	return &Storage{client: client, table: table, prefix: name + "_"}
}

func (s *Storage) id(key string) map[string]types.AttributeValue {
	sum := sha256.Sum256([]byte(key))
	return map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: s.prefix + hex.EncodeToString(sum[:])}}
}

// GetWithContext returns the value of key, or nil if there is none. The read is consistent.
func (s *Storage) GetWithContext(ctx context.Context, key string) ([]byte, error) {
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.table, Key: s.id(key), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, fmt.Errorf("dynafiber: reading a value: %w", err)
	}
	if end, ok := out.Item["expires"].(*types.AttributeValueMemberN); ok {
		if at, _ := strconv.ParseInt(end.Value, 10, 64); at <= time.Now().Unix() {
			return nil, nil
		}
	}
	if data, ok := out.Item["data"].(*types.AttributeValueMemberB); ok {
		return data.Value, nil
	}
	return nil, nil
}

// SetWithContext stores val for exp, rounded up to a second. An exp of 0 keeps it for good; an empty key or val is ignored.
func (s *Storage) SetWithContext(ctx context.Context, key string, val []byte, exp time.Duration) error {
	if key == "" || len(val) == 0 {
		return nil
	}
	item := s.id(key)
	item["data"] = &types.AttributeValueMemberB{Value: val}
	if exp > 0 {
		end := time.Now().Add(exp + time.Second - 1).Unix()
		item["expires"] = &types.AttributeValueMemberN{Value: strconv.FormatInt(end, 10)}
	}
	if _, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.table, Item: item}); err != nil {
		return fmt.Errorf("dynafiber: storing a value: %w", err)
	}
	return nil
}

// DeleteWithContext deletes the value of key. It is no error if there is none.
func (s *Storage) DeleteWithContext(ctx context.Context, key string) error {
	if _, err := s.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.table, Key: s.id(key)}); err != nil {
		return fmt.Errorf("dynafiber: deleting a value: %w", err)
	}
	return nil
}

// ResetWithContext deletes all values of this Storage. It reads the whole table.
func (s *Storage) ResetWithContext(ctx context.Context) error {
	pages := dynamodb.NewScanPaginator(s.client, &dynamodb.ScanInput{
		TableName: &s.table, FilterExpression: aws.String("begins_with(id, :p)"), ProjectionExpression: aws.String("id"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":p": &types.AttributeValueMemberS{Value: s.prefix}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("dynafiber: listing the values: %w", err)
		}
		for _, item := range page.Items {
			_, err = s.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.table, Key: map[string]types.AttributeValue{"id": item["id"]}})
			if err != nil {
				return fmt.Errorf("dynafiber: deleting a value: %w", err)
			}
		}
	}
	return nil
}

// Get is GetWithContext without a context.
func (s *Storage) Get(key string) ([]byte, error) { return s.GetWithContext(context.Background(), key) }

// Set is SetWithContext without a context.
func (s *Storage) Set(key string, val []byte, exp time.Duration) error {
	return s.SetWithContext(context.Background(), key, val, exp)
}

// Delete is DeleteWithContext without a context.
func (s *Storage) Delete(key string) error { return s.DeleteWithContext(context.Background(), key) }

// Reset is ResetWithContext without a context.
func (s *Storage) Reset() error { return s.ResetWithContext(context.Background()) }

// Close returns nil: the client belongs to the caller.
func (s *Storage) Close() error { return nil }
