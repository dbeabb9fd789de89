// Package respond wraps an http.ResponseWriter, so that a program can act before the first byte of a response is sent.
package respond

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// A Request is what a Writer has to know about the request that it answers.
type Request interface {
	// Commit is called before the headers are sent. If it returns an error, it has answered, and nothing else is
	// written.
	Commit() error
	// Open reports whether the response is still the handler's. It is not after Commit has answered.
	Open() bool
	// Unanswered reports whether Commit would answer with an error, unless the handler answers first.
	Unanswered() bool
	// Hijacked is called after the connection was hijacked.
	Hijacked()
	// Err returns an error if the client has gone.
	Err() error
}

// A Writer is the writer that a handler gets. It calls Commit before the headers are sent, and drops what is written
// after Commit has failed.
type Writer struct {
	http.ResponseWriter
	Request Request
	held    int  // the status that waits for the first byte of a body; 0: none
	early   bool // a 1xx was sent, for which net/http may still be reading the header
}

var _ http.ResponseWriter = (*Writer)(nil)

// Unwrap serves http.ResponseController: setting deadlines and full duplex sends nothing.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader commits, and sends the status. While the request is unanswered, a status of success waits for the first
// byte of a body.
func (w *Writer) WriteHeader(status int) {
	// Informational responses come before the headers of the response.
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		if w.Request.Open() {
			w.early = true
			w.ResponseWriter.WriteHeader(status)
		}
		return
	}
	if w.Request.Unanswered() && status >= 200 && status < 300 {
		if w.held == 0 {
			w.held = status
		}
		return
	}
	if w.Request.Commit() == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

// begin commits, and sends the status that was held back.
func (w *Writer) begin() error {
	held := w.held
	w.held = 0
	err := w.Request.Commit()
	if err == nil && held != 0 {
		w.ResponseWriter.WriteHeader(held)
	}
	return err
}

// Write commits, and writes b.
func (w *Writer) Write(b []byte) (int, error) {
	if len(b) == 0 && w.Request.Unanswered() {
		return 0, nil
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

// WriteString commits, and writes s.
func (w *Writer) WriteString(s string) (int, error) {
	if s == "" && w.Request.Unanswered() {
		return 0, nil
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom lets io.Copy use the ReadFrom of the writer below, which may be able to use sendfile.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	if w.Request.Unanswered() { // src may be empty
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.Copy(w.ResponseWriter, src)
}

// FlushError commits, and flushes. http.ResponseController calls it. Without it, the controller would unwrap the writer
// and flush before the commit.
func (w *Writer) FlushError() error {
	if !w.can(isFlusher) {
		return http.ErrNotSupported
	}
	if err := w.begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *Writer) flush() { _ = w.FlushError() }

func (w *Writer) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := w.Request.Commit(); err != nil {
		return nil, nil, err
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.Request.Hijacked()
	}
	return conn, rw, err
}

// Editable returns the header, which may be changed. It returns false if the header must be left alone: net/http may
// still be reading it for a 1xx, after the client has gone.
func (w *Writer) Editable() (http.Header, bool) {
	if w.early && w.Request.Err() != nil {
		return nil, false
	}
	return w.Header(), true
}

func (w *Writer) push(target string, opts *http.PushOptions) error {
	return w.ResponseWriter.(http.Pusher).Push(target, opts)
}

func isFlusher(w http.ResponseWriter) bool {
	switch w.(type) {
	case http.Flusher, interface{ FlushError() error }:
		return true
	}
	return false
}

func isHijacker(w http.ResponseWriter) bool {
	_, ok := w.(http.Hijacker)
	return ok
}

// can reports whether has returns true for a writer below w. It unwraps as http.ResponseController does.
func (w *Writer) can(has func(http.ResponseWriter) bool) bool {
	for below := w.ResponseWriter; ; {
		if has(below) {
			return true
		}
		u, ok := below.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		below = u.Unwrap()
	}
}

// As returns w with the optional interfaces that the writer below has. Handlers look for them by type assertion, so each
// of them must work.
func (w *Writer) As() http.ResponseWriter {
	flusher, hijacker := w.can(isFlusher), w.can(isHijacker)
	_, pusher := w.ResponseWriter.(http.Pusher)
	_, notifier := w.ResponseWriter.(closeNotifier)
	switch {
	case flusher && hijacker && pusher:
		return flushHijackPusher{w}
	case flusher && hijacker && notifier:
		return http1Writer{flushHijacker{w}}
	case flusher && pusher && notifier:
		return http2Writer{flushPusher{w}}
	case flusher && hijacker:
		return flushHijacker{w}
	case flusher && pusher:
		return flushPusher{w}
	case hijacker && pusher:
		return hijackPusher{w}
	case flusher:
		return flushWriter{w}
	case hijacker:
		return hijackWriter{w}
	case pusher:
		return pushWriter{w}
	}
	return w
}

// closeNotifier is net/http's deprecated CloseNotifier. gin's Stream uses it without checking whether it is there.
type closeNotifier interface{ CloseNotify() <-chan bool }

// Each of these types has the size of a pointer, so that converting one to an interface does not allocate.
type (
	flushWriter       struct{ *Writer }
	hijackWriter      struct{ *Writer }
	pushWriter        struct{ *Writer }
	flushHijacker     struct{ *Writer }
	flushPusher       struct{ *Writer }
	hijackPusher      struct{ *Writer }
	flushHijackPusher struct{ *Writer }

	// What net/http's own writers can do.
	http1Writer struct{ flushHijacker }
	http2Writer struct{ flushPusher }
)

func (w *Writer) closeNotify() <-chan bool {
	return w.ResponseWriter.(closeNotifier).CloseNotify()
}

// CloseNotify implements http.CloseNotifier.
func (w http1Writer) CloseNotify() <-chan bool { return w.closeNotify() }

// CloseNotify implements http.CloseNotifier.
func (w http2Writer) CloseNotify() <-chan bool { return w.closeNotify() }

func (w flushWriter) Flush()       { w.flush() }
func (w flushHijacker) Flush()     { w.flush() }
func (w flushPusher) Flush()       { w.flush() }
func (w flushHijackPusher) Flush() { w.flush() }

func (w hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error)      { return w.hijack() }
func (w flushHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error)     { return w.hijack() }
func (w hijackPusher) Hijack() (net.Conn, *bufio.ReadWriter, error)      { return w.hijack() }
func (w flushHijackPusher) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

func (w pushWriter) Push(target string, opts *http.PushOptions) error   { return w.push(target, opts) }
func (w flushPusher) Push(target string, opts *http.PushOptions) error  { return w.push(target, opts) }
func (w hijackPusher) Push(target string, opts *http.PushOptions) error { return w.push(target, opts) }
func (w flushHijackPusher) Push(target string, opts *http.PushOptions) error {
	return w.push(target, opts)
}
