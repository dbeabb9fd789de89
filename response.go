package dynasession

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// response is the writer that a handler gets. It has the session saved before the headers are sent, and drops what is
// written after that has failed. It can do what the writer below it can, and no more: see writer.
type response struct {
	http.ResponseWriter
	request *request
	held    int  // the status that waits for the first byte of a body; 0: none
	early   bool // a 1xx has gone, for which net/http may still read the header
}

var _ http.ResponseWriter = (*response)(nil)

// Unwrap serves http.ResponseController: deadlines and full duplex need no save.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	// Informational responses come before the headers that the cookie goes with.
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		if w.request.open() {
			w.early = true
			w.ResponseWriter.WriteHeader(status)
		}
		return
	}
	if w.request.unanswered() && status >= 200 && status < 300 {
		if w.held == 0 {
			w.held = status
		}
		return
	}
	if w.request.commit() == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

// begin has the session saved, and sends the status that was held back.
func (w *response) begin() error {
	held := w.held
	w.held = 0
	err := w.request.commit()
	if err == nil && held != 0 {
		w.ResponseWriter.WriteHeader(held)
	}
	return err
}

func (w *response) Write(b []byte) (int, error) {
	if len(b) == 0 && w.request.unanswered() {
		return 0, nil
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

func (w *response) WriteString(s string) (int, error) {
	if s == "" && w.request.unanswered() {
		return 0, nil
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom keeps sendfile: io.Copy finds it, and the writer below's.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	if w.request.unanswered() { // there may be nothing to read
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.Copy(w.ResponseWriter, src)
}

// FlushError is what http.ResponseController calls first. Without it, the controller would
// unwrap, and flush past the save.
func (w *response) FlushError() error {
	if !w.can(isFlusher) {
		return http.ErrNotSupported
	}
	if err := w.begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *response) flush() { _ = w.FlushError() }

func (w *response) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := w.request.commit(); err != nil {
		return nil, nil, err
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.request.hijacked()
	}
	return conn, rw, err
}

// header returns the header, which may be changed. It returns false if the header must be left alone, since net/http
// may still be reading it for a 1xx whose sending has ended with the client.
func (w *response) header() (http.Header, bool) {
	if w.early && w.request.Err() != nil {
		return nil, false
	}
	return w.Header(), true
}

func (w *response) push(target string, opts *http.PushOptions) error {
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

// can reports whether a writer below has an ability. It unwraps as http.ResponseController does.
func (w *response) can(has func(http.ResponseWriter) bool) bool {
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

// writer returns w with the optional interfaces that the writer below has. Handlers ask for them by type assertion,
// so one that is there must work, and one that does not work must not be there.
func (w *response) writer() http.ResponseWriter {
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

// closeNotifier is net/http's deprecated CloseNotifier. gin's Stream does not ask whether it is there.
type closeNotifier interface{ CloseNotify() <-chan bool }

// The types are pointers' size, so that making one allocates nothing.
type (
	flushWriter       struct{ *response }
	hijackWriter      struct{ *response }
	pushWriter        struct{ *response }
	flushHijacker     struct{ *response }
	flushPusher       struct{ *response }
	hijackPusher      struct{ *response }
	flushHijackPusher struct{ *response }

	// Of net/http's own writers.
	http1Writer struct{ flushHijacker }
	http2Writer struct{ flushPusher }
)

func (w *response) closeNotify() <-chan bool {
	return w.ResponseWriter.(closeNotifier).CloseNotify()
}

func (w http1Writer) CloseNotify() <-chan bool { return w.closeNotify() }
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
