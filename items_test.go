package dynasession

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// usualItems are answers that readItem reads, otherItems what it leaves to the SDK.
var (
	usualItems = []string{
		`{}`, ` { } `, `{"Item":{}}`, "\t{ \"Item\" :\r\n{ \"id\" : { \"S\" : \"a\" } , \"n\":{\"N\":\"-1.5E9\"} } }\n",
		`{"Item":{"id":{"S":"session_0a"},"expires":{"N":"1795600000"},"data":{"B":"wQgIAGFiY2RlZg=="},"w":{"S":""}}}`,
		`{"Item":{"rev":{"N":"7"},"born":{"N":"1"},"until":{"N":"2"},"limit":{"N":"3"},"auth":{"N":"4"},"idle":{"N":"5.5"},"user":{"S":"u"},"holder":{"S":"h"}}}`,
		`{"Item":{"lock":{"N":"1795600000000"}}}`, `{"Item":{"lock":{"N":"1"}}}`, `{"Item":{"lock":{"S":"x"}}}`, `{"Item":{"lock":{"N":"1e99"}}}`,
		`{"Item":{"id":{"N":"1"},"expires":{"S":"2"},"data":{"N":"3"},"user":{"B":"YQ=="},"rev":{"B":"YQ=="},"w":{"N":"4"}}}`,
		`{"Item":{"data":{"S":"{\"a\":\"b\\\"\\u003c\",\n\"c\":\"\\\\\"}"},"b":{"B":""}}}`, `{"Item":{"data":{"S":""}}}`, `{"Item":{"data":{"B":""}}}`,
		`{"Item":{"data":{"S":"\b\f\n\r\t\/\\\" Zürich \u00fc \ud83d\ude00 \ud83d 東京"}}}`,
		`{"It\u0065m":{"\u0069d":{"\u0053":"a\/b"},"data":{"B":"w\u0051g="}}}`,
		`{"Item":{"data":{"S":"1"},"data":{"B":"YQ=="}}}`, `{"Item":{"data":{"N":"1"},"data":{"S":"1"}}}`, "{\"Item\":{\"data\":{\"S\":\"\xff\"}}}",
		`{"Item":{"data":{"S":"\b\f\n\r\t\/\\\""}}}`, `{"Item":{"rev":{"N":"no number"}}}`, `{"Item":{},"Item":{"id":{"S":"a"}}}`,
		`{"ConsumedCapacity":{"CapacityUnits":0.5,"TableName":"sessions"},"Item":{"id":{"S":"b"}}}`, `{"ConsumedCapacity":{"CapacityUnits":2},"ConsumedCapacity":{}}`,
		`{"Item":{"id":{"S":"b"}},"ConsumedCapacity":{"TableName":"a\"b","CapacityUnits":1}}`, `{"ConsumedCapacity":{"CapacityUnits":1}}`,
	}
	otherItems = []string{
		``, ` `, `null`, `[]`, `"Item"`, `{`, `{"Item"`, `{"Item":`, `{"Item":{`, `{"Item":{"a"`, `{"Item":{"a":{"S":"`, `{"Item":{"a":{"S":"\`,
		`{"Item":{"a":{"S":"b"`, `{"Item":{"a":{"S":"b"}`, `{"Item":{"a":{"S":"b"}}`, `{"Item":{"a":{"S":"b"}}} x`, `{}{}`, `{"Item":{},}`,
		`{"Item":null}`, `{"Item":[]}`, `{"Item":{"a":null}}`, `{"Item":{"a":{}}}`, `{"Item":{"a":{"S":null}}}`, `{"Item":{"a":{"S":1}}}`,
		`{"Item":{"data":{"BOOL":true},"lock":{"NULL":true},"c":{"L":[{"S":"x"}]},"id":{"M":{"e":{"N":"1"}}},"f":{"SS":["g"]},"h":{"NS":["1"]},"i":{"BS":["YQ=="]}}}`,
		`{"Item":{"a":{"S":"b","N":"1"}}}`, `{"Item":{"a":{"X":"b"}}}`, `{"Item":{"a":{"B":"?"}}}`, `{"Item":{"a":{"B":"YQ"}}}`,
		`{"Item":{"a":{"S":"b"},}}`, `{"Item":{,}}`, `{"Item":{"a" {"S":"b"}}}`, `{"item":{}}`, `{"Item":{"a":{"S":"\x"}}}`, `{"Item":{"a":{"S":"\u12g4"}}}`,
		"{\"Item\":{\"a\":{\"S\":\"\n\"}}}", "{\"Item\":{\"a\":{\"S\":\"\\n\xff\"}}}",
		`{"Item":{},"Later":{"a":[1]}}`, `{"ConsumedCapacity":null}`, `{"ConsumedCapacity":{"CapacityUnits":"1"}}`, `{"ConsumedCapacity":{"CapacityUnits":1e999}}`,
		`{"ConsumedCapacity":{"CapacityUnits":1,"Table":{"CapacityUnits":1}},"Item":{}}`, `{"ConsumedCapacity":{"TableName":1}}`,
	}
)

// answering is an HTTP client that gets that body for everything.
type answering struct{ body []byte }

func (a *answering) Do(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a.body))}, nil
}

// plainConfig is what a table by itself needs.
var plainConfig = &Config{Table: "sessions", Attributes: Attributes{ID: "id", Expires: "expires", Data: "data", User: "user"}}

// itemReaders are the SDK and the table that both get the same answer.
type itemReaders struct {
	answering
	sdk   *dynamodb.Client
	table *table
}

func newItemReaders(with ...func(*dynamodb.Options)) *itemReaders {
	rs := &itemReaders{}
	rs.sdk = dynamodb.New(dynamodb.Options{
		Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: &rs.answering,
	}, with...)
	rs.table = newTable(rs.sdk, plainConfig)
	return rs
}

// read reads body without the SDK.
func (rs *itemReaders) read(body []byte) (r *record, consumed float64, ok bool) {
	p := itemReader{table: rs.table, member: "Item"}
	ok = p.take(body)
	return p.item, p.units, ok
}

func TestReadItem(t *testing.T) {
	rs := newItemReaders()
	for _, body := range usualItems {
		_, _, ok := rs.read([]byte(body))
		assert.True(t, ok, body)
		rs.compare(t, []byte(body))
	}
	for _, body := range otherItems {
		_, _, ok := rs.read([]byte(body))
		assert.False(t, ok, body)
		rs.compare(t, []byte(body))
	}
	full := usualItems[4]
	for n := range full {
		_, _, ok := rs.read([]byte(full[:n]))
		assert.False(t, ok, full[:n])
		rs.compare(t, []byte(full[:n]))
	}
}

// FuzzReadItem: what the Store reads by itself is what it would read from the SDK's item.
func FuzzReadItem(f *testing.F) {
	for _, body := range append(usualItems, otherItems...) {
		f.Add([]byte(body))
	}
	rs := newItemReaders()
	f.Fuzz(func(t *testing.T, body []byte) { rs.compare(t, body) })
}

// compare compares what get and updateItem make of that answer with what the SDK does.
func (rs *itemReaders) compare(t *testing.T, body []byte) {
	t.Helper()
	rs.body = body
	given := bytes.Clone(body)
	r, consumed, ok := rs.read(given)
	clear(given) // nothing of it is kept

	key := map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "a"}}
	want, wantErr := rs.sdk.GetItem(context.Background(), &dynamodb.GetItemInput{TableName: aws.String("sessions"), Key: key})
	if wantErr != nil {
		require.False(t, ok, "%s: %v", body, wantErr)
		want = &dynamodb.GetItemOutput{}
	}
	asked := "a"
	if r := rs.table.record(want.Item); r != nil { // else its key would be another's
		asked = r.key
	}
	tr := &trace{}
	got, err := rs.table.get(context.Background(), tr, asked, true)
	rs.same(t, want.Item, want.ConsumedCapacity, wantErr, got, tr.readUnits, err)
	if ok && err == nil {
		require.Equal(t, got, r, "%s", body)
		require.InDelta(t, tr.readUnits, consumed, 0, "%s", body)
	}

	rs.body = bytes.ReplaceAll(body, []byte(`"Item"`), []byte(`"Attributes"`))
	got, err = rs.table.updateItem(context.Background(), tr, "a", &expression{cond: clauses("#e > :e")}, types.ReturnValueAllNew)
	updated, wantErr := rs.sdk.UpdateItem(context.Background(), &dynamodb.UpdateItemInput{TableName: aws.String("sessions"), Key: key})
	if wantErr != nil {
		updated = &dynamodb.UpdateItemOutput{}
	}
	rs.same(t, updated.Attributes, updated.ConsumedCapacity, wantErr, got, tr.writeUnits, err)
}

func (rs *itemReaders) same(t *testing.T, want map[string]types.AttributeValue, cost *types.ConsumedCapacity, wantErr error, got *record, consumed float64, err error) {
	t.Helper()
	if first := bytes.TrimLeft(rs.body, " \t\r\n"); wantErr != nil || len(first) == 0 || first[0] != '{' { // the SDK takes what is none for no item
		require.Error(t, err, "%s", rs.body)
		return
	}
	require.NoError(t, err, "%s", rs.body)
	require.Equal(t, rs.table.record(want), got, "%s", rs.body)
	require.InDelta(t, units(cost), consumed, 0, "%s", rs.body)
}

// TestHeardAnswers: who looks at answers, sees the item.
func TestHeardAnswers(t *testing.T) {
	body := `{"Item":{"id":{"S":"session_0a"},"expires":{"N":"1795600000"}}}`
	for name, listen := range map[string]func(o *dynamodb.Options, heard *strings.Builder){
		"log": func(o *dynamodb.Options, heard *strings.Builder) {
			o.ClientLogMode = aws.LogResponseWithBody
			o.Logger = logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) { fmt.Fprintf(heard, format, v...) })
		},
		"middleware": func(o *dynamodb.Options, heard *strings.Builder) {
			hear := middleware.InitializeMiddlewareFunc("hear", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleInitialize(ctx, in)
				tellItem(heard, out.Result)
				return out, meta, err
			})
			o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return stack.Initialize.Add(hear, middleware.Before) })
		},
		"interceptor": func(o *dynamodb.Options, heard *strings.Builder) {
			o.Interceptors.AddAfterExecution(afterExecution{heard})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var heard strings.Builder
			rs := newItemReaders(func(o *dynamodb.Options) { listen(o, &heard) })
			rs.body = []byte(body)
			r, err := rs.table.get(t.Context(), &trace{}, "session_0a", true)
			require.NoError(t, err)
			assert.Equal(t, &record{key: "session_0a", expires: 1795600000}, r)
			assert.Contains(t, heard.String(), "session_0a")
		})
	}
}

type afterExecution struct{ heard io.Writer }

func (a afterExecution) AfterExecution(_ context.Context, in *smithyhttp.InterceptorContext) error {
	tellItem(a.heard, in.Output)
	return nil
}

func tellItem(w io.Writer, output any) {
	id, _ := output.(*dynamodb.GetItemOutput).Item["id"].(*types.AttributeValueMemberS)
	fmt.Fprint(w, id)
}

// TestAnswersOfAnotherProtocol: a later SDK may ask for CBOR, whose answers are no JSON.
func TestAnswersOfAnotherProtocol(t *testing.T) {
	read := func(contentType string) error {
		resp := &smithyhttp.Response{Response: &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader("\xa0")),
		}}
		require.NoError(t, checkAnswer(resp, false))
		_, err := io.ReadAll(resp.Body)
		return err
	}
	require.NoError(t, read("application/cbor"))
	for _, other := range []string{contentType, "text/html", ""} {
		require.Error(t, read(other), other)
	}
}
