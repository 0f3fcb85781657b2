package main

import (
	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/server"
)

func (p *program) admin() *cobra.Command {
	cmd := p.group(&cobra.Command{
		Use:     "admin",
		Short:   "Look after the user admin",
		Long:    "Look after the user admin, on a machine that has the database's configuration.\n\n" + exitText,
		Example: "  havn admin reset-password",
	})
	cmd.AddCommand(p.resetPassword())
	return cmd
}

// wasReset is the result of admin reset-password.
type wasReset struct {
	User     string `json:"user"`
	Password string `json:"password,omitempty"` // if it was made
}

func (p *program) resetPassword() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset-password",
		Short: "Give the user admin another password",
		Long: `Give the user admin another password: for the day it is lost, or somebody else may know it. One is made and shown, or read from standard
input with --stdin, so that it is in no list of processes. HAVN_ADMIN_PASSWORD counts at the first start only, and not here.

On SQLite, stop Havn first. With a database of its own it may go on; a node takes the old password for ten seconds more at most.

Whoever is logged in by a refresh token logs in again. Access tokens are good until they end (settings.token_expiration); 'havn key rotate --revoke' ends
them at once.

` + exitText,
		Example: "  systemctl stop havn && havn admin reset-password --data-dir /var/lib/havn; systemctl start havn\n  havn admin reset-password --stdin < new-password",
		Args:    noArguments,
	}
	load, asJSON := p.settings(cmd), output(cmd)
	stdin := cmd.Flags().Bool("stdin", false, "read the password from standard input, up to the end of its first line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		c, err := p.loaded(load)
		if err != nil {
			return err
		}
		given := ""
		if *stdin {
			if given, err = p.line(); err == nil && given == "" {
				err = fail.E(fail.Invalid, nil, "standard input has no password").Hint("write it there, in one line")
			}
			if err != nil {
				return failed(err)
			}
		}
		password, err := server.ResetAdmin(cmd.Context(), c, given)
		if err != nil {
			return failed(err)
		}
		result, text := wasReset{User: "admin"}, "The user admin has the new password.\n"
		if given == "" {
			result.Password = password
			text = "The user admin has a new password, shown this once:\n\n    " + password + "\n"
		}
		if wantJSON {
			return p.printJSON(result)
		}
		return p.print(text)
	}
	return cmd
}
