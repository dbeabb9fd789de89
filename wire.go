package dynasession

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

type traceKey struct{}

// watch lets watchAttempts tell tr about the attempts of one call.
func (tr *trace) watch(ctx context.Context) context.Context {
	tr.unanswered = false
	return tr.in(ctx)
}

// in lets the middlewares below find tr.
func (tr *trace) in(ctx context.Context) context.Context {
	if ctx.Value(traceKey{}) == tr {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, tr)
}

// isBeside tells whether a call is the SDK's own: for endpoint discovery it asks in a goroutine, with
// the context of a call of ours, whose trace must not hear of it.
func isBeside(stack *middleware.Stack) bool { return stack.ID() == "DescribeEndpoints" }

// watchAttempts notes attempts whose outcome nobody knows: they may have taken effect,
// and the SDK, which repeats them by itself, does not tell.
func watchAttempts(stack *middleware.Stack) error {
	if isBeside(stack) {
		return nil
	}
	return stack.Finalize.Insert(attemptWatcher, "Retry", middleware.After)
}

// The middlewares are made once, not for each call.
var (
	attemptWatcher = middleware.FinalizeMiddlewareFunc("DynasessionAttempts",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleFinalize(ctx, in)
			if err != nil {
				if tr, ok := ctx.Value(traceKey{}).(*trace); ok && !answered(err) {
					tr.unanswered = true
				}
			}
			return out, meta, err
		})
	formChecker = answerChecker(false)
	sumChecker  = answerChecker(true)
)

// answered reports whether err is DynamoDB's word that nothing was done: a status of 4xx, throttling among
// them, with one of its error codes. Without one, something in between has answered, perhaps after
// DynamoDB has done what was asked.
func answered(err error) bool {
	var api smithy.APIError
	return httpStatus(err)/100 == 4 && errors.As(err, &api) && isCode(api.ErrorCode())
}

// isCode reports whether code is more than what the SDK says of an answer without one.
func isCode(code string) bool { return code != "" && code != "UnknownError" }

func httpStatus(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if !errors.As(err, &answer) {
		return 0
	}
	return answer.HTTPStatusCode()
}

// wireError says that an answer is none of DynamoDB's, or not all of it. What was asked may
// have been done.
type wireError struct {
	what  string
	cause error
}

func (e *wireError) Error() string { return "the answer " + e.what }

func (e *wireError) Unwrap() error { return e.cause }

// RetryableError has the SDK try again.
func (*wireError) RetryableError() bool { return true }

// maxAnswer is more than DynamoDB's largest answer, a BatchGetItem's of 16 MB.
const maxAnswer = 64 << 20

// checkSum makes an error of an answer that is cut, changed on its way, or no JSON object. The
// SDK takes an empty one as "no such item" or "done", and only logs a wrong checksum.
func checkSum(stack *middleware.Stack) error {
	if isBeside(stack) {
		return nil
	}
	return stack.Deserialize.Add(sumChecker, middleware.After)
}

// checkForm is for who has switched checksums off.
func checkForm(stack *middleware.Stack) error {
	if isBeside(stack) {
		return nil
	}
	return stack.Deserialize.Add(formChecker, middleware.After)
}

func answerChecker(sums bool) middleware.DeserializeMiddleware {
	return middleware.DeserializeMiddlewareFunc("DynasessionAnswers",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleDeserialize(ctx, in)
			if resp, ok := out.RawResponse.(*smithyhttp.Response); ok && err == nil {
				err = checkAnswer(resp, sums)
			}
			return out, meta, err
		})
}

// checkAnswer has resp's body checked while the SDK reads it.
func checkAnswer(resp *smithyhttp.Response, sums bool) error {
	body := &answer{Reader: resp.Body, Closer: resp.Body}
	if sums {
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
	body.object = resp.StatusCode/100 == 2 && !strings.HasSuffix(resp.Header.Get("Content-Type"), "/cbor")
	resp.Body = body
	return nil
}

func brokeOff(err error) error { return &wireError{"broke off: " + err.Error(), err} }

// answer is a body. If it is not what was sent, its reader meets an error instead of the end.
type answer struct {
	io.Reader
	io.Closer
	object bool   // it must be a JSON object
	sum    string // it must have this checksum; "" for any
	first  byte   // that is no space
	crc    uint32
	size   int
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if a.size += n; a.size > maxAnswer {
		return n, &wireError{"does not end", nil}
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
		err = &wireError{"does not fit its checksum", nil}
	case a.object && a.first != '{':
		err = &wireError{"is not DynamoDB's", nil}
	}
	return n, err
}
