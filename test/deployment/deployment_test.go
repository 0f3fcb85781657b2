package deployment

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/suite"
)

func TestTheWholeDeployment(t *testing.T) {
	harness.Need(t, "skopeo", "podman")
	d, p := up(t)
	d.whole(t)
	t.Run("skopeo pushes and pulls through each", func(t *testing.T) { d.skopeo(t, plain) })
	t.Run("podman pushes and pulls through each", d.podman)
	t.Run("an upload goes on through each", d.pieces)
	for _, version := range []string{"1.1", "dev"} {
		t.Run("it conforms to "+version, func(t *testing.T) {
			repo := "conformance/of-" + strings.ReplaceAll(version, ".", "-")
			suite.Judge(t, suite.Run(t, suite.Target{Addr: addr(d.URL), User: harness.User, Password: d.password}, "OCI_VERSION="+version, "OCI_REPO1="+repo+"-1", "OCI_REPO2="+repo+"-2"), nil)
		})
	}
	t.Run("one of each kind fails under pushes", d.fail)
	d.run(t, "lab", "down")
	select {
	case <-p.Ended():
	case <-time.After(patience):
		t.Error("havn lab up does not end")
	}
	if err := p.Stop(t); err != nil {
		t.Errorf("havn lab up ends with %v", err)
	}
	d.gone(t)
}

// fault is what is done to a part: how it is begun, what is seen of the part then, and how it is made good.
type fault struct {
	begin, end []string
	part       string
	state      string
	served     bool // pushes go on before it is made good
}

// fail lets one of each kind fail under load. No client sees an error that a retry does not hide, and what was acknowledged is there.
func (d *deployed) fail(t *testing.T) {
	killed := func(part string, served bool) fault {
		return fault{[]string{"kill", part}, []string{"restart", part}, part, "down", served}
	}
	l := d.load(t)
	defer l.stop()
	l.more(t, pushers)
	for _, f := range []fault{
		killed("galera-1", true),
		killed(d.master(t), true),
		killed("havn-2", true),
		killed("radosgw", false), // there is one alone
		{[]string{"partition", "galera-2"}, []string{"heal", "galera-2"}, "galera-2", "cut off", true},
		{[]string{"kill", "havn-3", "--hang", "3s"}, nil, "havn-3", "hangs", true},
	} {
		l.reset()
		d.run(t, append([]string{"lab"}, f.begin...)...)
		if state := d.state(t, f.part); state != f.state {
			t.Errorf("%s: it is %s, want %s", strings.Join(f.begin, " "), state, f.state)
		}
		if f.served {
			l.more(t, pushers)
		} else {
			time.Sleep(time.Second)
		}
		if f.end != nil {
			d.run(t, append([]string{"lab"}, f.end...)...)
		}
		l.more(t, pushers)
		d.whole(t)
		gap, again := l.reset()
		t.Logf("%s: longest gap %s, %d retries", strings.Join(f.begin, " "), gap.Round(time.Millisecond), again)
	}
	l.stop()
	l.audit(t)
}

// master answers a master of Redis.
func (d *deployed) master(t *testing.T) string {
	t.Helper()
	for _, p := range d.ask(t).Parts {
		if p.Kind == "redis" && p.Note == "master" {
			return p.Name
		}
	}
	t.Fatal("no server of Redis is a master")
	return ""
}

func TestTheDeploymentWithEverythingElse(t *testing.T) {
	harness.Need(t, "skopeo")
	d := place(t)
	// The process that stays does not belong to the test: the end of the test ends it.
	out := d.run(t, "lab", "up", "--detach", "--addr", "127.0.0.1:0", "--database", "postgres", "--redis", "sentinel", "--store", "swift", "--tls")
	d.learn(t)
	if !strings.Contains(out, d.password) || !strings.Contains(out, d.URL) || !strings.HasPrefix(d.URL, "https://") {
		t.Errorf("it does not say where to push and with which password:\n%s", out)
	}
	d.whole(t)
	kinds := map[string]int{}
	for _, p := range d.Parts {
		kinds[p.Kind]++
	}
	if got, want := fmt.Sprint(kinds), "map[ceph:5 haproxy:1 havn:3 postgres:1 redis:2 sentinel:3 slapd:1]"; got != want {
		t.Errorf("there are %s, want %s", got, want)
	}
	front := &deployed{password: d.password, urls: []string{d.URL}}
	front.skopeo(t, func(side string) []string { return []string{"--" + side + "-cert-dir", filepath.Dir(d.CAFile)} })
	if second, code := d.try(t, "lab", "up"); code != 1 || !strings.Contains(second, "a lab runs in "+d.dir) {
		t.Errorf("a second one in its place: %d %s", code, second)
	}
	d.run(t, "lab", "down")
	d.gone(t)
}
