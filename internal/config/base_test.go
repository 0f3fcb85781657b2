package config_test

import (
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/config"
)

func TestWhatAnotherProgramsFileSaysComesLast(t *testing.T) {
	t.Parallel()
	const where = "harbor.cfg:3 hostname"
	base := []config.Given{
		{Key: "storage.driver", Value: []string{"memory"}, Where: where},
		{Key: "storage.low_disk", Value: []string{"0"}, Where: where, Only: config.Condition{Key: "storage.driver", Value: "memory"}},
		{Key: "uploads.expire_after", Value: []string{"45m"}, Where: where},
		{Key: "http.addr", Value: []string{":1", ":2"}, Where: where},
		{Key: "log.level", Where: where, Wrong: "is odd"},
		{Wrong: "is odd too", Where: where, Only: config.Condition{Key: "storage.driver", Value: "memory"}},
	}
	c := load(t, config.Source{File: file(t, "storage:\n  driver: filesystem\n"), Env: []string{"HAVN_LOG_LEVEL=warn"}, Flags: map[string]string{"http.addr": ":3"}, Base: base})
	for key, want := range map[string]any{"storage.driver": "filesystem", "storage.low_disk": "512MiB", "uploads.expire_after": "45m", "log.level": "warn"} {
		if got := setting(t, c, key); got.Value != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if c.Origin("uploads.expire_after") != where || c.Origin("http.addr") != "flag --http-addr" || c.Origin("data_dir") != "default" {
		t.Errorf("from %s, %s, %s", c.Origin("uploads.expire_after"), c.Origin("http.addr"), c.Origin("data_dir"))
	}
	p := refused(t, config.Source{Base: append(base, config.Given{Key: "uploads.expire_aftr", Value: []string{"1m"}, Where: where}, config.Given{Key: "log.format", Value: []string{"xml"}, Where: where})})
	if len(p) != 4 {
		t.Fatalf("%v", p)
	}
	for i, want := range []string{where + ": is odd", where + ": is odd too", where + ": uploads.expire_aftr: is an unknown key; did you mean uploads.expire_after?", where + `: log.format: "xml" is not one of them`} {
		if !strings.HasPrefix(p[i].String(), want) {
			t.Errorf("%s\nwant %s", p[i], want)
		}
	}
}

func TestAKeyIsAskedWhatItAccepts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key, value  string
		known, good bool
	}{{"log.level", "warn", true, true}, {"log.level", "loud", true, false}, {"log.lewel", "warn", false, true}} {
		if known, err := config.Accepts(c.key, c.value); known != c.known || (err == nil) != c.good {
			t.Errorf("%+v: %v, %v", c, known, err)
		}
	}
}
