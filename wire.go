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
	"sync/atomic"

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
				if err = checkAnswer(resp, sums); err == nil {
					err = offer(ctx, resp)
				}
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

// A taker reads the answer to one call, if it has the usual form. What it takes, the SDK need not read.
type taker interface{ take(body []byte) bool }

// offer has the call's taker, if it has one, look at the whole answer first.
func offer(ctx context.Context, resp *smithyhttp.Response) error {
	tr, ok := ctx.Value(traceKey{}).(*trace)
	if !ok || tr.taker == nil || resp.StatusCode/100 != 2 {
		return nil
	}
	body := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(body)
	body.Reset()
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return err
	}
	left := "{}"
	if !tr.taker.take(body.Bytes()) {
		left = body.String()
	}
	resp.Body = &readCloser{strings.NewReader(left), resp.Body}
	return nil
}

// ownRequests has the Store write the usual requests by itself, in the SDK's place: from the first on that
// the SDK has written as they are. A later SDK may speak another protocol than JSON.
type ownRequests struct{ json atomic.Bool }

func (o *ownRequests) add(stack *middleware.Stack) error {
	own := &serializer{requests: o}
	if sdk, err := stack.Serialize.Swap("OperationSerializer", own); err == nil {
		own.sdk = sdk
	}
	return nil // of another SDK, which writes them all
}

const (
	targetPrefix = "DynamoDB_20120810."
	contentType  = "application/x-amz-json-1.0"
)

// learn looks at a request that the SDK has written.
func (o *ownRequests) learn(next middleware.SerializeHandler) middleware.SerializeHandler {
	return middleware.SerializeHandlerFunc(func(ctx context.Context, in middleware.SerializeInput) (middleware.SerializeOutput, middleware.Metadata, error) {
		if req, ok := in.Request.(*smithyhttp.Request); ok && req.Header.Get("Content-Type") == contentType &&
			req.Header.Get("X-Amz-Target") == targetPrefix+middleware.GetOperationName(ctx) {
			o.json.Swap(true)
		}
		return next.HandleSerialize(ctx, in)
	})
}

// serializer writes the usual requests, and leaves the others to the SDK's.
type serializer struct {
	requests *ownRequests
	sdk      middleware.SerializeMiddleware
}

func (*serializer) ID() string { return "DynasessionRequests" }

func (s *serializer) HandleSerialize(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
	if !s.requests.json.Load() {
		return s.sdk.HandleSerialize(ctx, in, s.requests.learn(next))
	}
	req, ok := in.Request.(*smithyhttp.Request)
	var body []byte
	if ok {
		body, ok = requestBody(in.Parameters)
	}
	if !ok {
		return s.sdk.HandleSerialize(ctx, in, next)
	}
	whole, err := req.SetStream(bytes.NewReader(body))
	if err != nil {
		return middleware.SerializeOutput{}, middleware.Metadata{}, err
	}
	whole.Method = "POST"
	if whole.URL.Path == "" { // the older kind of endpoint resolver has set it
		whole.URL.Path = "/"
	}
	// Both values are of one allocation.
	lines := []string{targetPrefix + middleware.GetOperationName(ctx), contentType}
	whole.Header["X-Amz-Target"], whole.Header["Content-Type"] = lines[:1:1], lines[1:]
	*req = *whole
	return next.HandleSerialize(ctx, in)
}

// requestBody gives a call's input in a buffer of its own, since a transport may read it for longer
// than the call lasts.
func requestBody(input any) (body []byte, ok bool) {
	room := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	if *room, ok = appendInput((*room)[:0], input); !ok {
		return nil, false
	}
	return bytes.Clone(*room), true
}

type readCloser struct {
	io.Reader
	io.Closer
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
