package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// Beat is how often a node says that it is alive.
	Beat = 5 * time.Second
	// Stillness is how long a beat stays unchanged, by the watcher's own clock, before its node counts as dead: several beats may be lost to a slow database.
	Stillness = 30 * time.Second
	// blindness is how long a node may be without a look at the others before it begins to watch anew. While the database was away nobody's heart could be seen, and the
	// first to see it again must not declare all others dead.
	blindness = 3 * Beat
	// maxVersion and maxAddr are the lengths of columns.
	maxVersion = 64
	maxAddr    = 255
	// maxNodes bounds the nodes that are watched.
	maxNodes = 1000
	// leaveTime bounds the farewell.
	leaveTime = 5 * time.Second
)

// Config says what a node writes about itself, and where.
type Config struct {
	DB      *sqldb.DB
	Version string
	Addr    string           // where other nodes and people reach it
	Clock   func() time.Time // nil: the system's; its differences must be those of a monotonic clock
	// Sight, where set, answers what this node sees of the stores, for people who ask any node. It is stored behind a beat when it has changed. It must keep to its context: the next
	// beat waits for it.
	Sight func(context.Context) string
	Log   *slog.Logger // nil: discarded
	// Every, where set, is the channel that Run beats at instead of every Beat. For tests.
	Every <-chan time.Time
}

// Node is one incarnation of this node. It is safe for concurrent use.
type Node struct {
	Config
	id     int64
	seen   map[int64]sighting // of Run alone
	looked time.Time          // when seen was complete last; of Run alone
	told   string             // the sight that is stored; of Run alone
}

// sighting is when another node's beat was seen to change last.
type sighting struct {
	beat  int64
	since time.Time
}

// Start writes a new incarnation into the database. Where this process is the only one that writes (SQLite), all earlier ones are dead.
func Start(ctx context.Context, c Config) (*Node, error) {
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the clock of the package where no other is given
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{Config: c, id: sqldb.NewID(), seen: map[int64]sighting{}}
	err := c.DB.Tx(ctx, "node.start", func(tx *sqldb.Tx) error {
		if c.DB.Sole() {
			if _, err := tx.Exec(ctx, "UPDATE nodes SET state = 'dead' WHERE state = 'alive' AND id <> ?", n.id); err != nil {
				return err
			}
		}
		now := sqldb.Micros(tx.Now())
		_, err := tx.InsertIgnore(ctx, "nodes", []string{"id", "started_at", "beat", "beat_at", "state", "version", "addr"}, n.id, now, 1, now, "alive", cut(c.Version, maxVersion), cut(c.Addr, maxAddr))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start incarnation: %w", err)
	}
	return n, nil
}

// cut answers at most n bytes of a text, and no broken letter.
func cut(text string, n int) string { return strings.ToValidUTF8(text[:min(n, len(text))], "") }

// ID is the incarnation's number.
func (n *Node) ID() int64 { return n.id }

// Run beats, and watches the others, until the context ends; then it leaves. It ends with an error when another node has declared this one dead: what it claimed may be another's by
// then, so the process must end.
func (n *Node) Run(ctx context.Context) error {
	every := n.Every
	if every == nil {
		tick := time.NewTicker(Beat)
		defer tick.Stop()
		every = tick.C
	}
	n.tell(ctx)
	for {
		select {
		case <-ctx.Done():
			return n.leave(ctx)
		case <-every:
		}
		if err := n.beat(ctx); err != nil {
			if fail.Is(err, fail.Conflict) {
				return err
			}
			n.Log.WarnContext(ctx, "heartbeat not written", "error", err)
			continue // what this node sees could not be written either
		}
		if err := n.watch(ctx); err != nil {
			n.Log.WarnContext(ctx, "other nodes not seen", "error", err)
		}
		n.tell(ctx)
	}
}

func (n *Node) beat(ctx context.Context) error {
	var hit int64
	err := n.DB.TxRelaxed(ctx, "node.beat", func(tx *sqldb.Tx) (err error) {
		hit, err = tx.Exec(ctx, "UPDATE nodes SET beat = beat + 1, beat_at = ? WHERE id = ? AND state = 'alive'", sqldb.Micros(tx.Now()), n.id)
		return err
	})
	if err == nil && hit == 0 {
		return n.deadError()
	}
	return err
}

func (n *Node) deadError() error {
	return fail.E(fail.Conflict, nil, "another node declared incarnation %d dead: its heart stood still for %s", n.id, Stillness).
		Hint("the database was out of reach, or the process was stopped; start it again")
}

// watch declares those dead whose beats stood still all the time that this node was looking. A look takes time itself, and a slow database makes it long: what counts is from the
// end of the look that saw a beat first to the begin of the last one.
func (n *Node) watch(ctx context.Context) error {
	begin := n.Clock()
	beats, err := n.others(ctx)
	if err != nil {
		return err
	}
	end := n.Clock()
	if begin.Sub(n.looked) > blindness {
		clear(n.seen)
	}
	n.looked = begin // not end: nobody was seen while a look waited for the database
	maps.DeleteFunc(n.seen, func(id int64, _ sighting) bool { _, present := beats[id]; return !present })
	for id, beat := range beats {
		s, ok := n.seen[id]
		if !ok || s.beat != beat {
			n.seen[id] = sighting{beat, end}
		} else if begin.Sub(s.since) > Stillness {
			if err = n.bury(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// Earliest answers the earliest of what the clocks of all living nodes say: this one's now, the others' at their last beat.
func (n *Node) Earliest(ctx context.Context) (time.Time, error) {
	now := n.Clock()
	var others *int64
	if err := n.DB.Row(ctx, "SELECT MIN(beat_at) FROM nodes WHERE state = 'alive' AND id <> ?", n.id).Scan(&others); err != nil {
		return time.Time{}, err
	}
	if others != nil && *others < sqldb.Micros(now) {
		now = time.UnixMicro(*others)
	}
	return now, nil
}

// others answers the beats of the other nodes that are alive.
func (n *Node) others(ctx context.Context) (map[int64]int64, error) {
	beats := map[int64]int64{}
	for row, err := range n.DB.Rows(ctx, "SELECT id, beat FROM nodes WHERE state = 'alive' AND id <> ? ORDER BY id LIMIT ?", n.id, maxNodes) {
		if err != nil {
			return nil, err
		}
		var id, beat int64
		if err = row.Scan(&id, &beat); err != nil {
			return nil, err
		}
		beats[id] = beat
	}
	return beats, nil
}

func (n *Node) bury(ctx context.Context, id int64) error {
	var hit int64
	beat := n.seen[id].beat
	err := n.DB.Tx(ctx, "node.bury", func(tx *sqldb.Tx) (err error) {
		hit, err = tx.Exec(ctx, "UPDATE nodes SET state = 'dead' WHERE id = ? AND beat = ? AND state = 'alive'", id, beat)
		return err
	})
	if err == nil && hit > 0 {
		n.Log.WarnContext(ctx, "declared a node dead", "incarnation", id, "unchanged_for", Stillness)
	}
	return err
}

// leave says that this incarnation has ended by itself, so that others need not wait for its heart, and gives its claims back.
func (n *Node) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	err := n.DB.Tx(ctx, "node.leave", func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE claims SET owner = 0, epoch = epoch + 1 WHERE owner = ?", n.id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE nodes SET state = 'left' WHERE id = ? AND state = 'alive'", n.id)
		return err
	})
	if err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}

// Forget deletes up to limit incarnations that ended before a time and hold nothing.
func (n *Node) Forget(ctx context.Context, before time.Time, limit int) (int64, error) {
	var sum int64
	err := n.DB.TxRelaxed(ctx, "nodes.forget", func(tx *sqldb.Tx) error {
		sum = 0
		var ids []int64
		for row, err := range tx.Rows(ctx, "SELECT id FROM nodes WHERE state <> 'alive' AND beat_at < ? AND id NOT IN (SELECT owner FROM claims) ORDER BY id LIMIT ?", sqldb.Micros(before), limit) {
			if err != nil {
				return err
			}
			var id int64
			if err = row.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		for _, id := range ids {
			hit, err := remove(ctx, tx, id)
			if err != nil {
				return err
			}
			sum += hit
		}
		return nil
	})
	return sum, err
}

// remove deletes an incarnation that has ended, with what it saw.
func remove(ctx context.Context, tx *sqldb.Tx, id int64) (int64, error) {
	if _, err := tx.Exec(ctx, "DELETE FROM sights WHERE node = ?", id); err != nil {
		return 0, err
	}
	return tx.Exec(ctx, "DELETE FROM nodes WHERE id = ? AND state <> 'alive'", id)
}

// Remove deletes one incarnation that has ended: NotFound if there is none of that number, Conflict if it is alive or still holds a duty that others have not taken over.
func Remove(ctx context.Context, db *sqldb.DB, id int64) error {
	return db.Tx(ctx, "node.remove", func(tx *sqldb.Tx) error {
		var state string
		var duties int64
		err := tx.Row(ctx, "SELECT state, (SELECT COUNT(*) FROM claims WHERE owner = nodes.id) FROM nodes WHERE id = ?", id).Scan(&state, &duties)
		switch {
		case fail.Is(err, fail.NotFound):
			return fail.E(fail.NotFound, nil, "no node has the incarnation %d", id).Hint("`havn node list` says which there are")
		case err != nil:
			return err
		case state == "alive":
			return fail.E(fail.Conflict, nil, "incarnation %d is alive", id).Hint("stop it; the others declare one that was killed dead within a minute")
		case duties > 0:
			return fail.E(fail.Conflict, nil, "incarnation %d holds %d duties that no other node has taken over yet", id, duties).Hint("try again once another node serves")
		}
		_, err = remove(ctx, tx, id)
		return err
	})
}
