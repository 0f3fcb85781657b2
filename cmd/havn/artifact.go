package main

import (
	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/fail"
)

func (p *program) artifact() *cobra.Command {
	return p.nouns(verb{
		"artifact", "Artifacts: images, charts and whatever else was pushed", "Artifacts are what was pushed: images, indexes, charts. One is named by a tag, like team/app:1, or by its digest, like team/app@sha256:….",
		"  havn artifact list team/app\n  havn artifact get team/app:1",
	},
		p.artifactList(), p.artifactGet(), p.artifactCopy(), p.artifactLabel(), p.artifactUnlabel(), p.artifactDelete())
}

func tagNames(of []client.Tag) []string {
	names := make([]string, len(of))
	for i, t := range of {
		names[i] = t.Name
	}
	return names
}

func labelNames(of []client.Label) []string {
	names := make([]string, len(of))
	for i, one := range of {
		names[i] = one.Name
	}
	return names
}

func (p *program) artifactList() *cobra.Command {
	var l listing
	cmd := p.repository(verb{
		"list REPOSITORY", "The artifacts of a repository", "List the artifacts of a repository, the last pushed first. What is attached to others, as signatures are, is told with these in JSON.",
		"  havn artifact list team/app\n  havn artifact list team/app --query tags=~v1 --sort -push_time --limit 20 --output json",
	}, func(r *remote, of client.Place) (answered, error) {
		return listed(&l, func(page, size int64) ([]client.Artifact, int64, error) {
			return r.Artifacts(r.ctx, of, client.ListArtifactsParams{Q: l.query, Sort: l.sort, Page: page, PageSize: size, WithTag: true, WithLabel: true, WithAccessory: true})
		}, "DIGEST, TYPE, SIZE, PUSHED, TAGS, LABELS", func(one client.Artifact) []string {
			return []string{one.Digest, one.Type, amount(one.Size), since(one.PushTime), lines(tagNames(one.Tags)), lines(labelNames(one.Labels))}
		})
	})
	l.flags(cmd, "digest, tags (tags=nil: none), labels, media_type, artifact_type, size, push_time, pull_time", "media_type, artifact_type, size, push_time, pull_time", 0)
	return cmd
}

// ofArtifact makes a command whose first argument names an artifact.
func (p *program) ofArtifact(v verb, run func(*remote, client.Place) (answered, error)) *cobra.Command {
	return p.asking(v, func(r *remote) (answered, error) {
		of, err := client.ParseArtifact(r.args[0])
		if err != nil {
			return answered{}, usage(err)
		}
		return run(r, of)
	})
}

func (p *program) artifactGet() *cobra.Command {
	return p.ofArtifact(verb{"get ARTIFACT", "One artifact", "Show an artifact; in JSON with its configuration, its parts and what is attached to it.", "  havn artifact get team/app:1\n  havn artifact get team/app:1 --output json"},
		func(r *remote, of client.Place) (answered, error) {
			one, err := r.GetArtifact(r.ctx, of.Project, of.Repository, of.Reference, client.GetArtifactParams{WithTag: true, WithLabel: true, WithAccessory: true})
			var attached []string
			for _, a := range one.Accessories {
				attached = append(attached, a.Type)
			}
			pulled := "never"
			if !one.PullTime.IsZero() {
				pulled = since(one.PullTime)
			}
			return described(one, "REPOSITORY", one.RepositoryName, "DIGEST", one.Digest, "TYPE", one.Type, "MEDIA TYPE", one.ManifestMediaType, "SIZE", amount(one.Size), "PUSHED", since(one.PushTime), "PULLED", pulled,
				"TAGS", lines(tagNames(one.Tags)), "LABELS", lines(labelNames(one.Labels)), "ATTACHED", lines(attached)), err
		})
}

func (p *program) artifactCopy() *cobra.Command {
	return p.ofArtifact(verb{"copy ARTIFACT REPOSITORY", "Copy an artifact to another repository", "Copy an artifact with its tags, its parts and what is attached to it. No byte moves.", "  havn artifact copy team/app:1 production/app"},
		func(r *remote, from client.Place) (answered, error) {
			to, err := client.ParseRepository(r.args[1])
			if err != nil {
				return answered{}, usage(err)
			}
			_, err = r.CopyArtifact(r.ctx, to.Project, to.Repository, client.CopyArtifactParams{From: from.String()})
			to.Reference = from.Reference
			return did("created", "artifact", to.String(), 0), err
		})
}

// labelOf finds a label by the name that people know: of the artifact's project, or else of the system.
func labelOf(r *remote, of client.Place, name string) (client.Label, error) {
	found, err := r.FindLabel(r.ctx, of.Project, name)
	if fail.Is(err, fail.NotFound) {
		if system, systemErr := r.FindLabel(r.ctx, "", name); systemErr == nil {
			return system, nil
		}
	}
	return found, err
}

func (p *program) artifactLabel() *cobra.Command {
	return p.ofArtifact(verb{"label ARTIFACT LABEL", "Put a label on an artifact", "Put a label of the project, or of the system, on an artifact.", "  havn artifact label team/app:1 tested"}, func(r *remote, of client.Place) (answered, error) {
		label, err := labelOf(r, of, r.args[1])
		if err != nil {
			return answered{}, err
		}
		return did("updated", "artifact", of.String(), 0), r.AddLabel(r.ctx, of.Project, of.Repository, of.Reference, client.Label{ID: label.ID})
	})
}

func (p *program) artifactUnlabel() *cobra.Command {
	return p.ofArtifact(verb{"unlabel ARTIFACT LABEL", "Take a label off an artifact", "Take a label off an artifact.", "  havn artifact unlabel team/app:1 tested"}, func(r *remote, of client.Place) (answered, error) {
		label, err := labelOf(r, of, r.args[1])
		if err != nil {
			return answered{}, err
		}
		return did("updated", "artifact", of.String(), 0), r.RemoveLabel(r.ctx, of.Project, of.Repository, of.Reference, label.ID)
	})
}

func (p *program) artifactDelete() *cobra.Command {
	var yes *bool
	cmd := p.ofArtifact(verb{"delete ARTIFACT", "Delete an artifact and all its tags", "Delete an artifact with all its tags and what is attached to it. To remove one tag alone, use 'havn tag delete'.", "  havn artifact delete team/app:1 --yes"},
		func(r *remote, of client.Place) (answered, error) {
			if err := p.sure(*yes, "Delete the artifact "+of.String()+" with all its tags"); err != nil {
				return answered{}, err
			}
			return did("deleted", "artifact", of.String(), 0), r.DeleteArtifact(r.ctx, of.Project, of.Repository, of.Reference)
		})
	yes = deleting(cmd)
	return cmd
}
