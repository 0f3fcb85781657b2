package harborapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/project"
	"github.com/havn-registry/havn/internal/registry"
)

// The events of projects.
var (
	createdProject = event{"create", "project"}
	changedProject = event{"update", "project"}
	deletedProject = event{"delete", "project"}
)

// storage is the one resource of quotas.
const storage = "storage"

// projectOrders are what lists of projects can be sorted by.
var projectOrders = map[string]project.Order{
	"name": project.ByName, "project_id": project.ByID, "creation_time": project.ByCreation, "update_time": project.ByChange, "repo_count": project.ByRepositories,
}

// ListProjects lists the projects that the caller sees.
func (a *API) ListProjects(c *call, p ListProjectsParams) error {
	ask, err := listing.Parse(p.Q, p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	query := project.Query{Viewer: project.Viewer(c.viewer()), Offset: int(ask.Offset()), Limit: int(ask.Size)}
	public, err := projectFilter(&ask, &query)
	if err != nil {
		return err
	}
	order, err := ask.OneOrder("name", "project_id", "creation_time", "update_time", "repo_count")
	if err != nil {
		return err
	}
	if p.Name != "" {
		query.Part = p.Name
	}
	if p.Owner != "" {
		query.Owner = p.Owner
	}
	if p.Public != nil {
		public = p.Public
	}
	if public != nil {
		query.Public, query.Private = *public, !*public
	}
	query.Part = strings.ToLower(query.Part)
	query.Order, query.Down = projectOrders[order.Field], order.Descending
	page, total, err := a.Projects.List(c.Context(), query)
	if err != nil {
		return err
	}
	entries, err := a.projectsOf(c, page)
	if err != nil {
		return err
	}
	return c.list(entries, total, ask)
}

// projectFilter reads what q says of projects, and whether public ones are asked for.
func projectFilter(ask *listing.Ask, query *project.Query) (public *bool, err error) {
	if query.Name, query.Part, err = ask.Text("name"); err != nil {
		return nil, err
	}
	if query.Owner, _, err = ask.Text("owner"); err != nil {
		return nil, err
	}
	for name, to := range map[string]*int64{"project_id": &query.ID, "owner_id": &query.OwnerID} {
		if *to, _, err = ask.Number(name); err != nil {
			return nil, err
		}
	}
	for name, to := range map[string]*project.Span{"creation_time": &query.Created, "update_time": &query.Changed} {
		for _, f := range ask.Take(name) {
			if to.From, to.To, err = f.Times(); err != nil {
				return nil, err
			}
		}
	}
	if public, err = ask.Flag("public"); err != nil {
		return nil, err
	}
	return public, ask.NothingElse("name", "owner", "owner_id", "project_id", "public", "creation_time", "update_time")
}

// projectsOf answers projects with the roles that the caller has in them.
func (a *API) projectsOf(c *call, page []project.Project) ([]Project, error) {
	ids := make([]int64, len(page))
	for i, p := range page {
		ids[i] = p.ID
	}
	roles := map[int64][]access.Role{}
	if c.who.User != 0 && len(ids) > 0 {
		var err error
		if roles, err = a.Access.RolesIn(c.Context(), c.who.User, ids); err != nil {
			return nil, err
		}
	}
	entries := make([]Project, len(page))
	for i, p := range page {
		one, err := projectOf(p)
		if err != nil {
			return nil, err
		}
		for _, r := range roles[p.ID] {
			one.CurrentUserRoleIds = append(one.CurrentUserRoleIds, int32(r))
		}
		if len(roles[p.ID]) > 0 {
			one.CurrentUserRoleID = int64(roles[p.ID][0])
		}
		entries[i] = one
	}
	return entries, nil
}

func projectOf(p project.Project) (Project, error) {
	answer := Project{
		ProjectID: int32(p.ID), Name: p.Name, OwnerID: int32(p.Owner), OwnerName: p.OwnerName, RepoCount: p.Repositories, CreationTime: Time(p.CreatedAt), UpdateTime: Time(p.ChangedAt),
		CveAllowlist: CVEAllowlist{ID: p.ID, ProjectID: p.ID, Items: make([]CVEAllowlistItem, len(p.Allowlist.CVEs)), CreationTime: Time(p.Allowlist.ChangedAt), UpdateTime: Time(p.Allowlist.ChangedAt)},
	}
	for i, cve := range p.Allowlist.CVEs {
		answer.CveAllowlist.Items[i].CveID = cve
	}
	if !p.Allowlist.ExpiresAt.IsZero() {
		at := p.Allowlist.ExpiresAt.Unix()
		answer.CveAllowlist.ExpiresAt = &at
	}
	text, err := json.Marshal(p.Metadata)
	if err == nil {
		err = json.Unmarshal(text, &answer.Metadata)
	}
	if err != nil {
		return Project{}, fail.E(fail.Internal, err, "metadata of project %s", p.Name)
	}
	return answer, nil
}

// metadataOf answers what a body sets.
func metadataOf(body ProjectReq) (map[string]string, error) {
	set := map[string]string{}
	text, err := json.Marshal(body.Metadata)
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	if err != nil {
		return nil, fail.E(fail.Internal, err, "metadata of a body")
	}
	if body.Public != nil && body.Metadata.Public == "" { // as old clients write it
		set["public"] = strconv.FormatBool(*body.Public)
	}
	return set, nil
}

// HeadProject answers whether there is a project of a name.
func (a *API) HeadProject(c *call, p HeadProjectParams) error {
	if _, err := a.Projects.ByName(c.Context(), p.ProjectName); err != nil {
		return err
	}
	return c.done()
}

// CreateProject makes a project, of which the caller is an administrator from then on.
func (a *API) CreateProject(c *call, p CreateProjectParams, body CreateProjectJSONRequestBody) error {
	system, err := a.Access.MaySystem(c.Context(), c.who, access.Operation{Resource: "project", Action: "create"})
	if err != nil {
		return err
	}
	if err = a.require(c, system || c.who.User != 0 && a.Settings.Live().ProjectCreationRestriction == config.EveryoneCreates); err != nil {
		return err
	}
	if body.RegistryID != nil {
		return fail.E(fail.Unsupported, nil, "caches of other registries are not offered yet").Code(codeNotYet).Hint("leave registry_id out")
	}
	made := project.Create{Name: body.ProjectName, Owner: c.who.User}
	if made.Metadata, err = metadataOf(body); err != nil {
		return err
	}
	if made.Metadata["retention_id"] != "" {
		return fail.E(fail.Invalid, nil, "retention_id of a project that is to be made").Hint("leave it out: it is set when a retention policy is made")
	}
	if c.who.Admin && body.StorageLimit != nil && *body.StorageLimit != 0 {
		made.Quota = body.StorageLimit
	}
	id, err := a.Projects.Create(c.Context(), made)
	if err != nil {
		return err
	}
	c.audited(createdProject, body.ProjectName, id, "")
	if p.XResourceNameInLocation {
		return c.made("/projects/" + body.ProjectName)
	}
	return c.made(fmt.Sprintf("/projects/%d", id))
}

// GetProject answers one project.
func (a *API) GetProject(c *call) error {
	found, err := a.Projects.Get(c.Context(), c.rights.Project.ID)
	if err != nil {
		return err
	}
	all, err := a.projectsOf(c, []project.Project{found})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, all[0])
}

// UpdateProject changes what the body names. As in Harbor, name and quota are not changed here.
func (a *API) UpdateProject(c *call, body UpdateProjectJSONRequestBody) error {
	var change project.Change
	var err error
	if change.Metadata, err = metadataOf(body); err != nil {
		return err
	}
	if list := body.CveAllowlist; list.Items != nil || list.ExpiresAt != nil {
		if list.ProjectID != 0 && list.ProjectID != c.rights.Project.ID {
			return fail.E(fail.Invalid, nil, "an allowlist of project %d", list.ProjectID).Hint("leave project_id out")
		}
		change.Allowlist = &project.Allowlist{}
		for _, item := range list.Items {
			change.Allowlist.CVEs = append(change.Allowlist.CVEs, item.CveID)
		}
		if list.ExpiresAt != nil {
			change.Allowlist.ExpiresAt = time.Unix(*list.ExpiresAt, 0)
		}
	}
	if err = a.Projects.Update(c.Context(), c.rights.Project.ID, change); err != nil {
		return err
	}
	c.audited(changedProject, c.rights.Project.Name, c.rights.Project.ID, "")
	return c.done()
}

// DeleteProject deletes a project without repositories; one with some is 412, as in Harbor.
func (a *API) DeleteProject(c *call) error {
	err := a.Projects.Delete(c.Context(), c.rights.Project.ID)
	if fail.Is(err, fail.Conflict) {
		return fail.E(fail.Conflict, err, "project %s has repositories", c.rights.Project.Name).Code(codePrecondition).Hint("delete them first")
	}
	if err != nil {
		return c.brokeOff(err, deletedProject, c.rights.Project.Name, c.rights.Project.ID)
	}
	c.audited(deletedProject, c.rights.Project.Name, c.rights.Project.ID, "")
	return c.done()
}

// GetProjectDeletable answers whether a project could be deleted.
func (a *API) GetProjectDeletable(c *call) error {
	why, err := a.Projects.Deletable(c.Context(), c.rights.Project.ID)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, ProjectDeletable{Deletable: why == "", Message: why})
}

// GetProjectSummary answers a project in numbers: those that the caller may know.
func (a *API) GetProjectSummary(c *call) error {
	s, err := a.Projects.Summary(c.Context(), c.rights.Project.ID)
	if err != nil {
		return err
	}
	answer := ProjectSummary{RepoCount: s.Repositories}
	if c.rights.May(access.Operation{Resource: "member", Action: "list"}) {
		of := func(r access.Role) int64 { return s.Members[int(r)] }
		answer.ProjectAdminCount, answer.MaintainerCount, answer.DeveloperCount = of(access.ProjectAdmin), of(access.Maintainer), of(access.Developer)
		answer.GuestCount, answer.LimitedGuestCount = of(access.Guest), of(access.LimitedGuest)
	}
	if c.rights.May(access.Operation{Resource: "quota", Action: "read"}) {
		q, quotaErr := a.Projects.Quota(c.Context(), c.rights.Project.ID)
		if quotaErr != nil {
			return quotaErr
		}
		answer.Quota = ProjectSummaryQuota{Hard: ResourceList{storage: q.Limit}, Used: usedOf(q)}
	}
	return c.json(http.StatusOK, answer)
}

// usedOf answers what a project has; nothing is told where it is not counted.
func usedOf(q project.Quota) ResourceList {
	if q.Used < 0 {
		return ResourceList{}
	}
	return ResourceList{storage: q.Used}
}

// GetScannerOfProject answers that there is none. Harbor's Terraform provider asks for it whenever it reads a project, and goes on after 404 alone.
func (a *API) GetScannerOfProject(c *call) error {
	return fail.E(fail.NotFound, nil, "project %s has no scanner", c.rights.Project.Name).Hint("it comes with scans")
}

// ListImmuRules answers that there are none, and none can be made yet: `harbor project delete --force` looks for them first.
func (a *API) ListImmuRules(c *call) error {
	return c.list([]struct{}{}, 0, listing.Ask{Page: 1, Size: listing.MaxPage})
}

// Search finds projects and repositories by a part of their names, of what the caller sees: at most a page of each. Harbor has no pages here.
func (a *API) Search(c *call, p SearchParams) error {
	part := strings.ToLower(p.Q)
	projects, _, err := a.Projects.List(c.Context(), project.Query{Viewer: project.Viewer(c.viewer()), Part: part})
	if err != nil {
		return err
	}
	ask := listing.Ask{Page: 1, Size: listing.MaxPage, Filters: []listing.Filter{{Field: "name", Op: listing.Contains, Values: []string{part}}}}
	var repositories []registry.RepositorySummary
	if part != "" {
		repositories, _, err = a.Registry.BrowseRepositories(c.Context(), c.viewer(), 0, ask)
	}
	if err != nil {
		return err
	}
	answer := struct {
		Project    []Project          `json:"project"`
		Repository []SearchRepository `json:"repository"`
	}{Repository: make([]SearchRepository, len(repositories))}
	if answer.Project, err = a.projectsOf(c, projects); err != nil {
		return err
	}
	for i, r := range repositories {
		name, _, _ := strings.Cut(r.Name, "/")
		answer.Repository[i] = SearchRepository{ProjectID: r.Project, ProjectName: name, ProjectPublic: r.Public, RepositoryName: r.Name, PullCount: r.Pulls, ArtifactCount: r.Artifacts}
	}
	return c.json(http.StatusOK, answer)
}
