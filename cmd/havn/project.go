package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

func (p *program) project() *cobra.Command {
	return p.nouns(verb{
		"project", "Projects: who may see them, their settings", "Projects hold repositories, members, robot accounts and labels.",
		"  havn project list\n  havn project create team --public",
	}, p.projectList(), p.projectGet(), p.projectCreate(), p.projectUpdate(), p.projectDelete())
}

func (p *program) projectList() *cobra.Command {
	var l listing
	cmd := p.asking(verb{
		"list", "The projects that the user sees", "List the projects that the user sees.",
		"  havn project list\n  havn project list --query name=~team,public=true --sort -creation_time --output json",
	}, func(r *remote) (answered, error) {
		return listed(&l, func(page, size int64) ([]client.Project, int64, error) {
			return r.ListProjects(r.ctx, client.ListProjectsParams{Q: l.query, Sort: l.sort, Page: page, PageSize: size, WithDetail: true})
		}, "NAME, PUBLIC, REPOSITORIES, OWNER, MADE", func(one client.Project) []string {
			return []string{one.Name, yesNo(one.Metadata.Public == "true"), decimal(one.RepoCount), dash(one.OwnerName), since(one.CreationTime)}
		})
	})
	l.flags(cmd, "name, owner, public", "name, project_id, creation_time, update_time, repo_count", 0)
	return cmd
}

func (p *program) projectGet() *cobra.Command {
	return p.asking(verb{"get PROJECT", "One project", "Show a project and its settings.", "  havn project get team\n  havn project get team --output json"}, func(r *remote) (answered, error) {
		one, err := r.GetProject(r.ctx, r.args[0])
		if err != nil {
			return answered{}, err
		}
		set, err := metadata(one.Metadata)
		if err != nil {
			return answered{}, err
		}
		pairs := []string{"NAME", one.Name, "ID", decimal(int64(one.ProjectID)), "OWNER", dash(one.OwnerName), "REPOSITORIES", decimal(one.RepoCount), "MADE", since(one.CreationTime), "CHANGED", since(one.UpdateTime)}
		return described(one, append(pairs, set...)...), nil
	})
}

// metadata answers what is set of a project's metadata: names and values in turn.
func metadata(of client.ProjectMetadata) ([]string, error) {
	text, textErr := json.Marshal(of)
	if textErr != nil {
		return nil, textErr
	}
	var all []string
	in := json.NewDecoder(bytes.NewReader(text)) // in the order of the API's document
	for {
		t, err := in.Token()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if s, ok := t.(string); ok {
			all = append(all, s)
		}
	}
}

// projectSettings are what projects can be made with and changed to.
type projectSettings struct {
	public bool
	set    []string
}

func (s *projectSettings) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.public, "public", false, "everybody may pull, without a login too")
	cmd.Flags().StringArrayVar(&s.set, "set", nil, "metadata, NAME=VALUE, like auto_scan=true; may be repeated")
}

func (s *projectSettings) metadata(cmd *cobra.Command) (of client.ProjectMetadata, err error) {
	set := map[string]string{}
	if cmd.Flags().Changed("public") {
		set["public"] = strconv.FormatBool(s.public)
	}
	for _, pair := range s.set {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return of, usage(fail.E(fail.Invalid, nil, "--set %q", pair).Hint("write NAME=VALUE"))
		}
		set[name] = value
	}
	text, err := json.Marshal(set)
	if err != nil {
		return of, err
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err = in.Decode(&of); err != nil {
		return of, usage(fail.E(fail.Invalid, err, "--set").Hint("projects have public, enable_content_trust, enable_content_trust_cosign, prevent_vul, severity, auto_scan, auto_sbom_generation, reuse_sys_cve_allowlist, retention_id, proxy_speed_kb"))
	}
	return of, nil
}

func (p *program) projectCreate() *cobra.Command {
	var s projectSettings
	var quota string
	cmd := p.asking(verb{
		"create PROJECT", "Make a project", "Make a project, private unless --public says otherwise. The user is its administrator from then on. A quota is for system administrators to set.",
		"  havn project create team\n  havn project create open --public --quota 50GiB",
	}, func(r *remote) (answered, error) {
		set, err := s.metadata(r.cmd)
		if err != nil {
			return answered{}, err
		}
		body := client.ProjectReq{ProjectName: r.args[0], Metadata: set}
		if quota != "" {
			limit, sizeErr := limitOf(quota)
			if sizeErr != nil {
				return answered{}, sizeErr
			}
			body.StorageLimit = &limit
			if err = r.mustBeAdmin("set a quota"); err != nil { // the server would pass over it
				return answered{}, err
			}
		}
		at, err := r.CreateProject(r.ctx, body)
		return did("created", "project", r.args[0], client.IDAt(at)), err
	})
	s.flags(cmd)
	cmd.Flags().StringVar(&quota, "quota", "", "what it may have in bytes, like 50GiB, or unlimited")
	return cmd
}

// mustBeAdmin refuses what is for system administrators, where the server passes over it.
func (r *remote) mustBeAdmin(what string) error {
	me, err := r.GetCurrentUserInfo(r.ctx)
	if err == nil && !me.SysadminFlag && !me.AdminRoleInAuth {
		return fail.E(fail.Denied, nil, "%s is no system administrator, and can't %s", me.Username, what).Hint("leave it out, or ask one")
	}
	return err
}

// limitOf reads a size, or unlimited, which is -1.
func limitOf(text string) (int64, error) {
	if text == "unlimited" {
		return -1, nil
	}
	n, err := config.ParseSize(text)
	if err == nil && n == 0 {
		err = fail.E(fail.Invalid, nil, "a quota of nothing")
	}
	if err != nil {
		return 0, usage(fail.E(fail.Invalid, err, "size").Hint("write it like 50GiB, or unlimited"))
	}
	return n, nil
}

func (p *program) projectUpdate() *cobra.Command {
	var s projectSettings
	cmd := p.asking(verb{
		"update PROJECT", "Change a project's visibility or metadata", "Change what is named of a project, and leave the rest. Quotas are changed with 'havn quota update'.",
		"  havn project update team --public\n  havn project update team --public=false --set auto_scan=true",
	}, func(r *remote) (answered, error) {
		set, err := s.metadata(r.cmd)
		if err != nil {
			return answered{}, err
		}
		if set == (client.ProjectMetadata{}) {
			return answered{}, nothingToChange(r.cmd)
		}
		return did("updated", "project", r.args[0], 0), r.UpdateProject(r.ctx, r.args[0], client.ProjectReq{Metadata: set})
	})
	s.flags(cmd)
	return cmd
}

func nothingToChange(cmd *cobra.Command) error {
	return usage(fail.E(fail.Invalid, nil, "%s is told nothing to change", cmd.CommandPath()).Hint("see %s --help", cmd.CommandPath()))
}

func (p *program) projectDelete() *cobra.Command {
	var yes *bool
	cmd := p.asking(verb{
		"delete PROJECT", "Delete a project that has no repositories", "Delete a project with its members, robot accounts and labels. One that has repositories is refused: delete them first.",
		"  havn project delete team --yes",
	}, func(r *remote) (answered, error) {
		if err := p.sure(*yes, "Delete the project "+r.args[0]); err != nil {
			return answered{}, err
		}
		return did("deleted", "project", r.args[0], 0), r.DeleteProject(r.ctx, r.args[0])
	})
	yes = deleting(cmd)
	return cmd
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
