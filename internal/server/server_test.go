package server_test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/server"
)

func TestAFreshServerAnswersAndSaysWhere(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_ADDR=127.0.0.1:0,[::1]:0", "HAVN_METRICS_ADDR=127.0.0.1:0")
	addrs := r.Addrs()
	lines := r.log.lines
	await(t, "listening", func() bool { return len(lines("ready")) == 1 })
	if len(addrs) != 2 || len(lines("listening")) != 2 {
		t.Fatalf("addresses %v, lines %v", addrs, lines("listening"))
	}
	for i, l := range lines("listening") {
		if l["addr"] != addrs[i].String() || l["scheme"] != "http" {
			t.Errorf("line %v, address %s", l, addrs[i])
		}
		base := "http://" + addrs[i].String()
		if a := get(t, base+"/healthz"); a.StatusCode != http.StatusOK || a.body != "ok\n" {
			t.Errorf("healthz: %s %s", a.Status, a.body)
		}
		if a := get(t, base+"/v2/", basic()...); a.StatusCode != http.StatusOK {
			t.Errorf("/v2/ with the given password: %s %s", a.Status, a.body)
		}
		a := get(t, base+"/v2/")
		if want := `Bearer realm="` + base + `/service/token",service="harbor-registry"`; a.StatusCode != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") != want {
			t.Errorf("/v2/: %s, challenge %s", a.Status, a.Header.Get("WWW-Authenticate"))
		}
		if a = get(t, base+"/nothing"); a.StatusCode != http.StatusNotFound {
			t.Errorf("/nothing: %s", a.Status)
		}
	}
	a := get(t, r.URL()+"/readyz")
	var ready server.Readiness
	if err := json.Unmarshal([]byte(a.body), &ready); err != nil || a.StatusCode != http.StatusOK || ready.Status != "ready" ||
		ready.Stores["database"].Status != "ok" || ready.Stores["blobs"].Status != "ok" {
		t.Errorf("readyz: %s %s (%v)", a.Status, a.body, err)
	}
}

// TestEverywhereIsListenedAtInEitherOrder: Go would take 0.0.0.0 for all of IPv6 too, and the second address would be in use by the first.
func TestEverywhereIsListenedAtInEitherOrder(t *testing.T) {
	for _, addrs := range [][]string{{"0.0.0.0:port", "[::]:port"}, {"[::]:port", "0.0.0.0:port"}, {"127.0.0.1:port", "[::]:port"}, {"[::]:port"}, {":port"}, {"0.0.0.0:port"}} {
		all, err := server.Listen(t, addrs...)
		if err != nil {
			t.Errorf("%v: %v", addrs, err)
			continue
		}
		_, port, err := net.SplitHostPort(all[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		reached := map[string]bool{}
		for _, host := range []string{"127.0.0.1", "::1"} {
			conn, dialErr := (&net.Dialer{}).DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
			if reached[host] = dialErr == nil; dialErr != nil {
				continue
			}
			if err = conn.Close(); err != nil {
				t.Error(err)
			}
		}
		if !reached["127.0.0.1"] || reached["::1"] != (len(addrs) > 1 || addrs[0] != "0.0.0.0:port") {
			t.Errorf("%v: %v", addrs, reached)
		}
	}
}

func TestASecondProcessIsToldWhoHasTheDataDirectory(t *testing.T) {
	t.Parallel()
	r := start(t)
	c, _ := configure(t, "HAVN_DATA_DIR="+r.data)
	_, err := server.New(t.Context(), server.Options{Config: c, Stderr: &journal{}})
	notNil(t, err, "is in use by process")
	if !fail.Is(err, fail.Conflict) || fail.HintOf(err) == "" {
		t.Errorf("kind %v, hint %q", fail.KindOf(err), fail.HintOf(err))
	}
	holder, ok := fail.DetailOf(err).(server.Holder)
	if !ok || holder.PID != os.Getpid() || holder.Since.IsZero() {
		t.Errorf("holder %+v", holder)
	}
	if a := get(t, r.URL()+"/readyz"); a.StatusCode != http.StatusOK {
		t.Errorf("the first one: %s", a.Status)
	}
}

func TestOneDatabaseElsewhereIsOneProcesss(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "havn.db")
	start(t, "HAVN_DATABASE_PATH="+path)
	c, data := configure(t, "HAVN_DATABASE_PATH="+path)
	_, err := server.New(t.Context(), server.Options{Config: c, Stderr: &journal{}})
	notNil(t, err, "is in use by process")
	mustBeAbsent(t, data)
}

func TestAStoppedServerStartsAgainWithWhatItHad(t *testing.T) {
	t.Parallel()
	r := start(t)
	if a, err := do(t, http.DefaultClient, http.MethodPost, r.URL()+"/v2/library/app/blobs/uploads/?digest=sha256:"+emptyHash, http.NoBody, basic()...); err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("push: %v %v", err, a)
	}
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	c, _ := configure(t, "HAVN_DATA_DIR="+r.data, "HAVN_ADMIN_PASSWORD=another-one-8")
	again := startWith(t, server.Options{Config: c}, r.data)
	if a := get(t, again.URL()+"/v2/library/app/blobs/sha256:"+emptyHash, basic()...); a.StatusCode != http.StatusOK {
		t.Errorf("after the restart: %s %s", a.Status, a.body)
	}
}

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestAFailedStartLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := taken.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	mustWrite(t, file, "x")
	for name, c := range map[string]struct{ env, want, hint string }{
		"address in use":      {"HAVN_HTTP_ADDR=" + taken.Addr().String(), "address already in use", "HAVN_HTTP_ADDR"},
		"metrics in use":      {"HAVN_METRICS_ADDR=" + taken.Addr().String(), "address already in use", "metrics.addr"},
		"foreign address":     {"HAVN_HTTP_ADDR=192.0.2.1:5000", "cannot assign requested address", "does not have that address"},
		"no certificate":      {"HAVN_HTTP_TLS_CERTIFICATE=" + dir + "/a.crt,HAVN_HTTP_TLS_KEY=" + dir + "/a.key", "no such file", "config reference"},
		"blobs in a file":     {"HAVN_STORAGE_FILESYSTEM_PATH=" + file, "not a directory", ""},
		"database in a file":  {"HAVN_DATABASE_PATH=" + file + "/havn.db", "is not a directory", ""},
		"data dir in a file":  {"HAVN_DATA_DIR=" + file + "/data", "not a directory", "data_dir"},
		"data dir is a file":  {"HAVN_DATA_DIR=" + file, "is not a directory", "data_dir"},
		"no database in it":   {"HAVN_DATABASE_PATH=" + dir, "is a directory", "database.path"},
		"an unusable ca file": {"HAVN_OUTBOUND_CA_FILE=" + file, "holds no certificate", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, data := configure(t, strings.Split(c.env, ",")...)
			_, startErr := server.New(t.Context(), server.Options{Config: cfg, Stderr: &journal{}})
			notNil(t, startErr, c.want)
			if !strings.Contains(fail.HintOf(startErr), c.hint) {
				t.Errorf("hint %q, want one with %q", fail.HintOf(startErr), c.hint)
			}
			if data != file {
				mustBeAbsent(t, data)
			}
		})
	}
}

func TestTheFirstPasswordIsHandedOver(t *testing.T) {
	t.Parallel()
	t.Run("in a file that its owner alone reads", func(t *testing.T) {
		t.Parallel()
		r := start(t, "HAVN_ADMIN_PASSWORD=")
		path := filepath.Join(r.data, "initial-admin-password")
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		made := strings.TrimSpace(string(text))
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth("admin", made)
		if a := get(t, r.URL()+"/v2/", "Authorization", req.Header.Get("Authorization")); a.StatusCode != http.StatusOK {
			t.Errorf("with the made password: %s %s", a.Status, a.body)
		}
		if log := r.log.String(); !strings.Contains(log, path) || strings.Contains(log, made) {
			t.Errorf("the log must name the file and not the password:\n%s", log)
		}
	})
	t.Run("on a terminal", func(t *testing.T) {
		t.Parallel()
		c, data := configure(t, "HAVN_ADMIN_PASSWORD=")
		r := startWith(t, server.Options{Config: c, Terminal: true}, data)
		mustBeAbsent(t, filepath.Join(data, "initial-admin-password"))
		if !strings.Contains(r.log.String(), "Its password, shown this once:") {
			t.Errorf("log:\n%s", r.log)
		}
	})
	t.Run("not at all when it was given", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		mustBeAbsent(t, filepath.Join(r.data, "initial-admin-password"))
		if strings.Contains(r.log.String(), password) {
			t.Errorf("the password is in the log:\n%s", r.log)
		}
	})
}

func TestReadyzSaysWhichStoreIsDown(t *testing.T) {
	t.Parallel()
	r := start(t)
	id := filepath.Join(r.data, "blobs", "havn-store-id")
	if err := os.Rename(id, id+".away"); err != nil {
		t.Fatal(err)
	}
	await(t, "503 from /readyz", func() bool {
		a := get(t, r.URL()+"/readyz")
		return a.StatusCode == http.StatusServiceUnavailable && strings.Contains(a.body, `"blobs":{"status":"not found"`)
	})
	if a := get(t, r.URL()+"/healthz"); a.StatusCode != http.StatusOK {
		t.Errorf("the process is alive: %s", a.Status)
	}
	if err := os.Rename(id+".away", id); err != nil {
		t.Fatal(err)
	}
	await(t, "200 from /readyz", func() bool { return get(t, r.URL()+"/readyz").StatusCode == http.StatusOK })
}

func TestLowDiskIsShownAndIsNoReasonNotToServe(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_STORAGE_LOW_DISK=1024TiB")
	if a := get(t, r.URL()+"/readyz"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"blobs":{"status":"low"`) {
		t.Errorf("%s %s", a.Status, a.body)
	}
}

func TestBlobsInMemoryTakeAnIndexThatGoesWithThem(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_STORAGE_DRIVER=memory")
	if a, err := do(t, http.DefaultClient, http.MethodPost, r.URL()+"/v2/library/app/blobs/uploads/?digest=sha256:"+emptyHash, http.NoBody, basic()...); err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("push: %v %v", err, a)
	}
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	c, _ := configure(t, "HAVN_DATA_DIR="+r.data, "HAVN_STORAGE_DRIVER=memory")
	again := startWith(t, server.Options{Config: c}, r.data)
	if a := get(t, again.URL()+"/v2/library/app/blobs/sha256:"+emptyHash, basic()...); a.StatusCode != http.StatusNotFound {
		t.Errorf("after the restart: %s %s", a.Status, a.body)
	}
}

func TestWarningsOfTheConfigurationAreLogged(t *testing.T) {
	t.Parallel()
	c, data := configure(t)
	r := startWith(t, server.Options{Config: c, Warnings: []config.Warning{"odd"}}, data)
	if len(r.log.lines("odd")) != 1 {
		t.Errorf("log:\n%s", r.log)
	}
}
