package index

import (
	"context"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Quota is a row of quotas.
type Quota struct {
	Project int64
	Limit   int64 // bytes
	Held    int64 // bytes that are counted, or may be used by those that have a slice of it
	Counts  int64 // how often what its project has was counted; 0 also while it is being taken away. Only FindQuota tells
}

// FindQuota finds the quota of a project.
func FindQuota(ctx context.Context, q sqldb.Querier, project int64) (Quota, error) {
	f := Quota{Project: project}
	err := q.Row(ctx, "SELECT limit_bytes, held, counts FROM quotas WHERE project = ?", project).Scan(&f.Limit, &f.Held, &f.Counts)
	return f, err
}

// InsertQuota gives a project a quota, unless it has one. counts says how often what it has was counted already: see DueQuotas.
func InsertQuota(ctx context.Context, tx *sqldb.Tx, project, limit int64, counts int) (bool, error) {
	return tx.InsertIgnore(ctx, "quotas", []string{"project", "limit_bytes", "held", "counts", "counted_at", "changed_at"}, project, limit, 0, counts, 0, sqldb.Micros(tx.Now()))
}

// SetLimit changes a quota. 0 rows: the project has none.
func SetLimit(ctx context.Context, tx *sqldb.Tx, project, limit int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE quotas SET limit_bytes = ?, changed_at = "+tx.Engine().Greatest("changed_at + 1", "?")+" WHERE project = ?", limit, sqldb.Micros(tx.Now()), project)
}

// HoldBytes takes bytes of a quota if it has so many left. 0 rows: it has not, or there is none.
func HoldBytes(ctx context.Context, tx *sqldb.Tx, project, n int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE quotas SET held = held + ? WHERE project = ? AND held + ? <= limit_bytes", n, project, n)
}

// HoldBeyond is HoldBytes, whatever the limit. 0 rows: there is no quota.
func HoldBeyond(ctx context.Context, tx *sqldb.Tx, project, n int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE quotas SET held = held + ? WHERE project = ?", n, project)
}

// AddHeld changes what is held of a quota, whatever the limit.
func AddHeld(ctx context.Context, tx *sqldb.Tx, project, n int64) error {
	if n == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, "UPDATE quotas SET held = held + ? WHERE project = ?", n, project)
	return err
}

// CountHeld is AddHeld for what is counted by itself. The quota's row changes, whatever n is, so that this and the removal of the quota do not both succeed. 0 rows: the quota is gone, and nothing may be counted.
func CountHeld(ctx context.Context, tx *sqldb.Tx, project, n int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE quotas SET held = held + ?, changed_at = changed_at + 1 WHERE project = ?", n, project)
}

// LimitedProject answers the project of a repository if that has a quota, else 0.
func LimitedProject(ctx context.Context, q sqldb.Querier, repo int64) (project int64, err error) {
	for row, err := range q.Rows(ctx, "SELECT q.project FROM repositories r JOIN quotas q ON q.project = r.project_id WHERE r.id = ?", repo) {
		if err == nil {
			err = row.Scan(&project)
		}
		if err != nil {
			return 0, err
		}
	}
	return project, nil
}

// Slice is a row of quota_slices.
type Slice struct {
	ID, Project, Bytes int64
}

// InsertSlice gives an incarnation of a node a slice of a quota.
func InsertSlice(ctx context.Context, tx *sqldb.Tx, s Slice, node int64) error {
	_, err := tx.Exec(ctx, "INSERT INTO quota_slices (id, project, node, bytes) VALUES (?, ?, ?, ?)", s.ID, s.Project, node, s.Bytes)
	return err
}

// GrowSlice changes the bytes of a slice, by fewer where n is below 0. 0 rows: there is none, or it has not so many, because what was counted against it was folded at this moment.
func GrowSlice(ctx context.Context, tx *sqldb.Tx, id, n int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE quota_slices SET bytes = bytes + ? WHERE id = ? AND bytes + ? >= 0", n, id, n)
}

// FindSlice finds a slice.
func FindSlice(ctx context.Context, q sqldb.Querier, id int64) (Slice, error) {
	s := Slice{ID: id}
	err := q.Row(ctx, "SELECT project, bytes FROM quota_slices WHERE id = ?", id).Scan(&s.Project, &s.Bytes)
	return s, err
}

// LockSlice is FindSlice, and keeps other transactions of this server from changing it until the end.
func LockSlice(ctx context.Context, tx *sqldb.Tx, id int64) (Slice, error) {
	s := Slice{ID: id}
	err := tx.Row(ctx, "SELECT project, bytes FROM quota_slices WHERE id = ?"+tx.Engine().ForUpdate(), id).Scan(&s.Project, &s.Bytes)
	return s, err
}

// DeleteSlice removes a slice of these bytes. What is counted against it makes it a Conflict. 0 rows: it has others by now.
func DeleteSlice(ctx context.Context, tx *sqldb.Tx, s Slice) (int64, error) {
	return tx.Exec(ctx, "DELETE FROM quota_slices WHERE id = ? AND bytes = ?", s.ID, s.Bytes)
}

// OtherSlices reports whether other nodes than one have slices of a quota, or it has more of them than this one.
func OtherSlices(ctx context.Context, q sqldb.Querier, project, own int64) (bool, error) {
	return exists(ctx, q, "SELECT 1 FROM quota_slices WHERE project = ? AND id <> ? LIMIT 1", project, own)
}

// LostSlices lists up to limit slices of incarnations that do not live any more.
func LostSlices(ctx context.Context, q sqldb.Querier, limit int) ([]int64, error) {
	return ids(ctx, q, "SELECT s.id FROM quota_slices s LEFT JOIN nodes n ON n.id = s.node AND n.state = 'alive' WHERE n.id IS NULL LIMIT ?", limit)
}

// Charge is a row of quota_charges.
type Charge struct {
	Digest oci.Digest
	Size   int64
	Repos  int64
	Slice  int64 // 0: it is counted by itself
}

// slice is how the id of a slice is stored.
func sliceID(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

// HasCharge reports whether something of a project is counted.
func HasCharge(ctx context.Context, q sqldb.Querier, project int64, d oci.Digest) (bool, error) {
	return exists(ctx, q, "SELECT 1 FROM quota_charges WHERE project = ? AND digest = ?", project, d.Bytes())
}

// AddRepository notes that one repository more, or one less, has what is counted. 0 rows: it is not.
func AddRepository(ctx context.Context, tx *sqldb.Tx, project int64, d oci.Digest, n int) (int64, error) {
	return tx.Exec(ctx, "UPDATE quota_charges SET repos = repos + ? WHERE project = ? AND digest = ?", n, project, d.Bytes())
}

// InsertCharge counts something of a project; false: it is.
func InsertCharge(ctx context.Context, tx *sqldb.Tx, project int64, c Charge) (bool, error) {
	return tx.InsertIgnore(ctx, "quota_charges", []string{"project", "digest", "size", "repos", "checked", "slice"}, project, c.Digest.Bytes(), c.Size, c.Repos, 0, sliceID(c.Slice))
}

// FindCharge finds what is counted.
func FindCharge(ctx context.Context, q sqldb.Querier, project int64, d oci.Digest) (Charge, error) {
	c := Charge{Digest: d}
	var slice *int64
	err := q.Row(ctx, "SELECT size, repos, slice FROM quota_charges WHERE project = ? AND digest = ?", project, d.Bytes()).Scan(&c.Size, &c.Repos, &slice)
	if slice != nil {
		c.Slice = *slice
	}
	return c, err
}

// LockCharge changes the row of what is counted, so that nobody else does until the end. 0 rows: it is not counted.
func LockCharge(ctx context.Context, tx *sqldb.Tx, project int64, d oci.Digest) (int64, error) {
	return tx.Exec(ctx, "UPDATE quota_charges SET checked = checked + 1 WHERE project = ? AND digest = ?", project, d.Bytes())
}

// SetRepositories says how many repositories have what is counted.
func SetRepositories(ctx context.Context, tx *sqldb.Tx, project int64, d oci.Digest, n int64) error {
	_, err := tx.Exec(ctx, "UPDATE quota_charges SET repos = ? WHERE project = ? AND digest = ?", n, project, d.Bytes())
	return err
}

// DeleteCharge counts something no longer.
func DeleteCharge(ctx context.Context, tx *sqldb.Tx, project int64, d oci.Digest) error {
	_, err := tx.Exec(ctx, "DELETE FROM quota_charges WHERE project = ? AND digest = ?", project, d.Bytes())
	return err
}

// CountHaving counts the repositories of a project that have a blob, and those that have a manifest, of a digest.
func CountHaving(ctx context.Context, q sqldb.Querier, project int64, d oci.Digest) (n int64, err error) {
	digest := d.Bytes()
	// Cross joins, because SQLite takes the tables of these in the order in which they are written: it would go through all repositories that there are for the one manifest of each.
	err = q.Row(ctx, `SELECT (SELECT COUNT(*) FROM repositories r CROSS JOIN repo_blobs l WHERE r.project_id = ? AND l.repo = r.id AND l.digest = ?)
		+ (SELECT COUNT(*) FROM repositories r CROSS JOIN manifests m WHERE r.project_id = ? AND m.repo = r.id AND m.digest = ?)`, project, digest, project, digest).Scan(&n)
	return n, err
}

// SliceCharges lists up to limit things that are counted against a slice, in the order of their digests' bytes.
func SliceCharges(ctx context.Context, q sqldb.Querier, slice int64, limit int) ([]Charge, error) {
	return charges(ctx, q, "SELECT digest, size, repos, slice FROM quota_charges WHERE slice = ? ORDER BY project, digest LIMIT ?", slice, limit)
}

// Charges lists up to limit things of a project that are counted, behind a digest, in the order of their bytes.
func Charges(ctx context.Context, q sqldb.Querier, project int64, after []byte, limit int) ([]Charge, error) {
	return charges(ctx, q, "SELECT digest, size, repos, COALESCE(slice, 0) FROM quota_charges WHERE project = ? AND digest > ? ORDER BY digest LIMIT ?", project, after, limit)
}

func charges(ctx context.Context, q sqldb.Querier, query string, args ...any) ([]Charge, error) {
	var all []Charge
	for row, err := range q.Rows(ctx, query, args...) {
		var c Charge
		var raw []byte
		if err == nil {
			err = row.Scan(&raw, &c.Size, &c.Repos, &c.Slice)
		}
		if err == nil {
			c.Digest, err = oci.DigestFromBytes(raw)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// FoldCharges counts what is counted against a slice by itself, and answers how many of the list that were.
func FoldCharges(ctx context.Context, tx *sqldb.Tx, project, slice int64, list []Charge) (n int64, err error) {
	digests := make([]oci.Digest, len(list))
	for i, c := range list {
		digests[i] = c.Digest
	}
	err = padded(digests, func(marks string, args []any) error {
		done, cause := tx.Exec(ctx, "UPDATE quota_charges SET slice = NULL WHERE project = ? AND slice = ? AND digest IN ("+marks+")", append([]any{project, slice}, args...)...)
		n += done
		return cause
	})
	return n, err
}

// LinkedSizes lists up to limit blobs that a repository has, behind a digest, in the order of their bytes.
func LinkedSizes(ctx context.Context, q sqldb.Querier, repo int64, after []byte, limit int) ([]Charge, error) {
	return charges(ctx, q, "SELECT l.digest, b.size, 1, 0 FROM repo_blobs l JOIN blobs b ON b.digest = l.digest WHERE l.repo = ? AND l.digest > ? ORDER BY l.digest LIMIT ?", repo, after, limit)
}

// ManifestList lists up to limit manifests of a repository, likewise.
func ManifestList(ctx context.Context, q sqldb.Querier, repo int64, after []byte, limit int) ([]Charge, error) {
	return charges(ctx, q, "SELECT digest, size, 1, 0 FROM manifests WHERE repo = ? AND digest > ? ORDER BY digest LIMIT ?", repo, after, limit)
}

// ForgetQuota removes the quota of a project, with all that was counted; more: that was more than limit rows, or some of them changed meanwhile, and are left, with the quota. What is counted meanwhile makes it a
// Conflict with CodeFK.
//
// A quota of which some is left holds what is left, and is one that was never counted.
func ForgetQuota(ctx context.Context, tx *sqldb.Tx, project int64, limit int) (more bool, err error) {
	list, err := Charges(ctx, tx, project, []byte{}, limit)
	if err != nil {
		return false, err
	}
	holds, err := holdsOf(ctx, tx, project, limit)
	if err != nil {
		return false, err
	}
	more = len(list) == limit || len(holds) == limit
	freed := int64(0)
	// Each is removed as it was seen, or left: others may fold or delete it at this moment, and tell the quota.
	note := func(n, slice, bytes int64, cause error) error {
		if more = more || n == 0; n > 0 && slice == 0 {
			freed += bytes
		}
		return cause
	}
	for _, c := range list {
		cond, args := seenIn(c.Slice)
		n, delErr := tx.Exec(ctx, "DELETE FROM quota_charges WHERE project = ? AND digest = ? AND size = ? AND "+cond, append([]any{project, c.Digest.Bytes(), c.Size}, args...)...)
		if err = note(n, c.Slice, c.Size, delErr); err != nil {
			return false, err
		}
	}
	for _, h := range holds {
		n, delErr := DeleteHold(ctx, tx, h)
		if err = note(n, h.Slice, h.Bytes, delErr); err != nil {
			return false, err
		}
	}
	if more {
		_, err = tx.Exec(ctx, "UPDATE quotas SET held = held - ?, counts = 0, counted_at = ? WHERE project = ?", freed, sqldb.Micros(tx.Now()), project)
		return err == nil, err
	}
	for _, from := range []string{"quota_slices", "quotas"} {
		if _, err = tx.Exec(ctx, "DELETE FROM "+from+" WHERE project = ?", project); err != nil {
			return false, err
		}
	}
	// Nothing can be counted any more: it takes one of these rows. What was, between the lists and here, would have no quota.
	counted, err := exists(ctx, tx, "SELECT 1 FROM quota_charges WHERE project = ? UNION ALL SELECT 1 FROM quota_holds WHERE project = ? LIMIT 1", project, project)
	if err == nil && counted {
		err = fail.E(fail.Conflict, nil, "the quota of project %d is used while it is taken away", project).Code(sqldb.CodeFK)
	}
	return false, err
}

// holdsOf lists up to limit holds of a project.
func holdsOf(ctx context.Context, q sqldb.Querier, project int64, limit int) ([]Hold, error) {
	var all []Hold
	for row, err := range q.Rows(ctx, "SELECT upload, bytes, COALESCE(slice, 0) FROM quota_holds WHERE project = ? LIMIT ?", project, limit) {
		var h Hold
		if err == nil {
			err = row.Scan(&h.Upload, &h.Bytes, &h.Slice)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// SlicesOf lists up to limit slices of a quota.
func SlicesOf(ctx context.Context, q sqldb.Querier, project int64, limit int) ([]int64, error) {
	return ids(ctx, q, "SELECT id FROM quota_slices WHERE project = ? LIMIT ?", project, limit)
}

// Hold is a row of quota_holds.
type Hold struct {
	Upload string
	Bytes  int64
	Slice  int64 // 0: it is counted by itself
}

// FindHold finds what an upload has received; the zero Hold if nothing is counted.
func FindHold(ctx context.Context, q sqldb.Querier, upload string) (Hold, error) {
	var h Hold
	for row, err := range q.Rows(ctx, "SELECT upload, bytes, slice FROM quota_holds WHERE upload = ?", upload) {
		var slice *int64
		if err == nil {
			err = row.Scan(&h.Upload, &h.Bytes, &slice)
		}
		if err != nil {
			return Hold{}, err
		}
		if slice != nil {
			h.Slice = *slice
		}
	}
	return h, nil
}

// InsertHold counts what an upload has received.
func InsertHold(ctx context.Context, tx *sqldb.Tx, project int64, h Hold) error {
	_, err := tx.Exec(ctx, "INSERT INTO quota_holds (upload, project, bytes, slice) VALUES (?, ?, ?, ?)", h.Upload, project, h.Bytes, sliceID(h.Slice))
	return err
}

// still is the condition that a hold is counted as it was seen: a fold may have come between.
func (h *Hold) still() (cond string, args []any) {
	cond, args = seenIn(h.Slice)
	return "upload = ? AND bytes = ? AND " + cond, append([]any{h.Upload, h.Bytes}, args...)
}

// seenIn is the condition that something is counted against the slice against which it was seen to be, or by itself.
func seenIn(slice int64) (cond string, args []any) {
	if slice == 0 {
		return "slice IS NULL", nil
	}
	return "slice = ?", []any{slice}
}

// ChangeHold replaces what is counted of an upload, if that is as it was seen. 0 rows: it is not.
func ChangeHold(ctx context.Context, tx *sqldb.Tx, seen, now Hold) (int64, error) {
	cond, args := seen.still()
	return tx.Exec(ctx, "UPDATE quota_holds SET bytes = ?, slice = ? WHERE "+cond, append([]any{now.Bytes, sliceID(now.Slice)}, args...)...)
}

// DeleteHold counts an upload no longer, if that is as it was seen. 0 rows: it is not.
func DeleteHold(ctx context.Context, tx *sqldb.Tx, seen Hold) (int64, error) {
	cond, args := seen.still()
	return tx.Exec(ctx, "DELETE FROM quota_holds WHERE "+cond, args...)
}

// SliceHolds lists up to limit uploads that are counted against a slice.
func SliceHolds(ctx context.Context, q sqldb.Querier, slice int64, limit int) ([]Hold, error) {
	var all []Hold
	for row, err := range q.Rows(ctx, "SELECT upload, bytes FROM quota_holds WHERE slice = ? ORDER BY upload LIMIT ?", slice, limit) {
		h := Hold{Slice: slice}
		if err == nil {
			err = row.Scan(&h.Upload, &h.Bytes)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// Unlimited is the limit of a project without a quota.
const Unlimited = -1

// Usage is what a project may have, and has.
type Usage struct {
	Quota     // Limit is Unlimited where the project has no quota
	Name      string
	Owner     string // of the project, his name
	Used      int64  // bytes that the project has; -1 without a quota: that is not counted
	CreatedAt int64  // of the project
	ChangedAt int64  // of the quota; 0 without one
}

// used is what a row q of quotas has: what is held, without what slices and uploads may still use.
const used = `q.held - COALESCE((SELECT SUM(s.bytes) FROM quota_slices s WHERE s.project = q.project), 0)
	+ COALESCE((SELECT SUM(c.size) FROM quota_slices s JOIN quota_charges c ON c.slice = s.id WHERE s.project = q.project), 0)
	- COALESCE((SELECT SUM(h.bytes) FROM quota_holds h WHERE h.project = q.project AND h.slice IS NULL), 0)`

const (
	usageColumns = "p.id, p.name, " + ownerName + ", COALESCE(q.limit_bytes, -1), COALESCE(q.held, 0), COALESCE(" + used + ", -1), p.created_at, COALESCE(q.changed_at, 0)"
	ownerName    = "COALESCE((SELECT u.name FROM project_details d JOIN users u ON u.id = d.owner WHERE d.project = p.id), '')"
	withQuota    = " LEFT JOIN quotas q ON q.project = p.id"
)

func (u *Usage) places() []any {
	return []any{&u.Project, &u.Name, &u.Owner, &u.Limit, &u.Held, &u.Used, &u.CreatedAt, &u.ChangedAt}
}

// FindUsage finds what a project may have, and has.
func FindUsage(ctx context.Context, q sqldb.Querier, project int64) (Usage, error) {
	var u Usage
	err := q.Row(ctx, "SELECT "+usageColumns+" FROM projects p"+withQuota+" WHERE p.id = ?", project).Scan(u.places()...)
	return u, err
}

// UsageOrder is what a list of projects with their quotas is sorted by.
type UsageOrder int

// Orders of lists of quotas. Those that are alike come in the order of their projects' ids. Who has no quota has the largest.
const (
	QuotasByProject UsageOrder = iota
	QuotasByLimit
	QuotasByUse
	QuotasByChange
)

var usageOrders = [...]string{
	QuotasByProject: "p.id", QuotasByLimit: "COALESCE(q.limit_bytes, 9223372036854775807)", QuotasByUse: "COALESCE(q.held, 0)", QuotasByChange: "COALESCE(q.changed_at, p.created_at)",
}

// Usages lists limit projects behind the first offset ones.
func Usages(ctx context.Context, q sqldb.Querier, o UsageOrder, down bool, offset, limit int) ([]Usage, error) {
	dir := ""
	if down {
		dir = " DESC"
	}
	by := usageOrders[o] + dir
	if o != QuotasByProject {
		by += ", p.id" + dir
	}
	query := "SELECT " + usageColumns + " FROM (SELECT p.id FROM projects p" + withQuota + " ORDER BY " + by + " LIMIT ? OFFSET ?) page JOIN projects p ON p.id = page.id" + withQuota + " ORDER BY " + by
	var all []Usage
	for row, err := range q.Rows(ctx, query, limit, offset) {
		var u Usage
		if err == nil {
			err = row.Scan(u.places()...)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// DueQuotas lists up to limit projects with a quota whose content was counted fewer times than that since they were given it, and not since a time.
func DueQuotas(ctx context.Context, q sqldb.Querier, times int, since int64, limit int) ([]int64, error) {
	return ids(ctx, q, "SELECT project FROM quotas WHERE counts < ? AND counted_at <= ? LIMIT ?", times, since, limit)
}

// NoteCount notes that what a project has was counted once more, if that was not noted since a time: neither a second run nor two counts at once make two of one.
func NoteCount(ctx context.Context, tx *sqldb.Tx, project, since int64) error {
	_, err := tx.Exec(ctx, "UPDATE quotas SET counts = counts + 1, counted_at = ? WHERE project = ? AND (counts = 0 OR counted_at <= ?)", sqldb.Micros(tx.Now()), project, since)
	return err
}
