package filesystem

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// TestOneFlushServesAllWhoWaited lets a first flush hang: whoever comes meanwhile must get one that begins later, and one is enough for all of them.
func TestOneFlushServesAllWhoWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const writers = 10
		begun := make(chan chan error)
		f := flushes{dirs: map[string]*directory{}, flush: func(string) error {
			end := make(chan error)
			begun <- end
			return <-end
		}}
		first, second, other := make(chan error, 1), make(chan error, writers), make(chan error, 1)
		go func() { first <- f.dir("d") }()
		endFirst := <-begun
		for range writers {
			go func() { second <- f.dir("d") }()
		}
		synctest.Wait() // all of them have come, and wait
		go func() { other <- f.dir("e") }()
		(<-begun) <- nil // another directory waits for nobody
		if err := <-other; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(second) != 0 {
			t.Error("a writer was served by a flush that began before it came")
		}
		endFirst <- nil
		if err := <-first; err != nil {
			t.Error(err)
		}
		broken := errors.New("disk gone")
		(<-begun) <- broken
		for range writers {
			if err := <-second; !errors.Is(err, broken) {
				t.Errorf("a writer got %v, want its flush's error", err)
			}
		}
		synctest.Wait()
		select {
		case <-begun:
			t.Error("a third flush: the second was not shared by all")
		default:
		}
	})
}

// TestAFolderThatIsMadeAgainIsDurableForAllWhoUseIt removes a folder under the driver: of the two that write there then, one makes the folder, and the other
// finds it. What either acknowledges is only there if the folder's name is flushed too.
func TestAFolderThatIsMadeAgainIsDurableForAllWhoUseIt(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d, err := New(root)
	if err != nil {
		t.Fatal(err)
	}
	var flushed []string
	d.flushes.flush = func(path string) error {
		flushed = append(flushed, path)
		return nil
	}
	put := func(name string) []string {
		flushed = nil
		if _, putErr := d.Put(t.Context(), "objects/ab/"+name, 1, strings.NewReader("x")); putErr != nil {
			t.Fatal(putErr)
		}
		return flushed
	}
	folder := filepath.Join(root, "objects", "ab")
	if got := put("before"); !slices.Equal(got, []string{folder}) {
		t.Errorf("flushed %v, want the folder alone", got)
	}
	if err = os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"maker", "finder"} {
		if got := put(name); !slices.Contains(got, folder) || !slices.Contains(got, filepath.Dir(folder)) {
			t.Errorf("the %s flushed %v, want the folder and that above it", name, got)
		}
	}
}
