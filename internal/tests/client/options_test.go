package client_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// These tests hold that a Store leaves a client's options alone: what the caller's client does, its calls do.

// storeOf returns a Store on a table, whose calls have with's options.
func storeOf(t *testing.T, with func(o *dynamodb.Options)) *dynasession.Store {
	t.Helper()
	plain := dynamotest.Start(t)
	made, err := dynasession.New(plain, dynasession.Config{})
	require.NoError(t, err)
	require.NoError(t, made.CreateTable(t.Context()))
	store, err := dynasession.New(dynamodb.New(plain.Options(), with), dynasession.Config{})
	require.NoError(t, err)
	return store
}

// TestClientsMiddlewares: whatever looks at a call's output sees the item.
func TestClientsMiddlewares(t *testing.T) {
	for name, listen := range map[string]func(o *dynamodb.Options, seen *strings.Builder){
		"log": func(o *dynamodb.Options, seen *strings.Builder) {
			o.ClientLogMode = aws.LogResponseWithBody
			o.Logger = logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) { fmt.Fprintf(seen, format, v...) })
		},
		"middleware": func(o *dynamodb.Options, seen *strings.Builder) {
			look := middleware.InitializeMiddlewareFunc("look", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleInitialize(ctx, in)
				writeItem(seen, out.Result)
				return out, meta, err
			})
			o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return stack.Initialize.Add(look, middleware.Before) })
		},
		"interceptor": func(o *dynamodb.Options, seen *strings.Builder) {
			o.Interceptors.AddAfterExecution(afterExecution{seen})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var seen strings.Builder
			store := storeOf(t, func(o *dynamodb.Options) { listen(o, &seen) })
			id := store.CreateID()
			require.NoError(t, store.Write(t.Context(), id, []byte(`{"a":"marker"}`)))
			data, err := store.Read(t.Context(), id)
			require.NoError(t, err)
			assert.JSONEq(t, `{"a":"marker"}`, string(data))
			assert.Contains(t, seen.String(), "marker")
		})
	}
}

type afterExecution struct{ seen *strings.Builder }

func (a afterExecution) AfterExecution(_ context.Context, in *smithyhttp.InterceptorContext) error {
	writeItem(a.seen, in.Output)
	return nil
}

func writeItem(w *strings.Builder, output any) {
	if out, ok := output.(*dynamodb.GetItemOutput); ok && out != nil {
		if data, ok := out.Item["data"].(*types.AttributeValueMemberS); ok {
			w.WriteString(data.Value)
		}
	}
}

// TestClientsChanges: what a middleware changes in a request is sent.
func TestClientsChanges(t *testing.T) {
	var asked atomic.Bool
	store := storeOf(t, func(o *dynamodb.Options) {
		change := middleware.InitializeMiddlewareFunc("change", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			if put, ok := in.Parameters.(*dynamodb.UpdateItemInput); ok {
				put.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
			}
			out, meta, err := next.HandleInitialize(ctx, in)
			if out, ok := out.Result.(*dynamodb.UpdateItemOutput); ok && out != nil && out.ConsumedCapacity != nil {
				asked.Store(true)
			}
			return out, meta, err
		})
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return stack.Initialize.Add(change, middleware.After) })
	})
	id := store.CreateID()
	require.NoError(t, store.Write(t.Context(), id, []byte(`{}`)))
	require.NoError(t, store.Write(t.Context(), id, []byte(`{"a":1}`)))
	assert.True(t, asked.Load())
}

// countingProtocol counts the requests that it writes.
type countingProtocol struct {
	smithyhttp.ClientProtocol
	n atomic.Int32
}

func (c *countingProtocol) SerializeRequest(ctx context.Context, schema *smithy.OperationSchema, in smithy.Serializable, r *smithyhttp.Request) error {
	c.n.Add(1)
	return c.ClientProtocol.SerializeRequest(ctx, schema, in, r)
}

// TestClientsProtocol: dynamodb.New puts its own Protocol in the place of the options', and so must be told again.
func TestClientsProtocol(t *testing.T) {
	var mine countingProtocol
	store := storeOf(t, func(o *dynamodb.Options) {
		mine.ClientProtocol = o.Protocol
		o.Protocol = &mine
	})
	for range 3 {
		require.NoError(t, store.Destroy(t.Context(), store.CreateID()))
	}
	assert.EqualValues(t, 3, mine.n.Load())
}

// TestClientsPath: DynamoDB may be behind a path.
func TestClientsPath(t *testing.T) {
	for name, with := range map[string]func(*dynamodb.Options){
		"BaseEndpoint": func(o *dynamodb.Options) { o.BaseEndpoint = aws.String("http://proxy.example/dynamo/v1") },
		"resolver": func(o *dynamodb.Options) {
			o.EndpointResolver = dynamodb.EndpointResolverFromURL("http://proxy.example/dynamo/v1") //nolint:staticcheck // SA1019: users may still have one
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := stage.Embedded(t)
			var urls []string
			client := dynamodb.New(b.Client.Options(), with, func(o *dynamodb.Options) {
				o.HTTPClient = smithyhttp.ClientDoFunc(func(r *http.Request) (*http.Response, error) {
					urls = append(urls, r.URL.String())
					return stage.AnswerWith(http.StatusBadRequest, "ResourceNotFoundException"), nil
				})
			})
			store, err := dynasession.New(client, dynasession.Config{})
			require.NoError(t, err)
			_, err = store.Read(t.Context(), store.CreateID())
			require.ErrorIs(t, err, dynasession.ErrTable)
			require.Len(t, urls, 1)
			assert.True(t, strings.HasPrefix(urls[0], "http://proxy.example/dynamo/v1"), urls[0])
		})
	}
}

// changingEndpoint is a resolver whose answer is another one each time.
type changingEndpoint struct{ calls atomic.Int32 }

func (c *changingEndpoint) ResolveEndpoint(context.Context, dynamodb.EndpointParameters) (smithyendpoints.Endpoint, error) {
	return smithyendpoints.Endpoint{URI: url.URL{Scheme: "http", Host: fmt.Sprintf("answer-%d.example", c.calls.Add(1))}}, nil
}

func TestClientsEndpointResolver(t *testing.T) {
	var mine changingEndpoint
	store := storeOf(t, func(o *dynamodb.Options) { o.EndpointResolverV2 = &mine })
	for range 3 {
		require.NoError(t, store.Destroy(t.Context(), store.CreateID()))
	}
	assert.EqualValues(t, 3, mine.calls.Load())
}

// TestGzip: dynamodb.Options.EnableAcceptEncodingGzip.
func TestGzip(t *testing.T) {
	srv := dynamotest.NewServer()
	t.Cleanup(srv.Close)
	compressed := 0
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		srv.ServeHTTP(answer, r)
		maps.Copy(w.Header(), answer.Header())
		w.Header().Del("Content-Length")
		w.Header().Del("X-Amz-Crc32")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(answer.Code)
		assert.Equal(t, "gzip", r.Header.Get("Accept-Encoding"))
		compressed++
		z := gzip.NewWriter(w)
		_, _ = z.Write(answer.Body.Bytes())
		_ = z.Close()
	}))
	defer front.Close()
	client := dynamodb.New(srv.Client().Options(), func(o *dynamodb.Options) {
		o.BaseEndpoint, o.HTTPClient, o.EnableAcceptEncodingGzip = &front.URL, front.Client(), true
	}, stage.RetryAtOnce)
	s, err := dynasession.New(client, dynasession.Config{})
	require.NoError(t, err)
	require.NoError(t, s.CreateTable(t.Context()))
	id := s.CreateID()
	require.NoError(t, s.Write(t.Context(), id, []byte(`{"a":1}`)))
	data, err := s.Read(t.Context(), id)
	require.NoError(t, err)
	assert.JSONEq(t, `{"a":1}`, string(data))
	assert.Positive(t, compressed)
}
