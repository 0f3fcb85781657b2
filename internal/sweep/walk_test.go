package sweep_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sweep"
)

func (s *site) put(name string) {
	s.t.Helper()
	if _, err := s.store.Put(s.t.Context(), name, 1, bytes.NewReader([]byte("x"))); err != nil {
		s.t.Fatal(err)
	}
}

// sweeper makes a sweeper that looks at ten objects at once.
func (s *site) sweeper(n *cluster.Node) *sweep.Sweeper {
	return sweep.New(sweep.Config{Registry: s.reg, Node: n, Clock: s.clock, ListAtOnce: 10})
}

func TestAWalkIsGoneOnWithByTheNextNode(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	for i := range 30 { // three parts of the list, and what is to be found comes behind them
		s.put(fmt.Sprintf("foreign/%02d", i))
	}
	orphan := s.store.NewName()
	if orphan < "foreign/99" {
		t.Fatalf("an object's name is %s: this test needs others", orphan)
	}
	s.put(orphan)
	s.move(48 * time.Hour)
	first := s.sweeper(s.node)
	for range 3 {
		if err := first.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s.objects() != 1 {
		t.Fatal("the orphan was found too early for this test")
	}
	next, err := cluster.Start(t.Context(), cluster.Config{DB: s.db, Clock: s.clock})
	if err != nil {
		t.Fatal(err)
	}
	if err = s.sweeper(next).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.objects() != 0 {
		t.Error("the next node began from the start")
	}
}

func TestAWalkThatEndedIsNotBegunAgainByARestart(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	s.once()
	orphan := s.store.NewName()
	s.put(orphan)
	restart := func() {
		t.Helper()
		next, err := cluster.Start(t.Context(), cluster.Config{DB: s.db, Clock: s.clock})
		if err != nil {
			t.Fatal(err)
		}
		if err = sweep.New(sweep.Config{Registry: s.reg, Node: next, Clock: s.clock, OrphanAge: time.Minute}).Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.move(23 * time.Hour)
	restart()
	if s.objects() != 1 {
		t.Error("walked again within a day")
	}
	s.move(2 * time.Hour)
	restart()
	if s.objects() != 0 {
		t.Error("not walked after a day")
	}
}

func TestALongNameOfSomebodyElseStopsNoWalk(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	for i := range 25 {
		s.put(fmt.Sprintf("foreign/%0240d", i))
	}
	s.put(s.store.NewName())
	s.move(48 * time.Hour)
	walker := s.sweeper(s.node)
	for range 3 {
		if err := walker.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s.objects() != 0 {
		t.Error("the walk did not come to its end")
	}
}

func TestNeverIsNever(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	s.put(s.store.NewName())
	s.move(1000 * 24 * time.Hour)
	if err := sweep.New(sweep.Config{Registry: s.reg, Node: s.node, Clock: s.clock, OrphanEvery: sweep.Never}).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.objects() != 1 {
		t.Error("the list was walked")
	}
}

func TestNamesThatAreAlmostOursAreNotTouched(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	own := s.store.NewName()
	almost := []string{own + "0", own[:len(own)-1], "x" + own, "backup/" + own, "objects", "havn-store-id.bak", "docker/registry/v2/blobs/sha256/aa/" + own}
	for _, name := range almost {
		if blob.IsOwnName(name) {
			t.Errorf("%s is taken for ours", name)
		}
		if _, err := s.store.Put(t.Context(), name, 1, bytes.NewReader([]byte("x"))); err != nil && !fail.Is(err, fail.Invalid) {
			t.Fatal(err)
		}
	}
	s.put(own)
	before := 0
	for _, err := range s.store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		before++
	}
	s.move(1000 * 24 * time.Hour)
	s.once()
	after := 0
	for _, err := range s.store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		after++
	}
	// The sweep wrote the store's id and the marks of its first epoch, and took the one object that is ours.
	if s.objects() != 0 || after != before+2 {
		t.Errorf("%d objects before, %d after, %d of them ours", before, after, s.objects())
	}
}
