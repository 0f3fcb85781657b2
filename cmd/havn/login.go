package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// loginDays is how long a login is good unless something else is said: long enough not to be in the way, and an end for what was forgotten on some machine.
const loginDays = 90

// loggedIn is the result of login.
type loggedIn struct {
	Server  string     `json:"server"`
	User    string     `json:"user"`
	Expires *time.Time `json:"expires_at,omitempty"`
}

func (p *program) login() *cobra.Command {
	var where at
	cmd := words(verb{
		"login [SERVER]", "Log in at a registry, for the commands that ask one", `Log in at a registry with a user's name and password, and keep a personal access token of his, which is made for that: never the password. It is in a file that
the user alone reads (havn/logins.json below XDG_CONFIG_HOME or ~/.config), and ends after --days. A robot account's name and secret do as well, and so does
a token as the password; these are kept as they are.

The server of the last login is that of the commands that follow; --server means another one. Programs need no login: they set HAVN_SERVER, HAVN_USER and
HAVN_TOKEN. Plain HTTP is for this machine alone, unless --plain-http says that it may be used.

` + remoteExitText,
		"  havn login registry.example.com\n  havn login 127.0.0.1:5000 --user admin --password-stdin < password",
	})
	asJSON := output(cmd)
	where.trust(cmd)
	user := cmd.Flags().StringP("user", "u", "", "the user's name (also "+config.UserVariable+")")
	days := cmd.Flags().Int("days", loginDays, "after how many days the login ends; 0: never")
	stdin := onStdin(cmd, "the password")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		if *days < 0 {
			return fail.E(fail.Invalid, nil, "--days %d", *days).Hint("use 1 or more, or 0 for a login that does not end")
		}
		if len(args) > 0 {
			where.server = args[0]
		}
		result, err := p.logIn(cmd, where, *user, *stdin, *days)
		if err != nil {
			return remotely(err)
		}
		return p.show(result, wantJSON)
	}
	return cmd
}

// logIn asks for what is not said, and keeps what the server answers.
//
//  1. The token is made. A crash leaves one that nobody has; it ends after its days.
//  2. The file says it.
//  3. The token of the former login ends. A crash leaves it until its end.
func (p *program) logIn(cmd *cobra.Command, where at, user string, stdin bool, days int) (answered, error) {
	logins, err := p.logins()
	if err != nil {
		return answered{}, err
	}
	server, err := p.serverOf(where, logins)
	if err != nil {
		return answered{}, err
	}
	as, err := p.credentials(server, where, user, stdin)
	if err != nil {
		return answered{}, err
	}
	c, err := client.New(as)
	if err != nil {
		return answered{}, usage(err)
	}
	now, end := time.Now(), time.Time{}
	if days > 0 {
		end = now.AddDate(0, 0, days)
	}
	login, err := c.LogIn(cmd.Context(), tokenName(now), end)
	if err != nil {
		return answered{}, err
	}
	login.CA = string(as.CA)
	former := logins.Servers[server]
	if err = logins.Put(server, login); err != nil {
		return answered{}, err
	}
	result := answered{value: loggedIn{Server: server, User: login.User}, text: fmt.Sprintf("%s is logged in at %s.\n", login.User, server)}
	if !login.Expires.IsZero() {
		result.value = loggedIn{server, login.User, &login.Expires}
		result.text = fmt.Sprintf("%s is logged in at %s until %s.\n", login.User, server, since(login.Expires))
	}
	if err = p.endToken(cmd, where, server, former); err != nil {
		result.note = "the token of the former login goes on until its end: " + err.Error()
	}
	return result, nil
}

// credentials asks for the name and the password that are not said.
func (p *program) credentials(server string, where at, user string, stdin bool) (c client.Config, err error) {
	c = client.Config{Server: server, User: user, Agent: agent()}
	if c.CA, err = p.authority(where.ca); err != nil {
		return c, usage(err)
	}
	if c.User == "" {
		c.User = variable(p.environ, config.UserVariable)
	}
	if c.User == "" && p.asks && !stdin {
		p.say(p.err, "User: ")
		if c.User, err = p.line(); err != nil {
			return c, err
		}
	}
	if c.User == "" {
		return c, usage(fail.E(fail.Invalid, nil, "no user").Hint("name one with --user"))
	}
	c.Password, err = p.password(stdin, "Password of "+c.User+" at "+server)
	return c, err
}

// tokenName is what people see of a login in the list of their tokens.
func tokenName(now time.Time) string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed machine"
	}
	return fmt.Sprintf("havn login on %.100s, %s", host, now.UTC().Format("2006-01-02T15:04:05.000000Z"))
}

// loggedOut is the result of logout.
type loggedOut struct {
	Servers []string `json:"servers"`
}

func (p *program) logout() *cobra.Command {
	var where at
	cmd := words(verb{"logout [SERVER]", "Log out at a registry", "Forget the login at a registry, the last one or another, and end its token there. Where the server does not answer, the login is forgotten all the same, and the\n" +
		"command fails: the token is good until its end, or until 'havn token delete'.\n\n" + remoteExitText, "  havn logout\n  havn logout registry.example.com\n  havn logout --all"})
	asJSON := output(cmd)
	where.trust(cmd)
	all := cmd.Flags().Bool("all", false, "at every server")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		logins, err := p.logins()
		if err != nil {
			return remotely(err)
		}
		names := logins.Names()
		if !*all {
			if len(args) > 0 {
				where.server = args[0]
			}
			server, serverErr := p.serverOf(where, logins)
			if serverErr != nil {
				return remotely(serverErr)
			}
			names = []string{server}
		}
		result := loggedOut{Servers: []string{}}
		var failures []error
		for _, server := range names {
			if err = p.logOut(cmd, where, logins, server); err != nil {
				failures = append(failures, err)
				continue
			}
			result.Servers = append(result.Servers, server)
		}
		text := ""
		for _, server := range result.Servers {
			text += "Logged out at " + server + ".\n"
		}
		if err = p.show(answered{value: result, text: text}, wantJSON); err == nil && len(failures) > 0 {
			for _, one := range failures[1:] {
				p.complain(one)
			}
			err = remotely(failures[0])
		}
		return err
	}
	return cmd
}

// logOut forgets the login first: whatever becomes of the token, this machine has it no more.
func (p *program) logOut(cmd *cobra.Command, where at, logins *client.Logins, server string) error {
	login, known := logins.Servers[server]
	if !known {
		return fail.E(fail.Unauthenticated, nil, "nobody is logged in at %s", server).Hint("there is nothing to forget")
	}
	if err := logins.Forget(server); err != nil {
		return err
	}
	if err := p.endToken(cmd, where, server, login); err != nil {
		return fail.E(fail.KindOf(err), err, "the login is forgotten, and its token %d at %s goes on", login.TokenID, server).Hint("log in when the server answers, and `havn token delete` it")
	}
	return nil
}

// endToken ends the token of a login, if that made one, by its own power: the user may be another one by now.
func (p *program) endToken(cmd *cobra.Command, where at, server string, login client.Login) error {
	ca, err := p.authority(where.ca)
	if err != nil {
		return usage(err)
	}
	if ca == nil {
		ca = []byte(login.CA)
	}
	c, err := client.New(client.Config{Server: server, User: login.User, Password: login.Secret, CA: ca, Agent: agent()})
	if err != nil {
		return err
	}
	return c.LogOut(cmd.Context(), login)
}
