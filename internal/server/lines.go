package server

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	// lineBuffer is how much of the access log waits in memory at most: some 300 lines, so that 24,000 requests a second cost 80 writes.
	lineBuffer = 64 << 10
	// lineDelay is how long a line of the access log may wait: what a kill -9 loses, and what a reader of the log may lag behind.
	lineDelay = 250 * time.Millisecond
)

// lines is the process's log: whole lines, in order, some of them a little later. When the reader of the log is slow, requests wait for it,
// rather than memory growing or lines getting lost.
type lines struct {
	mu  sync.Mutex
	out io.Writer
	buf []byte
}

func newLines(out io.Writer) *lines { return &lines{out: out, buf: make([]byte, 0, lineBuffer)} }

// Write writes a line at once, after those that wait. It is what slog writes to.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf) == 0 {
		return l.out.Write(p)
	}
	l.buf = append(l.buf, p...)
	if err := l.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// later takes a line that may wait for lineDelay.
func (l *lines) later(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf)+len(line) > lineBuffer {
		// A log that can't be written is no reason to refuse requests, and there is nowhere to say so.
		if err := l.flush(); err != nil {
			l.buf = l.buf[:0]
		}
	}
	l.buf = append(l.buf, line...)
}

// flush writes what waits. The caller holds the lock.
func (l *lines) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	_, err := l.out.Write(l.buf)
	if cap(l.buf) > 2*lineBuffer {
		l.buf = make([]byte, 0, lineBuffer)
	}
	l.buf = l.buf[:0]
	return err
}

// Flush writes what waits.
func (l *lines) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush()
}

// finish is the last Flush. A log that can't be written makes no failure of an orderly stop, and there is nowhere to say so.
func (l *lines) finish() {
	if l.Flush() != nil {
		return
	}
}

// Run writes what waits every lineDelay, until the context ends.
func (l *lines) Run(ctx context.Context) error {
	tick := time.NewTicker(lineDelay)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.finish()
			return nil
		case <-tick.C:
			if err := l.Flush(); err != nil {
				continue // the next flush may succeed; there is nowhere to say so
			}
		}
	}
}
