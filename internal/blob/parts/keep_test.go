package parts_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/parts"
)

// keep keeps bytes, a piece at a time.
func keep(k *parts.Keeper, data []byte, most int) {
	for len(data) > 0 {
		n := copy(k.Room(), data[:min(len(data), most)])
		k.Add(n)
		data = data[n:]
	}
}

// again reads what was kept, from an offset.
func again(t *testing.T, k *parts.Keeper, from, size int) []byte {
	t.Helper()
	var all []byte
	for from+len(all) < size {
		b, err := k.Bytes(int64(from + len(all)))
		if err != nil || len(b) == 0 {
			t.Fatalf("at %d: %d bytes, %v", from+len(all), len(b), err)
		}
		all = append(all, b...)
	}
	return all
}

func TestWhatIsKeptIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{0, 700 << 10, 64 << 20} {
		p, dir := pool(t, memory)
		for _, size := range []int{0, 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 3*partBytes + 12345} {
			want := blobtest.Noise(uint64(size), size)
			k := p.Keep()
			keep(k, want, 100_000)
			for _, from := range []int{0, size / 2, size} {
				if got := again(t, k, from, size); !bytes.Equal(got, want[from:]) || k.Lost() {
					t.Errorf("%d bytes with %d of memory, from %d: other bytes, lost is %v", size, memory, from, k.Lost())
				}
			}
			if err := k.Release(); err != nil {
				t.Error(err)
			}
		}
		if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
			t.Errorf("%d files are left", len(left))
		}
		if memory == 0 {
			continue
		}
		// All memory is back: a stream that is cut can have it.
		want := blobtest.Noise(1, 2*partBytes)
		if got, _ := collect(t, p, bytes.NewReader(want), -1); !bytes.Equal(got, want) {
			t.Error("other bytes")
		}
	}
}

func TestManyKeepersShareTheMemory(t *testing.T) {
	t.Parallel()
	p, _ := pool(t, 4<<20)
	want := blobtest.Noise(2, 3<<20)
	var all []*parts.Keeper
	for range 5 {
		k := p.Keep()
		keep(k, want, 1<<20)
		all = append(all, k)
	}
	for i, k := range all {
		if got := again(t, k, 0, len(want)); !bytes.Equal(got, want) {
			t.Errorf("keeper %d has other bytes", i)
		}
		if err := k.Release(); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatFitsNowhereIsLostAndNotAnError(t *testing.T) {
	t.Parallel()
	p, dir := pool(t, 512<<10)
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // no directory can be made there
		t.Fatal(err)
	}
	k := p.Keep()
	keep(k, blobtest.Noise(3, 300<<10), 100_000)
	if k.Lost() {
		t.Error("what fits in memory is lost")
	}
	keep(k, blobtest.Noise(3, 3<<20), 100_000)
	if !k.Lost() {
		t.Error("what was kept nowhere is not said to be lost")
	}
	if err := k.Release(); err != nil {
		t.Error(err)
	}
}
