package harborapi

import (
	"net/http"
	"strconv"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/project"
	"github.com/havn-registry/havn/internal/registry"
)

// The events of labels.
var (
	createdLabel = event{"create", "label"}
	changedLabel = event{"update", "label"}
	deletedLabel = event{"delete", "label"}

	addedLabel   = event{"create", "artifact_label"}
	removedLabel = event{"delete", "artifact_label"}
)

// Scopes of labels.
const (
	globalScope  = "g"
	projectScope = "p"
)

var labelOrders = map[string]project.LabelOrder{
	"name": project.LabelsByName, "id": project.LabelsByID, "creation_time": project.LabelsByCreation, "update_time": project.LabelsByChange,
}

func labelOf(l project.Label) Label {
	answer := Label{ID: l.ID, Name: l.Name, Description: l.Description, Color: l.Color, Scope: globalScope, ProjectID: l.Project, CreationTime: Time(l.CreatedAt), UpdateTime: Time(l.ChangedAt)}
	if l.Project != 0 {
		answer.Scope = projectScope
	}
	return answer
}

// mayLabels lets those pass who may do something to the labels of a project, or of the system if that is 0. The system's may be read by everybody who is known.
func (a *API) mayLabels(c *call, id int64, action string) error {
	o := access.Operation{Resource: "label", Action: action}
	switch {
	case id == 0 && action == "read":
		return nil
	case id == 0:
		return a.requireSystem(c, o)
	}
	name, err := a.Registry.ProjectName(c.Context(), id)
	if fail.Is(err, fail.NotFound) && !c.who.Admin {
		return a.require(c, false)
	}
	if err != nil {
		return err
	}
	return a.requireIn(c, name, o)
}

// ListLabels lists the labels of the system or of a project.
func (a *API) ListLabels(c *call, p ListLabelsParams) error {
	ask, err := listing.Parse(p.Q, p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	query := project.LabelQuery{Offset: int(ask.Offset()), Limit: int(ask.Size)}
	switch {
	case p.Scope == projectScope && p.ProjectID > 0:
		query.Project = p.ProjectID
		err = a.mayLabels(c, p.ProjectID, "list")
	case p.Scope == projectScope:
		err = fail.E(fail.Invalid, nil, "labels of no project").Hint("name it with project_id")
	case p.Scope != globalScope:
		err = fail.E(fail.Invalid, nil, "scope %.40q", p.Scope).Hint("use g for labels of the system, p for those of a project")
	}
	if err != nil {
		return err
	}
	if query.Name, query.Part, err = ask.Text("name"); err != nil {
		return err
	}
	if p.Name != "" {
		query.Part = p.Name
	}
	order, err := ask.OneOrder("name", "id", "creation_time", "update_time")
	if err != nil {
		return err
	}
	if err = ask.NothingElse("name"); err != nil {
		return err
	}
	query.Order, query.Down = labelOrders[order.Field], order.Descending
	page, total, err := a.Projects.Labels(c.Context(), query)
	if err != nil {
		return err
	}
	entries := make([]Label, len(page))
	for i, l := range page {
		entries[i] = labelOf(l)
	}
	return c.list(entries, total, ask)
}

// CreateLabel makes a label.
func (a *API) CreateLabel(c *call, body CreateLabelJSONRequestBody) error {
	made := project.Label{Name: body.Name, Description: body.Description, Color: body.Color}
	switch {
	case body.Scope == projectScope && body.ProjectID > 0:
		made.Project = body.ProjectID
	case body.Scope != globalScope:
		return fail.E(fail.Invalid, nil, "scope %.40q and project %d", body.Scope, body.ProjectID).Hint("use scope g, or p with a project_id")
	}
	if err := a.mayLabels(c, made.Project, "create"); err != nil {
		return err
	}
	id, err := a.Projects.CreateLabel(c.Context(), made)
	if err != nil {
		return err
	}
	c.audited(createdLabel, made.Name, made.Project, "")
	return c.made("/labels/" + strconv.FormatInt(id, 10))
}

// label finds a label to which the caller may do something. To others, one that is not there is as one that they may not see.
func (a *API) label(c *call, id int64, action string) (project.Label, error) {
	found, err := a.Projects.Label(c.Context(), id)
	if fail.Is(err, fail.NotFound) && !c.who.Admin {
		return found, a.require(c, false)
	}
	if err == nil {
		err = a.mayLabels(c, found.Project, action)
	}
	return found, err
}

// GetLabelByID answers one label.
func (a *API) GetLabelByID(c *call, labelID int64) error {
	found, err := a.label(c, labelID, "read")
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, labelOf(found))
}

// UpdateLabel changes name, description and colour of a label.
func (a *API) UpdateLabel(c *call, labelID int64, body UpdateLabelJSONRequestBody) error {
	found, err := a.label(c, labelID, "update")
	if err != nil {
		return err
	}
	before := found.Name
	found.Name, found.Description, found.Color = body.Name, body.Description, body.Color
	if err = a.Projects.UpdateLabel(c.Context(), found); err != nil {
		return err
	}
	c.audited(changedLabel, found.Name, found.Project, "was "+before)
	return c.done()
}

// DeleteLabel deletes a label, from what it is on too.
func (a *API) DeleteLabel(c *call, labelID int64) error {
	found, err := a.label(c, labelID, "delete")
	if err == nil {
		err = a.Projects.DeleteLabel(c.Context(), labelID)
	}
	if err != nil {
		return err
	}
	c.audited(deletedLabel, found.Name, found.Project, "")
	return c.done()
}

// AddLabel puts a label on an artifact. One of another project is not there.
func (a *API) AddLabel(c *call, repositoryName, text string, body AddLabelJSONRequestBody) error {
	found, name, err := a.findToChange(c, repositoryName, text)
	if err != nil {
		return err
	}
	err = a.Projects.Attach(c.Context(), name, found.Digest, body.ID)
	if fail.Is(err, fail.Conflict) {
		return fail.E(fail.NotFound, nil, "label %d", body.ID) // and no word more than of one that is nowhere
	}
	if err != nil {
		return err
	}
	return a.labelled(c, addedLabel, name, found.Digest, body.ID)
}

// RemoveLabel takes a label off an artifact.
func (a *API) RemoveLabel(c *call, repositoryName, text string, labelID int64) error {
	found, name, err := a.findToChange(c, repositoryName, text)
	if err == nil {
		err = a.Projects.Detach(c.Context(), name, found.Digest, labelID)
	}
	if err != nil {
		return err
	}
	return a.labelled(c, removedLabel, name, found.Digest, labelID)
}

// labelled tells that a label was put on an artifact, or taken off it. What can't be found out about the label keeps nobody from telling.
func (a *API) labelled(c *call, e event, name oci.Name, d oci.Digest, label int64) error {
	note := "label " + strconv.FormatInt(label, 10)
	if l, err := a.Projects.Label(c.Context(), label); err == nil {
		note = l.Name
	}
	c.audited(e, name.String()+"@"+d.String(), c.rights.Project.ID, note)
	return c.done()
}

// withLabels adds the labels of a page of artifacts, which are of one repository or several.
func (a *API) withLabels(c *call, page []registry.Artifact, entries []Artifact) error {
	byRepository := map[string][]oci.Digest{}
	for i := range page {
		byRepository[page[i].Repository] = append(byRepository[page[i].Repository], page[i].Digest)
	}
	for text, digests := range byRepository {
		name, err := oci.ParseName(text)
		if err != nil {
			return fail.E(fail.Internal, err, "repository %s, as it is stored", text)
		}
		labels, err := a.Projects.LabelsOf(c.Context(), name, digests)
		if err != nil {
			return err
		}
		for i := range page {
			if page[i].Repository != text {
				continue
			}
			entries[i].Labels = []Label{}
			for _, l := range labels[page[i].Digest] {
				entries[i].Labels = append(entries[i].Labels, labelOf(l))
			}
		}
	}
	return nil
}
