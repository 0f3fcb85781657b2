package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/fail"
)

func (p *program) robot() *cobra.Command {
	return p.nouns(verb{
		"robot", "Robot accounts: for CI and other programs", `Robot accounts are for programs that are nobody's. One of a project may do something there; one of the system in several projects, or to the system itself. A
name is the account's own (ci), with --project of which it is, or the whole one ('robot$team+ci').`,
		"  havn robot list --project team\n  havn robot create ci --project team --permission repository:pull --permission repository:push",
	},
		p.robotList(), p.robotGet(), p.robotCreate(), p.robotUpdate(), p.robotRotate(), p.robotDelete())
}

// ofProject adds --project to a command.
func ofProject(cmd *cobra.Command) *string {
	return cmd.Flags().String("project", "", "the project; without it, the system's are meant")
}

func (p *program) robotList() *cobra.Command {
	var l listing
	var project *string
	cmd := p.asking(verb{"list", "The robot accounts of the system or of a project", "List robot accounts.", "  havn robot list\n  havn robot list --project team --query name=~ci --output json"}, func(r *remote) (answered, error) {
		filter, err := r.RobotFilter(r.ctx, *project)
		if err != nil {
			return answered{}, err
		}
		return listed(&l, func(page, size int64) ([]client.Robot, int64, error) {
			return r.ListRobot(r.ctx, client.ListRobotParams{Q: l.and(filter), Sort: l.sort, Page: page, PageSize: size})
		}, "ID, NAME, ENABLED, UNTIL, DESCRIPTION", func(one client.Robot) []string {
			return []string{decimal(one.ID), one.Name, yesNo(!one.Disable), seconds(one.ExpiresAt), dash(one.Description)}
		})
	})
	project = ofProject(cmd)
	l.flags(cmd, "name", "name, id, creation_time, update_time", 0)
	return cmd
}

func (p *program) robotGet() *cobra.Command {
	var project *string
	cmd := p.asking(verb{"get ROBOT", "One robot account, and what it may do", "Show a robot account and what it may do.", "  havn robot get ci --project team\n  havn robot get 'robot$team+ci' --output json"}, func(r *remote) (answered, error) {
		one, err := r.FindRobot(r.ctx, *project, r.args[0])
		pairs := []string{"ID", decimal(one.ID), "NAME", one.Name, "ENABLED", yesNo(!one.Disable), "UNTIL", seconds(one.ExpiresAt), "DESCRIPTION", dash(one.Description), "MADE", since(one.CreationTime)}
		for _, group := range one.Permissions {
			var may []string
			for _, a := range group.Access {
				may = append(may, a.Resource+":"+a.Action)
			}
			pairs = append(pairs, "MAY IN "+group.Namespace, lines(may))
		}
		return described(one, pairs...), err
	})
	project = ofProject(cmd)
	return cmd
}

// grants are what a robot account may do.
type grants []string

func (g *grants) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar((*[]string)(g), "permission", nil,
		"what it may do, RESOURCE:ACTION, like repository:pull; may be repeated. Of the system's: PROJECT=RESOURCE:ACTION, * for every project, / for the system")
}

// of answers them as the API has them, in the order in which they were given.
func (g grants) of(project string) ([]client.RobotPermission, error) {
	var all []client.RobotPermission
	for _, text := range g {
		in, what, ok := strings.Cut(text, "=")
		if !ok {
			in, what = project, text
		}
		resource, action, whole := strings.Cut(what, ":")
		if in == "" || resource == "" || action == "" || !whole || project != "" && in != project {
			return nil, usage(fail.E(fail.Invalid, nil, "--permission %q", text).Hint("write RESOURCE:ACTION for a project's robot account, and PROJECT=RESOURCE:ACTION, *=RESOURCE:ACTION or /=RESOURCE:ACTION for the system's"))
		}
		kind := client.LevelProject
		if in == "/" {
			kind = client.LevelSystem
		}
		i := slices.IndexFunc(all, func(known client.RobotPermission) bool { return known.Namespace == in })
		if i < 0 {
			i, all = len(all), append(all, client.RobotPermission{Kind: kind, Namespace: in})
		}
		all[i].Access = append(all[i].Access, client.Access{Resource: resource, Action: action})
	}
	return all, nil
}

func (p *program) robotCreate() *cobra.Command {
	var project *string
	var may grants
	var days int64
	var description string
	cmd := p.asking(verb{
		"create ROBOT", "Make a robot account", "Make a robot account. Its secret is shown this once; 'havn robot rotate' makes another.",
		"  havn robot create ci --project team --permission repository:pull --permission repository:push --days 365\n  havn robot create mirror --permission '*=repository:pull' --output json",
	}, func(r *remote) (answered, error) {
		permissions, err := may.of(*project)
		switch {
		case err != nil:
			return answered{}, err
		case len(permissions) == 0:
			return answered{}, usage(fail.E(fail.Invalid, nil, "a robot account that may do nothing").Hint("say what it may do: --permission repository:pull"))
		case r.cmd.Flags().Changed("days") && days == 0 || days < -1: // not said at all, it is what administrators have set
			return answered{}, usage(fail.E(fail.Invalid, nil, "--days %d", days).Hint("use 1 or more, or -1 for one that does not end"))
		}
		body := client.RobotCreate{Name: r.args[0], Description: description, Level: client.LevelSystem, Duration: days, Permissions: permissions}
		if *project != "" {
			body.Level = client.LevelProject
		}
		made, err := r.CreateRobot(r.ctx, body)
		return answered{value: made, text: "The robot account " + made.Name + " is created, good until: " + seconds(made.ExpiresAt) + ". Its secret is shown this once:\n\n    " + made.Secret + "\n"}, err
	})
	project = ofProject(cmd)
	may.flags(cmd)
	cmd.Flags().Int64Var(&days, "days", 0, "after how many days it ends, -1: never; without it, what settings.robot_token_duration says")
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	return cmd
}

func (p *program) robotUpdate() *cobra.Command {
	var project *string
	var may grants
	var days int64
	var description string
	var enabled bool
	cmd := p.asking(verb{
		"update ROBOT", "Change a robot account", "Change what is named of a robot account, and leave the rest. --permission, once or more, takes the place of all that it may. One that is disabled ends at once.",
		"  havn robot update ci --project team --enabled=false\n  havn robot update ci --project team --permission repository:pull --days 30",
	}, func(r *remote) (answered, error) {
		given := r.cmd.Flags().Changed
		if !given("enabled") && !given("permission") && !given("days") && !given("description") {
			return answered{}, nothingToChange(r.cmd)
		}
		one, err := r.FindRobot(r.ctx, *project, r.args[0])
		if err != nil {
			return answered{}, err
		}
		if given("permission") {
			of := ""
			if one.Level == client.LevelProject && len(one.Permissions) > 0 {
				of = one.Permissions[0].Namespace
			}
			if one.Permissions, err = may.of(of); err != nil {
				return answered{}, err
			}
		}
		if given("days") {
			one.Duration = &days
		}
		if given("description") {
			one.Description = description
		}
		if given("enabled") {
			one.Disable = !enabled
		}
		return did("updated", "robot", one.Name, one.ID), r.UpdateRobot(r.ctx, one.ID, one)
	})
	project = ofProject(cmd)
	may.flags(cmd)
	cmd.Flags().Int64Var(&days, "days", -1, "after how many days from now it ends; -1: never")
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	cmd.Flags().BoolVar(&enabled, "enabled", true, "whether it may log in")
	return cmd
}

// rotatedRobot is the result of robot rotate.
type rotatedRobot struct {
	Name   string `json:"name"`
	ID     int64  `json:"id"`
	Secret string `json:"secret"`
}

func (p *program) robotRotate() *cobra.Command {
	var project *string
	cmd := p.asking(verb{"rotate ROBOT", "Give a robot account another secret", "Give a robot account another secret, which is shown this once. The old one ends.", "  havn robot rotate ci --project team\n  havn robot rotate mirror --output json"}, func(r *remote) (answered, error) {
		one, err := r.FindRobot(r.ctx, *project, r.args[0])
		if err != nil {
			return answered{}, err
		}
		made, err := r.RefreshSec(r.ctx, one.ID, client.RobotSec{})
		return answered{value: rotatedRobot{one.Name, one.ID, made.Secret}, text: "The robot account " + one.Name + " has a new secret, shown this once:\n\n    " + made.Secret + "\n"}, err
	})
	project = ofProject(cmd)
	return cmd
}

func (p *program) robotDelete() *cobra.Command {
	var project *string
	var yes *bool
	cmd := p.asking(verb{"delete ROBOT", "Delete a robot account", "Delete a robot account. What it pushed stays.", "  havn robot delete ci --project team --yes"}, func(r *remote) (answered, error) {
		one, err := r.FindRobot(r.ctx, *project, r.args[0])
		if err == nil {
			err = p.sure(*yes, "Delete the robot account "+one.Name)
		}
		if err != nil {
			return answered{}, err
		}
		return did("deleted", "robot", one.Name, one.ID), r.DeleteRobot(r.ctx, one.ID)
	})
	project, yes = ofProject(cmd), deleting(cmd)
	return cmd
}
