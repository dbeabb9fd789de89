// Package browsertest tests examples/login in a real Chromium, with several server processes on
// one table, and examples/php-share. It is a module of its own, so that the library does not depend on chromedp. The
// tests need Chromium, and php; without it they are skipped, or fail if CI is set to true. They run on
// the embedded DynamoDB, and on DynamoDB Local if DYNAMODB_LOCAL_ENDPOINT names one.
package browsertest
