// Package browsertest tests examples/login and examples/php-share in a real Chromium. The tests of
// examples/login run several server processes on one table, on the embedded DynamoDB and, if
// DYNAMODB_LOCAL_ENDPOINT names one, on DynamoDB Local.
//
// The tests need Chromium, and php for examples/php-share. A test whose program is missing is skipped, or
// fails if CI is set to true. The package is a separate module so that the library does not depend on
// chromedp.
package browsertest
