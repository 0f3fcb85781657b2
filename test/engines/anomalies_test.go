package engines

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/sqldb"
)

// rounds of each case: design-breaking variants were seen to break in nearly every one.
const rounds = 60

// side is one of two transactions that meet: it answers whether it did what it wanted, or found that it may not.
type side func(ctx context.Context, tx *sqldb.Tx, id int64) (did bool, err error)

// anomaly is a pair of transactions on two nodes of which exactly one may do what it wants.
type anomaly struct {
	name  string
	setup func(ctx context.Context, tx *sqldb.Tx, id int64) error
	a, b  side
}

// anomalies runs the rules of concurrency that the registry rests on, at the moment at which both transactions have run and
// neither is committed.
func anomalies(t *testing.T, g *lab.Galera) {
	one, two := open(t, g.Hosts(0)), open(t, g.Hosts(1))
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			met := 0
			for range rounds {
				id := sqldb.NewID()
				set(t, one, c, id)
				m := &meeting{}
				m.arrived.Add(2)
				var wg sync.WaitGroup
				var didA, didB bool
				var runsA, runsB int
				wg.Go(func() { didA, runsA = m.run(t, one, c.a, id) })
				wg.Go(func() { didB, runsB = m.run(t, two, c.b, id) })
				wg.Wait()
				if didA == didB {
					t.Fatalf("first did it: %v, second did it: %v; want one of them", didA, didB)
				}
				if runsA+runsB > 2 {
					met++
				}
			}
			if met == 0 {
				t.Error("no transaction was ever refused: they did not meet")
			}
			t.Logf("%d of %d rounds were refused once or more", met, rounds)
		})
	}
}

func set(t *testing.T, db *sqldb.DB, c anomaly, id int64) {
	t.Helper()
	if err := db.Tx(t.Context(), "test.setup", func(tx *sqldb.Tx) error { return c.setup(t.Context(), tx, id) }); err != nil {
		t.Fatal(err)
	}
}

// meeting lets two transactions wait for each other once, before they commit.
type meeting struct {
	arrived sync.WaitGroup
}

func (m *meeting) run(t *testing.T, db *sqldb.DB, s side, id int64) (did bool, runs int) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var once sync.Once
	arrive := func() { once.Do(m.arrived.Done) }
	defer arrive()
	err := db.Tx(ctx, "test.meet", func(tx *sqldb.Tx) error {
		runs++
		var err error
		if did, err = s(ctx, tx, id); err != nil {
			return err
		}
		arrive()
		m.arrived.Wait()
		return nil
	})
	switch {
	case fail.Is(err, fail.Conflict), fail.Is(err, fail.Exists):
		return false, runs
	case err != nil:
		t.Error(err)
	}
	return did, runs
}

// matched is a side that wants its one statement to match a row.
func matched(query string, args func(id int64) []any) side {
	return func(ctx context.Context, tx *sqldb.Tx, id int64) (bool, error) {
		n, err := tx.Exec(ctx, query, args(id)...)
		return n == 1, err
	}
}

func ids(n int) func(id int64) []any {
	return func(id int64) []any {
		var args []any
		for range n {
			args = append(args, id)
		}
		return args
	}
}

func text(id int64) []any { return []any{fmt.Sprint(id)} }

func all(ctx context.Context, tx *sqldb.Tx, statements ...string) error {
	for _, s := range statements {
		if _, err := tx.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func cases() []anomaly {
	return append(parents(), values()...)
}

// parents are pairs of which one refers to what the other deletes.
func parents() []anomaly {
	repository := func(ctx context.Context, tx *sqldb.Tx, id int64) error {
		return all(ctx, tx, fmt.Sprintf("INSERT INTO projects (id, name, public, created_at) VALUES (%d, 'p%d', FALSE, 1)", id, id),
			fmt.Sprintf("INSERT INTO repositories (id, project_id, name, created_at, pushed_at) VALUES (%d, %d, 'p%d/r', 1, 1)", id, id, id))
	}
	const manifest = "INSERT INTO manifests (repo, digest, media_type, artifact_type, size, body, pushed_at) VALUES (%d, '%s', 'm', '', 1, 'x', 1)"
	return []anomaly{
		{
			name: "a child is inserted, its parent is deleted",
			setup: func(ctx context.Context, tx *sqldb.Tx, id int64) error {
				return all(ctx, tx, fmt.Sprintf("INSERT INTO contents (id, created_at) VALUES (%d, 1)", id))
			},
			a: matched("INSERT INTO dead (content, not_before) VALUES (?, 1)", ids(1)),
			b: matched("DELETE FROM contents WHERE id = ?", ids(1)),
		},
		{
			name: "a tag is moved to a manifest, the manifest is deleted",
			setup: func(ctx context.Context, tx *sqldb.Tx, id int64) error {
				if err := repository(ctx, tx, id); err != nil {
					return err
				}
				return all(ctx, tx, fmt.Sprintf(manifest, id, "one"), fmt.Sprintf(manifest, id, "two"),
					fmt.Sprintf("INSERT INTO tags (repo, name, digest, moved_at) VALUES (%d, 't', 'one', 1)", id))
			},
			a: matched("UPDATE tags SET digest = 'two', moved_at = moved_at + 1 WHERE repo = ? AND name = 't'", ids(1)),
			b: matched("DELETE FROM manifests WHERE repo = ? AND digest = 'two'", ids(1)),
		},
		{
			name: "a manifest refers to a blob, the blob's link is deleted",
			setup: func(ctx context.Context, tx *sqldb.Tx, id int64) error {
				if err := repository(ctx, tx, id); err != nil {
					return err
				}
				return all(ctx, tx, fmt.Sprintf(manifest, id, "one"),
					fmt.Sprintf("INSERT INTO contents (id, created_at) VALUES (%d, 1)", id),
					fmt.Sprintf("INSERT INTO blobs (digest, content, size, created_at) VALUES ('b%d', %d, 1, 1)", id, id),
					fmt.Sprintf("INSERT INTO repo_blobs (repo, digest, linked_at) VALUES (%d, 'b%d', 1)", id, id))
			},
			a: matched("INSERT INTO manifest_blobs (repo, manifest, digest) VALUES (?, 'one', CONCAT('b', ?))", ids(2)),
			b: matched("DELETE FROM repo_blobs WHERE repo = ? AND digest = CONCAT('b', ?)", ids(2)),
		},
	}
}

// values are pairs that change one row under a condition.
func values() []anomaly {
	claim := func(ctx context.Context, tx *sqldb.Tx, id int64) error {
		return all(ctx, tx, fmt.Sprintf("INSERT INTO claims (name, owner, epoch, note) VALUES ('c%d', 7, 1, '')", id))
	}
	takeOver := matched("UPDATE claims SET owner = 8, epoch = epoch + 1 WHERE name = CONCAT('c', ?) AND owner = 7 AND epoch = 1", ids(1))
	insert := func(ctx context.Context, tx *sqldb.Tx, id int64) (bool, error) {
		return tx.InsertIgnore(ctx, "ops", []string{"op", "at"}, fmt.Sprint(id), 1)
	}
	nothing := func(context.Context, *sqldb.Tx, int64) error { return nil }
	return []anomaly{
		{name: "two take over one claim", setup: claim, a: takeOver, b: takeOver},
		{
			name: "a claim is taken over, its holder writes under it", setup: claim, a: takeOver,
			b: matched("UPDATE claims SET note = 'mine', epoch = epoch + 1 WHERE name = CONCAT('c', ?) AND owner = 7 AND epoch = 1", ids(1)),
		},
		{
			name: "a row is changed, the row as it was seen is deleted", setup: claim, a: takeOver,
			b: matched("DELETE FROM claims WHERE name = CONCAT('c', ?) AND epoch = 1", ids(1)),
		},
		{name: "two insert one absent key", setup: nothing, a: insert, b: insert},
		{
			name: "a review is raised, a reviewer deletes what it saw",
			setup: func(ctx context.Context, tx *sqldb.Tx, id int64) error {
				return all(ctx, tx, fmt.Sprintf("INSERT INTO review (kind, repo, digest, due) VALUES (1, %d, 'd', 10)", id))
			},
			a: matched("UPDATE review SET due = GREATEST(due + 1, 20) WHERE repo = ? AND digest = 'd' AND kind = 1", ids(1)),
			b: matched("DELETE FROM review WHERE repo = ? AND digest = 'd' AND kind = 1 AND due = 10", ids(1)),
		},
		{
			name: "two finish one upload", setup: upload,
			a: matched("UPDATE uploads SET done_digest = 'a', op = 'a' WHERE id = ? AND off = 5 AND done_digest IS NULL", text),
			b: matched("UPDATE uploads SET done_digest = 'b', op = 'b' WHERE id = ? AND off = 5 AND done_digest IS NULL", text),
		},
		{
			name: "an upload goes on, it expires", setup: upload,
			a: matched("UPDATE uploads SET off = 9, active_at = 2 WHERE id = ? AND off = 5 AND done_digest IS NULL", text),
			b: matched("DELETE FROM uploads WHERE id = ? AND off = 5 AND active_at = 1", text),
		},
	}
}

func upload(ctx context.Context, tx *sqldb.Tx, id int64) error {
	return all(ctx, tx, fmt.Sprintf("INSERT INTO projects (id, name, public, created_at) VALUES (%d, 'u%d', FALSE, 1)", id, id),
		fmt.Sprintf("INSERT INTO repositories (id, project_id, name, created_at, pushed_at) VALUES (%d, %d, 'u%d/r', 1, 1)", id, id, id),
		fmt.Sprintf("INSERT INTO contents (id, created_at) VALUES (%d, 1)", id),
		fmt.Sprintf("INSERT INTO uploads (id, repo, subject, algorithm, content, off, seq, active_at) VALUES ('%d', %d, '', 1, %d, 5, 1, 1)", id, id, id))
}
