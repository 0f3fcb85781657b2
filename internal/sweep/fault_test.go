package sweep_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sweep"
)

var errInjected = errors.New("injected")

// litter leaves one of each kind of what is swept: an upload that broke off, finished ones, a second copy of a blob.
func (s *site) litter() {
	s.t.Helper()
	s.push("app", "the same bytes")
	s.push("other", "the same bytes")
	up, err := s.reg.StartUpload(s.t.Context(), name(s.t, "app"), registry.StartUpload{})
	if err != nil {
		s.t.Fatal(err)
	}
	cut := io.MultiReader(bytes.NewReader([]byte("half")), iotest.ErrReader(errors.New("cut")))
	if _, err = s.reg.Append(s.t.Context(), up.Repo, up.ID, registry.Append{Size: 9, Body: cut}); err == nil {
		s.t.Fatal("a broken body was taken for whole")
	}
}

// clean fails the test unless all litter is gone and nothing else.
func (s *site) clean() {
	s.t.Helper()
	s.move(48 * time.Hour)
	s.once()
	s.move(48 * time.Hour)
	s.once()
	registrytest.CheckInvariants(s.t, s.db, s.store)
	if s.objects() != 1 || s.rows("contents") != 1 || s.rows("objects") != 1 || s.rows("uploads") != 0 || s.rows("dead") != 0 {
		s.t.Errorf("left: %d objects, %d contents, %d object rows, %d uploads, %d dead", s.objects(), s.rows("contents"), s.rows("objects"), s.rows("uploads"), s.rows("dead"))
	}
}

func TestASweepThatStopsAtAnyStepIsGoneOnWith(t *testing.T) {
	t.Parallel()
	var steps []string
	whole, _ := open(t)
	whole.litter()
	whole.failing(func(step string) error {
		steps = append(steps, step)
		return nil
	})
	whole.clean()
	if len(steps) < 8 {
		t.Fatalf("only %d steps: %q", len(steps), steps)
	}
	for at, step := range steps {
		t.Run(fmt.Sprint(at, " ", step), func(t *testing.T) {
			t.Parallel()
			s, _ := open(t)
			s.litter()
			n, failed := 0, ""
			s.failing(func(step string) error {
				if n++; n == at+1 {
					failed = step
					return errInjected
				}
				return nil
			})
			for range 4 { // until the step came
				s.move(48 * time.Hour)
				if err := s.sweep.Once(t.Context()); err != nil && !errors.Is(err, errInjected) {
					t.Fatal(err)
				}
				registrytest.CheckInvariants(t, s.db, s.store)
			}
			if failed == "" {
				t.Fatal("the step did not come")
			}
			s.clean()
		})
	}
}

func TestOneObjectThatCannotBeDeletedHoldsNoOtherBack(t *testing.T) {
	t.Parallel()
	s, driver := open(t)
	for i := range 5 {
		s.push("app", fmt.Sprint("bytes ", i))
		s.push("other", fmt.Sprint("bytes ", i))
	}
	for range 5 {
		if _, err := s.store.Put(t.Context(), s.store.NewName(), 1, bytes.NewReader([]byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	held := map[string]bool{}
	driver.deleting = func(name string) error {
		if len(held) == 0 || held[name] {
			held[name] = true
			return fail.E(fail.Denied, nil, "object %s is immutable", name)
		}
		return nil
	}
	s.move(48 * time.Hour)
	if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Denied) {
		t.Fatalf("the error is not told: %v", err)
	}
	if s.rows("dead") != 1 || s.objects() != 5+1 {
		t.Errorf("%d dead, %d objects: want the one that can't be deleted, and the five in use", s.rows("dead"), s.objects())
	}
	driver.deleting = nil
	s.once()
	if s.rows("dead") != 0 || s.objects() != 5 {
		t.Errorf("%d dead, %d objects after it can be deleted", s.rows("dead"), s.objects())
	}
}

// hold leaves dead contents of which the store answers an error when they are to be deleted, and one behind them that it lets go.
func (s *site) hold(driver *stubborn, n int, answer error) {
	s.t.Helper()
	both := func(data string) {
		s.push("app", data)
		s.push("other", data)
	}
	for i := range n {
		both(fmt.Sprint("bytes ", i))
	}
	held := map[string]bool{}
	for info, err := range s.store.List(s.t.Context(), "") {
		if err != nil {
			s.t.Fatal(err)
		}
		held[info.Name] = true
	}
	driver.deleting = func(name string) error {
		if held[name] {
			return answer
		}
		return nil
	}
	s.move(time.Hour)
	both("bytes behind them")
	s.move(48 * time.Hour)
}

func TestManyObjectsThatCannotBeDeletedHoldNoOtherBack(t *testing.T) {
	t.Parallel()
	s, driver := open(t)
	const many = 250 // more than are buried at once
	s.hold(driver, many, fail.E(fail.Denied, nil, "the object is immutable"))
	if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Denied) {
		t.Fatalf("the error is not told: %v", err)
	}
	if s.rows("dead") != many {
		t.Errorf("%d dead: want the %d that can't be deleted", s.rows("dead"), many)
	}
	driver.deleting = nil
	s.once()
	if s.rows("dead") != 0 || s.objects() != many+1 {
		t.Errorf("%d dead, %d objects after they can be deleted", s.rows("dead"), s.objects())
	}
}

// TestAnObjectForWhichTheStoreIsSaidToBeAwayHoldsNoOtherForEver: stores say of an object that a hold keeps, or that may not be deleted, what they say of themselves when they are away. Each sweep ends there, and the next
// one goes on behind it.
func TestAnObjectForWhichTheStoreIsSaidToBeAwayHoldsNoOtherForEver(t *testing.T) {
	t.Parallel()
	s, driver := open(t)
	const stuck = 3
	s.hold(driver, stuck, fail.E(fail.Unavailable, nil, "the object is under a legal hold"))
	for range stuck + 1 {
		if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Unavailable) {
			t.Fatalf("the error is not told: %v", err)
		}
	}
	if s.rows("dead") != stuck {
		t.Errorf("%d dead: want the %d that can't be deleted", s.rows("dead"), stuck)
	}
	driver.deleting = nil
	s.once()
	if s.rows("dead") != 0 || s.objects() != stuck+1 {
		t.Errorf("%d dead, %d objects after they can be deleted", s.rows("dead"), s.objects())
	}
}

// TestThatTheDeadCannotBeFoundIsTold, also in the middle of a way through them: there is nothing to go on behind.
func TestThatTheDeadCannotBeFoundIsTold(t *testing.T) {
	t.Parallel()
	s, driver := open(t)
	s.push("app", "bytes")
	s.push("other", "bytes")
	s.move(48 * time.Hour)
	driver.deleting = func(string) error { return fail.E(fail.Unavailable, nil, "the store is away") }
	if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Unavailable) {
		t.Fatalf("the error is not told: %v", err)
	}
	driver.deleting = nil
	rename := func(from, to string) {
		err := s.db.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
			_, execErr := tx.Exec(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to)
			return execErr
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rename("dead", "hidden")
	if err := s.sweep.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "find the dead") {
		t.Errorf("the error is not told: %v", err)
	}
	rename("hidden", "dead")
	s.once()
	if s.rows("dead") != 0 {
		t.Errorf("%d dead are left", s.rows("dead"))
	}
}

func TestAnOrphanForWhichTheStoreIsSaidToBeAwayHoldsNoOtherForEver(t *testing.T) {
	t.Parallel()
	s, driver := open(t)
	for range 5 {
		s.put(s.store.NewName())
	}
	first := ""
	driver.deleting = func(name string) error {
		if first == "" || first == name {
			first = name
			return fail.E(fail.Unavailable, nil, "object %s is under a legal hold", name)
		}
		return nil
	}
	s.move(48 * time.Hour)
	if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Unavailable) {
		t.Fatalf("the error is not told: %v", err)
	}
	s.once()
	if s.objects() != 1 {
		t.Errorf("%d objects left, want 1", s.objects())
	}
	driver.deleting = nil
	s.move(25 * time.Hour)
	s.once()
	if s.objects() != 0 {
		t.Errorf("%d objects left by the next walk", s.objects())
	}
}

func TestAnOrphanThatCannotBeDeletedHoldsNoOtherBack(t *testing.T) {
	t.Parallel()
	s, driver := open(t)
	for range 5 {
		if _, err := s.store.Put(t.Context(), s.store.NewName(), 1, bytes.NewReader([]byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	first := ""
	driver.deleting = func(name string) error {
		if first == "" || first == name {
			first = name
			return fail.E(fail.Denied, nil, "object %s is immutable", name)
		}
		return nil
	}
	s.move(48 * time.Hour)
	if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Denied) {
		t.Fatalf("the error is not told: %v", err)
	}
	if s.objects() != 1 {
		t.Errorf("%d objects left, want 1", s.objects())
	}
	driver.deleting = nil
	s.move(25 * time.Hour)
	s.once()
	if s.objects() != 0 {
		t.Errorf("%d objects left by the next walk", s.objects())
	}
}

func TestWhatFailsKeepsNothingElseFromBeingDone(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	s.litter()
	if err := s.store.SetID(t.Context(), "somebody-else"); err != nil { // nothing is deleted from this store
		t.Fatal(err)
	}
	s.move(48 * time.Hour)
	for range 2 {
		if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Conflict) {
			t.Fatalf("sweep of a foreign store: %v", err)
		}
		s.move(48 * time.Hour)
	}
	// What deletes nothing from the store is done.
	if s.rows("uploads") != 0 || s.rows("dead") == 0 {
		t.Errorf("%d uploads, %d dead", s.rows("uploads"), s.rows("dead"))
	}
}

func TestAHolderThatLostItsDutyChangesNoRow(t *testing.T) {
	t.Parallel()
	s, driver := open(t)
	s.push("app", "the same bytes")
	s.push("other", "the same bytes")
	s.move(48 * time.Hour)
	var next *cluster.Node
	driver.deleting = func(string) error {
		if next != nil {
			return nil
		}
		// The node sleeps before it deletes the first object. Meanwhile it is declared dead, and another takes the duty.
		var err error
		if next, err = cluster.Start(t.Context(), cluster.Config{DB: s.db, Clock: s.clock}); err != nil {
			return err
		}
		_, ok, err := next.Claim(t.Context(), "sweep")
		if err == nil && !ok {
			err = errors.New("the duty of a dead node was not given")
		}
		return err
	}
	pulled := s.rows("ops")
	if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Conflict) || fail.CodeOf(err) != "claim" {
		t.Fatalf("the former holder: %v", err)
	}
	if s.rows("dead") != 1 || s.rows("objects") != 2 || s.rows("ops") != pulled {
		t.Errorf("%d dead, %d object rows, %d operations: the former holder changed rows", s.rows("dead"), s.rows("objects"), s.rows("ops"))
	}
	second := sweep.New(sweep.Config{Registry: s.reg, Node: next, Clock: s.clock})
	if err := second.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	registrytest.CheckInvariants(t, s.db, s.store)
	if s.rows("dead") != 0 || s.objects() != 1 {
		t.Errorf("%d dead, %d objects after the next holder", s.rows("dead"), s.objects())
	}
}
