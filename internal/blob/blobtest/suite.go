// Package blobtest holds the suite that every driver of a blob store passes.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/checks"
)

// Run tries a driver. open answers one without objects; reopen answers another driver on the same place, or nil if it has no place that
// outlives it.
func Run(t *testing.T, open func(t *testing.T) blob.Driver, reopen func(t *testing.T, d blob.Driver) blob.Driver) {
	for _, c := range checks.All() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, open(t))
		})
	}
	if reopen != nil {
		t.Run("ObjectsOutliveTheDriver", func(t *testing.T) {
			t.Parallel()
			d := open(t)
			data := Noise(1, 300_000)
			name := Store(d).NewName()
			if _, err := d.Put(t.Context(), name, int64(len(data)), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			r, err := reopen(t, d).Get(t.Context(), name, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data) {
				t.Errorf("other bytes after opening again: %v", err)
			}
		})
	}
}

// Noise answers bytes that look random and are the same for the same seed.
func Noise(seed uint64, size int) []byte { return checks.Noise(seed, size) }

// Store puts a store before a driver.
func Store(d blob.Driver) *blob.Store { return blob.NewStore(d, blob.StoreConfig{}) }

// NoneKnown is a blob.Known for a store of which no database knows anything.
func NoneKnown(context.Context, []string) (map[string]bool, error) { return map[string]bool{}, nil }
