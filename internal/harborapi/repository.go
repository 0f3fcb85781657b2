package harborapi

import (
	"net/http"
	"net/url"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// viewer is the caller as one who looks at lists.
func (c *call) viewer() registry.Viewer {
	return registry.Viewer{All: c.who.Admin, User: c.who.User, Robot: c.who.Robot}
}

// ListAllRepositories lists the repositories of all projects that the caller sees.
func (a *API) ListAllRepositories(c *call, p ListAllRepositoriesParams) error {
	ask, err := listing.Parse(p.Q, p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	return a.listRepositories(c, 0, ask)
}

// ListRepositories lists the repositories of a project.
func (a *API) ListRepositories(c *call, p ListRepositoriesParams) error {
	ask, err := listing.Parse(p.Q, p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	return a.listRepositories(c, c.rights.Project.ID, ask)
}

func (a *API) listRepositories(c *call, project int64, ask listing.Ask) error {
	viewer := c.viewer()
	viewer.All = viewer.All || project != 0 // who may list a project's repositories sees them all
	page, total, err := a.Registry.BrowseRepositories(c.Context(), viewer, project, ask)
	if err != nil {
		return err
	}
	entries := make([]Repository, len(page))
	for i, r := range page {
		entries[i] = repositoryOf(r)
	}
	return c.list(entries, total, ask)
}

func repositoryOf(r registry.RepositorySummary) Repository {
	made := fromMicros(r.CreatedAt)
	return Repository{
		ID: r.ID, ProjectID: r.Project, Name: r.Name, Description: r.Description, ArtifactCount: r.Artifacts, PullCount: r.Pulls, CreationTime: &made, UpdateTime: fromMicros(r.PushedAt),
	}
}

// GetRepository answers one repository.
func (a *API) GetRepository(c *call, repositoryName string) error {
	name, err := c.repository(repositoryName)
	if err != nil {
		return err
	}
	found, err := a.Registry.BrowseRepository(c.Context(), name)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, repositoryOf(found))
}

// repository reads the name of a repository in the path, which clients escape twice because of its slashes, and some once. One that can't be is not there.
func (c *call) repository(text string) (oci.Name, error) {
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	name, err := oci.ParseName(c.rights.Project.Name + "/" + text)
	if err != nil {
		return oci.Name{}, fail.E(fail.NotFound, nil, "repository %.200q in %s", text, c.rights.Project.Name)
	}
	return name, nil
}

// reference reads a tag or digest in the path. One that can't be is not there.
func reference(text string) (oci.Reference, error) {
	ref, err := oci.ParseReference(text)
	if err != nil {
		return oci.Reference{}, fail.E(fail.NotFound, nil, "artifact %.100q", text).Hint("name it by its tag or digest")
	}
	return ref, nil
}

// GetStatistic answers how much the caller sees.
func (a *API) GetStatistic(c *call) error {
	s, err := a.Registry.Statistic(c.Context(), c.viewer())
	if err != nil {
		return err
	}
	answer := Statistic{
		PublicProjectCount: s.Public.Projects, PublicRepoCount: s.Public.Repositories, PrivateProjectCount: s.Others.Projects, PrivateRepoCount: s.Others.Repositories,
	}
	if c.who.Admin {
		answer.TotalProjectCount, answer.TotalRepoCount = s.Public.Projects+s.Others.Projects, s.Public.Repositories+s.Others.Repositories
		answer.TotalStorageConsumption = s.Bytes
	}
	return c.json(http.StatusOK, answer)
}
