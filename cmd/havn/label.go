package main

import (
	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
)

func (p *program) label() *cobra.Command {
	return p.nouns(verb{
		"label", "Labels: what people say of artifacts", "Labels are put on artifacts, with 'havn artifact label'. Those of the system are for all projects, those of a project for its own.",
		"  havn label list --project team\n  havn label create tested --project team --color '#0065AB'",
	}, p.labelList(), p.labelGet(), p.labelCreate(), p.labelUpdate(), p.labelDelete())
}

func (p *program) labelList() *cobra.Command {
	var l listing
	var project *string
	cmd := p.asking(verb{"list", "The labels of the system or of a project", "List labels.", "  havn label list\n  havn label list --project team --query name=~test --output json"}, func(r *remote) (answered, error) {
		query, err := r.LabelQuery(r.ctx, *project)
		if err != nil {
			return answered{}, err
		}
		return listed(&l, func(page, size int64) ([]client.Label, int64, error) {
			query.Q, query.Sort, query.Page, query.PageSize = l.query, l.sort, page, size
			return r.ListLabels(r.ctx, query)
		}, "ID, NAME, COLOR, DESCRIPTION", func(one client.Label) []string {
			return []string{decimal(one.ID), one.Name, dash(one.Color), dash(one.Description)}
		})
	})
	project = ofProject(cmd)
	l.flags(cmd, "name", "name, id, creation_time, update_time", 0)
	return cmd
}

func (p *program) labelGet() *cobra.Command {
	var project *string
	cmd := p.asking(verb{"get LABEL", "One label", "Show a label.", "  havn label get tested --project team"}, func(r *remote) (answered, error) {
		one, err := r.FindLabel(r.ctx, *project, r.args[0])
		return described(one, "ID", decimal(one.ID), "NAME", one.Name, "COLOR", dash(one.Color), "DESCRIPTION", dash(one.Description), "MADE", since(one.CreationTime)), err
	})
	project = ofProject(cmd)
	return cmd
}

// look is how a label looks.
type look struct{ color, description string }

func (f *look) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.color, "color", "", "its colour, like #0065AB")
	cmd.Flags().StringVar(&f.description, "description", "", "what it means")
}

func (p *program) labelCreate() *cobra.Command {
	var f look
	var project *string
	cmd := p.asking(verb{"create LABEL", "Make a label", "Make a label of a project, or, as an administrator, of the system.", "  havn label create tested --project team --color '#0065AB' --description 'The tests passed'"}, func(r *remote) (answered, error) {
		query, err := r.LabelQuery(r.ctx, *project)
		if err != nil {
			return answered{}, err
		}
		at, err := r.CreateLabel(r.ctx, client.Label{Name: r.args[0], Scope: query.Scope, ProjectID: query.ProjectID, Color: f.color, Description: f.description})
		return did("created", "label", r.args[0], client.IDAt(at)), err
	})
	project = ofProject(cmd)
	f.flags(cmd)
	return cmd
}

func (p *program) labelUpdate() *cobra.Command {
	var f look
	var name string
	var project *string
	cmd := p.asking(verb{"update LABEL", "Change a label", "Change what is named of a label, and leave the rest.", "  havn label update tested --project team --name passed\n  havn label update tested --color '#AB0000'"}, func(r *remote) (answered, error) {
		given := r.cmd.Flags().Changed
		if !given("name") && !given("color") && !given("description") {
			return answered{}, nothingToChange(r.cmd)
		}
		one, err := r.FindLabel(r.ctx, *project, r.args[0])
		if err != nil {
			return answered{}, err
		}
		if given("name") {
			one.Name = name
		}
		if given("color") {
			one.Color = f.color
		}
		if given("description") {
			one.Description = f.description
		}
		return did("updated", "label", one.Name, one.ID), r.UpdateLabel(r.ctx, one.ID, one)
	})
	project = ofProject(cmd)
	f.flags(cmd)
	cmd.Flags().StringVar(&name, "name", "", "another name")
	return cmd
}

func (p *program) labelDelete() *cobra.Command {
	var project *string
	var yes *bool
	cmd := p.asking(verb{"delete LABEL", "Delete a label, also from what it is on", "Delete a label, also from what it is on.", "  havn label delete tested --project team --yes"}, func(r *remote) (answered, error) {
		one, err := r.FindLabel(r.ctx, *project, r.args[0])
		if err == nil {
			err = p.sure(*yes, "Delete the label "+r.args[0])
		}
		if err != nil {
			return answered{}, err
		}
		return did("deleted", "label", one.Name, one.ID), r.DeleteLabel(r.ctx, one.ID)
	})
	project, yes = ofProject(cmd), deleting(cmd)
	return cmd
}
