package dynamotest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dynasession/dynasession/dynamotest"
)

// createTable makes a table whose key is the string "id".
func createTable(ctx context.Context, c *dynamodb.Client, name string) error {
	_, err := c.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            aws.String(name),
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
	})
	return err
}

func Example() {
	ctx := context.Background()
	server := dynamotest.NewServer()
	defer server.Close()
	client := server.Client()
	if err := createTable(ctx, client, "fruit"); err != nil {
		fmt.Println(err)
		return
	}
	_, err := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("fruit"), Item: map[string]types.AttributeValue{
		"id": &types.AttributeValueMemberS{Value: "apple"}, "n": &types.AttributeValueMemberN{Value: "3"},
	}})
	fmt.Println(err)
	fmt.Println(server.Item("fruit", "apple")["n"].(*types.AttributeValueMemberN).Value)
	// Output:
	// <nil>
	// 3
}

func ExampleStart() {
	// In a test file: func TestOrder(t *testing.T)
	_ = testOrder
}

func testOrder(t *testing.T) {
	t.Helper()
	client := dynamotest.Start(t)
	if err := createTable(t.Context(), client, "orders"); err != nil {
		t.Fatal(err)
	}
	// … what the program under test does with client.
}

// The write takes effect, but its answer is lost.
func ExampleServer_Fault() {
	ctx := context.Background()
	server := dynamotest.NewServer()
	defer server.Close()
	client := server.Client(func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
	if err := createTable(ctx, client, "fruit"); err != nil {
		fmt.Println(err)
		return
	}
	server.Fault(dynamotest.Fault{Operation: "PutItem", Kind: dynamotest.Cut, Applied: true})
	_, err := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("fruit"), Item: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "apple"}}})
	fmt.Println("failed:", err != nil)
	fmt.Println("stored:", server.Item("fruit", "apple") != nil)
	// Output:
	// failed: true
	// stored: true
}

// Another request gets in between a read and the write that follows it.
func ExampleServer_Intercept() {
	ctx := context.Background()
	server := dynamotest.NewServer()
	defer server.Close()
	client := server.Client()
	if err := createTable(ctx, client, "fruit"); err != nil {
		fmt.Println(err)
		return
	}
	put := func(ctx context.Context) error {
		_, err := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("fruit"), ConditionExpression: aws.String("attribute_not_exists(id)"),
			Item: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "apple"}}})
		return err
	}
	server.Intercept(func(ctx context.Context, r dynamotest.Request, apply func()) error {
		if r.Operation == "PutItem" {
			fmt.Println("first:", put(ctx))
		}
		apply()
		return nil
	})
	var refused *types.ConditionalCheckFailedException
	fmt.Println("second refused:", errors.As(put(ctx), &refused))
	// Output:
	// first: <nil>
	// second refused: true
}

func ExampleServer_Calls() {
	ctx := context.Background()
	server := dynamotest.NewServer()
	defer server.Close()
	client := server.Client()
	if err := createTable(ctx, client, "fruit"); err != nil {
		fmt.Println(err)
		return
	}
	server.ResetCalls()
	key := map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "apple"}}
	for _, consistent := range []bool{true, false} {
		if _, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("fruit"), Key: key, ConsistentRead: &consistent}); err != nil {
			fmt.Println(err)
		}
	}
	read, write := server.Calls().Units()
	fmt.Println(server.Calls().Count("GetItem"), "reads:", read, "read units,", write, "write units")
	// Output: 2 reads: 1.5 read units, 0 write units
}

func ExampleServer_ExpireItems() {
	ctx := context.Background()
	server := dynamotest.NewServer()
	defer server.Close()
	client := server.Client()
	if err := createTable(ctx, client, "sessions"); err != nil {
		fmt.Println(err)
		return
	}
	_, err := client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{TableName: aws.String("sessions"),
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)}})
	if err != nil {
		fmt.Println(err)
	}
	past := fmt.Sprint(time.Now().Add(-time.Hour).Unix())
	_, err = client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("sessions"), Item: map[string]types.AttributeValue{
		"id": &types.AttributeValueMemberS{Value: "old"}, "expires": &types.AttributeValueMemberN{Value: past},
	}})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(len(server.Items("sessions")), "item before,", server.ExpireItems(), "expired,", len(server.Items("sessions")), "left")
	// Output: 1 item before, 1 expired, 0 left
}
