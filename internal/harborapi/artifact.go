package harborapi

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// ListArtifacts lists what is in a repository, as people count it. One that is not there has nothing in it, as in Harbor.
func (a *API) ListArtifacts(c *call, repositoryName string, p ListArtifactsParams) error {
	name, err := c.repository(repositoryName)
	if err != nil {
		return err
	}
	ask, err := listing.Parse(p.Q, p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	of, err := artifactsOf(&ask)
	if err != nil {
		return err
	}
	of.Repo, err = a.Registry.RepositoryID(c.Context(), name)
	if fail.Is(err, fail.NotFound) { // as in Harbor: nothing was pushed there, so nothing is there
		return c.list([]Artifact{}, 0, ask)
	}
	if err != nil {
		return err
	}
	return a.listArtifacts(c, of, ask, shown{tags: p.WithTag, accessories: p.WithAccessory, labels: p.WithLabel})
}

// ListArtifactsOfProject lists what is in all repositories of a project.
func (a *API) ListArtifactsOfProject(c *call, p ListArtifactsOfProjectParams) error {
	ask, err := listing.Parse(p.Q, p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	of, err := artifactsOf(&ask)
	if err != nil {
		return err
	}
	of.Project, of.Latest = c.rights.Project.ID, p.LatestInRepository
	return a.listArtifacts(c, of, ask, shown{tags: p.WithTag, accessories: p.WithAccessory, labels: p.WithLabel})
}

func (a *API) listArtifacts(c *call, of registry.Artifacts, ask listing.Ask, want shown) error {
	page, total, err := a.Registry.BrowseArtifacts(c.Context(), of, ask, want.accessories)
	if err != nil {
		return err
	}
	entries := make([]Artifact, len(page))
	for i := range page {
		if entries[i], err = a.artifact(c, &page[i], want); err != nil {
			return err
		}
	}
	if want.labels {
		if err = a.withLabels(c, page, entries); err != nil {
			return err
		}
	}
	return c.list(entries, total, ask)
}

// artifactsOf takes those filters out of an Ask that are about more than a column: digest, tags and labels.
func artifactsOf(ask *listing.Ask) (registry.Artifacts, error) {
	var of registry.Artifacts
	for _, f := range ask.Take("digest") {
		text, one := f.Only()
		d, err := oci.ParseDigest(text)
		if err != nil || !one {
			return of, fail.E(fail.Invalid, nil, "digest %.100q in q", f.Values).Hint("write a whole digest, like sha256:…")
		}
		of.Digest = d
	}
	for _, f := range ask.Take("tags") {
		only, one := f.Only()
		if some := only == "*"; one && (some || only == "nil") {
			of.Tagged = &some
			continue
		}
		if f.Op == listing.AllOf { // several tags, not one of several names
			for _, v := range f.Values {
				of.Tags = append(of.Tags, listing.Filter{Field: f.Field, Op: listing.Equals, Values: []string{v}})
			}
			continue
		}
		of.Tags = append(of.Tags, f)
	}
	for _, f := range ask.Take("type") {
		text, one := f.Only()
		all := mediaTypesOf(text)
		if !one || len(all) == 0 {
			return of, fail.E(fail.Invalid, nil, "type %.60q in q", f.Values).Hint("use one of %s, or ask for media_type", strings.Join(typeNames(), ", "))
		}
		ask.Filters = append(ask.Filters, listing.Filter{Field: "media_type", Op: listing.OneOf, Values: all})
	}
	for _, f := range ask.Take("labels") {
		for _, v := range f.Values {
			id, err := strconv.ParseInt(v, 10, 64)
			if err != nil || f.Op != listing.AllOf && f.Op != listing.Equals {
				return of, fail.E(fail.Invalid, nil, "labels %.100q in q", v).Hint("write numbers of labels, like labels=(1 2)")
			}
			of.Labels = append(of.Labels, id)
		}
	}
	return of, nil
}

// GetArtifact answers one artifact, also a part of an index or one that is attached to another.
func (a *API) GetArtifact(c *call, repositoryName, text string, p GetArtifactParams) error {
	found, err := a.find(c, repositoryName, text)
	if err != nil {
		return err
	}
	answer, err := a.artifact(c, &found, shown{tags: p.WithTag, accessories: p.WithAccessory})
	if err != nil {
		return err
	}
	all := []Artifact{answer}
	if p.WithLabel {
		if err = a.withLabels(c, []registry.Artifact{found}, all); err != nil {
			return err
		}
	}
	return c.json(http.StatusOK, all[0])
}

func (a *API) find(c *call, repositoryName, text string) (registry.Artifact, error) {
	name, err := c.repository(repositoryName)
	if err != nil {
		return registry.Artifact{}, err
	}
	ref, err := reference(text)
	if err != nil {
		return registry.Artifact{}, err
	}
	return a.Registry.BrowseArtifact(c.Context(), name, ref)
}

// ListTags lists the tags of an artifact.
func (a *API) ListTags(c *call, repositoryName, text string, p ListTagsParams) error {
	ask, err := listing.Parse(p.Q, p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	found, err := a.find(c, repositoryName, text)
	if err != nil {
		return err
	}
	page, total, err := a.Registry.BrowseTags(c.Context(), found, ask)
	if err != nil {
		return err
	}
	return c.list(tagsOf(found.Repo, page), total, ask)
}

// ListAccessories lists what is attached to an artifact.
func (a *API) ListAccessories(c *call, repositoryName, text string, p ListAccessoriesParams) error {
	ask, err := listing.Parse(p.Q, p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	found, err := a.find(c, repositoryName, text)
	if err != nil {
		return err
	}
	page, total, err := a.Registry.BrowseArtifacts(c.Context(), registry.Artifacts{Repo: found.Repo, Subject: found.Digest}, ask, false)
	if err != nil {
		return err
	}
	entries := make([]Accessory, len(page))
	for i := range page {
		page[i].Subject = found.Digest
		entries[i] = accessoryOf(found.Repository, &page[i].ArtifactSummary)
	}
	return c.list(entries, total, ask)
}

// number makes a number of what Harbor numbers and Havn does not: the same at every node, and exact in JavaScript. Nothing is looked up by it.
func number(repo int64, of []byte) int64 {
	h := sha256.New()
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], uint64(repo))
	h.Write(id[:])
	h.Write(of)
	return int64(binary.BigEndian.Uint64(h.Sum(nil))>>11) | 1
}

// shown is what of an artifact is asked for.
type shown struct{ tags, accessories, labels bool }

func (a *API) artifact(c *call, of *registry.Artifact, want shown) (Artifact, error) {
	answer := Artifact{
		ID: number(of.Repo, of.Digest.Bytes()), ProjectID: of.Project, RepositoryID: of.Repo, RepositoryName: of.Repository, Digest: of.Digest.String(), Size: of.Bytes,
		ManifestMediaType: of.MediaType, MediaType: of.MediaType, ArtifactType: of.ArtifactType, PushTime: fromMicros(of.PushedAt), PullTime: fromMicros(of.PulledAt),
		Type: unknownType, ExtraAttrs: ExtraAttrs{},
	}
	if of.Body != nil {
		if err := a.describe(c, of, &answer); err != nil {
			return answer, err
		}
	}
	if want.tags {
		answer.Tags = tagsOf(of.Repo, of.Tags)
	}
	if want.accessories {
		answer.Accessories = make([]Accessory, len(of.Attached))
		for i := range of.Attached {
			answer.Accessories[i] = accessoryOf(of.Repository, &of.Attached[i])
		}
	}
	return answer, nil
}

func tagsOf(repo int64, tags []registry.TagSummary) []Tag {
	all := make([]Tag, len(tags))
	for i, t := range tags {
		all[i] = Tag{
			ID: number(repo, []byte("tag "+t.Name)), RepositoryID: repo, ArtifactID: number(repo, t.Digest.Bytes()), Name: t.Name, PushTime: fromMicros(t.MovedAt), PullTime: fromMicros(t.PulledAt),
		}
	}
	return all
}

// accessoryTypes are Harbor's names for what is attached, by its artifact type.
var accessoryTypes = map[string]string{
	"application/vnd.dev.cosign.artifact.sig.v1+json":  "signature.cosign",
	"application/vnd.dev.cosign.simplesigning.v1+json": "signature.cosign",
	"application/vnd.dev.sigstore.bundle.v0.3+json":    "signature.cosign",
	"application/vnd.cncf.notary.signature":            "signature.notation",
	"application/vnd.goharbor.harbor.sbom.v1":          "sbom.harbor",
}

func accessoryOf(repository string, s *registry.Attached) Accessory {
	kind := accessoryTypes[s.ArtifactType]
	switch {
	case kind != "":
	case slices.ContainsFunc(s.Tags, func(t registry.TagSummary) bool { return signs(t.Name, s.Subject) }):
		kind = "signature.cosign"
	default:
		kind = "subject.accessory"
	}
	return Accessory{
		ID: number(s.Repo, append([]byte("accessory "), s.Digest.Bytes()...)), ArtifactID: number(s.Repo, s.Digest.Bytes()), Digest: s.Digest.String(), Size: s.Bytes, Type: kind,
		SubjectArtifactID: number(s.Repo, s.Subject.Bytes()), SubjectArtifactDigest: s.Subject.String(), SubjectArtifactRepo: repository, CreationTime: fromMicros(s.PushedAt),
	}
}

// signs reports whether a tag is the one under which cosign keeps signatures of a manifest.
func signs(tag string, of oci.Digest) bool {
	t, err := oci.ParseTag(tag)
	return err == nil && t.Signs() == of
}
