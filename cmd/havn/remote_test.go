package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/client"
)

// adminPassword is that of the servers that spawn starts.
const adminPassword = "correct-horse-7"

// person is somebody with a home directory, at a server.
type person struct {
	*testing.T
	server string
	env    []string
	// typed is what stands on standard input; asked: a person types it, and passwords without being shown.
	typed string
	asked bool
}

// somebody is nobody in particular, who is logged in nowhere.
func somebody(t *testing.T, c *child) *person {
	t.Helper()
	return &person{T: t, server: c.addr(), env: []string{"HOME=" + t.TempDir()}}
}

// admin is logged in.
func admin(t *testing.T, c *child) *person {
	t.Helper()
	p := somebody(t, c)
	p.on(adminPassword+"\n").fine("login", p.server, "--user", "admin", "--password-stdin")
	return p
}

func (p *person) on(typed string) *person {
	again := *p
	again.typed = typed
	return &again
}

// asks is on, at a terminal.
func (p *person) asks(typed string) *person {
	again := p.on(typed)
	again.asked = true
	return again
}

func (p *person) with(env ...string) *person {
	again := *p
	again.env = append(slices.Clone(env), p.env...)
	return &again
}

func (p *person) run(args ...string) (code int, out, errOut string) {
	p.Helper()
	var o, e bytes.Buffer
	is := &program{args: args, environ: p.env, in: strings.NewReader(p.typed), out: &o, err: &e}
	if p.asked {
		is.asks, is.hidden = true, is.line
	}
	return is.run(), o.String(), e.String()
}

// fine wants a command to do what it should, and answers its output.
func (p *person) fine(args ...string) string {
	p.Helper()
	code, out, errOut := p.run(args...)
	if code != 0 {
		p.Fatalf("havn %s: %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// says wants texts in the output.
func (p *person) says(line string, texts ...string) {
	p.Helper()
	out := p.fine(strings.Fields(line)...)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			p.Errorf("havn %s says no %q:\n%s", line, text, out)
		}
	}
}

// json wants a result as JSON, and reads it.
func (p *person) json(to any, args ...string) {
	p.Helper()
	out := p.fine(append(args, "--output", "json")...)
	in := json.NewDecoder(strings.NewReader(out))
	if err := in.Decode(to); err != nil || in.More() {
		p.Fatalf("havn %v: %v in\n%s", args, err, out)
	}
}

// fails wants an exit code, and a text on standard error.
func (p *person) fails(code int, text string, args ...string) {
	p.Helper()
	got, out, errOut := p.run(args...)
	if got != code || !strings.Contains(errOut, text) || strings.Contains(errOut, "internal error") {
		p.Errorf("havn %s: %d, want %d\n%s%s\nwant %q", strings.Join(args, " "), got, code, out, errOut, text)
	}
	if !strings.Contains(errOut, "havn: ") || !strings.Contains(errOut, "\n      ") && !strings.Contains(errOut, ": ") {
		p.Errorf("havn %s does not say what to do:\n%s", strings.Join(args, " "), errOut)
	}
}

// push pushes an image with one layer as admin, and answers its digest.
func (p *person) push(repository, text, tag string) string {
	p.Helper()
	blob := func(body string) string {
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(body)))
		p.http(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+digest, "application/octet-stream", body, http.StatusCreated)
		return fmt.Sprintf(`{"mediaType":"%%s","digest":"%s","size":%d}`, digest, len(body))
	}
	config := fmt.Sprintf(blob(`{"architecture":"arm64","os":"linux","rootfs":{"type":"layers"}}`), "application/vnd.oci.image.config.v1+json")
	layer := fmt.Sprintf(blob(text), "application/vnd.oci.image.layer.v1.tar")
	kind := "application/vnd.oci.image.manifest.v1+json"
	manifest := `{"schemaVersion":2,"mediaType":"` + kind + `","config":` + config + `,"layers":[` + layer + `]}`
	p.http(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, kind, manifest, http.StatusCreated)
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(manifest)))
}

// http sends a request as admin, and answers the answer's body.
func (p *person) http(method, path, kind, body string, want int) []byte {
	p.Helper()
	r, err := http.NewRequestWithContext(p.Context(), method, "http://"+p.server+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	r.SetBasicAuth("admin", adminPassword)
	r.Header.Set("Content-Type", kind)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != want {
		p.Fatalf("%s %s: %d, %v\n%s", method, path, answer.StatusCode, err, text)
	}
	return text
}

func TestALoginKeepsATokenAndNeverThePassword(t *testing.T) {
	t.Parallel()
	c := spawn(t)
	p := somebody(t, c)
	var in loggedIn
	p.on(adminPassword+"\n").json(&in, "login", p.server, "--user", "admin", "--password-stdin")
	if in.User != "admin" || in.Server != "http://"+p.server || in.Expires == nil || in.Expires.Before(time.Now().AddDate(0, 0, loginDays-1)) {
		t.Errorf("%+v", in)
	}
	path := filepath.Join(strings.TrimPrefix(p.env[0], "HOME="), ".config", "havn", "logins.json")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil || bytes.Contains(text, []byte(adminPassword)) || !bytes.Contains(text, []byte("havn_pat_")) {
		t.Errorf("%s, %v", text, err)
	}
	p.says("user get", "admin", "ADMIN  ")
	p.says("token list", "havn login on ")

	// A second login takes the place of the first, whose token ends; a person is asked for what is not said.
	p.asks("admin\n"+adminPassword+"\n").fine("login", p.server, "--days", "0")
	var tokens []struct {
		ID      int64 `json:"id"`
		Expires int64 `json:"expires_at"`
	}
	p.json(&tokens, "token", "list")
	if len(tokens) != 1 || tokens[0].Expires != -1 {
		t.Errorf("%+v", tokens)
	}

	// Others must not read it.
	if err = os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	p.fails(exitDenied, "can be read by others", "project", "list")
	if err = os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}

	// A logout ends the token on the server too.
	stolen := somebody(t, c)
	var all struct {
		Servers map[string]struct{ Secret string }
	}
	if text, err = os.ReadFile(path); err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	stolen = stolen.with("HAVN_SERVER="+p.server, "HAVN_USER=admin", "HAVN_TOKEN="+all.Servers["http://"+p.server].Secret)
	stolen.says("project list", "library")
	p.says("logout", "Logged out at http://"+p.server)
	stolen.fails(exitDenied, "look at HAVN_USER and HAVN_TOKEN", "project", "list")
	p.fails(exitDenied, "havn login SERVER", "project", "list")
	p.fails(exitDenied, "havn login http://"+p.server, "project", "list", "--server", p.server)
	p.fails(exitDenied, "nobody is logged in anywhere", "logout")
}

func TestALoginAsSomebodyElseEndsTheFormerOnesToken(t *testing.T) {
	t.Parallel()
	p := admin(t, spawn(t))
	p.on("Passw0rd-of-maria\n").fine("user", "create", "maria", "--email", "m@example.com", "--password-stdin")
	p.on("Passw0rd-of-maria\n").fine("login", p.server, "--user", "maria", "--password-stdin")
	if out := p.fine("token", "list"); strings.Count(out, "havn login on") != 1 {
		t.Errorf("maria has\n%s", out)
	}
	p.on(adminPassword+"\n").fine("login", p.server, "--user", "admin", "--password-stdin")
	for _, user := range []string{"admin", "maria"} {
		want := map[string]int{"admin": 1}[user]
		if out := p.fine("token", "list", "--of", user); strings.Count(out, "havn login on") != want {
			t.Errorf("%s has\n%s", user, out)
		}
	}
	// Several servers, of which one is away.
	logins, err := (&program{environ: p.env}).logins()
	if err == nil {
		err = logins.Put("http://0.0.0.0:1", client.Login{User: "maria", Secret: "x", Made: true, UserID: 2, TokenID: 3})
	}
	if err != nil {
		t.Fatal(err)
	}
	p.fails(exitUsage, "plain HTTP to another machine", "project", "list", "--server", "http://0.0.0.0:2")
	p.fails(exitAway, "ask http://0.0.0.0:1", "project", "list", "--server", "0.0.0.0:1") // who logged in there said that it may be plain
	p.says("project list --server "+p.server, "library")
	p.fails(exitUsage, "--limit -1", "project", "list", "--limit", "-1", "--server", p.server)
	code, out, errOut := p.run("logout", "--all")
	if code != exitAway || out != "Logged out at http://"+p.server+".\n" || !strings.Contains(errOut, "token 3 at http://0.0.0.0:1 goes on") {
		t.Errorf("%d\n%s%s", code, out, errOut)
	}
	p.says("logout --all --output json", `"servers": []`)
}

func TestLoginsThatAreRefused(t *testing.T) {
	t.Parallel()
	c := spawn(t)
	p := somebody(t, c)
	p.on("wrong-password-1\n").fails(exitDenied, "unauthenticated", "login", p.server, "--user", "admin", "--password-stdin")
	p.fails(exitUsage, "--password-stdin", "login", p.server, "--user", "admin")
	p.fails(exitUsage, "--user", "login", p.server)
	p.on("\n").fails(exitUsage, "no password", "login", p.server, "--user", "admin", "--password-stdin")
	p.fails(exitUsage, "--days -1", "login", p.server, "--days", "-1")
	p.fails(exitUsage, "no address of a server", "login", "http://a b")
	p.fails(exitUsage, "plain HTTP to another machine", "login", "http://registry.example.com", "--user", "x")
	p.fails(exitUsage, "--ca-file or HAVN_CA_FILE", "login", p.server, "--user", "x", "--ca-file", "/nowhere", "--password-stdin")
	p.on("x\n").fails(exitUsage, "holds no certificate", "login", p.server, "--user", "x", "--ca-file", os.Args[0], "--password-stdin")
	p.on(adminPassword+"\n").fails(exitAway, "is it running", "login", "127.0.0.1:1", "--user", "admin", "--password-stdin")
	p.on(adminPassword+"\n").fails(exitFailed, "does not speak TLS", "login", "https://"+p.server, "--user", "admin", "--password-stdin")
	p.on(adminPassword+"\n").with("HOME=").fails(exitFailed, "set HOME or XDG_CONFIG_HOME", "login", p.server, "--user", "admin", "--password-stdin")
	p.with("HAVN_TOKEN=x").fails(exitUsage, "HAVN_TOKEN is set alone", "project", "list")
	p.with("HAVN_TOKEN=x", "HAVN_USER=admin").fails(exitUsage, "for which server", "project", "list")
	p.with("HAVN_TOKEN=x", "HAVN_USER=admin", "HAVN_SERVER="+p.server).fails(exitDenied, "has the token ended?", "project", "list")
	p.fails(exitDenied, "nobody is logged in", "logout", p.server) // serverOf knows it, the logins do not
}

func TestATokenThatHasEndedIsToldAndALogoutWithoutAServerToo(t *testing.T) {
	t.Parallel()
	c := spawn(t)
	p := admin(t, c)
	p.says("token create short --days 30 --output json", "havn_pat_")
	p.fails(exitFailed, "use another name", "token", "create", "short")
	p.fails(exitUsage, "--yes", "token", "delete", "short")
	p.says("token delete short --yes", "deleted")
	p.fails(exitAbsent, "havn token list", "token", "delete", "short", "--yes")
	var tokens []struct{ Name string }
	p.json(&tokens, "token", "list")
	p.fine("token", "delete", tokens[0].Name, "--yes") // the login's own
	p.fails(exitDenied, "log in again: havn login http://"+p.server, "project", "list")

	// One that ends by itself.
	var made struct{ Token string }
	body := fmt.Sprintf(`{"name":"brief","expires_at":%d}`, time.Now().Unix()+3)
	if err := json.Unmarshal(p.http(http.MethodPost, "/api/v2.0/users/1/tokens", "application/json", body, http.StatusCreated), &made); err != nil {
		t.Fatal(err)
	}
	brief := somebody(t, c).with("HAVN_SERVER="+p.server, "HAVN_USER=admin", "HAVN_TOKEN="+made.Token)
	brief.says("project list", "library")
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if code, _, _ := brief.run("project", "list"); code == exitDenied {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a token that has ended goes on")
		}
	}

	p.on(adminPassword+"\n").fine("login", p.server, "--user", "admin", "--password-stdin")
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.end(t)
	p.fails(exitAway, "is it running", "project", "list")
	p.fails(exitAway, "the login is forgotten", "logout")
	p.fails(exitDenied, "nobody is logged in anywhere", "project", "list")
}

func TestProjectsMembersAndUsersByTheCommandLine(t *testing.T) {
	t.Parallel()
	p := admin(t, spawn(t))
	p.says("project create team", "Project team is created.")
	p.fails(exitFailed, "conflict", "project", "create", "team")
	p.fails(exitFailed, "invalid", "project", "create", "TEAM")
	var made changed
	p.json(&made, "project", "create", "open", "--public", "--quota", "50GiB", "--set", "auto_scan=true")
	if made.Result != "created" || made.Kind != "project" || made.Name != "open" || made.ID == 0 {
		t.Errorf("%+v", made)
	}
	var projects []struct {
		Name     string
		Metadata map[string]string
	}
	p.json(&projects, "project", "list", "--query", "public=true", "--sort", "name")
	if len(projects) != 2 || projects[0].Name != "library" || projects[1].Metadata["auto_scan"] != "true" {
		t.Errorf("%+v", projects)
	}
	p.says("project list --sort -name", "NAME", "team")
	if _, out, errOut := p.run("project", "list", "--limit", "1"); strings.Count(out, "\n") != 2 || !strings.Contains(errOut, "2 more are not shown") {
		t.Errorf("%s%s", out, errOut)
	}
	p.fails(exitFailed, "invalid", "project", "list", "--query", "colour=red")
	p.says("project get open", "auto_scan", "true", "public")
	p.fails(exitAbsent, "not found", "project", "get", "nowhere")
	p.says("project update team --public --set severity=high", "updated")
	p.says("project get team", "severity", "high")
	p.fails(exitUsage, "told nothing", "project", "update", "team")
	p.fails(exitUsage, "--set", "project", "update", "team", "--set", "colour=red")
	p.fails(exitUsage, "write NAME=VALUE", "project", "update", "team", "--set", "x")
	p.fails(exitUsage, "takes PROJECT, and got 0 arguments", "project", "get")
	p.fails(exitUsage, "did you mean havn project list?", "project", "lst")

	p.on("Passw0rd-of-maria\n").says("user create maria --email maria@example.com --password-stdin", "User maria is created.")
	p.on("short\n").fails(exitFailed, "invalid", "user", "create", "otto", "--email", "o@example.com", "--password-stdin")
	p.asks("Passw0rd-of-otto\nPassw0rd-of-otti\n").fails(exitUsage, "not the same", "user", "create", "otto", "--email", "o@example.com")
	p.asks("Passw0rd-of-otto\nPassw0rd-of-otto\n").fine("user", "create", "otto", "--email", "o@example.com", "--admin")
	p.says("user list --query username=~ott", "otto", "yes")
	p.says("user update otto --admin=false --real-name Otto", "updated")
	var user struct {
		Realname, Email string
		Admin           bool `json:"sysadmin_flag"`
	}
	p.json(&user, "user", "get", "otto")
	if user.Realname != "Otto" || user.Email != "o@example.com" || user.Admin {
		t.Errorf("%+v", user)
	}
	p.fails(exitAbsent, "havn user list", "user", "get", "nobody")

	p.says("member create team maria --role developer", "created")
	p.fails(exitUsage, "use one of admin, maintainer", "member", "create", "team", "maria", "--role", "king")
	p.fails(exitFailed, "conflict", "member", "create", "team", "maria", "--role", "guest")
	p.fails(exitAbsent, "", "member", "create", "team", "nobody", "--role", "guest")
	p.says("member update team maria --role maintainer", "updated")
	var members []struct {
		Name string `json:"entity_name"`
		Role int64  `json:"role_id"`
	}
	p.json(&members, "member", "list", "team", "--name", "maria")
	if len(members) != 1 || members[0].Role != 4 {
		t.Errorf("%+v", members)
	}
	p.says("member list team", "maria", "maintainer", "admin")
	p.says("member get team maria", "user", "maintainer")
	p.fails(exitAbsent, "groups need --group", "member", "get", "team", "mari")

	// maria may what she may, and no more.
	maria := somebody(t, &child{log: &logged{}})
	maria.server = p.server
	maria.on("Passw0rd-of-maria\n").fine("login", p.server, "--user", "maria", "--password-stdin")
	maria.says("project list", "team", "open")
	maria.fails(exitDenied, "denied", "user", "list")
	maria.fails(exitDenied, "denied", "quota", "list")
	maria.fails(exitDenied, "denied", "project", "delete", "open", "--yes")
	maria.fails(exitDenied, "is no system administrator", "project", "create", "hers", "--quota", "1GiB")
	maria.fails(exitDenied, "denied", "project", "get", "nowhere")
	maria.on("Passw0rd-of-maria\nPassw0rd-of-maria-2\n").says("user set-password --password-stdin", "updated")
	maria.on("Passw0rd-of-maria\n").fails(exitDenied, "", "login", p.server, "--user", "maria", "--password-stdin")
	p.on("Passw0rd-of-maria-3\n").says("user set-password maria --password-stdin", "updated")
	p.says("token list --of maria", "havn login on")

	p.says("member delete team maria --yes", "deleted")
	p.fails(exitAbsent, "havn member list PROJECT", "member", "delete", "team", "maria", "--yes")
	p.says("user delete maria --yes", "deleted")
	p.says("quota get open", "50 GiB", "open")
	p.says("quota update team --storage 1GiB", "updated")
	p.says("quota list --sort -hard.storage", "PROJECT", "unlimited", "1 GiB")
	p.fails(exitUsage, "write it like 50GiB", "quota", "update", "team", "--storage", "much")
	p.fails(exitUsage, "write it like 50GiB", "quota", "update", "team")
	p.says("quota update team --storage unlimited", "updated")

	// What is not undone is asked for.
	p.fails(exitUsage, "say it with --yes", "project", "delete", "team")
	p.asks("n\n").fails(exitUsage, "nothing was done", "project", "delete", "team")
	p.asks("y\n").fine("project", "delete", "team")
	p.fails(exitAbsent, "not found", "project", "get", "team")
	p.says("audit list --query operation=delete", "TIME", "project", "team", "user", "maria")
	var lines []struct{ Operation string }
	p.json(&lines, "audit", "list", "--project", "open")
	if len(lines) == 0 || lines[0].Operation != "create" {
		t.Errorf("%+v", lines)
	}
}

func TestRobotsByTheCommandLine(t *testing.T) {
	t.Parallel()
	c := spawn(t)
	p := admin(t, c)
	p.fine("project", "create", "team")
	p.fails(exitFailed, "project team is there already", "project", "create", "team")
	var made struct{ Name, Secret string }
	p.json(&made, "robot", "create", "ci", "--project", "team", "--permission", "repository:pull", "--permission", "repository:push", "--permission", "project:read", "--days", "30", "--description", "pushes")
	if made.Name != "robot$team+ci" || made.Secret == "" {
		t.Errorf("%+v", made)
	}
	p.says("robot create mirror --permission *=repository:pull --permission /=user:list", "robot$mirror", "shown this once")
	var ends struct{ Duration int64 }
	p.json(&ends, "robot", "get", "mirror")
	if ends.Duration != 30 {
		t.Errorf("an account whose maker does not say how long it is good is good for %d days, and settings.robot_token_duration says 30", ends.Duration)
	}
	p.says("robot create forever --permission *=repository:pull --days -1", "good until: never")
	p.fails(exitUsage, "may do nothing", "robot", "create", "idle")
	p.fails(exitUsage, "write RESOURCE:ACTION", "robot", "create", "bad", "--permission", "repository:pull")
	p.fails(exitUsage, "write RESOURCE:ACTION", "robot", "create", "bad", "--project", "team", "--permission", "other=repository:pull")
	p.fails(exitFailed, "invalid", "robot", "create", "bad", "--project", "team", "--permission", "moon:land")
	p.fails(exitUsage, "--days 0", "robot", "create", "bad", "--project", "team", "--permission", "repository:pull", "--days", "0")
	p.says("robot list", "robot$mirror")
	p.says("robot list --project team --query name=~c", "robot$team+ci", "pushes")
	p.says("robot get ci --project team", "MAY IN team", "repository:push")
	p.says("robot get robot$team+ci --output json", `"resource": "repository"`)
	p.fails(exitAbsent, "--project says of which project", "robot", "get", "ci")

	// It logs in with its secret, which is kept as it is: a robot account has no tokens.
	ci := somebody(t, c)
	ci.on(made.Secret+"\n").fine("login", p.server, "--user", made.Name, "--password-stdin")
	ci.says("project get team", "team")
	ci.fails(exitDenied, "denied", "project", "delete", "team", "--yes")

	p.says("robot update ci --project team --enabled=false", "updated")
	ci.fails(exitDenied, "log in again", "project", "get", "team")
	p.says("robot update ci --project team --enabled --permission project:read --days -1 --description reads", "updated")
	p.says("robot get ci --project team", "never", "reads", "project:read")
	ci.says("project get team", "team")
	p.fails(exitUsage, "told nothing", "robot", "update", "ci", "--project", "team")
	var again rotatedRobot
	p.json(&again, "robot", "rotate", "ci", "--project", "team")
	if again.Secret == "" || again.Secret == made.Secret {
		t.Errorf("%+v", again)
	}
	ci.fails(exitDenied, "log in again", "project", "get", "team")
	ci.with("HAVN_SERVER="+p.server, "HAVN_USER="+made.Name, "HAVN_TOKEN="+again.Secret).says("project get team", "team")
	ci.says("logout", "Logged out")
	p.says("robot delete ci --project team --yes", "deleted")
	p.fails(exitAbsent, "havn robot list", "robot", "delete", "ci", "--project", "team", "--yes")
}

func TestRepositoriesArtifactsTagsAndLabelsByTheCommandLine(t *testing.T) {
	t.Parallel()
	p := admin(t, spawn(t))
	one := p.push("team/deep/app", "one", "1")
	two := p.push("team/deep/app", "two", "2")
	p.says("repo list team", "team/deep/app")
	var repositories []struct {
		Name  string
		Count int64 `json:"artifact_count"`
	}
	p.json(&repositories, "repo", "list", "--query", "name=~app")
	if len(repositories) != 1 || repositories[0].Count != 2 {
		t.Errorf("%+v", repositories)
	}
	p.says("repo update team/deep/app --description Shop", "updated")
	p.says("repo get team/deep/app", "Shop", "ARTIFACTS    2")
	p.fails(exitAbsent, "not found", "repo", "get", "team/none")
	p.fails(exitUsage, "repository name", "repo", "get", "team/NONE")

	p.says("artifact list team/deep/app", one, two, "IMAGE")
	p.says("artifact list team/deep/app --query tags=1", one)
	p.says("artifact get team/deep/app:1", one, "SIZE")
	p.says("artifact get team/deep/app@"+two+" --output json", `"architecture": "arm64"`)
	p.fails(exitAbsent, "not found", "artifact", "get", "team/deep/app:9")
	p.fails(exitUsage, "names no artifact", "artifact", "get", "team/deep/app")
	p.fails(exitUsage, "digest", "artifact", "get", "team/deep/app@sha256:00")

	p.says("label create tested --project team --color #0065AB", "created")
	p.says("label create global", "created")
	p.says("label list --project team", "tested", "#0065AB")
	p.says("label update tested --project team --name passed --description Tested", "updated")
	p.says("label get passed --project team", "#0065AB", "Tested")
	p.says("artifact label team/deep/app:1 passed", "updated")
	p.says("artifact label team/deep/app:1 global", "updated")
	p.says("artifact get team/deep/app:1", "passed", "global")
	p.says("artifact unlabel team/deep/app:1 global", "updated")
	p.fails(exitAbsent, "havn label list", "artifact", "label", "team/deep/app:1", "absent")
	p.fails(exitAbsent, "", "artifact", "unlabel", "team/deep/app:1", "global")
	p.says("label delete global --yes", "deleted")
	p.fails(exitUsage, "told nothing", "label", "update", "passed", "--project", "team")
	p.fine("repo", "update", "team/deep/app", "--description", "red\nand 100% + more")
	p.says("repo get team/deep/app", "red and 100% + more\n") // nothing that others write reaches the terminal's ear
	p.fine("label", "create", "50% + a=b", "--project", "team")
	p.says("label list --project team --query name=~%", "50% + a=b")
	if out := p.fine("label", "get", "50% + a=b", "--project", "team"); !strings.Contains(out, "50% + a=b") {
		t.Error(out)
	}

	p.says("tag create team/deep/app:1 stable", "Tag team/deep/app:stable is created.")
	var tags []struct{ Name, Digest string }
	p.json(&tags, "tag", "list", "team/deep/app")
	if len(tags) != 3 || tags[0].Name != "1" || tags[0].Digest != one || tags[1].Digest != two || tags[2].Digest != one {
		t.Errorf("%+v", tags)
	}
	p.json(&tags, "tag", "list", "team/deep/app:stable", "--sort", "name")
	if len(tags) != 2 || tags[1].Name != "stable" || tags[1].Digest != one {
		t.Errorf("%+v", tags)
	}
	p.fails(exitUsage, "name an artifact", "tag", "list", "team/deep/app", "--sort", "name")
	p.fails(exitUsage, "--limit -1", "tag", "list", "team/deep/app", "--limit", "-1")
	if _, out, errOut := p.run("tag", "list", "team/deep/app", "--limit", "2"); strings.Count(out, "\n") != 3 || !strings.Contains(errOut, "1 more are not shown") {
		t.Errorf("%s%s", out, errOut)
	}
	p.fails(exitAbsent, "not found", "tag", "list", "team/none")
	p.fails(exitUsage, "havn artifact delete", "tag", "delete", "team/deep/app@"+one, "--yes")
	p.says("tag delete team/deep/app:stable --yes", "deleted")
	p.fails(exitAbsent, "not found", "tag", "delete", "team/deep/app:stable", "--yes")

	p.fine("project", "create", "production")
	p.says("artifact copy team/deep/app:1 production/app", "created")
	p.says("artifact get production/app:1", one)
	p.fails(exitFailed, "delete them first", "project", "delete", "production", "--yes")
	p.says("artifact delete production/app:1 --yes", "deleted")
	p.says("artifact delete team/deep/app@"+two+" --yes", "deleted")
	p.says("repo delete team/deep/app --yes", "deleted")
	p.fails(exitAbsent, "not found", "artifact", "list", "team/deep/app")
}
