package dynasession

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
)

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
