package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/fail"
)

// role is one of a project's, with the number that Harbor gives it.
type role struct {
	name string
	id   int64
}

var roles = []role{{"admin", 1}, {"maintainer", 4}, {"developer", 2}, {"guest", 3}, {"limited-guest", 5}}

func roleNames() string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = r.name
	}
	return strings.Join(names, ", ")
}

// roleFlag adds --role to a command and answers what reads it.
func roleFlag(cmd *cobra.Command) func() (int64, error) {
	name := cmd.Flags().String("role", "", "what the member may do: "+roleNames())
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return strings.Split(roleNames(), ", "), cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("role", complete); err != nil {
		panic(err) // the flag was just added
	}
	return func() (int64, error) {
		for _, r := range roles {
			if r.name == *name {
				return r.id, nil
			}
		}
		return 0, usage(fail.E(fail.Invalid, nil, "--role %q", *name).Hint("use one of %s", roleNames()))
	}
}

// roleName answers a role as --role has it.
func roleName(m client.ProjectMemberEntity) string {
	if i := slices.IndexFunc(roles, func(r role) bool { return r.id == m.RoleID }); i >= 0 {
		return roles[i].name
	}
	return m.RoleName
}

func (p *program) member() *cobra.Command {
	return p.nouns(verb{
		"member", "Members of projects: who has which role", "Users and groups with a role in a project.",
		"  havn member list team\n  havn member create team maria --role developer",
	}, p.memberList(), p.memberGet(), p.memberCreate(), p.memberUpdate(), p.memberDelete())
}

func memberKind(m client.ProjectMemberEntity) string {
	if m.EntityType == "g" {
		return "group"
	}
	return "user"
}

func (p *program) memberList() *cobra.Command {
	var l listing
	var name string
	cmd := p.asking(verb{"list PROJECT", "The members of a project", "List the members of a project, by name.", "  havn member list team\n  havn member list team --name mar --output json"}, func(r *remote) (answered, error) {
		return listed(&l, func(page, size int64) ([]client.ProjectMemberEntity, int64, error) {
			return r.ListProjectMembers(r.ctx, r.args[0], client.ListProjectMembersParams{Entityname: name, Page: page, PageSize: size})
		}, "NAME, KIND, ROLE", func(m client.ProjectMemberEntity) []string { return []string{m.EntityName, memberKind(m), roleName(m)} })
	})
	l.flags(cmd, "", "", 0)
	cmd.Flags().StringVar(&name, "name", "", "only the one of this name")
	return cmd
}

func (p *program) memberGet() *cobra.Command {
	var group *bool
	cmd := p.asking(verb{"get PROJECT NAME", "One member of a project", "Show the role of a member of a project.", "  havn member get team maria\n  havn member get team builders --group --output json"}, func(r *remote) (answered, error) {
		m, err := r.FindMember(r.ctx, r.args[0], r.args[1], *group)
		return described(m, "ID", decimal(m.ID), "NAME", m.EntityName, "KIND", memberKind(m), "ROLE", roleName(m)), err
	})
	group = groupFlag(cmd)
	return cmd
}

// groupFlag adds --group to a command.
func groupFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("group", false, "the name is a group's")
}

func (p *program) memberCreate() *cobra.Command {
	var chosen func() (int64, error)
	var group *bool
	cmd := p.asking(verb{
		"create PROJECT NAME", "Give a user or a group a role in a project", "Make a user a member of a project, or a group: one that Havn knows, by its name, or one of the directory, by its distinguished name.",
		"  havn member create team maria --role developer\n  havn member create team cn=builders,ou=groups,dc=example,dc=com --group --role maintainer",
	}, func(r *remote) (answered, error) {
		id, err := chosen()
		if err != nil {
			return answered{}, err
		}
		body := client.ProjectMember{RoleID: id}
		switch name := r.args[1]; {
		case *group && strings.Contains(name, "="):
			body.MemberGroup = client.UserGroup{LdapGroupDn: name, GroupType: 1}
		case *group:
			body.MemberGroup.GroupName = name
		default:
			body.MemberUser.Username = name
		}
		at, err := r.CreateProjectMember(r.ctx, r.args[0], body)
		return did("created", "member", r.args[1], client.IDAt(at)), err
	})
	chosen, group = roleFlag(cmd), groupFlag(cmd)
	return cmd
}

func (p *program) memberUpdate() *cobra.Command {
	var chosen func() (int64, error)
	var group *bool
	cmd := p.asking(verb{"update PROJECT NAME", "Give a member another role", "Give a member of a project another role.", "  havn member update team maria --role maintainer"}, func(r *remote) (answered, error) {
		id, err := chosen()
		if err != nil {
			return answered{}, err
		}
		m, err := r.FindMember(r.ctx, r.args[0], r.args[1], *group)
		if err != nil {
			return answered{}, err
		}
		return did("updated", "member", r.args[1], m.ID), r.UpdateProjectMember(r.ctx, r.args[0], m.ID, client.RoleRequest{RoleID: id})
	})
	chosen, group = roleFlag(cmd), groupFlag(cmd)
	return cmd
}

func (p *program) memberDelete() *cobra.Command {
	var yes, group *bool
	cmd := p.asking(verb{"delete PROJECT NAME", "Take a member out of a project", "Take a member out of a project. The user stays, and so does what he pushed.", "  havn member delete team maria --yes"}, func(r *remote) (answered, error) {
		m, err := r.FindMember(r.ctx, r.args[0], r.args[1], *group)
		if err == nil {
			err = p.sure(*yes, "Take "+r.args[1]+" out of the project "+r.args[0])
		}
		if err != nil {
			return answered{}, err
		}
		return did("deleted", "member", r.args[1], m.ID), r.DeleteProjectMember(r.ctx, r.args[0], m.ID)
	})
	yes, group = deleting(cmd), groupFlag(cmd)
	return cmd
}
