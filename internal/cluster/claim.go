package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Claim is a duty that this incarnation holds. It is not safe for concurrent use.
type Claim struct {
	node  *Node
	duty  string
	epoch int64
	note  string
}

// maxNote is the longest note in bytes: the column also holds what Hold changes.
const maxNote = 200

// Claim takes a duty that nobody holds, or whose holder is dead or has left; one that this incarnation holds already is answered again. False if another holds it. Conflict, if
// this incarnation itself was declared dead.
func (n *Node) Claim(ctx context.Context, duty string) (*Claim, bool, error) {
	var c *Claim
	err := n.DB.Tx(ctx, "claim.take", func(tx *sqldb.Tx) error {
		c = nil
		if _, err := tx.InsertIgnore(ctx, "claims", []string{"name", "owner", "epoch", "note"}, duty, 0, 0, ""); err != nil {
			return err
		}
		var owner, epoch int64
		var note string
		if err := tx.Row(ctx, "SELECT owner, epoch, note FROM claims WHERE name = ?", duty).Scan(&owner, &epoch, &note); err != nil {
			return err
		}
		_, note, _ = strings.Cut(note, " ")
		if owner == n.id {
			c = &Claim{n, duty, epoch, note}
			return nil
		}
		if free, err := isFree(ctx, tx, owner); err != nil || !free {
			return err
		}
		dead, err := isFree(ctx, tx, n.id)
		if err != nil {
			return err
		}
		if dead {
			return n.deadError()
		}
		hit, err := tx.Exec(ctx, "UPDATE claims SET owner = ?, epoch = epoch + 1 WHERE name = ? AND owner = ? AND epoch = ?", n.id, duty, owner, epoch)
		if err == nil && hit > 0 {
			c = &Claim{n, duty, epoch + 1, note}
		}
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("claim %s: %w", duty, err)
	}
	return c, c != nil, nil
}

// isFree reports whether what this incarnation owned is anybody's. One that is no longer alive never is again.
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
func (c *Claim) Hold(ctx context.Context, tx *sqldb.Tx) error { return c.write(ctx, tx, c.note) }

// Note answers what the last holder of the duty wrote down, "" at first: where it stands, for whoever goes on.
func (c *Claim) Note() string { return c.note }

// SetNote writes down where the duty stands, at most some 200 bytes. Conflict if the duty is no longer this incarnation's.
func (c *Claim) SetNote(ctx context.Context, note string) error {
	if len(note) > maxNote {
		return fail.E(fail.TooLarge, nil, "note of %d bytes on duty %s", len(note), c.duty)
	}
	// Relaxed: where a power cut takes the note, the duty goes on a little before where it stood.
	err := c.node.DB.TxRelaxed(ctx, "claim.note", func(tx *sqldb.Tx) error { return c.write(ctx, tx, note) })
	if err != nil {
		return fmt.Errorf("note on duty %s: %w", c.duty, err)
	}
	c.note = note
	return nil
}

// write changes the claim's row. A random word in front of the note, because an update that changes nothing is not certified on Galera.
func (c *Claim) write(ctx context.Context, tx *sqldb.Tx, note string) error {
	text := strconv.FormatInt(sqldb.NewID(), 36) + " " + note
	hit, err := tx.Exec(ctx, "UPDATE claims SET note = ? WHERE name = ? AND owner = ? AND epoch = ?", text, c.duty, c.node.id, c.epoch)
	if err == nil && hit == 0 {
		return fail.E(fail.Conflict, nil, "duty %s is another node's by now", c.duty).Code("claim")
	}
	return err
}
