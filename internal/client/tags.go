package client

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// TagOf is a tag and what it points to.
type TagOf struct {
	Name      string    `json:"name"`
	Digest    string    `json:"digest"`
	PushTime  time.Time `json:"push_time,omitzero"`
	PullTime  time.Time `json:"pull_time,omitzero"`
	Immutable bool      `json:"immutable"`
}

func tagOf(digest string, t Tag) TagOf {
	return TagOf{t.Name, digest, t.PushTime, t.PullTime, t.Immutable}
}

// mostTold is how many tags a page of artifacts may tell before each of them is asked for its own: servers leave out what is beyond some thousands.
const mostTold = 1000

// Artifacts answers a page of a repository's artifacts. The API has an empty list for a repository that is not there, as Harbor has; this has its error, or a slip of the pen would look
// like a repository without anything.
func (c *Client) Artifacts(ctx context.Context, of Place, p ListArtifactsParams) ([]Artifact, int64, error) {
	page, total, err := c.ListArtifacts(ctx, of.Project, of.Repository, p)
	if err == nil && total == 0 {
		_, err = c.GetRepository(ctx, of.Project, of.Repository)
	}
	return page, total, err
}

// RepositoryTags answers all tags of a repository, by name. The API lists those of an artifact alone.
func (c *Client) RepositoryTags(ctx context.Context, of Place) ([]TagOf, error) {
	all := []TagOf{}
	_, _, err := All(0, func(page, size int64) ([]Artifact, int64, error) {
		artifacts, total, err := c.Artifacts(ctx, of, ListArtifactsParams{Q: "tags=*", Page: page, PageSize: size, WithTag: true})
		if err != nil {
			return nil, 0, err
		}
		told := 0
		for i := range artifacts {
			told += len(artifacts[i].Tags)
		}
		for i := range artifacts {
			tags := artifacts[i].Tags
			if told >= mostTold {
				at := of
				at.Reference = artifacts[i].Digest
				if tags, _, err = c.ArtifactTags(ctx, at, ListTagsParams{}, 0); err != nil {
					return nil, 0, err
				}
			}
			for _, t := range tags {
				all = append(all, tagOf(artifacts[i].Digest, t))
			}
		}
		return artifacts, total, nil
	})
	slices.SortFunc(all, func(x, y TagOf) int { return cmp.Compare(x.Name, y.Name) })
	return all, err
}

// ArtifactTags answers the tags of an artifact, at most so many (0: all), and how many there are.
func (c *Client) ArtifactTags(ctx context.Context, of Place, p ListTagsParams, limit int64) ([]Tag, int64, error) {
	return All(limit, func(page, size int64) ([]Tag, int64, error) {
		p.Page, p.PageSize = page, size
		return c.ListTags(ctx, of.Project, of.Repository, of.Reference, p)
	})
}

// TagsOf is ArtifactTags with what they point to.
func (c *Client) TagsOf(ctx context.Context, of Place, p ListTagsParams, limit int64) ([]TagOf, int64, error) {
	artifact, err := c.GetArtifact(ctx, of.Project, of.Repository, of.Reference, GetArtifactParams{})
	if err != nil {
		return nil, 0, err
	}
	of.Reference = artifact.Digest // a tag that moves meanwhile does not mix two artifacts
	tags, total, err := c.ArtifactTags(ctx, of, p, limit)
	all := make([]TagOf, len(tags))
	for i, t := range tags {
		all[i] = tagOf(artifact.Digest, t)
	}
	return all, total, err
}
