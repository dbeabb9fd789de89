package dynasession

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"sync/atomic"
)

// Middleware returns a handler that gives next's requests their session. It reads nothing until a handler calls [Load],
// and writes nothing unless a handler changes something or the expiry is due to be moved.
//
// The session is saved once, right before the headers of the response are sent: at the first Write, WriteHeader (of anything
// but 1xx other than 101), Flush, ReadFrom or Hijack, or when next returns. If the save fails, Config.ErrorHandler answers
// in the place of next; what next still writes is dropped, and its Write returns the error of the save. If Load failed and
// next wrote nothing, ErrorHandler answers too, so a handler may simply return. The same holds if the handler's last
// Session.Save failed.
//
// Later changes are saved when next returns, except those that need a new cookie. It cannot be delivered any more: they are
// logged and lost, together with everything that was changed beside them. If next panics, nothing more is saved, and the
// panic goes on. A client that goes away does not end a save.
//
// Put a middleware that recovers from panics around this one. Inside, it would hide the panic, and what the handler had
// set would be saved. Put http.TimeoutHandler inside. Around this middleware, it would drop the cookie of what is saved
// after its time. To upgrade a connection by Hijack, call Session.Save and then send the lines of w.Header(): a new cookie is
// among them.
//
// ErrorHandler answers without the headers that next has set. So put what sets headers for every answer, CORS and HSTS for
// instance, around this middleware.
//
// The middlewares of several stores can be nested. Of one store, only the outermost has an effect.
func (s *Store) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if outer, ok := r.Context().Value(requestKey{s}).(*request); ok && outer.serves(r) {
			next.ServeHTTP(w, r)
			return
		}
		q := newRequest(s, w, r)
		defer q.end() // also when next panics
		inner := r.WithContext(q)
		defer func() {
			if r.MultipartForm == nil { // net/http removes the files of the request that it has made itself
				r.MultipartForm = inner.MultipartForm
			}
			if r.Pattern == "" { // middlewares around this one name their spans and metrics by it
				r.Pattern = inner.Pattern
			}
		}()
		next.ServeHTTP(q.response.As(), inner)
		q.finish()
	})
}

// Load returns the session of the request that ctx belongs to, of the innermost middleware. The first call of a request reads
// the session. It is read once, also if several goroutines call Load; the ctx of each only limits its own waiting. If the
// browser has no session, or one that has expired, Load returns a new and empty one. A failed load is remembered: the
// handler may simply return, and the middleware answers.
//
// Errors: [ErrNoMiddleware], [ErrUnavailable], [ErrCredentials], [ErrTable], [ErrCorrupt], [ErrLocked].
func Load(ctx context.Context) (*Session, error) {
	q, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return nil, noMiddleware(ctx, slog.Default())
	}
	return q.load(ctx)
}

// Load returns this store's session of the request that ctx belongs to, also if the middlewares of several stores are
// nested. See the function [Load].
func (s *Store) Load(ctx context.Context) (*Session, error) {
	q, ok := ctx.Value(requestKey{s}).(*request)
	if !ok {
		return nil, noMiddleware(ctx, s.cfg.Logger)
	}
	return q.load(ctx)
}

// saidNoMiddleware is set by the program's first Load without a middleware.
var saidNoMiddleware atomic.Bool

// noMiddleware returns the error of the Load that calls it.
func noMiddleware(ctx context.Context, log *slog.Logger) error {
	if saidNoMiddleware.CompareAndSwap(false, true) {
		_, file, line, _ := runtime.Caller(2) // of Load
		log.ErrorContext(ctx, "dynasession: Load has no session: wrap the handler in Store.Middleware", "file", file, "line", line)
	}
	return ErrNoMiddleware
}
