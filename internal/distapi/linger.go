package distapi

import (
	"io"
	"net/http"
	"time"
)

// Many programs read nothing before they have sent their whole body. If the answer comes earlier, and the connection is closed with bytes that nobody read, the kernel
// resets it, and such a client sees a broken connection instead of the answer. So what comes behind an early answer is read and dropped for a while (as nginx does with
// lingering_close), but not for ever: who still sends then must live with the reset.
const (
	lingerTime  = 10 * time.Second
	lingerBytes = 1 << 30
	// drainBytes is what net/http drops by itself before an answer, and keeps the connection open.
	drainBytes = 256 << 10
)

// responder writes the answer to a request with a body.
type responder struct {
	http.ResponseWriter
	call    *call
	begun   bool
	lingers bool
}

// Unwrap lets http.ResponseController reach the connection.
func (w *responder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// SetSubject passes on who asks: see tellSubject.
func (w *responder) SetSubject(name string) {
	if to, ok := w.ResponseWriter.(interface{ SetSubject(name string) }); ok {
		to.SetSubject(name)
	}
}

// SetRefusal passes on why the request is refused: see refuse.
func (w *responder) SetRefusal(code, why string) {
	if to, ok := w.ResponseWriter.(interface{ SetRefusal(code, why string) }); ok {
		to.SetRefusal(code, why)
	}
}

// WriteHeader moves the deadlines on, and decides what becomes of a body that was not read to its end.
func (w *responder) WriteHeader(status int) {
	if !w.begun {
		w.begun = true
		w.call.body.answer()
		if w.lingers = w.call.leavesBody(); w.lingers {
			w.Header().Set("Connection", "close")
			// Without this, net/http reads a part of the body before it sends the header. A writer that can't do it (a test's) has no connection to close either.
			w.lingers = w.call.body.pace.control.EnableFullDuplex() == nil
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the answer.
func (w *responder) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// leavesBody reports whether so much of the body may be left that net/http would close the connection on it. With HTTP/2 a stream ends without harm to what was sent.
// Who asked whether to send a body at all (Expect) and was refused will not send it.
func (c *call) leavesBody() bool {
	b := c.body
	if c.ProtoMajor != 1 || b.err != nil || b.n == 0 && c.Header.Get("Expect") != "" {
		return false
	}
	return c.ContentLength < 0 || c.ContentLength-b.n > drainBytes
}

// linger drops what still comes of the body, after the answer. How it ends does not matter: the connection is closed.
func (w *responder) linger() {
	if !w.lingers {
		return
	}
	b := w.call.body
	if b.pace.control.Flush() != nil || b.pace.control.SetReadDeadline(b.pace.clock().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, b.in, lingerBytes) //nolint:errcheck // see above
}
