package cluster_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// watch is a clock that a test moves.
type watch struct {
	mu   sync.Mutex
	now  time.Time
	jump time.Duration // passes behind the next reading
}

func (w *watch) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now
	w.now, w.jump = now.Add(w.jump), 0
	return now
}

// stall lets time pass within the next look at the others.
func (w *watch) stall(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jump = d
}

func (w *watch) move(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func open(t *testing.T) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cause := db.Close(); cause != nil {
			t.Error(cause)
		}
	})
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// running is a node whose heart a test beats.
type running struct {
	*cluster.Node
	beats chan time.Time
	stop  context.CancelFunc
	ended chan error
}

func start(t *testing.T, db *sqldb.DB, w *watch) *running {
	t.Helper()
	beats := make(chan time.Time)
	n, err := cluster.Start(t.Context(), cluster.Config{DB: db, Version: "test", Addr: "here", Clock: w.time, Every: beats})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{n, beats, stop, make(chan error, 1)}
	go func() { r.ended <- n.Run(ctx) }()
	t.Cleanup(stop)
	return r
}

// beat lets a node beat; when a second beat is taken, the first one is over.
func (r *running) beat(t *testing.T) {
	t.Helper()
	for range 2 {
		select {
		case r.beats <- time.Time{}:
		case err := <-r.ended:
			r.ended <- err
			return
		case <-time.After(time.Minute):
			t.Fatal("no beat was taken for a minute")
		}
	}
}

func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the node did not end")
		return nil
	}
}

// revive undoes what Start does on SQLite, where it knows that it is alone: these tests play several nodes on one database.
func revive(t *testing.T, db *sqldb.DB) {
	t.Helper()
	err := db.Tx(t.Context(), "test.revive", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE nodes SET state = 'alive'")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func claim(t *testing.T, n *cluster.Node) (*cluster.Claim, bool) {
	t.Helper()
	c, ok, err := n.Claim(t.Context(), "sweep")
	if err != nil {
		t.Fatal(err)
	}
	return c, ok
}

func holds(t *testing.T, db *sqldb.DB, c *cluster.Claim) error {
	t.Helper()
	return db.Tx(t.Context(), "test.hold", func(tx *sqldb.Tx) error { return c.Hold(t.Context(), tx) })
}

func TestADutyIsOneNodesUntilItsHeartStandsStill(t *testing.T) {
	t.Parallel()
	db, w := open(t), &watch{now: time.Now()}
	a, b := start(t, db, w), start(t, db, w)
	revive(t, db)
	held, ok := claim(t, a.Node)
	if !ok {
		t.Fatal("a free duty was not given")
	}
	if _, ok = claim(t, b.Node); ok {
		t.Fatal("two nodes hold one duty")
	}
	// As long as a's heart beats, time alone takes nothing from it.
	for range 20 {
		w.move(10 * time.Second)
		a.beat(t)
		b.beat(t)
	}
	if _, ok = claim(t, b.Node); ok {
		t.Fatal("the duty of a living node was taken")
	}
	for range 8 { // twice as long as needed: a's last beat may have been seen late
		w.move(10 * time.Second)
		b.beat(t)
	}
	taken, ok := claim(t, b.Node)
	if !ok {
		t.Fatal("a dead node keeps its duty")
	}
	if err := holds(t, db, held); !fail.Is(err, fail.Conflict) {
		t.Errorf("the former holder still writes: %v", err)
	}
	if err := holds(t, db, taken); err != nil {
		t.Error(err)
	}
	a.beat(t)
	if err := a.end(t); !fail.Is(err, fail.Conflict) || fail.HintOf(err) == "" {
		t.Errorf("the dead node ended with %v", err)
	}
}

func TestANodeThatLeavesGivesItsDutiesBack(t *testing.T) {
	t.Parallel()
	db, w := open(t), &watch{now: time.Now()}
	a, b := start(t, db, w), start(t, db, w)
	revive(t, db)
	if _, ok := claim(t, a.Node); !ok {
		t.Fatal("a free duty was not given")
	}
	a.stop()
	if err := a.end(t); err != nil {
		t.Fatal(err)
	}
	if _, ok := claim(t, b.Node); !ok {
		t.Error("the duty of a node that left is not free")
	}
}

func TestAClaimIsAnsweredAgainToItsHolder(t *testing.T) {
	t.Parallel()
	db := open(t)
	a := start(t, db, &watch{now: time.Now()})
	for range 2 {
		c, ok := claim(t, a.Node)
		if !ok {
			t.Fatal("the holder was refused")
		}
		if err := holds(t, db, c); err != nil {
			t.Error(err)
		}
	}
}

func TestManyNodesOneWinner(t *testing.T) {
	t.Parallel()
	db, w := open(t), &watch{now: time.Now()}
	var nodes []*running
	for range 8 {
		nodes = append(nodes, start(t, db, w))
	}
	revive(t, db)
	var mu sync.Mutex
	won := 0
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(func() {
			_, ok, err := n.Claim(t.Context(), "sweep")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if ok {
				won++
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("%d nodes hold the duty", won)
	}
}

func TestOldIncarnationsAreForgottenUnlessTheyHoldSomething(t *testing.T) {
	t.Parallel()
	db, w := open(t), &watch{now: time.Now()}
	a := start(t, db, w)
	if _, ok := claim(t, a.Node); !ok {
		t.Fatal("a free duty was not given")
	}
	start(t, db, w) // a is dead from here: SQLite has one node
	last := start(t, db, w)
	n, err := last.Forget(t.Context(), time.Now().Add(time.Hour), 10)
	if err != nil || n != 1 {
		t.Errorf("%d forgotten, %v, want the one that holds nothing", n, err)
	}
}

func TestNobodyIsDeclaredDeadForATimeInWhichNobodyCouldBeSeen(t *testing.T) {
	t.Parallel()
	db, w := open(t), &watch{now: time.Now()}
	a, b := start(t, db, w), start(t, db, w)
	revive(t, db)
	a.beat(t)
	b.beat(t)
	a.beat(t) // and sees b's last beat
	// The database is away for ten minutes: nobody beats, nobody looks. Then a is the first to come back.
	w.move(10 * time.Minute)
	a.beat(t)
	w.move(cluster.Beat)
	a.beat(t)
	w.move(cluster.Beat)
	b.beat(t)
	for range 10 {
		w.move(cluster.Beat)
		a.beat(t)
		b.beat(t)
	}
	for what, n := range map[string]*running{"the first to come back": a, "the second": b} {
		select {
		case err := <-n.ended:
			t.Errorf("%s ended: %v", what, err)
		default:
		}
	}
	if _, ok := claim(t, b.Node); !ok {
		t.Error("the second is not alive")
	}
}

func TestNobodyIsDeclaredDeadForALookThatWaited(t *testing.T) {
	t.Parallel()
	db, w := open(t), &watch{now: time.Now()}
	a, b := start(t, db, w), start(t, db, w)
	revive(t, db)
	a.beat(t)
	b.beat(t)
	a.beat(t)
	// The database answers after ten minutes, within a look. Nobody could beat meanwhile.
	w.stall(10 * time.Minute)
	a.beat(t)
	a.beat(t)
	b.beat(t)
	select {
	case err := <-b.ended:
		t.Errorf("the one that was not seen ended: %v", err)
	default:
	}
}

func TestADeadNodeTakesNoDuty(t *testing.T) {
	t.Parallel()
	db, w := open(t), &watch{now: time.Now()}
	a := start(t, db, w)
	start(t, db, w) // a is dead from here: SQLite has one node
	if _, ok, err := a.Claim(t.Context(), "sweep"); ok || !fail.Is(err, fail.Conflict) {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestANoteOutlivesItsWriter(t *testing.T) {
	t.Parallel()
	db, w := open(t), &watch{now: time.Now()}
	a := start(t, db, w)
	held, ok := claim(t, a.Node)
	if !ok || held.Note() != "" {
		t.Fatalf("a new duty: %v, %q", ok, held.Note())
	}
	const note = "at objects/ab, the third time"
	if err := held.SetNote(t.Context(), note); err != nil {
		t.Fatal(err)
	}
	if err := holds(t, db, held); err != nil { // which changes the same column
		t.Fatal(err)
	}
	if again, _ := claim(t, a.Node); again.Note() != note {
		t.Errorf("its writer reads %q", again.Note())
	}
	if err := held.SetNote(t.Context(), strings.Repeat("x", 300)); !fail.Is(err, fail.TooLarge) || held.Note() != note {
		t.Errorf("a long note: %v", err)
	}
	next, ok := claim(t, start(t, db, w).Node)
	if !ok || next.Note() != note {
		t.Errorf("the next holder: %v, reads %q", ok, next.Note())
	}
	if err := held.SetNote(t.Context(), "late"); !fail.Is(err, fail.Conflict) {
		t.Errorf("the former holder still writes: %v", err)
	}
}

func TestLongDescriptionsOfANodeAreCut(t *testing.T) {
	t.Parallel()
	n, err := cluster.Start(t.Context(), cluster.Config{DB: open(t), Version: strings.Repeat("ü", 100), Addr: strings.Repeat("x", 1000)})
	if err != nil || n.ID() <= 0 {
		t.Error(err)
	}
}
