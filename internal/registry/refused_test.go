package registry_test

import (
	"bytes"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
)

// limited is a registry whose new projects may have so many bytes.
func limited(t *testing.T, most int64, db func() sqldb.Config) *rt.World {
	t.Helper()
	return rt.Open(t, rt.Stores{Database: db, Driver: memory.New(time.Now)}, func(c *registry.Config) {
		c.QuotaSlice, c.DefaultQuota = -1, func() int64 { return most }
	})
}

// TestARefusedPieceEndsNoUploadThatGoesOn lets a client that had no answer send its piece again, and that one be taken: then the first is refused by the quota, which the second used up.
func TestARefusedPieceEndsNoUploadThatGoesOn(t *testing.T) {
	t.Parallel()
	w := limited(t, 10_000, embedded(t))
	data := rt.Content("sent twice", 9000)
	u := w.Start(t, rt.Name("full/app"), 0)
	again := func() { w.Send(t, u, data[:5000]) }
	body := io.MultiReader(bytes.NewReader(data[:100]), during(again), bytes.NewReader(data[100:]))
	_, err := w.Append(t.Context(), u.Repo, u.ID, registry.Append{Size: -1, Body: body})
	if !fail.Is(err, fail.Denied) {
		t.Fatalf("the first piece: %v", err)
	}
	w.End(t, w.At(t, u, 5000), data[5000:], rt.Sum(data))
	w.WantBlob(t, u.Repo, rt.Sum(data), data)
	rt.CheckInvariants(t, w.DB, w.Store)
}

// TestAnUploadThatAQuotaEndedStaysEnded: its end is on disk before the sweep may delete what it received. Otherwise a power cut would bring back an upload that stands behind bytes which are gone, and whoever went on
// with it would be told that his blob is there.
func TestAnUploadThatAQuotaEndedStaysEnded(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	path := filepath.Join(t.TempDir(), "havn.db")
	w := limited(t, 1000, func() sqldb.Config { return sqldb.Config{Engine: sqldb.SQLite, Path: path, Metrics: reg} })
	u := w.Send(t, w.Start(t, rt.Name("full/app"), 0), rt.Content("received", 600))
	before := flushed(t, reg)
	_, err := w.Append(t.Context(), u.Repo, u.ID, registry.Append{At: 600, Size: 401, Body: bytes.NewReader(make([]byte, 401))})
	if !fail.Is(err, fail.Denied) {
		t.Fatal(err)
	}
	if _, err = w.Upload(t.Context(), u.Repo, u.ID); !fail.Is(err, fail.NotFound) {
		t.Fatal(err)
	}
	if flushed(t, reg) == before {
		t.Error("its end is not flushed")
	}
}

// flushed answers how many commits waited for the disk.
func flushed(t *testing.T, reg *prometheus.Registry) (n float64) {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		for _, m := range family.GetMetric() {
			if family.GetName() == "havn_db_commits_total" && m.GetLabel()[0].GetValue() == "yes" {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}
