package harborcfg_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/harborcfg"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a whole text with a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is another now (go test -update ./internal/harborcfg writes it anew):\n%s", path, got)
	}
}

// settings answers what counts in a configuration, without where it came from and with its secrets.
func settings(c *config.Config) map[string]any {
	all := map[string]any{}
	for _, s := range c.Settings() {
		all[s.Key] = s.Value
	}
	all["admin.password"] = c.Admin.Password.Reveal()
	return all
}

// fromYAML loads the configuration file that a harbor.cfg becomes.
func fromYAML(t *testing.T, f *harborcfg.File) (*config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "havn.yaml")
	if err := os.WriteFile(path, []byte(f.YAML()), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Load(config.Source{File: path})
	return c, err
}

func TestTheGuidesFileIsAConfigurationOfHavns(t *testing.T) {
	t.Parallel()
	const path = "testdata/guide.cfg"
	f, err := harborcfg.Parse(path, []byte(read(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	if _, missing := config.Accepts("storage.driver", "swift"); missing != nil {
		if err = f.Usable(); err == nil || !strings.Contains(err.Error(), "this version of Havn has no driver swift") {
			t.Errorf("%v", err)
		}
		return
	}
	if err = f.Usable(); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/guide.yaml", f.YAML())
	golden(t, "testdata/guide.txt", f.Table())
	direct, _, err := config.Load(config.Source{Base: f.Given})
	if err != nil {
		t.Fatal(err)
	}
	written, err := fromYAML(t, f)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(settings(direct), settings(written)) {
		t.Errorf("loaded directly and by the file made of it, it differs:\n%v\n%v", settings(direct), settings(written))
	}
	got := settings(direct)
	for key, want := range map[string]any{
		"http.public_url": "http://registry.example.com", "admin.password": "Pa55%word;with=all#of$them", "database.engine": "mysql",
		"database.user": "registry", "storage.driver": "swift", "storage.swift.username": "registry:swift", "settings.token_expiration": int64(30),
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}

func TestEachStoreLoadsWhereThisHavnHasItsDriver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, driver, pairs, missing string }{
		{"filesystem", "filesystem", "", ""},
		{"filesystem", "filesystem", "rootdirectory: /srv/registry", ""},
		{"swift", "swift", "username: u,password: p,authurl: http://192.168.1.217/identity/v3,tenant: admin,domain: default,region: RegionOne,container: docker_images", ""},
		{"swift", "swift", "authurl: http://10.32.3.70:7480/auth/v1, username: registry:swift, password: p, container: c, secretkey: long-enough, authversion: 1, prefix: /a/b/", ""},
		{"swift", "swift", "username: u", "storage.swift.auth_url: is not set"},
		{"s3", "s3", "accesskey: a, secretkey: b/c+d=, region: eu-central-1, bucket: registry, encrypt: true, keyid: k, rootdirectory: /harbor", ""},
		{"s3aws", "s3", "region: default, bucket: registry, regionendpoint: 10.32.3.70:7480, secure: false", ""},
		{"gcs", "gcs", "bucket: registry, keyfile: /etc/key.json", "storage.s3.access_key: is not set"},
		{"oss", "oss", "accesskeyid: a, accesskeysecret: s, region: oss-cn-beijing, bucket: b, internal: true", ""},
		{"azure", "azure", "accountname: n, accountkey: a2V5, container: registry, realm: core.chinacloudapi.cn", ""},
	} {
		f, err := harborcfg.Parse("harbor.cfg", []byte("registry_storage_provider_name = "+c.name+"\nregistry_storage_provider_config = "+c.pairs+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		want := c.missing
		if _, absent := config.Accepts("storage.driver", c.driver); absent != nil {
			want = "this version of Havn has no driver " + c.driver
		}
		_, _, err = config.Load(config.Source{Base: f.Given})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s, %s: %v, want %q", c.name, c.pairs, err, want)
		}
		if want == "" {
			if _, err = fromYAML(t, f); err != nil {
				t.Errorf("%s, %s: the file made of it: %v\n%s", c.name, c.pairs, err, f.YAML())
			}
		}
	}
}

func TestHavnsOwnConfigurationGoesBeforeTheFile(t *testing.T) {
	t.Parallel()
	f, err := harborcfg.Parse("harbor.cfg", []byte(`hostname = reg.mydomain.com
ui_url_protocol = http
harbor_admin_password = Harbor12345
token_expiration = 30
registry_storage_provider_name = filesystem
registry_storage_provider_config = rootdirectory: /srv/harbor
`))
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"HAVN_HTTP_PUBLIC_URL=https://registry.example.com", "HAVN_ADMIN_PASSWORD=own", "HAVN_STORAGE_DRIVER=memory"}
	c, _, err := config.Load(config.Source{Env: own, Base: f.Given})
	if err != nil {
		t.Fatal(err)
	}
	got := settings(c)
	for key, want := range map[string]any{
		"http.public_url": "https://registry.example.com", "admin.password": "own", "storage.driver": "memory", "storage.filesystem.path": "", "settings.token_expiration": int64(30),
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	f.Settle(c)
	for _, row := range f.Rows {
		want := harborcfg.Overridden
		if row.Key == "token_expiration" || row.Key == "ui_url_protocol" {
			want = harborcfg.Used
		}
		if row.Fate != want {
			t.Errorf("%s: %s (%s), want %s", row.Key, row.Fate, row.Text, want)
		}
	}
	if len(f.Warnings()) > 0 {
		t.Errorf("warned of what does not count: %v", f.Warnings())
	}
}

func TestTheNodesSecretIsReadWhereHarborHasIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secretkey"), []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "harbor.cfg")
	if err := os.WriteFile(path, []byte("secretkey_path = "+dir+"\ndb_host = 10.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := harborcfg.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	direct, _, err := config.Load(config.Source{Base: f.Given})
	if err != nil {
		t.Fatal(err)
	}
	written, err := fromYAML(t, f)
	if err != nil {
		t.Fatal(err)
	}
	if direct.Cluster.Secret.Reveal() != "0123456789abcdef" || written.Cluster.Secret != direct.Cluster.Secret {
		t.Errorf("%q directly, %q by the file made of it", direct.Cluster.Secret.Reveal(), written.Cluster.Secret.Reveal())
	}
	f.Settle(direct)
	if got := f.Rows[0]; got.Fate != harborcfg.Used || len(got.Havn) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAFileThatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	large := filepath.Join(t.TempDir(), "large.cfg")
	if err := os.WriteFile(large, bytes.Repeat([]byte("#\n"), 200000), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/nowhere/harbor.cfg": "/nowhere/harbor.cfg: no such file or directory", t.TempDir(): "is a directory", large: "is larger than 256KiB", "../../go.mod": "go.mod:1: is neither", "../../.golangci.yml": "holds not one key of Harbor's"} {
		_, err := harborcfg.Read(path)
		var problems config.Problems
		if !fail.Is(err, fail.Invalid) || !errors.As(err, &problems) || !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func TestNoSecretIsInAnyMessage(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("database-hush-hush", "hush1", "ldap-hush-hush", "hush2", "swift-hush-hush", "hush3", "Pa55%word;with=all#of$them", "hush4").
		Replace(read(t, "testdata/guide.cfg"))
	for _, more := range []string{
		"", "email_password = hush\nuaa_clientsecret = hush\nclair_db_password = hush\nredis_password = hush\n",
		"redis_url = r:6379,100,hush,0\n", "redis_url = redis://u:hush@r:6379\n", "redis_url = redis://hush@r:6379/3\n", "redis_url = r:6379 hush\n", "password hush = x\n",
		"registry_storage_provider_config = password: hu,hush: x\n", "registry_storage_provider_config = password: \"hush\n", "registry_storage_provider_config = secretkey: hush\n",
		"registry_storage_provider_name = s3\nregistry_storage_provider_config = accesskey: a, secretkey: hush, bucket: a/b\n", "db_password = " + strings.Repeat("hush", 1000) + "\n",
		"harbor_admin_password = " + strings.Repeat("hush", 1000) + "\n",
	} {
		f, err := harborcfg.Parse("harbor.cfg", []byte(text+more))
		if err != nil {
			t.Errorf("%s: %v", more, err)
			continue
		}
		var log bytes.Buffer
		log.WriteString(f.Table())
		if err = f.Usable(); err != nil {
			log.WriteString(err.Error())
		}
		c, _, err := config.Load(config.Source{Base: f.Given})
		if err != nil {
			log.WriteString(err.Error())
		} else {
			f.Settle(c)
			for _, s := range c.Settings() {
				if secret, ok := s.Value.(string); ok {
					log.WriteString(secret)
				}
			}
		}
		f.Log(slog.New(slog.NewTextHandler(&log, nil)))
		rows, err := json.Marshal(f.Rows)
		if err != nil {
			t.Fatal(err)
		}
		log.Write(rows)
		for _, w := range f.Warnings() {
			log.WriteString(string(w))
		}
		if strings.Contains(log.String(), "hush") {
			t.Errorf("%s: a secret in\n%s", more, log.String())
		}
	}
}

func TestTheLogSaysOfEveryKeyOnce(t *testing.T) {
	t.Parallel()
	f, err := harborcfg.Parse("harbor.cfg", []byte(read(t, "testdata/guide.cfg")))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f.Log(slog.New(slog.NewJSONHandler(&log, nil)))
	said := map[string]int{}
	for line := range strings.Lines(log.String()) {
		var entry struct{ Keys string }
		if err = json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		for _, key := range strings.Fields(entry.Keys) {
			said[key]++
		}
	}
	for _, w := range f.Warnings() {
		said[strings.TrimSuffix(strings.Fields(string(w))[1], ":")]++
	}
	for _, row := range f.Rows {
		if said[row.Key] != 1 && row.Fate != harborcfg.Wrong { // what is wrong is no start, and so no log
			t.Errorf("%s is said %d times", row.Key, said[row.Key])
		}
	}
}

func TestTheDocumentationHasTheTable(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- keys -->\n\n", "\n<!-- /keys -->"
	path := "../../docs/migrating.md"
	text := read(t, path)
	before, rest, ok := strings.Cut(text, begin)
	inside, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+harborcfg.Reference()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if inside != harborcfg.Reference() {
		t.Errorf("%s is stale: go test -update ./internal/harborcfg", path)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func FuzzParse(f *testing.F) {
	// Short ones: the fuzzer spends its time shortening long ones.
	for _, seed := range []string{
		"", "a = b ; c", "hostname = a\n b", "\ufeff[configuration]\r\nhostname: x", "redis_url = h:1,2,3,4", "db_host = ::1\ndb_port = 1\ndb_user = \\\"\ndb_password = #\u2028é",
		"registry_storage_provider_name = filesystem\nregistry_storage_provider_config = rootdirectory: \"/a\\tb\"", "registry_storage_provider_name = s3\nregistry_storage_provider_config = bucket: 'b''c', regionendpoint: http://h, secretkey: \"\\u0000\"",
		"registry_storage_provider_name = swift\nregistry_storage_provider_config = authurl: http://h/v1, username: u:s, password: p%, container: c",
		"harbor_admin_password = null", "harbor_admin_password = - a: [b", "hostname = h\nssl_cert = ~\nui_url_protocol = https\nssl_cert_key = 0x1f",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, body []byte) {
		file, err := harborcfg.Parse("harbor.cfg", body)
		if err != nil {
			if !fail.Is(err, fail.Invalid) {
				t.Fatalf("kind %v of %v", fail.KindOf(err), err)
			}
			return
		}
		file.Log(slog.New(slog.DiscardHandler))
		text := file.YAML()
		c, _, err := config.Load(config.Source{Base: file.Given})
		if err != nil {
			return
		}
		path := filepath.Join(dir, "havn.yaml")
		if err = os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		again, _, err := config.Load(config.Source{File: path})
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if !reflect.DeepEqual(settings(c), settings(again)) {
			t.Fatalf("%v is read back as %v of\n%s", settings(c), settings(again), text)
		}
	})
}
