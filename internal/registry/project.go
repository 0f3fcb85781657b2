package registry

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Project is the first segment of repository names. Anyone may pull of a public one.
type Project struct {
	Name   string
	Public bool
}

// Project finds a project: NotFound with NAME_UNKNOWN.
func (r *Registry) Project(ctx context.Context, name string) (Project, error) {
	p, err := index.FindProject(ctx, r.db, name)
	if fail.Is(err, fail.NotFound) {
		return Project{}, projectUnknown(name)
	}
	if err != nil {
		return Project{}, fmt.Errorf("find project %s: %w", name, err)
	}
	return Project{Name: name, Public: p.Public}, nil
}

// EnsureProject makes a project if there is none of this name. One that is there stays as it is.
func (r *Registry) EnsureProject(ctx context.Context, p Project) error {
	_, err := r.Project(ctx, p.Name)
	if !fail.Is(err, fail.NotFound) {
		return err
	}
	err = r.tx(ctx, "project.ensure", func(tx *sqldb.Tx) error {
		_, addErr := r.newProject(ctx, tx, index.Project{Name: p.Name, Public: p.Public})
		return addErr
	})
	if err != nil {
		return fmt.Errorf("make project %s: %w", p.Name, err)
	}
	return nil
}

func projectUnknown(name string) error {
	return fail.E(fail.NotFound, nil, "project %s", name).Code(oci.CodeNameUnknown).Hint("an administrator must make the project first")
}

func nameUnknown(name oci.Name) *fail.Error {
	return fail.E(fail.NotFound, nil, "repository %s", name).Code(oci.CodeNameUnknown).Hint("push to it first, or check the name")
}

// first says what a push makes where it is missing: the repository under an id that is drawn outside the transaction.
type first struct {
	pusher Pusher
	name   oci.Name
	repoID int64
}

func firstPush(p Pusher, name oci.Name) first {
	return first{pusher: p, name: name, repoID: sqldb.NewID()}
}

// ensure finds the repository, or makes it, and its project if the pusher may.
func (r *Registry) ensure(ctx context.Context, tx *sqldb.Tx, f first) (index.Repository, error) {
	repo, err := index.RepositoryByName(ctx, tx, f.name)
	if !fail.Is(err, fail.NotFound) {
		return repo, err
	}
	now := micros(tx.Now())
	p, err := index.FindProject(ctx, tx, f.name.Project())
	if fail.Is(err, fail.NotFound) {
		if !f.pusher.MayCreate || !r.cfg.CreateOnPush {
			return repo, projectUnknown(f.name.Project())
		}
		p.ID, err = r.newProject(ctx, tx, index.Project{Name: f.name.Project()})
	}
	if err != nil {
		return repo, err
	}
	repo = index.Repository{ID: f.repoID, Name: f.name.String()}
	if err = index.InsertRepository(ctx, tx, repo.ID, p.ID, f.name, now); err != nil {
		return repo, err
	}
	repo.Quota, err = index.LimitedProject(ctx, tx, repo.ID)
	return repo, err
}

// unknown answers NAME_UNKNOWN if the repository is absent, else the error that was given.
func (r *Registry) unknown(ctx context.Context, name oci.Name, otherwise error) error {
	_, err := index.RepositoryByName(ctx, r.db, name)
	switch {
	case fail.Is(err, fail.NotFound):
		return nameUnknown(name)
	case err != nil:
		return fmt.Errorf("find repository %s: %w", name, err)
	}
	return otherwise
}
