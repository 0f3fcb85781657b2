package server

import (
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/config"
)

// observer stands in front of all handlers: it gives each request an id, and when it is answered counts it and writes a line of the access
// log. It is on the way of every request, so it makes as little garbage as it can.
type observer struct {
	next    http.Handler
	out     *lines
	log     *slog.Logger
	format  config.LogFormat
	access  bool // write the access log
	ids     *requestIDs
	traffic *traffic
	client  func(*http.Request) netip.Addr // who asks, behind trusted proxies
	proxies *strangeProxies
	clock   func() time.Time
	patient time.Duration // how long nothing of an answer may move; 0: for ever
	pool    sync.Pool
}

// witness is a ResponseWriter that remembers what was answered, and the body that counts what came. It lives for one request.
type witness struct {
	http.ResponseWriter
	body    countedBody
	entry   entry
	head    bool          // the answer has no body: what the handler writes is dropped
	late    time.Duration // the answer gets so long when it begins; 0: it was given its time before
	slow    stream        // how an answer of HTTP/2 is written that may move slowly
	status  int
	sent    int64
	subject string
	code    string // why it was refused, "" if it was not
	why     string
}

// countedBody counts the bytes of a request's body.
type countedBody struct {
	io.ReadCloser
	n int64
}

// Read reads on.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	return n, err
}

// SetSubject tells who asks, once the API knows it.
func (w *witness) SetSubject(name string) { w.subject = name }

// SetRefusal tells with which code and words the request is refused.
func (w *witness) SetRefusal(code, why string) { w.code, w.why = code, why }

// Unwrap lets http.ResponseController reach the connection.
func (w *witness) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader remembers the status; informational ones (100 to 199) are not the answer yet.
func (w *witness) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// takeTime takes the time away that HTTP/2 gives to an answer from the beginning of its request: when it is over the stream is reset, though nothing is being written, and some changes take minutes. The answer
// is given it when it begins. With HTTP/1.1 the connection sees to that: see slotted.
func (w *witness) takeTime(limit time.Duration) {
	if http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Time{}) == nil {
		w.late = limit
	}
}

// begin notes the status with which the answer begins.
func (w *witness) begin(status int) {
	w.status = status
	if w.late > 0 {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.late)) //nolint:errcheck // it could be set before; a stream that is gone says so to who writes
	}
}

// Write counts.
func (w *witness) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	n, err := w.slow.write(w.ResponseWriter, p)
	w.count(int64(n))
	return n, err
}

func (w *witness) count(n int64) {
	if !w.head {
		w.sent += n
	}
}

// ReadFrom hands a file on to the connection, so that the kernel may copy it (sendfile), and counts.
func (w *witness) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	to, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	n, err := to.ReadFrom(src)
	w.count(n)
	return n, err
}

// ServeHTTP passes a request on and tells of it.
func (o *observer) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	begin := o.clock()
	w, ok := o.pool.Get().(*witness)
	if !ok {
		w = &witness{}
	}
	w.ResponseWriter, w.head, w.late, w.slow, w.status, w.sent, w.subject, w.code, w.why = rw, r.Method == http.MethodHead, 0, stream{}, 0, 0, "", "", ""
	w.body = countedBody{}
	if r.Body != nil && r.Body != http.NoBody {
		w.body.ReadCloser = r.Body
		r.Body = &w.body
	}
	id := o.ids.of(r.Header.Get("X-Request-Id"))
	rw.Header()["X-Request-Id"] = []string{id}
	o.proxies.look(r)
	if r.ProtoMajor == 2 && o.patient > 0 {
		w.slow.limit = o.patient
		if r.Method != http.MethodGet && !w.head { // what is only asked for takes less, and is asked too often for two messages to the connection each
			w.takeTime(o.patient)
		}
	}
	o.traffic.flight.Add(1)
	defer o.end(w, r, id, begin)
	o.next.ServeHTTP(w, r)
}

// end is deferred: it runs when the answer is complete, or when the handler panicked.
func (o *observer) end(w *witness, r *http.Request, id string, begin time.Time) {
	o.traffic.flight.Add(-1)
	p := recover()
	switch {
	case p == nil && w.status == 0:
		w.status = http.StatusOK
	case p != nil && p != http.ErrAbortHandler: //nolint:errorlint // a panic's value is no error to unwrap
		o.log.Error("a handler panicked", "panic", p, "request_id", id, "path", shortened(r.URL.Path), "stack", string(debug.Stack()))
		if w.status == 0 {
			w.status = http.StatusInternalServerError
			w.ResponseWriter.WriteHeader(w.status)
		}
	case p != nil && w.status == 0:
		w.status = statusAborted
	}
	now := o.clock()
	took := now.Sub(begin)
	kind := classify(r.URL.Path)
	o.traffic.count(kind, r.Method, w.status, w.body.n, w.sent, took)
	// Probes ask every few seconds: only what they should not see is worth a line.
	if o.access && (kind != classHealth || w.status != http.StatusOK) {
		o.write(w, r, id, now, took)
	}
	if p != nil {
		panic(http.ErrAbortHandler) // net/http cuts the connection: the client must not take what it has for the whole
	}
	w.ResponseWriter, w.body.ReadCloser = nil, nil
	o.pool.Put(w)
}

// statusAborted is what the access log says when the connection was cut before an answer began (nginx's number for it).
const statusAborted = 499

// maxLogged is how much of a text that a stranger sent goes into the log: a header may be 1 MiB long, and lines like that fill a disk.
const maxLogged = 1 << 10

// shortened answers a text, or the beginning of one that is longer than maxLogged. What is no UTF-8 in it is replaced: one such text in a batch of traces, and none of them is sent.
func shortened(s string) string {
	if len(s) <= maxLogged {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:maxLogged], "") + "…"
}

func (o *observer) write(w *witness, r *http.Request, id string, now time.Time, took time.Duration) {
	e := &w.entry
	e.begin(o.format, now, "request")
	e.text("method", shortened(r.Method))
	e.text("path", shortened(r.URL.EscapedPath()))
	e.number("status", int64(w.status))
	e.number("bytes", w.sent)
	e.number("received", w.body.n)
	e.milliseconds("ms", took)
	e.text("request_id", id)
	e.text("subject", w.subject)
	e.text("remote", o.remote(r))
	e.text("proto", r.Proto)
	e.text("agent", shortened(r.UserAgent()))
	if w.code != "" {
		e.text("code", w.code)
		e.text("why", shortened(w.why))
	}
	o.out.later(e.end())
}

// remote answers who asks: the peer as it is, or the client that a trusted proxy names.
func (o *observer) remote(r *http.Request) string {
	if r.Header["X-Forwarded-For"] == nil {
		return r.RemoteAddr
	}
	if addr := o.client(r); addr.IsValid() {
		return addr.String()
	}
	return r.RemoteAddr
}
