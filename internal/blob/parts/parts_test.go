package parts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/parts"
)

const partBytes = 1 << 20

func pool(t *testing.T, bytes int64) (*parts.Pool, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "parts")
	p, err := parts.NewPool(bytes, dir, 8)
	if err != nil {
		t.Fatal(err)
	}
	return p, dir
}

// collect sends a stream and answers what arrived, in order.
func collect(t *testing.T, p *parts.Pool, from io.Reader, hint int64) ([]byte, int) {
	t.Helper()
	cut := p.Cut(from, hint, partBytes)
	first, err := cut.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got := map[int][]byte{}
	n, err := cut.Send(t.Context(), first, 4, func(_ context.Context, part *parts.Part) error {
		for range 2 { // as one that is sent again
			b, readErr := io.ReadAll(part.Body())
			if readErr != nil || int64(len(b)) != part.Size {
				return errors.Join(readErr, io.ErrUnexpectedEOF)
			}
			mu.Lock()
			got[part.Number] = b
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for i := 1; i <= len(got); i++ {
		all = append(all, got[i]...)
	}
	if int64(len(all)) != n {
		t.Errorf("%d bytes sent, %d said", len(all), n)
	}
	return all, len(got)
}

func TestWhatIsSentIsTheStream(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{0, 700 << 10, 64 << 20} {
		p, dir := pool(t, memory)
		for _, size := range []int{0, 1, 256<<10 - 1, 256 << 10, partBytes - 1, partBytes, partBytes + 1, 3*partBytes + 12345} {
			want := blobtest.Noise(uint64(size), size)
			for _, hint := range []int64{-1, int64(size), int64(size) / 2} {
				got, n := collect(t, p, iotest.HalfReader(bytes.NewReader(want)), hint)
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes with %d of memory, said to be %d: other bytes", size, memory, hint)
				}
				if most := max(1, (size+partBytes-1)/partBytes); n != most {
					t.Errorf("%d bytes came in %d parts, want %d", size, n, most)
				}
			}
		}
		if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
			t.Errorf("%d files are left", len(left))
		}
	}
}

func TestTheLastPartIsKnownAsSuch(t *testing.T) {
	t.Parallel()
	p, _ := pool(t, 8<<20)
	for _, c := range []struct {
		size, hint int64
		last       bool
	}{{0, -1, true}, {10, -1, true}, {partBytes, partBytes, true}, {partBytes, -1, false}, {partBytes + 1, partBytes + 1, false}, {partBytes + 1, partBytes, false}} {
		part, err := p.Cut(bytes.NewReader(make([]byte, c.size)), c.hint, partBytes).Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if part.Last != c.last {
			t.Errorf("%d bytes said to be %d: last is %v", c.size, c.hint, part.Last)
		}
		if err = part.Release(); err != nil {
			t.Error(err)
		}
	}
}

func TestManyStreamsShareLittleMemory(t *testing.T) {
	t.Parallel()
	p, _ := pool(t, 3<<20)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			want := blobtest.Noise(uint64(i), 3*partBytes+i)
			if got, _ := collect(t, p, bytes.NewReader(want), -1); !bytes.Equal(got, want) {
				t.Errorf("stream %d: other bytes", i)
			}
		})
	}
	all.Wait()
}

// TestASlowStreamHoldsNobodyBack fills the memory with a stream that stands still.
func TestASlowStreamHoldsNobodyBack(t *testing.T) {
	t.Parallel()
	p, _ := pool(t, 512<<10)
	slow, feed := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if got, _ := collect(t, p, slow, -1); len(got) != 600<<10 {
			t.Errorf("the slow one came to %d bytes", len(got))
		}
	}()
	if _, err := feed.Write(make([]byte, 600<<10)); err != nil {
		t.Fatal(err)
	}
	want := blobtest.Noise(1, 4*partBytes)
	if got, _ := collect(t, p, bytes.NewReader(want), -1); !bytes.Equal(got, want) {
		t.Error("other bytes")
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
}

func TestAStreamThatBreaksOffEndsAll(t *testing.T) {
	t.Parallel()
	p, _ := pool(t, 8<<20)
	cause := errors.New("cable cut")
	cut := p.Cut(io.MultiReader(bytes.NewReader(make([]byte, 2*partBytes+10)), iotest.ErrReader(cause)), -1, partBytes)
	first, err := cut.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What is being sent would wait for ever: it is told to stop.
	_, err = cut.Send(t.Context(), first, 4, func(ctx context.Context, _ *parts.Part) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
}

// TestAnErrorAroundAnEndIsNone reads a stream whose end is another's: what was cut off must not count as whole.
func TestAnErrorAroundAnEndIsNone(t *testing.T) {
	t.Parallel()
	p, _ := pool(t, 8<<20)
	for _, size := range []int{10, partBytes, 2*partBytes + 10} {
		cause := fmt.Errorf("the other side: %w", io.EOF)
		cut := p.Cut(io.MultiReader(bytes.NewReader(make([]byte, size)), iotest.ErrReader(cause)), -1, partBytes)
		first, err := cut.Next(t.Context())
		if err == nil {
			_, err = cut.Send(t.Context(), first, 4, func(context.Context, *parts.Part) error { return nil })
		}
		if !errors.Is(err, cause) {
			t.Errorf("%d bytes: error %v", size, err)
		}
	}
}

// TestWhoGivesUpBetweenTwoPartsHasNotSentAll ends a context when all that was cut so far has been sent.
func TestWhoGivesUpBetweenTwoPartsHasNotSentAll(t *testing.T) {
	t.Parallel()
	p, _ := pool(t, 8<<20)
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan struct{})
	from := io.MultiReader(bytes.NewReader(make([]byte, partBytes)), readerFunc(func(b []byte) (int, error) {
		<-sent
		cancel()
		return copy(b, "x"), nil
	}), bytes.NewReader(make([]byte, partBytes)))
	cut := p.Cut(from, -1, partBytes)
	first, err := cut.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	n, err := cut.Send(ctx, first, 4, func(context.Context, *parts.Part) error {
		once.Do(func() { close(sent) })
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestABodyMayBeReadTooLate does what net/http does with the body of a request that ended early.
func TestABodyMayBeReadTooLate(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{0, 8 << 20} {
		p, _ := pool(t, memory)
		part, err := p.Cut(bytes.NewReader(make([]byte, partBytes)), -1, partBytes).Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		late := part.Body()
		if _, err = io.CopyN(io.Discard, late, 1000); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			if n, readErr := io.Copy(io.Discard, late); readErr == nil && n < partBytes-1000 || readErr != nil && !errors.Is(readErr, os.ErrClosed) {
				t.Errorf("%d bytes, %v", n, readErr)
			}
		})
		if err = part.Release(); err != nil {
			t.Error(err)
		}
		all.Wait()
		if _, err = late.Seek(0, io.SeekStart); err != nil {
			t.Error(err)
		}
		if n, readErr := late.Read(make([]byte, 10)); n != 0 || !errors.Is(readErr, os.ErrClosed) {
			t.Errorf("%d bytes after the release, %v", n, readErr)
		}
	}
}

func TestAPartThatIsRefusedEndsAll(t *testing.T) {
	t.Parallel()
	p, _ := pool(t, 2<<20)
	cause := errors.New("refused")
	cut := p.Cut(bytes.NewReader(make([]byte, 20*partBytes)), -1, partBytes)
	first, err := cut.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = cut.Send(t.Context(), first, 2, func(_ context.Context, part *parts.Part) error {
		if part.Number == 3 {
			return cause
		}
		return nil
	})
	if !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	// All memory is back: one stream can have it.
	want := blobtest.Noise(1, 2*partBytes)
	if got, _ := collect(t, p, bytes.NewReader(want), -1); !bytes.Equal(got, want) {
		t.Error("other bytes")
	}
}

func TestWhatADeadProcessLeftIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"part-123", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := parts.NewPool(0, dir, 1); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left are %v, %v", left, err)
	}
}
