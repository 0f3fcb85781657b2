package sweep_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sweep"
)

// watch is a clock that a test moves.
type watch struct {
	mu  sync.Mutex
	now time.Time
}

func (w *watch) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *watch) move(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// site is a registry whose clock a test moves.
type site struct {
	*watch
	t     *testing.T
	path  string // of the database
	db    *sqldb.DB
	store *blob.Store
	reg   *registry.Registry
	node  *cluster.Node
	sweep *sweep.Sweeper

	faults sync.Mutex
	fault  func(step string) error
}

// step fails what a test wants to fail.
func (s *site) step(name string) error {
	s.faults.Lock()
	fault := s.fault
	s.faults.Unlock()
	if fault == nil {
		return nil
	}
	return fault(name)
}

func (s *site) failing(fault func(step string) error) {
	s.faults.Lock()
	defer s.faults.Unlock()
	s.fault = fault
}

// stubborn is a store whose deletions and writes fail as a test wants.
type stubborn struct {
	*memory.Driver
	putting  func(name string) error // asked before each write
	broken   error                   // every deletion is said to have failed
	deleting func(name string) error // asked before each deletion
}

func (d *stubborn) Delete(ctx context.Context, name string) error {
	if d.deleting != nil {
		if err := d.deleting(name); err != nil {
			return err
		}
	}
	return errors.Join(d.broken, d.Driver.Delete(ctx, name))
}

func (d *stubborn) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	if d.putting != nil {
		if err := d.putting(name); err != nil {
			return blob.Written{}, err
		}
	}
	return d.Driver.Put(ctx, name, size, r)
}

func open(t *testing.T) (*site, *stubborn) {
	t.Helper()
	w := &watch{now: time.Now()}
	driver := &stubborn{Driver: memory.New(w.clock)}
	return openOn(t, filepath.Join(t.TempDir(), "havn.db"), driver, w), driver
}

// openOn opens a registry on a database's file and a store.
func openOn(t *testing.T, path string, driver blob.Driver, w *watch) *site {
	t.Helper()
	s := &site{watch: w, t: t, path: path}
	var err error
	if s.db, err = sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: path, Clock: s.clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cause := s.db.Close(); cause != nil {
			t.Error(cause)
		}
	})
	if err = s.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.store = blob.NewStore(driver, blob.StoreConfig{Clock: s.clock})
	if s.reg, err = registry.New(t.Context(), registry.Config{DB: s.db, Blobs: s.store, Clock: s.clock, Fault: s.step}); err != nil {
		t.Fatal(err)
	}
	if s.node, err = cluster.Start(t.Context(), cluster.Config{DB: s.db, Clock: s.clock}); err != nil {
		t.Fatal(err)
	}
	s.sweep = sweep.New(sweep.Config{Registry: s.reg, Node: s.node, Clock: s.clock, UploadTime: 24 * time.Hour})
	return s
}

func (s *site) once() {
	s.t.Helper()
	if err := s.sweep.Once(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// objects counts those of our own form.
func (s *site) objects() int {
	s.t.Helper()
	n := 0
	for info, err := range s.store.List(s.t.Context(), "") {
		if err != nil {
			s.t.Fatal(err)
		}
		if blob.IsOwnName(info.Name) {
			n++
		}
	}
	return n
}

func (s *site) rows(table string) int {
	s.t.Helper()
	var n int
	if err := s.db.Row(s.t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func name(t *testing.T, s string) oci.Name {
	t.Helper()
	n, err := oci.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *site) push(repo, data string) oci.Digest {
	s.t.Helper()
	d := oci.Sum(oci.SHA256, []byte(data))
	_, err := s.reg.PushBlob(s.t.Context(), name(s.t, repo), registry.PushBlob{Digest: d, Size: int64(len(data)), Body: bytes.NewReader([]byte(data))})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func TestAnUploadThatWasGivenUpGoesWithItsBytes(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	up, err := s.reg.StartUpload(t.Context(), name(t, "app"), registry.StartUpload{})
	if err != nil {
		t.Fatal(err)
	}
	cut := io.MultiReader(bytes.NewReader([]byte("half")), iotest.ErrReader(errors.New("cut")))
	if _, err = s.reg.Append(t.Context(), up.Repo, up.ID, registry.Append{Size: 9, Body: cut}); err == nil {
		t.Fatal("a broken body was taken for whole")
	}
	s.move(23 * time.Hour)
	s.once()
	if state, cause := s.reg.Upload(t.Context(), up.Repo, up.ID); cause != nil || state.Offset != 4 {
		t.Fatalf("an upload within its time: %+v, %v", state, cause)
	}
	s.move(2 * time.Hour)
	s.once()
	if _, err = s.reg.Upload(t.Context(), up.Repo, up.ID); !fail.Is(err, fail.NotFound) {
		t.Errorf("the upload is still there: %v", err)
	}
	s.move(time.Second)
	s.once()
	if s.objects() != 0 || s.rows("contents") != 0 || s.rows("objects") != 0 || s.rows("dead") != 0 {
		t.Errorf("left: %d objects, %d contents, %d object rows, %d dead", s.objects(), s.rows("contents"), s.rows("objects"), s.rows("dead"))
	}
}

func TestTheSecondCopyOfABlobGoesAndTheFirstStays(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	d := s.push("app", "the same bytes")
	s.push("other", "the same bytes")
	if s.objects() != 2 {
		t.Fatalf("%d objects before", s.objects())
	}
	s.move(2 * time.Hour) // finished uploads are forgotten, which frees the content
	s.once()
	s.once()
	if s.objects() != 1 || s.rows("contents") != 1 || s.rows("uploads") != 0 {
		t.Errorf("left: %d objects, %d contents, %d uploads", s.objects(), s.rows("contents"), s.rows("uploads"))
	}
	for _, repo := range []string{"app", "other"} {
		in, err := s.reg.OpenBlob(t.Context(), name(t, repo), d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		if err = errors.Join(err, in.Close()); err != nil || string(got) != "the same bytes" {
			t.Errorf("%s: %q, %v", repo, got, err)
		}
	}
}

func TestAStoreThatFailsHoldsTheDeadBack(t *testing.T) {
	t.Parallel()
	s, driver := open(t)
	s.push("app", "bytes")
	s.push("other", "bytes")
	s.move(2 * time.Hour)
	driver.broken = fail.E(fail.Unavailable, nil, "store is down")
	if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Unavailable) {
		t.Fatalf("a failing store: %v", err)
	}
	if s.rows("dead") != 1 || s.rows("objects") != 2 {
		t.Fatalf("%d dead, %d object rows: rows went before their objects", s.rows("dead"), s.rows("objects"))
	}
	driver.broken = nil
	s.once()
	if s.rows("dead") != 0 || s.objects() != 1 {
		t.Errorf("%d dead, %d objects after the store is back", s.rows("dead"), s.objects())
	}
}

func TestObjectsWithoutARowGoWhenTheyAreOldAndOurs(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	d := s.push("app", "kept")
	put := func(name string) {
		if _, err := s.store.Put(t.Context(), name, 1, bytes.NewReader([]byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	orphan := s.store.NewName()
	put(orphan)
	put("docker/registry/v2/blobs/sha256/aa/data")
	s.once()
	if s.objects() != 2 {
		t.Fatalf("%d objects: a young orphan went", s.objects())
	}
	s.move(25 * time.Hour)
	s.once()
	if _, err := s.store.Stat(t.Context(), orphan); !fail.Is(err, fail.NotFound) {
		t.Errorf("the orphan is still there: %v", err)
	}
	if _, err := s.store.Stat(t.Context(), "docker/registry/v2/blobs/sha256/aa/data"); err != nil {
		t.Errorf("a foreign object went: %v", err)
	}
	if _, err := s.reg.StatBlob(t.Context(), name(t, "app"), d, registry.ToPull); err != nil {
		t.Error(err)
	}
	if s.objects() != 1 {
		t.Errorf("%d objects", s.objects())
	}
}

func TestAnotherRegistrysStoreIsNotSwept(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	if err := s.store.SetID(t.Context(), "somebody-else"); err != nil {
		t.Fatal(err)
	}
	orphan := s.store.NewName()
	if _, err := s.store.Put(t.Context(), orphan, 1, bytes.NewReader([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	s.move(48 * time.Hour)
	if err := s.sweep.Once(t.Context()); !fail.Is(err, fail.Conflict) || fail.HintOf(err) == "" {
		t.Errorf("sweep of a foreign store: %v", err)
	}
	if _, err := s.store.Stat(t.Context(), orphan); err != nil {
		t.Errorf("its object went: %v", err)
	}
}

func TestPullCountsAreFolded(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	s.push("app", "x") // makes the repository
	d := oci.Sum(oci.SHA256, []byte("manifest"))
	for range 3 {
		s.reg.CountPull(name(t, "app"), oci.Reference{Digest: d}, d)
	}
	s.reg.FlushPulls(t.Context())
	if s.rows("pulls") != 1 {
		t.Fatalf("%d rows appended, want 1", s.rows("pulls"))
	}
	s.once()
	var n int
	if err := s.db.Row(t.Context(), "SELECT n FROM pull_totals").Scan(&n); err != nil || n != 3 || s.rows("pulls") != 0 {
		t.Errorf("%d pulls in all, %v, %d rows left", n, err, s.rows("pulls"))
	}
}

func TestTheDutyOfADeadNodeIsTakenUp(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	s.push("app", "x")
	s.push("other", "x")
	s.once()
	// A new incarnation on SQLite knows that the old one is dead.
	next, err := cluster.Start(t.Context(), cluster.Config{DB: s.db, Clock: s.clock})
	if err != nil {
		t.Fatal(err)
	}
	second := sweep.New(sweep.Config{Registry: s.reg, Node: next, Clock: s.clock})
	s.move(2 * time.Hour)
	if err = second.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.objects() != 1 {
		t.Errorf("%d objects", s.objects())
	}
	if err = s.sweep.Once(t.Context()); err != nil {
		t.Errorf("the old node has to stand aside, not to fail: %v", err)
	}
}

// TestAClockThatIsAheadTakesNothingFromTheOtherNodes: another node lives, and by its clock nothing is old.
func TestAClockThatIsAheadTakesNothingFromTheOtherNodes(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	// SQLite has one node only: the other one is but its row.
	at := sqldb.Micros(s.clock())
	err := s.db.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
		_, err := tx.InsertIgnore(t.Context(), "nodes", []string{"id", "started_at", "beat", "beat_at", "state", "version", "addr"}, 1, at, 1, at, "alive", "", "")
		if err == nil {
			_, err = tx.InsertIgnore(t.Context(), "ops", []string{"op", "at"}, "an operation", at)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	up, err := s.reg.StartUpload(t.Context(), name(t, "app"), registry.StartUpload{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.reg.Finish(t.Context(), up.Repo, up.ID, registry.Finish{Digest: oci.Sum(oci.SHA256, nil), Body: bytes.NewReader(nil)}); err != nil {
		t.Fatal(err)
	}
	s.move(48 * time.Hour)
	for _, want := range []int{1, 0} {
		for range 2 { // an operation goes when it was seen before
			s.once()
			s.move(2 * time.Minute)
		}
		if s.rows("uploads") != want || s.rows("ops") != want {
			t.Errorf("%d uploads and %d operations, want %d", s.rows("uploads"), s.rows("ops"), want)
		}
		err = s.db.Tx(t.Context(), "test", func(tx *sqldb.Tx) (txErr error) {
			_, txErr = tx.Exec(t.Context(), "UPDATE nodes SET state = 'dead' WHERE id = 1")
			return txErr
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnOperationThatIsNewIsKeptHoweverOldItSays: the clock of the node that wrote it was years behind and has been put right, so that no node's clock tells of it any more.
func TestAnOperationThatIsNewIsKeptHoweverOldItSays(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	write := func(op string) {
		err := s.db.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
			_, err := tx.InsertIgnore(t.Context(), "ops", []string{"op", "at"}, op, 1)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	for _, step := range []struct {
		after time.Duration
		left  int
		write string
	}{
		{0, 1, ""},
		{30 * time.Second, 1, "second"},
		{31 * time.Second, 1, ""}, // the first was seen for a minute; the second is seen for the first time
		{30 * time.Second, 1, ""}, //
		{31 * time.Second, 0, ""}, // nor is the second one kept for ever
		{time.Hour, 0, "third"},   //
		{time.Second, 1, ""},      // however long there was nothing to see
		{sweep.DefaultInterval + time.Second, 0, ""},
	} {
		s.move(step.after)
		s.once()
		if n := s.rows("ops"); n != step.left {
			t.Errorf("%s later: %d operations, want %d", step.after, n, step.left)
		}
		if step.write != "" {
			write(step.write)
		}
	}
}
