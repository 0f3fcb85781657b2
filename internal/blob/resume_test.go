package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
)

// remote puts a store before a driver as if it were behind a network.
func remote(d blob.Driver) *blob.Store {
	return blob.NewStore(d, blob.StoreConfig{Patience: blob.RemotePatience, Stall: blob.RemoteStall})
}

var errCut = fail.E(fail.Unavailable, nil, "connection reset")

// kept writes objects of 100,000 bytes each into memory.
func kept(t *testing.T, n int) (d *memory.Driver, objects []blob.Object, whole []byte) {
	t.Helper()
	d = memory.New(time.Now)
	s := blobtest.Store(d)
	for i := range n {
		o, data := blob.Object{Name: s.NewName(), Size: 100_000}, blobtest.Noise(uint64(i), 100_000)
		if _, err := s.Put(t.Context(), o.Name, o.Size, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		objects, whole = append(objects, o), append(whole, data...)
	}
	return d, objects, whole
}

// readAll reads a blob from an offset.
func readAll(ctx context.Context, s *blob.Store, objects []blob.Object, from int64) ([]byte, error) {
	r, err := s.Open(ctx, objects)
	if err != nil {
		return nil, err
	}
	_, err = r.Seek(from, io.SeekStart)
	var data []byte
	if err == nil {
		data, err = io.ReadAll(r)
	}
	return data, errors.Join(err, r.Close())
}

func TestAReadThatBreaksOffGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]error{
		"unavailable": errCut, "cut in the middle of a body": io.ErrUnexpectedEOF, "closed without a word": io.EOF, "hangs": blobtest.ErrHang,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, objects, whole := kept(t, 3)
				faulty := &blobtest.Faulty{Driver: d, OnGet: func(int64) (int64, error) { return 7_000, cut }}
				for _, from := range []int64{0, 99_999, 150_000} {
					faulty.Gets.Store(0)
					got, err := readAll(t.Context(), remote(faulty), objects, from)
					if err != nil || !bytes.Equal(got, whole[from:]) {
						t.Errorf("from %d: %d bytes, %v", from, len(got), err)
					}
					if want := int64(len(whole))/7_000 + 3; faulty.Gets.Load() > want {
						t.Errorf("from %d: asked %d times, want no byte twice: %d", from, faulty.Gets.Load(), want)
					}
				}
			})
		})
	}
}

func TestAReadWithoutProgressEndsInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		cut      error
		at       int64 // -1: Get itself
		kind     fail.Kind
		local    bool
		from, to time.Duration // how long it may take
		least    int64         // how often it is asked at least
	}{
		{"for a remote store", errCut, 0, fail.Unavailable, false, 8 * time.Second, 21 * time.Second, 5},
		{"where it can't be opened", errCut, -1, fail.Unavailable, false, 8 * time.Second, 10 * time.Second, 5},
		{"for one that hangs", blobtest.ErrHang, 0, fail.Unavailable, false, 30 * time.Second, 61 * time.Second, 2},
		{"for one that hangs when asked", blobtest.ErrHang, -1, fail.Unavailable, false, 30 * time.Second, 31 * time.Second, 2},
		{"for a directory", errCut, 0, fail.Unavailable, true, 0, time.Second, 3},
		{"for an error that stays", errors.New("defect"), 0, fail.Internal, false, 0, 0, 1},
		{"for an object that is short", io.EOF, 0, fail.Internal, false, 0, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, objects, _ := kept(t, 1)
				faulty := &blobtest.Faulty{Driver: d, OnGet: func(int64) (int64, error) { return c.at, c.cut }}
				s := remote(faulty)
				if c.local {
					s = blobtest.Store(faulty)
				}
				begin := time.Now()
				got, err := readAll(t.Context(), s, objects, 0)
				if len(got) > 0 || !fail.Is(err, c.kind) {
					t.Errorf("%d bytes, %v (%v)", len(got), err, fail.KindOf(err))
				}
				if took := time.Since(begin); took < c.from || took > c.to {
					t.Errorf("took %v, want %v to %v", took, c.from, c.to)
				}
				if faulty.Gets.Load() < c.least {
					t.Errorf("asked %d times, want at least %d", faulty.Gets.Load(), c.least)
				}
			})
		})
	}
}

func TestAReadEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, objects, _ := kept(t, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		faulty := &blobtest.Faulty{Driver: d, OnGet: func(int64) (int64, error) { return 0, errCut }}
		begin := time.Now()
		if _, err := readAll(ctx, remote(faulty), objects, 0); err == nil || time.Since(begin) > time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// pouring gives a byte each time after a pause: a client that is slow.
type pouring struct {
	left  int
	pause time.Duration
}

func (p *pouring) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(p.pause)
	p.left--
	b[0] = 'x'
	return 1, nil
}

func TestASlowClientIsNotTakenForAStoreThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, objects, whole := kept(t, 1)
		s := remote(d)
		if w, err := s.Put(t.Context(), s.NewName(), -1, &pouring{left: 20, pause: time.Hour}); err != nil || w.Size != 20 {
			t.Errorf("%+v, %v", w, err)
		}
		r, err := s.Open(t.Context(), objects)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for p := make([]byte, 10_000); err == nil; {
			var n int
			n, err = r.Read(p)
			got = append(got, p[:n]...)
			time.Sleep(time.Hour)
		}
		if err = errors.Join(r.Close()); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// hanging is a store that does not answer.
type hanging struct{ *memory.Driver }

func (hanging) Stat(ctx context.Context, _ string) (blob.Info, error) {
	<-ctx.Done()
	return blob.Info{}, ctx.Err()
}

func (hanging) Delete(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) List(ctx context.Context, _ string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if yield(blob.Info{Name: "first"}, nil) {
			<-ctx.Done()
			yield(blob.Info{}, ctx.Err())
		}
	}
}

// resending is a driver that writes an object for an hour after it has read it.
type resending struct {
	*memory.Driver
	says bool
}

// Put sends the object over and over, and may say so.
func (d resending) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	w, err := d.Driver.Put(ctx, name, size, r)
	for begin := time.Now(); err == nil && time.Since(begin) < time.Hour; err = ctx.Err() {
		time.Sleep(time.Second)
		if d.says {
			blob.Moved(r)
		}
	}
	return w, err
}

// gossiping is a driver that says of what it read before that it moves, while it waits for the source.
type gossiping struct{ *memory.Driver }

// Put is the driver's.
func (d gossiping) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	told := time.AfterFunc(time.Minute, func() { blob.Moved(r) })
	defer told.Stop()
	w, err := d.Driver.Put(ctx, name, size, r)
	return w, errors.Join(err, ctx.Err())
}

func TestAClientIsWaitedForThoughWhatItSentMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if w, err := remote(gossiping{memory.New(time.Now)}).Put(t.Context(), "x", -1, &pouring{left: 1, pause: time.Hour}); err != nil || w.Size != 1 {
			t.Errorf("%+v, %v", w, err)
		}
	})
}

// reading is a store whose list is put in order for an hour.
type reading struct {
	*memory.Driver
	says bool
}

// List reads all of the names first, and may say so.
func (d reading) List(ctx context.Context, _ string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for begin := time.Now(); ctx.Err() == nil && time.Since(begin) < time.Hour; time.Sleep(time.Second) {
			if d.says {
				blob.Busy(ctx)
			}
		}
		yield(blob.Info{Name: "first"}, ctx.Err())
	}
}

func TestAListThatIsPutInOrderIsNotTakenForOneThatHangs(t *testing.T) {
	t.Parallel()
	for _, says := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			for _, err := range remote(reading{memory.New(time.Now), says}).List(t.Context(), "") {
				if (err == nil) != says {
					t.Errorf("a driver that says that it goes on: %v, %v", says, err)
				}
			}
		})
	}
}

func TestAnObjectThatIsSentAgainIsNotTakenForOneThatHangs(t *testing.T) {
	t.Parallel()
	for _, says := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			_, err := remote(resending{memory.New(time.Now), says}).Put(t.Context(), "x", 1, bytes.NewReader([]byte{1}))
			if (err == nil) != says {
				t.Errorf("a driver that says that bytes move: %v, %v", says, err)
			}
		})
	}
}

func TestAStoreThatHangsIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(context.Context, *blob.Store) error{
		"stat":   func(ctx context.Context, s *blob.Store) error { _, err := s.Stat(ctx, "x"); return err },
		"delete": func(ctx context.Context, s *blob.Store) error { return s.Delete(ctx, "x") },
		"put": func(ctx context.Context, s *blob.Store) error {
			_, err := s.Put(ctx, "x", 10, bytes.NewReader(make([]byte, 10)))
			return err
		},
		"list": func(ctx context.Context, s *blob.Store) error {
			n := 0
			for _, err := range s.List(ctx, "") {
				if err != nil {
					return err
				}
				n++
				time.Sleep(time.Hour) // whoever looks at the names may take his time
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := &blobtest.Faulty{Driver: hanging{memory.New(time.Now)}, OnPut: func(int64) (int64, error) { return 5, blobtest.ErrHang }}
				begin := time.Now()
				err := do(t.Context(), remote(d))
				if !fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "" || time.Since(begin) > 2*time.Hour {
					t.Errorf("%v (hint %q) after %v", err, fail.HintOf(err), time.Since(begin))
				}
			})
		})
	}
}
