package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/server"
)

// mostRounds bounds how long a check may take.
const mostRounds = 10000

func (p *program) db() *cobra.Command {
	cmd := p.group(&cobra.Command{
		Use: "db", Short: "Check the database", Long: "Check the database that the configuration names.\n\n" + exitText, Example: "  havn db check --config /etc/havn/havn.yaml",
	})
	cmd.AddCommand(p.dbCheck())
	return cmd
}

func (p *program) dbCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Try on your database what Havn rests on",
		Long: `Try on your own database what Havn rests on: that of two transactions on two servers which must not both succeed one is refused, that what one server
acknowledged is found through every other at once, that names and counts are what they are elsewhere; and look at the settings and the clock of each server.

It makes three tables whose names begin with havn_check_, and drops them. It may run while Havn serves: on Galera each table that is made or dropped holds writes up for a moment.

Exit codes:
  0  all is well (warnings may be shown)
  1  something is wrong
  2  the command line or the configuration can't be used`,
		Example: "  havn db check --config /etc/havn/havn.yaml\n  havn db check --rounds 200 --output json",
		Args:    noArguments,
	}
	rounds := cmd.Flags().Int("rounds", 20, "how often each rule is tried")
	return p.looking(cmd, func(ctx context.Context, c *config.Config, asJSON bool) error {
		if *rounds < 1 || *rounds > mostRounds {
			return fail.E(fail.Invalid, nil, "--rounds %d", *rounds).Hint("use 1 to %d", mostRounds)
		}
		// Whoever gives up still gets the tables dropped.
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		return p.report(server.CheckDatabase(ctx, c, *rounds), asJSON, nil)
	})
}
