package faults

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/forgetfs"
	"github.com/havn-registry/havn/test/harness"
)

// luckyHalf is how much survives that was not flushed, in every second cut of a kind.
const luckyHalf = 0.5

// TestAPowerCutLosesNothingThatWasAcknowledged cuts the power under work of each kind, twice. In the first cut nothing survives that was not flushed; in the second a part of it does, as on
// a real disk, so that what is half there must not be seen.
//
// The kinds come alone, because one flush makes everything durable that the database was told before: among clients that push whole images, a tag that is acknowledged without a flush of its own
// would nearly always be saved by the next client.
func TestAPowerCutLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	volume := forgetfs.New(t)
	s, l := harness.Start(t, harness.Options{Data: filepath.Join(volume.Path, "data")}), newLedger()
	source := rand.New(rand.NewPCG(11, 11))
	cuts := 0
	for _, kind := range []struct {
		name string
		work func(ctx context.Context, s *harness.Server, clients int, seed uint64)
	}{{"images", l.traffic}, {"tags", l.tagging}, {"pieces", l.pieces}, {"images", l.traffic}} {
		for _, luck := range []float64{0, luckyHalf} {
			before := l.acknowledged()
			while(t, func(ctx context.Context) { kind.work(ctx, s, pushers, uint64(cuts)) }, func() {
				l.advances(t, before)
				time.Sleep(time.Duration(source.IntN(300)) * time.Millisecond)
				volume.Cut(t)
				s.Kill(t)
			})
			cuts++
			volume.Restore(t, luck, uint64(cuts))
			s.Again(t)
			l.check(t, s)
			if t.Failed() {
				t.Fatalf("after power cut %d, under %s", cuts, kind.name)
			}
		}
	}
	images, cut := l.counts()
	if cut < cuts {
		t.Errorf("only %d pushes were cut off by %d power cuts", cut, cuts)
	}
	t.Logf("%d power cuts cut off %d pushes; %d images, %d blobs, %d deleted tags and %d pieces were acknowledged", cuts, cut, images, len(l.blobs), len(l.deleted), l.sent)
}
