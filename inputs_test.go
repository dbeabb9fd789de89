package dynasession

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/metrics"
	"github.com/aws/smithy-go/middleware"
	"github.com/aws/smithy-go/tracing"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asking is an HTTP client that keeps the last request.
type asking struct {
	request *http.Request
	body    []byte
}

func (a *asking) Do(r *http.Request) (*http.Response, error) {
	a.request = r
	a.body, _ = io.ReadAll(r.Body)
	return (&answering{[]byte("{}")}).Do(r)
}

func (a *asking) client(with ...func(*dynamodb.Options)) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: a,
	}, with...)
}

func withOwnRequests(o *dynamodb.Options) { o.APIOptions = append(o.APIOptions, new(ownRequests).add) }

// withOtherSerializer is an SDK whose serializer has another name.
func withOtherSerializer(o *dynamodb.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		sdk, err := stack.Serialize.Remove("OperationSerializer")
		if err != nil {
			return err
		}
		return stack.Serialize.Add(middleware.SerializeMiddlewareFunc("Renamed", sdk.HandleSerialize), middleware.After)
	}, new(ownRequests).add)
}

func send(c *dynamodb.Client, input any) (err error) {
	switch in := input.(type) {
	case *dynamodb.GetItemInput:
		_, err = c.GetItem(context.Background(), in)
	case *dynamodb.PutItemInput:
		_, err = c.PutItem(context.Background(), in)
	case *dynamodb.UpdateItemInput:
		_, err = c.UpdateItem(context.Background(), in)
	case *dynamodb.DeleteItemInput:
		_, err = c.DeleteItem(context.Background(), in)
	case *dynamodb.ScanInput:
		_, err = c.Scan(context.Background(), in)
	}
	return err
}

// sameRequests compares what the SDK sends for input with what it sends with our body.
func sameRequests(t *testing.T, input any, with ...func(*dynamodb.Options)) {
	t.Helper()
	var sdk, own asking
	require.NoError(t, send(sdk.client(with...), input))
	for _, as := range []func(*dynamodb.Options){withOwnRequests, withOtherSerializer} {
		client := own.client(append(slices.Clip(with), as)...)
		for range 2 { // the first one is the SDK's
			require.NoError(t, send(client, input))
			require.JSONEq(t, string(sdk.body), string(own.body))
			require.Equal(t, sdk.request.Method, own.request.Method)
			require.Equal(t, sdk.request.URL, own.request.URL)
			require.EqualValues(t, len(own.body), own.request.ContentLength)
			want, got := maps.Clone(sdk.request.Header), maps.Clone(own.request.Header)
			for _, h := range []http.Header{want, got} {
				require.NotEmpty(t, h["Amz-Sdk-Invocation-Id"])
				delete(h, "Amz-Sdk-Invocation-Id") // another one for each call
			}
			require.Equal(t, want, got)
		}
	}
}

func inputsOf(key, text string, data []byte) (usual, other []any) {
	s := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
	b := &types.AttributeValueMemberB{Value: data}
	names := map[string]string{"#d": text, "#e": "expires"}
	values := map[string]types.AttributeValue{":d": s(text), ":b": b, ":e": &types.AttributeValueMemberN{Value: "1795600000"}}
	id := map[string]types.AttributeValue{key: s(text)}
	total, old := types.ReturnConsumedCapacityTotal, types.ReturnValuesOnConditionCheckFailureAllOld
	return []any{
			&dynamodb.GetItemInput{TableName: &key, Key: id},
			&dynamodb.GetItemInput{TableName: &key, Key: id, ConsistentRead: aws.Bool(false)},
			&dynamodb.GetItemInput{TableName: &key, Key: id, ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: total},
			&dynamodb.PutItemInput{TableName: &key, Item: map[string]types.AttributeValue{key: s(text), "b": b}, ConditionExpression: &text},
			&dynamodb.PutItemInput{
				TableName: &key, Item: values, ConditionExpression: &text, ExpressionAttributeNames: names,
				ExpressionAttributeValues: values, ReturnConsumedCapacity: total, ReturnValuesOnConditionCheckFailure: old,
			},
			&dynamodb.UpdateItemInput{TableName: &key, Key: id, UpdateExpression: &text},
			&dynamodb.UpdateItemInput{
				TableName: &key, Key: id, UpdateExpression: &text, ConditionExpression: &text, ExpressionAttributeNames: names,
				ExpressionAttributeValues: values, ReturnConsumedCapacity: total, ReturnValues: types.ReturnValueAllNew,
				ReturnValuesOnConditionCheckFailure: old,
			},
			&dynamodb.DeleteItemInput{TableName: &key, Key: id},
			&dynamodb.DeleteItemInput{
				TableName: &key, Key: id, ConditionExpression: &text, ExpressionAttributeNames: names,
				ExpressionAttributeValues: values, ReturnConsumedCapacity: total, ReturnValuesOnConditionCheckFailure: old,
			},
		}, []any{
			&dynamodb.GetItemInput{TableName: &key, Key: map[string]types.AttributeValue{key: &types.AttributeValueMemberBOOL{}}},
			&dynamodb.ScanInput{TableName: &key, FilterExpression: &text},
		}
}

func TestAppendInput(t *testing.T) {
	for _, text := range []string{"", "a", `{"a":"b\n","c":"\\ü"}`, "\x00\x1f\x7f\b\f\n\r\t/<>&\u2028 東京 😀", strings.Repeat(`long "`, 10_000)} {
		usual, other := inputsOf("id", text, []byte(text))
		for _, input := range usual {
			_, ok := appendInput(nil, input)
			assert.True(t, ok, "%T", input)
			sameRequests(t, input)
		}
		for _, input := range other {
			_, ok := appendInput(nil, input)
			assert.False(t, ok, "%T", input)
			sameRequests(t, input)
		}
	}
	usual, _ := inputsOf("id", "no UTF-8: \xff", []byte("\xff"))
	for _, input := range usual {
		_, ok := appendInput(nil, input)
		assert.False(t, ok, "%T", input)
		sameRequests(t, input)
	}
}

// FuzzAppendInput: what the Store asks for itself is what the SDK would ask.
func FuzzAppendInput(f *testing.F) {
	f.Add("id", "a\"\\\n", []byte{0xC1, 8})
	f.Add("", "\xff", []byte(nil))
	f.Add("\x00\u2029", "😀\xed\xa0\x80", []byte{})
	f.Fuzz(func(t *testing.T, key, text string, data []byte) {
		usual, _ := inputsOf(key, text, data)
		for _, input := range usual {
			body, ok := appendInput([]byte("before "), input)
			if !ok {
				continue
			}
			var sdk asking
			if send(sdk.client(), input) != nil {
				continue // the SDK refuses some values by itself
			}
			body, found := bytes.CutPrefix(body, []byte("before "))
			require.True(t, found)
			require.True(t, json.Valid(body), "%s", body)
			require.JSONEq(t, string(sdk.body), string(body))
		}
	})
}

// TestRequestsOfItsOwn: each of the table's calls is written without the SDK, but for the first; none of a
// client that others hear, and none where the SDK speaks another protocol.
func TestRequestsOfItsOwn(t *testing.T) {
	calls := map[string]func(*table){
		"get": func(tb *table) { _, _ = tb.get(t.Context(), &trace{}, "k", true) },
		"create": func(tb *table) {
			_ = tb.create(t.Context(), &trace{}, &record{key: "k", data: []byte("{}"), marks: "m", rev: 1})
		},
		"touch": func(tb *table) {
			_ = tb.touch(t.Context(), &trace{}, &record{key: "k"}, &record{key: "k", expires: 1}, 1)
		},
		"destroy": func(tb *table) { _ = tb.destroy(t.Context(), &trace{}, "k", "") },
		"acquire": func(tb *table) { _, _ = tb.acquire(t.Context(), &trace{}, "k", &lease{holder: "h"}, 1, 1) },
	}
	for name, call := range calls {
		for _, tc := range []struct {
			name    string
			sdk     counted
			options func(*dynamodb.Options)
			want    int
		}{
			{"alone", counted{}, func(*dynamodb.Options) {}, 1},
			{"heard", counted{}, func(o *dynamodb.Options) { o.APIOptions = o.APIOptions[:1] }, 4},
			{"another content type", counted{header: "Content-Type", value: "application/cbor"}, func(*dynamodb.Options) {}, 4},
			{"another target", counted{header: "X-Amz-Target", value: "DynamoDB_2033.GetItem"}, func(*dynamodb.Options) {}, 4},
		} {
			t.Run(name+", "+tc.name, func(t *testing.T) {
				var a asking
				n := 0
				table := newTable(a.client(), plainConfig)
				table.client = dynamodb.New(table.client.Options(), func(o *dynamodb.Options) {
					o.APIOptions = append([]func(*middleware.Stack) error{func(stack *middleware.Stack) error {
						sdk, ok := stack.Serialize.Get("OperationSerializer")
						require.True(t, ok)
						tc.sdk.SerializeMiddleware, tc.sdk.n = sdk, &n
						_, err := stack.Serialize.Swap("OperationSerializer", tc.sdk)
						return err
					}}, o.APIOptions...)
				}, tc.options)
				for range 4 {
					call(table)
					require.NotEmpty(t, a.body)
				}
				assert.Equal(t, tc.want, n)
			})
		}
	}
}

// counted counts what the SDK serializes, and may write another header.
type counted struct {
	middleware.SerializeMiddleware
	n             *int
	header, value string
}

func (c counted) HandleSerialize(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
	*c.n++
	return c.SerializeMiddleware.HandleSerialize(ctx, in, middleware.SerializeHandlerFunc(
		func(ctx context.Context, in middleware.SerializeInput) (middleware.SerializeOutput, middleware.Metadata, error) {
			if c.header != "" {
				in.Request.(*smithyhttp.Request).Header.Set(c.header, c.value)
			}
			return next.HandleSerialize(ctx, in)
		}))
}

// TestHeardRequests: what a middleware changes of a request is sent, and what is measured goes on
// to be.
func TestHeardRequests(t *testing.T) {
	put := func(a *asking, with func(*dynamodb.Options)) {
		table := newTable(a.client(with), plainConfig)
		for range 2 { // the first one is the SDK's anyway
			require.NoError(t, table.create(t.Context(), &trace{}, &record{key: "k"}))
		}
	}
	t.Run("middleware", func(t *testing.T) {
		var a asking
		put(&a, func(o *dynamodb.Options) {
			ask := middleware.InitializeMiddlewareFunc("ask", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				in.Parameters.(*dynamodb.PutItemInput).ReturnItemCollectionMetrics = types.ReturnItemCollectionMetricsSize
				return next.HandleInitialize(ctx, in)
			})
			o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return stack.Initialize.Add(ask, middleware.After) })
		})
		assert.Contains(t, string(a.body), "ReturnItemCollectionMetrics")
	})
	t.Run("tracer", func(t *testing.T) {
		var a asking
		var spans spanNames
		put(&a, func(o *dynamodb.Options) { o.TracerProvider = &spans })
		assert.Equal(t, 2, strings.Count(strings.Join(spans.names, " "), "OperationSerializer"))
	})
	for name, with := range map[string]func(*dynamodb.Options){
		"meter":             func(o *dynamodb.Options) { o.MeterProvider = otherMeters{} },
		"quiet interceptor": func(o *dynamodb.Options) { o.Interceptors.AddAfterExecution(quietInterceptor{}) },
	} {
		t.Run(name, func(t *testing.T) {
			assert.True(t, isHeard((&asking{}).client(with).Options()))
		})
	}
	assert.False(t, isHeard((&asking{}).client().Options()))
}

// quietInterceptor does not look like one.
type quietInterceptor struct{ afterExecution }

func (quietInterceptor) String() string { return "" }

// TestRequestsToOtherPlaces: DynamoDB may be behind a path.
func TestRequestsToOtherPlaces(t *testing.T) {
	for name, with := range map[string]func(*dynamodb.Options){
		"BaseEndpoint": func(o *dynamodb.Options) { o.BaseEndpoint = aws.String("http://proxy.example/dynamo/v1") },
		"resolver": func(o *dynamodb.Options) {
			o.EndpointResolver = dynamodb.EndpointResolverFromURL("http://proxy.example/dynamo/v1") //nolint:staticcheck // SA1019: users may still have one
		},
	} {
		t.Run(name, func(t *testing.T) {
			usual, _ := inputsOf("id", "text", []byte("data"))
			for _, input := range usual {
				sameRequests(t, input, with)
			}
		})
	}
}

type spanNames struct {
	tracing.NopTracerProvider
	names []string
}

func (s *spanNames) Tracer(string, ...tracing.TracerOption) tracing.Tracer { return s }

func (s *spanNames) StartSpan(ctx context.Context, name string, _ ...tracing.SpanOption) (context.Context, tracing.Span) {
	s.names = append(s.names, name)
	return s.NopTracerProvider.Tracer("").StartSpan(ctx, name)
}

type otherMeters struct{ metrics.NopMeterProvider }

// TestRequestBodyIsOnesOwn: a transport may still read a body when the next call is written.
func TestRequestBodyIsOnesOwn(t *testing.T) {
	var bodies [][]byte
	for n := range 8 {
		body, ok := requestBody(&dynamodb.GetItemInput{TableName: aws.String(strconv.Itoa(n))})
		require.True(t, ok)
		bodies = append(bodies, body)
	}
	for n, body := range bodies {
		assert.JSONEq(t, fmt.Sprintf(`{"TableName":"%d"}`, n), string(body))
	}
}
