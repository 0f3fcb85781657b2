package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// The exit codes, the same for every command.
const (
	exitOK     = 0
	exitFailed = 1 // it was tried and did not work, or something is wrong
	exitUsage  = 2 // the command line or the configuration can't be used; nothing was tried
)

const exitText = `Exit codes:
  0  all is well
  1  it failed, or something is wrong
  2  the command line or the configuration can't be used; nothing was done`

// outcome is an error of a command's own work. Every other error that cobra answers is one of the command line.
type outcome struct {
	error
	code int
}

// Unwrap answers the error itself.
func (o outcome) Unwrap() error { return o.error }

// run executes the command line and answers the exit code.
func (p *program) run() int {
	root := p.root()
	root.SetArgs(p.args)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SetIn(p.in)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	var o outcome
	if !errors.As(err, &o) {
		o = outcome{err, exitUsage}
	}
	if o.error != nil {
		p.complain(o.error)
	}
	return o.code
}

// complain writes an error for people: one line each for what is wrong, then what to do.
func (p *program) complain(err error) {
	var b strings.Builder
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, one := range problems {
			b.WriteString("havn: " + one.String() + "\n")
		}
	} else {
		b.WriteString("havn: " + strings.TrimSpace(err.Error()) + "\n")
	}
	if hint := fail.HintOf(err); hint != "" {
		b.WriteString("      " + hint + "\n")
	}
	p.say(p.err, b.String())
}

// say writes for a person. If nobody can read it, there is nobody to tell.
func (p *program) say(to io.Writer, text string) {
	if _, err := to.Write([]byte(text)); err != nil {
		return
	}
}

// print writes a command's result; a result that can't be written is a failure.
func (p *program) print(text string) error {
	if _, err := p.out.Write([]byte(text)); err != nil {
		return failed(fmt.Errorf("write the result: %w", err))
	}
	return nil
}

func (p *program) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return failed(err)
	}
	return p.print(string(text) + "\n")
}

// failed marks an error of a command's work, unless it is marked. One about the configuration counts as one of the command line.
func failed(err error) error {
	if err == nil {
		return nil
	}
	var marked outcome
	if errors.As(err, &marked) {
		return err
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		return outcome{err, exitUsage}
	}
	return outcome{err, exitFailed}
}

func (p *program) root() *cobra.Command {
	root := p.group(&cobra.Command{
		Use:   "havn",
		Short: "An OCI container registry",
		Long: "Havn is an OCI container registry. `havn serve` runs it, with nothing configured: at 127.0.0.1:5000, on SQLite and a directory below ./havn-data.\n\n" +
			exitText,
		Example: "  havn serve\n  havn config print\n  havn doctor",
	})
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fail.E(fail.Invalid, err, "%s", cmd.CommandPath()).Hint("see %s --help", cmd.CommandPath())
	})
	root.AddCommand(p.serve(), p.version(), p.admin(), p.config(), p.db(), p.doctor(), p.key(), p.lab(), p.node(), p.status(), p.store(), p.completion())
	root.AddCommand(p.login(), p.logout(), p.token(), p.project(), p.user(), p.robot(), p.member(), p.repo(), p.artifact(), p.tag(), p.quota(), p.label(), p.audit())
	return root
}

// group makes a command that only holds others: alone it explains itself, and it knows no arguments.
func (p *program) group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		e := fail.E(fail.Invalid, nil, "%s has no command %q", cmd.CommandPath(), args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return e.Hint("did you mean %s %s?", cmd.CommandPath(), near[0])
		}
		return e.Hint("see %s --help", cmd.CommandPath())
	}
	cmd.SuggestionsMinimumDistance = 2
	return cmd
}

// noArguments refuses arguments, and says what was probably meant.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fail.E(fail.Invalid, nil, "%s takes no arguments, and got %q", cmd.CommandPath(), args[0]).
		Hint("settings are flags, variables or a file: see %s --help", cmd.CommandPath())
}

// settings adds the flags of the configuration to a command and answers what loads it.
func (p *program) settings(cmd *cobra.Command) func() (*config.Config, []config.Warning, error) {
	file := cmd.Flags().String("config", "", "configuration file (YAML; also HAVN_CONFIG)")
	harbor := cmd.Flags().String("harbor-cfg", "", "harbor.cfg of Harbor 1.5, for what nothing else sets (also "+config.HarborVariable+")")
	given := map[string]*string{}
	for _, f := range config.Flags() {
		given[f.Key] = cmd.Flags().String(f.Name, "", f.Doc)
	}
	return func() (*config.Config, []config.Warning, error) {
		from := config.Source{File: *file, Env: p.environ, Flags: map[string]string{}}
		for _, f := range config.Flags() {
			if cmd.Flags().Changed(f.Name) {
				from.Flags[f.Key] = *given[f.Key]
			}
		}
		if *harbor == "" {
			*harbor = variable(p.environ, config.HarborVariable)
		}
		if *harbor == "" {
			c, warnings, err := config.Load(from)
			return c, warnings, failed(err)
		}
		return p.onHarbor(*harbor, from)
	}
}

// looking completes a command that looks at what the configuration names, and answers as text or JSON.
func (p *program) looking(cmd *cobra.Command, look func(ctx context.Context, c *config.Config, asJSON bool) error) *cobra.Command {
	load, asJSON := p.settings(cmd), output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		c, err := p.usable(load)
		if err != nil {
			return err
		}
		return look(cmd.Context(), c, wantJSON)
	}
	return cmd
}

// loaded loads a configuration, and says what it warns of.
func (p *program) loaded(load func() (*config.Config, []config.Warning, error)) (*config.Config, error) {
	c, warnings, err := load()
	for _, w := range warnings {
		p.say(p.err, "havn: warning: "+string(w)+"\n")
	}
	return c, err
}

// usable loads a configuration, and refuses one whose files can't be used.
func (p *program) usable(load func() (*config.Config, []config.Warning, error)) (*config.Config, error) {
	c, err := p.loaded(load)
	if err != nil {
		return nil, err
	}
	if problems := c.Probe(); len(problems) > 0 {
		return nil, failed(config.Invalid(problems))
	}
	return c, nil
}

// output adds --output to a command and answers what tells whether JSON is asked for.
func output(cmd *cobra.Command) func() (bool, error) {
	formats := []string{"text", "json"}
	format := cmd.Flags().String("output", formats[0], "form of the result: text or json")
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return formats, cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("output", complete); err != nil {
		panic(err) // the flag was added two lines above
	}
	return func() (bool, error) {
		if !slices.Contains(formats, *format) {
			return false, fail.E(fail.Invalid, nil, "--output %q", *format).Hint("use text or json")
		}
		return *format == "json", nil
	}
}
