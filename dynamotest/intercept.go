package dynamotest

import "context"

// Request is what an Interceptor gets to see of a request.
type Request struct {
	Operation string         // "PutItem"
	Input     map[string]any // its parameters, as JSON decodes them; the interceptor's own copy
}

// Interceptor runs around the requests of a server; see Server.Intercept.
type Interceptor func(ctx context.Context, r Request, apply func()) error

// Intercept has f run around every request from now on; nil ends that. There is one interceptor at
// a time.
//
// f calls apply to have the operation take effect, here and now: what f does before happens before
// it, what it does afterwards happens before the client gets the answer. If f returns an error, or
// without having called apply, the client sees a broken connection. apply may also be kept and
// called later: a request that arrives when its sender has given up; the call log then has it a
// second time. Calling apply twice has one effect. f runs without a lock: it may wait, and it may
// send requests to the same server. Those that it sends with ctx through an in-memory client do not
// come back to f.
func (s *Server) Intercept(f Interceptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}
