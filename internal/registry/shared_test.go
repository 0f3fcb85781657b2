package registry

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	memorystore "github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// shelves is a Shared in memory.
type shelves struct {
	mu   sync.Mutex
	held map[string][]byte
	fail error
	gets int
	then func() // is done while somebody waits for an answer, once
}

func (s *shelves) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	then := s.then
	s.then = nil
	s.mu.Unlock()
	if then != nil {
		then()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	if s.fail != nil {
		return nil, s.fail
	}
	if v, ok := s.held[key]; ok {
		return v, nil
	}
	return nil, fail.E(fail.NotFound, nil, "key")
}

func (s *shelves) Put(key string, value []byte, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[key] = value
}

// node makes a registry that uses a Shared although it is alone, and whose own memory can be emptied.
func node(t *testing.T, s Shared) *Registry {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := db.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := New(t.Context(), Config{DB: db, Blobs: blob.NewStore(memorystore.New(time.Now), blob.StoreConfig{Clock: time.Now}), Shared: s})
	if err != nil {
		t.Fatal(err)
	}
	if r.shared.store != nil {
		t.Fatal("the only process shares")
	}
	r.shared.store = s
	return r
}

func pushed(t *testing.T, r *Registry, name oci.Name, length int, tags ...oci.Tag) (oci.Digest, []byte) {
	t.Helper()
	empty := []byte("{}")
	if _, err := r.PushBlob(t.Context(), name, PushBlob{Pusher: Pusher{MayCreate: true}, Digest: oci.Sum(oci.SHA256, empty), Size: 2, Body: bytes.NewReader(empty)}); err != nil {
		t.Fatal(err)
	}
	body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a/b","digest":%q,"size":2},"layers":[],"annotations":{"a":%q}}`,
		oci.Sum(oci.SHA256, empty), bytes.Repeat([]byte("x"), length))
	p, err := r.PutManifest(t.Context(), name, PutManifest{Pusher: Pusher{MayCreate: true}, MediaType: "application/vnd.oci.image.manifest.v1+json", Body: body, Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	return p.Descriptor.Digest, body
}

func TestLongManifestsComeFromWhatNodesShareAndAreHashed(t *testing.T) {
	t.Parallel()
	s := &shelves{held: map[string][]byte{}}
	r := node(t, s)
	name, err := oci.ParseName("library/app")
	if err != nil {
		t.Fatal(err)
	}
	d, body := pushed(t, r, name, inlineBytes)
	key := sharedKey(d)
	if !bytes.Equal(s.held[key], body) {
		t.Fatal("what was pushed is not shared")
	}
	read := func(what string) {
		t.Helper()
		r.recent.forget()
		m, readErr := r.Manifest(t.Context(), name, oci.Reference{Digest: d})
		if readErr != nil || !bytes.Equal(m.Body, body) || m.Descriptor.Size != int64(len(body)) {
			t.Errorf("%s: %v", what, readErr)
		}
	}
	read("shared")
	if s.gets != 1 {
		t.Errorf("asked %d times, want once", s.gets)
	}
	for what, wrong := range map[string][]byte{"cut": body[1:], "another": bytes.Repeat([]byte("x"), len(body)), "empty": nil} {
		s.held[key] = wrong
		read(what)
		if !bytes.Equal(s.held[key], body) {
			t.Errorf("%s: what is wrong is not put right", what)
		}
	}
	delete(s.held, key)
	read("gone")
	if !bytes.Equal(s.held[key], body) {
		t.Error("what was gone is not put back")
	}
	s.fail = fail.E(fail.Unavailable, nil, "down")
	read("down")
	s.fail = nil
	before := s.gets
	short, _ := pushed(t, r, name, 10)
	r.recent.forget()
	if _, err = r.Manifest(t.Context(), name, oci.Reference{Digest: short}); err != nil {
		t.Error(err)
	}
	if s.gets != before || s.held[sharedKey(short)] != nil {
		t.Error("a short manifest, which comes with its row, was shared")
	}
	// Whether a repository has a manifest is the database's to say.
	if err = r.DeleteManifest(t.Context(), name, d); err != nil {
		t.Fatal(err)
	}
	if _, err = r.Manifest(t.Context(), name, oci.Reference{Digest: d}); !fail.Is(err, fail.NotFound) {
		t.Errorf("a deleted manifest is answered from what nodes share: %v", err)
	}
}

func TestATagThatMovesWhileItsBytesAreLookedForIsNeverAbsent(t *testing.T) {
	t.Parallel()
	s := &shelves{held: map[string][]byte{}}
	r := node(t, s)
	name, err := oci.ParseName("library/app")
	if err != nil {
		t.Fatal(err)
	}
	tag, err := oci.ParseTag("latest")
	if err != nil {
		t.Fatal(err)
	}
	former, _ := pushed(t, r, name, inlineBytes, tag)
	s.held = map[string][]byte{}
	r.recent.forget()
	var body []byte
	s.then = func() {
		_, body = pushed(t, r, name, inlineBytes+1, tag)
		if deleteErr := r.DeleteManifest(t.Context(), name, former); deleteErr != nil {
			t.Error(deleteErr)
		}
	}
	m, err := r.Manifest(t.Context(), name, oci.Reference{Tag: tag})
	if err != nil || !bytes.Equal(m.Body, body) || m.Descriptor.Digest == former {
		t.Errorf("a tag that was moved is answered with %v, %v", m, err)
	}
}
