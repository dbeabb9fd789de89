// Package dynafiber has sessions for fiber. They keep the promises that they keep under net/http: parallel requests are
// merged, a session that was signed out does not come back, and a session that cannot be loaded is never an empty one.
package dynafiber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/valyala/fasthttp"

	"github.com/dynasession/dynasession"
)

type localsKey struct{}

// request is the session of one request. Handlers may load it from several goroutines.
type request struct {
	store  *dynasession.Store
	ctx    context.Context
	values []string

	mu   sync.Mutex
	sess *dynasession.Session
	err  error
}

// Middleware returns the middleware of store for fiber. The session is loaded when a handler calls [Load], and saved when
// the handlers have returned, also with an error of their own; fiber sends nothing before that. Put the middleware inside
// of one that recovers from panics: nothing of a handler that panics is saved.
//
// If the session cannot be loaded or saved, the middleware drops the handlers' response, and returns an error that is a
// *fiber.Error with status 503 (and Retry-After), 409 or 500, for the app's ErrorHandler. errors.Is finds the store's error
// in it.
//
// A stream of SendStreamWriter, or a websocket, runs after the middleware. It may use the session that a handler has loaded,
// and must call [dynasession.Session.Save] for its changes. A new id cannot be saved then.
func Middleware(store *dynasession.Store) fiber.Handler {
	return func(c fiber.Ctx) error {
		if c.Method() == fiber.MethodPost {
			if done, err := serveDevice(store, c); done {
				return err
			}
		}
		q := &request{store: store, ctx: c.Context()}
		for name, value := range c.Request().Header.Cookies() {
			if string(name) == store.CookieName() {
				q.values = append(q.values, string(value)) // a copy: fiber uses the memory again
			}
		}
		if len(q.values) == 0 && c.Get("Secure-Session-Skipped") != "" {
			q.err = fmt.Errorf("%w: the browser could not prove the key of its device-bound session", dynasession.ErrUnavailable)
		}
		var before fasthttp.ResponseHeader
		c.Response().Header.CopyTo(&before)
		c.Locals(localsKey{}, q)
		defer q.close() // also after a panic
		err := c.Next()
		if failed := q.save(c); failed != nil {
			c.Response().Reset()
			before.CopyTo(&c.Response().Header)
			c.Set(fiber.HeaderCacheControl, "no-store")
			c.Vary(fiber.HeaderCookie)
			q.clearCorrupt(c, failed)
			return answer(c, failed)
		}
		return err
	}
}

// Load returns the session of the request: see [dynasession.Load]. If it cannot be loaded, return the error; the middleware
// answers in any case.
func Load(c fiber.Ctx) (*dynasession.Session, error) {
	q, ok := c.Locals(localsKey{}).(*request)
	if !ok {
		return nil, dynasession.ErrNoMiddleware
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sess == nil && q.err == nil {
		q.sess, q.err = q.store.Start(q.ctx, q.values...)
	}
	return q.sess, q.err
}

// save saves the session, if it was loaded, and sets its cookie.
func (q *request) save(c fiber.Ctx) error {
	q.mu.Lock()
	sess, err := q.sess, q.err
	q.mu.Unlock()
	if sess == nil {
		return err
	}
	if err := sess.Save(q.ctx); err != nil {
		return err
	}
	c.Vary(fiber.HeaderCookie)
	writeCookies(c, sess)
	return nil
}

// writeCookies puts what the middleware of net/http puts into the header.
func writeCookies(c fiber.Ctx, sess *dynasession.Session) {
	h := http.Header{fiber.HeaderCacheControl: {string(c.Response().Header.Peek(fiber.HeaderCacheControl))}}
	sess.SetHeaders(h)
	if len(h[fiber.HeaderSetCookie]) == 0 {
		return
	}
	for name, lines := range h {
		if name != fiber.HeaderSetCookie {
			c.Response().Header.Del(name)
		}
		for _, line := range lines {
			c.Response().Header.Add(name, line)
		}
	}
}

// serveDevice answers a request to the endpoint of device-bound sessions: see dynasession.Config.DeviceBound.
func serveDevice(store *dynasession.Store, c fiber.Ctx) (done bool, err error) {
	if !strings.HasSuffix(c.Path(), "/.session-device") {
		return false, nil
	}
	done = true
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { done = false })
	err = adaptor.HTTPHandler(store.Middleware(next))(c)
	return done, err
}

// clearCorrupt deletes the cookie of a session that no server can read, so that the next request starts anew.
func (q *request) clearCorrupt(c fiber.Ctx, err error) {
	var other interface{ Elsewhere() bool }
	if !errors.Is(err, dynasession.ErrCorrupt) || errors.As(err, &other) {
		return
	}
	if sess, err := q.store.Start(q.ctx); err == nil {
		sess.Destroy()
		if sess.Save(q.ctx) == nil {
			writeCookies(c, sess)
		}
		_ = sess.Close()
	}
}

func (q *request) close() {
	q.mu.Lock()
	sess := q.sess
	q.mu.Unlock()
	if sess != nil {
		_ = sess.Close() // what is not saved by now is of a handler that panicked, or whose save has failed
	}
}

// failure is an error of the store, with the status that fiber's ErrorHandler answers with.
type failure struct {
	status *fiber.Error
	cause  error
}

func (f *failure) Error() string   { return f.status.Message }
func (f *failure) Unwrap() []error { return []error{f.status, f.cause} }

func answer(c fiber.Ctx, err error) error {
	f := &failure{fiber.ErrInternalServerError, err}
	switch {
	case errors.Is(err, dynasession.ErrUnavailable), errors.Is(err, dynasession.ErrCredentials), errors.Is(err, dynasession.ErrLocked):
		f.status = fiber.ErrServiceUnavailable
		c.Set(fiber.HeaderRetryAfter, "1")
	case errors.Is(err, dynasession.ErrGone), errors.Is(err, dynasession.ErrConflict), errors.Is(err, dynasession.ErrLockLost):
		f.status = fiber.NewError(fiber.StatusConflict, "Your session was changed by another request. Reload the page.")
		return f
	}
	if !errors.Is(err, context.Canceled) {
		slog.ErrorContext(c.Context(), "dynasession: a session could not be loaded or saved", "method", c.Method(), "path", strings.Clone(c.Path()), "status", f.status.Code, "error", err)
	}
	return f
}
