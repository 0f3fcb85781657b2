package faults

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
)

const (
	// cuts is how many pushes have to be cut off by kill -9.
	cuts    = 200
	pushers = 16
	// maxKills ends the test where pushes are cut off too seldom, which would be a fault of the test.
	maxKills = 60
)

// under runs traffic while something happens to the server, and answers when the traffic has ended.
func under(t *testing.T, l *ledger, s *harness.Server, seed uint64, happen func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { l.traffic(ctx, s, pushers, seed) })
	happen()
	stop()
	all.Wait()
}

// moves waits until another image is acknowledged: a busy machine may take long to begin.
func (l *ledger) moves(t *testing.T) {
	t.Helper()
	before, _ := l.counts()
	for deadline := time.Now().Add(harness.Patience); ; time.Sleep(time.Millisecond) {
		now, _ := l.counts()
		if now > before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no push was acknowledged within %s", harness.Patience)
		}
	}
}

func TestKillNineLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	s, l := harness.Start(t, harness.Options{}), newLedger()
	source := rand.New(rand.NewPCG(7, 7))
	kills := 0
	for ; kills < maxKills; kills++ {
		if _, cut := l.counts(); cut >= cuts {
			break
		}
		under(t, l, s, uint64(kills), func() {
			l.moves(t)
			time.Sleep(time.Duration(source.IntN(400)) * time.Millisecond)
			s.Kill(t)
		})
		s.Again(t)
	}
	images, cut := l.counts()
	if cut < cuts {
		t.Fatalf("%d pushes were cut off by %d kills, want %d", cut, kills, cuts)
	}
	l.check(t, s)
	t.Logf("%d kills cut off %d pushes; %d images and %d blobs were acknowledged", kills, cut, images, len(l.blobs))
}

func TestAStoppedServerGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	s, l := harness.Start(t, harness.Options{}), newLedger()
	under(t, l, s, 1, func() {
		for range 3 {
			l.moves(t)
			s.Signal(t, syscall.SIGSTOP)
			time.Sleep(time.Second)
			s.Signal(t, syscall.SIGCONT)
		}
		l.moves(t)
	})
	l.check(t, s)
	s.Kill(t)
	s.Again(t)
	l.check(t, s)
}

func TestAGracefulStopLosesNothing(t *testing.T) {
	t.Parallel()
	s, l := harness.Start(t, harness.Options{}), newLedger()
	for round := range 5 {
		under(t, l, s, uint64(round), func() {
			l.moves(t)
			s.Finish(t)
		})
		s.Again(t)
	}
	l.check(t, s)
}
