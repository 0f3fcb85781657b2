package main

import (
	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
)

func (p *program) repo() *cobra.Command {
	return p.nouns(verb{"repo", "Repositories: list, describe and delete them", "Repositories, by their names with their projects, like team/app.", "  havn repo list team\n  havn repo get team/app"},
		p.repoList(), p.repoGet(), p.repoUpdate(), p.repoDelete())
}

func (p *program) repoList() *cobra.Command {
	var l listing
	cmd := p.asking(verb{
		"list [PROJECT]", "The repositories of a project, or of all", "List the repositories of a project, or of all projects that the user sees.",
		"  havn repo list team\n  havn repo list --query name=~app --sort -update_time --output json",
	}, func(r *remote) (answered, error) {
		return listed(&l, func(page, size int64) ([]client.Repository, int64, error) {
			if len(r.args) == 0 {
				return r.ListAllRepositories(r.ctx, client.ListAllRepositoriesParams{Q: l.query, Sort: l.sort, Page: page, PageSize: size})
			}
			return r.ListRepositories(r.ctx, r.args[0], client.ListRepositoriesParams{Q: l.query, Sort: l.sort, Page: page, PageSize: size})
		}, "NAME, ARTIFACTS, PULLS, PUSHED", func(one client.Repository) []string {
			return []string{one.Name, decimal(one.ArtifactCount), decimal(one.PullCount), since(one.UpdateTime)}
		})
	})
	fields := "name, description, repository_id, project_id, pull_count, creation_time, update_time"
	l.flags(cmd, fields, fields, 0)
	return cmd
}

// repository makes a command whose first argument is a repository's name.
func (p *program) repository(v verb, run func(*remote, client.Place) (answered, error)) *cobra.Command {
	return p.asking(v, func(r *remote) (answered, error) {
		of, err := client.ParseRepository(r.args[0])
		if err != nil {
			return answered{}, usage(err)
		}
		return run(r, of)
	})
}

func (p *program) repoGet() *cobra.Command {
	return p.repository(verb{"get REPOSITORY", "One repository", "Show a repository.", "  havn repo get team/app\n  havn repo get team/app --output json"}, func(r *remote, of client.Place) (answered, error) {
		one, err := r.GetRepository(r.ctx, of.Project, of.Repository)
		made := "-"
		if one.CreationTime != nil {
			made = since(*one.CreationTime)
		}
		return described(one, "NAME", one.Name, "ARTIFACTS", decimal(one.ArtifactCount), "PULLS", decimal(one.PullCount), "MADE", made, "PUSHED", since(one.UpdateTime), "DESCRIPTION", dash(one.Description)), err
	})
}

func (p *program) repoUpdate() *cobra.Command {
	var description string
	cmd := p.repository(verb{"update REPOSITORY", "Describe a repository", "Change what is said of a repository: Markdown, for people.", "  havn repo update team/app --description 'The shop. Ask team@example.com.'"},
		func(r *remote, of client.Place) (answered, error) {
			if !r.cmd.Flags().Changed("description") {
				return answered{}, nothingToChange(r.cmd)
			}
			return did("updated", "repository", of.String(), 0), r.UpdateRepository(r.ctx, of.Project, of.Repository, client.Repository{Description: description})
		})
	cmd.Flags().StringVar(&description, "description", "", "what is said of it")
	return cmd
}

func (p *program) repoDelete() *cobra.Command {
	var yes *bool
	cmd := p.repository(verb{"delete REPOSITORY", "Delete a repository with all that is in it", "Delete a repository with all its artifacts and tags.", "  havn repo delete team/app --yes"}, func(r *remote, of client.Place) (answered, error) {
		if err := p.sure(*yes, "Delete the repository "+of.String()+" with all that is in it"); err != nil {
			return answered{}, err
		}
		return did("deleted", "repository", of.String(), 0), r.DeleteRepository(r.ctx, of.Project, of.Repository)
	})
	yes = deleting(cmd)
	return cmd
}
