package harborapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// The events of artifacts and tags, which the registry has too, and of repositories.
var (
	createdArtifact = event{"create", "artifact"}
	deletedArtifact = event{"delete", "artifact"}
	pulledArtifact  = event{"pull", "artifact"}
	createdTag      = event{"create", "tag"}
	deletedTag      = event{"delete", "tag"}

	changedRepository = event{"update", "repository"}
	deletedRepository = event{"delete", "repository"}
)

// UpdateRepository changes the description of a repository.
func (a *API) UpdateRepository(c *call, repositoryName string, body UpdateRepositoryJSONRequestBody) error {
	name, err := c.repository(repositoryName)
	if err == nil {
		err = a.Projects.SetNote(c.Context(), name, body.Description)
	}
	if err != nil {
		return err
	}
	c.audited(changedRepository, name.String(), c.rights.Project.ID, "description")
	return c.done()
}

// DeleteRepository removes a repository with everything in it.
func (a *API) DeleteRepository(c *call, repositoryName string) error {
	name, err := c.repository(repositoryName)
	if err != nil {
		return err
	}
	if err = a.Registry.DeleteRepository(c.Context(), name); err != nil {
		return c.brokeOff(err, deletedRepository, name.String(), c.rights.Project.ID)
	}
	c.audited(deletedRepository, name.String(), c.rights.Project.ID, "")
	return c.done()
}

// DeleteArtifact removes an artifact with its tags and what is attached to it. A part of an index can't go before the index: 412, as in Harbor.
func (a *API) DeleteArtifact(c *call, repositoryName, text string) error {
	found, name, err := a.findToChange(c, repositoryName, text)
	if err != nil {
		return err
	}
	resource := name.String() + "@" + found.Digest.String()
	err = a.Registry.DeleteArtifact(c.Context(), name, found.Digest)
	if fail.Is(err, fail.Conflict) {
		return fail.E(fail.Conflict, err, "artifact %s is part of another", found.Digest).Code(codeInUse)
	}
	if err != nil {
		return c.brokeOff(err, deletedArtifact, resource, c.rights.Project.ID)
	}
	c.audited(deletedArtifact, resource, c.rights.Project.ID, "")
	return c.done()
}

func (a *API) findToChange(c *call, repositoryName, text string) (registry.Artifact, oci.Name, error) {
	name, err := c.repository(repositoryName)
	if err != nil {
		return registry.Artifact{}, oci.Name{}, err
	}
	found, err := a.find(c, repositoryName, text)
	return found, name, err
}

// CreateTag gives an artifact one more tag.
func (a *API) CreateTag(c *call, repositoryName, text string, body CreateTagJSONRequestBody) error {
	found, name, err := a.findToChange(c, repositoryName, text)
	if err != nil {
		return err
	}
	tag, err := oci.ParseTag(body.Name)
	if err != nil {
		return err
	}
	if err = a.Registry.AddTag(c.Context(), name, found.Digest, tag); err != nil {
		return err
	}
	c.audited(createdTag, name.String()+":"+tag.String(), c.rights.Project.ID, found.Digest.String())
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// DeleteTag removes a tag of an artifact; one that is another's is not there.
func (a *API) DeleteTag(c *call, repositoryName, text, tagName string) error {
	found, name, err := a.findToChange(c, repositoryName, text)
	if err != nil {
		return err
	}
	tag, err := oci.ParseTag(tagName)
	absent := fail.E(fail.NotFound, nil, "tag %.128q of artifact %.100q", tagName, text)
	if err != nil {
		return absent
	}
	err = a.Registry.DeleteTagOf(c.Context(), name, tag, found.Digest)
	if fail.Is(err, fail.NotFound) {
		return absent
	}
	if err != nil {
		return err
	}
	c.audited(deletedTag, name.String()+":"+tag.String(), c.rights.Project.ID, found.Digest.String())
	return c.done()
}

// CopyArtifact copies an artifact, with its parts, tags and attachments, from a repository that the caller may read.
func (a *API) CopyArtifact(c *call, repositoryName string, p CopyArtifactParams) error {
	to, err := c.repository(repositoryName)
	if err != nil {
		return err
	}
	from, ref, err := parseSource(p.From)
	if err != nil {
		return err
	}
	if err = a.requireIn(c, from.Project(), access.Operation{Resource: "artifact", Action: "read"}); err != nil {
		return err
	}
	source, err := a.Registry.BrowseArtifact(c.Context(), from, ref)
	if err != nil {
		return err
	}
	resource := to.String() + "@" + source.Digest.String()
	if err = a.Registry.CopyArtifact(c.Context(), to, registry.Copy{Pusher: registry.Pusher{Subject: c.who.Subject}, From: from, Digest: source.Digest}); err != nil {
		return c.brokeOff(err, createdArtifact, resource, c.rights.Project.ID)
	}
	c.audited(createdArtifact, resource, c.rights.Project.ID, "copied from "+from.String())
	c.w.Header().Set("Location", strings.TrimSuffix(c.URL.EscapedPath(), "/")+"/"+url.PathEscape(ref.String()))
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// parseSource reads repository:tag or repository@digest.
func parseSource(text string) (oci.Name, oci.Reference, error) {
	name, ref, isDigest := strings.Cut(text, "@")
	if !isDigest {
		if i := strings.LastIndexByte(text, ':'); i >= 0 {
			name, ref = text[:i], text[i+1:]
		}
	}
	from, err := oci.ParseName(name)
	var parsed oci.Reference
	if err == nil {
		parsed, err = oci.ParseReference(ref)
	}
	if err != nil {
		return oci.Name{}, oci.Reference{}, fail.E(fail.Invalid, nil, "from=%.300q", text).Hint("write project/repository:tag or project/repository@digest")
	}
	return from, parsed, nil
}
