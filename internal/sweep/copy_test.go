package sweep_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sweep"
)

// copy answers a registry on a copy of the database, and on the same store: somebody tries a backup out, or restored one.
func (s *site) copy(driver *stubborn) *site {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "copy.db")
	for _, part := range []string{"", "-wal"} { // nobody writes meanwhile
		data, err := os.ReadFile(s.path + part)
		if err == nil {
			err = os.WriteFile(path+part, data, 0o600)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return openOn(s.t, path, driver, s.watch)
}

// hours lets them sweep in turns, once an hour for so many hours, and answers the last error of each.
func hours(n int, sites ...*site) []error {
	last := make([]error, len(sites))
	for range n {
		sites[0].move(time.Hour)
		for i, s := range sites {
			last[i] = s.sweep.Once(s.t.Context())
		}
	}
	return last
}

func (s *site) whole(d oci.Digest) {
	s.t.Helper()
	in, err := s.reg.OpenBlob(s.t.Context(), name(s.t, "app"), d)
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := io.ReadAll(in)
	if err = errors.Join(err, in.Close()); err != nil || oci.Sum(oci.SHA256, got) != d {
		s.t.Errorf("a blob that was acknowledged: %q, %v", got, err)
	}
}

// refused fails the test unless a sweep said that the store is not its database's, and what to do.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if !fail.Is(err, fail.Conflict) || !strings.Contains(fail.HintOf(err), "havn store confirm") {
		t.Errorf("%s: %v", what, err)
	}
}

func (s *site) confirm() {
	s.t.Helper()
	if _, err := registry.Confirm(s.t.Context(), s.db, s.store); err != nil {
		s.t.Fatal(err)
	}
}

// TestACopyOfTheDatabaseDeletesNothingOfTheOther: what the one pushed has no row in the other, and both have the same id.
func TestACopyOfTheDatabaseDeletesNothingOfTheOther(t *testing.T) {
	t.Parallel()
	// For how long the original had served: it begins its first epoch in the first hour.
	before := map[string]int{
		"of hours ago": 5, "of the first epoch": 1, "from before there were epochs": 0,
		"of a moment ago, the original sweeps first": 5, "of a moment ago, the copy sweeps first": 5, "of a moment ago, until one is confirmed": 5,
	}
	for what, meanwhile := range map[string]func(t *testing.T, original, duplicate *site){
		"of hours ago": func(t *testing.T, original, duplicate *site) {
			if err := hours(48, original)[0]; err != nil {
				t.Error(err)
			}
			refused(t, "the copy", hours(1, duplicate)[0])
			last := hours(48, duplicate, original)
			refused(t, "the copy", last[0])
			if last[1] != nil {
				t.Errorf("the original, once there was a copy of an old state: %v", last[1])
			}
		},
		"of a moment ago, the original sweeps first": func(t *testing.T, original, duplicate *site) {
			last := hours(48, original, duplicate)
			refused(t, "the original", last[0])
			refused(t, "the copy", last[1])
		},
		"of a moment ago, the copy sweeps first": func(t *testing.T, original, duplicate *site) {
			last := hours(48, duplicate, original)
			refused(t, "the copy", last[0])
			refused(t, "the original", last[1])
		},
		"from before there were epochs": func(t *testing.T, original, duplicate *site) {
			hours(48, original)
			refused(t, "the copy", hours(1, duplicate)[0])
		},
		"of the first epoch": func(t *testing.T, original, duplicate *site) {
			hours(48, original)
			refused(t, "the copy", hours(1, duplicate)[0])
		},
		"of a moment ago, until one is confirmed": func(t *testing.T, original, duplicate *site) {
			hours(48, duplicate, original)
			refused(t, "what the original tells", original.sweep.Lost())
			original.confirm()
			last := hours(48, duplicate, original)
			refused(t, "the copy", last[0])
			refused(t, "what the copy tells", duplicate.sweep.Lost())
			if last[1] != nil || original.sweep.Lost() != nil {
				t.Errorf("the original, which was confirmed: %v; it tells %v", last[1], original.sweep.Lost())
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			original, driver := open(t)
			original.push("app", "before")
			if _, err := original.reg.Identify(t.Context()); err != nil {
				t.Fatal(err)
			}
			hours(before[what], original)
			up, err := original.reg.StartUpload(t.Context(), name(t, "app"), registry.StartUpload{})
			if err != nil {
				t.Fatal(err)
			}
			if up, err = original.reg.Append(t.Context(), up.Repo, up.ID, registry.Append{Size: -1, Body: strings.NewReader("under way")}); err != nil {
				t.Fatal(err)
			}
			duplicate := original.copy(driver)
			after, finished := original.push("app", "after"), oci.Sum(oci.SHA256, []byte("under way"))
			if _, err = original.reg.Finish(t.Context(), up.Repo, up.ID, registry.Finish{At: up.Offset, Digest: finished}); err != nil {
				t.Fatal(err)
			}
			meanwhile(t, original, duplicate)
			original.whole(after)
			original.whole(finished)
			if n := original.objects(); n != 3 {
				t.Errorf("%d objects, want 3", n)
			}
		})
	}
}

// TestAnOldStateThatIsRestoredDeletesNothingUntilItIsConfirmed: a better backup may be found yet.
func TestAnOldStateThatIsRestoredDeletesNothingUntilItIsConfirmed(t *testing.T) {
	t.Parallel()
	lost, driver := open(t)
	before := lost.push("app", "before")
	hours(2, lost)
	restored := lost.copy(driver)
	lost.push("app", "after")
	hours(5, lost)
	last := hours(48, restored)
	refused(t, "an old state", last[0])
	if n := restored.objects(); n != 2 {
		t.Errorf("%d objects, want 2", n)
	}
	after := restored.push("app", "something else") // it serves all the same
	restored.confirm()
	if err := hours(48, restored)[0]; err != nil {
		t.Errorf("once it is confirmed: %v", err)
	}
	restored.whole(before)
	restored.whole(after)
	if n := restored.objects(); n != 2 {
		t.Errorf("%d objects, want 2: the one that only the lost state names is still there", n)
	}
	refused(t, "the lost state, found again", hours(1, lost)[0])
	marks, err := restored.store.Epochs(t.Context())
	if err != nil || len(marks) != 1 {
		t.Errorf("epochs %v, %v: want the last", marks, err)
	}
}

// TestOnceAnEpochCannotBeBegunTheSweepGoesOn: a disk that is full is emptied by the sweep.
func TestOnceAnEpochCannotBeBegunTheSweepGoesOn(t *testing.T) {
	t.Parallel()
	s, driver := open(t)
	hours(2, s)
	s.litter()
	s.move(time.Hour)
	driver.putting = func(name string) error {
		return fail.E(fail.Exhausted, nil, "no room for %s", name)
	}
	for range 2 {
		s.move(48 * time.Hour)
		if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Exhausted) {
			t.Errorf("a full disk: %v", err)
		}
	}
	if s.rows("dead") != 0 || s.objects() != 1 {
		t.Errorf("%d dead, %d objects", s.rows("dead"), s.objects())
	}
}

// TestAContestIsSaidThoughAStepOfItFails: the copy was faster, and the original finds it.
func TestAContestIsSaidThoughAStepOfItFails(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"epoch.lose", "epoch.contest", "epoch.contested"} {
		for _, how := range []string{"not applied", "applied"} {
			t.Run(step+", "+how, func(t *testing.T) {
				t.Parallel()
				original, driver := open(t)
				hours(5, original)
				duplicate := original.copy(driver)
				hours(2, duplicate)
				failed := 0
				original.failing(func(at string) error {
					if at == step+": "+how && failed == 0 {
						failed++
						return errInjected
					}
					return nil
				})
				if err := hours(1, original)[0]; !errors.Is(err, errInjected) {
					t.Errorf("the original: %v", err)
				}
				last := hours(1, original, duplicate)
				refused(t, "the original", last[0])
				refused(t, "the copy", last[1])
			})
		}
	}
}

// TestAStoreThatWasAwayAtTheStartIsNotSaidToBeAnothers: it may be back by now, and whether it answers is told beside that.
func TestAStoreThatWasAwayAtTheStartIsNotSaidToBeAnothers(t *testing.T) {
	t.Parallel()
	for _, kind := range []fail.Kind{fail.Unavailable, fail.Conflict} {
		s := sweep.New(sweep.Config{LostAtStart: fail.E(kind, nil, "look at its mark")})
		if lost := s.Lost(); (lost != nil) != (kind == fail.Conflict) {
			t.Errorf("after %s: %v", kind, lost)
		}
	}
}
