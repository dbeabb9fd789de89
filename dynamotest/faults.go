package dynamotest

import (
	"context"
	"net/http"
	"time"
)

// FaultKind is what goes wrong. The zero FaultKind is Slow.
type FaultKind string

// The kinds of faults.
const (
	// Slow only waits for Fault.Delay, then all goes well.
	Slow FaultKind = ""
	// Refuse answers with the error Fault.Code.
	Refuse FaultKind = "refuse"
	// Cut breaks the connection: no answer.
	Cut FaultKind = "cut"
	// Truncate breaks the connection in the middle of the answer's body.
	Truncate FaultKind = "truncate"
	// Garbage answers 200 with a body that is no JSON.
	Garbage FaultKind = "garbage"
	// Checksum answers with a wrong x-amz-crc32, which the AWS SDK for Go v2 logs but
	// takes; a Store asks again.
	Checksum FaultKind = "checksum"
	// Unprocessed leaves the second half of a BatchGetItem or BatchWriteItem undone, of a single
	// entry that one; other operations are not changed.
	Unprocessed FaultKind = "unprocessed"
)

// applies says whether the kind implies that the operation took effect.
func (k FaultKind) applies() bool {
	switch k {
	case Truncate, Garbage, Checksum:
		return true
	}
	return false
}

// Fault is something that goes wrong on demand; see Server.Fault.
type Fault struct {
	// Operation is the one that is hit, as "UpdateItem"; "" is any.
	Operation string
	// Kind is what happens.
	Kind FaultKind
	// Code is the error of Refuse, as "ThrottlingException"; "" is InternalServerError. It also
	// sets the HTTP status: 500 for InternalServerError and InternalFailure, 503 for
	// ServiceUnavailable, else 400. TransactionConflictException on TransactWriteItems becomes the
	// TransactionCanceledException that the service answers there.
	Code string
	// Reasons are why Refuse cancels a TransactWriteItems: a code for each of its actions, as
	// "ThrottlingError", "ProvisionedThroughputExceeded" or "TransactionConflict"; "" or "None" for
	// those that are not at fault. Code is TransactionCanceledException then, whatever it says.
	Reasons []string
	// Applied lets the operation take effect although Refuse or Cut hides it from the client.
	// Truncate, Garbage and Checksum always let it.
	Applied bool
	// Delay is waited first, or, if the operation takes effect, between that and the answer. Slow
	// waits before the operation unless Applied is set. A request whose context ends while it
	// waits goes no further.
	Delay time.Duration
	// Skip is the number of matching requests that pass before the first is hit.
	Skip int
	// Times is the number of requests that are hit; 0 is one, below zero is all.
	Times int
}

// Fault has f happen to requests from now on. A request meets one fault at most: the oldest that
// matches it and is not used up. The SDK repeats many failures by itself, so a fault that shall
// reach the program needs Times, or a client without retries.
func (s *Server) Fault(f Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults takes back every fault.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) takeFault(operation string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		switch {
		case f.Operation != "" && f.Operation != operation, f.Times == 0:
		case f.Skip > 0:
			f.Skip--
		default:
			if f.Times > 0 {
				f.Times--
			}
			return f
		}
	}
	return nil
}

// wait is a sleep that ends with the context.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer spoils the answer a, which is nil if the operation did not take effect.
func (f *Fault) answer(r *request, a *answer) (*answer, error) {
	switch f.Kind {
	case Refuse:
		return errorAnswer(f.refusal(r)), nil
	case Cut:
		return nil, errCut()
	case Truncate:
		b := *a
		b.truncated = true
		return &b, nil
	case Garbage:
		return &answer{status: http.StatusOK, body: []byte("<html>not what you expect</html>")}, nil
	case Checksum:
		b := *a
		b.badSum = true
		return &b, nil
	}
	return a, nil
}

func (f *Fault) refusal(r *request) *apiError {
	code := f.Code
	if code == "" {
		code = "InternalServerError"
	}
	err := &apiError{code: code, message: "dynamotest: a fault on demand"}
	if r.name == "TransactWriteItems" && len(f.Reasons) > 0 {
		failures := make([]*apiError, len(f.Reasons))
		for i, reason := range f.Reasons {
			if reason != "" && reason != "None" {
				failures[i] = &apiError{code: reason, message: "dynamotest: a fault on demand"}
			}
		}
		return cancelled(failures)
	}
	if r.name == "TransactWriteItems" && (code == "TransactionConflictException" || code == "TransactionCanceledException") {
		var in transactWriteInput
		if decode(r.name, r.body, &in) == nil && len(in.TransactItems) > 0 {
			failures := make([]*apiError, len(in.TransactItems))
			failures[0] = &apiError{code: "TransactionConflictException", message: "Transaction is ongoing for the item"}
			return cancelled(failures)
		}
	}
	return err
}
