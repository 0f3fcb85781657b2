package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/fail"
)

func (p *program) tag() *cobra.Command {
	return p.nouns(verb{"tag", "Tags: names of artifacts", "Tags are names of artifacts in their repository.", "  havn tag list team/app\n  havn tag create team/app:1.2.3 stable"}, p.tagList(), p.tagCreate(), p.tagDelete())
}

func (p *program) tagList() *cobra.Command {
	var l listing
	cmd := p.asking(verb{
		"list PLACE", "The tags of a repository or of an artifact", "List the tags of a repository, by name, or those of one artifact, the last moved first. --query and --sort are for those of an artifact.",
		"  havn tag list team/app\n  havn tag list team/app:stable --output json",
	}, func(r *remote) (answered, error) {
		of, err := client.ParseArtifact(r.args[0])
		ofAll := err != nil && !strings.ContainsAny(r.args[0], "@")
		if ofAll {
			of, err = client.ParseRepository(r.args[0])
		}
		if err == nil && ofAll && l.query+l.sort != "" {
			err = fail.E(fail.Invalid, nil, "--query and --sort of a repository's tags").Hint("name an artifact, or leave them out")
		}
		if err != nil {
			return answered{}, usage(err)
		}
		if err = l.check(); err != nil {
			return answered{}, err
		}
		ask := func() ([]client.TagOf, int64, error) {
			return r.TagsOf(r.ctx, of, client.ListTagsParams{Q: l.query, Sort: l.sort}, l.limit)
		}
		if ofAll {
			ask = func() ([]client.TagOf, int64, error) {
				all, allErr := r.RepositoryTags(r.ctx, of)
				total := int64(len(all))
				if l.limit > 0 && l.limit < total {
					all = all[:l.limit]
				}
				return all, total, allErr
			}
		}
		all, total, err := ask()
		if err != nil {
			return answered{}, err
		}
		return tabled(&l, all, total, "TAG, DIGEST, PUSHED", func(t client.TagOf) []string { return []string{t.Name, t.Digest, since(t.PushTime)} })
	})
	l.flags(cmd, "name, push_time, pull_time", "name, push_time, pull_time", 0)
	return cmd
}

func (p *program) tagCreate() *cobra.Command {
	return p.ofArtifact(verb{"create ARTIFACT TAG", "Give an artifact one more tag", "Give an artifact one more tag. One that is another artifact's moves.", "  havn tag create team/app:1.2.3 stable\n  havn tag create team/app@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae old"},
		func(r *remote, of client.Place) (answered, error) {
			_, err := r.CreateTag(r.ctx, of.Project, of.Repository, of.Reference, client.Tag{Name: r.args[1]})
			of.Reference = r.args[1]
			return did("created", "tag", of.String(), 0), err
		})
}

func (p *program) tagDelete() *cobra.Command {
	var yes *bool
	cmd := p.ofArtifact(verb{"delete ARTIFACT", "Remove a tag", "Remove a tag. The artifact stays, with its other tags.", "  havn tag delete team/app:old --yes"}, func(r *remote, of client.Place) (answered, error) {
		if strings.Contains(of.Reference, ":") {
			return answered{}, usage(fail.E(fail.Invalid, nil, "%s is no tag", of).Hint("`havn artifact delete` takes a digest"))
		}
		if err := p.sure(*yes, "Remove the tag "+of.String()); err != nil {
			return answered{}, err
		}
		return did("deleted", "tag", of.String(), 0), r.DeleteTag(r.ctx, of.Project, of.Repository, of.Reference, of.Reference)
	})
	yes = deleting(cmd)
	return cmd
}
