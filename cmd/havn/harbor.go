package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/harborcfg"
)

// variable answers a variable of the environment; "" if it is not set.
func variable(environ []string, name string) string {
	for _, pair := range environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// onHarbor loads the configuration with a harbor.cfg for what nothing else sets.
func (p *program) onHarbor(name string, from config.Source) (*config.Config, []config.Warning, error) {
	file, err := harborcfg.Read(name)
	if err != nil {
		return nil, nil, failed(err)
	}
	from.Base = file.Given
	c, warnings, err := config.Load(from)
	if err != nil {
		return nil, append(warnings, file.Warnings()...), failed(err)
	}
	file.Settle(c)
	p.harbor = file
	return c, append(warnings, file.Warnings()...), nil
}

// announce answers what says in the log what became of the keys of harbor.cfg; nil if there is none.
func (p *program) announce() func(*slog.Logger) {
	if p.harbor == nil {
		return nil
	}
	return p.harbor.Log
}

// imported is the result of config import.
type imported struct {
	OK       bool             `json:"ok"`
	Written  string           `json:"written,omitempty"`
	Problems []string         `json:"problems"`
	Warnings []config.Warning `json:"warnings"`
	Keys     []harborcfg.Row  `json:"keys"`
}

func (p *program) configImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make a configuration of a harbor.cfg",
		Long: `Make a configuration file of the harbor.cfg of Harbor 1.5, passwords included. It is written to standard output, or to a new file with mode 0600 (-o);
then, and with --output json, the result says of each key of harbor.cfg what became of it, as the comments in the file do.

'havn serve --harbor-cfg FILE' uses the file as it is, with the same result.

Exit codes:
  0  the result is a configuration that works by itself
  1  the file was made, and something must be added to it; or it could not be written
  2  the command line or harbor.cfg can't be used; nothing was made`,
		Example: "  havn config import harbor.cfg\n  havn config import harbor.cfg -o /etc/havn/havn.yaml\n  havn config import harbor.cfg --output json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fail.E(fail.Invalid, nil, "%s takes the path of one harbor.cfg", cmd.CommandPath()).Hint("see %s --help", cmd.CommandPath())
			}
			return nil
		},
	}
	asJSON := output(cmd)
	out := cmd.Flags().StringP("out-file", "o", "", "new file to write the configuration to")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		return p.importHarbor(args[0], *out, wantJSON)
	}
	return cmd
}

func (p *program) importHarbor(name, out string, wantJSON bool) error {
	file, err := harborcfg.Read(name)
	if err == nil {
		err = file.Usable()
	}
	result := imported{Problems: []string{}, Warnings: []config.Warning{}, Keys: []harborcfg.Row{}}
	if file != nil {
		result.Warnings, result.Keys = append(result.Warnings, file.Warnings()...), append(result.Keys, file.Rows...)
	}
	if err != nil {
		return p.tellImport(result, wantJSON, failed(err))
	}
	if out != "" {
		if err = writeNew(out, file.YAML()); err != nil {
			return p.tellImport(result, wantJSON, failed(err))
		}
		result.Written = out
	}
	// What is missing yet is said after the file was made: it is to be added there.
	if _, _, err = config.Load(config.Source{Base: file.Given}); err != nil {
		err = outcome{err, exitFailed}
	}
	if !wantJSON {
		text := file.YAML()
		if out != "" {
			text = file.Table()
		}
		err = errors.Join(p.print(text), err)
	}
	return p.tellImport(result, wantJSON, err)
}

// tellImport writes the result as JSON, or the warnings for a person, and answers the error.
func (p *program) tellImport(result imported, wantJSON bool, err error) error {
	if !wantJSON {
		for _, w := range result.Warnings {
			p.say(p.err, "havn: warning: "+string(w)+"\n")
		}
		return err
	}
	result.OK = err == nil
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		for _, one := range problems {
			result.Problems = append(result.Problems, one.String())
		}
	case err != nil:
		result.Problems = append(result.Problems, err.Error())
	}
	if printErr := p.printJSON(result); printErr != nil {
		return printErr
	}
	var o outcome
	if errors.As(err, &o) {
		return outcome{code: o.code}
	}
	return err
}

// writeNew writes a file that must not be there yet, for its owner's eyes alone. One that could not be written whole is taken away.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fail.E(fail.Exists, nil, "%s is there already", path).Hint("take it away, or name another file")
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the configuration: %w", err), os.Remove(path))
	}
	return nil
}
