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

	// once ends a subquery that is to be asked for each row: without it MariaDB and PostgreSQL ask once for all rows that it has in any repository.
	once = " LIMIT 1 OFFSET 0)"

	// standingNext is standing, for rows of one repository that are read in their order until a page is full: what each is, is looked up by keys.
	standingNext = "(m.subject IS NULL OR NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repo = m.repo AND s.digest = m.subject" + once +
		") AND (NOT EXISTS (SELECT 1 FROM manifest_children c WHERE c.repo = m.repo AND c.child = m.digest" + once + " OR " + hasTagNext + ") AND m.repo = ?"
	hasTagNext = "EXISTS (SELECT 1 FROM tags t WHERE t.repo = m.repo AND t.digest = m.digest" + once

	// standingIn is standing in one repository, twice a parameter: what is a part alone is looked for once, not for each manifest.
	standingIn = `(m.subject IS NULL OR NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repo = m.repo AND s.digest = m.subject))
		AND m.digest NOT IN (SELECT c.child FROM manifest_children c WHERE c.repo = ? AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repo = c.repo AND t.digest = c.child)) AND m.repo = ?`

	// attachedHere is what a row m of manifests is that is attached to another one of a row r of repositories which is there.
	attachedHere = "m.repo = r.id AND m.subject IS NOT NULL AND EXISTS (SELECT 1 FROM manifests s WHERE s.repo = m.repo AND s.digest = m.subject)"
	hasTag       = "EXISTS (SELECT 1 FROM tags t WHERE t.repo = m.repo AND t.digest = m.digest)"

	// standingCount counts what is standing in a row r of repositories: all, without what is attached and what is a part alone, and with what is both, once. Of all, that looks at keys only.
	standingCount = `((SELECT COUNT(*) FROM manifests m WHERE m.repo = r.id)
		- (SELECT COUNT(*) FROM manifests m WHERE ` + attachedHere + `)
		- (SELECT COUNT(DISTINCT c.child) FROM manifest_children c WHERE c.repo = r.id AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repo = c.repo AND t.digest = c.child))
		+ (SELECT COUNT(*) FROM manifests m WHERE ` + attachedHere + ` AND NOT ` + hasTag + ` AND EXISTS (SELECT 1 FROM manifest_children c WHERE c.repo = m.repo AND c.child = m.digest)))`

	// standingTagged counts what is standing in a row r of repositories and has a tag.
	standingTagged = `((SELECT COUNT(DISTINCT t.digest) FROM tags t WHERE t.repo = r.id) - (SELECT COUNT(*) FROM manifests m WHERE ` + attachedHere + ` AND ` + hasTag + `))`

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

// artifactMediaType is the media type by which Harbor tells what an artifact is: its configuration's, or an index's own. Of one with an artifactType it is that, the column has no other.
const artifactMediaType = "CASE WHEN m.artifact_type = '' THEN m.media_type ELSE m.artifact_type END"

var artifactFields = listing.Fields{
	"media_type": {Column: artifactMediaType}, "manifest_media_type": {Column: "m.media_type"}, "artifact_type": {Column: "m.artifact_type"}, "repository_name": {Column: "r.name"},
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
	Tags    []listing.Filter // on the names of their tags: for each, they have one that meets it
	Tagged  *bool            // whether they have one at all
	Labels  []int64          // they have all of these
	Latest  bool             // only the last pushed one of each repository
}

// counted answers an expression that counts a list of all that is standing in a row r of repositories, or of that of it which has tags, or none; "": it is another list.
func (a Artifacts) counted() string {
	switch {
	case a.Repo == 0 || !a.Subject.IsZero() || !a.Digest.IsZero() || a.Any || a.Latest || a.Project != 0 || len(a.Tags)+len(a.Labels) > 0:
		return ""
	case a.Tagged == nil:
		return standingCount
	case *a.Tagged:
		return standingTagged
	default:
		return standingCount + " - " + standingTagged
	}
}

// inOrder reports whether a list is of one repository in the order of its pushes: the index manifests_pushed has that, so that a page reads no more than what is on it and before it.
func (a Artifacts) inOrder(ask listing.Ask) bool {
	return a.Repo != 0 && a.Subject.IsZero() && !a.Any && (len(ask.Order) == 0 || len(ask.Order) == 1 && artifactFields.Same(ask.Order[0].Field, "push_time"))
}

// condition answers what a row m must meet. next: rows are read in the order of the list until the page is full.
func (a Artifacts) condition(next bool) (string, []any, error) {
	var all []string
	var args []any
	add := func(text string, values ...any) { all, args = append(all, text), append(args, values...) }
	switch {
	case !a.Subject.IsZero():
		add("m.subject = ? AND m.repo = ?", a.Subject.Bytes(), a.Repo)
	case a.Any:
		add("m.repo = ?", a.Repo)
	case next:
		add(standingNext, a.Repo)
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
	tagged, end, of := "EXISTS (SELECT 1 FROM tags t WHERE t.repo = m.repo AND t.digest = m.digest", ")", []any(nil)
	if next {
		end = once
	}
	if a.Repo != 0 && !next { // looked for once, not for each manifest
		tagged, of = "m.digest IN (SELECT t.digest FROM tags t WHERE t.repo = ?", []any{a.Repo}
	}
	for _, filter := range a.Tags {
		name, values, err := listing.Fields{"tags": {Column: "t.name"}}.Where(listing.Ask{Filters: []listing.Filter{filter}})
		if err != nil {
			return "", nil, err
		}
		add(tagged+" AND "+name+end, slices.Concat(of, values)...)
	}
	switch {
	case a.Tagged == nil:
	case *a.Tagged:
		add(tagged+end, of...)
	default:
		add("NOT ("+tagged+end+")", of...)
	}
	for _, label := range a.Labels {
		add("EXISTS (SELECT 1 FROM manifest_labels l WHERE l.repo = m.repo AND l.digest = m.digest AND l.label = ?)", label)
	}
	if a.Latest {
		add("NOT EXISTS (SELECT 1 FROM manifests o WHERE o.repo = m.repo AND (o.pushed_at > m.pushed_at OR o.pushed_at = m.pushed_at AND o.digest > m.digest) AND " + strings.ReplaceAll(standing, "m.", "o.") + ")")
	}
	return strings.Join(all, " AND "), args, nil
}

// CountArtifacts answers how many manifests are on all pages of a list. Invalid: the Ask has what the list has not.
func CountArtifacts(ctx context.Context, q sqldb.Querier, of Artifacts, ask listing.Ask) (total int64, err error) {
	if count := of.counted(); count != "" && len(ask.Filters) == 0 {
		err = q.Row(ctx, "SELECT "+count+" FROM repositories r WHERE r.id = ?", of.Repo).Scan(&total)
		return total, err
	}
	from, args, err := of.from(ask, false)
	if err == nil {
		err = q.Row(ctx, "SELECT COUNT(*)"+from, args...).Scan(&total)
	}
	return total, err
}

// from answers the tables and the conditions of a list.
func (a Artifacts) from(ask listing.Ask, next bool) (string, []any, error) {
	where, values, err := artifactFields.Where(ask)
	if err != nil {
		return "", nil, err
	}
	narrow, args, err := a.condition(next)
	return " FROM manifests m JOIN repositories r ON r.id = m.repo WHERE " + narrow + " AND " + where, append(args, values...), err
}

// PageOfArtifacts answers a page of manifests, without their tags. Bodies beyond most bytes are left out. Invalid: the Ask has what the list has not.
func PageOfArtifacts(ctx context.Context, q sqldb.Querier, of Artifacts, ask listing.Ask, most int64) (page []ArtifactSummary, err error) {
	unique := "m.repo, m.digest"
	if len(ask.Order) == 0 || ask.Order[0].Descending { // all columns in one direction, which an index can be read in
		unique = "m.repo DESC, m.digest DESC"
	}
	order, err := artifactFields.OrderBy(ask, "m.pushed_at DESC", unique)
	if err != nil {
		return nil, err
	}
	from, args, err := of.from(ask, of.inOrder(ask))
	if err != nil {
		return nil, err
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
			return nil, cause
		}
		page = append(page, s)
	}
	return page, nil
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
	cond, args := v.sets()
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

// SumBlobs sums the sizes of up to limit blobs behind a digest, in the order of their bytes, and answers the last one of them; none if there are no more behind it.
func SumBlobs(ctx context.Context, q sqldb.Querier, behind []byte, limit int) (sum int64, last []byte, err error) {
	for row, cause := range q.Rows(ctx, "SELECT digest FROM blobs WHERE digest > ? ORDER BY digest LIMIT 1 OFFSET ?", behind, limit-1) {
		if cause == nil {
			cause = row.Scan(&last)
		}
		if cause != nil {
			return 0, nil, cause
		}
	}
	if last == nil {
		err = q.Row(ctx, "SELECT COALESCE(SUM(size), 0) FROM blobs WHERE digest > ?", behind).Scan(&sum)
		return sum, nil, err
	}
	err = q.Row(ctx, "SELECT COALESCE(SUM(size), 0) FROM blobs WHERE digest > ? AND digest <= ?", behind, last).Scan(&sum)
	return sum, last, err
}
