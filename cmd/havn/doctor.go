package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/server"
)

// diagnosis is the result of doctor.
type diagnosis struct {
	OK       bool             `json:"ok"`
	Findings []server.Finding `json:"findings"`
}

func (p *program) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say what to do",
		Long: `Look for what is wrong with the configuration, the data directory and its lock, the database, the blob store, the disk, the certificate
and the clock, and say what to do about each. Nothing is changed. While Havn runs on the data directory, the running process is asked.

Exit codes:
  0  all is well (warnings may be shown)
  1  something is wrong
  2  the command line or the configuration can't be used`,
		Example: "  havn doctor\n  havn doctor --config /etc/havn/havn.yaml --output json",
		Args:    noArguments,
	}
	load, asJSON := p.settings(cmd), output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		c, warnings, err := load()
		var found []server.Finding
		for _, w := range warnings {
			found = append(found, server.Finding{Subject: "configuration", Status: server.Warning, Text: string(w), Hint: "correct it, or take it away"})
		}
		if err != nil {
			found = append(found, wrongConfiguration(err)...)
		} else {
			if problems := c.Probe(); len(problems) > 0 {
				err = config.Invalid(problems)
				found = append(found, wrongConfiguration(err)...)
			}
			found = append(found, server.Diagnose(cmd.Context(), c)...)
		}
		return p.report(found, wantJSON, err)
	}
	return cmd
}

func wrongConfiguration(err error) []server.Finding {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return []server.Finding{{Subject: "configuration", Status: server.Wrong, Text: err.Error()}}
	}
	var found []server.Finding
	for _, one := range problems {
		found = append(found, server.Finding{Subject: "configuration", Status: server.Wrong, Text: one.String(), Hint: "`havn config reference` explains every key"})
	}
	return found
}

func findingsText(found []server.Finding) string {
	const narrow, wide = 13, 30 // beyond that, a subject stands out of its column
	width := narrow
	for _, f := range found {
		if len(f.Subject) <= wide {
			width = max(width, len(f.Subject))
		}
	}
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%-7s  %-*s  %s\n", f.Status, width, f.Subject, f.Text)
		if f.Hint != "" && f.Status != server.Good {
			fmt.Fprintf(&b, "%-7s  %-*s  → %s\n", "", width, "", f.Hint)
		}
	}
	return b.String()
}

func (p *program) report(found []server.Finding, asJSON bool, loadErr error) error {
	wrong := 0
	for _, f := range found {
		if f.Status == server.Wrong {
			wrong++
		}
	}
	var err error
	if asJSON {
		err = p.printJSON(diagnosis{wrong == 0, found})
	} else {
		err = p.print(findingsText(found))
	}
	switch {
	case err != nil:
		return err
	case loadErr != nil:
		return outcome{code: exitUsage}
	case wrong > 0:
		return outcome{code: exitFailed}
	}
	return nil
}
