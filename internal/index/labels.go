package index

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Label is a row of labels.
type Label struct {
	ID          int64
	Project     int64 // 0: it is for all projects
	Name        string
	Description string
	Color       string
	CreatedAt   int64
	ChangedAt   int64
}

const labelColumns = "l.id, l.scope, l.name, l.description, l.color, l.created_at, l.changed_at"

func (l *Label) places() []any {
	return []any{&l.ID, &l.Project, &l.Name, &l.Description, &l.Color, &l.CreatedAt, &l.ChangedAt}
}

// InsertLabel makes a label under the next number, and answers that; false: its project, or all of them, has one of its name.
func InsertLabel(ctx context.Context, tx *sqldb.Tx, l Label) (id int64, fresh bool, err error) {
	if _, err = LabelByName(ctx, tx, l.Project, l.Name); !fail.Is(err, fail.NotFound) {
		return 0, false, err
	}
	if l.ID, err = NextNumber(ctx, tx, NumberLabel); err != nil {
		return 0, false, err
	}
	var project any
	if l.Project != 0 {
		project = l.Project
	}
	now := sqldb.Micros(tx.Now())
	fresh, err = tx.InsertIgnore(ctx, "labels", []string{"id", "scope", "project", "name", "description", "color", "created_at", "changed_at"},
		l.ID, l.Project, project, l.Name, l.Description, l.Color, now, now)
	return l.ID, fresh, err
}

// FindLabel finds a label.
func FindLabel(ctx context.Context, q sqldb.Querier, id int64) (Label, error) {
	var l Label
	err := q.Row(ctx, "SELECT "+labelColumns+" FROM labels l WHERE l.id = ?", id).Scan(l.places()...)
	return l, err
}

// LabelByName finds a label of a project, or, if that is 0, one for all projects.
func LabelByName(ctx context.Context, q sqldb.Querier, project int64, name string) (Label, error) {
	var l Label
	err := q.Row(ctx, "SELECT "+labelColumns+" FROM labels l WHERE l.scope = ? AND l.name = ?", project, name).Scan(l.places()...)
	return l, err
}

// LabelFilter says which labels a list has.
type LabelFilter struct {
	Project int64  // of this project; 0: those for all projects
	Name    string // exactly this one; "": any
	Part    string // this is a part of the name, whether letters are small or not
}

func (f *LabelFilter) where() (cond string, args []any) {
	cond, args = "l.scope = ?", []any{f.Project}
	if f.Name != "" {
		cond += " AND l.name = ?"
		args = append(args, f.Name)
	}
	if f.Part != "" {
		cond += " AND LOWER(l.name) LIKE LOWER(?) ESCAPE '!'"
		args = append(args, "%"+likeEscaper.Replace(f.Part)+"%")
	}
	return cond, args
}

// CountLabels counts the labels of a list.
func CountLabels(ctx context.Context, q sqldb.Querier, f LabelFilter) (n int64, err error) {
	cond, args := f.where()
	err = q.Row(ctx, "SELECT COUNT(*) FROM labels l WHERE "+cond, args...).Scan(&n)
	return n, err
}

// LabelOrder is what a list of labels is sorted by.
type LabelOrder int

// Orders of lists of labels. Those that are alike come in the order of their ids.
const (
	LabelsByName LabelOrder = iota
	LabelsByID
	LabelsByCreation
	LabelsByChange
)

var labelOrders = [...]string{LabelsByName: "l.name", LabelsByID: "l.id", LabelsByCreation: "l.created_at", LabelsByChange: "l.changed_at"}

// Labels lists limit labels behind the first offset ones.
func Labels(ctx context.Context, q sqldb.Querier, f LabelFilter, o LabelOrder, down bool, offset, limit int) ([]Label, error) {
	cond, args := f.where()
	dir := ""
	if down {
		dir = " DESC"
	}
	by := labelOrders[o] + dir
	if o != LabelsByName { // it is unique in what is listed
		by += ", l.id" + dir
	}
	query := "SELECT " + labelColumns + " FROM labels l WHERE " + cond + " ORDER BY " + by + " LIMIT ? OFFSET ?"
	var all []Label
	for row, err := range q.Rows(ctx, query, append(args, limit, offset)...) {
		var l Label
		if err == nil {
			err = row.Scan(l.places()...)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// UpdateLabel changes what is told of a label. A name that is taken is Exists.
func UpdateLabel(ctx context.Context, tx *sqldb.Tx, l Label) error {
	_, err := tx.Exec(ctx, "UPDATE labels SET name = ?, description = ?, color = ?, changed_at = "+tx.Engine().Greatest("changed_at + 1", "?")+" WHERE id = ?",
		l.Name, l.Description, l.Color, sqldb.Micros(tx.Now()), l.ID)
	return err
}

// DeleteLabel removes a label. A manifest that has it makes it a Conflict.
func DeleteLabel(ctx context.Context, tx *sqldb.Tx, id int64) error {
	_, err := tx.Exec(ctx, "DELETE FROM labels WHERE id = ?", id)
	return err
}

// Attach gives a manifest a label; false: it has it.
func Attach(ctx context.Context, tx *sqldb.Tx, repo int64, d oci.Digest, label int64) (bool, error) {
	return tx.InsertIgnore(ctx, "manifest_labels", []string{"repo", "digest", "label"}, repo, d.Bytes(), label)
}

// Detach takes a label from a manifest. 0 rows: it does not have it.
func Detach(ctx context.Context, tx *sqldb.Tx, repo int64, d oci.Digest, label int64) (int64, error) {
	return tx.Exec(ctx, "DELETE FROM manifest_labels WHERE repo = ? AND digest = ? AND label = ?", repo, d.Bytes(), label)
}

// DetachSome takes a label from up to limit manifests, and answers from how many.
func DetachSome(ctx context.Context, tx *sqldb.Tx, label int64, limit int) (int, error) {
	byRepo, n := map[int64][]oci.Digest{}, 0
	for row, err := range tx.Rows(ctx, "SELECT repo, digest FROM manifest_labels WHERE label = ? LIMIT ?", label, limit) {
		var repo int64
		var raw []byte
		if err == nil {
			err = row.Scan(&repo, &raw)
		}
		if err != nil {
			return 0, err
		}
		d, digestErr := oci.DigestFromBytes(raw)
		if digestErr != nil {
			return 0, digestErr
		}
		byRepo[repo] = append(byRepo[repo], d)
		n++
	}
	for _, repo := range slices.Sorted(maps.Keys(byRepo)) {
		err := padded(byRepo[repo], func(marks string, args []any) error {
			_, err := tx.Exec(ctx, "DELETE FROM manifest_labels WHERE label = ? AND repo = ? AND digest IN ("+marks+")", append([]any{label, repo}, args...)...)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// LabelsOf answers the labels of some manifests of a repository, by name.
func LabelsOf(ctx context.Context, q sqldb.Querier, repo int64, list []oci.Digest) (map[oci.Digest][]Label, error) {
	all := map[oci.Digest][]Label{}
	err := padded(list, func(marks string, args []any) error {
		query := "SELECT m.digest, " + labelColumns + " FROM manifest_labels m JOIN labels l ON l.id = m.label WHERE m.repo = ? AND m.digest IN (" + marks + ")"
		for row, err := range q.Rows(ctx, query, append([]any{repo}, args...)...) {
			var l Label
			var raw []byte
			if err == nil {
				err = row.Scan(append([]any{&raw}, l.places()...)...)
			}
			if err != nil {
				return err
			}
			d, digestErr := oci.DigestFromBytes(raw)
			if digestErr != nil {
				return digestErr
			}
			all[d] = append(all[d], l)
		}
		return nil
	})
	for _, list := range all {
		slices.SortFunc(list, func(a, b Label) int { return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	}
	return all, err
}
