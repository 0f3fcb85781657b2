package checks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing/iotest"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

// far reports whether a time of the store is far from the machine's: what is old is judged by the store's clock, and what is over by this one.
func far(at time.Time) bool {
	return time.Since(at).Abs() > time.Hour //nolint:forbidigo // the machine's clock is what is compared
}

func put(t Reporter, d blob.Driver, data []byte) string {
	t.Helper()
	name := store(d).NewName()
	for d2 := store(d); exists(t, d, name); name = d2.NewName() {
		continue
	}
	w, err := d.Put(t.Context(), name, int64(len(data)), bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v", err)
	}
	if w.Size != int64(len(data)) {
		t.Fatalf("%d bytes written, want %d", w.Size, len(data))
	}
	return name
}

func exists(t Reporter, d blob.Driver, name string) bool {
	t.Helper()
	_, err := d.Stat(t.Context(), name)
	return err == nil
}

func read(t Reporter, d blob.Driver, name string, off, n int64) []byte {
	t.Helper()
	r, err := d.Get(t.Context(), name, off, n)
	if err != nil {
		t.Fatalf("%v", err)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatalf("%v", err)
	}
	return data
}

func wantKind(t Reporter, err error, kind fail.Kind) {
	t.Helper()
	if !fail.Is(err, kind) {
		t.Errorf("error %v of kind %v, want %v", err, fail.KindOf(err), kind)
	}
}

func readBack(t Reporter, d blob.Driver) {
	for _, size := range []int{0, 1, 4095, 128 << 10, 128<<10 + 1, 9 << 20} {
		data := Noise(uint64(size), size)
		name := put(t, d, data)
		if got := read(t, d, name, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("%d bytes: other bytes came back", size)
		}
		info, err := d.Stat(t.Context(), name)
		if err != nil || info.Size != int64(size) || info.Name != name || far(info.ModTime) {
			t.Errorf("%d bytes: stat %+v, %v", size, info, err)
		}
	}
	data := Noise(7, 1000)
	name := put(t, d, data)
	for _, c := range []struct{ off, n, to int64 }{{0, 10, 10}, {990, 10, 1000}, {500, -1, 1000}, {990, 100, 1000}, {1000, -1, 1000}, {0, 0, 0}} {
		if got := read(t, d, name, c.off, c.n); !bytes.Equal(got, data[c.off:c.to]) {
			t.Errorf("%d bytes from %d: got %d, want %d", c.n, c.off, len(got), c.to-c.off)
		}
	}
	// A reader that gives one byte at a time, of unknown length.
	name = store(d).NewName() + "x"
	if w, err := d.Put(t.Context(), name, -1, iotest.OneByteReader(bytes.NewReader(data))); err != nil || w.Size != 1000 {
		t.Errorf("byte by byte: %+v, %v", w, err)
	}
}

// long writes an object that a store with parts takes in several, of a length that it is not told.
func long(t Reporter, d blob.Driver) {
	const size = 40<<20 + 12345
	data := Noise(40, size)
	name := store(d).NewName()
	if w, err := d.Put(t.Context(), name, -1, bytes.NewReader(data)); err != nil || w.Size != size {
		t.Fatalf("%d of %d bytes written: %v", w.Size, size, err)
	}
	if info, err := d.Stat(t.Context(), name); err != nil || info.Size != size {
		t.Errorf("stat %+v, %v", info, err)
	}
	r, err := d.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatalf("%v", err)
	}
	sum := sha256.New()
	_, err = io.Copy(sum, r)
	if err = errors.Join(err, r.Close()); err != nil || [sha256.Size]byte(sum.Sum(nil)) != sha256.Sum256(data) {
		t.Errorf("other bytes came back: %v", err)
	}
	for _, off := range []int64{5<<20 - 10, 16<<20 - 10, 32<<20 - 10, size - 10} {
		if got := read(t, d, name, off, 20); !bytes.Equal(got, data[off:min(off+20, size)]) {
			t.Errorf("20 bytes from %d: other bytes", off)
		}
	}
}

func once(t Reporter, d blob.Driver) {
	name := put(t, d, []byte("first"))
	_, err := d.Put(t.Context(), name, 6, bytes.NewReader([]byte("second")))
	wantKind(t, err, fail.Exists)
	if got := read(t, d, name, 0, -1); string(got) != "first" {
		t.Errorf("%q after the second write", got)
	}
}

func race(t Reporter, d blob.Driver) {
	if won := raced(t, d); len(won) != 1 {
		t.Errorf("writers %v won, want one", won)
	}
}

// racers is how many write one name at once.
const racers = 8

// raced lets many write one name, and answers those who were told that their bytes are there: what is there is whole, and one of theirs.
func raced(t Reporter, d blob.Driver) (won []int) {
	t.Helper()
	name := store(d).NewName()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range racers {
		all.Go(func() {
			_, err := d.Put(t.Context(), name, -1, bytes.NewReader(Noise(uint64(i), 200_000)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, i)
			} else if !fail.Is(err, fail.Exists) {
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
	if len(won) == 0 {
		return nil
	}
	got := read(t, d, name, 0, -1)
	if !slices.ContainsFunc(won, func(i int) bool { return bytes.Equal(got, Noise(uint64(i), 200_000)) }) {
		t.Errorf("the bytes are not the winner's")
	}
	return won
}

func absent(t Reporter, d blob.Driver) {
	name := store(d).NewName()
	_, err := d.Stat(t.Context(), name)
	wantKind(t, err, fail.NotFound)
	_, err = d.Get(t.Context(), name, 0, -1)
	wantKind(t, err, fail.NotFound)
}

func deleted(t Reporter, d blob.Driver) {
	name := put(t, d, []byte("x"))
	for range 2 {
		if err := d.Delete(t.Context(), name); err != nil {
			t.Errorf("%v", err)
		}
	}
	_, err := d.Stat(t.Context(), name)
	wantKind(t, err, fail.NotFound)
}

func broken(t Reporter, d blob.Driver) {
	name := store(d).NewName()
	cause := errors.New("cable cut")
	_, err := d.Put(t.Context(), name, 10, io.MultiReader(bytes.NewReader([]byte("half")), iotest.ErrReader(cause)))
	if !errors.Is(err, cause) {
		t.Errorf("error %v does not hold its cause", err)
	}
	if err = d.Delete(t.Context(), name); err != nil {
		t.Errorf("%v", err)
	}
	if exists(t, d, name) {
		t.Errorf("something is left that can't be deleted")
	}
}

func cancelled(t Reporter, d blob.Driver) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	name := store(d).NewName()
	if _, err := d.Put(ctx, name, -1, bytes.NewReader(Noise(1, 1<<20))); err == nil {
		t.Errorf("written although the context had ended")
	}
	if err := d.Delete(t.Context(), name); err != nil {
		t.Errorf("%v", err)
	}
}

func listed(t Reporter, d blob.Driver) {
	var want []string
	s := store(d)
	for i := range 300 {
		name := s.NewName()
		if _, err := d.Put(t.Context(), name, 1, bytes.NewReader([]byte{byte(i)})); err != nil {
			t.Fatalf("%v", err)
		}
		want = append(want, name)
	}
	slices.Sort(want)
	all := func(after string) (names []string) {
		for info, err := range d.List(t.Context(), after) {
			if err != nil {
				t.Fatalf("%v", err)
			}
			if info.Size != 1 {
				t.Errorf("%s has %d bytes", info.Name, info.Size)
			}
			names = append(names, info.Name)
		}
		return names
	}
	if got := all(""); !slices.Equal(got, want) {
		t.Errorf("%d names, want %d in order", len(got), len(want))
	}
	if got := all(want[41]); !slices.Equal(got, want[42:]) {
		t.Errorf("behind the 42nd: %d names, want %d", len(got), len(want)-42)
	}
	if got := all(want[len(want)-1]); len(got) != 0 {
		t.Errorf("behind the last: %v", got)
	}
	for info, err := range d.List(t.Context(), "") {
		if err != nil || info.Name != want[0] {
			t.Errorf("first is %s, %v", info.Name, err)
		}
		break
	}
}

func identity(t Reporter, d blob.Driver) {
	s := store(d)
	_, err := s.ID(t.Context())
	wantKind(t, err, fail.NotFound)
	if err = s.SetID(t.Context(), "abc"); err != nil {
		t.Fatalf("%v", err)
	}
	wantKind(t, s.SetID(t.Context(), "other"), fail.Exists)
	if id, idErr := s.ID(t.Context()); idErr != nil || id != "abc" {
		t.Errorf("id %q, %v", id, idErr)
	}
}

// cutOff leaves of the id's object what a crash does, while the store gets it.
func cutOff(t Reporter, d blob.Driver) {
	s := store(d)
	for _, left := range []string{"", "\x00\x00\x00"} {
		if _, err := d.Put(t.Context(), "havn-store-id", int64(len(left)), strings.NewReader(left)); err != nil {
			t.Fatalf("%v", err)
		}
		_, err := s.ID(t.Context())
		wantKind(t, err, fail.NotFound)
		if err = s.SetID(t.Context(), "abc"); err != nil {
			t.Fatalf("%v", err)
		}
		if id, idErr := s.ID(t.Context()); idErr != nil || id != "abc" {
			t.Errorf("id %q, %v", id, idErr)
		}
		if err = d.Delete(t.Context(), "havn-store-id"); err != nil {
			t.Fatalf("%v", err)
		}
	}
}

func several(t Reporter, d blob.Driver) {
	s := store(d)
	var objects []blob.Object
	var whole []byte
	for i, size := range []int{100_000, 0, 1, 70_000} {
		data := Noise(uint64(i), size)
		objects = append(objects, blob.Object{Name: put(t, d, data), Size: int64(size)})
		whole = append(whole, data...)
	}
	for _, n := range []int{len(objects), 1} {
		size := sum(objects[:n])
		r, err := s.Open(t.Context(), objects[:n])
		if err != nil {
			t.Fatalf("%v", err)
		}
		if err = iotest.TestReader(r, whole[:size]); err != nil {
			t.Errorf("%d objects: %v", n, err)
		}
		if r.Size() != size {
			t.Errorf("size %d, want %d", r.Size(), size)
		}
		if err = r.Close(); err != nil {
			t.Errorf("%v", err)
		}
	}
	if none, err := s.Open(t.Context(), nil); err != nil || none.Size() != 0 {
		t.Errorf("a blob of no objects: %v", err)
	}
}

func sum(objects []blob.Object) (n int64) {
	for _, o := range objects {
		n += o.Size
	}
	return n
}

func damage(t Reporter, d blob.Driver) {
	s := store(d)
	there := blob.Object{Name: put(t, d, Noise(1, 5000)), Size: 5000}
	gone := blob.Object{Name: put(t, d, Noise(2, 5000)), Size: 5000}
	if err := d.Delete(t.Context(), gone.Name); err != nil {
		t.Fatalf("%v", err)
	}
	short := blob.Object{Name: there.Name, Size: 6000}
	for i, objects := range [][]blob.Object{{gone}, {there, gone}, {short}, {short, there}} {
		r, err := s.Open(t.Context(), objects)
		if err == nil {
			_, err = io.Copy(sha256.New(), r)
			err = errors.Join(err, r.Close())
		}
		if !fail.Is(err, fail.Internal) {
			t.Errorf("case %d: error %v, want an internal one", i, err)
		}
		if fail.HintOf(err) == "" {
			t.Errorf("case %d: no hint in %v", i, fmt.Sprint(err))
		}
	}
}
