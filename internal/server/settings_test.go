package server_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ask sends a request as admin. A body that begins with a brace is JSON.
func (r *running) ask(t *testing.T, method, path, body string) answer {
	t.Helper()
	kind := "application/octet-stream"
	if strings.HasPrefix(body, "{") {
		kind = "application/json"
	}
	a, err := do(t, http.DefaultClient, method, r.URL()+path, strings.NewReader(body), append(basic(), "Content-Type", kind)...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// set changes settings as administrators do.
func (r *running) set(t *testing.T, settings string) {
	t.Helper()
	if a := r.ask(t, http.MethodPut, "/api/v2.0/configurations", settings); a.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", settings, a.Status, a.body)
	}
}

// push pushes a blob in one request.
func (r *running) push(t *testing.T, repo, blob string) answer {
	t.Helper()
	return r.ask(t, http.MethodPost, fmt.Sprintf("/v2/%s/blobs/uploads/?digest=sha256:%x", repo, sha256.Sum256([]byte(blob))), blob)
}

// pushImage pushes an image without layers under a tag.
func (r *running) pushImage(t *testing.T, repo, tag string) {
	t.Helper()
	const config = "{}"
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%x","size":2},"layers":[]}`, sha256.Sum256([]byte(config)))
	if a := r.push(t, repo, config); a.StatusCode != http.StatusCreated {
		t.Fatalf("push: %s %s", a.Status, a.body)
	}
	a, err := do(t, http.DefaultClient, http.MethodPut, r.URL()+"/v2/"+repo+"/manifests/"+tag, strings.NewReader(manifest), append(basic(), "Content-Type", "application/vnd.oci.image.manifest.v1+json")...)
	if err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("push: %v %v %s", err, a.Response, a.body)
	}
}

// is wants a status, and a text in the body.
func (a answer) is(t *testing.T, status int, text string) {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(a.body, text) {
		t.Errorf("%s %s: %s %s, want %d and %q", a.Request.Method, a.Request.URL, a.Status, a.body, status, text)
	}
}

func TestProjectsGetTheQuotaThatAdministratorsSet(t *testing.T) {
	t.Parallel()
	r := start(t)
	hard := func(project string) string { return `"hard":{"storage":` + project + `}` }
	make := func(name string) {
		t.Helper()
		r.ask(t, http.MethodPost, "/api/v2.0/projects", `{"project_name":"`+name+`"}`).is(t, http.StatusCreated, "")
	}
	make("before")
	r.set(t, `{"storage_per_project":100}`)
	make("with")
	r.ask(t, http.MethodGet, "/api/v2.0/projects/before/summary", "").is(t, http.StatusOK, hard("-1"))
	r.ask(t, http.MethodGet, "/api/v2.0/projects/with/summary", "").is(t, http.StatusOK, hard("100"))
	r.push(t, "with/app", strings.Repeat("x", 200)).is(t, http.StatusForbidden, "DENIED")
	r.push(t, "pushed/app", strings.Repeat("x", 200)).is(t, http.StatusForbidden, "DENIED") // the project is made by the push
	r.set(t, `{"storage_per_project":-1}`)
	make("without")
	r.ask(t, http.MethodGet, "/api/v2.0/projects/without/summary", "").is(t, http.StatusOK, hard("-1"))
	r.ask(t, http.MethodGet, "/api/v2.0/projects/with/summary", "").is(t, http.StatusOK, hard("100"))
	r.ask(t, http.MethodPut, "/api/v2.0/configurations", `{"storage_per_project":0}`).is(t, http.StatusBadRequest, "BAD_REQUEST")
}

func TestQuotasThatAreSwitchedOffRefuseNothing(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.set(t, `{"storage_per_project":100}`)
	r.push(t, "team/app", "small").is(t, http.StatusCreated, "")
	r.push(t, "team/app", strings.Repeat("x", 200)).is(t, http.StatusForbidden, "DENIED")
	r.set(t, `{"quota_per_project_enable":false}`)
	r.push(t, "team/app", strings.Repeat("x", 200)).is(t, http.StatusCreated, "")
	r.push(t, "other/app", strings.Repeat("x", 200)).is(t, http.StatusCreated, "")
	r.ask(t, http.MethodGet, "/api/v2.0/projects/team/summary", "").is(t, http.StatusOK, `"used":{"storage":205}`)
	r.ask(t, http.MethodGet, "/api/v2.0/projects/other/summary", "").is(t, http.StatusOK, `"hard":{"storage":-1}`)
	r.set(t, `{"quota_per_project_enable":true}`)
	r.push(t, "team/app", "more").is(t, http.StatusForbidden, "DENIED")
	r.push(t, "other/app", "more").is(t, http.StatusCreated, "")
}

func TestNothingIsChangedWhileTheRegistryIsReadOnly(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.pushImage(t, "library/app", "1")
	begun := strings.TrimPrefix(r.upload(t), r.URL())
	r.set(t, `{"read_only":true}`)
	for _, refused := range [][3]string{
		{http.MethodPost, "/v2/library/app/blobs/uploads/", ""},
		{http.MethodPatch, begun, "some"},
		{http.MethodDelete, begun, ""},
		{http.MethodPut, "/v2/library/app/manifests/2", "{}"},
		{http.MethodDelete, "/v2/library/app/manifests/1", ""},
		{http.MethodDelete, "/v2/library/app/blobs/sha256:" + emptyHash, ""},
		{http.MethodPost, "/api/v2.0/projects", `{"project_name":"new"}`},
		{http.MethodDelete, "/api/v2.0/projects/library/repositories/app", ""},
		{http.MethodPut, "/api/v2.0/projects/library/repositories/app", `{"description":"x"}`},
		{http.MethodPost, "/api/v2.0/labels", `{"name":"x","scope":"g"}`},
	} {
		r.ask(t, refused[0], refused[1], refused[2]).is(t, http.StatusForbidden, `"code":"DENIED"`)
	}
	if a := get(t, r.URL()+"/api/v2.0/users"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("who is not let in: %s", a.Status)
	}
	r.ask(t, http.MethodGet, "/v2/library/app/manifests/1", "").is(t, http.StatusOK, "schemaVersion")
	r.ask(t, http.MethodGet, begun, "").is(t, http.StatusNoContent, "")
	r.ask(t, http.MethodGet, "/api/v2.0/projects", "").is(t, http.StatusOK, "library")
	r.ask(t, http.MethodGet, "/api/v2.0/systeminfo", "").is(t, http.StatusOK, `"read_only":true`)
	a, err := do(t, http.DefaultClient, http.MethodPost, r.URL()+"/service/token", strings.NewReader("grant_type=password&username=admin&password="+password), "Content-Type", "application/x-www-form-urlencoded")
	if err != nil || a.StatusCode != http.StatusOK {
		t.Errorf("a login: %v %s", err, a.body)
	}
	r.set(t, `{"read_only":false}`)
	r.ask(t, http.MethodPatch, begun, "some").is(t, http.StatusAccepted, "")
	r.ask(t, http.MethodDelete, "/v2/library/app/manifests/1", "").is(t, http.StatusAccepted, "")
}

func TestTokensLiveAsLongAsAdministratorsSet(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_SETTINGS_READ_ONLY=false")
	life := func() int {
		t.Helper()
		var token struct {
			ExpiresIn int `json:"expires_in"`
		}
		a := r.ask(t, http.MethodGet, "/service/token?service=harbor-registry", "")
		if err := json.Unmarshal([]byte(a.body), &token); err != nil {
			t.Fatalf("%v: %s", err, a.body)
		}
		return token.ExpiresIn
	}
	if got := life(); got != 30*60 {
		t.Errorf("%d seconds at first", got)
	}
	r.set(t, `{"token_expiration":7}`)
	if got := life(); got != 7*60 {
		t.Errorf("%d seconds of the 7 minutes that were set", got)
	}
	r.ask(t, http.MethodGet, "/api/v2.0/configurations", "").is(t, http.StatusOK, `"token_expiration":{"value":7,"editable":true}`)
	r.ask(t, http.MethodPut, "/api/v2.0/configurations", `{"token_expiration":0}`).is(t, http.StatusBadRequest, "BAD_REQUEST")
}

func TestOfPullsOnlyThatIsNotedWhichAdministratorsWant(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.pushImage(t, "library/app", "1")
	pulled := func(count, time string) {
		t.Helper()
		r.ask(t, http.MethodGet, "/v2/library/app/manifests/1", "").is(t, http.StatusOK, "")
		r.FoldPulls(t)
		repository := r.ask(t, http.MethodGet, "/api/v2.0/projects/library/repositories/app", "")
		artifact := r.ask(t, http.MethodGet, "/api/v2.0/projects/library/repositories/app/artifacts/1", "")
		if counted := strings.Contains(repository.body, `"pull_count":`+count+","); !counted {
			t.Errorf("want a count of %q: %s", count, repository.body)
		}
		if noted := !strings.Contains(artifact.body, `"pull_time":"0001`); noted != (time != "") {
			t.Errorf("want a time %q: %s", time, artifact.body)
		}
	}
	r.set(t, `{"pull_count_update_disable":true,"pull_time_update_disable":true}`)
	pulled("0", "")
	r.set(t, `{"pull_count_update_disable":false}`)
	pulled("1", "")
	r.set(t, `{"pull_count_update_disable":true,"pull_time_update_disable":false}`)
	pulled("1", "now")
	r.set(t, `{"pull_count_update_disable":false}`)
	pulled("2", "now")
}

func TestLinesOfTheAuditLogAreKeptAsLongAsAdministratorsSet(t *testing.T) {
	t.Parallel()
	r := start(t)
	lines := func() string {
		t.Helper()
		return r.ask(t, http.MethodGet, "/api/v2.0/audit-logs?page_size=1", "").Header.Get("X-Total-Count")
	}
	purge := func() {
		t.Helper()
		if err := r.PurgeAudit(t.Context()); err != nil {
			t.Error(err)
		}
	}
	r.ask(t, http.MethodPost, "/api/v2.0/projects", `{"project_name":"made"}`).is(t, http.StatusCreated, "")
	if err := r.AgeAudit(t.Context(), 25*time.Hour); err != nil {
		t.Fatal(err)
	}
	purge()
	if got := lines(); got != "1" {
		t.Errorf("%s lines, of which none may be removed", got)
	}
	r.set(t, `{"audit_log_retention_days":2}`)
	purge()
	if got := lines(); got != "2" { // with that of the setting
		t.Errorf("%s lines are left of two that are young", got)
	}
	r.set(t, `{"audit_log_retention_days":1}`)
	purge()
	if got := lines(); got != "2" { // those of the settings
		t.Errorf("%s lines are left, of three of which one is old", got)
	}
}

func TestTheAuditLogHasWhatAdministratorsWant(t *testing.T) {
	t.Parallel()
	r := start(t)
	collector, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := collector.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	heard := make(chan string, 100)
	go func() {
		conn, acceptErr := collector.Accept()
		if acceptErr != nil {
			return
		}
		for in := bufio.NewReader(conn); ; {
			part, readErr := in.ReadString('}')
			if readErr != nil {
				return
			}
			heard <- part
		}
	}()
	logged := func(q string) string {
		t.Helper()
		return r.ask(t, http.MethodGet, "/api/v2.0/audit-logs?q="+q, "").Header.Get("X-Total-Count")
	}
	r.set(t, `{"disabled_audit_log_event_types":"create_label","pull_audit_log_disable":true}`)
	r.pushImage(t, "library/app", "1")
	r.ask(t, http.MethodGet, "/v2/library/app/manifests/1", "").is(t, http.StatusOK, "")
	r.ask(t, http.MethodPost, "/api/v2.0/labels", `{"name":"left-out","scope":"g"}`).is(t, http.StatusCreated, "")
	await(t, "the push in the log", func() bool { return logged("operation=create,resource_type=artifact") == "1" })
	if pulls, labels := logged("operation=pull"), logged("resource_type=label"); pulls != "0" || labels != "0" {
		t.Errorf("%s pulls and %s labels are in the log", pulls, labels)
	}
	r.set(t, `{"disabled_audit_log_event_types":"","audit_log_forward_endpoint":"`+collector.Addr().String()+`","skip_audit_log_database":true}`)
	r.ask(t, http.MethodPost, "/api/v2.0/labels", `{"name":"sent-on","scope":"g"}`).is(t, http.StatusCreated, "")
	for deadline := time.After(patience); ; {
		select {
		case line := <-heard:
			if strings.Contains(line, `"kind":"label"`) && strings.Contains(line, "sent-on") {
				if n := logged("resource_type=label"); n != "0" {
					t.Errorf("%s labels are in the database's log", n)
				}
				return
			}
		case <-deadline:
			t.Fatal("nothing was sent")
		}
	}
}

func TestRobotsAreCalledAsAdministratorsWant(t *testing.T) {
	t.Parallel()
	r := start(t)
	body := `{"name":"ci","level":"system","duration":-1,"secret":"Of-its-own-1","permissions":[{"kind":"project","namespace":"*","access":[{"resource":"repository","action":"pull"}]}]}`
	r.ask(t, http.MethodPost, "/api/v2.0/robots", body).is(t, http.StatusCreated, `"name":"robot$ci"`)
	logsIn := func(name string) bool {
		t.Helper()
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(name, "Of-its-own-1")
		return get(t, r.URL()+"/v2/", "Authorization", req.Header.Get("Authorization")).StatusCode == http.StatusOK
	}
	if !logsIn("robot$ci") {
		t.Error("it does not log in")
	}
	r.set(t, `{"robot_name_prefix":"bot+"}`)
	r.ask(t, http.MethodGet, "/api/v2.0/robots", "").is(t, http.StatusOK, `"name":"bot+ci"`)
	if logsIn("robot$ci") || !logsIn("bot+ci") {
		t.Error("it logs in under its former name")
	}
}
