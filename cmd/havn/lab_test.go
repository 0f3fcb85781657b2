//go:build linux

package main

import "testing"

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
	if got, want := p.placed(said, "/tmp/lab"), "galera-1: killed; `havn lab restart galera-1 --dir /tmp/lab` starts it again"; got != want {
		t.Errorf("elsewhere: %s", got)
	}
}
