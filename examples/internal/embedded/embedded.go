// Package embedded lets the examples run without AWS.
package embedded

import (
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession/dynamotest"
)

// Wanted reports whether an example is to run on the embedded DynamoDB: unless aws is set, its flag, or
// DYNASESSION_TABLE names a table. A machine's AWS settings alone do not make an example use the account.
func Wanted(aws bool) bool { return !aws && os.Getenv("DYNASESSION_TABLE") == "" }

// Client returns a client of an empty DynamoDB in this process, and says so.
func Client() *dynamodb.Client {
	fmt.Println("Running on the embedded DynamoDB, which forgets everything when the program ends." +
		" For a real table give -aws, or set DYNASESSION_TABLE;" +
		" \"go run ./examples/login -aws -create-table\" makes it.")
	return dynamotest.NewServer().Client()
}
