package dynamotest

import (
	"slices"
)

// Call is one request that reached the server, whatever became of it.
type Call struct {
	Operation string // "GetItem"
	// Code is the error code of the answer, "" if it was none.
	Code string
	// Fault is the kind of fault that hit the request, "" if none or Slow.
	Fault FaultKind
	// Answered is false if the client got no answer: the connection broke or the client gave up.
	Answered bool
	// Applied is true if the operation was carried out, be it with an error.
	Applied bool
	// ReadUnits and WriteUnits are what DynamoDB charges, indexes included; also for refused
	// conditions, cancelled transactions, and answers that the client did not get.
	ReadUnits, WriteUnits float64
	// RequestBytes and AnswerBytes are the lengths of the two bodies.
	RequestBytes, AnswerBytes int
}

// CallLog is a list of calls, oldest first.
type CallLog []Call

// Count returns the number of calls of one operation; "" counts all.
func (l CallLog) Count(operation string) int {
	n := 0
	for _, c := range l {
		if operation == "" || c.Operation == operation {
			n++
		}
	}
	return n
}

// Units adds up what the calls cost.
func (l CallLog) Units() (read, write float64) {
	for _, c := range l {
		read += c.ReadUnits
		write += c.WriteUnits
	}
	return read, write
}

// Calls returns what reached the server since NewServer or ResetCalls, in the order in which it was
// answered. Repetitions by the SDK are calls of their own.
func (s *Server) Calls() CallLog {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// ResetCalls empties the list of calls.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

func (r *request) log(a *answer, err error) {
	c := Call{Operation: r.name, Applied: r.applied != nil, Answered: err == nil, RequestBytes: len(r.body)}
	if a != nil {
		c.Code, c.AnswerBytes = a.code, len(a.body)
	}
	if r.fault != nil {
		c.Fault = r.fault.Kind
	}
	c.ReadUnits, c.WriteUnits = r.used.units()
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.server.calls = append(r.server.calls, c)
}
