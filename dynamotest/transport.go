package dynamotest

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// answer is a response on its way to the client.
type answer struct {
	status    int
	body      []byte
	code      string // of an error
	truncated bool
	badSum    bool
}

func (a *answer) header() http.Header {
	sum := crc32.ChecksumIEEE(a.body)
	if a.badSum {
		sum = ^sum
	}
	h := http.Header{}
	h.Set("Content-Type", "application/x-amz-json-1.0")
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	h.Set("X-Amz-Crc32", strconv.FormatUint(uint64(sum), 10))
	h.Set("X-Amzn-Requestid", fmt.Sprintf("DYNAMOTEST%022X", time.Now().UnixNano()))
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	return h
}

// transport is the HTTP client of in-memory clients.
type transport struct{ server *Server }

// Do makes transport an aws.HTTPClient.
func (t transport) Do(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err := errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	a, err := t.server.serve(r.Context(), r.Header.Get("X-Amz-Target"), body)
	if err != nil {
		return nil, err
	}
	var reader io.Reader = bytes.NewReader(a.body)
	if a.truncated {
		reader = io.MultiReader(bytes.NewReader(a.body[:len(a.body)/2]), brokenReader{})
	}
	return &http.Response{
		Status:        strconv.Itoa(a.status) + " " + http.StatusText(a.status),
		StatusCode:    a.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        a.header(),
		Body:          io.NopCloser(reader),
		ContentLength: int64(len(a.body)),
		Request:       r,
	}, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// errCut is what a client sees of a connection that breaks.
func errCut() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
}

func operationName(target string) string {
	_, name, _ := strings.Cut(target, ".")
	return name
}
