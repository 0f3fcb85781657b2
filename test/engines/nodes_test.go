package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
	"github.com/havn-registry/havn/internal/sweep"
)

// What several nodes do with one database: SQLite has one node, and can't show it.
func runNodes(t *testing.T, open func(*testing.T) sqldbtest.Opener) {
	t.Helper()
	t.Run("first starts at once", func(t *testing.T) { firstStarts(t, open(t)) })
	t.Run("one duty, many nodes", func(t *testing.T) { oneDuty(t, open(t)) })
	t.Run("two sweeps at once", func(t *testing.T) { twoSweeps(t, open(t)) })
	t.Run("an upgrade under an older node", func(t *testing.T) { upgrade(t, open(t)) })
}

func firstStarts(t *testing.T, open sqldbtest.Opener) {
	var mu sync.Mutex
	var announced, made []string
	nodes := make([]*access.Access, 5)
	var all sync.WaitGroup
	for i := range nodes {
		db := sqldbtest.Open(t, open())
		all.Go(func() {
			sealer, err := seal.Open(t.Context(), db, "the secret of all nodes")
			if err != nil {
				t.Error(err)
				return
			}
			a, first, err := access.New(t.Context(), access.Config{
				Seal: sealer, DB: db, Cost: access.Cost{Passes: 1, MemoryKiB: 64}, AdminPatience: time.Minute,
				Announce: func(password string) error {
					mu.Lock()
					defer mu.Unlock()
					announced = append(announced, password)
					return nil
				},
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if nodes[i] = a; first.Password != "" {
				made = append(made, first.Password)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	if len(announced) != 1 || len(made) != 1 || announced[0] != made[0] {
		t.Fatalf("%d passwords announced, %d made", len(announced), len(made))
	}
	for i, from := range nodes {
		who, err := from.Authenticate(t.Context(), "admin", made[0], "192.0.2.1")
		need(t, err)
		if _, err = from.Authenticate(t.Context(), "admin ", made[0], "192.0.2.1"); !fail.Is(err, fail.Unauthenticated) {
			t.Errorf("another name was taken for admin's: %v", err)
		}
		token, err := from.Issue(t.Context(), who, access.DefaultService, nil)
		need(t, err)
		for j, to := range nodes {
			if _, err = to.Verify(t.Context(), token.Raw); err != nil {
				t.Errorf("a token of node %d at node %d: %v", i, j, err)
			}
		}
	}
	admin, err := nodes[0].UserByName(t.Context(), "admin")
	need(t, err)
	_, err = nodes[0].SetDisabled(t.Context(), admin.ID, true)
	need(t, err)
	refused := fmt.Sprint("not ", made[0])
	if _, err = nodes[1].Authenticate(t.Context(), "admin", refused, "192.0.2.1"); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("a wrong password of a disabled user: %v", err)
	}
}

// hand is a clock that a test moves.
type hand struct{ offset atomic.Int64 }

func (h *hand) now() time.Time { return time.Now().Add(time.Duration(h.offset.Load())) }

func oneDuty(t *testing.T, open sqldbtest.Opener) {
	h := &hand{}
	type member struct {
		*cluster.Node
		db    *sqldb.DB
		beats chan time.Time
		ended chan error
	}
	var members []*member
	for range 5 {
		m := &member{db: sqldbtest.Open(t, open()), beats: make(chan time.Time), ended: make(chan error, 1)}
		var err error
		m.Node, err = cluster.Start(t.Context(), cluster.Config{DB: m.db, Version: "test", Clock: h.now, Every: m.beats})
		need(t, err)
		ctx, stop := context.WithCancel(t.Context())
		go func() { m.ended <- m.Run(ctx) }()
		t.Cleanup(stop)
		members = append(members, m)
	}
	beat := func(m *member) { // when the second one is taken, the first one is over
		for range 2 {
			select {
			case m.beats <- time.Time{}:
			case err := <-m.ended:
				m.ended <- err
				return
			case <-time.After(time.Minute):
				t.Fatal("no beat was taken for a minute")
			}
		}
	}
	race := func(of []*member) (winner *member, held *cluster.Claim) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, m := range of {
			all.Go(func() {
				c, ok, err := m.Claim(t.Context(), "sweep")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if ok && winner != nil {
					t.Error("two nodes hold one duty")
				}
				if ok {
					winner, held = m, c
				}
			})
		}
		all.Wait()
		if winner == nil {
			t.Fatal("nobody holds the duty")
		}
		return winner, held
	}
	holder, held := race(members)
	need(t, held.SetNote(t.Context(), "here"))
	var others []*member
	for _, m := range members {
		if m != holder {
			others = append(others, m)
		}
	}
	for range 10 { // the holder's heart stands still
		h.offset.Add(int64(cluster.Beat))
		for _, m := range others {
			beat(m)
		}
	}
	next, taken := race(others)
	if taken.Note() != "here" {
		t.Errorf("the next holder reads %q", taken.Note())
	}
	err := holder.db.Tx(t.Context(), "test.hold", func(tx *sqldb.Tx) error { return held.Hold(t.Context(), tx) })
	if !fail.Is(err, fail.Conflict) {
		t.Errorf("the former holder still writes: %v", err)
	}
	need(t, next.db.Tx(t.Context(), "test.hold", func(tx *sqldb.Tx) error { return taken.Hold(t.Context(), tx) }))
	beat(holder)
	select {
	case err = <-holder.ended:
		if !fail.Is(err, fail.Conflict) {
			t.Errorf("the dead node ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the dead node did not end")
	}
}

// twoSweeps lets two nodes sweep at once, each believing that the duty is its own: one was declared dead and does not know it. What they do is safe to do twice.
func twoSweeps(t *testing.T, open sqldbtest.Opener) {
	h := &hand{}
	driver := memory.New(h.now)
	type site struct {
		reg   *registry.Registry
		node  *cluster.Node
		sweep *sweep.Sweeper
	}
	var db *sqldb.DB
	var store *blob.Store
	var sites []site
	for range 2 {
		var s site
		var err error
		db = sqldbtest.Open(t, open())
		store = blob.NewStore(driver, blob.StoreConfig{Clock: h.now})
		s.node, err = cluster.Start(t.Context(), cluster.Config{DB: db, Clock: h.now})
		need(t, err)
		s.reg, err = registry.New(t.Context(), registry.Config{DB: db, Blobs: store, Clock: h.now, NodeID: s.node.ID()})
		need(t, err)
		s.sweep = sweep.New(sweep.Config{Registry: s.reg, Node: s.node, Clock: h.now, UploadTime: time.Hour, ListAtOnce: 7})
		sites = append(sites, s)
	}
	app, err := oci.ParseName("library/app")
	need(t, err)
	other, err := oci.ParseName("library/other")
	need(t, err)
	for i := range 20 {
		data := fmt.Appendf(nil, "bytes %d", i)
		for _, repo := range []oci.Name{app, other} {
			_, err = sites[i%2].reg.PushBlob(t.Context(), repo, registry.PushBlob{Digest: oci.Sum(oci.SHA256, data), Size: int64(len(data)), Body: bytes.NewReader(data)})
			need(t, err)
		}
		up, startErr := sites[i%2].reg.StartUpload(t.Context(), app, registry.StartUpload{})
		need(t, startErr)
		cut := io.MultiReader(bytes.NewReader(data), iotest.ErrReader(errors.New("cut")))
		if _, err = sites[i%2].reg.Append(t.Context(), app, up.ID, registry.Append{Size: 99, Body: cut}); err == nil {
			t.Fatal("a broken body was taken for whole")
		}
	}
	later := func() {
		h.offset.Add(int64(48 * time.Hour))
		// Both still live: nothing is old by the clock of one alone.
		need(t, db.Tx(t.Context(), "test.beat", func(tx *sqldb.Tx) error {
			_, cause := tx.Exec(t.Context(), "UPDATE nodes SET beat_at = ?", sqldb.Micros(h.now()))
			return cause
		}))
	}
	for round := range 6 {
		later()
		var all sync.WaitGroup
		for _, s := range sites {
			all.Go(func() {
				if sweepErr := s.sweep.Once(t.Context()); sweepErr != nil && fail.CodeOf(sweepErr) != "claim" {
					t.Errorf("round %d: %v", round, sweepErr)
				}
			})
		}
		// Meanwhile the duty is torn out of its holder's hands again and again.
		all.Go(func() {
			for range 5 {
				tearErr := db.Tx(t.Context(), "test.tear", func(tx *sqldb.Tx) error {
					_, cause := tx.Exec(t.Context(), "UPDATE claims SET owner = 0, epoch = epoch + 1 WHERE name = 'sweep'")
					return cause
				})
				if tearErr != nil {
					t.Error(tearErr)
				}
			}
		})
		all.Wait()
		registrytest.CheckInvariants(t, db, store)
	}
	for range 4 {
		later()
		for _, s := range sites {
			need(t, s.sweep.Once(t.Context()))
		}
	}
	objects := 0
	for info, listErr := range store.List(t.Context(), "") {
		need(t, listErr)
		if blob.IsOwnName(info.Name) {
			objects++
		}
	}
	var dead int
	need(t, db.Row(t.Context(), "SELECT COUNT(*) FROM dead").Scan(&dead))
	if objects != 20 || dead != 0 {
		t.Errorf("%d objects, %d dead, want 20 and 0", objects, dead)
	}
}
