//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab/deployment"
)

// labDir is where a lab of root's is: the accounts of the services can enter it.
const labDir = "/var/lib/havn-lab"

func (p *program) lab() *cobra.Command {
	cmd := p.group(&cobra.Command{
		Use:   "lab",
		Short: "The whole deployment on this machine, to try out and to break",
		Long: `The whole deployment on this machine, to try out and to break: three nodes of Havn behind HAProxy, three of MariaDB Galera (or PostgreSQL), six of Redis, a Ceph with
radosgw, and OpenLDAP, from Debian's packages, each a process with a directory and an address of its own on the loopback network. Everything pushed to it is lost at its end.

Nothing here is for production: the services know fixed passwords, and whoever has an account on this machine reaches them.

` + exitText,
		Example: "  havn lab up\n  havn lab status\n  havn lab kill galera-1\n  havn lab restart galera-1\n  havn lab down",
	})
	cmd.AddCommand(p.labUp(), p.labStatus(), p.labKill(), p.labRestart(), p.labPartition(), p.labHeal(), p.labDown())
	return cmd
}

// labHome is the directory of the lab if none is named.
func (p *program) labHome() string {
	if os.Geteuid() == 0 {
		return labDir
	}
	state := variable(p.environ, "XDG_STATE_HOME")
	if state == "" {
		state = filepath.Join(variable(p.environ, "HOME"), ".local", "state")
	}
	return filepath.Join(state, "havn-lab")
}

// labPlace adds --dir to a command and answers what tells the directory, whole.
func (p *program) labPlace(cmd *cobra.Command) func() (string, error) {
	dir := cmd.Flags().String("dir", p.labHome(), "directory of the lab; each has another one")
	return func() (string, error) {
		path, err := filepath.Abs(*dir)
		if err != nil {
			return "", fail.E(fail.Invalid, err, "--dir %s", *dir)
		}
		return path, nil
	}
}

func (p *program) labUp() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start it, and look after it",
		Long: `Start the whole deployment, say where to push, and look after it until Ctrl-C or 'havn lab down', which remove all of it. With --detach it goes on in the background.

It needs Debian's packages of the services: --install installs what is missing (as root), and without it what is missing is named. Debian starts some services when it installs them; the
lab does not use those, and you may stop them.

Run by an ordinary user, everything works but 'partition', which changes the firewall, --install, and an address below port 1024. 1 GB of memory and some seconds of two cores are enough.

` + exitText,
		Example: "  havn lab up\n  havn lab up --install --detach\n  havn lab up --database postgres --redis sentinel --store swift --tls --addr 127.0.0.1:5443 --dir /tmp/lab",
		Args:    noArguments,
	}
	place := p.labPlace(cmd)
	o := deployment.Options{}
	choices := func(all []string) string { return strings.Join(all, ", ") }
	cmd.Flags().StringVar(&o.Addr, "addr", "127.0.0.1:5000", "address of HAProxy; port 0 for any free one")
	cmd.Flags().StringVar(&o.Database, "database", deployment.Databases[0], choices(deployment.Databases)+" (which is one server: nobody promotes standbys here)")
	cmd.Flags().StringVar(&o.Redis, "redis", deployment.Redises[0], choices(deployment.Redises))
	cmd.Flags().StringVar(&o.Store, "store", deployment.Stores[0], "how Havn speaks to radosgw: "+choices(deployment.Stores))
	cmd.Flags().BoolVar(&o.TLS, "tls", false, "TLS at HAProxy, with a certificate of the lab's own authority")
	install := cmd.Flags().Bool("install", false, "install what is missing with apt-get")
	detach := cmd.Flags().Bool("detach", false, "go on in the background once it is up")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if o.Dir, err = place(); err != nil {
			return err
		}
		if err = o.Check(); err != nil {
			return err
		}
		if o.Program, err = os.Executable(); err != nil {
			return failed(fail.E(fail.Internal, err, "find this program"))
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		if err = p.labPackages(ctx, o, *install); err != nil {
			return failed(err)
		}
		if *detach {
			return failed(p.ofLab(p.labDetach(ctx, o), o.Dir))
		}
		return failed(p.ofLab(deployment.Run(ctx, o, p.progress(), func(a deployment.Access, password string) {
			p.say(p.out, p.labText(a, password))
		}), o.Dir))
	}
	return cmd
}

// progress answers what says lines, from any goroutine.
func (p *program) progress() func(format string, args ...any) {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		p.say(p.err, fmt.Sprintf(format, args...)+"\n")
	}
}

// labText says how a lab is used.
func (p *program) labText(a deployment.Access, password string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe lab is up.\n\n  push to   %-32s through HAProxy\n", a.URL)
	for i, url := range a.Nodes {
		fmt.Fprintf(&b, "            %-32s havn-%d\n", url, i+1)
	}
	fmt.Fprintf(&b, "  user      %s\n  password  %s\n\n", a.User, password)
	scheme, addr, _ := strings.Cut(a.URL, "://")
	flag := "--tls-verify=false"
	if scheme == "https" {
		flag = "--cert-dir " + filepath.Dir(a.CAFile)
	}
	fmt.Fprintf(&b, "  podman login %s -u %s --password-stdin %s < %s\n", flag, a.User, addr, a.PasswordFile)
	fmt.Fprintf(&b, "  podman push %s IMAGE %s/team/app:1\n\n", flag, addr)
	of := p.dirFlag(a.Dir)
	rows := [][]string{
		{"  havn lab status" + of, "how every part is"},
		{"  havn lab kill havn-1" + of, "break something: kill, kill --hang 20s, partition; restart and heal make it good"},
		{"  havn status --config " + a.ConfigFile, "what Havn thinks of it"},
		{"  havn lab down" + of, "end it, and remove all of it"},
	}
	table(&b, rows)
	return b.String()
}

func (p *program) labStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "How every part of it is",
		Long: `Ask every part of the lab how it is: up, down, hanging, cut off, or unwell (it runs, and does not do its work). What Havn itself thinks of what it stands on says
'havn status' with the configuration of a node.

Exit codes:
  0  every part is up
  1  it is starting, or a part is not up
  2  no lab runs; or the command line can't be used`,
		Example: "  havn lab status\n  havn lab status --output json",
		Args:    noArguments,
	}
	place, asJSON := p.labPlace(cmd), output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		dir, err := place()
		if err != nil {
			return err
		}
		s, err := deployment.NewClient(dir).Status(cmd.Context())
		if fail.Is(err, fail.NotFound) {
			return outcome{p.ofLab(err, dir), exitDown}
		}
		if err != nil {
			return failed(p.ofLab(err, dir))
		}
		if wantJSON {
			err = p.printJSON(s)
		} else {
			err = p.print(labStatusText(s))
		}
		if err == nil && s.State != deployment.Whole {
			return outcome{code: exitFailed}
		}
		return err
	}
	return cmd
}

func labStatusText(s deployment.Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The lab in %s is %s", s.Dir, s.State)
	if s.State == deployment.Starting {
		return b.String() + ".\n"
	}
	fmt.Fprintf(&b, "; push to %s as %s, password in %s\n\n", s.URL, s.User, s.PasswordFile)
	rows := [][]string{{"PART", "ADDRESS", "STATE", ""}}
	for _, one := range s.Parts {
		addr := one.Addr
		if addr == "" {
			addr = "-"
		}
		rows = append(rows, []string{one.Name, addr, one.State, one.Note})
	}
	table(&b, rows)
	return b.String()
}

func (p *program) labKill() *cobra.Command {
	cmd := p.labVerb("kill", "Kill parts, or let them hang", `Kill parts at once (SIGKILL), or let them stand still for a time and go on (--hang: a process that hangs is worse than a dead one). What was killed stays dead until
'havn lab restart'. A name is that of a part, or of a kind, for all of them: 'havn lab status' has the parts.`,
		"  havn lab kill galera-1\n  havn lab kill redis-2 radosgw\n  havn lab kill havn-1 --hang 20s")
	hang := cmd.Flags().Duration("hang", 0, "let them stand still for so long, in place of killing them")
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *hang < 0 || cmd.Flags().Changed("hang") && *hang == 0 {
			return fail.E(fail.Invalid, nil, "--hang %s", *hang).Hint("give a time, like 20s")
		}
		return inner(cmd, args)
	}
	return cmd
}

func (p *program) labRestart() *cobra.Command {
	return p.labVerb("restart", "Start parts again", `Kill the parts that run, start them again, and wait until they do their work. If all of Galera was killed, 'havn lab restart galera' begins the cluster anew with the node
that is furthest in its history; if the majority was, the node that is left begins anew and the others join it.`,
		"  havn lab restart galera-1\n  havn lab restart galera\n  havn lab restart ceph")
}

func (p *program) labPartition() *cobra.Command {
	return p.labVerb("partition", "Cut parts off from all others", `Cut parts off from everything else, as a broken network does: packets are dropped, connections hang. 'havn lab heal' mends it. It needs root: packets are dropped by a
table of the firewall (nftables) that sees these parts alone and goes with the lab.`,
		"  havn lab partition galera-2\n  havn lab partition havn-1 redis-1")
}

func (p *program) labHeal() *cobra.Command {
	return p.labVerb("heal", "Make parts reachable again", "Make parts reachable again that `havn lab partition` cut off; without a name, all.",
		"  havn lab heal\n  havn lab heal galera-2 redis")
}

// labVerb makes a command that does something to parts.
func (p *program) labVerb(name, short, long, example string) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " NAME...", Short: short, Long: long + "\n\n" + exitText, Example: example,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && name != "heal" {
				return fail.E(fail.Invalid, nil, "havn lab %s takes the names of parts, and got none", name).Hint("`havn lab status` has them")
			}
			return nil
		},
	}
	place := p.labPlace(cmd)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return labNames(cmd.Context(), place), cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := place()
		if err != nil {
			return err
		}
		r := deployment.Request{Names: args}
		if hang := cmd.Flags().Lookup("hang"); hang != nil {
			if r.Hang, err = cmd.Flags().GetDuration("hang"); err != nil {
				return err
			}
		}
		done, err := deployment.NewClient(dir).Do(cmd.Context(), name, r)
		if err != nil {
			return failed(p.ofLab(err, dir))
		}
		return p.print(p.placed(done, dir) + "\n")
	}
	return cmd
}

// typed is a command in what a lab says.
var typed = regexp.MustCompile("`(havn lab [^`]*)`")

// placed says of which lab a command is that a text tells: what is typed as it stands must mean this one.
func (p *program) placed(text, dir string) string {
	of := p.dirFlag(dir)
	return typed.ReplaceAllStringFunc(text, func(command string) string { return strings.TrimSuffix(command, "`") + of + "`" })
}

// dirFlag names a lab to a shell, where it is not in the usual directory.
func (p *program) dirFlag(dir string) string {
	if dir == p.labHome() {
		return ""
	}
	if strings.ContainsAny(dir, " \t\n'\"\\$`&;|<>()*?[]{}#~!") {
		dir = "'" + strings.ReplaceAll(dir, "'", `'\''`) + "'"
	}
	return " --dir " + dir
}

// ofLab answers an error of a lab whose hint names it too: of another one, `havn lab down` would be the end.
func (p *program) ofLab(err error, dir string) error {
	hint := fail.HintOf(err)
	if placed := p.placed(hint, dir); placed != hint {
		return fail.E(fail.KindOf(err), nil, "%s", err.Error()).Hint("%s", placed)
	}
	return err
}

// labNames answers what may be named, for completion: nothing if no lab runs.
func labNames(ctx context.Context, place func() (string, error)) []string {
	dir, err := place()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := deployment.NewClient(dir).Status(ctx)
	if err != nil {
		return nil
	}
	var all []string
	for _, one := range s.Parts {
		all = append(all, one.Name)
	}
	return all
}

func (p *program) labDown() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End it, and remove all of it",
		Long: `Kill every part, and remove the lab's directory and its table of the firewall: nothing is left behind. What a lab left that was itself killed is removed too. That there is
none is no error.

` + exitText,
		Example: "  havn lab down\n  havn lab down --dir /tmp/lab",
		Args:    noArguments,
	}
	place := p.labPlace(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, err := place()
		if err != nil {
			return err
		}
		was, err := deployment.NewClient(dir).Down(cmd.Context())
		switch {
		case err != nil:
			return failed(p.ofLab(err, dir))
		case was:
			return p.print("The lab in " + dir + " is gone.\n")
		}
		return p.print("There is no lab in " + dir + ".\n")
	}
	return cmd
}
