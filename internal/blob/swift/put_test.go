package swift

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/fail"
)

// noise answers bytes that look random.
func noise(size int) []byte {
	b := make([]byte, size)
	if _, err := rand.NewChaCha8([32]byte{1}).Read(b); err != nil {
		panic(err)
	}
	return b
}

// newName answers one of Havn's own form.
func newName(d blob.Driver) string { return blob.NewStore(d, blob.StoreConfig{}).NewName() }

// failing makes the server fail at each PUT of an object but the probe's, until it has failed so often.
func (s *server) failing(times int64, how func(w http.ResponseWriter, r *http.Request)) *atomic.Int64 {
	var puts atomic.Int64
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || strings.Contains(r.URL.Path, probePrefix) || puts.Add(1) > times {
			return false
		}
		how(w, r)
		return true
	}
	return &puts
}

func TestAnObjectIsSentAgainWhenTheServerDies(t *testing.T) {
	t.Parallel()
	for name, die := range map[string]func(s *server, w http.ResponseWriter, r *http.Request){
		"in the middle": func(_ *server, _ http.ResponseWriter, r *http.Request) {
			if _, err := io.CopyN(io.Discard, r.Body, 1<<20); err != nil {
				t.Error(err)
			}
			panic(http.ErrAbortHandler)
		},
		"before it answers": func(s *server, _ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			s.keep(r, body)
			panic(http.ErrAbortHandler)
		},
		"with an answer of its own": func(_ *server, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"after its token was over": func(s *server, w http.ResponseWriter, _ *http.Request) {
			s.expire()
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := s.config(t, "/auth/v1")
			d := s.openWith(t, c)
			puts := s.failing(2, func(w http.ResponseWriter, r *http.Request) { die(s, w, r) })
			data := noise(3<<20 + 17)
			object := newName(d)
			// The reader is one that can't go back.
			w, err := d.Put(t.Context(), object, -1, io.MultiReader(bytes.NewReader(data)))
			if err != nil || w.Size != int64(len(data)) {
				t.Fatalf("%+v, %v", w, err)
			}
			if got := read(t, d, object); !bytes.Equal(got, data) {
				t.Errorf("other bytes came back, %d of %d", len(got), len(data))
			}
			if n := puts.Load(); n < 1 || n > 3 {
				t.Errorf("%d attempts", n)
			}
		})
	}
}

func read(t *testing.T, d blob.Driver, name string) []byte {
	t.Helper()
	r, err := d.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if closeErr := r.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	return body
}

// TestNobodyElseKeepsTheBytes: two copies of each upload would be more than a node may take.
func TestNobodyElseKeepsTheBytes(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]blob.Driver{"plain": start(t).open(t), "with signed URLs": &signing{Driver: &Driver{}}} {
		if !blob.NewStore(d, blob.StoreConfig{}).Resends() {
			t.Errorf("%s: who sends again?", name)
		}
	}
}

// TestAnObjectOfOurOwnIsNotTakenForAnothers: the answer to a write was lost, and the replica that is asked for the object does not have it yet.
func TestAnObjectOfOurOwnIsNotTakenForAnothers(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.open(t)
	object := newName(d)
	var puts, looks atomic.Int64
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case !strings.HasSuffix(r.URL.Path, object):
		case r.Method == http.MethodPut && puts.Add(1) == 1:
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			s.keep(r, body)
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusPreconditionFailed)
			return true
		case r.Method == http.MethodHead && looks.Add(1) <= 3:
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	}
	data := noise(1 << 20)
	w, err := d.Put(t.Context(), object, -1, bytes.NewReader(data))
	if err != nil || w.Size != int64(len(data)) || puts.Load() != 3 {
		t.Fatalf("%+v, %v, after %d attempts", w, err, puts.Load())
	}
	if got := read(t, d, object); !bytes.Equal(got, data) {
		t.Errorf("other bytes came back, %d of %d", len(got), len(data))
	}
}

func TestWhatIsNotKeptIsNotSentAgainInPart(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.config(t, "/auth/v1")
	dir := filepath.Join(t.TempDir(), "parts")
	var err error
	if c.Pool, err = parts.NewPool(512<<10, dir, 1); err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(dir, nil, 0o600); err != nil { // no directory can be made there
		t.Fatal(err)
	}
	d := s.openWith(t, c)
	puts := s.failing(1, func(_ http.ResponseWriter, r *http.Request) {
		if _, copyErr := io.CopyN(io.Discard, r.Body, 1<<20); copyErr != nil {
			t.Error(copyErr)
		}
		panic(http.ErrAbortHandler)
	})
	object := newName(d)
	if _, err = d.Put(t.Context(), object, -1, bytes.NewReader(noise(3<<20))); !fail.Is(err, fail.Unavailable) {
		t.Error(err)
	}
	if n := puts.Load(); n != 1 {
		t.Errorf("%d attempts with what was left of a body", n)
	}
	if _, err = d.Stat(t.Context(), object); !fail.Is(err, fail.NotFound) {
		t.Errorf("something is there: %v", err)
	}
}

func TestAnObjectIsSentAgainHoweverLongItTook(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.config(t, "/auth/v1")
	var late atomic.Int64
	c.Clock = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	d := s.openWith(t, c)
	s.failing(1, func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	})
	data := noise(2 << 20)
	half := bytes.NewReader(data[:1<<20])
	slow := readerFunc(func(p []byte) (int, error) {
		n, err := half.Read(p)
		if err != nil {
			late.Store(int64(time.Hour))
		}
		return n, err
	})
	object := newName(d)
	if _, err := d.Put(t.Context(), object, -1, io.MultiReader(slow, bytes.NewReader(data[1<<20:]))); err != nil {
		t.Fatal(err)
	}
	if got := read(t, d, object); !bytes.Equal(got, data) {
		t.Errorf("other bytes came back, %d of %d", len(got), len(data))
	}
}

func TestARefusedObjectIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for status, kind := range map[int]fail.Kind{
		http.StatusForbidden: fail.Unavailable, http.StatusInsufficientStorage: fail.Exhausted, http.StatusNotFound: fail.Unavailable,
		http.StatusPreconditionFailed: fail.Exists,
	} {
		s := start(t)
		d := s.open(t)
		puts := s.failing(9, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if _, err := d.Put(t.Context(), newName(d), -1, strings.NewReader("x")); !fail.Is(err, kind) || puts.Load() != 1 {
			t.Errorf("%d: %v (%v) after %d attempts", status, err, fail.KindOf(err), puts.Load())
		}
	}
}

func TestAnObjectOfAnotherWriterIsNotDeleted(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.open(t)
	s.failing(1, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		r.Header.Set(markHeader, "another")
		s.keep(r, []byte("another node's"))
		w.WriteHeader(http.StatusBadGateway)
	})
	if _, err := d.Put(t.Context(), "havn-store-id", -1, strings.NewReader("ours")); !fail.Is(err, fail.Exists) {
		t.Error(err)
	}
	if got := read(t, d, "havn-store-id"); string(got) != "another node's" {
		t.Errorf("%q is there", got)
	}
}
