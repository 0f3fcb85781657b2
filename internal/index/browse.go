package index

import (
	"context"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// RepositorySummary is a repository as lists for people show it.
type RepositorySummary struct {
	ID, Project         int64
	Name, Description   string
	Public              bool // its project
	CreatedAt, PushedAt int64
	Artifacts, Pulls    int64
}

const (
	// standing is what a row m of manifests is that people count: neither a part of an index that has no tag of its own, nor attached to another one that is there.
	standing = `NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repo = m.repo AND s.digest = m.subject)
		AND (NOT EXISTS (SELECT 1 FROM manifest_children c WHERE c.repo = m.repo AND c.child = m.digest) OR EXISTS (SELECT 1 FROM tags t WHERE t.repo = m.repo AND t.digest = m.digest))`

	// standingIn is standing in one repository, twice a parameter: what is a part alone is looked for once, not for each manifest.
	standingIn = `(m.subject IS NULL OR NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repo = m.repo AND s.digest = m.subject))
		AND m.digest NOT IN (SELECT c.child FROM manifest_children c WHERE c.repo = ? AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repo = c.repo AND t.digest = c.child)) AND m.repo = ?`

	// standingCount counts what is standing in a row r of repositories: all, without what is attached and what is a part alone. Of all, that looks at keys only.
	standingCount = `((SELECT COUNT(*) FROM manifests m WHERE m.repo = r.id)
		- (SELECT COUNT(*) FROM manifests m WHERE m.repo = r.id AND m.subject IS NOT NULL AND EXISTS (SELECT 1 FROM manifests s WHERE s.repo = m.repo AND s.digest = m.subject))
		- (SELECT COUNT(DISTINCT c.child) FROM manifest_children c WHERE c.repo = r.id AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repo = c.repo AND t.digest = c.child)
			AND NOT EXISTS (SELECT 1 FROM manifests m JOIN manifests s ON s.repo = m.repo AND s.digest = m.subject WHERE m.repo = c.repo AND m.digest = c.child)))`

	repositoryPulls = "(SELECT COALESCE(SUM(u.n), 0) FROM pull_totals u WHERE u.repo = r.id AND u.tag = '')"
	repositoryNote  = "COALESCE((SELECT n.description FROM repository_notes n WHERE n.repo = r.id), '')"
)

// repositoryFields are what lists of repositories are filtered and sorted by.
var repositoryFields = listing.Fields{
	"name": {Column: "r.name"}, "description": {Column: repositoryNote},
	"repository_id": {Column: "r.id", Kind: listing.Number}, "project_id": {Column: "r.project_id", Kind: listing.Number}, "pull_count": {Column: repositoryPulls, Kind: listing.Number},
	"creation_time": {Column: "r.created_at", Kind: listing.Time}, "update_time": {Column: "r.pushed_at", Kind: listing.Time},
}

// ListRepositories answers a page of the repositories that a viewer sees and to which a manifest was pushed, of one project if it is not 0, and how many there are on all pages. Invalid:
// the Ask has what the list has not.
func ListRepositories(ctx context.Context, q sqldb.Querier, v Viewer, project int64, ask listing.Ask) (page []RepositorySummary, total int64, err error) {
	where, args, err := repositoryFields.Where(ask)
	if err != nil {
		return nil, 0, err
	}
	order, err := repositoryFields.OrderBy(ask, "r.created_at DESC", "r.id DESC")
	if err != nil {
		return nil, 0, err
	}
	seen, more := v.condition()
	args = append(more, args...)
	from := " FROM repositories r JOIN projects p ON p.id = r.project_id WHERE " + seen + " AND r.pushed_at > 0 AND " + where
	if project != 0 {
		from, args = from+" AND r.project_id = ?", append(args, project)
	}
	if err = q.Row(ctx, "SELECT COUNT(*)"+from, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	// What is told of each is looked up for those of the page alone: engines would do it for all that they sort.
	const columns = "SELECT r.id, r.project_id, r.name, p.public, " + repositoryNote + ", r.created_at, r.pushed_at, " + standingCount + ", " + repositoryPulls
	query := columns + " FROM (SELECT r.id AS id" + from + " ORDER BY " + order + " LIMIT ? OFFSET ?) page JOIN repositories r ON r.id = page.id JOIN projects p ON p.id = r.project_id ORDER BY " + order
	for row, cause := range q.Rows(ctx, query, append(args, ask.Size, ask.Offset())...) {
		var s RepositorySummary
		if cause == nil {
			cause = row.Scan(&s.ID, &s.Project, &s.Name, &s.Public, &s.Description, &s.CreatedAt, &s.PushedAt, &s.Artifacts, &s.Pulls)
		}
		if cause != nil {
			return nil, 0, cause
		}
		page = append(page, s)
	}
	return page, total, nil
}

// ArtifactSummary is a manifest as lists for people show it.
type ArtifactSummary struct {
	Manifest
	Project    int64
	Repository string
	Bytes      int64 // of the manifest and of all that it needs, children included
	PulledAt   int64 // 0: never
	Tags       []TagSummary
}

// TagSummary is a tag as lists for people show it.
type TagSummary struct {
	Digest            oci.Digest
	Name              string
	MovedAt, PulledAt int64
}

const artifactBytes = `m.size + (SELECT COALESCE(SUM(b.size), 0) FROM manifest_blobs x JOIN blobs b ON b.digest = x.digest WHERE x.repo = m.repo AND x.manifest = m.digest)
	+ (SELECT COALESCE(SUM(k.size), 0) FROM manifest_children c JOIN manifests k ON k.repo = c.repo AND k.digest = c.child WHERE c.repo = m.repo AND c.parent = m.digest)
	+ (SELECT COALESCE(SUM(b.size), 0) FROM manifest_children c JOIN manifest_blobs x ON x.repo = c.repo AND x.manifest = c.child JOIN blobs b ON b.digest = x.digest WHERE c.repo = m.repo AND c.parent = m.digest)`

const artifactPulled = "COALESCE((SELECT u.last_at FROM pull_totals u WHERE u.repo = m.repo AND u.digest = m.digest AND u.tag = ''), 0)"

var artifactFields = listing.Fields{
	"media_type": {Column: "m.media_type"}, "manifest_media_type": {Column: "m.media_type"}, "artifact_type": {Column: "m.artifact_type"}, "repository_name": {Column: "r.name"},
	"repository_id": {Column: "m.repo", Kind: listing.Number}, "project_id": {Column: "r.project_id", Kind: listing.Number}, "size": {Column: "(" + artifactBytes + ")", Kind: listing.Number},
	"push_time": {Column: "m.pushed_at", Kind: listing.Time}, "pull_time": {Column: artifactPulled, Kind: listing.Time},
}

// Artifacts say which manifests a list is of. Zero values narrow nothing.
type Artifacts struct {
	Project int64
	Repo    int64
	Subject oci.Digest // those of Repo that are attached to it; else those that are standing
	Any     bool       // those of Repo, whatever they are
	Digest  oci.Digest
	Tags    []listing.Filter // on the name of a tag that they have
	Tagged  *bool            // whether they have one at all
	Labels  []int64          // they have all of these
	Latest  bool             // only the last pushed one of each repository
}

// whole reports whether all that is standing in a repository is asked for.
func (a Artifacts) whole() bool {
	return a.Repo != 0 && a.Subject.IsZero() && a.Digest.IsZero() && !a.Any && !a.Latest && a.Project == 0 && a.Tagged == nil && len(a.Tags)+len(a.Labels) == 0
}

// condition answers what a row m must meet.
func (a Artifacts) condition() (string, []any, error) {
	var all []string
	var args []any
	add := func(text string, values ...any) { all, args = append(all, text), append(args, values...) }
	switch {
	case !a.Subject.IsZero():
		add("m.subject = ? AND m.repo = ?", a.Subject.Bytes(), a.Repo)
	case a.Any:
		add("m.repo = ?", a.Repo)
	case a.Repo != 0:
		add(standingIn, a.Repo, a.Repo)
	default:
		add(standing)
	}
	if a.Project != 0 {
		add("r.project_id = ?", a.Project)
	}
	if !a.Digest.IsZero() {
		add("m.digest = ?", a.Digest.Bytes())
	}
	tagged, of := "EXISTS (SELECT 1 FROM tags t WHERE t.repo = m.repo AND t.digest = m.digest", []any(nil)
	if a.Repo != 0 { // looked for once, not for each manifest
		tagged, of = "m.digest IN (SELECT t.digest FROM tags t WHERE t.repo = ?", []any{a.Repo}
	}
	if len(a.Tags) > 0 {
		name, values, err := listing.Fields{"tags": {Column: "t.name"}}.Where(listing.Ask{Filters: a.Tags})
		if err != nil {
			return "", nil, err
		}
		add(tagged+" AND "+name+")", slices.Concat(of, values)...)
	}
	switch {
	case a.Tagged == nil:
	case *a.Tagged:
		add(tagged+")", of...)
	default:
		add("NOT ("+tagged+"))", of...)
	}
	for _, label := range a.Labels {
		add("EXISTS (SELECT 1 FROM manifest_labels l WHERE l.repo = m.repo AND l.digest = m.digest AND l.label = ?)", label)
	}
	if a.Latest {
		add("NOT EXISTS (SELECT 1 FROM manifests o WHERE o.repo = m.repo AND (o.pushed_at > m.pushed_at OR o.pushed_at = m.pushed_at AND o.digest > m.digest) AND " + strings.ReplaceAll(standing, "m.", "o.") + ")")
	}
	return strings.Join(all, " AND "), args, nil
}

// ListArtifacts answers a page of manifests, without their tags, and how many there are on all pages. Bodies beyond most bytes are left out. Invalid: the Ask has what the list has not.
func ListArtifacts(ctx context.Context, q sqldb.Querier, of Artifacts, ask listing.Ask, most int64) (page []ArtifactSummary, total int64, err error) {
	where, args, err := artifactFields.Where(ask)
	if err != nil {
		return nil, 0, err
	}
	order, err := artifactFields.OrderBy(ask, "m.pushed_at DESC", "m.repo, m.digest")
	if err != nil {
		return nil, 0, err
	}
	narrow, more, err := of.condition()
	if err != nil {
		return nil, 0, err
	}
	args = append(more, args...)
	from := " FROM manifests m JOIN repositories r ON r.id = m.repo WHERE " + narrow + " AND " + where
	count, counted := "SELECT COUNT(*)"+from, args
	if of.whole() && len(ask.Filters) == 0 {
		count, counted = "SELECT "+standingCount+" FROM repositories r WHERE r.id = ?", []any{of.Repo}
	}
	if err = q.Row(ctx, count, counted...).Scan(&total); err != nil {
		return nil, 0, err
	}
	// See ListRepositories.
	const columns = "SELECT m.repo, r.project_id, r.name, m.digest, m.media_type, m.artifact_type, m.size, CASE WHEN m.size > ? THEN NULL ELSE m.body END, m.pushed_at, " + artifactBytes + ", " + artifactPulled
	query := columns + " FROM (SELECT m.repo AS repo, m.digest AS digest" + from + " ORDER BY " + order + " LIMIT ? OFFSET ?) page JOIN manifests m ON m.repo = page.repo AND m.digest = page.digest JOIN repositories r ON r.id = m.repo ORDER BY " + order
	args = append(append([]any{most}, args...), ask.Size, ask.Offset())
	for row, cause := range q.Rows(ctx, query, args...) {
		var s ArtifactSummary
		var raw []byte
		if cause == nil {
			cause = row.Scan(&s.Repo, &s.Project, &s.Repository, &raw, &s.MediaType, &s.ArtifactType, &s.Size, &s.Body, &s.PushedAt, &s.Bytes, &s.PulledAt)
		}
		if cause == nil {
			s.Digest, cause = oci.DigestFromBytes(raw)
		}
		if cause != nil {
			return nil, 0, cause
		}
		page = append(page, s)
	}
	return page, total, nil
}

const tagPulled = "COALESCE((SELECT u.last_at FROM pull_totals u WHERE u.repo = t.repo AND u.digest = t.digest AND u.tag = t.name), 0)"

var tagFields = listing.Fields{
	"name": {Column: "t.name"}, "push_time": {Column: "t.moved_at", Kind: listing.Time}, "pull_time": {Column: tagPulled, Kind: listing.Time}, "repository_id": {Column: "t.repo", Kind: listing.Number},
}

// ListTags answers a page of the tags of a manifest, and how many there are on all pages.
func ListTags(ctx context.Context, q sqldb.Querier, repo int64, d oci.Digest, ask listing.Ask) (page []TagSummary, total int64, err error) {
	where, args, err := tagFields.Where(ask)
	if err != nil {
		return nil, 0, err
	}
	order, err := tagFields.OrderBy(ask, "t.moved_at DESC", "t.name")
	if err != nil {
		return nil, 0, err
	}
	from := " FROM tags t WHERE t.repo = ? AND t.digest = ? AND " + where
	args = append([]any{repo, d.Bytes()}, args...)
	if err = q.Row(ctx, "SELECT COUNT(*)"+from, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	page, err = tags(ctx, q, from+" ORDER BY "+order+" LIMIT ? OFFSET ?", append(args, ask.Size, ask.Offset())...)
	return page, total, err
}

// TagsOfAll lists up to limit tags of manifests, the last moved first.
func TagsOfAll(ctx context.Context, q sqldb.Querier, repo int64, of []oci.Digest, limit int) ([]TagSummary, error) {
	var all []TagSummary
	err := padded(of, func(marks string, args []any) error {
		found, err := tags(ctx, q, " FROM tags t WHERE t.repo = ? AND t.digest IN ("+marks+") ORDER BY t.moved_at DESC, t.name LIMIT ?", append(append([]any{repo}, args...), limit)...)
		all = append(all, found...)
		return err
	})
	return all, err
}

func tags(ctx context.Context, q sqldb.Querier, from string, args ...any) ([]TagSummary, error) {
	var all []TagSummary
	for row, err := range q.Rows(ctx, "SELECT t.digest, t.name, t.moved_at, "+tagPulled+from, args...) {
		var s TagSummary
		var raw []byte
		if err == nil {
			err = row.Scan(&raw, &s.Name, &s.MovedAt, &s.PulledAt)
		}
		if err == nil {
			s.Digest, err = oci.DigestFromBytes(raw)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// AttachedToAll lists up to limit manifests that are attached to others, without bodies.
func AttachedToAll(ctx context.Context, q sqldb.Querier, repo int64, subjects []oci.Digest, limit int) ([]ArtifactSummary, error) {
	var all []ArtifactSummary
	err := padded(subjects, func(marks string, args []any) error {
		const columns = "SELECT m.digest, m.subject, m.media_type, m.artifact_type, m.size, m.pushed_at, " + artifactBytes + " FROM manifests m WHERE m.repo = ? AND m.subject IN ("
		for row, err := range q.Rows(ctx, columns+marks+") ORDER BY m.pushed_at, m.digest LIMIT ?", append(append([]any{repo}, args...), limit)...) {
			s := ArtifactSummary{Manifest: Manifest{Repo: repo}}
			var raw, subject []byte
			if err == nil {
				err = row.Scan(&raw, &subject, &s.MediaType, &s.ArtifactType, &s.Size, &s.PushedAt, &s.Bytes)
			}
			if err == nil {
				s.Digest, err = oci.DigestFromBytes(raw)
			}
			if err == nil {
				s.Subject, err = oci.DigestFromBytes(subject)
			}
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		return nil
	})
	return all, err
}

// Seen is how much a viewer sees.
type Seen struct{ Projects, Repositories int64 }

// CountSeen counts the public projects, and the others that a viewer sees, and their repositories to which a manifest was pushed.
func CountSeen(ctx context.Context, q sqldb.Querier, v Viewer) (public, others Seen, err error) {
	cond, args := v.condition()
	const count = "SELECT p.public, COUNT(DISTINCT p.id), COUNT(r.id) FROM projects p LEFT JOIN repositories r ON r.project_id = p.id AND r.pushed_at > 0 WHERE "
	for row, cause := range q.Rows(ctx, count+cond+" GROUP BY p.public", args...) {
		var isPublic bool
		var s Seen
		if cause == nil {
			cause = row.Scan(&isPublic, &s.Projects, &s.Repositories)
		}
		switch {
		case cause != nil:
			return Seen{}, Seen{}, cause
		case isPublic:
			public = s
		default:
			others = s
		}
	}
	return public, others, nil
}

// BlobBytes sums the sizes of all blobs: each once, however many repositories have it.
func BlobBytes(ctx context.Context, q sqldb.Querier) (n int64, err error) {
	err = q.Row(ctx, "SELECT COALESCE(SUM(size), 0) FROM blobs").Scan(&n)
	return n, err
}
