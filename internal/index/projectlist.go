package index

import (
	"context"
	"strings"

	"github.com/havn-registry/havn/internal/sqldb"
)

// ProjectFilter says which projects a list has. The zero value: all that are public.
type ProjectFilter struct {
	Viewer  Viewer
	ID      int64  // exactly this one; 0: any
	Name    string // exactly this one; "": any
	Part    string // this is a part of the name, in small letters
	Owner   string // the name of the user that made it; "": anybody
	Public  bool   // public ones alone
	Private bool   // others alone

	OwnerID          int64    // the number of the user that made it; 0: anybody
	Created, Changed [2]int64 // when it was made and last changed: from and to, both included; 0 for an open end
}

// ProjectOrder is what a list is sorted by.
type ProjectOrder int

// Orders of lists of projects. Those that are alike come in the order of their ids.
const (
	ByName ProjectOrder = iota
	ByID
	ByCreation
	ByChange
	ByRepositories
)

// ListedProject is a project with what is told of it in lists.
type ListedProject struct {
	Project
	OwnerName    string // "": nobody that is known
	CreatedAt    int64
	ChangedAt    int64
	Repositories int64 // that a manifest was pushed to
}

// Joins of a row p of projects.
const (
	withDetails = " LEFT JOIN project_details d ON d.project = p.id"
	withOwner   = withDetails + " LEFT JOIN users u ON u.id = d.owner"
	counted     = "(SELECT COUNT(*) FROM repositories r WHERE r.project_id = p.id AND r.pushed_at > 0)"
	changed     = "COALESCE(d.changed_at, p.created_at)"
)

// where answers what a filter wants of a row p of projects, u being its owner, and the joins that this needs.
func (f *ProjectFilter) where() (joins, cond string, args []any) {
	cond, args = f.Viewer.sets()
	add := func(c string, a ...any) {
		cond += " AND " + c
		args = append(args, a...)
	}
	if f.ID != 0 {
		add("p.id = ?", f.ID)
	}
	if f.Name != "" {
		add("p.name = ?", f.Name)
	}
	if f.Part != "" {
		add("p.name LIKE ? ESCAPE '!'", "%"+likeEscaper.Replace(f.Part)+"%")
	}
	if f.Owner != "" {
		joins = withOwner
		add("u.name = ?", f.Owner)
	}
	if f.OwnerID != 0 {
		joins = withOwner
		add("d.owner = ?", f.OwnerID)
	}
	for i, sign := range []string{" >= ?", " <= ?"} {
		if f.Created[i] != 0 {
			add("p.created_at"+sign, f.Created[i])
		}
		if f.Changed[i] != 0 {
			joins = withOwner
			add(changed+sign, f.Changed[i])
		}
	}
	if f.Public != f.Private {
		add("p.public = ?", f.Public)
	}
	return joins, cond, args
}

// likeEscaper lets a text stand for itself in LIKE … ESCAPE '!'.
var likeEscaper = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// CountProjects counts the projects of a list.
func CountProjects(ctx context.Context, q sqldb.Querier, f ProjectFilter) (n int64, err error) {
	joins, cond, args := f.where()
	err = q.Row(ctx, "SELECT COUNT(*) FROM projects p"+joins+" WHERE "+cond, args...).Scan(&n)
	return n, err
}

// order answers by what a list is sorted, and what it needs for that.
func (o ProjectOrder) order(down bool) (by, joins string) {
	dir := ""
	if down {
		dir = " DESC"
	}
	switch o {
	case ByID:
		return "p.id" + dir, ""
	case ByCreation:
		return "p.created_at" + dir + ", p.id" + dir, ""
	case ByChange:
		return changed + dir + ", p.id" + dir, withDetails
	case ByRepositories:
		return counted + dir + ", p.id" + dir, ""
	default:
		return "p.name" + dir, ""
	}
}

// Projects lists limit projects behind the first offset ones. What is told of each is looked up for those alone.
func Projects(ctx context.Context, q sqldb.Querier, f ProjectFilter, o ProjectOrder, down bool, offset, limit int) ([]ListedProject, error) {
	joins, cond, args := f.where()
	by, more := o.order(down)
	if joins == "" {
		joins = more
	}
	query := "SELECT p.id, p.name, p.public, p.created_at, " + changed + ", d.owner, u.name, " + counted +
		" FROM (SELECT p.id FROM projects p" + joins + " WHERE " + cond + " ORDER BY " + by + " LIMIT ? OFFSET ?) page JOIN projects p ON p.id = page.id" + withOwner + " ORDER BY " + by
	var all []ListedProject
	for row, err := range q.Rows(ctx, query, append(args, limit, offset)...) {
		var p ListedProject
		var owner *int64
		var name *string
		if err == nil {
			err = row.Scan(&p.ID, &p.Name, &p.Public, &p.CreatedAt, &p.ChangedAt, &owner, &name, &p.Repositories)
		}
		if err != nil {
			return nil, err
		}
		if owner != nil && name != nil {
			p.Owner, p.OwnerName = *owner, *name
		}
		all = append(all, p)
	}
	return all, nil
}
