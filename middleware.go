package dynasession

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
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
// Handlers must write through the w that they get, or a writer around it. A framework that keeps the writer below would send
// the response without the cookie; gin does, and has an adapter in adapters/gin.
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
		if isDeviceRequest(r) && s.serveDevice(w, r) {
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

// Start returns a session outside of the middleware: for frameworks that are not built on net/http, for bearer tokens, and
// for jobs. It returns the session that one of values names, or a new one if none of them names a live session. values are
// those of the request's cookies of the name [Store.CookieName], in their order; a bearer token is the value of such a
// cookie. What does not have the form of one is ignored.
//
// Nothing is saved by itself. Before the response is sent, call [Session.Save], and [Session.SetHeaders] or set the cookie of
// [Session.Cookie]; if Save fails, answer with an error. At the end of the request, call [Session.Close]. With
// Config.DeviceBound, use SetHeaders, and have Middleware answer POST requests to /.session-device, below
// Config.Cookie.Path: it need not be around any other handler.
//
// Errors: those of [Load], except ErrNoMiddleware. After an error, do not go on with an empty session: answer with 503 if it
// is ErrUnavailable, ErrCredentials or ErrLocked, and with 500 otherwise.
func (s *Store) Start(ctx context.Context, values ...string) (*Session, error) {
	var cookies []sessionCookie
	for _, v := range values {
		cookies = s.cookie.add(cookies, v)
	}
	sess, err := s.load(ctx, cookies)
	if err != nil {
		return nil, err
	}
	sess.saver = &direct{use: use{store: s}, ctx: context.WithoutCancel(ctx)}
	return sess, nil
}

// CookieName returns the name of the session's cookie: Config.Cookie.Name, or its default.
func (s *Store) CookieName() string { return s.cookie.Name }

// use is one request's use of its session.
type use struct {
	store  *Store
	saves  sync.Mutex   // one save at a time
	saved  bool         // a save has succeeded
	cookie cookieUpdate // the last one that a save has asked for
}

// save saves sess. With headersSent it refuses, before it writes, what would need a new cookie. Its caller holds saves.
func (u *use) save(ctx context.Context, sess *Session, headersSent bool) (cookieUpdate, error) {
	update, err := u.store.save(ctx, sess, headersSent)
	u.saved = u.saved || err == nil
	if update.action != cookieKeep && !headersSent {
		u.cookie = update
	}
	return update, err
}

// detach returns ctx without its cancellation, but with its deadline.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	detached := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(detached, deadline)
	}
	return detached, func() {}
}

// direct is the use of a session that Start has returned.
type direct struct {
	use
	ctx    context.Context // Start's, not cancelled
	closed bool
}

func (d *direct) saveNow(ctx context.Context, sess *Session) error {
	ctx, cancel := detach(ctx)
	defer cancel()
	d.saves.Lock()
	defer d.saves.Unlock()
	_, err := d.save(ctx, sess, d.closed)
	return err
}

func (d *direct) setCookie() *http.Cookie {
	d.saves.Lock()
	defer d.saves.Unlock()
	return d.store.cookie.cookie(d.cookie)
}

func (d *direct) setHeaders(h http.Header) {
	d.saves.Lock()
	defer d.saves.Unlock()
	d.store.cookie.write(h, d.cookie)
}

func (d *direct) close(sess *Session) error {
	d.saves.Lock()
	defer d.saves.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	l, changed := sess.end()
	if l != nil {
		d.store.release(d.ctx, l)
	}
	if changed {
		return fmt.Errorf("dynasession: session %s was closed with changes that were not saved", sess.Ref())
	}
	return nil
}

func (*direct) orphaned() {} // see Close

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
