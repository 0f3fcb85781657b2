package faults

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/forgetfs"
	"github.com/havn-registry/havn/test/harness"
)

const (
	// powerCuts is how often the power goes: enough to hit each step of a push, for each cut finds many pushes under way.
	powerCuts = 8
	// On a machine that is busy with other things it goes less often: after powerTime it ends with enoughCuts, which see both kinds of cut.
	enoughCuts = 2
	powerTime  = 40 * time.Second
)

// TestAPowerCutLosesNothingThatWasAcknowledged cuts the power under pushes. In every other cut nothing survives that was not flushed; in those between, a part of it
// does, as on a real disk, so that what is half there must not be seen.
func TestAPowerCutLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	volume := forgetfs.New(t)
	s, l := harness.Start(t, harness.Options{Data: filepath.Join(volume.Path, "data")}), newLedger()
	source := rand.New(rand.NewPCG(11, 11))
	began := time.Now()
	cuts := 0
	for ; cuts < powerCuts && (cuts < enoughCuts || time.Since(began) < powerTime); cuts++ {
		under(t, l, s, uint64(cuts), func() {
			l.moves(t)
			time.Sleep(time.Duration(source.IntN(300)) * time.Millisecond)
			volume.Cut(t)
			s.Kill(t)
		})
		volume.Restore(t, float64(cuts%2)/2, uint64(cuts))
		s.Again(t)
		l.check(t, s)
		if t.Failed() {
			t.Fatalf("after power cut %d", cuts+1)
		}
	}
	images, cut := l.counts()
	if cut < cuts {
		t.Errorf("only %d pushes were cut off", cut)
	}
	t.Logf("%d power cuts cut off %d pushes; %d images and %d blobs were acknowledged", cuts, cut, images, len(l.blobs))
}
