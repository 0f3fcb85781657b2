package rados

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
)

func TestAHeadIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, h := range []head{{mark: newMark()}, {mark: newMark(), size: 5}, {mark: newMark(), size: 4<<20 + 1, stripe: 4 << 20}, {mark: "a", size: 5 << 40, stripe: 1}} {
		text := h.text()
		got, err := parseHead(text)
		if err != nil || got != h || len(text) > maxHead {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "1", "2 m 1 0", "1 m 1", "1 m -1 0", "1 m 1 -1", "1 m x 0", "1 m 1 x", "1  1 0", "1 m 1 0 0", "1 m#m 1 0"} {
		if got, err := parseHead([]byte(bad)); !fail.Is(err, fail.Internal) {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}

func TestAnObjectHasAsManyStripesAsItsBytesFill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ size, stripe, want int64 }{{10, 0, 0}, {0, 4, 0}, {4, 4, 1}, {5, 4, 2}, {8, 4, 2}} {
		if got := (head{size: c.size, stripe: c.stripe}).stripes(); got != c.want {
			t.Errorf("%d bytes in stripes of %d: %d", c.size, c.stripe, got)
		}
	}
}

func TestNamesOfStripesAreKnownAndInOrder(t *testing.T) {
	t.Parallel()
	const object = "registry/objects/3f/3f00"
	mark := newMark()
	before := object
	for _, n := range []int64{0, 1, 9, 10, 99_999_999} {
		name := stripeName(object, mark, n)
		if of, by, ok := stripeOf(name); !ok || of != object || by != mark {
			t.Errorf("%s: of %q by %q, %v", name, of, by, ok)
		}
		if name <= before {
			t.Errorf("%s does not come behind %s", name, before)
		}
		before = name
	}
	for _, name := range []string{"", object, "havn-store-id", "a#b"} {
		if _, _, ok := stripeOf(name); ok {
			t.Errorf("%s is no stripe", name)
		}
	}
}

func TestNamesAreSortedHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 9, 10, 11, 1000, 1003} {
		s := &sorter{dir: t.TempDir(), most: 10}
		var want []string
		for range n {
			name := fmt.Sprintf("%x\n%x", random.IntN(400), random.Uint64())
			want = append(want, name)
			if err := s.add(name); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(want)
		m, err := s.sorted()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			name, ok, nextErr := m.next()
			if nextErr != nil {
				t.Fatal(nextErr)
			}
			if !ok {
				break
			}
			got = append(got, name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d names: %d came back, or in another order", n, len(got))
		}
		if err = m.close(); err != nil {
			t.Error(err)
		}
	}
}

func TestADirectoryThatIsNoneIsSaid(t *testing.T) {
	t.Parallel()
	s := &sorter{dir: "/dev/null/x", most: 1}
	if err := s.add("a"); !fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "" {
		t.Errorf("error %v", err)
	}
}
