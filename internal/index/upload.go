package index

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Upload is an upload session's row.
type Upload struct {
	ID        string
	Repo      int64
	Subject   string
	Algorithm oci.Algorithm
	Content   int64
	Off       int64
	Hash      []byte // the hash's state behind Off bytes
	ActiveAt  time.Time
	Op        string     // of the last settled step
	Done      oci.Digest // zero while it is under way
}

// AddUpload inserts a new upload with its content.
func AddUpload(ctx context.Context, tx *sqldb.Tx, u Upload) error {
	now := micros(tx.Now())
	if _, err := tx.Exec(ctx, "INSERT INTO contents (id, created_at) VALUES (?, ?)", u.Content, now); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO uploads (id, repo, subject, algorithm, content, off, seq, active_at) VALUES (?, ?, ?, ?, ?, 0, 0, ?)",
		u.ID, u.Repo, u.Subject, int64(u.Algorithm), u.Content, now)
	return err
}

// FindUpload answers an upload of a repository, or NotFound.
func FindUpload(ctx context.Context, q sqldb.Querier, repo oci.Name, id string) (Upload, error) {
	return scanUpload(q.Row(ctx, "SELECT "+uploadColumns+" FROM uploads u JOIN repositories r ON r.id = u.repo WHERE u.id = ? AND r.name = ?", id, repo.String()))
}

// UploadByID answers an upload, or NotFound.
func UploadByID(ctx context.Context, q sqldb.Querier, id string) (Upload, error) {
	return scanUpload(q.Row(ctx, "SELECT "+uploadColumns+" FROM uploads u WHERE u.id = ?", id))
}

const uploadColumns = "u.id, u.repo, u.subject, u.algorithm, u.content, u.off, u.hash, u.active_at, u.op, u.done_digest"

func scanUpload(row sqldb.Scanner) (Upload, error) {
	var u Upload
	var algorithm, active int64
	var done []byte
	err := row.Scan(&u.ID, &u.Repo, &u.Subject, &algorithm, &u.Content, &u.Off, optional[[]byte]{&u.Hash}, &active, optional[string]{&u.Op}, optional[[]byte]{&done})
	if err != nil {
		return u, err
	}
	u.Algorithm, u.ActiveAt = oci.Algorithm(algorithm), sqldb.FromMicros(active)
	if len(done) > 0 {
		u.Done, err = oci.DigestFromBytes(done)
	}
	return u, err
}

// AddObject announces the next object of a content, before its bytes are written, and answers its number, which grows.
func AddObject(ctx context.Context, tx *sqldb.Tx, content int64, name string) (int64, error) {
	var seq int64
	if err := tx.Row(ctx, "SELECT COALESCE(MAX(seq) + 1, 0) FROM objects WHERE content = ?", content).Scan(&seq); err != nil {
		return 0, err
	}
	_, err := tx.Exec(ctx, "INSERT INTO objects (content, seq, name, created_at) VALUES (?, ?, ?, ?)", content, seq, name, micros(tx.Now()))
	return seq, err
}

// HasObject reports whether an object was announced under this name.
func HasObject(ctx context.Context, q sqldb.Querier, name string) (seq int64, err error) {
	err = q.Row(ctx, "SELECT seq FROM objects WHERE name = ?", name).Scan(&seq)
	return seq, err
}

// SizeObject says that an object is written.
func SizeObject(ctx context.Context, tx *sqldb.Tx, content, seq, size int64) (bool, error) {
	n, err := tx.Exec(ctx, "UPDATE objects SET size = ? WHERE content = ? AND seq = ?", size, content, seq)
	return n > 0, err
}

// Settle moves an upload from one offset to the next, with the hash's state, if nobody else has moved or ended it.
func Settle(ctx context.Context, tx *sqldb.Tx, u Upload, off int64, hash []byte, op string) (bool, error) {
	n, err := tx.Exec(ctx, "UPDATE uploads SET off = ?, hash = ?, op = ?, active_at = "+tx.Engine().Greatest("active_at + 1", "?")+" WHERE id = ? AND off = ? AND done_digest IS NULL",
		off, hash, op, micros(tx.Now()), u.ID, u.Off)
	return n > 0, err
}

// End marks an upload done, moving it to its last offset, if nobody else has moved or ended it.
func End(ctx context.Context, tx *sqldb.Tx, u Upload, off int64, digest oci.Digest, op string) (bool, error) {
	now := micros(tx.Now())
	n, err := tx.Exec(ctx, "UPDATE uploads SET off = ?, hash = NULL, op = ?, done_digest = ?, done_at = ?, active_at = "+tx.Engine().Greatest("active_at + 1", "?")+
		" WHERE id = ? AND off = ? AND done_digest IS NULL", off, op, digest.Bytes(), now, now, u.ID, u.Off)
	return n > 0, err
}

// DropUpload deletes an upload that is as it was seen.
func DropUpload(ctx context.Context, tx *sqldb.Tx, u Upload) (bool, error) {
	query := "DELETE FROM uploads WHERE id = ? AND off = ? AND active_at = ? AND done_digest IS NULL"
	if !u.Done.IsZero() {
		query = "DELETE FROM uploads WHERE id = ? AND off = ? AND active_at = ? AND done_digest IS NOT NULL"
	}
	n, err := tx.Exec(ctx, query, u.ID, u.Off, micros(u.ActiveAt))
	return n > 0, err
}

// StaleUploads answers up to limit uploads, done or not, that were not active since a time.
func StaleUploads(ctx context.Context, q sqldb.Querier, done bool, since time.Time, limit int) ([]Upload, error) {
	state := "IS NULL"
	if done {
		state = "IS NOT NULL"
	}
	var all []Upload
	for row, err := range q.Rows(ctx, "SELECT "+uploadColumns+" FROM uploads u WHERE u.active_at < ? AND u.done_digest "+state+" ORDER BY u.active_at LIMIT ?", micros(since), limit) {
		if err != nil {
			return nil, err
		}
		u, err := scanUpload(row)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// ObjectsOf answers the written objects of a content in order.
func ObjectsOf(ctx context.Context, q sqldb.Querier, content int64) ([]Object, error) {
	return objects(ctx, q, "SELECT name, size FROM objects WHERE content = ? AND size IS NOT NULL ORDER BY seq", content)
}

func objects(ctx context.Context, q sqldb.Querier, query string, args ...any) ([]Object, error) {
	var all []Object
	for row, err := range q.Rows(ctx, query, args...) {
		if err != nil {
			return nil, err
		}
		var o Object
		if err = row.Scan(&o.Name, &o.Size); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}
