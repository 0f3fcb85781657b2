package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/config"
)

func (p *program) config() *cobra.Command {
	cmd := p.group(&cobra.Command{
		Use:     "config",
		Short:   "Check, show and explain the configuration",
		Long:    "Check, show and explain the configuration.\n\n" + exitText,
		Example: "  havn config check --config /etc/havn/havn.yaml\n  havn config print\n  havn config import harbor.cfg\n  havn config reference",
	})
	cmd.AddCommand(p.configCheck(), p.configPrint(), p.configImport(), p.configReference())
	return cmd
}

// checked is the result of config check.
type checked struct {
	OK       bool             `json:"ok"`
	Problems []string         `json:"problems"`
	Warnings []config.Warning `json:"warnings"`
}

func (p *program) configCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with the configuration, without starting",
		Long: `Say what is wrong with the configuration, without starting: the file, the environment, the flags, and the files that they name
(certificates and keys). 'havn doctor' looks at the stores too.

` + exitText,
		Example: "  havn config check --config /etc/havn/havn.yaml",
		Args:    noArguments,
	}
	load, asJSON := p.settings(cmd), output(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		c, warnings, err := load()
		if err == nil {
			if problems := c.Probe(); len(problems) > 0 {
				err = failed(config.Invalid(problems))
			}
		}
		if wantJSON {
			return p.checkedJSON(warnings, err)
		}
		for _, w := range warnings {
			p.say(p.err, "havn: warning: "+string(w)+"\n")
		}
		if err != nil {
			return err
		}
		return p.print("The configuration is good.\n")
	}
	return cmd
}

func (p *program) checkedJSON(warnings []config.Warning, err error) error {
	result := checked{OK: err == nil, Problems: []string{}, Warnings: append([]config.Warning{}, warnings...)}
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, one := range problems {
			result.Problems = append(result.Problems, one.String())
		}
	}
	if printErr := p.printJSON(result); printErr != nil {
		return printErr
	}
	if err != nil {
		return outcome{code: exitUsage}
	}
	return nil
}

func (p *program) configPrint() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "print",
		Short:   "Show every key with its value and where it came from",
		Long:    "Show every key with its value and where it came from. Secrets are shown as ***.\n\n" + exitText,
		Example: "  havn config print\n  HAVN_HTTP_ADDR=:5000 havn config print --output json",
		Args:    noArguments,
	}
	load, asJSON := p.settings(cmd), output(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		c, warnings, err := load()
		for _, w := range warnings {
			p.say(p.err, "havn: warning: "+string(w)+"\n")
		}
		if err != nil {
			return err
		}
		if wantJSON {
			return p.printJSON(c.Settings())
		}
		var b strings.Builder
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, s := range c.Settings() {
			value := fmt.Sprint(s.Value)
			if list, ok := s.Value.([]string); ok {
				value = strings.Join(list, ",")
			}
			switch {
			case value == "":
				value = "-"
			case strings.ContainsFunc(value, unicode.IsControl): // certificates: one line a key, for people and for grep
				value = strconv.Quote(value)
			}
			if _, err = fmt.Fprintf(t, "%s\t%s\t%s\n", s.Key, value, s.Origin); err != nil {
				return failed(err)
			}
		}
		if err = t.Flush(); err != nil {
			return failed(err)
		}
		return p.print(b.String())
	}
	return cmd
}

func (p *program) configReference() *cobra.Command {
	return &cobra.Command{
		Use:     "reference",
		Short:   "Explain every key",
		Long:    "Explain every key: type, default, what is allowed, and its variable and flag. This is docs/configuration.md.\n\n" + exitText,
		Example: "  havn config reference | less",
		Args:    noArguments,
		RunE:    func(*cobra.Command, []string) error { return p.print(config.Reference()) },
	}
}
