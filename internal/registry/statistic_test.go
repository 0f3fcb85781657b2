package registry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
)

func TestTheBytesOfManyBlobsAreSummedOnceAMinute(t *testing.T) {
	t.Parallel()
	w := registrytest.Open(t, registrytest.Stores{Database: embedded(t), Driver: memory.New(time.Now)}, nil)
	made := 0
	add := func(n int, size int64) {
		t.Helper()
		const atOnce = 500
		err := w.DB.Tx(t.Context(), "test.add", func(tx *sqldb.Tx) error {
			for from := 0; from < n; from += atOnce {
				var contents, blobs []any
				for i := from; i < min(n, from+atOnce); i++ {
					id := made + i + 1
					contents = append(contents, id, 1)
					blobs = append(blobs, oci.Sum(oci.SHA256, []byte{byte(id), byte(id >> 8)}).Bytes(), id, size, 1)
				}
				if _, err := tx.Exec(t.Context(), "INSERT INTO contents (id, created_at) VALUES (?, ?)"+strings.Repeat(", (?, ?)", len(contents)/2-1), contents...); err != nil {
					return err
				}
				if _, err := tx.Exec(t.Context(), "INSERT INTO blobs (digest, content, size, created_at) VALUES (?, ?, ?, ?)"+strings.Repeat(", (?, ?, ?, ?)", len(blobs)/4-1), blobs...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		made += n
	}
	has := func(want int64) {
		t.Helper()
		s, err := w.Statistic(t.Context(), registry.Viewer{All: true})
		if err != nil || s.Bytes != want {
			t.Errorf("%d bytes, want %d: %v", s.Bytes, want, err)
		}
	}
	has(0)
	add(9_000, 3)
	has(27_000)
	add(1, 3)
	has(27_003) // so few are summed each time
	add(15_000, 2)
	has(57_003)
	add(1, 100)
	has(57_003)
	w.Forward(59 * time.Second)
	has(57_003)
	w.Forward(2 * time.Second)
	has(57_103)
	if s, err := w.Statistic(t.Context(), registry.Viewer{}); err != nil || s.Bytes != 0 {
		t.Errorf("a stranger is told of %d bytes: %v", s.Bytes, err)
	}
}
