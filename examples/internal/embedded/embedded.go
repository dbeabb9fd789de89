// Package embedded lets the examples run without AWS.
package embedded

import (
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession/dynamotest"
)

// Wanted reports whether an example should run on the embedded DynamoDB. It returns false if aws, the
// example's flag, is set or if DYNASESSION_TABLE names a table. A machine's AWS settings alone do not make
// an example use the AWS account.
func Wanted(aws bool) bool { return !aws && os.Getenv("DYNASESSION_TABLE") == "" }

// Client returns a client of an empty DynamoDB in this process. It prints that the example runs there.
func Client() *dynamodb.Client {
	fmt.Println("Running on the embedded DynamoDB, which forgets everything when the program ends." +
		" To use a real table, pass -aws or set DYNASESSION_TABLE;" +
		" \"go run ./examples/login -aws -create-table\" creates one.")
	return dynamotest.NewServer().Client()
}
