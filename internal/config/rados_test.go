package config_test

import (
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/config"
)

func TestWhatIsMissingOfAPoolIsSaid(t *testing.T) {
	t.Parallel()
	pool := "HAVN_STORAGE_DRIVER=rados HAVN_STORAGE_RADOS_POOL=p "
	whole := pool + "HAVN_STORAGE_RADOS_USER=client.havn "
	for env, want := range map[string]string{
		whole: "",
		whole + "HAVN_STORAGE_RADOS_MONITORS=[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0] HAVN_STORAGE_RADOS_KEY=k HAVN_STORAGE_RADOS_NAMESPACE=n HAVN_STORAGE_PREFIX=a/b": "",
		pool:                                     "storage.rados.user: is not set",
		"HAVN_STORAGE_DRIVER=rados":              "storage.rados.pool: is not set",
		"HAVN_STORAGE_RADOS_POOL=p":              "storage.rados.pool: is set, and storage.driver is filesystem",
		pool + "HAVN_STORAGE_RADOS_USER=client.": "is not a user's name",
		whole + "HAVN_STORAGE_RADOS_KEY=k HAVN_STORAGE_RADOS_KEYRING=/etc/ring": "storage.rados.keyring: is set, and storage.rados.key too",
		whole + "HAVN_STORAGE_RADOS_STRIPE_SIZE=64MiB":                          "storage.rados.stripe_size",
		whole + "HAVN_STORAGE_REDIRECT=on":                                      "objects of the driver rados have no URLs",
		whole + "HAVN_STORAGE_FILESYSTEM_PATH=/x":                               "storage.filesystem.path: is set",
	} {
		_, _, err := config.Load(config.Source{Env: strings.Fields(env)})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", env, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", env, err, want)
		}
	}
	c := load(t, config.Source{Env: strings.Fields(whole + "HAVN_STORAGE_RADOS_KEYRING=/nowhere/ring HAVN_STORAGE_RADOS_CONFIG_FILE=/nowhere/ceph.conf")})
	if p := c.Probe(); len(p) != 2 || p[0].Key != "storage.rados.keyring" || !strings.Contains(p[1].String(), "no such file") {
		t.Errorf("problems %v", p)
	}
}
