package dynamotest

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// A Server is a DynamoDB in memory. NewServer returns one. It is safe for concurrent use.
type Server struct {
	mu         sync.Mutex
	tables     map[string]*table
	tokens     map[string]*transacted
	tokenQueue []*transacted // oldest first
	faults     []*Fault
	calls      CallLog
	intercept  Interceptor
	partial    bool // the operation at work shall leave half of a batch undone
	closed     bool

	web     *http.Server
	webURL  string
	serving sync.WaitGroup
}

// NewServer returns an empty server, without tables and faults. It starts nothing and needs no network.
func NewServer() *Server {
	return &Server{tables: map[string]*table{}, tokens: map[string]*transacted{}}
}

// Close makes every later request fail as if the network were down. If URL was called, it also
// stops the listener, breaks its connections and waits for their requests to end.
// Closing twice does no harm.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	web := s.web
	s.mu.Unlock()
	if web != nil {
		_ = web.Close() // only says that the listener was closed before
		s.serving.Wait()
	}
}

// Client returns a client that talks to this server in memory, without network and goroutines, so
// that it also works inside a testing/synctest bubble. It has credentials that open nothing else,
// and the region us-east-1. optFns can change its options, such as Retryer. All clients of a
// server see the same tables.
func (s *Server) Client(optFns ...func(*dynamodb.Options)) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("dynamotest", "dynamotest", ""),
		BaseEndpoint: aws.String("http://dynamotest.invalid"),
		HTTPClient:   transport{s},
	}, optFns...)
}

// TB is the part of testing.TB that Start needs.
type TB interface {
	Helper()
	Cleanup(func())
}

// Start returns a client of a new server that is closed when the test ends.
func Start(t TB) *dynamodb.Client {
	t.Helper()
	s := NewServer()
	t.Cleanup(s.Close)
	return s.Client()
}

// URL returns the address of the server over real HTTP, for clients of any language:
// http://127.0.0.1 with a free port. The first call opens the listener, and Close closes it. URL
// returns "" if the server is closed or no port could be opened. Requests with any credentials are
// accepted.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.web != nil || s.closed {
		return s.webURL
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	s.webURL = "http://" + l.Addr().String()
	s.web = &http.Server{Handler: http.HandlerFunc(s.serveWaited)}
	s.serving.Add(1)
	go func(web *http.Server) {
		defer s.serving.Done()
		_ = web.Serve(l) // ends with ErrServerClosed
	}(s.web)
	return s.webURL
}

// serveWaited counts the requests that Close has to wait for.
func (s *Server) serveWaited(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	s.ServeHTTP(w, r)
}

// maxBody is the largest request that is read, in bytes, as in the service.
const maxBody = 16<<20 + 1<<10

// ServeHTTP answers one request of the DynamoDB protocol. A fault that breaks the connection
// panics with http.ErrAbortHandler, which net/http turns into just that.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "dynamotest: cannot read the request", http.StatusRequestEntityTooLarge)
		return
	}
	a, err := s.serve(r.Context(), r.Header.Get("X-Amz-Target"), body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), a.header())
	w.WriteHeader(a.status)
	if a.truncated {
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(a.body) // an error means that the client is gone
}

// errClosed is the error of requests to a closed server.
var errClosed = errors.New("dynamotest: server is closed")

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// serve takes one request through faults and interceptor to the operation.
// The error is a broken connection.
func (s *Server) serve(ctx context.Context, target string, body []byte) (*answer, error) {
	if s.isClosed() {
		return nil, errClosed
	}
	r := &request{server: s, name: operationName(target), body: body}
	a, err := r.run(ctx)
	r.end(a, err)
	return a, err
}
