package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/server"
)

func (p *program) node() *cobra.Command {
	cmd := p.group(&cobra.Command{
		Use:     "node",
		Short:   "Look after the nodes of this registry",
		Long:    "Look after the nodes of this registry.\n\n" + exitText,
		Example: "  havn node list\n  havn node list --output json",
	})
	cmd.AddCommand(p.nodeList(), p.nodeForget())
	return cmd
}

func (p *program) nodeList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "The nodes that share the database",
		Long: `List the nodes that share the database: name, address, version, state, since when it is so, when it said last that it is alive, how far its clock is from
that of the database's server, and its incarnation (each start of a node is a new one). On SQLite there is one, the process that serves the data directory.

` + exitText,
		Example: "  havn node list\n  havn node list --output json",
		Args:    noArguments,
	}
	return p.looking(cmd, func(ctx context.Context, c *config.Config, asJSON bool) error {
		all, err := server.LookAtNodes(ctx, c)
		switch {
		case err != nil:
			return failed(err)
		case asJSON:
			return p.printJSON(all)
		}
		var b strings.Builder
		nodeTable(&b, all)
		return p.print(b.String())
	})
}

func (p *program) nodeForget() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forget INCARNATION",
		Short: "Forget a node that was taken away for good",
		Long: `Take an incarnation of a node that is dead or stopped out of the list. 'havn node list' says which there are. One that is alive is refused: a node that was
killed is declared dead by the others within a minute. Ended ones are forgotten by themselves after 30 days.

` + exitText,
		Example: "  havn node forget 4614812934712901123",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fail.E(fail.Invalid, nil, "havn node forget takes one incarnation, and got %d", len(args)).Hint("`havn node list` says which there are")
			}
			return nil
		},
	}
	load := p.settings(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || id <= 0 {
			return fail.E(fail.Invalid, nil, "%q is no incarnation", args[0]).Hint("`havn node list` says which there are")
		}
		c, err := p.usable(load)
		if err != nil {
			return err
		}
		if err = server.ForgetNode(cmd.Context(), c, id); err != nil {
			return failed(err)
		}
		return p.print("Forgot " + args[0] + ".\n")
	}
	return cmd
}
