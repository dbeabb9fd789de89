package wire

import (
	"bytes"
	"compress/gzip"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckAnswer(t *testing.T) {
	const item = ` {"Item":{}}`
	sum := func(s string) string { return strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(s))), 10) }
	zipped := func() string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(item))
		_ = z.Close()
		return b.String()
	}()
	for name, test := range map[string]struct {
		body   string
		header http.Header
		status int
		want   string // of the error; "" for none
	}{
		"an object":              {body: item},
		"with its checksum":      {body: item, header: http.Header{"X-Amz-Crc32": {sum(item)}}},
		"with another checksum":  {body: item, header: http.Header{"X-Amz-Crc32": {"1"}}, want: "checksum"},
		"empty":                  {want: "not DynamoDB's"},
		"space":                  {body: " \n", want: "not DynamoDB's"},
		"HTML":                   {body: "<html>", want: "not DynamoDB's"},
		"null":                   {body: "null", want: "not DynamoDB's"},
		"an error page":          {body: "<html>", status: http.StatusBadGateway},
		"CBOR":                   {body: "\xa0", header: http.Header{"Content-Type": {"application/cbor"}}},
		"gzip":                   {body: zipped, header: http.Header{"Content-Encoding": {"gzip"}, "X-Amz-Crc32": {sum(zipped)}}},
		"gzip, another checksum": {body: zipped, header: http.Header{"Content-Encoding": {"gzip"}, "X-Amz-Crc32": {"1"}}, want: "checksum"},
		"gzip, cut":              {body: zipped[:len(zipped)-9], header: http.Header{"Content-Encoding": {"gzip"}}, want: "broke off"},
		"no gzip":                {body: item, header: http.Header{"Content-Encoding": {"gzip"}}, want: "broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			header := test.header
			if header == nil {
				header = http.Header{}
			}
			resp := &smithyhttp.Response{Response: &http.Response{
				StatusCode: max(test.status, http.StatusOK), Header: header, Body: io.NopCloser(strings.NewReader(test.body)),
			}}
			err := checkAnswer(resp, true)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
			}
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			var broken *Error
			require.ErrorAs(t, err, &broken)
			require.ErrorContains(t, err, test.want)
			assert.True(t, broken.RetryableError())
		})
	}
}

// TestUnanswered: a call is unanswered if any of its attempts may have taken effect.
func TestUnanswered(t *testing.T) {
	answer := func(status int, body string) func() (*http.Response, error) {
		return func() (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
		}
	}
	lost := func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
	throttled := answer(http.StatusBadRequest, `{"__type":"ThrottlingException"}`)
	refused := answer(http.StatusBadRequest, `{"__type":"ConditionalCheckFailedException"}`)
	done := answer(http.StatusOK, `{}`)
	for name, test := range map[string]struct {
		attempts []func() (*http.Response, error)
		want     bool
	}{
		"done":                      {[]func() (*http.Response, error){done}, false},
		"refused":                   {[]func() (*http.Response, error){refused}, false},
		"throttled, then done":      {[]func() (*http.Response, error){throttled, done}, false},
		"lost, then done":           {[]func() (*http.Response, error){lost, done}, true},
		"lost, then refused":        {[]func() (*http.Response, error){lost, refused}, true},
		"an error without a code":   {[]func() (*http.Response, error){answer(http.StatusForbidden, `<html>`)}, true},
		"500, then done":            {[]func() (*http.Response, error){answer(http.StatusInternalServerError, `{"__type":"InternalServerError"}`), done}, true},
		"an empty answer, and done": {[]func() (*http.Response, error){answer(http.StatusOK, ``), done}, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			client := Client(dynamodb.New(dynamodb.Options{
				Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, RetryMaxAttempts: 2,
				HTTPClient: smithyhttp.ClientDoFunc(func(*http.Request) (*http.Response, error) {
					n++
					return test.attempts[n-1]()
				}),
			}))
			var call Call
			_, err := client.DeleteItem(Watch(t.Context(), &call), &dynamodb.DeleteItemInput{
				TableName: aws.String("t"), Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "k"}},
			})
			assert.Equal(t, test.want, call.Unanswered, "%v", err)
			assert.Equal(t, len(test.attempts), n)
		})
	}
}

func TestStatus(t *testing.T) {
	assert.Zero(t, Status(errors.New("no answer")))
	assert.Zero(t, Status(nil))
}
