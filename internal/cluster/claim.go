package cluster

import (
	"context"
	"fmt"
	"strconv"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Claim is a duty that this incarnation holds.
type Claim struct {
	node  *Node
	duty  string
	epoch int64
}

// Claim takes a duty that nobody holds, or whose holder is dead or has left; one that this incarnation holds already is answered again. False if another holds it.
func (n *Node) Claim(ctx context.Context, duty string) (*Claim, bool, error) {
	var c *Claim
	err := n.DB.Tx(ctx, "claim.take", func(tx *sqldb.Tx) error {
		c = nil
		if _, err := tx.InsertIgnore(ctx, "claims", []string{"name", "owner", "epoch", "note"}, duty, 0, 0, ""); err != nil {
			return err
		}
		var owner, epoch int64
		if err := tx.Row(ctx, "SELECT owner, epoch FROM claims WHERE name = ?", duty).Scan(&owner, &epoch); err != nil {
			return err
		}
		if owner == n.id {
			c = &Claim{n, duty, epoch}
			return nil
		}
		if free, err := isFree(ctx, tx, owner); err != nil || !free {
			return err
		}
		hit, err := tx.Exec(ctx, "UPDATE claims SET owner = ?, epoch = epoch + 1 WHERE name = ? AND owner = ? AND epoch = ?", n.id, duty, owner, epoch)
		if err == nil && hit > 0 {
			c = &Claim{n, duty, epoch + 1}
		}
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("claim %s: %w", duty, err)
	}
	return c, c != nil, nil
}

func isFree(ctx context.Context, tx *sqldb.Tx, owner int64) (bool, error) {
	if owner == 0 {
		return true, nil
	}
	var state string
	err := tx.Row(ctx, "SELECT state FROM nodes WHERE id = ?", owner).Scan(&state)
	if fail.Is(err, fail.NotFound) {
		return true, nil
	}
	return state != "alive", err
}

// Hold makes a write transaction fail, with Conflict, if the duty is no longer this incarnation's; otherwise it changes the claim's row, so that whoever takes the duty meanwhile
// collides with the transaction.
func (c *Claim) Hold(ctx context.Context, tx *sqldb.Tx) error {
	// A random note, because an update that changes nothing is not certified on Galera.
	hit, err := tx.Exec(ctx, "UPDATE claims SET note = ? WHERE name = ? AND owner = ? AND epoch = ?", strconv.FormatInt(sqldb.NewID(), 36), c.duty, c.node.id, c.epoch)
	if err == nil && hit == 0 {
		return fail.E(fail.Conflict, nil, "duty %s is another node's by now", c.duty).Code("claim")
	}
	return err
}
