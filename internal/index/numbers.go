package index

import (
	"context"

	"github.com/havn-registry/havn/internal/sqldb"
)

// Kinds of numbers. Each counts from 1.
const (
	NumberProject = "project"
	NumberUser    = "user"
	NumberGroup   = "group"
	NumberMember  = "member"
	NumberRobot   = "robot"
	NumberToken   = "token"
	NumberRevoked = "revocation"
	NumberLabel   = "label"
)

// NextNumber answers the next small number of a kind, for rows that people and programs of Harbor's see: some of these read 32 bits. Transactions that draw of one kind wait for each
// other or are run again, so it is for rows that administrators make, not for those of a push.
func NextNumber(ctx context.Context, tx *sqldb.Tx, kind string) (int64, error) {
	const draw = "UPDATE numbers SET last = last + 1 WHERE kind = ?"
	n, err := tx.Exec(ctx, draw, kind)
	if err == nil && n == 0 {
		if _, err = tx.InsertIgnore(ctx, "numbers", []string{"kind", "last"}, kind, 0); err == nil {
			_, err = tx.Exec(ctx, draw, kind)
		}
	}
	if err != nil {
		return 0, err
	}
	var last int64
	return last, tx.Row(ctx, "SELECT last FROM numbers WHERE kind = ?", kind).Scan(&last)
}
