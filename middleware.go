package dynasession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Middleware gives next's requests their session. Nothing is read until a handler calls
// [Load]; nothing is written unless it changes something, or the expiry is due to be moved.
//
// The session is saved once, right before the response's headers go: at the first Write,
// WriteHeader (of anything but 1xx other than 101), Flush, ReadFrom or Hijack, or when next
// returns. If the save fails, Config.ErrorHandler answers instead of next, and what next
// still writes is dropped, its Write giving the save's error. If Load failed and next wrote
// nothing, ErrorHandler answers too, so that handlers may just return; so it does if the
// handler's last Session.Save failed.
//
// What is changed later is saved when next returns, except for what needs a new cookie:
// that cannot be delivered any more and is logged, and with it all that was changed beside it.
// A panic of next saves nothing more and goes on. The client's going away does not end a save.
//
// Put what recovers from panics around this middleware: inside, it hides them, and what the
// handler had set is saved. Put http.TimeoutHandler inside: around it, the cookie of what is saved
// after its time goes nowhere. To upgrade a connection by Hijack, send the lines of w.Header()
// after a Session.Save: a new cookie is among them.
//
// ErrorHandler answers without the headers that next has set: put what sets headers for every
// answer, CORS and HSTS for instance, around this middleware.
//
// Middlewares of several stores can be nested. Of one store, only the outermost works.
func (s *Store) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if outer, ok := r.Context().Value(requestKey{s}).(*request); ok && outer.serves(r) {
			next.ServeHTTP(w, r)
			return
		}
		q := &request{Context: r.Context(), store: s, r: r}
		q.response = response{ResponseWriter: w, request: q}
		q.before = linesOf(w.Header())
		defer q.end() // also when next panics: nothing half-done is saved, and the panic goes on
		inner := r.WithContext(q)
		defer func() {
			if r.MultipartForm == nil { // net/http removes the files of the request that it has made itself
				r.MultipartForm = inner.MultipartForm
			}
			if r.Pattern == "" { // what stands around names its spans and metrics by it
				r.Pattern = inner.Pattern
			}
		}()
		next.ServeHTTP(q.response.writer(), inner)
		q.finish()
	})
}

// Load gives the session of the request that ctx belongs to, of the innermost middleware.
// The first call of a request reads it, at most once, also under concurrent use; each
// caller's ctx ends its own waiting only. No session, or one that has expired, gives a new
// and empty one. A failed load is remembered for the request: a handler may just return,
// and the middleware answers.
//
// Errors: [ErrNoMiddleware], [ErrUnavailable], [ErrCredentials], [ErrTable], [ErrCorrupt], [ErrLocked].
func Load(ctx context.Context) (*Session, error) {
	q, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return nil, noMiddleware(ctx, slog.Default())
	}
	return q.load(ctx)
}

// toldNoMiddleware is set by the program's first Load without a middleware.
var toldNoMiddleware atomic.Bool

// noMiddleware is the error of the Load that calls it.
func noMiddleware(ctx context.Context, log *slog.Logger) error {
	if toldNoMiddleware.CompareAndSwap(false, true) {
		_, file, line, _ := runtime.Caller(2) // of Load
		log.ErrorContext(ctx, "dynasession: Load has no session: wrap the handler in Store.Middleware", "file", file, "line", line)
	}
	return ErrNoMiddleware
}

// Load gives this store's session of the request that ctx belongs to, also when the
// middlewares of several stores are nested. See the function [Load].
func (s *Store) Load(ctx context.Context) (*Session, error) {
	q, ok := ctx.Value(requestKey{s}).(*request)
	if !ok {
		return nil, noMiddleware(ctx, s.cfg.Logger)
	}
	return q.load(ctx)
}

// requestKey finds a store's request in a context; the innermost for no store.
type requestKey struct{ store *Store }

// request is one request on its way through the middleware. It is the context that the
// handler sees, and holds the response writer that it gets, so that all of it is one
// allocation.
type request struct {
	context.Context
	store    *Store
	r        *http.Request // as it came
	response response

	connection atomic.Bool // it has become an HTTP/2 connection

	mu        sync.Mutex
	loading   bool
	loaded    bool
	committed bool          // the headers are going, or have gone
	over      bool          // the handler has returned
	settled   bool          // and all that it has changed is saved
	loadEnds  chan struct{} // closed at the end of the load that is under way; nil: nobody waits
	sess      *Session
	err       error      // of the load
	gaveUp    error      // why a caller of Load has no session, though others may
	unsaved   error      // of the last Session.Save, as long as no other has succeeded
	failed    error      // why ErrorHandler has answered
	inner     []*request // of other stores, whose cookies are in the header

	saves     sync.Mutex   // one at a time; taken before mu
	saved     bool         // by one of them
	delivered cookieUpdate // the last cookie that they have put into the header

	before []headerLines // of the response, as the handler got it
}

type headerLines struct {
	name  string
	lines []string
}

// linesOf remembers a header, for an answer without what was added to it. It shares the
// lines: adding and setting leave them as they are.
func linesOf(h http.Header) []headerLines {
	if len(h) == 0 {
		return nil
	}
	all := make([]headerLines, 0, len(h))
	for name, lines := range h {
		all = append(all, headerLines{name, lines})
	}
	return all
}

func (q *request) Value(key any) any {
	if k, ok := key.(requestKey); ok && (k.store == nil || k.store == q.store) && !q.connection.Load() {
		return q
	}
	return q.Context.Value(key)
}

// hijacked ends the request's part in its connection if that goes on as HTTP/2: the requests of all its
// streams get this one's context (golang.org/x/net/http2/h2c), but are not this one. A websocket is.
func (q *request) hijacked() {
	if q.r.Method == "PRI" || len(q.r.Header["Http2-Settings"]) > 0 {
		q.connection.Store(true)
	}
}

// serves reports whether r is q, further inside. Otherwise it is another request that has q's context: a
// server's whose BaseContext that is, or one that a handler serves by itself.
func (q *request) serves(r *http.Request) bool {
	q.mu.Lock()
	over := q.over
	q.mu.Unlock()
	return !over && slices.Equal(q.store.cookie.read(q.r.Header), q.store.cookie.read(r.Header))
}

// load gives the request's session. Whoever comes first reads it, under its own context; if
// that ends, the next one in the queue reads.
func (q *request) load(ctx context.Context) (*Session, error) {
	q.mu.Lock()
	for !q.loaded {
		if !q.loading {
			return q.read(ctx)
		}
		if q.loadEnds == nil {
			q.loadEnds = make(chan struct{})
		}
		ends := q.loadEnds
		q.mu.Unlock()
		select {
		case <-ends:
			q.mu.Lock()
		case <-ctx.Done():
			q.mu.Lock()
			defer q.mu.Unlock()
			q.gaveUp = fmt.Errorf("dynasession: waiting for the session: %w", ctx.Err())
			return nil, q.gaveUp
		}
	}
	defer q.mu.Unlock()
	return q.sess, q.err
}

// read loads the session. It takes over the mutex that its caller holds.
func (q *request) read(ctx context.Context) (sess *Session, err error) {
	q.loading = true
	q.mu.Unlock()
	q.noticeNamesake(ctx)
	settled := false
	defer func() {
		q.mu.Lock()
		q.loading = false
		if q.loadEnds != nil {
			close(q.loadEnds)
			q.loadEnds = nil
		}
		if settled {
			q.loaded, q.sess, q.err = true, sess, err
		} else {
			q.gaveUp = err
		}
		over := q.over
		q.mu.Unlock()
		if over && sess != nil {
			q.release(sess)
		}
	}()
	sess, err = q.store.load(ctx, q.store.cookie.read(q.r.Header))
	// One caller that gives up does not fail the others.
	settled = err == nil || ctx.Err() == nil
	if sess != nil {
		sess.saver = q
	}
	return sess, err
}

// noticeNamesake logs, once, that a store around q uses the same cookie.
func (q *request) noticeNamesake(ctx context.Context) {
	for outer, _ := q.Context.Value(requestKey{}).(*request); outer != nil; outer, _ = outer.Context.Value(requestKey{}).(*request) {
		if outer.store != q.store && outer.store.cookie.Name == q.store.cookie.Name {
			q.store.namesake.Do(func() {
				q.store.log(ctx).ErrorContext(ctx, "dynasession: two nested stores have the same cookie, so that neither keeps its session: set Config.Name", "cookie", q.store.cookie.Name)
			})
		}
	}
}

// unanswered reports whether the load has failed and nothing is written yet, so that ErrorHandler will
// answer unless the handler does.
func (q *request) unanswered() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.committed && (q.err != nil || q.sess == nil && q.gaveUp != nil)
}

// commit saves the session, once, before the response's headers go. Its error means that
// ErrorHandler has answered, and nothing else may be written.
func (q *request) commit() error {
	q.mu.Lock()
	done, failed := q.committed, q.failed
	unused := q.sess == nil && q.err == nil
	q.committed = done || unused
	q.mu.Unlock()
	if done || unused {
		return failed
	}
	err := q.commitSession()
	if err != nil {
		q.fail(err)
	}
	return err
}

func (q *request) commitSession() error {
	q.saves.Lock()
	defer q.saves.Unlock()
	q.mu.Lock()
	q.committed = true
	sess, loadErr := q.sess, q.err
	q.mu.Unlock()
	if loadErr != nil {
		q.clearCorrupt(loadErr)
		return nil
	}
	err := q.save(context.WithoutCancel(q), sess, false)
	if h, ok := q.response.header(); ok {
		varyByCookie(h)
		// Once more, also of an earlier Save: the header is the handler's, who may have replaced its lines.
		q.store.cookie.write(h, q.delivered)
	}
	return err
}

// save saves the session, and puts its cookie into the header. Its caller holds saves.
func (q *request) save(ctx context.Context, sess *Session, headersSent bool) error {
	d, err := q.store.save(ctx, sess, headersSent)
	q.saved = q.saved || err == nil
	if d.action != cookieKeep && !headersSent {
		q.delivered = d
		if h, ok := q.response.header(); ok {
			q.store.cookie.write(h, d)
		}
		q.tellOuter(q)
		q.noticeInsecure(ctx, d)
	}
	return err
}

// noticeInsecure logs, once, that browsers may drop the cookie that is set.
func (q *request) noticeInsecure(ctx context.Context, d cookieUpdate) {
	c := &q.store.cookie
	if d.action != cookieSet || c.Insecure || isTLS(q.r) {
		return
	}
	q.store.insecure.Do(func() {
		host, text := q.r.Host, "dynasession: a Secure cookie is set on a request without TLS, and browsers drop it: set Config.Cookie.Insecure for development, or have the proxy in front send X-Forwarded-Proto: https"
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback() {
			text = "dynasession: a Secure cookie is set on a request without TLS: Safari drops it, also of localhost: set Config.Cookie.Insecure for development"
		}
		q.store.log(ctx).WarnContext(ctx, text, "host", q.r.Host, "cookie", c.Name)
	})
}

// isTLS reports whether the browser's connection is encrypted, as far as the server or a proxy knows.
func isTLS(r *http.Request) bool {
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(proto), "https")
}

// tellOuter lets the requests around q, of other stores, know that inner has put a cookie into the
// header: its session is saved, whatever becomes of the response.
func (q *request) tellOuter(inner *request) {
	outer, ok := q.Context.Value(requestKey{}).(*request)
	if !ok {
		return
	}
	outer.mu.Lock()
	outer.inner = append(outer.inner, inner)
	outer.mu.Unlock()
	outer.tellOuter(inner)
}

// open tells whether the response is still the handler's.
func (q *request) open() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failed == nil
}

// clearCorrupt clears the cookie of a session that no server can read: the next request starts anew. The
// item stays, and so does the cookie of what another server may read.
func (q *request) clearCorrupt(err error) {
	var here *unusable
	if h, ok := q.response.header(); ok && errors.Is(err, ErrCorrupt) && !errors.As(err, &here) {
		q.store.cookie.write(h, cookieUpdate{action: cookieClear})
	}
}

// fail answers with ErrorHandler, without what the handler has put into the header.
func (q *request) fail(err error) {
	q.mu.Lock()
	q.committed, q.failed = true, err
	inner := q.inner
	state := "saving"
	if q.err != nil || q.sess == nil {
		state = "loading"
	}
	q.mu.Unlock()
	h, ok := q.response.header()
	if !ok {
		q.store.logFailure(q.r, state, 0, err)
		return // the client has gone
	}
	clear(h)
	for _, b := range q.before {
		h[b.name] = b.lines
	}
	varyByCookie(h)
	q.store.cookie.write(h, q.delivered) // of a Save that has succeeded
	for _, in := range inner {
		in.saves.Lock()
		in.store.cookie.write(h, in.delivered)
		in.saves.Unlock()
	}
	q.clearCorrupt(err)
	w := &errorWriter{ResponseWriter: q.response.ResponseWriter}
	if answer := q.store.cfg.ErrorHandler; answer != nil {
		answer(w, q.r, err)
	} else {
		q.store.answer(w, q.r, state, err)
	}
	if !w.wrote { // silence would be a status of 200
		answerError(w, http.StatusInternalServerError)
	}
}

// finish ends a request whose handler has returned.
func (q *request) finish() {
	q.mu.Lock()
	committed, failed, err, sess := q.committed, q.failed, q.err, q.sess
	switch {
	case sess == nil && err == nil:
		err = q.gaveUp
	case err == nil:
		err = q.unsaved
	}
	q.mu.Unlock()
	switch {
	case committed && failed == nil && sess != nil:
		q.saveLate(sess)
	case committed:
	case err != nil:
		q.fail(err)
	case q.commit() == nil && sess != nil: // else ErrorHandler has told
		q.saveLate(sess)
	}
}

// saveLate saves what was changed after the headers had gone, and then what a goroutine of the
// handler's has changed meanwhile.
func (q *request) saveLate(sess *Session) {
	q.saves.Lock()
	defer q.saves.Unlock()
	var err error
	for n := 0; n < 2 && err == nil && (!q.saved || sess.changed()); n++ {
		err = q.save(context.WithoutCancel(q), sess, true)
	}
	q.mu.Lock()
	q.settled = err == nil
	q.mu.Unlock()
	if ctx := context.Context(q); err != nil {
		q.store.log(ctx).ErrorContext(ctx, "dynasession: a change after the response's headers is lost", "session", sess, "error", err)
		q.store.report(ctx, "late save", sess.Ref(), err)
	}
}

// end lets the session go, after a panic with what it has not saved.
func (q *request) end() {
	q.mu.Lock()
	q.committed, q.over = true, true
	sess := q.sess
	q.mu.Unlock()
	if sess != nil {
		q.release(sess)
	}
}

// release marks the session's request as over, and gives up a lock that no save has.
func (q *request) release(sess *Session) {
	l, changed := sess.end()
	if l != nil {
		q.store.release(q, l)
	}
	q.mu.Lock()
	lost := changed && q.settled // of a save that has failed, the error is told
	q.mu.Unlock()
	if lost {
		q.orphaned()
	}
}

// saveNow is Session.Save.
func (q *request) saveNow(ctx context.Context, sess *Session) error {
	q.saves.Lock()
	defer q.saves.Unlock()
	q.mu.Lock()
	committed := q.committed
	q.mu.Unlock()
	detached := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		detached, cancel = context.WithDeadline(detached, deadline)
		defer cancel()
	}
	err := q.save(detached, sess, committed)
	q.mu.Lock()
	q.unsaved = err
	q.mu.Unlock()
	return err
}

func (q *request) orphaned() {
	q.store.log(q).WarnContext(q.Context, "dynasession: a session was changed after its request ended: only an explicit Save stores that", "session", q.sess)
}

// report tells Observer of what no operation tells.
func (s *Store) report(ctx context.Context, op, ref string, err error) {
	if s.cfg.Observer != nil {
		s.cfg.Observer(ctx, Event{Op: op, Ref: ref, Start: s.now(), Err: err})
	}
}

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

// answer is what answers without a Config.ErrorHandler. state says what failed.
func (s *Store) answer(w http.ResponseWriter, r *http.Request, state string, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrCredentials), errors.Is(err, ErrLocked):
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	case errors.Is(err, ErrGone), errors.Is(err, ErrConflict), errors.Is(err, ErrLockLost):
		status = http.StatusConflict
	}
	if status == http.StatusConflict {
		answerConflict(w, r)
		return
	}
	if !errors.Is(err, context.Canceled) {
		s.logFailure(r, state, status, err)
	}
	answerError(w, status)
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

func answerError(w http.ResponseWriter, status int) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(status), status)
}

// conflictText says what happened, and what to do, to the person in front of the browser.
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
