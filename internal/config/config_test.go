package config_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "havn.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, from config.Source) *config.Config {
	t.Helper()
	c, warnings, err := config.Load(from)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Fatalf("warnings: %v", warnings)
	}
	return c
}

// refused loads what must not load, and answers the problems.
func refused(t *testing.T, from config.Source) config.Problems {
	t.Helper()
	_, _, err := config.Load(from)
	if err == nil {
		t.Fatalf("%+v is accepted", from)
	}
	if !fail.Is(err, fail.Invalid) {
		t.Errorf("kind %v, want invalid", fail.KindOf(err))
	}
	var p config.Problems
	if !errors.As(err, &p) || len(p) == 0 {
		t.Fatalf("no problems in %v", err)
	}
	return p
}

func setting(t *testing.T, c *config.Config, key string) config.Setting {
	t.Helper()
	for _, s := range c.Settings() {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("no key %s", key)
	return config.Setting{}
}

func TestNothingConfiguredIsTheEmbeddedDefault(t *testing.T) {
	t.Parallel()
	c := load(t, config.Source{})
	if !reflect.DeepEqual(c.HTTP.Addr, []string{"127.0.0.1:5000"}) || c.DataDir != "./havn-data" || c.Database.Engine != config.SQLite || c.Storage.Driver != config.Filesystem {
		t.Errorf("%+v", c)
	}
	if c.DatabasePath() != "havn-data/havn.db" || c.BlobPath() != "havn-data/blobs" {
		t.Errorf("paths %s, %s", c.DatabasePath(), c.BlobPath())
	}
	if c.HTTP.TLS.MinVersion != tls.VersionTLS12 || c.HTTP.TLS.Enabled() || !c.Log.Access || c.Log.Level != slog.LevelInfo || !c.Projects.CreateOnPush {
		t.Errorf("%+v", c)
	}
	for _, s := range c.Settings() {
		if s.Origin != "default" {
			t.Errorf("%s comes from %q", s.Key, s.Origin)
		}
	}
}

func TestFlagsGoBeforeTheEnvironmentBeforeTheFileBeforeTheDefault(t *testing.T) {
	t.Parallel()
	path := file(t, "data_dir: from-file\nhttp:\n  addr: [127.0.0.1:1, '[::1]:1']\n  idle_timeout: 3m\nlog: {level: debug, access: false}\n")
	env := []string{"HAVN_DATA_DIR=from-env", "HAVN_HTTP_ADDR=127.0.0.1:2, [::1]:2", "HAVN_LOG_FORMAT=", "HOME=/x"}
	c := load(t, config.Source{File: path, Env: env, Flags: map[string]string{"data_dir": "from-flag"}})
	for key, want := range map[string]config.Setting{
		"data_dir":                {Key: "data_dir", Value: "from-flag", Origin: "flag --data-dir"},
		"http.addr":               {Key: "http.addr", Value: []string{"127.0.0.1:2", "[::1]:2"}, Origin: "environment HAVN_HTTP_ADDR"},
		"http.idle_timeout":       {Key: "http.idle_timeout", Value: "3m", Origin: path + ":4"},
		"log.access":              {Key: "log.access", Value: false, Origin: path + ":5"},
		"log.format":              {Key: "log.format", Value: "text", Origin: "default"},
		"uploads.max_per_subject": {Key: "uploads.max_per_subject", Value: int64(256), Origin: "default"},
	} {
		if got := setting(t, c, key); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", key, got, want)
		}
	}
	if c.HTTP.IdleTimeout != 3*time.Minute || c.Log.Level != slog.LevelDebug {
		t.Errorf("%+v", c)
	}
}

func TestTheFileMayBeNamedInTheEnvironment(t *testing.T) {
	t.Parallel()
	path := file(t, "# only a comment\nstorage:\n  low_disk: 2GB\nregistry:\n")
	if c := load(t, config.Source{Env: []string{"HAVN_CONFIG=" + path}}); c.Storage.LowDisk != 2e9 {
		t.Errorf("low_disk %d", c.Storage.LowDisk)
	}
	other := file(t, "storage: {low_disk: 0}\n")
	if c := load(t, config.Source{File: other, Env: []string{"HAVN_CONFIG=" + path}}); c.Storage.LowDisk != 0 {
		t.Errorf("low_disk %d: the flag's file must win", c.Storage.LowDisk)
	}
}

func TestEveryKeyTakesItsExampleFromEverySource(t *testing.T) {
	t.Parallel()
	c := config.Default()
	names := map[string]string{}
	for _, s := range c.Settings() {
		name := "HAVN_" + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))
		if before, twice := names[name]; twice {
			t.Errorf("%s and %s are both %s in the environment", before, s.Key, name)
		}
		names[name] = s.Key
		given := fmt.Sprint(s.Value)
		if list, ok := s.Value.([]string); ok {
			given = strings.Join(list, ",")
		}
		if given == "" {
			continue
		}
		again := load(t, config.Source{Env: []string{name + "=" + given}})
		if got := setting(t, again, s.Key); !reflect.DeepEqual(got.Value, s.Value) || got.Origin != "environment "+name {
			t.Errorf("%s=%s comes back as %+v", name, given, got)
		}
		section, rest, _ := strings.Cut(s.Key, ".")
		body := section + ": " + fmt.Sprintf("%q", given) + "\n"
		if rest != "" {
			body = section + ":\n  " + strings.ReplaceAll(rest, ".", ":\n    ") + ": " + fmt.Sprintf("%q", given) + "\n"
			if strings.Count(rest, ".") > 1 {
				t.Fatalf("%s is deeper than this test writes", s.Key)
			}
		}
		again = load(t, config.Source{File: file(t, body)})
		if got := setting(t, again, s.Key); !reflect.DeepEqual(got.Value, s.Value) {
			t.Errorf("%s in the file comes back as %+v", s.Key, got)
		}
	}
}

func TestWhatCannotWorkIsRefusedWithPlaceKeyAndWhatIsAllowed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want string }{
		{"htp:\n  addr: x\n", "havn.yaml:2: htp.addr: is an unknown key; did you mean http.addr?"},
		{"http:\n  adr: x\n", "havn.yaml:2: http.adr: is an unknown key; did you mean http.addr?"},
		{"http:\n  addr: 5000\n", `havn.yaml:2: http.addr: "5000" has no host: write 127.0.0.1:5000`},
		{"http:\n  addr: '::1'\n", `write an IPv6 address in brackets and a port, like [::1]:5000`},
		{"http:\n  addr: localhost:70000\n", `the port "70000" is not a number from 0 to 65535`},
		{"http:\n  addr: []\n", "is an empty list"},
		{"http:\n  addr: [a:1, a:1]\n", `"a:1" is there twice`},
		{"http:\n  addr: [a:1, [b]]\n", "has a list in its list"},
		{"http:\n  addr:\n", "havn.yaml:2: http.addr: has no value; leave the line out for the default"},
		{"http: 5\n", "havn.yaml:1: http: is a section and takes no value itself; allowed: below it: addr, public_url"},
		{"data_dir: [a, b]\n", "is a list, and the key takes one value"},
		{"data_dir: {a: b}\n", "havn.yaml:1: data_dir.a: is an unknown key"},
		{"data_dir: ''\n", "data_dir: is empty"},
		{"log:\n  access: yes\n", `havn.yaml:2: log.access: "yes" is neither true nor false; allowed: true or false`},
		{"log:\n  level: wran\n", `"wran" is not one of them; did you mean warn?; allowed: debug, info, warn or error`},
		{"http:\n  idle_timeout: 30\n", `"30" is not a duration: write a number and a unit`},
		{"http:\n  idle_timeout: 2d\n", `"2d" is too long; allowed: 1s to 1h`},
		{"http:\n  drain_timeout: -1s\n", `"-1s" is not a duration`},
		{"storage:\n  low_disk: 12XB\n", `"12XB" is not a size: write a number and a unit`},
		{"storage:\n  low_disk: 99999999999999999TiB\n", `is too large`},
		{"uploads:\n  max_object_size: 5\n", `"5" is too small; allowed: 1MiB to 5TiB`},
		{"uploads:\n  max_per_subject: 1.5\n", `"1.5" is not a whole number`},
		{"uploads:\n  max_per_subject: 0\n", `0 is out of range; allowed: 1 to 100000`},
		{"tracing:\n  sample: NaN\n", `NaN is out of range; allowed: 0 to 1`},
		{"tracing:\n  otlp_endpoint: collector:4318\n", `does not begin with https:// or http://`},
		{"http:\n  public_url: https://x/registry\n", `has a path: registries live at the root of a host`},
		{"http:\n  public_url: https://u:hush@x\n", `"https://***@x" has a user in it`},
		{"http:\n  trusted_proxies: 10.0.0.1/8\n", `has bits behind its length: write 10.0.0.0/8`},
		{"http:\n  tls:\n    certificate: a.crt\n", "havn.yaml:3: http.tls.certificate: is set, and http.tls.key is not; allowed: both or none"},
		{"http:\n  tls:\n    min_version: 1.1\n", `"1.1" is not one of them; did you mean 1.2?; allowed: 1.2 or 1.3`},
		{"metrics:\n  addr: 127.0.0.1:5000\n", "is one of http.addr too"},
		{"storage:\n  redirect: 'on'\n", "havn.yaml:2: storage.redirect: is on, and objects of the driver filesystem have no URLs"},
		{"storage:\n  redirect_networks: 10.0.0.0/8\n", "havn.yaml:2: storage.redirect_networks: is set, and storage.redirect is off"},
		{"outbound:\n  proxy: http://proxy:3128\n  no_proxy: [a.example, 'http://x']\n", `havn.yaml:3: outbound.no_proxy: "http://x" is a URL: write the host alone`},
		{"outbound:\n  proxy: http://proxy:3128\n  no_proxy: 10.0.0.0/99\n", `havn.yaml:3: outbound.no_proxy: "10.0.0.0/99" is neither an address nor a network like 10.0.0.0/8; allowed: host names`},
		{"outbound:\n  proxy: http://proxy:3128\n  no_proxy: a.example,A.example\n", `"A.example" is there twice`},
		{"outbound:\n  no_proxy: a.example\n", "havn.yaml:2: outbound.no_proxy: is set, and outbound.proxy is not"},
		{"database:\n  engine: postgres\n", `havn.yaml:2: database.engine: is postgres, and database.hosts is not set`},
		{"database:\n  hosts: db1:3306\n", `database.hosts: is set, and database.engine is sqlite`},
		{"database:\n  engine: mysql\n  hosts: db1\n", `"db1" has no port: write db1:3306, or db1:5432 for PostgreSQL`},
		{"database:\n  engine: mysql\n  hosts: db1:3306,db1:3306\n", `"db1:3306" is there twice`},
		{"database:\n  engine: mysql\n  hosts: db1:0\n", `the port "0" is not a number from 1 to 65535`},
		{"database:\n  engine: mysql\n  hosts: u:p@db1:3306\n", `is not host:port`},
		{"database:\n  engine: mysql\n  hosts: db1:3306\n  path: x.db\n", `database.path: is set, and database.engine is mysql`},
		{"database:\n  engine: mysql\n  hosts: db1:3306\n  tls:\n    mode: on\n", `"on" is not one of them; allowed: off, require or verify`},
		{"database:\n  engine: mysql\n  hosts: db1:3306\n  tls:\n    key: k\n", `database.tls.key: is set, and database.tls.certificate is not`},
		{"database:\n  engine: mysql\n  hosts: db1:3306\n  tls:\n    mode: require\n    ca_file: ca\n", `database.tls.mode is require, which checks no certificate`},
		{"database:\n  engine: mysql\n  hosts: db1:3306\n  tls:\n    mode: off\n    ca_file: ca\n", `database.tls.mode: is off, and files for TLS are given`},
		{"database:\n  engine: mysql\n  hosts: db1:3306\nstorage:\n  driver: memory\n", `the index would outlive them`},
		{"storage:\n  driver: memory\n  cache:\n    path: x\n", "havn.yaml:4: storage.cache.path: is set, and storage.driver is memory"},
		{"storage:\n  driver: memory\ndatabase:\n  path: x.db\n", "havn.yaml:4: database.path: is set, and blobs in memory"},
		{"admin:\n  password: " + strings.Repeat("a", 1025) + "\n", "admin.password: has 1025 bytes, too many; allowed: at most 1024 bytes"},
		{"cluster:\n  secret: fifteen-letters\n", "havn.yaml:2: cluster.secret: has 15 bytes, too few; allowed: 16 bytes or more"},
		{"admin:\n  password: a\n  password_file: b\n", "admin.password_file"},
		{"admin:\n  password_file: /nowhere/at/all\n", `"/nowhere/at/all": no such file or directory`},
		{"data_dir: a\ndata_dir: b\n", "havn.yaml:2: mapping key \"data_dir\" already defined"},
		{"http:\n  addr: [a\n", "havn.yaml:2:"},
		{"data_dir: &x a\n", "anchor or alias, which are not read"},
		{"data_dir: !!str a\n", "tagged value (!…), which is not read"},
		{"<<: {data_dir: a}\n", "merge keys (<<) are not read"},
		{"- a\n", "is a list; allowed: sections and `key: value`"},
		{"data_dir: a\n---\ndata_dir: b\n", "havn.yaml:3: is a second document in the file"},
		{strings.Repeat("[", 100000), "is nested deeper than 64"},
		{strings.Repeat("#", 300000), "is larger than 256KiB"},
		{"data_dir: \"a\\0b\"\n", "contains a NUL byte"},
		{"\x00\xff\xfe", ""},
	} {
		problems := refused(t, config.Source{File: file(t, c.body)})
		if got := problems.Error(); !strings.Contains(got, c.want) {
			t.Errorf("%.60q:\n got %s\nwant %s", c.body, got, c.want)
		}
	}
}

// The names of these keys end like that of a secret's file, and they are none.
func TestKeysThatNameFilesAreReadFromTheFile(t *testing.T) {
	t.Parallel()
	c, _, err := config.Load(config.Source{File: file(t, "outbound:\n  ca_file: a.crt\ndatabase:\n  engine: mysql\n  hosts: [\"db1:3306\", \"[::1]:3306\"]\n  password: x\n  tls:\n    ca_file: b.crt\n")})
	if err != nil {
		t.Fatal(err)
	}
	if c.Outbound.CAFile != "a.crt" || c.Database.TLS.CAFile != "b.crt" || c.Database.TLS.Effective() != config.TLSVerify || len(c.Database.Hosts) != 2 {
		t.Errorf("outbound %+v, database %+v", c.Outbound, c.Database)
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	p := refused(t, config.Source{
		File: file(t, "log:\n  level: loud\n  format: xml\n"), Env: []string{"HAVN_LOG_ACCESS=maybe"}, Flags: map[string]string{"http.addr": "x"},
	})
	for i, want := range []string{"havn.yaml:2: log.level", "havn.yaml:3: log.format", "environment HAVN_LOG_ACCESS: log.access", "flag --http-addr: http.addr"} {
		if len(p) != 4 || !strings.Contains(p[i].String(), want) {
			t.Errorf("problem %d of %d: %v, want %s", i, len(p), p, want)
		}
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	t.Parallel()
	p := refused(t, config.Source{File: "/nowhere/havn.yaml"})
	if got := p.Error(); got != "/nowhere/havn.yaml: no such file or directory; allowed: a readable YAML file" {
		t.Error(got)
	}
	if got := refused(t, config.Source{File: t.TempDir()}).Error(); !strings.Contains(got, "is a directory") {
		t.Error(got)
	}
}

func TestUnknownVariablesAreWarnedOfAndThoseOfKubernetesAreNot(t *testing.T) {
	t.Parallel()
	kubernetes := []string{
		"HAVN_SERVICE_HOST=10.0.0.1", "HAVN_SERVICE_PORT=5000", "HAVN_SERVICE_PORT_HTTP=5000", "HAVN_PORT=tcp://10.0.0.1:5000", "HAVN_PORT_5000_TCP=tcp://10.0.0.1:5000",
		"HAVN_PORT_5000_TCP_PROTO=tcp", "HAVN_PORT_5000_TCP_PORT=5000", "HAVN_PORT_5000_TCP_ADDR=10.0.0.1",
		"HAVN_METRICS_SERVICE_HOST=10.0.0.2", "HAVN_METRICS_PORT=tcp://10.0.0.2:1", "HAVN_METRICS_PORT_5001_TCP_ADDR=10.0.0.2",
	}
	load(t, config.Source{Env: kubernetes})
	load(t, config.Source{Env: []string{"HAVN_SERVER=r", "HAVN_USER=maria", "HAVN_TOKEN=x", "HAVN_CA_FILE=/x"}}) // those of the commands that ask a server
	_, warnings, err := config.Load(config.Source{Env: []string{"HAVN_PORT=5000"}})
	if err != nil || len(warnings) != 1 || !strings.Contains(string(warnings[0]), "HAVN_PORT") {
		t.Errorf("a port that somebody wants: %v, %v", warnings, err)
	}
	_, warnings, err = config.Load(config.Source{Env: append(kubernetes, "HAVN_HTTP_ADR=x", "HAVN_ZZZZZZZZZZZZZZZZZZ=1", "HAVN_HTTP_PORT=5000")})
	if err != nil || len(warnings) != 3 {
		t.Fatalf("%v, %v", warnings, err)
	}
	if want := "the environment's HAVN_HTTP_ADR is no variable of Havn's and is ignored; did you mean HAVN_HTTP_ADDR?"; string(warnings[0]) != want {
		t.Errorf("%q, want %q", warnings[0], want)
	}
}

func TestAPasswordThatOthersGuessIsWarnedOf(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]string{"": "", "seven77": "fewer than 8 bytes", "eight888": "", "Harbor12345": "which everybody knows", "Harbor123456": ""} {
		_, warnings, err := config.Load(config.Source{Env: []string{"HAVN_ADMIN_PASSWORD=" + password}})
		text := fmt.Sprint(warnings)
		if err != nil || (want == "") != (len(warnings) == 0) || !strings.Contains(text, want) || want != "" && (strings.Contains(text, password) || !strings.Contains(text, "HAVN_ADMIN_PASSWORD")) {
			t.Errorf("%q: %v, %v", password, warnings, err)
		}
	}
}

func TestSecretsComeFromFilesAndAreNeverShown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("hush hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []config.Source{
		{Env: []string{"HAVN_ADMIN_PASSWORD=hush hush"}},
		{Env: []string{"HAVN_ADMIN_PASSWORD_FILE=" + path}},
		{File: file(t, "admin:\n  password_file: "+path+"\n")},
		{File: file(t, "admin:\n  password: other\n"), Env: []string{"HAVN_ADMIN_PASSWORD_FILE=" + path}},
	} {
		c := load(t, from)
		if c.Admin.Password.Reveal() != "hush hush" {
			t.Errorf("%+v: %q", from, c.Admin.Password.Reveal())
		}
		if got := setting(t, c, "admin.password").Value; got != "***" {
			t.Errorf("shown as %v", got)
		}
		if all := fmt.Sprintf("%v %+v %#v", c, c, c.Admin); strings.Contains(all, "hush") {
			t.Errorf("the secret is in %s", all)
		}
	}
	c := load(t, config.Source{Env: []string{"HAVN_OUTBOUND_PROXY=http://u:hush@proxy:3128"}})
	if got := setting(t, c, "outbound.proxy").Value; got != "http://***@proxy:3128" {
		t.Errorf("shown as %v", got)
	}
}

func TestWhatIsReachedWithoutTheProxyIsAList(t *testing.T) {
	t.Parallel()
	want := []string{"s3.example.com", ".corp.example.com", "10.0.0.0/8", "[fd00::1]:443"}
	for _, from := range []config.Source{
		{Env: []string{"HAVN_OUTBOUND_PROXY=http://proxy:3128", "HAVN_OUTBOUND_NO_PROXY=S3.example.com, *.corp.example.com,10.0.0.0/8,[fd00::1]:443"}},
		{File: file(t, "outbound:\n  proxy: http://proxy:3128\n  no_proxy:\n    - s3.example.com\n    - .corp.example.com\n    - 10.0.0.0/8\n    - '[fd00::1]:443'\n")},
	} {
		if c := load(t, from); !slices.Equal(c.Outbound.NoProxy, want) || !reflect.DeepEqual(setting(t, c, "outbound.no_proxy").Value, want) {
			t.Errorf("%q, shown as %v", c.Outbound.NoProxy, setting(t, c, "outbound.no_proxy").Value)
		}
	}
}

func TestProbeLooksAtTheFiles(t *testing.T) {
	t.Parallel()
	c := load(t, config.Source{Env: []string{"HAVN_HTTP_TLS_CERTIFICATE=/nowhere/a.crt", "HAVN_HTTP_TLS_KEY=/nowhere/a.key", "HAVN_OUTBOUND_CA_FILE=" + file(t, "no certificate")}})
	p := c.Probe()
	if len(p) != 3 {
		t.Fatalf("%v", p)
	}
	for i, want := range []string{
		`environment HAVN_HTTP_TLS_CERTIFICATE: http.tls.certificate: "/nowhere/a.crt": no such file`, `http.tls.key: "/nowhere/a.key": no such file`, "holds no certificate in PEM",
	} {
		if !strings.Contains(p[i].String(), want) {
			t.Errorf("%s\nwant %s", p[i], want)
		}
	}
	bad := file(t, "x")
	c = load(t, config.Source{Env: []string{"HAVN_HTTP_TLS_CERTIFICATE=" + bad, "HAVN_HTTP_TLS_KEY=" + bad}})
	if p = c.Probe(); len(p) != 1 || !strings.Contains(p.Error(), "failed to find any PEM data") {
		t.Errorf("%v", p)
	}
	if p = load(t, config.Source{}).Probe(); len(p) != 0 {
		t.Errorf("%v", p)
	}
}

func TestTheReferenceNamesEveryKey(t *testing.T) {
	t.Parallel()
	text := config.Reference()
	for _, s := range config.Default().Settings() {
		if !strings.Contains(text, "\n## `"+s.Key+"`\n") {
			t.Errorf("%s is not in the reference", s.Key)
		}
	}
	for _, f := range config.Flags() {
		if !strings.Contains(text, "`--"+f.Name+"`") {
			t.Errorf("--%s is not in the reference", f.Name)
		}
	}
}

func TestTheWrittenReferenceIsThatOfTheCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != config.Reference() {
		t.Error("docs/configuration.md is stale: go run ./cmd/havn config reference > docs/configuration.md")
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "data_dir: a\n", "http:\n  addr: [a:1, '[::1]:2']\n  tls: {min_version: 1.3}\n", "a: &x b\nc: *x\n", "<<: {}\n", "? a\n: b\n", "a: |\n  b\n", "a: !!binary x\n", "---\n---\n",
		"{", "- - -", "a: 'b\n", "\t", "%YAML 1.2\n---\n", "a:\n- b\n- c: d\n", "storage: {low_disk: 1.5GiB}", "http: {idle_timeout: 1w2d3h}",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	path := filepath.Join(dir, "havn.yaml")
	f.Fuzz(func(t *testing.T, body []byte) {
		own := path + fmt.Sprint(os.Getpid())
		if err := os.WriteFile(own, body, 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := config.Load(config.Source{File: own})
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err != nil && !fail.Is(err, fail.Invalid) {
			t.Fatalf("kind %v of %v", fail.KindOf(err), err)
		}
		if err == nil {
			c.Settings()
		}
	})
}
