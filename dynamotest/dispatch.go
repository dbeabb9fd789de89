package dynamotest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// operation decodes a request and applies it under the server's lock.
type operation func(s *Server, name string, body []byte, partial bool, c *consumed) (any, *apiError)

var operations = map[string]operation{
	"BatchGetItem":       op((*Server).batchGetItem),
	"BatchWriteItem":     op((*Server).batchWriteItem),
	"CreateTable":        op((*Server).createTable),
	"DeleteItem":         op((*Server).deleteItem),
	"DeleteTable":        op((*Server).deleteTable),
	"DescribeTable":      op((*Server).describeTable),
	"DescribeTimeToLive": op((*Server).describeTimeToLive),
	"GetItem":            op((*Server).getItem),
	"ListTables":         op((*Server).listTables),
	"PutItem":            op((*Server).putItem),
	"Query":              op((*Server).query),
	"Scan":               op((*Server).scan),
	"TransactGetItems":   op((*Server).transactGetItems),
	"TransactWriteItems": op((*Server).transactWriteItems),
	"UpdateItem":         op((*Server).updateItem),
	"UpdateTable":        op((*Server).updateTable),
	"UpdateTimeToLive":   op((*Server).updateTimeToLive),
}

func op[In any](apply func(*Server, *In, *consumed) (any, *apiError)) operation {
	return func(s *Server, name string, body []byte, partial bool, c *consumed) (any, *apiError) {
		var in In
		if err := decode(name, body, &in); err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.partial = partial
		return apply(s, &in, c)
	}
}

// decode refuses parameters that the package does not know.
func decode(name string, body []byte, in any) *apiError {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(in)
	if err == nil {
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return &apiError{code: "SerializationException", message: "dynamotest: " + name + ": more than one JSON value"}
		}
		return nil
	}
	if _, field, ok := strings.Cut(err.Error(), "unknown field "); ok {
		return unsupported(name + ": parameter " + strings.Trim(field, `"`))
	}
	return &apiError{code: "SerializationException", message: "dynamotest: " + name + ": " + err.Error()}
}

// apply runs the operation itself and makes its answer.
func (s *Server) apply(name string, body []byte, partial bool, c *consumed) *answer {
	run, ok := operations[name]
	if !ok {
		return errorAnswer(&apiError{code: "UnknownOperationException", message: "dynamotest: operation " + name + " is not supported"})
	}
	out, err := run(s, name, body, partial, c)
	if err != nil {
		return errorAnswer(err)
	}
	b, e := json.Marshal(out)
	if e != nil {
		return errorAnswer(&apiError{code: "InternalServerError", message: "dynamotest: " + e.Error()})
	}
	return &answer{status: http.StatusOK, body: b}
}

func errorAnswer(err *apiError) *answer {
	return &answer{status: status(err.code), body: err.body(), code: err.code}
}

// unprocessedAfter says how many entries of a batch of n to process.
func (s *Server) unprocessedAfter(n int) int {
	if s.partial {
		return n / 2
	}
	return n
}
