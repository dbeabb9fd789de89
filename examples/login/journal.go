package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dynasession/dynasession"
)

// journal remembers what the last requests of each session did in DynamoDB, for the panel "What just happened".
type journal struct {
	mu      sync.Mutex
	entries []*entry // oldest first
}

const (
	journalSize = 1000
	panelSize   = 6

	// The on-demand prices in us-east-1, in dollars for a million units.
	readPrice  = 0.125
	writePrice = 0.625
)

// entry is one request.
type entry struct {
	Request string

	mu        sync.Mutex
	calls     []string
	refs      []string // of its session, before and after a renewal
	read      float64
	write     float64
	conflicts int
	ops       []string
}

type entryKey struct{}

func entryOf(ctx context.Context) *entry {
	e, _ := ctx.Value(entryKey{}).(*entry)
	return e
}

// begin goes around the middleware: its operations then have the entry in their contexts.
func (j *journal) begin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := &entry{Request: r.Method + " " + r.URL.Path}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), entryKey{}, e)))
	})
}

// end goes inside the middleware: there the session is known. When the handler has returned, it is saved.
func (j *journal) end(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		e := entryOf(r.Context())
		e.mu.Lock()
		used := len(e.ops) > 0
		e.mu.Unlock()
		if !used {
			return // it did nothing with its session
		}
		if sess, err := dynasession.Load(r.Context()); err == nil { // it is loaded: this makes no call
			e.note(func() { e.refs = append(e.refs, sess.Ref()) })
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.entries = append(j.entries, e); len(j.entries) > journalSize {
			j.entries = slices.Clone(j.entries[journalSize/2:])
		}
	})
}

// note changes e, which several goroutines may do. e may be nil: then there is no request.
func (e *entry) note(f func()) {
	if e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		f()
	}
}

// observe is the Config.Observer.
func (*journal) observe(ctx context.Context, ev dynasession.Event) {
	e := entryOf(ctx)
	e.note(func() {
		e.ops = append(e.ops, ev.Op)
		e.refs = append(e.refs, ev.Ref)
		e.read += ev.ReadUnits
		e.write += ev.WriteUnits
		e.conflicts += ev.Conflicts
	})
}

// watch is an option of a DynamoDB client: it notes the calls.
func (*journal) watch(o *dynamodb.Options) { o.HTTPClient = watched{o.HTTPClient} }

type watched struct{ next dynamodb.HTTPClient }

func (w watched) Do(r *http.Request) (*http.Response, error) {
	_, call, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	e := entryOf(r.Context())
	e.note(func() { e.calls = append(e.calls, call) })
	return w.next.Do(r)
}

// happened is an entry as the panel shows it.
type happened struct {
	Request, Calls, Cost string
	Notes                []string
}

// panel returns the last requests of the session with the given ref, the latest first. It finds those from before a renewal,
// since the renewal has both refs.
func (j *journal) panel(ref string) (rows []happened) {
	if ref == "" {
		return nil
	}
	refs := []string{ref}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range slices.Backward(j.entries) {
		e.note(func() {
			if slices.ContainsFunc(e.refs, func(r string) bool { return r != "" && slices.Contains(refs, r) }) {
				refs = append(refs, e.refs...)
				rows = append(rows, e.shown())
			}
		})
		if len(rows) == panelSize {
			break
		}
	}
	return rows
}

func (e *entry) shown() happened {
	h := happened{Request: e.Request, Calls: strings.Join(e.calls, ", ")}
	h.Cost = fmt.Sprintf("units read %g, written %g: $%.3f a million", e.read, e.write, e.read*readPrice+e.write*writePrice)
	for op, note := range map[string]string{"renew": "new id", "destroy": "session ended", "touch": "extended"} {
		if slices.Contains(e.ops, op) {
			h.Notes = append(h.Notes, note)
		}
	}
	if e.conflicts > 0 {
		h.Notes = append(h.Notes, "merged with another request")
	}
	slices.Sort(h.Notes)
	return h
}
