package blob_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
)

// shaky fails its next operations.
type shaky struct {
	*memory.Driver
	fails int
	kind  fail.Kind
	asked int
}

func (s *shaky) Stat(ctx context.Context, name string) (blob.Info, error) {
	s.asked++
	if s.fails > 0 {
		s.fails--
		return blob.Info{}, fail.E(s.kind, nil, "shaky")
	}
	return s.Driver.Stat(ctx, name)
}

func TestWhatCanBeRepeatedIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		fails, asked int
		kind         fail.Kind
		ok           bool
	}{
		{"once unavailable", 1, 2, fail.Unavailable, true},
		{"unavailable for good", 99, 3, fail.Unavailable, false},
		{"another error", 1, 1, fail.Internal, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := &shaky{Driver: memory.New(time.Now), fails: c.fails, kind: c.kind}
				s := blobtest.Store(d)
				name := s.NewName()
				if _, err := s.Put(t.Context(), name, 1, strings.NewReader("x")); err != nil {
					t.Fatal(err)
				}
				_, err := s.Stat(t.Context(), name)
				if c.ok != (err == nil) || (!c.ok && !fail.Is(err, c.kind)) || d.asked != c.asked {
					t.Errorf("%v after %d tries, want %d", err, d.asked, c.asked)
				}
			})
		})
	}
}

func TestAnEndedRequestIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	d := &shaky{Driver: memory.New(time.Now), fails: 9, kind: fail.Unavailable}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := blobtest.Store(d).Stat(ctx, "x"); err == nil || d.asked != 1 {
		t.Errorf("%v after %d tries", err, d.asked)
	}
}

func TestOnlyNamesOfOurFormAreOurs(t *testing.T) {
	t.Parallel()
	name := blobtest.Store(memory.New(time.Now)).NewName()
	for given, want := range map[string]bool{
		name: true, name[:len(name)-1]: false, name + "0": false, "x" + name[1:]: false, strings.ToUpper(name): false,
		"objects/ab/ab" + strings.Repeat("0", 30): true, "objects/ab/cd" + strings.Repeat("0", 30): false,
		"objects/ab/ab" + strings.Repeat("g", 30): false, "": false, "havn-store-id": false,
	} {
		if blob.IsOwnName(given) != want {
			t.Errorf("%q: ours is %v, want %v", given, !want, want)
		}
	}
}

func TestAnEpochIsBegunOnceAndContestedAsOftenAsOneLikes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := blob.NewStore(memory.New(time.Now), blob.StoreConfig{})
	if _, err := s.Epoch(ctx, 7); !fail.Is(err, fail.NotFound) {
		t.Errorf("an epoch that was not begun: %v", err)
	}
	for _, n := range []int64{0, 7, 12} {
		if err := s.SetEpoch(ctx, n, "mine"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetEpoch(ctx, 7, "yours"); !fail.Is(err, fail.Exists) {
		t.Errorf("begun twice: %v", err)
	}
	if said, err := s.Epoch(ctx, 7); err != nil || said != "mine" {
		t.Errorf("%q, %v", said, err)
	}
	for range 2 {
		if err := s.Contest(ctx, 7); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range map[int64]bool{7: true, 12: false} {
		if got, err := s.Contested(ctx, n); err != nil || got != want {
			t.Errorf("epoch %d is contested: %v, %v", n, got, err)
		}
	}
	if _, err := s.Put(ctx, s.NewName(), 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]int64{{7, 12}, {12}} {
		if all, err := s.Epochs(ctx); err != nil || !slices.Equal(all, want) {
			t.Errorf("epochs %v, %v; want %v", all, err, want)
		}
		if err := s.DropEpoch(ctx, 7); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := s.Contested(ctx, 7); err != nil || again {
		t.Errorf("dropped and still contested: %v, %v", again, err)
	}
}
