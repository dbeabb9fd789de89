// Package wire knows what happens to a call inside the AWS SDK: whether an attempt was left unanswered and may have
// taken effect, and whether an answer is DynamoDB's, whole and as it was sent.
package wire

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Client returns a client with the options of c that watches its calls (see [Watch]), and fails those whose answer is
// broken off, was changed on its way, or is not DynamoDB's.
func Client(c *dynamodb.Client) *dynamodb.Client {
	options := c.Options()
	return dynamodb.New(options, func(o *dynamodb.Options) {
		o.Protocol = options.Protocol // dynamodb.New sets its own
		checksums := !o.DisableValidateResponseChecksum
		o.DisableValidateResponseChecksum = true // the SDK only logs a wrong one
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			if stack.ID() == "DescribeEndpoints" {
				// For endpoint discovery the SDK makes this call by itself, in a goroutine that has the
				// context of another call. Its outcome is not that call's.
				return nil
			}
			return errors.Join(
				stack.Finalize.Insert(attemptWatcher, "Retry", middleware.After),
				stack.Deserialize.Add(answerChecker(checksums), middleware.After),
			)
		})
	})
}

// A Call is what a caller of the SDK cannot learn from the SDK's error.
type Call struct {
	// Unanswered reports whether an attempt ended without DynamoDB's answer. It may have taken effect, also if a later
	// attempt, which the SDK makes by itself, was refused.
	Unanswered bool
}

type callKey struct{}

// Watch returns a context with which the calls of a [Client] report to call.
func Watch(ctx context.Context, call *Call) context.Context {
	return context.WithValue(ctx, callKey{}, call)
}

var attemptWatcher = middleware.FinalizeMiddlewareFunc("DynasessionAttempts",
	func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		out, meta, err := next.HandleFinalize(ctx, in)
		if call, ok := ctx.Value(callKey{}).(*Call); ok && err != nil && !refused(err) {
			call.Unanswered = true
		}
		return out, meta, err
	})

// refused reports whether err is DynamoDB's word that nothing was done: a status of 4xx, as for throttling, with an error
// code. Without a code, something in between has answered, perhaps after DynamoDB did what was asked.
func refused(err error) bool {
	var api smithy.APIError
	return Status(err)/100 == 4 && errors.As(err, &api) && IsCode(api.ErrorCode())
}

// IsCode reports whether code is an error code, and not what the SDK puts in the place of a missing one.
func IsCode(code string) bool { return code != "" && code != "UnknownError" }

// Status returns the HTTP status of the answer that err is about, or 0 if there was no answer.
func Status(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if !errors.As(err, &answer) {
		return 0
	}
	return answer.HTTPStatusCode()
}

// An Error reports an answer that is not DynamoDB's, or not all of it. What was asked may have been done.
type Error struct {
	What  string // completes "the answer"
	Cause error  // may be nil
}

func (e *Error) Error() string { return "the answer " + e.What }

func (e *Error) Unwrap() error { return e.Cause }

// RetryableError makes the SDK try again.
func (*Error) RetryableError() bool { return true }

func brokeOff(err error) error { return &Error{"broke off: " + err.Error(), err} }

// answerChecker fails calls whose answer is no JSON object, or, with checksums, does not have its checksum. The SDK takes
// an empty answer for "no such item" or "done".
func answerChecker(checksums bool) middleware.DeserializeMiddleware {
	return middleware.DeserializeMiddlewareFunc("DynasessionAnswers",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleDeserialize(ctx, in)
			if resp, ok := out.RawResponse.(*smithyhttp.Response); ok && err == nil {
				err = checkAnswer(resp, checksums)
			}
			return out, meta, err
		})
}

// checkAnswer puts a reader that checks the answer in the place of resp's body.
func checkAnswer(resp *smithyhttp.Response, checksums bool) error {
	body := &answer{Reader: resp.Body, Closer: resp.Body}
	if checksums {
		body.sum = resp.Header.Get("X-Amz-Crc32")
	}
	if resp.Header.Get("Content-Encoding") == "gzip" { // dynamodb.Options.EnableAcceptEncodingGzip
		z, err := gzip.NewReader(body)
		if err != nil {
			_ = resp.Body.Close()
			return brokeOff(err)
		}
		body = &answer{Reader: z, Closer: resp.Body}
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		resp.ContentLength = -1
	}
	// The SDK may come to ask for another protocol than JSON.
	body.object = resp.StatusCode/100 == 2 && !strings.HasSuffix(resp.Header.Get("Content-Type"), "/cbor")
	resp.Body = body
	return nil
}

// maxAnswer is more than DynamoDB's largest answer, a BatchGetItem's of 16 MB.
const maxAnswer = 64 << 20

// answer is a body. If it is not what was sent, its reader gets an error in the place of io.EOF.
type answer struct {
	io.Reader
	io.Closer
	object bool   // it must be a JSON object
	sum    string // it must have this checksum; "" for any
	first  byte   // the first byte that is no space
	crc    uint32
	size   int
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if a.size += n; a.size > maxAnswer {
		return n, &Error{"does not end", nil}
	}
	if a.sum != "" {
		a.crc = crc32.Update(a.crc, crc32.IEEETable, p[:n])
	}
	if text := bytes.TrimLeft(p[:n], " \t\r\n"); a.first == 0 && len(text) > 0 {
		a.first = text[0]
	}
	switch {
	case err == nil:
	case !errors.Is(err, io.EOF):
		err = brokeOff(err)
	case a.sum != "" && a.sum != strconv.FormatUint(uint64(a.crc), 10):
		err = &Error{"does not fit its checksum", nil}
	case a.object && a.first != '{':
		err = &Error{"is not DynamoDB's", nil}
	}
	return n, err
}
