package index

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Pulls is how often a manifest was pulled since the last batch, by a tag or by its digest (tag "").
type Pulls struct {
	Repo   oci.Name
	Digest oci.Digest
	Tag    string
	Last   time.Time
	Count  int64
}

// AppendPulls writes a batch of a node. Its ids are made by the caller, so that a batch that is written twice counts once. Pulls of a repository that is gone are dropped.
func AppendPulls(ctx context.Context, tx *sqldb.Tx, node int64, ids []int64, batch []Pulls) error {
	for i, p := range batch {
		repo, err := FindRepository(ctx, tx, p.Repo)
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = tx.InsertIgnore(ctx, "pulls", []string{"id", "repo", "digest", "tag", "node", "at", "n"}, ids[i], repo.ID, p.Digest.Bytes(), p.Tag, node, micros(p.Last), p.Count)
		if err != nil {
			return err
		}
	}
	return nil
}

// FoldPulls adds up to limit appended rows to the totals and deletes them; it answers how many.
func FoldPulls(ctx context.Context, tx *sqldb.Tx, limit int) (int, error) {
	type row struct {
		id, repo, at, n int64
		digest          []byte
		tag             string
	}
	var all []row
	for r, err := range tx.Rows(ctx, "SELECT id, repo, digest, tag, at, n FROM pulls ORDER BY id LIMIT ?", limit) {
		if err != nil {
			return 0, err
		}
		var p row
		if err = r.Scan(&p.id, &p.repo, &p.digest, &p.tag, &p.at, &p.n); err != nil {
			return 0, err
		}
		all = append(all, p)
	}
	e := tx.Engine()
	add := e.Upsert("pull_totals", []string{"repo", "digest", "tag", "n", "last_at"}, []string{"repo", "digest", "tag"},
		"n = pull_totals.n + "+e.New("n"), "last_at = "+e.Greatest("pull_totals.last_at", e.New("last_at")))
	for _, p := range all {
		n, err := tx.Exec(ctx, "DELETE FROM pulls WHERE id = ?", p.id)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			continue
		}
		if _, err = tx.Exec(ctx, add, p.repo, p.digest, p.tag, p.n, p.at); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

// PullTotal answers how often a manifest was pulled and when last, as far as it is folded; zero if never.
func PullTotal(ctx context.Context, q sqldb.Querier, repo int64, digest oci.Digest, tag string) (count int64, last time.Time, err error) {
	var at int64
	err = q.Row(ctx, "SELECT n, last_at FROM pull_totals WHERE repo = ? AND digest = ? AND tag = ?", repo, digest.Bytes(), tag).Scan(&count, &at)
	if isAbsent(err) {
		return 0, time.Time{}, nil
	}
	return count, sqldb.FromMicros(at), err
}
