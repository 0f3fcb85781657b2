package project

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Projects is safe for concurrent use, by several processes on one database.
type Projects struct {
	db       *sqldb.DB
	registry *registry.Registry
}

// New makes the Projects of a migrated database, whose repositories are those of a registry on the same.
func New(db *sqldb.DB, r *registry.Registry) *Projects { return &Projects{db: db, registry: r} }

// Project is a project as people see it.
type Project struct {
	ID           int64
	Name         string
	Public       bool
	Owner        int64  // the user that made it; 0: nobody that is known
	OwnerName    string // "" likewise
	CreatedAt    time.Time
	ChangedAt    time.Time
	Repositories int64             // that a manifest was pushed to
	Metadata     map[string]string // "public" is in it too
	Allowlist    Allowlist
}

// MaxNameBytes is the longest name: a repository needs a '/' and one more letter.
const MaxNameBytes = oci.MaxNameBytes - 2

// CheckName checks the name of a project that is to be made. Invalid if it can't be one.
//
// It is what Harbor takes: a segment of a repository's name with no two marks side by side.
func CheckName(name string) error {
	if name == "" || len(name) > MaxNameBytes {
		return fail.E(fail.Invalid, nil, "project name of %d bytes", len(name)).Hint("use 1 to %d", MaxNameBytes)
	}
	_, err := oci.ParseName(name + "/a")
	if err != nil || strings.ContainsAny(name, "/") || strings.Contains(name, "__") || strings.Contains(name, "--") {
		return fail.E(fail.Invalid, nil, "project name %q", name).Hint("use small letters and digits, with single '.', '_' or '-' between them")
	}
	return nil
}

// Create is a project that is to be made.
type Create struct {
	Name     string
	Owner    int64             // a user's number, who becomes an administrator of the project; 0: nobody
	Metadata map[string]string // see Keys; private if "public" is not in it
	Quota    *int64            // bytes, or registry.Unlimited; nil: what new projects get
}

// errTaken ends a transaction that found the name in use. It is not fail.Exists, after which a transaction is run again to look once more.
var errTaken = errors.New("the name is taken")

// ownerRole is the role of who makes a project, by its number in members: an administrator of it.
const ownerRole = 1

// Create makes a project, with its metadata, its quota and its owner's membership, in one transaction, and answers its number. Exists if there is one of its name.
func (p *Projects) Create(ctx context.Context, c Create) (id int64, err error) {
	if err = CheckName(c.Name); err != nil {
		return 0, err
	}
	set, err := normal(c.Metadata)
	if err != nil {
		return 0, err
	}
	delete(set, keyRetention) // "" is all that it may be
	limit := p.registry.DefaultQuota()
	if c.Quota != nil {
		limit = *c.Quota
	}
	if err = registry.CheckLimit(limit); err != nil {
		return 0, err
	}
	public := set[keyPublic] == strconv.FormatBool(true)
	delete(set, keyPublic)
	op := sqldb.NewToken()
	err = p.db.Tx(ctx, "project.create", func(tx *sqldb.Tx) error {
		mine, txErr := index.ClaimOp(ctx, tx, op, sqldb.Micros(tx.Now()))
		if txErr != nil {
			return txErr
		}
		if !mine { // an earlier run was committed
			found, findErr := index.FindProject(ctx, tx, c.Name)
			id = found.ID
			return findErr
		}
		var fresh bool
		id, fresh, txErr = index.InsertProject(ctx, tx, index.Project{Name: c.Name, Public: public, Owner: c.Owner})
		if txErr != nil {
			return txErr
		}
		if !fresh {
			return errTaken
		}
		if txErr = registry.LimitNew(ctx, tx, id, limit); txErr != nil {
			return txErr
		}
		if c.Owner != 0 {
			if txErr = index.InsertMember(ctx, tx, id, c.Owner, ownerRole); txErr != nil {
				return txErr
			}
		}
		return setAll(ctx, tx, id, set)
	})
	switch {
	case errors.Is(err, errTaken):
		return 0, fail.E(fail.Exists, nil, "project %s is there already", c.Name).Hint("choose another name")
	case fail.CodeOf(err) == sqldb.CodeFK:
		return 0, fail.E(fail.NotFound, err, "user %d", c.Owner)
	case err != nil:
		return 0, fmt.Errorf("make project %s: %w", c.Name, err)
	}
	return id, nil
}

// setAll sets keys, in the order of their names.
func setAll(ctx context.Context, tx *sqldb.Tx, id int64, set map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if err := index.SetMetadata(ctx, tx, id, key, set[key]); err != nil {
			return err
		}
	}
	return nil
}

// Get finds a project by its number, whoever asks. NotFound if there is none.
func (p *Projects) Get(ctx context.Context, id int64) (Project, error) {
	found, err := p.one(ctx, index.ProjectFilter{Viewer: index.Viewer{All: true}, ID: id})
	if fail.Is(err, fail.NotFound) {
		return Project{}, unknown(id)
	}
	return found, err
}

// ByName finds a project by its name, whoever asks. NotFound if there is none.
func (p *Projects) ByName(ctx context.Context, name string) (Project, error) {
	found, err := p.one(ctx, index.ProjectFilter{Viewer: index.Viewer{All: true}, Name: name})
	if fail.Is(err, fail.NotFound) {
		return Project{}, fail.E(fail.NotFound, nil, "project %s", name)
	}
	return found, err
}

func unknown(id int64) error { return fail.E(fail.NotFound, nil, "project %d", id) }

// one finds the one project that a filter leaves.
func (p *Projects) one(ctx context.Context, f index.ProjectFilter) (Project, error) {
	if f.ID == 0 && f.Name == "" {
		return Project{}, fail.E(fail.NotFound, nil, "project without a name")
	}
	var found []Project
	err := p.db.View(ctx, "project.find", func(q sqldb.Querier) (err error) {
		found, err = projects(ctx, q, f, index.ByID, false, 0, 1)
		return err
	})
	switch {
	case err != nil:
		return Project{}, fmt.Errorf("find project: %w", err)
	case len(found) == 0:
		return Project{}, fail.E(fail.NotFound, nil, "project")
	}
	return found[0], nil
}

// projects reads a page with what is set of each.
func projects(ctx context.Context, q sqldb.Querier, f index.ProjectFilter, o index.ProjectOrder, down bool, offset, limit int) ([]Project, error) {
	rows, err := index.Projects(ctx, q, f, o, down, offset, limit)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	set, err := index.Metadata(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	all := make([]Project, len(rows))
	for i, row := range rows {
		all[i] = Project{
			ID: row.ID, Name: row.Name, Public: row.Public, Owner: row.Owner, OwnerName: row.OwnerName, Repositories: row.Repositories,
			CreatedAt: sqldb.FromMicros(row.CreatedAt), ChangedAt: sqldb.FromMicros(row.ChangedAt),
		}
		if all[i].Metadata, all[i].Allowlist, err = shown(row.Public, set[row.ID]); err != nil {
			return nil, fmt.Errorf("project %s: %w", row.Name, err)
		}
	}
	return all, nil
}

// Change is what is to be changed of a project. Metadata that is not named stays as it is.
type Change struct {
	Metadata  map[string]string
	Allowlist *Allowlist // nil: stays as it is
}

// Update changes a project. NotFound if there is none; Invalid, and nothing is changed, if one value can't be.
func (p *Projects) Update(ctx context.Context, id int64, c Change) error {
	set, err := normal(c.Metadata)
	if err != nil {
		return err
	}
	var list storedAllowlist
	if c.Allowlist != nil {
		if list, err = c.Allowlist.checked(); err != nil {
			return err
		}
	}
	err = p.change(ctx, id, "project.update", func(tx *sqldb.Tx) error {
		if txErr := sameRetention(ctx, tx, id, set); txErr != nil {
			return txErr
		}
		rest := maps.Clone(set)
		delete(rest, keyRetention)
		if c.Allowlist != nil {
			var txErr error
			list.ChangedAt = tx.Now().Unix()
			if rest[keyAllowlist], txErr = list.encode(); txErr != nil {
				return txErr
			}
		}
		if public, ok := rest[keyPublic]; ok {
			delete(rest, keyPublic)
			if txErr := index.SetPublic(ctx, tx, id, public == strconv.FormatBool(true)); txErr != nil {
				return txErr
			}
		}
		return setAll(ctx, tx, id, rest)
	})
	if err != nil {
		return fmt.Errorf("change project %d: %w", id, err)
	}
	return nil
}

// change runs a transaction that changes a project, once, and notes when.
func (p *Projects) change(ctx context.Context, id int64, name string, fn func(tx *sqldb.Tx) error) error {
	err := p.once(ctx, name, func(tx *sqldb.Tx) error {
		_, err := index.ProjectByID(ctx, tx, id)
		if fail.Is(err, fail.NotFound) {
			return unknown(id)
		}
		if err != nil {
			return err
		}
		if err = fn(tx); err != nil {
			return err
		}
		return index.TouchProject(ctx, tx, id)
	})
	if fail.CodeOf(err) == sqldb.CodeFK {
		return unknown(id) // it was deleted meanwhile
	}
	return err
}

// once runs a transaction. A second run of one that was applied must not undo what others did meanwhile.
func (p *Projects) once(ctx context.Context, name string, fn func(tx *sqldb.Tx) error) error {
	_, err := p.some(ctx, name, func(tx *sqldb.Tx) (bool, error) { return false, fn(tx) })
	return err
}

// some is once for one of several transactions; more: it was not the last.
func (p *Projects) some(ctx context.Context, name string, fn func(tx *sqldb.Tx) (more bool, err error)) (more bool, err error) {
	once := index.NewOnce[bool]()
	err = p.db.Tx(ctx, name, func(tx *sqldb.Tx) (err error) {
		more, err = once.Run(ctx, tx, func() (bool, error) { return fn(tx) })
		return err
	})
	return more, err
}

// keyed is once for functions that look before they insert a child or delete a parent. A key that forbids it although the function looked is a race with another node: the next look sees what it is.
func (p *Projects) keyed(ctx context.Context, name string, fn func(tx *sqldb.Tx) error) error {
	_, err := p.keyedSome(ctx, name, func(tx *sqldb.Tx) (bool, error) { return false, fn(tx) })
	return err
}

// keyedSome is some for such functions.
func (p *Projects) keyedSome(ctx context.Context, name string, fn func(tx *sqldb.Tx) (more bool, err error)) (more bool, err error) {
	for n := 1; ; n++ {
		more, err = p.some(ctx, name, fn)
		if n >= keyTries || fail.CodeOf(err) != sqldb.CodeFK {
			return more, err
		}
	}
}
