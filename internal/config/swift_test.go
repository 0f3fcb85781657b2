package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/config"
)

func TestWhatIsMissingOfSwiftIsSaid(t *testing.T) {
	t.Parallel()
	swift := "HAVN_STORAGE_DRIVER=swift HAVN_STORAGE_SWIFT_AUTH_URL=http://10.0.0.1:7480/auth/v1 HAVN_STORAGE_SWIFT_USERNAME=registry:swift "
	key := swift + "HAVN_STORAGE_SWIFT_PASSWORD=k "
	whole := key + "HAVN_STORAGE_SWIFT_CONTAINER=registry.example.com "
	for env, want := range map[string]string{
		whole: "",
		key + "HAVN_STORAGE_SWIFT_CONTAINERS=a-1,a-2":                               "",
		whole + "HAVN_STORAGE_REDIRECT=on HAVN_STORAGE_SWIFT_TEMP_URL_KEY=12345678": "",
		swift + "HAVN_STORAGE_SWIFT_CONTAINER=c":                                    "storage.swift.password: is not set",
		key:                                                                         "storage.swift.container: is not set",
		"HAVN_STORAGE_DRIVER=swift":                                                 "storage.swift.auth_url: is not set",
		"HAVN_STORAGE_SWIFT_AUTH_URL=http://h/auth/v1":                              "storage.swift.auth_url: is set, and storage.driver is filesystem",
		whole + "HAVN_STORAGE_SWIFT_AUTH_URL=10.0.0.1:7480":                         "is not a URL",
		whole + "HAVN_STORAGE_SWIFT_CONTAINERS=a,b":                                 "storage.swift.containers: is set, and storage.swift.container too",
		key + "HAVN_STORAGE_SWIFT_CONTAINER=a/b":                                    "a path in it goes to storage.prefix",
		key + "HAVN_STORAGE_SWIFT_CONTAINERS=a,b/c":                                 "a path in it goes to storage.prefix",
		whole + "HAVN_STORAGE_SWIFT_AUTH_VERSION=4":                                 "storage.swift.auth_version",
		whole + "HAVN_STORAGE_SWIFT_TEMP_URL_KEY=short":                             "storage.swift.temp_url_key",
		whole + "HAVN_STORAGE_REDIRECT=on":                                          "storage.swift.temp_url_key is not set",
		whole + "HAVN_UPLOADS_MAX_OBJECT_SIZE=6GiB":                                 "at most 5GiB",
		whole + "HAVN_STORAGE_FILESYSTEM_PATH=/x":                                   "storage.filesystem.path: is set",
		whole + "HAVN_STORAGE_SWIFT_PASSWORD=" + strings.Repeat("x", 1025):          "storage.swift.password",
	} {
		_, _, err := config.Load(config.Source{Env: strings.Fields(env)})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", env, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", env, err, want)
		}
	}
	c := load(t, config.Source{Env: strings.Fields(key + "HAVN_STORAGE_SWIFT_CONTAINERS=a-1,a-2 HAVN_STORAGE_SWIFT_CA_FILE=/nowhere/ca.crt")})
	if got := c.Storage.Swift.AllContainers(); !slices.Equal(got, []string{"a-1", "a-2"}) {
		t.Errorf("containers %v", got)
	}
	if p := c.Probe(); len(p) != 1 || p[0].Key != "storage.swift.ca_file" || !strings.Contains(p[0].String(), "no such file") {
		t.Errorf("problems %v", p)
	}
}
