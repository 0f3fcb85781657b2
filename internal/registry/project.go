package registry

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Project is what repositories belong to.
type Project struct {
	Name   string
	Public bool
}

// Pusher is who pushes.
type Pusher struct {
	Subject   string
	MayCreate bool // a missing project may be made for them
}

// Project answers a project, or NotFound with NAME_UNKNOWN.
func (r *Registry) Project(ctx context.Context, name string) (Project, error) {
	p, err := index.FindProject(ctx, r.DB, name)
	if fail.Is(err, fail.NotFound) {
		return Project{}, fail.E(fail.NotFound, nil, "project %s", name).Code(oci.CodeNameUnknown).Hint("an administrator's push makes it")
	}
	if err != nil {
		return Project{}, fmt.Errorf("find project %s: %w", name, err)
	}
	return Project{Name: p.Name, Public: p.Public}, nil
}

// EnsureProject makes a project unless it is there; one that is there stays as it is.
func (r *Registry) EnsureProject(ctx context.Context, p Project) error {
	if _, err := index.FindProject(ctx, r.DB, p.Name); !fail.Is(err, fail.NotFound) {
		return err
	}
	id := sqldb.NewID()
	err := r.DB.Tx(ctx, "project.add", func(tx *sqldb.Tx) error {
		_, err := index.AddProject(ctx, tx, index.Project{ID: id, Name: p.Name, Public: p.Public})
		return err
	})
	if err != nil {
		return fmt.Errorf("make project %s: %w", p.Name, err)
	}
	return nil
}

// repository answers the id of a repository, and makes it (and its project, private, for one who may) if it is not there. An empty repository is not shown.
func (r *Registry) repository(ctx context.Context, name oci.Name, by Pusher) (int64, error) {
	found, err := index.FindRepository(ctx, r.DB, name)
	if err == nil {
		return found.ID, nil
	}
	if !fail.Is(err, fail.NotFound) {
		return 0, fmt.Errorf("find repository %s: %w", name, err)
	}
	project, err := index.FindProject(ctx, r.DB, name.Project())
	if fail.Is(err, fail.NotFound) && (!by.MayCreate || !r.CreateOnPush) {
		return 0, fail.E(fail.NotFound, nil, "project %s", name.Project()).Code(oci.CodeNameUnknown).
			Hint("an administrator makes a project by pushing into it (projects.create_on_push)")
	}
	if err != nil && !fail.Is(err, fail.NotFound) {
		return 0, fmt.Errorf("find project %s: %w", name.Project(), err)
	}
	if project.ID == 0 {
		project = index.Project{ID: sqldb.NewID(), Name: name.Project()}
	}
	var id int64
	fresh := sqldb.NewID()
	err = r.DB.Tx(ctx, "repository.add", func(tx *sqldb.Tx) error {
		owner, err := index.AddProject(ctx, tx, project)
		if err != nil {
			return err
		}
		id, err = index.AddRepository(ctx, tx, index.Repository{ID: fresh, ProjectID: owner, Name: name})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("make repository %s: %w", name, err)
	}
	return id, nil
}
