package index

import (
	"context"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// maxList bounds the values in one statement: a list is cut into powers of two up to this, so that a handful of texts serve every length and stay prepared.
const maxList = 64

// chunks calls do with parts of the list of 64, 32, … 1 elements.
func chunks[T any](list []T, do func(part []T) error) error {
	for size := maxList; len(list) > 0; size /= 2 {
		for len(list) >= size {
			if err := do(list[:size]); err != nil {
				return err
			}
			list = list[size:]
		}
	}
	return nil
}

// padded calls do with parts of at most 64 digests, each repeated at its end to a length that is a power of two: for IN lists, where a value may be there twice.
func padded(list []oci.Digest, do func(marks string, args []any) error) error {
	return paddedWith(list, oci.Digest.Bytes, do)
}

// paddedIDs is padded for ids.
func paddedIDs(list []int64, do func(marks string, args []any) error) error {
	return paddedWith(list, func(id int64) int64 { return id }, do)
}

func paddedWith[T, A any](list []T, arg func(T) A, do func(marks string, args []any) error) error {
	for len(list) > 0 {
		part := list[:min(len(list), maxList)]
		list = list[len(part):]
		size := 1
		for size < len(part) {
			size *= 2
		}
		args := make([]any, size)
		for i := range args {
			args[i] = arg(part[min(i, len(part)-1)])
		}
		if err := do(marks(size), args); err != nil {
			return err
		}
	}
	return nil
}

// deleteIn deletes the rows of some ids. what is "table WHERE column IN", with conditions before it for whose parameters first stands.
func deleteIn(ctx context.Context, tx *sqldb.Tx, what string, first []any, list []int64) error {
	return paddedIDs(list, func(marks string, args []any) error {
		_, err := tx.Exec(ctx, "DELETE FROM "+what+" ("+marks+")", slices.Concat(first, args)...)
		return err
	})
}

// ids reads rows of one number.
func ids(ctx context.Context, q sqldb.Querier, query string, args ...any) ([]int64, error) {
	var all []int64
	for row, err := range q.Rows(ctx, query, args...) {
		var n int64
		if err == nil {
			err = row.Scan(&n)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// marks answers n placeholders for a list.
func marks(n int) string { return "?" + strings.Repeat(", ?", n-1) }

// insertPairs inserts rows of (repo, one, each of many) into a table of references.
func insertPairs(ctx context.Context, tx *sqldb.Tx, into string, repo int64, one oci.Digest, many []oci.Digest) error {
	first := one.Bytes()
	return chunks(many, func(part []oci.Digest) error {
		args := make([]any, 0, 3*len(part))
		for _, d := range part {
			args = append(args, repo, first, d.Bytes())
		}
		_, err := tx.Exec(ctx, "INSERT INTO "+into+" VALUES (?, ?, ?)"+strings.Repeat(", (?, ?, ?)", len(part)-1), args...)
		return err
	})
}

// digests reads rows of one digest.
func digests(ctx context.Context, q sqldb.Querier, query string, args ...any) ([]oci.Digest, error) {
	var all []oci.Digest
	for row, err := range q.Rows(ctx, query, args...) {
		if err != nil {
			return nil, err
		}
		var raw []byte
		if err = row.Scan(&raw); err != nil {
			return nil, err
		}
		d, digestErr := oci.DigestFromBytes(raw)
		if digestErr != nil {
			return nil, digestErr
		}
		all = append(all, d)
	}
	return all, nil
}

// names reads rows of one text.
func names(ctx context.Context, q sqldb.Querier, query string, args ...any) ([]string, error) {
	all := []string{}
	for row, err := range q.Rows(ctx, query, args...) {
		if err != nil {
			return nil, err
		}
		var s string
		if err = row.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// exists reports whether the query has a row. It selects one column of a number.
func exists(ctx context.Context, q sqldb.Querier, query string, args ...any) (bool, error) {
	for _, err := range q.Rows(ctx, query, args...) {
		return err == nil, err
	}
	return false, nil
}
