package parts_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	queuePart  = 64 << 10 // a part of 16 MiB, small
	queueParts = 6
	queueSlots = 32
)

// narrow is a store that takes so many bytes in a second, of all that is sent together, or none.
type narrow struct {
	blob.Driver
	pool *parts.Pool
	turn chan struct{} // held by who sends
	rate int           // 0: hangs when it took a little of each part
}

// Put sends an object in parts.
func (d *narrow) Put(ctx context.Context, _ string, size int64, r io.Reader) (blob.Written, error) {
	cut := d.pool.Cut(r, size, queuePart)
	first, err := cut.Next(ctx)
	if err != nil {
		return blob.Written{}, err
	}
	n, err := cut.Send(ctx, first, 4, d.send)
	return blob.Written{Size: n}, err
}

func (d *narrow) send(ctx context.Context, p *parts.Part) error {
	body := p.Body()
	piece := make([]byte, 8<<10)
	for {
		n, err := body.Read(piece)
		if err == io.EOF { //nolint:errorlint // the body's own
			return nil
		}
		if err != nil {
			return err
		}
		if err = d.take(ctx, n); err != nil {
			return err
		}
	}
}

// take waits until the store has taken a piece.
func (d *narrow) take(ctx context.Context, n int) error {
	if d.rate == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.turn }()
	time.Sleep(time.Second * time.Duration(n) / time.Duration(d.rate))
	return ctx.Err()
}

// TestAStoreThatIsSlowForManyIsNotTakenForOneThatHangs: clients are faster than the store, and each part waits behind those of all others.
func TestAStoreThatIsSlowForManyIsNotTakenForOneThatHangs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		many  int
		each  time.Duration // what the store takes for a part
		hangs bool
	}{
		{many: 100, each: 320 * time.Millisecond}, // 50 MiB/s
		{many: 400, each: 160 * time.Millisecond}, // 100 MiB/s
		{many: 60, each: 3 * time.Second},         // no part is through before a minute and a half are over
		{many: 60, hangs: true},
	} {
		t.Run(fmt.Sprintf("%d at %v", c.many, c.each), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, err := parts.NewPool(8<<20, t.TempDir(), queueSlots)
				if err != nil {
					t.Fatal(err)
				}
				d := &narrow{pool: p, turn: make(chan struct{}, 1)}
				if !c.hangs {
					d.rate = int(queuePart * time.Second / c.each)
				}
				s := blob.NewStore(d, blob.StoreConfig{Patience: blob.RemotePatience, Stall: blob.RemoteStall})
				began := time.Now()
				done := make(chan error, c.many)
				for range c.many {
					go func() {
						_, putErr := s.Put(t.Context(), s.NewName(), -1, io.LimitReader(zeros{}, queueParts*queuePart))
						done <- putErr
					}()
				}
				for range c.many {
					if err = <-done; (err == nil) == c.hangs || err != nil && !fail.Is(err, fail.Unavailable) {
						t.Errorf("after %v: %v (%v)", time.Since(began), err, fail.KindOf(err))
					}
				}
				if took := time.Since(began); c.hangs && took > 2*time.Minute {
					t.Errorf("a store that hangs was waited for for %v", took)
				}
			})
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestWhatIsSentAgainDoesNotMove: a server that hangs takes a little of each try.
func TestWhatIsSentAgainDoesNotMove(t *testing.T) {
	t.Parallel()
	p, _ := pool(t, 4<<20)
	from := &told{Reader: io.LimitReader(zeros{}, 1<<20)}
	cut := p.Cut(from, 1<<20, partBytes)
	first, err := cut.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err = io.CopyN(io.Discard, first.Body(), 100<<10); err != nil {
			t.Fatal(err)
		}
	}
	again := from.times
	if _, err = io.CopyN(io.Discard, first.Body(), 100<<10+1); err != nil {
		t.Fatal(err)
	}
	if again == 0 || from.times != again+1 {
		t.Errorf("told %d times, and %d with one more byte", again, from.times)
	}
	if err = first.Release(); err != nil {
		t.Error(err)
	}
}

// told counts what it is told.
type told struct {
	io.Reader
	times int
}

func (s *told) Moved() { s.times++ }
