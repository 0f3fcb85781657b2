package distapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// pace keeps the deadlines of a connection ahead of a transfer for as long as it moves: a slow push of 20 GiB goes on, one that stands still ends.
type pace struct {
	control *http.ResponseController
	clock   func() time.Time
	limit   time.Duration // 0: no deadlines
	last    time.Time
	reads   bool      // a body is read, so there will be an answer to write after its deadline
	latest  time.Time // when reading ends although it moves; zero: never
	guard   *guard    // in place of the deadlines, while a blob is read from a stream of HTTP/2; else nil
}

func (a *API) newPace(w http.ResponseWriter, reads bool) *pace {
	return &pace{control: http.NewResponseController(w), clock: a.clock, limit: a.patience, reads: reads}
}

// extend moves the deadlines on. It does so at most eight times in a limit, because a deadline costs a timer.
func (p *pace) extend() {
	if p.limit == 0 || p.guard != nil {
		return
	}
	now := p.clock()
	if now.Sub(p.last) < p.limit/8 {
		return
	}
	p.last = now
	end := now.Add(p.limit)
	if p.reads {
		if !p.latest.IsZero() && p.latest.Before(end) {
			end = p.latest
		}
		p.set(p.control.SetReadDeadline(end))
		end = end.Add(p.limit)
	}
	p.set(p.control.SetWriteDeadline(end))
}

// stopReading takes the read deadline away when a body is complete: net/http watches the connection from then on, and would take a deadline that passes
// while the registry works for a client that went.
func (p *pace) stopReading() {
	if p.limit != 0 {
		p.set(p.control.SetReadDeadline(time.Time{}))
	}
}

// stopWriting takes the write deadline away while the registry works: HTTP/2 resets a stream whose deadline passes, although nothing is being written.
func (p *pace) stopWriting() {
	if p.limit != 0 {
		p.set(p.control.SetWriteDeadline(time.Time{}))
	}
}

// set looks at what setting a deadline answered. A writer without deadlines (a test's recorder) is left alone; a connection that is gone says so at the
// next read or write.
func (p *pace) set(err error) {
	if errors.Is(err, http.ErrNotSupported) {
		p.limit = 0
	}
}

// guard ends the wait for a byte of a stream of HTTP/2. A deadline will not do there: one that passes ends the stream for good, also while nobody waits for a
// byte, because the store is busy with others. Nor does the client stand still whose byte can't come: see flows.
type guard struct {
	control *http.ResponseController
	starves func() bool
	mu      sync.Mutex
	timer   *time.Timer
	limit   time.Duration
	waits   bool
}

// begin says that a byte is waited for.
func (g *guard) begin(limit time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waits, g.limit = true, limit
	if g.timer == nil {
		g.timer = time.AfterFunc(limit, g.end)
		return
	}
	g.timer.Reset(limit)
}

// rest says that none is waited for any more. The stream is left alone from then on: it may be over.
func (g *guard) rest() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waits = false
	g.timer.Stop()
}

func (g *guard) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waits && g.starves() {
		g.timer.Reset(g.limit)
		return
	}
	if g.waits {
		_ = g.control.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a stream that is gone says so to who reads
	}
}

// flows knows of each connection of HTTP/2 which blobs are on their way over it. All its streams share what it may have sent without being read: while the store takes nothing of two of them, what came of
// these fills that, and no byte of another one comes.
type flows struct {
	mu sync.Mutex
	of map[string]flow // by the address of the other end
}

// flow is how many blobs a connection brings, and of how many of them a byte is waited for: of the others what came is not read.
type flow struct{ blobs, waits int }

func (f *flows) change(peer string, blobs, waits int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.of[peer]
	now.blobs, now.waits = now.blobs+blobs, now.waits+waits
	if now == (flow{}) {
		delete(f.of, peer)
		return
	}
	if f.of == nil {
		f.of = map[string]flow{}
	}
	f.of[peer] = now
}

// starve reports whether it may be others on a connection that keep the bytes of those away that are waited for.
func (f *flows) starve(peer string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[peer].blobs > f.of[peer].waits
}

// leastRate is how many bytes a second must come of a body, once its patience is used up: a form then has two minutes at most, a manifest of 4 MiB an hour. Without it, whoever
// sends a byte now and then holds a connection for weeks, and needs no credentials for that.
const leastRate = 1 << 10

// body is a request's body with its pace. It remembers how reading ended. Until takeTime is called it must come at leastRate.
type body struct {
	in      io.Reader
	pace    *pace
	stream  bool // of HTTP/2
	peer    string
	flows   *flows
	flowing bool // it is counted there
	begun   time.Time
	slow    bool  // it may come as slowly as it will, as long as it moves
	n       int64 // bytes read
	err     error // nil, io.EOF, or what broke it off
}

// newBody arms the deadline at once, so that a body that nobody reads is not waited for either.
func (a *API) newBody(w http.ResponseWriter, r *http.Request) *body {
	b := &body{in: r.Body, pace: a.newPace(w, true), stream: r.ProtoMajor == 2, peer: r.RemoteAddr, flows: &a.flows, begun: a.clock()}
	b.extend()
	return b
}

// takeTime lets the body be as slow as it is, because its caller may push here, and it goes to the store and not into memory: a blob of 20 GiB behind a bad line.
func (b *body) takeTime() {
	b.slow, b.pace.latest, b.pace.last = true, time.Time{}, time.Time{}
	if b.stream && b.pace.guard == nil { // see guard
		b.pace.stopReading()
		b.pace.stopWriting()
		b.pace.guard = &guard{control: b.pace.control, starves: func() bool { return b.flows.starve(b.peer) }}
		b.flowing = true
		b.flows.change(b.peer, 1, 0)
	}
}

// over says that nothing more comes of the body, or is read: then nothing of it is in the way of others.
func (b *body) over() {
	if b.flowing {
		b.flowing = false
		b.flows.change(b.peer, -1, 0)
	}
}

func (b *body) extend() {
	if !b.slow {
		b.pace.latest = b.begun.Add(b.pace.limit + time.Duration(b.n)*(time.Second/leastRate))
	}
	b.pace.extend()
}

// Read reads on.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.wait(p)
	b.n += int64(n)
	if err != nil {
		b.err = err
		b.over()
		if errors.Is(err, io.EOF) {
			b.pace.stopReading()
			b.pace.stopWriting()
		}
	}
	return n, err
}

// wait reads on in time.
func (b *body) wait(p []byte) (int, error) {
	b.extend()
	if g := b.pace.guard; g != nil && b.pace.limit != 0 {
		b.flows.change(b.peer, 0, 1)
		defer b.flows.change(b.peer, 0, -1)
		g.begin(b.pace.limit)
		defer g.rest()
	}
	return b.in.Read(p)
}

// answer moves the deadlines on before an answer, which may come long after the last byte: reading a blob back, waiting for a flush.
func (b *body) answer() {
	b.pace.last, b.pace.latest, b.pace.guard = time.Time{}, time.Time{}, nil
	b.pace.reads = b.pace.reads && !b.stoodStill() // who was cut off gets no second time for the rest
	b.pace.extend()
	if errors.Is(b.err, io.EOF) {
		b.pace.stopReading()
	}
}

// stoodStill reports whether the body ended by its deadline.
func (b *body) stoodStill() bool { return b != nil && errors.Is(b.err, os.ErrDeadlineExceeded) }

// transfer writes a blob to a client at the client's pace. It hands files to the connection whole, so that the kernel copies them (sendfile), and turns
// a refused range or condition into an error of the API.
type transfer struct {
	http.ResponseWriter
	pace    *pace
	direct  bool // the connection is plain HTTP/1.1: a file may go by sendfile
	refused int  // 416 or 412, where that is the answer: its body is ours
	waits   bool // the status waits for the first byte: the store may give none
	held    int  // the status that waits; 0: none does
	// spare answers what to read on where a file can't be read any more, nil if there is no other source or the file is not at fault.
	spare func() io.Reader
	err   error
}

// copyBytes is the buffer for what can't go by sendfile: as large as a TLS record holds four times.
const copyBytes = 64 << 10

// directBytes is the size from which sendfile pays: below it, header and content fit one write.
const directBytes = 16 << 10

// Unwrap lets http.ResponseController reach the connection.
func (t *transfer) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// WriteHeader sends the status; 416 and 412 are held back for the caller, and one that waits for the first byte.
func (t *transfer) WriteHeader(status int) {
	switch {
	case status == http.StatusRequestedRangeNotSatisfiable, status == http.StatusPreconditionFailed:
		t.refused = status
	case t.waits:
		t.held = status
	default:
		t.ResponseWriter.WriteHeader(status)
	}
}

// release sends the status if it waits.
func (t *transfer) release() {
	if t.held != 0 {
		t.ResponseWriter.WriteHeader(t.held)
		t.held = 0
	}
}

// Write writes bytes that did not come from a file.
func (t *transfer) Write(p []byte) (int, error) {
	if t.refused != 0 {
		return len(p), nil
	}
	t.release()
	t.pace.extend()
	n, err := t.ResponseWriter.Write(p)
	t.keep(err)
	return n, err
}

// ReadFrom copies src to the client. A file that can't be read to its end is changed for its spare.
func (t *transfer) ReadFrom(src io.Reader) (int64, error) {
	n, err := t.copy(src)
	if file, ok := src.(*io.LimitedReader); ok && file.N > 0 && isFile(file.R) {
		if rest := t.spare(); rest != nil {
			var m int64
			m, err = t.copy(io.LimitReader(rest, file.N))
			n += m
		}
	}
	t.keep(err)
	return n, err
}

// copy copies as the connection can. A deadline that passes while a file moves is renewed: the kernel says how much went out, so nothing is lost or sent
// twice. The header goes first and alone, so that this holds for whatever is sent after it.
func (t *transfer) copy(src io.Reader) (int64, error) {
	to, ok := t.ResponseWriter.(io.ReaderFrom)
	if !ok || !t.direct || !isLargeFile(src) {
		return io.CopyBuffer(plainWriter{t}, src, make([]byte, copyBytes))
	}
	t.pace.extend()
	if err := t.pace.control.Flush(); err != nil {
		return 0, err
	}
	var sum int64
	for {
		t.pace.extend()
		n, err := to.ReadFrom(src)
		sum += n
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return sum, err
		}
	}
}

func (t *transfer) keep(err error) {
	if t.err == nil {
		t.err = err
	}
}

// isLargeFile reports whether io.Copy's source is a piece of a file that is worth a system call of its own.
func isLargeFile(src io.Reader) bool {
	limited, ok := src.(*io.LimitedReader)
	return ok && limited.N >= directBytes && isFile(limited.R)
}

func isFile(r io.Reader) bool {
	_, ok := r.(*os.File)
	return ok
}

// plainWriter hides ReadFrom from io.CopyBuffer.
type plainWriter struct{ io.Writer }

// readCloser is a body with its pace, closed as the request's own.
type readCloser struct {
	io.Reader
	io.Closer
}
