package registrytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// Stores are an empty database and an empty blob store. Database answers the address of that one database, each time through another node of its cluster if
// there are several.
type Stores struct {
	Database func() sqldb.Config
	Driver   blob.Driver
}

// World is a registry with all that a test may want to touch.
type World struct {
	*registry.Registry
	DB     *sqldb.DB
	Store  *blob.Store
	Faults *Faults
	Config registry.Config

	stores Stores
	offset *atomic.Int64
}

// Admin is who pushes where it does not matter who.
var Admin = registry.Pusher{Subject: "admin", MayCreate: true}

// Open makes a registry on stores. Its clock is the machine's, and can be put forward. change may be nil.
func Open(t *testing.T, s Stores, change func(*registry.Config)) *World {
	t.Helper()
	w := &World{Faults: &Faults{}, stores: s, offset: &atomic.Int64{}}
	w.DB = w.connect(t)
	w.Store = blob.NewStore(s.Driver, blob.StoreConfig{Clock: w.Now})
	w.Config = registry.Config{DB: w.DB, Blobs: w.Store, Clock: w.Now, CreateOnPush: true, Fault: w.Faults.step}
	if change != nil {
		change(&w.Config)
	}
	w.Registry = w.start(t, w.Config)
	return w
}

func (w *World) connect(t *testing.T) *sqldb.DB {
	t.Helper()
	cfg := w.stores.Database()
	cfg.Clock, cfg.Fault = w.Now, w.Faults.database
	return sqldbtest.Open(t, cfg)
}

func (w *World) start(t *testing.T, c registry.Config) *registry.Registry {
	t.Helper()
	r, err := registry.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Another makes one more registry on the same stores: as after a restart, or, where several processes may write, as another node.
func (w *World) Another(t *testing.T) *registry.Registry {
	t.Helper()
	c := w.Config
	if !w.DB.Sole() {
		c.DB = w.connect(t)
	}
	return w.start(t, c)
}

// Now is the time in this world.
func (w *World) Now() time.Time { return time.Now().Add(time.Duration(w.offset.Load())) }

// Forward puts the clock forward.
func (w *World) Forward(d time.Duration) { w.offset.Add(int64(d)) }

// Name parses a repository's name.
func Name(s string) oci.Name {
	n, err := oci.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

// Tag parses a tag.
func Tag(s string) oci.Tag {
	t, err := oci.ParseTag(s)
	if err != nil {
		panic(err)
	}
	return t
}

// Ref parses a tag or a digest.
func Ref(s string) oci.Reference {
	r, err := oci.ParseReference(s)
	if err != nil {
		panic(err)
	}
	return r
}

// Content answers bytes that stand for a symbolic name: always the same, of the size that is asked for.
func Content(symbol string, size int) []byte {
	out := make([]byte, 0, size+sha256.Size)
	for i := 0; len(out) < size; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", symbol, i))
		out = append(out, sum[:]...)
	}
	return out[:size]
}

// Sum is the sha256 digest of bytes.
func Sum(data []byte) oci.Digest { return oci.Sum(oci.SHA256, data) }

// Descriptor describes bytes.
func Descriptor(mediaType string, data []byte) oci.Descriptor {
	return oci.Descriptor{MediaType: mediaType, Digest: Sum(data), Size: int64(len(data))}
}

const (
	configType = "application/vnd.oci.image.config.v1+json"
	layerType  = "application/vnd.oci.image.layer.v1.tar"
)

// Image answers an image manifest of these blobs: the first is its config.
func Image(annotation string, subject *oci.Descriptor, artifactType string, blobs ...[]byte) []byte {
	m := map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeImageManifest, "annotations": map[string]string{"test": annotation}}
	layers := []oci.Descriptor{}
	for i, b := range blobs {
		if i == 0 {
			m["config"] = Descriptor(configType, b)
		} else {
			layers = append(layers, Descriptor(layerType, b))
		}
	}
	m["layers"] = layers
	if subject != nil {
		m["subject"] = subject
	}
	if artifactType != "" {
		m["artifactType"] = artifactType
	}
	return encode(m)
}

// Index answers an index of these descriptors.
func Index(children ...oci.Descriptor) []byte {
	if children == nil {
		children = []oci.Descriptor{}
	}
	return encode(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeImageIndex, "manifests": children})
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// Push pushes whole blobs.
func (w *World) Push(t *testing.T, repo oci.Name, blobs ...[]byte) {
	t.Helper()
	for _, b := range blobs {
		if _, err := w.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum(b), Size: int64(len(b)), Body: bytes.NewReader(b)}); err != nil {
			t.Fatal(err)
		}
	}
}

// Put pushes a manifest under tags, and answers its descriptor.
func (w *World) Put(t *testing.T, repo oci.Name, mediaType string, body []byte, tags ...string) oci.Descriptor {
	t.Helper()
	d, err := w.TryPut(t.Context(), repo, mediaType, body, tags...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TryPut is Put where it may fail.
func (w *World) TryPut(ctx context.Context, repo oci.Name, mediaType string, body []byte, tags ...string) (oci.Descriptor, error) {
	p := registry.PutManifest{Pusher: Admin, MediaType: mediaType, Body: body}
	for _, tag := range tags {
		p.Tags = append(p.Tags, Tag(tag))
	}
	if len(tags) == 0 {
		p.Digest = Sum(body)
	}
	pushed, err := w.PutManifest(ctx, repo, p)
	return pushed.Descriptor, err
}

// WantBlob reads a blob back.
func (w *World) WantBlob(t *testing.T, repo oci.Name, d oci.Digest, data []byte) {
	t.Helper()
	r, err := w.OpenBlob(t.Context(), repo, d)
	if err != nil {
		t.Fatalf("open %s: %v", d, err)
	}
	got, err := io.ReadAll(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatalf("read %s: %v", d, err)
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("blob %s reads back as %d other bytes, want %d", d, len(got), len(data))
	}
}

// WantManifest finds a manifest, with its bytes.
func (w *World) WantManifest(t *testing.T, repo oci.Name, ref string, body []byte) {
	t.Helper()
	m, err := w.Manifest(t.Context(), repo, Ref(ref))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Body, body) || m.Descriptor.Digest != oci.Sum(m.Descriptor.Digest.Algorithm(), body) {
		t.Fatalf("manifest %s is %s", ref, m.Descriptor.Digest)
	}
}

// WantCode expects an error of a kind with a code.
func WantCode(t *testing.T, err error, kind fail.Kind, code string) {
	t.Helper()
	if err == nil || fail.KindOf(err) != kind || fail.CodeOf(err) != code {
		t.Fatalf("got %v (%v, %q), want %v, %q", err, fail.KindOf(err), fail.CodeOf(err), kind, code)
	}
}

// Free holds no duty.
func Free(context.Context, *sqldb.Tx) error { return nil }

// Sweep deletes all that is dead, whatever its grace.
func (w *World) Sweep(t *testing.T) {
	t.Helper()
	w.Forward(48 * time.Hour)
	for after := (registry.DeadMark{}); ; {
		_, last, err := w.BuryDead(t.Context(), Free, w.Now(), after, 100)
		if err != nil {
			t.Fatal(err)
		}
		if after = last; last == (registry.DeadMark{}) {
			return
		}
	}
}

// exec changes rows behind the registry's back.
func exec(t *testing.T, w *World, query string, args ...any) {
	t.Helper()
	err := w.DB.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// count reads one number.
func count(t *testing.T, w *World, query string, args ...any) (n int64) {
	t.Helper()
	if err := w.DB.Row(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
