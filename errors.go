package dynasession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
)

// The errors that a caller can distinguish with [errors.Is]. An error of this package that is one of them wraps it.
// If the cause is an error of AWS's, the error wraps that too, and [errors.As] reaches it. No error message contains
// a session id or session data; [Session.Ref] names the session instead.
var (
	// ErrNoMiddleware is returned by Load if its context did not come through [Store.Middleware], or is that of
	// a request that became an HTTP/2 connection, whose streams need a Middleware inside. It is a fault of the
	// program. The first one is logged, since a handler that simply returns answers with a blank page.
	ErrNoMiddleware = errors.New("dynasession: the context did not come through Store.Middleware")

	// ErrNotFound means that there is no live session under the id. It never existed, was destroyed, or has
	// expired, whether or not its item is still in the table.
	ErrNotFound = errors.New("dynasession: no such session")

	// ErrNoKey means that the session has no value under the key.
	ErrNoKey = errors.New("dynasession: no such key")

	// ErrGone means that the session was destroyed or renewed, or has expired, while the request ran. Nothing
	// was saved, and nothing was brought back.
	ErrGone = errors.New("dynasession: the session ended meanwhile")

	// ErrConflict means that another request has changed the session in a way that this request's changes cannot
	// be merged with: it has taken the value that this request popped, or was faster at every try. Nothing was
	// saved, unless an earlier try was saved whose answer was lost.
	ErrConflict = errors.New("dynasession: another request changed the session")

	// ErrLocked means that, under [Lock], another request held the session, or others waited for it before this
	// request, for the whole of Config.LockWait or until the deadline of the context. Nothing was read.
	ErrLocked = errors.New("dynasession: the session is locked by another request")

	// ErrLockLost means that, under [Lock], this request no longer holds the session's lock. It held the lock
	// for longer than Config.LockLease, and another request has taken it; or PHP, which does not know leases,
	// has removed it. Nothing was saved.
	ErrLockLost = errors.New("dynasession: the session's lock is another's, or was removed")

	// ErrTooLarge means that the item would pass DynamoDB's limit of 400 KB (Amazon DynamoDB Developer Guide,
	// "Quotas", Item size). Nothing was saved, except that a session
	// that the request had destroyed before was ended.
	ErrTooLarge = errors.New("dynasession: the session is too large for one item")

	// ErrInvalidID means that the id does not have the form of the ids that this store makes or accepts. Nothing
	// was sent.
	ErrInvalidID = errors.New("dynasession: not a session id")

	// ErrCorrupt means that the stored data does not open or decode. The item stays as it is.
	ErrCorrupt = errors.New("dynasession: stored session data cannot be read")

	// ErrTable means that the table is missing, or is not as Config says. The message says what to do.
	ErrTable = errors.New("dynasession: the table is not usable")

	// ErrCredentials means that AWS's credentials are missing, have expired or are refused, that their policy
	// does not allow the call, or that the credential provider has failed. If the provider does not answer
	// within Config.Timeout, the error is ErrCredentials with [NewClient], and ErrUnavailable with the SDK's own
	// retryer, which hides what it has waited for. The message contains AWS's own.
	ErrCredentials = errors.New("dynasession: AWS refuses the credentials, or there are none")

	// ErrUnavailable means that DynamoDB did not answer within Config.Timeout, throttled, or failed, after the
	// SDK's retries. Another try later may succeed. If the lost answer was that of a write, the write may be
	// done, whole and once; another [Session.Save] of the same changes finds out.
	ErrUnavailable = errors.New("dynasession: DynamoDB is not available")
)

// errHeadersSent is returned by a save that would have to set a cookie after the response's headers were sent.
// Nothing was saved.
var errHeadersSent = errors.New("dynasession: the response's headers are sent: its new cookie cannot be delivered")

// tooLarge returns ErrTooLarge with a size and a limit in bytes.
func tooLarge(size, limit int) error {
	return fmt.Errorf("%w: %d bytes, the limit is %d (400 KB)", ErrTooLarge, size, limit)
}

// corrupt returns ErrCorrupt with a session and a cause. The cause must not hold session data.
func corrupt(ref string, cause error) error {
	return fmt.Errorf("%w: session %s: %w", ErrCorrupt, ref, cause)
}

// corruptHere is corrupt for what another server may be able to use, or what may be repaired. The browser keeps its
// cookie.
func corruptHere(ref string, cause error) error { return &unusable{corrupt(ref, cause)} }

// unusable is an ErrCorrupt that does not end the session.
type unusable struct{ error }

func (e *unusable) Unwrap() error { return e.error }

// Elsewhere reports whether another server may be able to read the session. The browser then keeps its cookie. Adapters
// look for this method.
func (*unusable) Elsewhere() bool { return true }

// errorWriter knows whether ErrorHandler has answered.
type errorWriter struct {
	http.ResponseWriter
	wrote bool
}

func (w *errorWriter) WriteHeader(status int) {
	w.wrote = w.wrote || status >= 200
	w.ResponseWriter.WriteHeader(status)
}

func (w *errorWriter) Write(b []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(b)
}

func (w *errorWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// retryAfter is what the default ErrorHandler asks of clients, in seconds.
const retryAfter = 1

// answer answers a request without a Config.ErrorHandler. state says what failed.
func (s *Store) answer(w http.ResponseWriter, r *http.Request, state string, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrCredentials), errors.Is(err, ErrLocked):
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	case errors.Is(err, ErrGone), errors.Is(err, ErrConflict), errors.Is(err, ErrLockLost):
		answerConflict(w, r)
		return
	}
	if !errors.Is(err, context.Canceled) {
		s.logFailure(r, state, status, err)
	}
	answerError(w, status)
}

func answerError(w http.ResponseWriter, status int) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(status), status)
}

// conflictText tells the person in front of the browser what happened, and what to do.
const conflictText = "Your session was changed by another request. Reload the page."

func answerConflict(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if !strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/html") {
		http.Error(w, conflictText, http.StatusConflict)
		return
	}
	h.Del("Content-Length")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusConflict)
	_, _ = io.WriteString(w, "<!DOCTYPE html>\n<html lang=\"en\">\n<meta name=\"viewport\" content=\"width=device-width\">\n"+
		"<title>Reload the page</title>\n<p>"+conflictText+"</p>\n</html>\n")
}

func (s *Store) logFailure(r *http.Request, state string, status int, err error) {
	s.cfg.Logger.ErrorContext(r.Context(), "dynasession: "+state+" a session failed", "method", r.Method, "path", r.URL.Path, "status", status, "error", err)
}

// log returns the logger for what concerns the request that ctx belongs to, if there is one.
func (s *Store) log(ctx context.Context) *slog.Logger {
	if q, ok := ctx.Value(requestKey{s}).(*request); ok {
		return s.cfg.Logger.With("method", q.r.Method, "path", q.r.URL.Path)
	}
	return s.cfg.Logger
}

// report sends an event about what no operation reports.
func (s *Store) report(ctx context.Context, op, ref string, err error) {
	if s.cfg.Observer != nil {
		s.cfg.Observer(s.before(ctx, op), Event{Op: op, Ref: ref, Start: s.now(), Err: err})
	}
}
