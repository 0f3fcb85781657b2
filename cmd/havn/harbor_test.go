package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/harborcfg"
)

// harborCfg writes a harbor.cfg.
func harborCfg(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "harbor.cfg")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// smallHarbor is an installation on one machine.
func smallHarbor(t *testing.T) string {
	t.Helper()
	return harborCfg(t, `_version = 1.5.0
hostname = registry.example.com:5000
ui_url_protocol = http
customize_crt = on
email_server = smtp.example.com
harbor_admin_password = correct-horse-8
auth_mode = db_auth
self_registration = on
token_expiration = 45
db_host = mysql
db_password = root123
redis_url = redis:6379
registry_storage_provider_name = filesystem
registry_storage_provider_config = rootdirectory: `+filepath.Join(t.TempDir(), "blobs")+"\n")
}

func TestServingOnAHarborCfg(t *testing.T) {
	t.Parallel()
	cfg := smallHarbor(t)
	c := spawnWith(t, []string{"--harbor-cfg", cfg}, "HAVN_ADMIN_PASSWORD=")
	_, addr, _ := strings.Cut(c.log.String(), "msg=listening addr=")
	addr, _, _ = strings.Cut(addr, " ")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/service/token?service=harbor-registry", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", "correct-horse-8")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err = res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || !strings.Contains(string(body), `"expires_in":2700`) {
		t.Errorf("with the password and the time of harbor.cfg: %s %s", res.Status, body)
	}
	log := c.log.String()
	for _, want := range []string{
		`keys=token_expiration fate=used havn=settings.token_expiration`, `keys=email_server fate=ignored`, `keys="db_host db_password" fate=ignored`, "level=WARN msg=\"" + cfg + ":14 registry_storage_provider_config: ",
		`keys=ui_url_protocol fate=overridden`,
	} {
		if strings.Count(log, want) != 1 {
			t.Errorf("not once in the log: %s\n%s", want, log)
		}
	}
	if strings.Contains(log, "correct-horse") || strings.Contains(log, "root123") {
		t.Errorf("a password in the log:\n%s", log)
	}
}

func TestAHarborCfgIsImported(t *testing.T) {
	t.Parallel()
	cfg := smallHarbor(t)
	code, out, errOut := execute(t, nil, "config", "import", cfg)
	if code != 0 || !strings.Contains(out, "\n  password: correct-horse-8\n") && !strings.Contains(out, `password: "correct-horse-8"`) || !strings.Contains(errOut, "havn: warning: "+cfg+":14 ") {
		t.Errorf("%d\n%s%s", code, out, errOut)
	}
	path := filepath.Join(t.TempDir(), "havn.yaml")
	code, table, errOut := execute(t, nil, "config", "import", cfg, "-o", path)
	if code != 0 || !strings.Contains(table, "token_expiration") || strings.Contains(table, "correct-horse") {
		t.Errorf("%d\n%s%s", code, table, errOut)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, mode %v", err, info.Mode())
	}
	body, err := os.ReadFile(path)
	if err != nil || string(body) != out {
		t.Errorf("%v: the file and the output differ:\n%s", err, body)
	}
	if code, out, errOut = execute(t, []string{"HAVN_DATA_DIR=" + t.TempDir()}, "config", "check", "--config", path); code != 0 {
		t.Errorf("config check: %d\n%s%s", code, out, errOut)
	}
	if code, _, errOut = execute(t, nil, "config", "import", cfg, "-o", path); code != 1 || !strings.Contains(errOut, path+" is there already") {
		t.Errorf("over a file: %d\n%s", code, errOut)
	}
	if code, out, errOut = execute(t, []string{"HAVN_HARBOR_CFG=" + cfg}, "config", "print"); code != 0 || !strings.Contains(out, cfg+":9 token_expiration") || strings.Contains(out, "correct-horse") {
		t.Errorf("config print: %d\n%s%s", code, out, errOut)
	}
}

func TestAnImportSaysOfEachKeyWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	code, out, errOut := execute(t, nil, "config", "import", smallHarbor(t), "--output", "json")
	var result imported
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != 0 || !result.OK || len(result.Keys) != 14 || strings.Contains(out, "correct-horse") {
		t.Fatalf("%d, %v\n%s%s", code, err, out, errOut)
	}
	i := slices.IndexFunc(result.Keys, func(r harborcfg.Row) bool { return r.Key == "harbor_admin_password" })
	if got := result.Keys[i]; got.Fate != harborcfg.Used || !slices.Equal(got.Havn, []string{"admin.password"}) || !got.FirstStart || got.Line != 6 {
		t.Errorf("%+v", got)
	}
	wrong := harborCfg(t, "hostname = reg.mydomain.com\ntoken_expiration = soon\n")
	path := filepath.Join(t.TempDir(), "havn.yaml")
	code, out, errOut = execute(t, nil, "config", "import", wrong, "--output", "json", "-o", path)
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != 2 || result.OK || len(result.Problems) != 2 || errOut != "" {
		t.Errorf("%d, %v\n%s%s", code, err, out, errOut)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was made of what can't be used")
	}
	if code, out, errOut = execute(t, nil, "config", "import", wrong); code != 2 || out != "" || !strings.Contains(errOut, "havn: "+wrong+":2 token_expiration: is not a number of minutes") {
		t.Errorf("%d\n%s%s", code, out, errOut)
	}
}
