package protocol

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// With endpoint discovery the SDK asks for endpoints in a goroutine of its own, with the context
// of the first call. What that one meets is nothing of the call's.

const (
	discoveredItem = `{"Item":{"id":{"S":"k"},"expires":{"N":"1795600000"}}}`
	discovered     = `{"Endpoints":[{"Address":"dynamodb.us-east-1.amazonaws.com","CachePeriodInMinutes":1}]}`
)

// discovering is an HTTP client with an answer to DescribeEndpoints, and one to all else.
type discovering struct {
	endpoints, other func() (*http.Response, error)
}

func (d *discovering) Do(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DescribeEndpoints") {
		return d.endpoints()
	}
	return d.other()
}

func (d *discovering) table() *Table {
	client := dynamodb.New(dynamodb.Options{
		Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: d,
		EndpointDiscovery: dynamodb.EndpointDiscoveryOptions{EnableEndpointDiscovery: aws.EndpointDiscoveryEnabled},
	})
	return NewTable(client, "sessions", Columns{ID: "id", Expires: "expires", Data: "data", User: "user"}, false)
}

// told is a body with something to do at its first byte and at its end.
type told struct {
	io.Reader
	once         sync.Once
	first, close func()
}

func (b *told) Read(p []byte) (int, error) {
	b.once.Do(b.first)
	return b.Reader.Read(p)
}

func (b *told) Close() error {
	b.close()
	return nil
}

func answerWith(text string, first, end func()) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: &told{Reader: strings.NewReader(text), first: first, close: end}}
}

func nothing() {}

// TestDiscoveryBesideARead: the endpoints' answer comes right after the item's.
func TestDiscoveryBesideARead(t *testing.T) {
	come, read := make(chan struct{}), make(chan struct{})
	d := &discovering{
		endpoints: func() (*http.Response, error) {
			<-come
			return answerWith(discovered, nothing, func() { close(read) }), nil
		},
		other: func() (*http.Response, error) {
			return answerWith(discoveredItem, nothing, func() { close(come); <-read }), nil
		},
	}
	r, err := d.table().Get(t.Context(), &Stats{}, "k", true)
	require.NoError(t, err)
	assert.Equal(t, &Record{Key: "k", Expires: 1795600000}, r)
}

// TestDiscoveryAfterARead: the endpoints' answer is read when the call is over.
func TestDiscoveryAfterARead(t *testing.T) {
	begun, over, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
	d := &discovering{
		endpoints: func() (*http.Response, error) {
			return answerWith(discovered, func() { close(begun); <-over }, func() { close(end) }), nil
		},
		other: func() (*http.Response, error) {
			<-begun
			return answerWith(discoveredItem, nothing, nothing), nil
		},
	}
	r, err := d.table().Get(t.Context(), &Stats{}, "k", true)
	require.NoError(t, err)
	assert.Equal(t, &Record{Key: "k", Expires: 1795600000}, r)
	close(over)
	<-end
}

// TestDiscoveryThatFails: DynamoDB has refused the write, whatever the endpoints' call has met.
func TestDiscoveryThatFails(t *testing.T) {
	for range 20 {
		failed := make(chan struct{})
		d := &discovering{
			endpoints: func() (*http.Response, error) {
				defer close(failed)
				return nil, io.ErrUnexpectedEOF
			},
			other: func() (*http.Response, error) {
				<-failed
				resp := answerWith(`{"__type":"ValidationException"}`, nothing, nothing)
				resp.StatusCode = http.StatusBadRequest
				return resp, nil
			},
		}
		var stats Stats
		_, err := d.table().Send(context.Background(), &stats, Create(&Record{Key: "k"}))
		require.Error(t, err)
		require.False(t, stats.Unanswered)
	}
}
