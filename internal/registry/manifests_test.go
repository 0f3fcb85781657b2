package registry

import (
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

func TestManifestsAtOnceAreBoundedInNumberAndInBytes(t *testing.T) {
	t.Parallel()
	r := &Registry{senders: senders{limit: 20, now: map[string]int{}}}
	var all []func()
	start := func(who string, size int64, want bool) {
		t.Helper()
		done, err := r.StartManifest(who, size)
		switch {
		case want && err != nil:
			t.Fatal(err)
		case want:
			all = append(all, done)
		case !fail.Is(err, fail.Exhausted) || fail.RetryAfterOf(err) == 0:
			t.Fatalf("one too many: %v", err)
		}
	}
	for range 8 {
		start("one", oci.MaxManifestBytes, true)
		start("two", -1, true)
	}
	start("two", oci.MaxManifestBytes, false)
	start("three", smallManifest+1, false)
	for range 20 {
		start("three", smallManifest, true) // small ones have room
	}
	start("three", 1, false)
	for _, done := range all {
		done()
	}
	if taken := r.manifests.taken.Load(); taken != 0 || len(r.senders.now) != 0 {
		t.Errorf("%d bytes and %v are not given back", taken, r.senders.now)
	}
	start("three", oci.MaxManifestBytes, true)
}
