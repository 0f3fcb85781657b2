package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// The exit codes of commands that ask a server, besides those of all.
const (
	exitAbsent = 3
	exitDenied = 4
	exitAway   = 5
)

const remoteExitText = `Exit codes:
  0  it is done
  1  it failed, or the server refused it as it is
  2  the command line can't be used, or a delete was not confirmed; nothing was done
  3  what was named is not there
  4  nobody is logged in, the login has ended, or the user may not do this
  5  the server does not answer, or can't now: the same may succeed later`

// serverText says of each of these commands where its server comes from.
const serverText = `The server is that of --server, of HAVN_SERVER, or of the last 'havn login'; any node does. The user is that of the login, or of HAVN_USER and HAVN_TOKEN.`

// verb is a command's own words.
type verb struct{ use, short, long, example string }

// at says which server is meant.
type at struct {
	server, ca string
	plain      bool
}

func (a *at) flags(cmd *cobra.Command) {
	a.trust(cmd)
	cmd.Flags().StringVar(&a.server, "server", "", "the server: a host with a port or without, or a URL (also "+config.ServerVariable+")")
}

func (a *at) trust(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.ca, "ca-file", "", "certificates (PEM) that are trusted besides the system's (also "+config.CAVariable+")")
	cmd.Flags().BoolVar(&a.plain, "plain-http", false, "let the password or token go to another machine in plain text")
}

// remote is a command that asks a server, as it runs.
type remote struct {
	*client.Client
	ctx  context.Context
	cmd  *cobra.Command
	args []string
}

// answered is what a command found or did.
type answered struct {
	value any    // as JSON
	text  string // for people
	note  string // for people, beside the result
}

// asking makes a command that asks a server, and shows what run answers.
func (p *program) asking(v verb, run func(*remote) (answered, error)) *cobra.Command {
	var where at
	cmd := words(v)
	cmd.Long += "\n\n" + serverText + "\n\n" + remoteExitText
	where.flags(cmd)
	asJSON := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		c, relogin, err := p.connect(where)
		if err != nil {
			return remotely(err)
		}
		result, err := run(&remote{c, cmd.Context(), cmd, args})
		if fail.Is(err, fail.Unauthenticated) {
			err = fail.E(fail.Unauthenticated, nil, "%s does not let %s in", c.Server, c.User).Hint("%s", relogin)
		}
		if err != nil {
			return remotely(err)
		}
		return p.show(result, wantJSON)
	}
	return cmd
}

// words makes a command of its words. Those in capitals behind its name are its arguments; in brackets: it may be left out.
func words(v verb) *cobra.Command {
	names := strings.Fields(v.use)[1:]
	needed := 0
	for _, n := range names {
		if !strings.HasPrefix(n, "[") {
			needed++
		}
	}
	return &cobra.Command{Use: v.use, Short: v.short, Long: v.long, Example: v.example, Args: func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) >= needed && len(args) <= len(names):
			return nil
		case len(names) == 0:
			return fail.E(fail.Invalid, nil, "%s takes no arguments, and got %q", cmd.CommandPath(), args[0]).Hint("see %s --help", cmd.CommandPath())
		}
		return fail.E(fail.Invalid, nil, "%s takes %s, and got %d arguments", cmd.CommandPath(), strings.Join(names, " "), len(args)).Hint("see %s --help", cmd.CommandPath())
	}}
}

// nouns makes a group of commands that ask a server.
func (p *program) nouns(v verb, verbs ...*cobra.Command) *cobra.Command {
	cmd := p.group(&cobra.Command{Use: v.use, Short: v.short, Long: v.long + "\n\n" + remoteExitText, Example: v.example})
	cmd.AddCommand(verbs...)
	return cmd
}

// show writes a result in the form that is asked for.
func (p *program) show(a answered, asJSON bool) error {
	if a.note != "" {
		p.say(p.err, "havn: "+a.note+"\n")
	}
	if asJSON {
		return p.printJSON(a.value)
	}
	return p.print(a.text)
}

// remotely gives an error the exit code of its kind.
func remotely(err error) error {
	var marked outcome
	if err == nil || errors.As(err, &marked) {
		return err
	}
	switch fail.KindOf(err) {
	case fail.NotFound:
		return outcome{err, exitAbsent}
	case fail.Unauthenticated, fail.Denied:
		return outcome{err, exitDenied}
	case fail.Unavailable, fail.Exhausted:
		return outcome{err, exitAway}
	default:
		return outcome{err, exitFailed}
	}
}

// usage marks an error as one of the command line: nothing was tried.
func usage(err error) error { return outcome{err, exitUsage} }

// connect answers a client for the server that is meant, as the user that is meant, and what to do when the server does not know him.
func (p *program) connect(where at) (c *client.Client, relogin string, err error) {
	logins, err := p.logins()
	if err != nil {
		return nil, "", err
	}
	token, user := variable(p.environ, config.TokenVariable), variable(p.environ, config.UserVariable)
	if token != "" && (user == "" || where.server == "" && variable(p.environ, config.ServerVariable) == "") {
		return nil, "", usage(fail.E(fail.Invalid, nil, "%s is set alone", config.TokenVariable).Hint("set %s and %s too: whose token it is, and for which server", config.UserVariable, config.ServerVariable))
	}
	server, err := p.serverOf(where, logins)
	if err != nil {
		return nil, "", err
	}
	login, known := logins.Servers[server]
	relogin = "log in again: havn login " + server
	switch {
	case token != "":
		login.User, login.Secret = user, token
		relogin = "look at " + config.UserVariable + " and " + config.TokenVariable + ": has the token ended?"
	case !known:
		return nil, "", fail.E(fail.Unauthenticated, nil, "nobody is logged in at %s", server).Hint("havn login %s; programs set %s and %s", server, config.UserVariable, config.TokenVariable)
	}
	ca := []byte(login.CA)
	if given, caErr := p.authority(where.ca); caErr != nil || given != nil {
		ca, err = given, caErr
	}
	if err != nil {
		return nil, "", usage(err)
	}
	c, err = client.New(client.Config{Server: server, User: login.User, Password: login.Secret, CA: ca, Agent: agent()})
	return c, relogin, err
}

func agent() string { return "havn/" + buildVersion().Version }

// serverOf answers the server that is meant. Who logged in over plain HTTP has said that he may.
func (p *program) serverOf(where at, logins *client.Logins) (string, error) {
	text := where.server
	if text == "" {
		text = variable(p.environ, config.ServerVariable)
	}
	if text == "" {
		if logins.Default == "" {
			return "", fail.E(fail.Unauthenticated, nil, "nobody is logged in anywhere").Hint("havn login SERVER; programs set %s, %s and %s", config.ServerVariable, config.UserVariable, config.TokenVariable)
		}
		return logins.Default, nil
	}
	server, err := client.ParseServer(text, where.plain)
	plain, plainErr := client.ParseServer(text, true)
	if plainErr != nil {
		return "", usage(plainErr)
	}
	if _, known := logins.Servers[server]; !known {
		if _, known = logins.Servers[plain]; known {
			return plain, nil
		}
	}
	if err != nil {
		return "", usage(err)
	}
	return server, nil
}

// authority reads the certificates that a flag or the environment names; nil if neither does.
func (p *program) authority(path string) ([]byte, error) {
	if path == "" {
		path = variable(p.environ, config.CAVariable)
	}
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "read the certificates").Hint("--ca-file or %s names a file of PEM", config.CAVariable)
	}
	return text, nil
}

// logins reads who is logged in where.
func (p *program) logins() (*client.Logins, error) {
	dir := variable(p.environ, "XDG_CONFIG_HOME")
	if dir == "" && runtime.GOOS == "windows" {
		dir = variable(p.environ, "AppData")
	}
	if dir == "" {
		if dir = variable(p.environ, "HOME"); dir != "" {
			dir = filepath.Join(dir, ".config")
		}
	}
	if dir == "" {
		return client.ReadLogins("") // nobody is logged in; who wants to be is told that there is no place to keep it
	}
	return client.ReadLogins(filepath.Join(dir, "havn", "logins.json"))
}

// sure asks whether something that is not undone is meant, unless --yes says so.
func (p *program) sure(yes bool, what string) error {
	if yes {
		return nil
	}
	if !p.asks {
		return usage(fail.E(fail.Invalid, nil, "%s: nobody is there to say whether it is meant", what).Hint("say it with --yes"))
	}
	p.say(p.err, what+"? It is not undone. [y/N] ")
	line, err := p.line()
	if err != nil {
		return usage(err)
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return usage(fail.E(fail.Invalid, nil, "nothing was done").Hint("answer y, or use --yes"))
	}
	return nil
}

// deleting adds --yes to a command.
func deleting(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("yes", false, "do not ask whether it is meant")
}

// changed is the result of a command that changed something: the same for all of them.
type changed struct {
	Result string `json:"result"` // created, updated or deleted
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	ID     int64  `json:"id,omitempty"`
}

// did tells what was changed.
func did(result, kind, name string, id int64) answered {
	text := fmt.Sprintf("%s %s is %s.\n", strings.ToUpper(kind[:1])+kind[1:], name, result)
	return answered{value: changed{result, kind, name, id}, text: text}
}
