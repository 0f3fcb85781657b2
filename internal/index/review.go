package index

import (
	"context"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Kinds of things that are reviewed.
const (
	ReviewManifest = 1
	ReviewLink     = 2
	ReviewBlob     = 3 // repo is 0
)

func raiseDue(e sqldb.Engine) string {
	return "due = " + e.Greatest("review.due + 1", e.New("due"))
}

// Review puts something up for review, or raises when it is due: its row changes.
func Review(ctx context.Context, tx *sqldb.Tx, kind int, repo int64, d oci.Digest, due int64) error {
	e := tx.Engine()
	_, err := tx.Exec(ctx, e.Upsert("review", []string{"kind", "repo", "digest", "due"}, []string{"kind", "repo", "digest"}, raiseDue(e)), kind, repo, d.Bytes(), due)
	return err
}

// RaiseReview raises when something is due that is up for review. Nothing happens if it is not.
func RaiseReview(ctx context.Context, tx *sqldb.Tx, kind int, repo int64, d oci.Digest, due int64) error {
	_, err := tx.Exec(ctx, "UPDATE review SET due = "+tx.Engine().Greatest("due + 1", "?")+" WHERE kind = ? AND repo = ? AND digest = ?", due, kind, repo, d.Bytes())
	return err
}

// DropReview takes something off the list.
func DropReview(ctx context.Context, tx *sqldb.Tx, kind int, repo int64, d oci.Digest) error {
	_, err := tx.Exec(ctx, "DELETE FROM review WHERE kind = ? AND repo = ? AND digest = ?", kind, repo, d.Bytes())
	return err
}

// DropReviews takes all of a repository off the list: what is not there any more may have been left on it.
func DropReviews(ctx context.Context, tx *sqldb.Tx, repo int64) error {
	for _, kind := range []int{ReviewManifest, ReviewLink} {
		if _, err := tx.Exec(ctx, "DELETE FROM review WHERE kind = ? AND repo = ?", kind, repo); err != nil {
			return err
		}
	}
	return nil
}

// ReviewDue answers when something is due.
func ReviewDue(ctx context.Context, q sqldb.Querier, kind int, repo int64, d oci.Digest) (int64, error) {
	var due int64
	err := q.Row(ctx, "SELECT due FROM review WHERE kind = ? AND repo = ? AND digest = ?", kind, repo, d.Bytes()).Scan(&due)
	return due, err
}
