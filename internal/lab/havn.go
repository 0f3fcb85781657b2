package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// HavnOptions say how a node of Havn runs.
type HavnOptions struct {
	Name    string
	Program string // the path of havn
	Dir     string // "": a temporary directory
	Group   int    // that it runs as if we are root, so that a firewall knows it; 0: our own
}

// Havn is a node of Havn.
type Havn struct {
	Daemon

	Addr       string // host:port; the same after a restart
	URL        string // the same, with its scheme
	ConfigFile string // a YAML file that only its owner can read: it holds passwords

	place   place
	program string
}

// NewHavn makes the directory of a node, with an address. Configure and Start come next.
func NewHavn(o HavnOptions) (*Havn, error) {
	a := account{uid: os.Getuid(), gid: os.Getgid()}
	at, err := newPlace(o.Dir, a)
	if err != nil {
		return nil, err
	}
	ip := freeIP()
	ports, err := freePorts(ip, 1)
	if err != nil {
		return nil, errors.Join(err, at.remove())
	}
	n := &Havn{place: at, program: o.Program, Addr: net.JoinHostPort(ip, fmt.Sprint(ports[0])), ConfigFile: filepath.Join(at.dir, "havn.yaml")}
	n.URL, n.Name, n.log, n.ready = "http://"+n.Addr, o.Name, filepath.Join(at.dir, "log"), n.answers
	n.command = func() (*exec.Cmd, error) {
		cmd := a.in(o.Group).command(at.dir, o.Program, "serve", "--config", n.ConfigFile)
		cmd.Env = withoutHavn(cmd.Env)
		return cmd, nil
	}
	return n, nil
}

// Configure writes the configuration: these keys, in sections (maps), with the data directory and the address.
func (n *Havn) Configure(settings map[string]any) error {
	all := maps.Clone(settings)
	section := map[string]any{"addr": n.Addr}
	if given, ok := settings["http"].(map[string]any); ok {
		maps.Copy(section, given)
	}
	all["http"], all["data_dir"] = section, filepath.Join(n.place.dir, "data")
	if err := os.WriteFile(n.ConfigFile, []byte("# Written by the lab.\n"+yamlOf(all, "")), 0o600); err != nil {
		return fail.E(fail.Unavailable, err, "configuration of %s", n.Name)
	}
	return nil
}

// yamlOf writes sections and their keys; the values in JSON, which is YAML too.
func yamlOf(section map[string]any, indent string) string {
	var b strings.Builder
	for _, key := range sortedKeys(section) {
		if inner, ok := section[key].(map[string]any); ok {
			b.WriteString(indent + key + ":\n" + yamlOf(inner, indent+"  "))
			continue
		}
		value, err := json.Marshal(section[key])
		if err != nil {
			panic(err) // of our own lab: texts, numbers and lists of them
		}
		b.WriteString(indent + key + ": " + string(value) + "\n")
	}
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// answers asks the node whether it is ready.
func (n *Havn) answers(ctx context.Context) error {
	_, err := n.Troubles(ctx)
	return err
}

// Troubles answers what a node that is ready sees amiss: Redis may be.
func (n *Havn) Troubles(ctx context.Context) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+"/readyz", nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}
	answer, err := (&http.Client{Transport: transport, Timeout: askTime}).Do(r)
	if err != nil {
		return "", err
	}
	var body struct {
		Status string
		Stores map[string]struct{ Status string }
	}
	err = json.NewDecoder(http.MaxBytesReader(nil, answer.Body, maxStatus)).Decode(&body)
	if closeErr := answer.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", err
	}
	var troubles []string
	for _, name := range sortedKeys(body.Stores) {
		if status := body.Stores[name].Status; status != "ok" {
			troubles = append(troubles, name+" "+status)
		}
	}
	seen := strings.Join(troubles, ", ")
	if answer.StatusCode != http.StatusOK {
		return "", fail.E(fail.Unavailable, nil, "%s: %s", body.Status, seen)
	}
	return seen, nil
}

// Status asks `havn status` on the node's configuration: what all nodes have written down of what they see, and what this machine sees. All is well if there is no error.
func (n *Havn) Status(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, n.program, "status", "--config", n.ConfigFile)
	cmd.Env = withoutHavn(os.Environ())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fail.E(fail.Unavailable, err, "havn status: %s", strings.TrimSpace(string(out)))
	}
	return nil
}

// withoutHavn leaves out the settings of the one who starts the lab: they are not for the nodes in it.
func withoutHavn(environ []string) []string {
	return slices.DeleteFunc(environ, func(pair string) bool { return strings.HasPrefix(pair, "HAVN_") })
}

// Stop ends the node and removes its directory if that was made here.
func (n *Havn) Stop() error {
	n.Kill()
	return n.place.remove()
}
