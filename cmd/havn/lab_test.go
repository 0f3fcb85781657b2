//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab/deployment"
)

func TestWhatALabSaysToTypeNamesTheLabItIsIn(t *testing.T) {
	t.Parallel()
	p := &program{}
	const said = "galera-1: killed; `havn lab restart galera-1` starts it again"
	if got := p.placed(said, p.labHome()); got != said {
		t.Errorf("in the usual place: %s", got)
	}
	if got, want := p.placed(said, "/srv/a $1 lab"), "galera-1: killed; `havn lab restart galera-1 --dir '/srv/a $1 lab'` starts it again"; got != want {
		t.Errorf("elsewhere: %s", got)
	}
	if text := p.labText(deployment.Access{Dir: "/srv/a $1 lab"}, ""); !strings.Contains(text, "havn lab down --dir '/srv/a $1 lab'") {
		t.Errorf("once it is up: %s", text)
	}
	if got, want := p.placed(said, "/tmp/lab"), "galera-1: killed; `havn lab restart galera-1 --dir /tmp/lab` starts it again"; got != want {
		t.Errorf("elsewhere: %s", got)
	}
}

// TestWhatALabLeftIsRemovedThereAlone: as it stood, what was told to type removed the lab in the usual place.
func TestWhatALabLeftIsRemovedThereAlone(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "lab") // a lab's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if removeErr := os.RemoveAll(dir); removeErr != nil {
			t.Error(removeErr)
		}
	})
	for _, name := range []string{"lab.lock", "galera-1"} {
		if err = os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = deployment.OpenLog(dir)
	if got := fail.HintOf((&program{}).ofLab(err, dir)); got != "`havn lab down --dir "+dir+"` removes it" {
		t.Errorf("%q of %v", got, err)
	}
}
