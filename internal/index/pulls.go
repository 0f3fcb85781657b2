package index

import (
	"context"
	"strings"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Pull says how often a manifest was pulled, under a tag or under none.
type Pull struct {
	ID     int64
	Repo   int64
	Digest oci.Digest
	Tag    string // "": by digest
	At     int64  // the last one
	N      int64
}

// InsertPulls appends counts of a node, all in one statement.
func InsertPulls(ctx context.Context, tx *sqldb.Tx, node int64, list []Pull) error {
	args := make([]any, 0, 7*len(list))
	for _, p := range list {
		args = append(args, p.ID, p.Repo, p.Digest.Bytes(), p.Tag, node, p.At, p.N)
	}
	_, err := tx.Exec(ctx, "INSERT INTO pulls (id, repo, digest, tag, node, at, n) VALUES (?, ?, ?, ?, ?, ?, ?)"+strings.Repeat(", (?, ?, ?, ?, ?, ?, ?)", len(list)-1), args...)
	return err
}

// Pulls lists up to limit appended counts, in any order that is the same until they are deleted.
func Pulls(ctx context.Context, q sqldb.Querier, limit int) ([]Pull, error) {
	var all []Pull
	for row, err := range q.Rows(ctx, "SELECT id, repo, digest, tag, at, n FROM pulls ORDER BY id LIMIT ?", limit) {
		if err != nil {
			return nil, err
		}
		var p Pull
		var raw []byte
		if err = row.Scan(&p.ID, &p.Repo, &raw, &p.Tag, &p.At, &p.N); err != nil {
			return nil, err
		}
		if p.Digest, err = oci.DigestFromBytes(raw); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// DeletePull removes an appended count; 0 rows: it was folded already.
func DeletePull(ctx context.Context, tx *sqldb.Tx, id int64) (int64, error) {
	return tx.Exec(ctx, "DELETE FROM pulls WHERE id = ?", id)
}

// AddPulls adds to the totals of a manifest under a tag; tag "" is the total of all pulls.
func AddPulls(ctx context.Context, tx *sqldb.Tx, p Pull) error {
	e := tx.Engine()
	_, err := tx.Exec(ctx, e.Upsert("pull_totals", []string{"repo", "digest", "tag", "n", "last_at"}, []string{"repo", "digest", "tag"},
		"n = pull_totals.n + "+e.New("n"), "last_at = "+e.Greatest("pull_totals.last_at", e.New("last_at"))), p.Repo, p.Digest.Bytes(), p.Tag, p.N, p.At)
	return err
}

// PullTotal answers how often a manifest was pulled in all, or under a tag, and when last.
func PullTotal(ctx context.Context, q sqldb.Querier, repo int64, d oci.Digest, tag string) (n, lastAt int64, err error) {
	err = q.Row(ctx, "SELECT n, last_at FROM pull_totals WHERE repo = ? AND digest = ? AND tag = ?", repo, d.Bytes(), tag).Scan(&n, &lastAt)
	return n, lastAt, err
}

// ForgetPulls removes the totals of up to limit manifests of a repository, and answers of how many.
func ForgetPulls(ctx context.Context, tx *sqldb.Tx, repo int64, limit int) (int, error) {
	list, err := digests(ctx, tx, "SELECT DISTINCT digest FROM pull_totals WHERE repo = ? LIMIT ?", repo, limit)
	if err != nil {
		return 0, err
	}
	return len(list), padded(list, func(marks string, args []any) error {
		_, cause := tx.Exec(ctx, "DELETE FROM pull_totals WHERE repo = ? AND digest IN ("+marks+")", append([]any{repo}, args...)...)
		return cause
	})
}
