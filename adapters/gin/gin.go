// Package dynagin has sessions for gin. Its middleware is that of [dynasession.Store], and keeps all of its promises: the
// session is loaded when a handler asks for it, and saved before the first byte of the response.
package dynagin

import (
	"bufio"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/dynasession/dynasession"
)

// Middleware returns the middleware of store for gin. Put it inside gin.Recovery, and outside of whatever may write a
// response.
//
// A session that cannot be loaded or saved is answered by Config.ErrorHandler of the store, by default with status 503, 409
// or 500, in place of the handlers. Handlers must write through c.Writer.
func Middleware(store *dynasession.Store) gin.HandlerFunc {
	return func(c *gin.Context) {
		below, outer := c.Writer, c.Request
		defer func() { c.Writer, c.Request = below, outer }() // also for gin.Recovery
		store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.Writer, c.Request = &writer{below, w}, r
			c.Next()
			if !below.Written() && below.Status() != http.StatusOK { // gin would send it after the save
				c.Writer.WriteHeaderNow()
			}
		})).ServeHTTP(below, outer)
	}
}

// Load returns the session of c: see [dynasession.Load]. If it cannot be loaded, Load stops the chain of handlers; a handler
// that gets an error may simply return.
func Load(c *gin.Context) (*dynasession.Session, error) {
	sess, err := dynasession.Load(c.Request.Context())
	if err != nil {
		c.Abort()
	}
	return sess, err
}

// writer is gin's writer whose first byte goes through the middleware's, which saves the session. gin's own remembers the
// status.
type writer struct {
	gin.ResponseWriter
	saving http.ResponseWriter
}

func (w *writer) WriteHeaderNow() {
	if !w.Written() {
		w.saving.WriteHeader(w.Status())
		_, _ = w.saving.Write(nil) // gin's WriteHeader only remembers the status, and its Write sends it
	}
}

func (w *writer) Write(b []byte) (int, error) { return w.saving.Write(b) }

func (w *writer) WriteString(s string) (int, error) { return w.saving.Write([]byte(s)) }

func (w *writer) Flush() { _ = http.NewResponseController(w.saving).Flush() }

func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.saving).Hijack()
}

// Unwrap serves http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.saving }
