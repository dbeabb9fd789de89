// Package embedded lets the examples run without AWS.
package embedded

import (
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession/dynamotest"
)

// settings are the variables that say which AWS account, region or endpoint to use. Others,
// as AWS_CA_BUNDLE, do not.
var settings = []string{
	"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
	"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
	"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB",
}

// Wanted tells whether there is no AWS setting, neither in the environment nor in the
// shared files.
func Wanted() bool {
	for _, name := range settings {
		if os.Getenv(name) != "" {
			return false
		}
	}
	for _, file := range []string{config.DefaultSharedConfigFilename(), config.DefaultSharedCredentialsFilename()} {
		if _, err := os.Stat(file); err == nil {
			return false
		}
	}
	return true
}

// Client gives a client of an empty DynamoDB in this process, and says so.
func Client() *dynamodb.Client {
	fmt.Println("Running on the embedded DynamoDB, which forgets everything when the program ends." +
		" For a real table set AWS_REGION or AWS_PROFILE, and DYNASESSION_TABLE;" +
		" \"go run ./examples/login -create-table\" makes it.")
	return dynamotest.NewServer().Client()
}
