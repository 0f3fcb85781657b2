package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/server"
)

func (p *program) store() *cobra.Command {
	cmd := p.group(&cobra.Command{
		Use:     "store",
		Short:   "Look after the blob store",
		Long:    "Look after the blob store.\n\n" + exitText,
		Example: "  havn store check",
	})
	cmd.AddCommand(p.storeCheck(), p.storeConfirm())
	return cmd
}

// storeChecked is the result of store check.
type storeChecked struct {
	OK     bool                 `json:"ok"`
	Checks []server.StoreResult `json:"checks"`
}

func (p *program) storeCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Try whether the blob store keeps what Havn needs",
		Long: `Try whether the configured blob store keeps every promise that Havn relies on: Havn's own tests of its drivers, run against your directory, bucket or
pool through several connections. About 200 MB are written, under names that begin with havn-check-, and removed. Havn may serve meanwhile.

Exit codes:
  0  the store kept every promise that Havn can't do without (warnings may be shown)
  1  it did not, or can't be reached
  2  the command line or the configuration can't be used`,
		Example: "  havn store check --config /etc/havn/havn.yaml\n  havn store check --output json",
		Args:    noArguments,
	}
	return p.looking(cmd, func(ctx context.Context, c *config.Config, asJSON bool) error {
		// Whoever gives up still gets the store back as it was.
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		all := storeChecked{OK: true, Checks: []server.StoreResult{}}
		var printErr error
		err := server.CheckStore(ctx, c, func(r server.StoreResult) {
			all.OK = all.OK && (r.OK || r.Minor)
			all.Checks = append(all.Checks, r)
			if !asJSON && printErr == nil {
				printErr = p.print(storeLine(r))
			}
		})
		if asJSON && err == nil {
			printErr = p.printJSON(all)
		}
		switch {
		case err != nil:
			return failed(err)
		case printErr != nil:
			return printErr
		case !all.OK:
			return outcome{code: exitFailed}
		}
		return nil
	})
}

func storeLine(r server.StoreResult) string {
	status := server.Good
	switch {
	case r.Minor:
		status = server.Warning
	case !r.OK:
		status = server.Wrong
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-7s  %6.2f s  %s\n", status, r.Took, r.What)
	for _, text := range r.Problems {
		fmt.Fprintf(&b, "%-7s  %8s  → %s\n", "", "", text)
	}
	if r.Hint != "" {
		fmt.Fprintf(&b, "%-7s  %8s  → %s\n", "", "", r.Hint)
	}
	return b.String()
}

// storeConfirmed is the result of store confirm.
type storeConfirmed struct {
	Epoch int64 `json:"epoch"`
}

func (p *program) storeConfirm() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "confirm",
		Short: "Say that the blob store goes on with this database, after a restore",
		Long: `Say that the blob store is to go on with this database. After a database was restored from a backup, or while a copy of it uses the same store, nothing is
deleted from the store: which of them knows what is in use, only you can tell. 'havn doctor', 'havn status' and the log say when it is so.

From then on objects in the store that this database does not name are deleted once they are older than sweep.safe_time: those too that only another copy of
the database names, or a newer backup. Other copies delete nothing any more. Read "Restore" in docs/operations.md first.

On SQLite, stop Havn first. With a database of its own it may go on.

` + exitText,
		Example: "  havn store confirm --config /etc/havn/havn.yaml",
		Args:    noArguments,
	}
	return p.looking(cmd, func(ctx context.Context, c *config.Config, asJSON bool) error {
		epoch, err := server.ConfirmStore(ctx, c)
		switch {
		case err != nil:
			return failed(err)
		case asJSON:
			return p.printJSON(storeConfirmed{epoch})
		}
		return p.print(fmt.Sprintf("The blob store goes on with this database, in its epoch %d.\n", epoch))
	})
}
