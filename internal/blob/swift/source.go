package swift

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
)

// source is what an object is written from: what was read is kept, so that it can be sent again. net/http may send a body on after it answered; a new
// attempt waits for that, so that nobody but the last one reads.
type source struct {
	from  io.Reader
	kept  *parts.Keeper
	mark  string      // by which the object is known again as this write's
	clock *time.Timer // ends an attempt that takes nothing; it rests while from is waited for

	mu      sync.Mutex
	n       int64 // bytes read
	ended   bool  // read to the end
	err     error // of from
	attempt int   // that may read
	at      int64 // where it stands
}

func newSource(from io.Reader, p *parts.Pool) *source {
	return &source{from: from, kept: p.Keep(), mark: rand.Text()}
}

// body is the source as one attempt sends it.
type body struct {
	src     *source
	attempt int
}

var (
	errOver    = errors.New("the attempt is over")
	errStalled = errors.New("the server takes no byte")
)

// begin begins an attempt: from the start, as long as nothing was lost. It waits for what an earlier one reads or sends.
func (s *source) begin() *body {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt++
	s.at = 0
	return &body{s, s.attempt}
}

// leave ends the last attempt.
func (s *source) leave() { s.begin() }

// again reports whether an attempt may follow another one: all that was read can be read again, and the source itself is whole.
func (s *source) again() bool { return s.err == nil && !s.kept.Lost() }

// Read reads on: what is kept first.
func (b *body) Read(p []byte) (int, error) {
	s := b.src
	s.mu.Lock()
	defer s.mu.Unlock()
	got, err := b.next(len(p))
	return copy(p, got), err
}

// WriteTo sends all of it, from the memory in which it is kept.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	b.src.mu.Lock()
	defer b.src.mu.Unlock()
	for sent := int64(0); ; {
		got, err := b.next(math.MaxInt)
		if len(got) > 0 {
			n, writeErr := w.Write(got)
			if sent += int64(n); writeErr != nil {
				return sent, writeErr
			}
		}
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}

// next answers the next bytes, at most so many. They are good until the next call.
func (b *body) next(most int) ([]byte, error) {
	s := b.src
	if b.attempt != s.attempt {
		return nil, errOver
	}
	if s.at < s.n {
		got, err := s.kept.Bytes(s.at)
		got = got[:min(len(got), most)]
		s.at += int64(len(got))
		s.clock.Reset(attemptStall)
		blob.Moved(s.from)
		return got, err
	}
	if s.ended {
		return nil, io.EOF
	}
	s.clock.Stop()
	room := s.kept.Room()
	n, err := s.from.Read(room[:min(len(room), most)])
	s.clock.Reset(attemptStall)
	s.kept.Add(n)
	s.n += int64(n)
	s.at = s.n
	switch {
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		s.ended = true
	case err != nil:
		s.err = err
		err = fmt.Errorf("read what is to be written: %w", err)
	}
	return room[:n], err
}

// watch begins an attempt, and answers a context that ends when the server takes nothing for so long. The function that it answers ends the attempt, and waits
// for what it reads or sends.
func (s *source) watch(ctx context.Context) (context.Context, *body, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	b := s.begin()
	s.clock = time.AfterFunc(attemptStall, func() { cancel(errStalled) })
	return ctx, b, func() {
		cancel(nil) // first: it frees whoever still sends
		s.leave()
		s.clock.Stop()
	}
}
