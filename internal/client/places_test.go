package client_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/fail"
)

func TestServersAreURLsAndNoPasswordGoesOverTheNetworkInPlainText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"registry.example.com": "https://registry.example.com", "Registry.example.com:8443": "https://registry.example.com:8443", "https://r/": "https://r", "127.0.0.1:5000": "http://127.0.0.1:5000",
		"localhost": "http://localhost", "[::1]:5000": "http://[::1]:5000", "https://127.0.0.1": "https://127.0.0.1", "http://127.8.9.1:1": "http://127.8.9.1:1",
		"http://registry.example.com": "", "http://10.0.0.1": "", "": "", "https://": "", "ftp://r": "", "https://r/v2": "", "https://u:p@r": "", "https://r?x": "", "https://r#x": "", "a b": "", "http://localhost.example.com": "", "http://[::1": "",
	} {
		got, err := client.ParseServer(text, false)
		if got != want || (err != nil) != (want == "") || err != nil && (!fail.Is(err, fail.Invalid) || fail.HintOf(err) == "") {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"http://registry.example.com": "http://registry.example.com", "registry.example.com": "http://registry.example.com", "https://r": "https://r"} {
		if got, err := client.ParseServer(text, true); got != want || err != nil {
			t.Errorf("plain %q: %q, %v", text, got, err)
		}
	}
}

func TestArtifactsAreNamedAsPeopleNameThem(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("0a", 32)
	for text, want := range map[string]client.Place{
		"team/app:1": {"team", "app", "1"}, "team/deep/app:v1.2": {"team", "deep/app", "v1.2"}, "team/app@" + digest: {"team", "app", digest}, "app:1": {"library", "app", "1"},
		"team/app": {}, "team/app:": {}, "team/app@x": {}, "team/app@sha256:00": {}, ":1": {}, "team/APP:1": {}, "": {}, "team/app:1:2": {}, "team/app:-1": {},
	} {
		got, err := client.ParseArtifact(text)
		if got != want || (err != nil) != (want == client.Place{}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if err == nil && got.Project == "team" && got.String() != text {
			t.Errorf("%q is written as %q", text, got)
		}
	}
}

func TestLoginsAreKeptWhereOthersCannotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "havn", "logins.json")
	read := func() *client.Logins {
		t.Helper()
		l, err := client.ReadLogins(path)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := read()
	if l.Default != "" || len(l.Names()) != 0 {
		t.Errorf("%+v", l)
	}
	for _, server := range []string{"https://b", "https://a"} {
		if err := read().Put(server, client.Login{User: "maria", Secret: "secret of " + server}); err != nil {
			t.Fatal(err)
		}
	}
	if l = read(); l.Default != "https://a" || !reflect.DeepEqual(l.Names(), []string{"https://a", "https://b"}) || l.Servers["https://b"].Secret != "secret of https://b" {
		t.Errorf("%+v", l)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if info, err = os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err = l.Forget("https://a"); err != nil {
		t.Fatal(err)
	}
	if l = read(); l.Default != "https://b" || len(l.Servers) != 1 {
		t.Errorf("%+v", l)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}

	if err = os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = client.ReadLogins(path)
	wants(t, err, fail.Denied, "can be read by others", "chmod 600")
	if err = os.WriteFile(path, []byte("{"), 0o600); err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.ReadLogins(path)
	wants(t, err, fail.Invalid, "not as `havn login` wrote it", "move it away")
	_, err = client.ReadLogins(filepath.Dir(path))
	if err == nil {
		t.Error("a directory is a file of logins")
	}
	// What can't be written leaves what there was.
	if l, err = client.ReadLogins(filepath.Join(path, "logins.json")); err == nil {
		err = l.Put("https://c", client.Login{})
	}
	wants(t, err, fail.Unavailable, "the logins", "")
}
