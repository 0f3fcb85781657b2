package registry

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
)

const (
	// maxShownTags and maxShownAttached bound what a page of artifacts tells of its entries: whoever wants all asks for the tags or the accessories of one, page by page.
	maxShownTags     = 5000
	maxTagsOfOne     = 50 // of one that would have none, because others took all of these
	maxShownAttached = 2000
	// maxShownManifest bounds each of the manifests that a page of artifacts is made of, some MiB together; of longer ones it tells less.
	maxShownManifest = 64 << 10
)

// RepositorySummary is a repository as people see it. Times are microseconds since 1970.
type RepositorySummary = index.RepositorySummary

// Artifact is a manifest as people see it: read only. The body may be missing where it is long.
type Artifact struct {
	index.ArtifactSummary
	Attached []Attached
}

// Attached is a manifest that is attached to another.
type Attached = index.ArtifactSummary

// Artifacts say which manifests a list is of.
type Artifacts = index.Artifacts

// TagSummary is a tag as people see it.
type TagSummary = index.TagSummary

// BrowseRepositories answers a page of the repositories that a viewer sees, of one project if it is not 0, and how many there are on all pages. Invalid: the Ask has what the list has not.
func (r *Registry) BrowseRepositories(ctx context.Context, v Viewer, project int64, ask listing.Ask) ([]RepositorySummary, int64, error) {
	page, total, err := index.ListRepositories(ctx, r.db, index.Viewer(v), project, ask)
	if err != nil {
		return nil, 0, fmt.Errorf("list repositories: %w", err)
	}
	return page, total, nil
}

// BrowseRepository answers one repository: NotFound with NAME_UNKNOWN.
func (r *Registry) BrowseRepository(ctx context.Context, name oci.Name) (RepositorySummary, error) {
	ask := listing.Ask{Filters: []listing.Filter{{Field: "name", Values: []string{name.String()}}}, Page: 1, Size: 1}
	page, _, err := r.BrowseRepositories(ctx, Viewer{All: true}, 0, ask)
	if err != nil {
		return RepositorySummary{}, err
	}
	if len(page) == 0 {
		return RepositorySummary{}, nameUnknown(name)
	}
	return page[0], nil
}

// BrowseArtifacts answers a page of manifests with their tags and, if asked for, with what is attached to them, and how many there are on all pages.
func (r *Registry) BrowseArtifacts(ctx context.Context, of Artifacts, ask listing.Ask, attached bool) ([]Artifact, int64, error) {
	return r.browseArtifacts(ctx, of, ask, attached, maxShownManifest)
}

func (r *Registry) browseArtifacts(ctx context.Context, of Artifacts, ask listing.Ask, attached bool, most int64) ([]Artifact, int64, error) {
	total, err := index.CountArtifacts(ctx, r.db, of, ask)
	var rows []index.ArtifactSummary
	if err == nil {
		rows, err = index.PageOfArtifacts(ctx, r.db, of, ask, most)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list artifacts: %w", err)
	}
	page := make([]Artifact, len(rows))
	byRepo := map[int64][]int{}
	for i, row := range rows {
		page[i].ArtifactSummary = row
		byRepo[row.Repo] = append(byRepo[row.Repo], i)
	}
	for repo, places := range byRepo {
		if err = r.complete(ctx, repo, page, places, attached); err != nil {
			return nil, 0, fmt.Errorf("list artifacts: %w", err)
		}
	}
	return page, total, nil
}

// complete adds tags and what is attached to those entries of a page that are of one repository.
func (r *Registry) complete(ctx context.Context, repo int64, page []Artifact, places []int, attached bool) error {
	at := map[oci.Digest]*Artifact{}
	var all []oci.Digest
	for _, i := range places {
		at[page[i].Digest] = &page[i]
		all = append(all, page[i].Digest)
	}
	tags, err := index.TagsOfAll(ctx, r.db, repo, all, maxShownTags)
	if err != nil {
		return err
	}
	for _, t := range tags {
		at[t.Digest].Tags = append(at[t.Digest].Tags, t)
	}
	if len(tags) >= maxShownTags { // some have so many that others may look as if they had none
		for _, d := range all {
			if a := at[d]; len(a.Tags) == 0 {
				if a.Tags, err = index.TagsOfAll(ctx, r.db, repo, []oci.Digest{d}, maxTagsOfOne); err != nil {
					return err
				}
			}
		}
	}
	if !attached {
		return nil
	}
	more, err := index.AttachedToAll(ctx, r.db, repo, all, maxShownAttached)
	if err != nil {
		return err
	}
	if err = r.withSignatureTags(ctx, repo, more); err != nil {
		return err
	}
	for _, a := range more {
		at[a.Subject].Attached = append(at[a.Subject].Attached, a)
	}
	return nil
}

// signatureType is the artifact type of signatures that are attached by their tags: that of cosign's configuration.
const signatureType = "application/vnd.oci.image.config.v1+json"

// withSignatureTags adds the tags of what may be attached by a tag.
func (r *Registry) withSignatureTags(ctx context.Context, repo int64, attached []Attached) error {
	at := map[oci.Digest]*Attached{}
	var all []oci.Digest
	for i := range attached {
		if attached[i].ArtifactType == signatureType {
			at[attached[i].Digest] = &attached[i]
			all = append(all, attached[i].Digest)
		}
	}
	tags, err := index.TagsOfAll(ctx, r.db, repo, all, maxShownTags)
	for _, t := range tags {
		at[t.Digest].Tags = append(at[t.Digest].Tags, t)
	}
	return err
}

// BrowseArtifact answers one manifest, by tag or digest, also one that is a part of another or attached to one. NotFound otherwise.
func (r *Registry) BrowseArtifact(ctx context.Context, name oci.Name, ref oci.Reference) (Artifact, error) {
	row, err := index.FindManifest(ctx, r.db, name, ref, oci.Digest{}, 0)
	if fail.Is(err, fail.NotFound) {
		return Artifact{}, r.unknown(ctx, name, manifestUnknown(name, ref.String()))
	}
	if err != nil {
		return Artifact{}, fmt.Errorf("find manifest %s in %s: %w", ref, name, err)
	}
	page, _, err := r.browseArtifacts(ctx, Artifacts{Repo: row.Repo, Digest: row.Digest, Any: true}, listing.Ask{Page: 1, Size: 1}, true, oci.MaxManifestBytes)
	if err != nil {
		return Artifact{}, err
	}
	if len(page) == 0 { // it was deleted a moment ago
		return Artifact{}, manifestUnknown(name, ref.String())
	}
	return page[0], nil
}

// BrowseTags answers a page of the tags of a manifest, and how many there are on all pages.
func (r *Registry) BrowseTags(ctx context.Context, of Artifact, ask listing.Ask) ([]TagSummary, int64, error) {
	page, total, err := index.ListTags(ctx, r.db, of.Repo, of.Digest, ask)
	if err != nil {
		return nil, 0, fmt.Errorf("list tags: %w", err)
	}
	return page, total, nil
}

// RepositoryID answers the number of a repository: NotFound with NAME_UNKNOWN.
func (r *Registry) RepositoryID(ctx context.Context, name oci.Name) (int64, error) {
	row, err := index.RepositoryByName(ctx, r.db, name)
	if fail.Is(err, fail.NotFound) {
		return 0, nameUnknown(name)
	}
	if err != nil {
		return 0, fmt.Errorf("find repository %s: %w", name, err)
	}
	return row.ID, nil
}

// ProjectName answers the name of a project by its number: NotFound.
func (r *Registry) ProjectName(ctx context.Context, id int64) (string, error) {
	found, err := index.ProjectByID(ctx, r.db, id)
	if fail.Is(err, fail.NotFound) {
		return "", fail.E(fail.NotFound, nil, "project %d", id)
	}
	if err != nil {
		return "", fmt.Errorf("find project %d: %w", id, err)
	}
	return found.Name, nil
}
