package access

import (
	"fmt"
	"testing"
	"time"
)

func TestTheGuardIsBoundedAndKeepsTheWorst(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	g := newGuard(func() time.Time { return now })
	for range FreePerUser {
		if _, wait := g.begin("admin", "192.0.2.1"); wait != 0 {
			t.Fatalf("a free guess waits %s", wait)
		}
	}
	for i := range 3 * guardMost {
		if _, wait := g.begin(fmt.Sprint("user", i), fmt.Sprintf("2001:%x:%x::1", i&0xffff, i>>16)); wait != 0 {
			t.Fatalf("first guess of address %d waits %s", i, wait)
		}
		if len(g.pairs) > guardMost+1 || len(g.allowances) > guardMost+2 {
			t.Fatalf("%d pairs, %d addresses, want at most %d", len(g.pairs), len(g.allowances), guardMost)
		}
	}
	if g.wait("admin", "192.0.2.1") == 0 {
		t.Error("a flood of others made the guard forget a guesser that waits")
	}
}

func TestWhatNobodyFoundOutCostsNothing(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	g := newGuard(func() time.Time { return now })
	for i := range 3 * FreePerAddress {
		at, wait := g.begin("admin", "192.0.2.1")
		if wait != 0 {
			t.Fatalf("attempt %d waits %s", i, wait)
		}
		g.unknown(at)
	}
	for range FreePerUser - 1 {
		g.begin("admin", "192.0.2.1")
	}
	at, wait := g.begin("admin", "192.0.2.1")
	if wait != 0 {
		t.Fatalf("the last free guess waits %s", wait)
	}
	g.right(at)
	if at, wait = g.begin("admin", "192.0.2.1"); wait != 0 {
		t.Fatalf("after a right password: %s", wait)
	}
	g.unknown(at)
}

func TestASiteWithManyNetworksIsSlowedAsAWhole(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	g := newGuard(func() time.Time { return now })
	free := 0
	for i := range 1000 {
		if _, wait := g.begin(fmt.Sprint("user", i), fmt.Sprintf("2001:db8:1:%x::1", i)); wait == 0 {
			free++
		}
	}
	if want := SiteShare * FreePerAddress; free != want {
		t.Errorf("%d guesses from one /48 were free, want %d", free, want)
	}
	if _, wait := g.begin("admin", "2001:db8:2::1"); wait != 0 {
		t.Errorf("the site beside it waits %s", wait)
	}
	now = now.Add(Refill)
	again := 0
	for i := range 1000 {
		if at, wait := g.begin("admin", fmt.Sprintf("2001:db8:1:%x::2", 5000+i)); wait == 0 {
			again++
			if i == 0 { // costs nothing
				g.unknown(at)
			}
		}
	}
	if again != SiteShare+1 {
		t.Errorf("%d guesses are free after %s, want %d", again-1, Refill, SiteShare)
	}
	for i := range 2 * FreePerAddress {
		if _, wait := g.begin(fmt.Sprint("user", i), "2001:db8:3::1"); (wait > 0) != (i >= FreePerAddress) {
			t.Fatalf("guess %d of one network of a site waits %s", i, wait)
		}
	}
}

func TestAnAddressIsOneHowEverItIsWritten(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"192.0.2.1", "::ffff:192.0.2.1"}, {"2001:db8::1", "2001:db8::ffff:1"}, {"fe80::1%eth0", "fe80::1%eth1"},
	} {
		if network(c[0]) != network(c[1]) {
			t.Errorf("%s is %s, %s is %s", c[0], network(c[0]), c[1], network(c[1]))
		}
	}
	if network("192.0.2.1") == network("192.0.2.2") || network("2001:db8::1") == network("2001:db8:0:1::1") {
		t.Error("two addresses are one")
	}
}

func TestANameWrittenInOtherWaysIsTheSameToTheGuard(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	g := newGuard(func() time.Time { return now })
	for i, name := range []string{"joe smith", "Joe Smith", "JOE SMITH", " joe  smith ", "joe \u017fmith"} { // which a directory takes for one
		if _, wait := g.begin(name, "192.0.2.1"); wait != 0 {
			t.Fatalf("free guess %d waits %s", i, wait)
		}
	}
	if g.wait("jOE sMITH", "192.0.2.1") == 0 {
		t.Error("another way to write the name has guesses of its own")
	}
	if g.wait("joesmith", "192.0.2.1") != 0 {
		t.Error("another name waits")
	}
}
