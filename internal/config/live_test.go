package config_test

import (
	"testing"

	"github.com/havn-registry/havn/internal/config"
)

func TestEveryLiveKeyIsReadAsItIsWritten(t *testing.T) {
	live := config.Default().Live
	for _, k := range config.LiveKeys() {
		if k.Name == "" || k.Doc == "" || k.Allowed == "" {
			t.Errorf("%+v", k)
		}
		before := live
		if err := live.Set(k.Name, live.Text(k.Name)); err != nil && !k.Secret {
			t.Errorf("%s: its default %q: %v", k.Name, before.Text(k.Name), err)
		}
		if live != before {
			t.Errorf("%s: its default changes something", k.Name)
		}
	}
	if len(live.Consistent()) != 0 {
		t.Errorf("the defaults do not go together: %v", live.Consistent())
	}
}

func FuzzLive(f *testing.F) {
	for i, k := range config.LiveKeys() {
		f.Add(i, k.Name)
	}
	f.Add(0, "ldap://[::1]:389 ldaps://a")
	f.Add(1, `{"a":"b"}`)
	names := config.LiveKeys()
	f.Fuzz(func(t *testing.T, which int, text string) {
		name := names[uint(which)%uint(len(names))].Name
		live := config.Default().Live
		if live.Set(name, text) != nil {
			if live != config.Default().Live {
				t.Errorf("%s: %q is refused and changes something", name, text)
			}
			return
		}
		again := config.Default().Live
		if err := again.Set(name, live.Text(name)); err != nil || again != live {
			t.Errorf("%s: %q is written %q: %v", name, text, live.Text(name), err)
		}
		live.Consistent()
	})
}
