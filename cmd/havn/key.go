package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/server"
)

func (p *program) key() *cobra.Command {
	cmd := p.group(&cobra.Command{
		Use:     "key",
		Short:   "Look after the key that signs tokens",
		Long:    "Look after the key that signs tokens. 'havn doctor' says which one it is.\n\n" + exitText,
		Example: "  havn key rotate\n  havn key rotate --revoke",
	})
	cmd.AddCommand(p.keyRotate())
	return cmd
}

// rotated is the result of key rotate.
type rotated struct {
	Key   string     `json:"key"`
	Old   string     `json:"old"`
	Until *time.Time `json:"until,omitempty"`
}

func (p *program) keyRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Sign tokens with a new key",
		Long: `Make a new key, with which tokens are signed from now on. Havn goes on serving, and takes it within a second. On SQLite give this command
the data directory of the process that serves: that one is asked to do it.

Tokens that the old key signed are good until they end; then it is forgotten. If somebody else may know the old key, use --revoke: it is
forgotten at once, with all keys before it, and everybody logs in again.

` + exitText,
		Example: "  havn key rotate --config /etc/havn/havn.yaml\n  havn key rotate --revoke",
		Args:    noArguments,
	}
	load, asJSON := p.settings(cmd), output(cmd)
	revoke := cmd.Flags().Bool("revoke", false, "end every token that was given so far")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		c, err := p.loaded(load)
		if err != nil {
			return err
		}
		done, err := server.RotateKey(cmd.Context(), c, *revoke)
		if err != nil {
			return failed(err)
		}
		result := rotated{Key: done.New, Old: done.Old}
		text := "The old key " + done.Old + " and all tokens ended."
		if !done.Until.IsZero() {
			until := done.Until.UTC()
			result.Until = &until
			text = "Tokens of the old key " + done.Old + " are good until they end, at the latest at " + until.Format(time.RFC3339) + "."
		}
		if wantJSON {
			return p.printJSON(result)
		}
		return p.print("Tokens are signed with the new key " + done.New + ".\n" + text + "\n")
	}
	return cmd
}
