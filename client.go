package dynasession

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession/internal/webclient"
)

// NewClient returns a DynamoDB client that suits web requests, for [New]. [FromEnv] uses it. It is
// dynamodb.NewFromConfig with other defaults:
//
//   - It opens at most 256 connections to a host, and keeps as many idle. Further parallel requests wait for a
//     connection. With calls of 5 ms, 256 connections carry 51,200 calls a second. The SDK keeps 10 idle connections.
//     At every burst it dials anew, and a TLS handshake takes longer, and more CPU, than a call.
//   - An attempt ends 1 s after its request was written if no byte of an answer has come. DynamoDB takes milliseconds,
//     so by then a packet or a server is lost. If the context of a call has a deadline, the last attempt ends only with
//     the deadline, since DynamoDB itself may be slow. A TCP connection has 2 s, so that one lost SYN can be repeated.
//     A TLS handshake has 3 s, since hundreds of them at a time are slow on a small machine. The SDK waits for an
//     answer without a limit, and for the others 30 s and 10 s. For an HTTPS proxy that accepts a connection and stays
//     silent, net/http's limit of a minute holds.
//   - A request of up to 4 KB is sent in one write: its body is passed to net/http as bytes. The SDK passes a reader
//     that net/http does not know, which costs a second write and, if the answer is fast, the connection. A redirect is
//     an error, as it is with the SDK's reader.
//   - A call has 4 attempts, as many as fit into the 5 s of Config.Timeout. The pauses between them are random, up to
//     50, 100 and 200 ms, so that calls that failed together are not repeated together. After throttling, which
//     DynamoDB counts by the second, they are up to 0.4, 0.8 and 1.6 s. Most versions of the SDK make 3 attempts.
//   - Retries have a budget, so that they do not double the load of a table in trouble: 3 retries for each of the 256
//     connections at once, refilled by a fifth of a retry with each success. The SDK's budget is used up as soon as one
//     pool of connections breaks.
//
// Checksums, signatures, and the correction of a wrong clock are the SDK's.
//
// Settings of cfg take precedence. An HTTPClient of another type is used as it is. In an SDK's
// *http.BuildableClient, NewClient replaces what still has the SDK's default, except how it dials (LoadDefaultConfig
// makes such a client for AWS_CA_BUNDLE). Retryer and RetryMode replace the retries, and RetryMaxAttempts their number.
// optFns are applied last.
func NewClient(cfg aws.Config, optFns ...func(*dynamodb.Options)) *dynamodb.Client {
	return webclient.New(cfg, optFns...)
}
