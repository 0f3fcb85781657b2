package distapi_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/readcache"
)

// cached puts a read cache before the store.
func cached(t *testing.T) (dir string, change func(*settings)) {
	t.Helper()
	dir = t.TempDir()
	cache, err := readcache.New(readcache.Config{Dir: dir, Size: 100 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := cache.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	return dir, func(s *settings) { s.store.Cache = cache }
}

// copies answers the whole copies in a cache's directory.
func copies(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "copies", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestACopyReachesTheConnectionAsAFile(t *testing.T) {
	t.Parallel()
	var files atomic.Int64
	dir, change := cached(t)
	s := start(t, change, func(set *settings) {
		set.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(direct{w, &files}, r) })
		}
	})
	text := noisy(1 << 20)
	path := "/v2/app/blobs/" + s.pushBlob("app", text)
	pull := func() {
		t.Helper()
		if got := s.do(http.MethodGet, path, nil).is(http.StatusOK); string(got.body) != text {
			t.Error("the bytes differ")
		}
	}
	pull()
	s.eventually("there is a copy", func() bool { return len(copies(t, dir)) == 1 })
	pull()
	if got := s.do(http.MethodGet, path, nil, header("Range", "bytes=1000-900000")).is(http.StatusPartialContent); string(got.body) != text[1000:900001] {
		t.Error("the bytes of the range differ")
	}
	if files.Load() != 2 {
		t.Errorf("%d answers were sent as files, want 2", files.Load())
	}
	several(t, s.do(http.MethodGet, path, nil, header("Range", "bytes=0-1,4-5,-1")).is(http.StatusPartialContent), text[:2], text[4:6], text[len(text)-1:])
}

// begun calls a function when the header of an answer is sent.
type begun struct {
	http.ResponseWriter
	do func()
}

func (b begun) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b begun) WriteHeader(status int) {
	b.do()
	b.ResponseWriter.WriteHeader(status)
}

func (b begun) ReadFrom(src io.Reader) (int64, error) {
	to, ok := b.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return 0, os.ErrInvalid
	}
	return to.ReadFrom(src)
}

func TestACopyThatGoesBadUnderAPullIsChangedForTheStore(t *testing.T) {
	t.Parallel()
	for _, size := range []int{8_000, 1 << 20} { // below and above what goes by sendfile
		var harm atomic.Pointer[func()]
		dir, change := cached(t)
		s := start(t, change, func(set *settings) {
			set.api.ProgressTimeout = time.Hour
			set.wrap = func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if do := harm.Load(); do != nil {
						w = begun{w, *do}
					}
					h.ServeHTTP(w, r)
				})
			}
		})
		text := noisy(size)
		path := "/v2/app/blobs/" + s.pushBlob("app", text)
		s.do(http.MethodGet, path, nil).is(http.StatusOK)
		s.eventually("there is a copy", func() bool { return len(copies(t, dir)) == 1 })
		cut := func() {
			if err := os.Truncate(copies(t, dir)[0], int64(size)/3); err != nil {
				t.Error(err)
			}
		}
		harm.Store(&cut)
		if got := s.do(http.MethodGet, path, nil).is(http.StatusOK); string(got.body) != text {
			t.Errorf("%d bytes came of %d", len(got.body), size)
		}
	}
}
