package dynasession

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dynasession/dynasession/internal/respond"
)

// requestKey finds a store's request in a context, or, without a store, the innermost one.
type requestKey struct{ store *Store }

// request is one request on its way through the middleware. It is the context that the handler gets, and holds its response
// writer, so that all of it is one allocation.
type request struct {
	context.Context
	r        *http.Request // as it came
	response respond.Writer
	before   []headerLines // of the response, as the handler got it

	connection atomic.Bool // it has become an HTTP/2 connection

	mu      sync.Mutex
	phase   phase
	loading loadOnce
	settled bool       // the handler has returned, and everything that it changed is saved
	unsaved error      // of the last Session.Save; nil once another has succeeded
	failed  error      // why ErrorHandler has answered
	inner   []*request // of other stores, whose cookies are in the header

	use // its mutex is locked before mu
}

// phase is how far a request has come.
type phase int

const (
	phaseOpen      phase = iota
	phaseCommitted       // its headers are being sent, or were
	phaseEnded           // its handler has returned
)

// loadOnce is the load of a request's session, of which there is one.
type loadOnce struct {
	running bool
	done    bool
	ends    chan struct{} // closed at the end of the load that is running; nil if nobody waits
	sess    *Session
	err     error
	gaveUp  error // why a caller got no session, although others may
}

func newRequest(s *Store, w http.ResponseWriter, r *http.Request) *request {
	q := &request{Context: r.Context(), r: r, use: use{store: s}}
	q.response = respond.Writer{ResponseWriter: w, Request: q}
	q.before = linesOf(w.Header())
	return q
}

type headerLines struct {
	name  string
	lines []string
}

// linesOf remembers a header, for an answer without what is added to it later. It shares the lines: adding and setting
// leave them as they are.
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

// Hijacked ends the request's part in its connection if that goes on as HTTP/2: the requests of all its streams have this one's
// context (golang.org/x/net/http2/h2c), but are other requests. A websocket is the same request.
func (q *request) Hijacked() {
	if q.r.Method == "PRI" || len(q.r.Header["Http2-Settings"]) > 0 {
		q.connection.Store(true)
	}
}

// serves reports whether r is q, further inside. Otherwise r is another request with q's context: of a server whose BaseContext
// that is, or one that a handler serves by itself.
func (q *request) serves(r *http.Request) bool {
	q.mu.Lock()
	ended := q.phase == phaseEnded
	q.mu.Unlock()
	return !ended && slices.Equal(q.store.cookie.read(q.r.Header), q.store.cookie.read(r.Header))
}

// load returns the request's session. The first caller reads it, under its own context; if that ends, the next one that waits
// reads.
func (q *request) load(ctx context.Context) (*Session, error) {
	q.mu.Lock()
	for !q.loading.done {
		if !q.loading.running {
			return q.read(ctx)
		}
		if q.loading.ends == nil {
			q.loading.ends = make(chan struct{})
		}
		ends := q.loading.ends
		q.mu.Unlock()
		select {
		case <-ends:
			q.mu.Lock()
		case <-ctx.Done():
			q.mu.Lock()
			defer q.mu.Unlock()
			q.loading.gaveUp = fmt.Errorf("dynasession: waiting for the session: %w", ctx.Err())
			return nil, q.loading.gaveUp
		}
	}
	defer q.mu.Unlock()
	return q.loading.sess, q.loading.err
}

// read loads the session. Its caller holds the mutex, which read unlocks.
func (q *request) read(ctx context.Context) (sess *Session, err error) {
	q.loading.running = true
	q.mu.Unlock()
	q.noticeNamesake(ctx)
	done := false
	defer func() {
		q.mu.Lock()
		l := &q.loading
		l.running = false
		if l.ends != nil {
			close(l.ends)
			l.ends = nil
		}
		if done {
			l.done, l.sess, l.err = true, sess, err
		} else {
			l.gaveUp = err
		}
		ended := q.phase == phaseEnded
		q.mu.Unlock()
		if ended && sess != nil {
			q.release(sess)
		}
	}()
	cookies := q.store.cookie.read(q.r.Header)
	if len(cookies) == 0 && q.store.skipped(q.r.Header) {
		err = noProofError{}
		q.store.report(ctx, "load", "", err)
	} else {
		sess, err = q.store.load(ctx, cookies)
	}
	// A caller that gives up does not fail the others.
	done = err == nil || ctx.Err() == nil
	if sess != nil {
		sess.saver = q
	}
	return sess, err
}

// noticeNamesake logs, once, that a store around this one uses the same cookie.
func (q *request) noticeNamesake(ctx context.Context) {
	for outer, _ := q.Context.Value(requestKey{}).(*request); outer != nil; outer, _ = outer.Context.Value(requestKey{}).(*request) {
		if outer.store != q.store && outer.store.cookie.Name == q.store.cookie.Name {
			q.store.namesake.Do(func() {
				q.store.log(ctx).ErrorContext(ctx, "dynasession: two nested stores have the same cookie, so that neither keeps its session: set Config.Name", "cookie", q.store.cookie.Name)
			})
		}
	}
}

// Unanswered reports whether the load has failed and nothing is written yet. ErrorHandler then answers unless the handler does.
func (q *request) Unanswered() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.phase == phaseOpen && (q.loading.err != nil || q.loading.sess == nil && q.loading.gaveUp != nil)
}

// Open reports whether the response is still the handler's.
func (q *request) Open() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failed == nil
}

// Commit saves the session, once, before the headers of the response are sent. After an error, ErrorHandler has answered,
// and nothing else may be written.
func (q *request) Commit() error {
	q.mu.Lock()
	done, failed := q.phase != phaseOpen, q.failed
	sess, loadErr := q.loading.sess, q.loading.err
	if sess == nil && loadErr == nil {
		done, q.phase = true, max(q.phase, phaseCommitted)
	}
	q.mu.Unlock()
	if done {
		return failed
	}
	q.saves.Lock()
	q.mu.Lock()
	q.phase = max(q.phase, phaseCommitted) // not before a Save that is running has put its cookie into the header
	q.mu.Unlock()
	var err error
	if loadErr != nil {
		q.clearCorrupt(loadErr)
	} else {
		err = q.saveSession(context.WithoutCancel(q), sess, false)
		if h, ok := q.response.Editable(); ok {
			respond.VaryByCookie(h)
			// The cookie of an earlier Save is written again: the handler may have replaced its lines in the header.
			q.store.cookie.write(h, q.cookie)
		}
	}
	q.saves.Unlock()
	if err != nil {
		q.fail(err)
	}
	return err
}

// saveSession saves the session, and puts its cookie into the header. Its caller holds saves.
func (q *request) saveSession(ctx context.Context, sess *Session, headersSent bool) error {
	u, err := q.save(ctx, sess, headersSent)
	if u.action != cookieKeep && !headersSent {
		if h, ok := q.response.Editable(); ok {
			q.store.cookie.write(h, u)
		}
		q.joinOuter(q)
		q.noticeInsecure(ctx, u)
	}
	return err
}

// saveNow is Session.Save.
func (q *request) saveNow(ctx context.Context, sess *Session) error {
	q.saves.Lock()
	defer q.saves.Unlock()
	q.mu.Lock()
	committed := q.phase != phaseOpen
	q.mu.Unlock()
	ctx, cancel := detach(ctx)
	defer cancel()
	err := q.saveSession(ctx, sess, committed)
	q.mu.Lock()
	q.unsaved = err
	q.mu.Unlock()
	return err
}

func (q *request) setCookie() *http.Cookie { return nil }

func (q *request) setHeaders(http.Header) {}

func (q *request) close(*Session) error { return nil }

// joinOuter adds inner, which has put a cookie into the header, to the requests around q of other stores. Its session is
// saved, so the cookie must stay if they answer with ErrorHandler.
func (q *request) joinOuter(inner *request) {
	outer, ok := q.Context.Value(requestKey{}).(*request)
	if !ok {
		return
	}
	outer.mu.Lock()
	outer.inner = append(outer.inner, inner)
	outer.mu.Unlock()
	outer.joinOuter(inner)
}

// clearCorrupt clears the cookie of a session that no server can read, so that the next request starts anew. The item stays.
// So does the cookie of a session that another server may read.
func (q *request) clearCorrupt(err error) {
	var here *unusable
	if h, ok := q.response.Editable(); ok && errors.Is(err, ErrCorrupt) && !errors.As(err, &here) {
		q.store.cookie.write(h, cookieUpdate{action: cookieClear})
	}
}

// fail answers with ErrorHandler, without what the handler has put into the header.
func (q *request) fail(err error) {
	q.mu.Lock()
	q.phase, q.failed = max(q.phase, phaseCommitted), err
	inner := q.inner
	state := "saving"
	if q.loading.err != nil || q.loading.sess == nil {
		state = "loading"
	}
	q.mu.Unlock()
	h, ok := q.response.Editable()
	if !ok {
		q.store.logFailure(q.r, state, 0, err)
		return // the client has gone
	}
	clear(h)
	for _, b := range q.before {
		h[b.name] = b.lines
	}
	respond.VaryByCookie(h)
	q.store.cookie.write(h, q.cookie) // of a Save that has succeeded
	for _, in := range inner {
		in.saves.Lock()
		in.store.cookie.write(h, in.cookie)
		in.saves.Unlock()
	}
	q.clearCorrupt(err)
	w := &errorWriter{ResponseWriter: q.response.ResponseWriter}
	if answer := q.store.cfg.ErrorHandler; answer != nil {
		answer(w, q.r, err)
	} else {
		q.store.answer(w, q.r, state, err)
	}
	if !w.wrote { // net/http would answer with a status of 200
		answerError(w, http.StatusInternalServerError)
	}
}

// finish ends a request whose handler has returned.
func (q *request) finish() {
	q.mu.Lock()
	committed, failed, err, sess := q.phase != phaseOpen, q.failed, q.loading.err, q.loading.sess
	switch {
	case sess == nil && err == nil:
		err = q.loading.gaveUp
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
	case q.Commit() == nil && sess != nil: // otherwise ErrorHandler has answered
		q.saveLate(sess)
	}
}

// saveLate saves what was changed after the headers were sent, and then what a goroutine of the handler's has changed meanwhile.
func (q *request) saveLate(sess *Session) {
	q.saves.Lock()
	defer q.saves.Unlock()
	var err error
	for n := 0; n < 2 && err == nil && (!q.saved || sess.changed()); n++ {
		err = q.saveSession(context.WithoutCancel(q), sess, true)
	}
	q.mu.Lock()
	q.settled = err == nil
	q.mu.Unlock()
	if ctx := context.Context(q); err != nil {
		q.store.log(ctx).ErrorContext(ctx, "dynasession: a change after the response's headers is lost", "session", sess, "error", err)
		q.store.report(ctx, "late save", sess.Ref(), err)
	}
}

// end lets the session go. After a panic, what it has not saved is dropped.
func (q *request) end() {
	q.mu.Lock()
	q.phase = phaseEnded
	sess := q.loading.sess
	q.mu.Unlock()
	if sess != nil {
		q.release(sess)
	}
}

// release marks the session's request as ended, and gives up a lock that no save has given up.
func (q *request) release(sess *Session) {
	l, changed := sess.end()
	if l != nil {
		q.store.release(q, l)
	}
	q.mu.Lock()
	lost := changed && q.settled // if the last save has failed, its error was logged
	q.mu.Unlock()
	if lost {
		q.orphaned()
	}
}

func (q *request) orphaned() {
	q.store.log(q).WarnContext(q.Context, "dynasession: a session was changed after its request ended: only an explicit Save stores that", "session", q.loading.sess)
}
