package index_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// limits notes how many rows are asked for, by queries that end with that number.
type limits struct {
	sqldb.Querier
	asked []int
}

func (l *limits) Rows(ctx context.Context, query string, args ...any) iter.Seq2[sqldb.Scanner, error] {
	if n, ok := args[len(args)-1].(int); ok {
		l.asked = append(l.asked, n)
	}
	return l.Querier.Rows(ctx, query, args...)
}

// A database sends all rows that were asked for, whoever stops to read them: of manifests as large as these, hundreds of MiB for a page of one.
func TestReferrersAreNotReadThatDoNotFit(t *testing.T) {
	t.Parallel()
	db := database(t)
	run(t, db, "INSERT INTO projects (id, name, public, created_at) VALUES (1, 'library', 1, 1)")
	run(t, db, "INSERT INTO repositories (id, project_id, name, created_at, pushed_at) VALUES (1, 1, 'library/r', 1, 1)")
	name, err := oci.ParseName("library/r")
	if err != nil {
		t.Fatal(err)
	}
	const many = 60
	attach := func(subject oci.Digest, size int) (all []oci.Digest) {
		for i := range many {
			body := append(fmt.Appendf(nil, "%s %d ", subject, i), make([]byte, size)...)
			all = append(all, oci.Sum(oci.SHA256, body))
			run(t, db, "INSERT INTO manifests (repo, digest, media_type, artifact_type, subject, size, body, pushed_at) VALUES (1, ?, 'm', 'a', ?, ?, ?, 1)", all[i].Bytes(), subject.Bytes(), len(body), body)
		}
		slices.SortFunc(all, func(a, b oci.Digest) int { return bytes.Compare(a.Bytes(), b.Bytes()) })
		return all
	}
	large, small := oci.Sum(oci.SHA256, []byte("large")), oci.Sum(oci.SHA256, []byte("small"))
	of := map[oci.Digest][]oci.Digest{large: attach(large, 64<<10), small: attach(small, 0)}
	for _, c := range []struct {
		subject                    oci.Digest
		kind                       string
		behind, limit, want, asked int
		cut                        bool
	}{
		{subject: large, limit: many, want: 3, asked: 8, cut: true},
		{subject: large, kind: "a", behind: many - 2, limit: many, want: 1, asked: 8},
		{subject: small, limit: 1, want: 1, asked: 1},
		{subject: small, limit: many + 1, want: many, asked: many + 1},
		{subject: small, kind: "a", behind: 20, limit: many, want: many - 21, asked: many},
		{subject: small, behind: 3, limit: 30, want: 30, asked: 30},
		{subject: small, limit: 0},
	} {
		q := &limits{Querier: db}
		after := []byte{}
		first := 0
		if c.behind > 0 {
			after, first = of[c.subject][c.behind].Bytes(), c.behind+1
		}
		found, cut, listErr := index.Referrers(t.Context(), q, name, c.subject, c.kind, after, c.limit, 200<<10)
		if listErr != nil {
			t.Fatal(listErr)
		}
		var digests []oci.Digest
		for _, f := range found {
			digests = append(digests, f.Digest)
		}
		sum := 0
		for _, n := range q.asked {
			sum += n
		}
		if !slices.Equal(digests, of[c.subject][first:first+c.want]) || cut != c.cut || sum > c.asked || len(q.asked) > 2 {
			t.Errorf("%+v: %d found, cut: %t, asked for %d", c, len(found), cut, q.asked)
		}
	}
}
