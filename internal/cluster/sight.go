package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// MaxSight is the longest sight in bytes.
	MaxSight = 32 << 10
	// tellTime bounds what comes between two beats: with it they are still far closer together than Stillness.
	tellTime = 2 * Beat
)

// tell stores what this node sees, if that has changed. Nothing depends on it, so that a failure is only logged.
func (n *Node) tell(ctx context.Context) {
	if n.Sight == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	text := n.Sight(ctx)
	if text == n.told || ctx.Err() != nil {
		return
	}
	if len(text) > MaxSight {
		n.Log.WarnContext(ctx, "what this node sees of the stores is too long to be told", "bytes", len(text), "most", MaxSight)
		return
	}
	err := n.DB.TxRelaxed(ctx, "node.sight", func(tx *sqldb.Tx) error {
		if _, err := tx.InsertIgnore(ctx, "sights", []string{"node", "seen"}, n.id, ""); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE sights SET seen = ? WHERE node = ?", text, n.id)
		return err
	})
	if err != nil {
		n.Log.WarnContext(ctx, "what this node sees of the stores is not written", "error", err)
		return
	}
	n.told = text
}

// Member is an incarnation of a node, as it stands in the database.
type Member struct {
	ID      int64
	Addr    string
	Version string
	State   string // alive, dead or left. One that was killed is alive until another has seen its heart stand still.
	Started time.Time
	BeatAt  time.Time // of its last beat, by its own clock
	Sight   string    // what it saw of the stores last, "" if it said nothing
}

// members has those that are alive first: a node that is started again and again must not push one that serves off the list.
const members = `SELECT n.id, n.addr, n.version, n.state, n.started_at, n.beat_at, COALESCE(s.seen, '') FROM nodes n LEFT JOIN sights s ON s.node = n.id
	ORDER BY CASE WHEN n.state = 'alive' THEN 0 ELSE 1 END, n.started_at DESC, n.id LIMIT ?`

// Members answers the incarnations that are not forgotten, those that are alive first and then the youngest, at most so many.
func Members(ctx context.Context, q sqldb.Querier, limit int) ([]Member, error) {
	var all []Member
	for row, err := range q.Rows(ctx, members, limit) {
		if err != nil {
			return nil, fmt.Errorf("read the nodes: %w", err)
		}
		var m Member
		var started, beat int64
		if err = row.Scan(&m.ID, &m.Addr, &m.Version, &m.State, &started, &beat, &m.Sight); err != nil {
			return nil, fmt.Errorf("read the nodes: %w", err)
		}
		m.Started, m.BeatAt = sqldb.FromMicros(started), sqldb.FromMicros(beat)
		all = append(all, m)
	}
	return all, nil
}
