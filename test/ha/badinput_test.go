package ha

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// answerTime is within what a start that can't succeed says so, on a loaded machine. By itself it takes 6 s at most.
const answerTime = 40 * time.Second

// havn runs a command of Havn that ends by itself, and answers what it printed and its exit code.
func havn(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), args...)
	cmd.Env = append([]string{"HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_ADMIN_PASSWORD=" + harness.Password, "HAVN_CLUSTER_SECRET=" + harness.Secret}, env...)
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), said.String(), cmd.ProcessState.ExitCode()
}

// findings are what doctor says.
func findings(t *testing.T, env []string) (r report, code int) {
	t.Helper()
	out, _, code := havn(t, env, "doctor", "--output", "json")
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return r, code
}

// bad is a database that can't be used, and what is to be said of it.
type bad struct {
	name       string
	env        []string
	text, hint string
}

// refuses expects that the start ends with an error that says what and what to do, and that doctor says the same.
func refuses(t *testing.T, good []string, cases []bad) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			env := append(append(append([]string{}, good...), "HAVN_DATA_DIR="+t.TempDir()), c.env...)
			begun := time.Now()
			_, said, code := havn(t, env, "serve")
			if code == 0 || !strings.Contains(said, c.text) || !strings.Contains(said, c.hint) {
				t.Errorf("the start ended with %d:\n%s\nwant %q and %q", code, said, c.text, c.hint)
			}
			if took := time.Since(begun); took > answerTime {
				t.Errorf("the start took %s", took)
			}
			begun = time.Now()
			r, code := findings(t, env)
			told := false
			for _, f := range r.Findings {
				told = told || f.Subject == "database" && f.Status == "wrong" && strings.Contains(f.Text, c.text) && strings.Contains(f.Hint, c.hint)
			}
			if code == 0 || !told {
				t.Errorf("doctor ended with %d: %+v\nwant %q and %q", code, r.Findings, c.text, c.hint)
			}
			if took := time.Since(begun); took > answerTime {
				t.Errorf("doctor took %s", took)
			}
		})
	}
}

func TestADatabaseThatCannotBeUsedIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	t.Cleanup(func() { need(t, m.Stop()); need(t, p.Stop()) })
	for _, e := range []struct {
		engine, host, denied string
		unsafe               string // what doctor says of the lab's servers, which flush nothing
		owned                string // begins statements that make tables of the lab's user; else they are somebody else's
		create               func(name, tables string)
	}{
		{"mysql", m.Host, "Access denied", "innodb_flush_log_at_trx_commit is 2", "", func(name, tables string) {
			need(t, m.CreateDatabase(t.Context(), name))
			need(t, m.Run(t.Context(), "USE "+name+"; "+tables))
		}},
		{"postgres", p.Host, "password authentication failed", "fsync is off", "SET ROLE " + lab.User + "; ", func(name, tables string) {
			need(t, p.CreateDatabase(t.Context(), name))
			need(t, p.RunIn(t.Context(), name, tables))
		}},
	} {
		e.create("other", "CREATE TABLE users (id BIGINT NOT NULL PRIMARY KEY)")
		e.create("newer", e.owned+"CREATE TABLE schema_migrations (version BIGINT NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, applied_at BIGINT NOT NULL); INSERT INTO schema_migrations VALUES (9999, 'x', 1)")
		good := database(e.engine, lab.Database, []string{e.host}, filepath.Join(t.TempDir(), "blobs"))
		t.Run(e.engine, func(t *testing.T) {
			t.Parallel()
			refuses(t, good, []bad{
				{"a wrong password", []string{"HAVN_DATABASE_PASSWORD=wrong"}, e.denied, "database.password"},
				{"an absent database", []string{"HAVN_DATABASE_NAME=absent"}, "absent", "CREATE DATABASE"},
				{"another application's tables", []string{"HAVN_DATABASE_NAME=other"}, "tables of another application (users)", "database.name"},
				{"a newer schema", []string{"HAVN_DATABASE_NAME=newer"}, "the schema is at version 9999", "newer version of havn"},
				{"nobody listens", []string{"HAVN_DATABASE_HOSTS=127.0.0.1:1,127.0.0.2:1"}, "127.0.0.2:1 is down (refuses connections)", "havn db check"},
				{"a name that is none", []string{"HAVN_DATABASE_HOSTS=no-such-host.invalid:3306"}, "the name no-such-host.invalid can't be looked up", "database.hosts"},
				{"a server that takes connections and says nothing", []string{"HAVN_DATABASE_HOSTS=" + silent(t)}, "is down (did not answer in time)", "havn db check"},
				{"a server without TLS", []string{"HAVN_DATABASE_TLS_MODE=require"}, e.host, "database.tls.mode"},
			})
			settings(t, good, e.unsafe)
			halfWrong(t, append(good, "HAVN_DATABASE_HOSTS=no-such-host.invalid:3306,127.0.0.1:1,"+e.host))
			rotates(t, append(good, "HAVN_DATABASE_HOSTS="+e.host))
		})
	}
}

// TestADatabaseServerThatCannotBeWrittenToIsToldWithWhatToDo: it answers, and can't be used as it is. db check says the same as the start and doctor.
func TestADatabaseServerThatCannotBeWrittenToIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	t.Cleanup(func() { need(t, m.Stop()); need(t, p.Stop()) })
	tell := func(name, engine, host, text, hint string) {
		t.Helper()
		refuses(t, database(engine, lab.Database, []string{host}, filepath.Join(t.TempDir(), "blobs")), []bad{{name, nil, text, hint}})
		r, code := checkDatabase(t, engine, []string{host})
		if code != 1 || !r.has("wrong", text) || !strings.Contains(fmt.Sprint(r.Findings), hint) {
			t.Errorf("db check ended with %d: %+v\nwant %q and %q", code, r.Findings, text, hint)
		}
	}
	need(t, m.Run(t.Context(), "SET GLOBAL read_only=ON"))
	tell("a read-only MariaDB", "mysql", m.Host, "is read-only: a replica?", "database.hosts")
	m.Options = []string{"version=10.1.48-MariaDB"}
	need(t, m.Restart(t.Context()))
	tell("a MariaDB that is too old", "mysql", m.Host, "is MariaDB 10.1.48: Havn needs 10.2.1 or later", "upgrade the server")
	m.Options = []string{"version=5.7.44-log"}
	need(t, m.Restart(t.Context()))
	tell("a MySQL that is too old", "mysql", m.Host, "is MySQL 5.7.44: Havn needs 8.0.16 or later", "upgrade the server")
	need(t, p.Run(t.Context(), "ALTER SYSTEM SET default_transaction_read_only = on"))
	need(t, p.Run(t.Context(), "SELECT pg_reload_conf()"))
	tell("a read-only PostgreSQL", "postgres", p.Host, "is read-only", "database.hosts")
}

func TestACertificateOfTheDatabaseThatIsOutOfDateIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	m, err := lab.StartMariaDBWithTLS(t.Context(), "")
	need(t, err)
	p, err := lab.StartPostgresWithTLS(t.Context(), "")
	need(t, err)
	t.Cleanup(func() { need(t, m.Stop()); need(t, p.Stop()) })
	need(t, m.ExpireCertificate())
	need(t, m.Restart(t.Context()))
	need(t, p.ExpireCertificate())
	need(t, p.Restart(t.Context()))
	for engine, at := range map[string]struct{ host, ca string }{"mysql": {m.Host, m.CA}, "postgres": {p.Host, p.CA}} {
		good := database(engine, lab.Database, []string{at.host}, filepath.Join(t.TempDir(), "blobs"))
		refuses(t, good, []bad{{engine, []string{"HAVN_DATABASE_TLS_MODE=verify", "HAVN_DATABASE_TLS_CA_FILE=" + at.ca}, "expired", "renew the certificate on that server"}})
	}
}

// silent answers the address of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	t.Cleanup(func() { need(t, l.Close()) })
	return l.Addr().String()
}

// settings expects that doctor tells of settings that lose what was acknowledged, and that nothing else is wrong with a good database.
func settings(t *testing.T, good []string, unsafe string) {
	t.Helper()
	data := t.TempDir()
	r, code := findings(t, append(append([]string{}, good...), "HAVN_DATA_DIR="+data))
	empty(t, data)
	before, _ := findings(t, append(append([]string{}, good...), "HAVN_DATA_DIR="+filepath.Join(data, "none"))) // before the first start makes it
	empty(t, data)
	if !before.has("wrong", unsafe) || !before.has("ok", "its tables are not there yet") {
		t.Errorf("without a data directory doctor says %+v", before.Findings)
	}
	if code == 0 || !r.has("wrong", unsafe) || !r.has("ok", "its tables are not there yet") || !r.has("ok", "max_connections is") || !r.has("ok", "that of the database's server is this machine's") {
		t.Errorf("doctor ended with %d: %+v", code, r.Findings)
	}
}

// empty expects that a command left nothing in a directory: it may have been root, whose files a node that is not could not read.
func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	need(t, err)
	if len(left) > 0 {
		t.Errorf("%v is left in the data directory", left)
	}
}

// halfWrong starts a node two of whose three database servers can't be reached: it serves through the third, and says which are missing.
func halfWrong(t *testing.T, env []string) {
	t.Helper()
	s := harness.Start(t, harness.Options{Env: env})
	m := newImage("ha/half", "1")
	need(t, newClient(s).push(t.Context(), m))
	for _, text := range []string{"server=no-such-host.invalid:3306 condition=down", "server=127.0.0.1:1 condition=down"} {
		s.Await(t, func() error {
			if !strings.Contains(s.Log(), text) {
				return fmt.Errorf("the log does not say %s", text)
			}
			return nil
		})
	}
	r, _ := findings(t, append(env, "HAVN_DATA_DIR="+s.Data))
	for _, addr := range []string{"no-such-host.invalid:3306", "127.0.0.1:1"} {
		if !r.has("warning", "server "+addr+" is down") {
			t.Errorf("doctor does not tell of %s: %+v", addr, r.Findings)
		}
	}
	s.Finish(t)
}

// rotates changes the key that signs tokens while a node serves, whichever data directory the command is given: tokens of the old key are good until that is revoked.
func rotates(t *testing.T, env []string) {
	t.Helper()
	s := harness.Start(t, harness.Options{Env: env})
	c := newClient(s)
	c.logIn(t, "ha/rotate")
	need(t, c.push(t.Context(), newImage("ha/rotate", "1")))
	data := t.TempDir()
	other := append(append([]string{}, env...), "HAVN_DATA_DIR="+data)
	change := func(args ...string) {
		t.Helper()
		if out, said, code := havn(t, other, append([]string{"key", "rotate"}, args...)...); code != 0 {
			t.Errorf("the key can't be rotated: %d, %s%s", code, out, said)
		}
	}
	const list = "/v2/ha/rotate/tags/list"
	change()
	time.Sleep(heedTime)
	if _, err := c.get(t.Context(), list); err != nil {
		t.Errorf("a token of the key before: %v", err)
	}
	change("--revoke")
	empty(t, data)
	time.Sleep(heedTime)
	if _, err := c.get(t.Context(), list); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a token of a key that was revoked is answered %v, want 401", err)
	}
	c.token = ""
	c.logIn(t, "ha/rotate")
	need(t, c.push(t.Context(), newImage("ha/rotate", "2")))
	s.Finish(t)
}

// heedTime is more than a node takes to heed another key.
const heedTime = 3 * time.Second
