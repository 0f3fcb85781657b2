package harborapi

import (
	"net/http"

	"github.com/havn-registry/havn/internal/fail"
)

// ListProjectMetadatas answers all metadata of a project.
func (a *API) ListProjectMetadatas(c *call) error {
	all, err := a.Projects.Metadata(c.Context(), c.rights.Project.ID)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, all)
}

// AddProjectMetadatas sets one piece of metadata.
func (a *API) AddProjectMetadatas(c *call, body AddProjectMetadatasJSONRequestBody) error {
	if len(body) != 1 {
		return fail.E(fail.Invalid, nil, "%d pieces of metadata at once", len(body)).Hint("send one")
	}
	return a.setMetadata(c, body)
}

func (a *API) setMetadata(c *call, set map[string]string) error {
	if err := a.Projects.SetMetadata(c.Context(), c.rights.Project.ID, set); err != nil {
		return err
	}
	for key, value := range set {
		c.audited(changedProject, c.rights.Project.Name, c.rights.Project.ID, key+" "+value)
	}
	return c.done()
}

// GetProjectMetadata answers one piece of metadata, and nothing in an object of none if it is not set, as Harbor does.
func (a *API) GetProjectMetadata(c *call, metaName string) error {
	all, err := a.Projects.Metadata(c.Context(), c.rights.Project.ID)
	if err != nil {
		return err
	}
	answer := map[string]string{}
	if value, ok := all[metaName]; ok {
		answer[metaName] = value
	}
	return c.json(http.StatusOK, answer)
}

// UpdateProjectMetadata changes one piece of metadata, which is in the body under its name.
func (a *API) UpdateProjectMetadata(c *call, metaName string, body UpdateProjectMetadataJSONRequestBody) error {
	value, ok := body[metaName]
	if !ok {
		return fail.E(fail.Invalid, nil, "no %.100q in the body", metaName).Hint("send {%q: value}", metaName)
	}
	return a.setMetadata(c, map[string]string{metaName: value})
}

// DeleteProjectMetadata removes one piece of metadata.
func (a *API) DeleteProjectMetadata(c *call, metaName string) error {
	if err := a.Projects.DeleteMetadata(c.Context(), c.rights.Project.ID, metaName); err != nil {
		return err
	}
	c.audited(changedProject, c.rights.Project.Name, c.rights.Project.ID, "without "+metaName)
	return c.done()
}
