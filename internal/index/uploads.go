package index

import (
	"context"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Upload is a row of uploads.
type Upload struct {
	ID        string
	Repo      int64
	Subject   string
	Algorithm oci.Algorithm
	Content   int64 // 0 when done
	Off       int64 // bytes that are durable
	Seq       int   // settled objects
	Hash      []byte
	ActiveAt  int64
	Op        string
	Done      oci.Digest // zero while under way
	Quota     int64      // the project that it is in, if that has a quota; else 0. Only FindUpload tells
}

// InsertUpload adds an upload that has received nothing.
func InsertUpload(ctx context.Context, tx *sqldb.Tx, u Upload) error {
	_, err := tx.Exec(ctx, "INSERT INTO uploads (id, repo, subject, algorithm, content, off, seq, active_at) VALUES (?, ?, ?, ?, ?, 0, 0, ?)",
		u.ID, u.Repo, u.Subject, int64(u.Algorithm), u.Content, u.ActiveAt)
	return err
}

const uploadColumns = "u.id, u.repo, u.subject, u.algorithm, u.content, u.off, u.seq, u.hash, u.active_at, u.op, u.done_digest"

func (u *Upload) scan(row sqldb.Scanner, more ...any) error {
	var content *int64
	var op *string
	var done []byte
	var algorithm, seq int64
	*u = Upload{}
	if err := row.Scan(append([]any{&u.ID, &u.Repo, &u.Subject, &algorithm, &content, &u.Off, &seq, &u.Hash, &u.ActiveAt, &op, &done}, more...)...); err != nil {
		return err
	}
	u.Algorithm, u.Seq = oci.Algorithm(algorithm), int(seq)
	if content != nil {
		u.Content = *content
	}
	if op != nil {
		u.Op = *op
	}
	if done == nil {
		return nil
	}
	var err error
	u.Done, err = oci.DigestFromBytes(done)
	return err
}

// FindUpload finds an upload of a repository, done or not.
func FindUpload(ctx context.Context, q sqldb.Querier, name oci.Name, id string) (Upload, error) {
	var u Upload
	quota := int64(0)
	err := u.scan(q.Row(ctx, "SELECT "+uploadColumns+", COALESCE(q.project, 0) FROM uploads u JOIN repositories r ON r.id = u.repo LEFT JOIN quotas q ON q.project = r.project_id WHERE u.id = ? AND r.name = ?",
		id, name.String()), &quota)
	u.Quota = quota
	return u, err
}

// UploadByID finds an upload, done or not.
func UploadByID(ctx context.Context, q sqldb.Querier, id string) (Upload, error) {
	var u Upload
	err := u.scan(q.Row(ctx, "SELECT "+uploadColumns+" FROM uploads u WHERE u.id = ?", id))
	return u, err
}

// CountUploads counts a subject's uploads that are under way, to at most limit.
func CountUploads(ctx context.Context, q sqldb.Querier, subject string, limit int) (int, error) {
	var n int64
	err := q.Row(ctx, "SELECT COUNT(*) FROM (SELECT 1 AS one FROM uploads WHERE subject = ? AND done_at IS NULL LIMIT ?) AS live", subject, limit).Scan(&n)
	return int(n), err
}

// TouchUpload raises when an upload was last active, if it still stands at off: its row changes.
func TouchUpload(ctx context.Context, tx *sqldb.Tx, id string, off, now int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE uploads SET active_at = "+tx.Engine().Greatest("active_at + 1", "?")+" WHERE id = ? AND off = ? AND done_at IS NULL", now, id, off)
}

// Advance moves an upload from one offset to the next, with its hash's state and one object more.
func Advance(ctx context.Context, tx *sqldb.Tx, id string, from, to int64, algorithm oci.Algorithm, hash []byte, now int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE uploads SET off = ?, seq = seq + 1, algorithm = ?, hash = ?, active_at = "+tx.Engine().Greatest("active_at + 1", "?")+
		" WHERE id = ? AND off = ? AND done_at IS NULL", to, int64(algorithm), hash, now, id, from)
}

// EndUpload marks an upload as done by an operation, if it still stands at off. It gives up its content.
func EndUpload(ctx context.Context, tx *sqldb.Tx, id string, off, size int64, done oci.Digest, op string, now int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE uploads SET off = ?, done_digest = ?, done_at = ?, op = ?, content = NULL, hash = NULL WHERE id = ? AND off = ? AND done_at IS NULL",
		size, done.Bytes(), now, op, id, off)
}

// DeleteUpload removes an upload under way, if it still stands at off.
func DeleteUpload(ctx context.Context, tx *sqldb.Tx, id string, off int64) (int64, error) {
	return tx.Exec(ctx, "DELETE FROM uploads WHERE id = ? AND off = ? AND done_at IS NULL", id, off)
}

// DeleteUploadSeen removes an upload under way, if nothing happened to it since it was seen.
func DeleteUploadSeen(ctx context.Context, tx *sqldb.Tx, u Upload) (int64, error) {
	return tx.Exec(ctx, "DELETE FROM uploads WHERE id = ? AND off = ? AND active_at = ? AND done_at IS NULL", u.ID, u.Off, u.ActiveAt)
}

// UploadsOf lists up to limit uploads of a repository, done or not.
func UploadsOf(ctx context.Context, q sqldb.Querier, repo int64, limit int) ([]Upload, error) {
	return uploads(ctx, q, "u.repo = ? LIMIT ?", repo, limit)
}

// IdleUploads lists up to limit uploads under way that were last active before a time.
func IdleUploads(ctx context.Context, q sqldb.Querier, before int64, limit int) ([]Upload, error) {
	return uploads(ctx, q, "u.done_at IS NULL AND u.active_at < ? ORDER BY u.active_at LIMIT ?", before, limit)
}

// SubjectUploads lists up to limit uploads of a subject that are under way.
func SubjectUploads(ctx context.Context, q sqldb.Querier, subject string, limit int) ([]Upload, error) {
	return uploads(ctx, q, "u.subject = ? AND u.done_at IS NULL LIMIT ?", subject, limit)
}

func uploads(ctx context.Context, q sqldb.Querier, condition string, args ...any) ([]Upload, error) {
	var all []Upload
	for row, err := range q.Rows(ctx, "SELECT "+uploadColumns+" FROM uploads u WHERE "+condition, args...) {
		if err != nil {
			return nil, err
		}
		var u Upload
		if err = u.scan(row); err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// DoneUploads lists up to limit uploads that were done before a time.
func DoneUploads(ctx context.Context, q sqldb.Querier, before int64, limit int) ([]string, error) {
	return names(ctx, q, "SELECT id FROM uploads WHERE done_at < ? ORDER BY done_at LIMIT ?", before, limit)
}

// ForgetUploads removes these uploads, which are done.
func ForgetUploads(ctx context.Context, tx *sqldb.Tx, ids []string) error {
	return chunks(ids, func(part []string) error {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		_, err := tx.Exec(ctx, "DELETE FROM uploads WHERE id IN ("+marks(len(part))+") AND done_at IS NOT NULL", args...)
		return err
	})
}
