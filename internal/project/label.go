package project

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Label is a mark that people give to manifests.
type Label struct {
	ID          int64
	Project     int64  // 0: it is for all projects
	Name        string // 1 to 128 letters of any kind, no spaces around them
	Description string // at most 1024
	Color       string // at most 16, as #61717D
	CreatedAt   time.Time
	ChangedAt   time.Time
}

const (
	maxLabelName        = 128
	maxLabelDescription = 1024
	maxLabelColor       = 16
)

// check checks what people wrote.
func (l *Label) check() error {
	l.Name = strings.TrimSpace(l.Name)
	if l.Name == "" {
		return fail.E(fail.Invalid, nil, "label without a name").Hint("give it one")
	}
	for _, part := range []struct {
		what, text string
		most       int
	}{{"name", l.Name, maxLabelName}, {"description", l.Description, maxLabelDescription}, {"colour", l.Color, maxLabelColor}} {
		if err := checkText(part.text, part.most); err != nil {
			return fail.E(fail.Invalid, err, "%s of a label", part.what).Hint("%s", fail.HintOf(err))
		}
	}
	return nil
}

// checkText checks a text of at most so many letters. Line breaks and tabs are fine.
func checkText(text string, most int) error {
	if !utf8.ValidString(text) {
		return fail.E(fail.Invalid, nil, "not UTF-8").Hint("send UTF-8")
	}
	if n := utf8.RuneCountInString(text); n > most {
		return fail.E(fail.Invalid, nil, "%d letters", n).Hint("use at most %d", most)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) }) {
		return fail.E(fail.Invalid, nil, "control characters").Hint("leave them out")
	}
	return nil
}

func shownLabel(l index.Label) Label {
	return Label{
		ID: l.ID, Project: l.Project, Name: l.Name, Description: l.Description, Color: l.Color, CreatedAt: sqldb.FromMicros(l.CreatedAt), ChangedAt: sqldb.FromMicros(l.ChangedAt),
	}
}

func labelUnknown(id int64) error { return fail.E(fail.NotFound, nil, "label %d", id) }

func labelTaken(name string) error {
	return fail.E(fail.Exists, nil, "label %.100q is there already", name).Hint("choose another name")
}

// CreateLabel makes a label and answers its number; ID and times are not read. Exists if its project, or all of them together, has one of its name; NotFound if there is no such project.
func (p *Projects) CreateLabel(ctx context.Context, l Label) (id int64, err error) {
	if err = l.check(); err != nil {
		return 0, err
	}
	row := index.Label{Project: l.Project, Name: l.Name, Description: l.Description, Color: l.Color}
	op := sqldb.NewToken()
	err = p.db.Tx(ctx, "label.create", func(tx *sqldb.Tx) error {
		mine, txErr := index.ClaimOp(ctx, tx, op, sqldb.Micros(tx.Now()))
		if txErr != nil {
			return txErr
		}
		if !mine { // an earlier run was committed
			made, findErr := index.LabelByName(ctx, tx, l.Project, l.Name)
			id = made.ID
			return findErr
		}
		var fresh bool
		if id, fresh, txErr = index.InsertLabel(ctx, tx, row); txErr == nil && !fresh {
			txErr = errTaken
		}
		return txErr
	})
	switch {
	case errors.Is(err, errTaken):
		return 0, labelTaken(l.Name)
	case fail.CodeOf(err) == sqldb.CodeFK:
		return 0, unknown(l.Project)
	case err != nil:
		return 0, fmt.Errorf("make label %q: %w", l.Name, err)
	}
	return id, nil
}

// Label finds a label. NotFound if there is none.
func (p *Projects) Label(ctx context.Context, id int64) (Label, error) {
	l, err := index.FindLabel(ctx, p.db, id)
	if fail.Is(err, fail.NotFound) {
		return Label{}, labelUnknown(id)
	}
	if err != nil {
		return Label{}, fmt.Errorf("find label %d: %w", id, err)
	}
	return shownLabel(l), nil
}

// LabelQuery says which labels are listed, and how.
type LabelQuery struct {
	Project int64  // of this project; 0: those for all projects
	Name    string // exactly this one; "": any
	Part    string // this is a part of the name
	Order   LabelOrder
	Down    bool // from the last to the first
	Offset  int
	Limit   int // 0, and more than MaxPage: MaxPage
}

// LabelOrder is what a list of labels is sorted by.
type LabelOrder int

// Orders of lists of labels.
const (
	LabelsByName     LabelOrder = LabelOrder(index.LabelsByName)
	LabelsByID       LabelOrder = LabelOrder(index.LabelsByID)
	LabelsByCreation LabelOrder = LabelOrder(index.LabelsByCreation)
	LabelsByChange   LabelOrder = LabelOrder(index.LabelsByChange)
)

// Labels answers a page of labels, and how many there are in all.
func (p *Projects) Labels(ctx context.Context, query LabelQuery) (page []Label, total int64, err error) {
	if query.Limit <= 0 || query.Limit > MaxPage {
		query.Limit = MaxPage
	}
	f := index.LabelFilter{Project: query.Project, Name: query.Name, Part: query.Part}
	err = p.db.View(ctx, "label.list", func(q sqldb.Querier) error {
		rows, viewErr := index.Labels(ctx, q, f, index.LabelOrder(query.Order), query.Down, max(0, query.Offset), query.Limit)
		if viewErr != nil {
			return viewErr
		}
		page = make([]Label, len(rows))
		for i, row := range rows {
			page[i] = shownLabel(row)
		}
		total, viewErr = index.CountLabels(ctx, q, f)
		return viewErr
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list labels: %w", err)
	}
	return page, total, nil
}

// UpdateLabel changes name, description and colour of the label with the number l.ID. NotFound if there is none; Exists if its project has another of that name.
func (p *Projects) UpdateLabel(ctx context.Context, l Label) error {
	if err := l.check(); err != nil {
		return err
	}
	err := p.once(ctx, "label.update", func(tx *sqldb.Tx) error {
		row, txErr := index.FindLabel(ctx, tx, l.ID)
		if fail.Is(txErr, fail.NotFound) {
			return labelUnknown(l.ID)
		}
		if txErr != nil {
			return txErr
		}
		other, txErr := index.LabelByName(ctx, tx, row.Project, l.Name)
		if txErr == nil && other.ID != l.ID {
			return errTaken
		}
		if txErr != nil && !fail.Is(txErr, fail.NotFound) {
			return txErr
		}
		row.Name, row.Description, row.Color = l.Name, l.Description, l.Color
		return index.UpdateLabel(ctx, tx, row)
	})
	if errors.Is(err, errTaken) || fail.Is(err, fail.Exists) {
		return labelTaken(l.Name)
	}
	if err != nil {
		return fmt.Errorf("change label %d: %w", l.ID, err)
	}
	return nil
}

// DeleteLabel removes a label, from all manifests that have it first, in transactions of bounded size: a crash leaves it on fewer. NotFound if there is none.
func (p *Projects) DeleteLabel(ctx context.Context, id int64) error {
	for more, begun := true, false; more; begun = true {
		var err error
		more, err = p.keyedSome(ctx, "label.delete", func(tx *sqldb.Tx) (bool, error) {
			_, txErr := index.FindLabel(ctx, tx, id)
			if fail.Is(txErr, fail.NotFound) && begun {
				return false, nil // somebody else came to the end first
			}
			if fail.Is(txErr, fail.NotFound) {
				return false, labelUnknown(id)
			}
			if txErr != nil {
				return false, txErr
			}
			n, txErr := index.DetachSome(ctx, tx, id, deleteAtOnce)
			if txErr != nil || n >= deleteAtOnce {
				return true, txErr
			}
			return false, index.DeleteLabel(ctx, tx, id)
		})
		if err != nil {
			return fmt.Errorf("delete label %d: %w", id, err)
		}
	}
	return nil
}

// Attach gives a manifest a label. Exists if it has it; NotFound if there is no such label or manifest; Conflict if the label is another project's.
func (p *Projects) Attach(ctx context.Context, repo oci.Name, d oci.Digest, label int64) error {
	err := p.keyed(ctx, "label.attach", func(tx *sqldb.Tx) error {
		row, txErr := labelled(ctx, tx, repo, d)
		if txErr != nil {
			return txErr
		}
		l, txErr := index.FindLabel(ctx, tx, label)
		if fail.Is(txErr, fail.NotFound) {
			return labelUnknown(label)
		}
		if txErr != nil {
			return txErr
		}
		if l.Project != 0 {
			project, findErr := index.FindProject(ctx, tx, repo.Project())
			if findErr != nil {
				return findErr
			}
			if l.Project != project.ID {
				return fail.E(fail.Conflict, nil, "label %d is another project's", label).Hint("use one of the project, or one for all projects")
			}
		}
		fresh, txErr := index.Attach(ctx, tx, row, d, label)
		if txErr == nil && !fresh {
			txErr = errTaken
		}
		return txErr
	})
	if errors.Is(err, errTaken) {
		return fail.E(fail.Exists, nil, "label %d is on %s of %s already", label, d, repo)
	}
	if err != nil {
		return fmt.Errorf("label %s of %s: %w", d, repo, err)
	}
	return nil
}

// labelled answers the repository of a manifest that is there.
func labelled(ctx context.Context, q sqldb.Querier, repo oci.Name, d oci.Digest) (int64, error) {
	row, err := index.RepositoryByName(ctx, q, repo)
	if fail.Is(err, fail.NotFound) {
		return 0, fail.E(fail.NotFound, nil, "repository %s", repo)
	}
	if err != nil {
		return 0, err
	}
	there, err := index.HasManifest(ctx, q, row.ID, d)
	if err == nil && !there {
		err = fail.E(fail.NotFound, nil, "manifest %s in %s", d, repo)
	}
	return row.ID, err
}

// Detach takes a label from a manifest. NotFound if it does not have it.
func (p *Projects) Detach(ctx context.Context, repo oci.Name, d oci.Digest, label int64) error {
	err := p.once(ctx, "label.detach", func(tx *sqldb.Tx) error {
		row, txErr := labelled(ctx, tx, repo, d)
		if txErr != nil {
			return txErr
		}
		n, txErr := index.Detach(ctx, tx, row, d, label)
		if txErr == nil && n == 0 {
			txErr = fail.E(fail.NotFound, nil, "label %d", label)
		}
		return txErr
	})
	if err != nil {
		return fmt.Errorf("take a label from %s of %s: %w", d, repo, err)
	}
	return nil
}

// LabelsOf answers the labels of some manifests of a repository, by name. What is absent has none.
func (p *Projects) LabelsOf(ctx context.Context, repo oci.Name, list []oci.Digest) (map[oci.Digest][]Label, error) {
	all := map[oci.Digest][]Label{}
	err := p.db.View(ctx, "label.of", func(q sqldb.Querier) error {
		clear(all)
		row, viewErr := index.RepositoryByName(ctx, q, repo)
		if fail.Is(viewErr, fail.NotFound) {
			return nil
		}
		if viewErr != nil {
			return viewErr
		}
		found, viewErr := index.LabelsOf(ctx, q, row.ID, list)
		for d, labels := range found {
			for _, l := range labels {
				all[d] = append(all[d], shownLabel(l))
			}
		}
		return viewErr
	})
	if err != nil {
		return nil, fmt.Errorf("read labels of manifests of %s: %w", repo, err)
	}
	return all, nil
}
