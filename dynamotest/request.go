package dynamotest

import (
	"context"
	"encoding/json"
	"sync"
)

// request is one call on its way through faults, interceptor and operation.
type request struct {
	server *Server
	name   string
	body   []byte
	fault  *Fault

	mu      sync.Mutex // an interceptor may apply from anywhere, and late
	applied *answer
	used    consumed
	ended   bool
}

func (r *request) run(ctx context.Context) (*answer, error) {
	r.fault = r.server.takeFault(r.name)
	f := r.fault
	if f == nil {
		return r.process(ctx)
	}
	if f.Applied || f.Kind.applies() {
		a, err := r.process(ctx)
		if err == nil {
			err = wait(ctx, f.Delay)
		}
		if err != nil {
			return nil, err
		}
		return f.answer(r, a)
	}
	if err := wait(ctx, f.Delay); err != nil {
		return nil, err
	}
	if f.Kind == Slow || f.Kind == Unprocessed {
		return r.process(ctx)
	}
	return f.answer(r, nil)
}

type inside struct{}

// process applies the operation, inside the interceptor if there is one.
func (r *request) process(ctx context.Context) (*answer, error) {
	r.server.mu.Lock()
	around := r.server.intercept
	r.server.mu.Unlock()
	if around == nil || ctx.Value(inside{}) != nil {
		r.apply()
		return r.answer(), nil
	}
	var input map[string]any
	_ = json.Unmarshal(r.body, &input) // what is no JSON has no input
	if err := around(context.WithValue(ctx, inside{}, true), Request{r.name, input}, r.apply); err != nil {
		return nil, err
	}
	if a := r.answer(); a != nil {
		return a, nil
	}
	return nil, errCut()
}

func (r *request) answer() *answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applied
}

// apply has effect once. After the request's end it is what still arrives of it.
func (r *request) apply() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.applied != nil {
		return
	}
	partial := r.fault != nil && r.fault.Kind == Unprocessed
	r.applied = r.server.apply(r.name, r.body, partial, &r.used)
	if r.ended {
		r.log(nil, errCut())
	}
}

// end logs the request. The caller gets the answer, or the error of a broken connection.
func (r *request) end(a *answer, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log(a, err)
	r.ended = true
}
