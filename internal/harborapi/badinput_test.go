package harborapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/harborapi"
)

// metacharacters are texts that mean something to SQL, to LDAP, to a shell, to a page or to a terminal.
var metacharacters = []string{`'; DROP TABLE users; --`, `" OR ""="`, `*)(uid=*))(|(uid=*`, `\00\2a`, `$(id)`, `<script>alert(1)</script>`, "a\x1b[31m\r\nb\x7f", "\u202e\ufeff\U0010ffff", "../../etc/passwd", "%00%2e"}

// refusedWell wants what every refusal is: no fault of the server's, and in Harbor's form, in a text that can be shown.
func (a *answer) refusedWell() {
	a.Helper()
	if a.status >= http.StatusInternalServerError && a.status != http.StatusNotImplemented {
		a.Errorf("%.200s: %d %.500s", a.asked, a.status, a.body)
	}
	if !utf8.Valid(a.body) {
		a.Errorf("%.200s: not UTF-8: %.500q", a.asked, a.body)
	}
	if a.status == http.StatusNotFound && strings.HasSuffix(a.asked, "/ldap/users/import") { // lists those who could not be, as in Harbor
		return
	}
	if a.status >= http.StatusBadRequest && a.Method() != http.MethodHead {
		var b harborapi.Errors
		if err := json.Unmarshal(a.body, &b); err != nil || len(b.Errors) != 1 || b.Errors[0].Code == "" || b.Errors[0].Message == "" || len(a.body) > 8<<10 {
			a.Errorf("%.200s: %d %.1000s", a.asked, a.status, a.body)
		}
	}
}

// TestEveryParameterOfAPathTakesRubbish puts into every parameter of every path what nothing is called by. The caller may do everything; nothing comes of it.
func TestEveryParameterOfAPathTakesRubbish(t *testing.T) {
	t.Parallel()
	s := start(t)
	mine := s.furnish("mine", "")
	rubbish := []string{"-1", "0", "abc", "1e3", " 1", "0x10", "9223372036854775807", "9223372036854775808", "-9223372036854775809", strings.Repeat("9", 400), strings.Repeat("x", 5000), "%00", "%ff%fe", "%2F", "%252F", "%25zz", "ü", "a b", "."}
	changed := s.watch()
	for _, o := range harborapi.Operations() {
		for _, m := range parameter.FindAllStringSubmatch(o.Path, -1) {
			name := strings.Replace(m[1], "project_name_or_id", "project_name", 1)
			if o.ID == "CopyArtifact" && name == "repository_name" { // some of it could be a new repository's
				continue
			}
			texts := slices.Concat(rubbish, metacharacters)
			if !o.Works() {
				texts = texts[:3]
			}
			for _, text := range texts {
				if !strings.Contains(text, "%") {
					text = url.PathEscape(text)
				}
				p := mine
				if o.Method == http.MethodDelete { // "." ends in the path above
					p = mine.with("reference", "absent").with("repository_name", "absent").with("user_id", absent)
				}
				a := s.call(o, p, func(*http.Request) {}, place{m[1]: text, name: text})
				if a.refusedWell(); !o.Works() && a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed && o.Method != http.MethodHead {
					a.is(http.StatusNotImplemented)
				}
				if a.status < http.StatusBadRequest && o.Works() && text != "." && !emptyThere(o, name) {
					t.Errorf("%s with %s %.40q: %d %.300s", o.ID, name, text, a.status, a.body)
				}
				if all := changed.since(); len(all) > 0 {
					t.Errorf("%s with %s %.40q wrote %v", o.ID, name, text, all)
				}
			}
		}
	}
	s.quiet()
}

// bodies are what a field of a body is replaced by.
func bodies() map[string]any {
	all := map[string]any{
		"null": nil, "true": true, "a number": -1, "a fraction": 1.5, "an object": map[string]any{"a": map[string]any{}}, "an array": []any{[]any{}, 1, "x"}, "a large number": json.Number("9223372036854775808"),
		"a huge number": json.Number("1e400"), "an empty text": "", "spaces": "   ", "a long text": strings.Repeat("ä", 100_000), "control characters": "a\x01\x02\tb", "a text of digits": "4711",
	}
	for i := range 2 { // halves: one is longer than some fields are
		all[fmt.Sprint("metacharacters ", i)] = strings.Join(metacharacters[i*len(metacharacters)/2:(i+1)*len(metacharacters)/2], " ")
	}
	all["a filter"] = metacharacters[2]
	return all
}

// replaced calls a function with a body for each field of it, at whatever depth, that has another value there.
func replaced(body any, value any, path string, do func(path string)) {
	switch b := body.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(b)) {
			was := b[k]
			replaced(was, value, path+"."+k, do)
			b[k] = value
			do(path + "." + k)
			b[k] = was
		}
	case []any:
		for i, was := range b {
			replaced(was, value, fmt.Sprintf("%s[%d]", path, i), do)
			b[i] = value
			do(fmt.Sprintf("%s[%d]", path, i))
			b[i] = was
		}
	}
}

// TestEveryBodyTakesRubbish sends as an administrator what no body is, and, for every field of a good body, what the field is not.
func TestEveryBodyTakesRubbish(t *testing.T) {
	t.Parallel()
	for _, o := range harborapi.Operations() {
		if !o.HasBody() {
			continue
		}
		t.Run(o.ID, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			p := s.furnish("mine", "")
			s.user("spare")
			good := p.fill(details[o.ID].body)
			at := p.fill(o.Path, details[o.ID].at)
			changed := s.watch()
			send := func(what string, body any, options ...with) *answer {
				t.Helper()
				a := s.do(o.Method, at, body, options...)
				a.refusedWell()
				if all := changed.since(); len(all) > 0 && a.status >= http.StatusBadRequest {
					t.Errorf("%s: %d %s, and wrote %v", what, a.status, a.body, all)
				}
				return a
			}
			deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
			for what, text := range map[string]string{
				"nothing": "", "half": "{", "a text": `"text"`, "an array": "[1]", "two": good + good, "a NUL": `{"a":"\u0000"}`, "deep arrays": deep, "a deep field that is not known": `{"nothing":` + deep + `}`,
				"deep objects": strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), "a byte order mark": "\ufeff" + good, "no UTF-8 around": "\xff" + good,
			} {
				send(what, text).is(http.StatusUnprocessableEntity, "UNPROCESSABLE_ENTITY")
			}
			send("1 MiB", `{"a":"`+strings.Repeat("x", 1<<20)+`"}`).is(http.StatusRequestEntityTooLarge, "REQUEST_ENTITY_TOO_LARGE")
			for _, kind := range []string{"text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data", "application/json/x", "application/xml"} {
				send(kind, good, header("Content-Type", kind)).is(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
			}
			for what, text := range map[string]string{"null": "null", "no field": "{}", "invalid UTF-8": `{"name":"` + "\xff\xc0" + `","description":"` + "\xed\xa0\x80" + `"}`, "half a surrogate": `{"name":"\ud800","username":"\udc00x"}`, "fields twice": strings.Replace(good, "{", `{"name":"twice","name":"again",`, 1)} {
				send(what, text)
			}
			var body map[string]any
			s.ok(json.Unmarshal([]byte(good), &body))
			if o.ID == "updateConfigurations" {
				for _, k := range config.LiveKeys() {
					body[k.Name] = map[config.LiveKind]any{config.LiveText: "x", config.LiveNumber: 1, config.LiveBool: false}[k.Kind]
				}
			}
			values := bodies()
			for i, what := range slices.Sorted(maps.Keys(values)) {
				field := 0
				replaced(body, values[what], "", func(path string) {
					only := body
					if field++; o.ID == "updateConfigurations" && (field+i)%5 > 0 { // it has some 60 fields, and storing settings takes long
						return
					}
					if o.ID == "updateConfigurations" { // one at a time: they go together or not at all
						key := strings.TrimPrefix(path, ".")
						only = map[string]any{key: body[key]}
					}
					send(path+" is "+what, only)
				})
			}
			body["nobody_knows_this"], body["__proto__"] = map[string]any{"a": []any{1, 2}}, "x"
			a := send("fields that are not known", body)
			if a.status == http.StatusUnprocessableEntity && !strings.HasSuffix(o.Path, "/metadatas/") && !strings.HasSuffix(o.Path, "{meta_name}") { // whose fields are all texts
				t.Errorf("fields that are not known are refused: %s", a.body)
			}
			s.readable(p)
			s.quiet()
		})
	}
}

// readable wants everything to be readable, whatever was stored.
func (s *service) readable(p place) {
	s.Helper()
	for _, path := range []string{
		"/projects", "/projects/mine", "/projects/mine/summary", "/projects/mine/members", "/projects/mine/metadatas", "/labels?scope=g", "/labels?scope=p&project_id={project}", "/robots",
		"/robots?q=Level%3Dproject%2CProjectID%3D{project}", "/users", "/usergroups", "/quotas", "/configurations", "/audit-logs?page_size=100", "/auditlog-exts?page_size=100", "/repositories", "/systeminfo",
		"/projects/mine/repositories/app/artifacts?with_label=true&with_tag=true&with_accessory=true", "/search?q=a", "/statistics",
	} {
		a := s.get(p.fill(path)).is(http.StatusOK)
		if !json.Valid(a.body) || !utf8.Valid(a.body) {
			s.Errorf("%s: %.1000q", path, a.body)
		}
	}
}

// emptyThere reports whether an operation answers that there is nothing for a parameter that names nothing: as in Harbor, nothing was pushed to a repository that is not there, and metadata that
// are not set are none.
func emptyThere(o harborapi.Operation, parameter string) bool {
	return o.ID == "listArtifacts" && parameter == "repository_name" || o.ID == "getProjectMetadata" && parameter == "meta_name"
}

// questions are what is asked of every list: each form with each field that a list has, and rubbish.
func questions() []string {
	fields := []string{
		"name", "owner", "public", "project_id", "ProjectID", "Level", "username", "email", "sysadmin_flag", "digest", "tags", "labels", "op_time", "creation_time", "operation", "resource", "resource_type", "push_time",
		"media_type", "type", "id", "size", "update_time", "password_hash", "1",
	}
	forms := []string{"x", "1", "~x", "~", "{}", "{a b}", "{1}", "()", "(a b)", "(1 2)", "[]", "[~]", "[a~]", "[1~2]", "[1~2~3]", `\`, `\x`, "{", "(", "[", "true", "nil", "*", "'", `"`, "%", "~%", "~_", "9223372036854775808", "2026-01-01T00:00:00", "\x00", "\xff", "ü"}
	all := []string{"", "=", ",", "x", "=x", "name", "name=", ",,name=x", strings.Repeat("name=x,", 30), strings.Repeat("x", 5000), "name=" + strings.Repeat("x", 4000), "name={" + strings.Repeat("x ", 200) + "}"}
	for _, f := range fields {
		for _, form := range forms {
			all = append(all, f+"="+form)
		}
	}
	return append(all, metacharacters...)
}

// listed are the operations that answer lists.
func listed() (all []harborapi.Operation) {
	for _, o := range harborapi.Operations() {
		if o.Works() && o.Method == http.MethodGet {
			all = append(all, o)
		}
	}
	return all
}

func TestEveryListTakesEveryQuestion(t *testing.T) {
	t.Parallel()
	s := start(t)
	mine := s.furnish("mine", "")
	changed := s.watch()
	ask := func(o harborapi.Operation, query url.Values) (status int) {
		t.Helper()
		a := s.do(o.Method, mine.fill(o.Path)+"?"+mine.fill(details[o.ID].query)+"&"+query.Encode(), nil)
		a.refusedWell()
		return a.status
	}
	for _, o := range listed() {
		all := questions()
		if ask(o, url.Values{"q": {","}}) < http.StatusBadRequest { // it does not read q
			all = all[:20]
		}
		for i, q := range all {
			ask(o, url.Values{"q": {q}})
			if i%8 == 0 { // it knows names alone: what they are asked for makes no difference
				ask(o, url.Values{"sort": {strings.TrimPrefix(q, "name=")}})
			}
		}
		for _, number := range []string{"-1", "0", "x", "1.5", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "2147483649", "", "\x00", "'"} {
			ask(o, url.Values{"page": {number}})
			ask(o, url.Values{"page_size": {number}})
			ask(o, url.Values{"page": {number}, "page_size": {"100"}})
		}
		for _, name := range []string{"name", "scope", "project_id", "username", "email", "entityname", "groupname", "groupdn", "ldap_group_dn", "group_name", "reference", "reference_id", "public", "owner", "with_tag", "latest_in_repository", "relative", "from"} {
			for _, text := range slices.Concat(metacharacters, []string{"\x00", "\xff", strings.Repeat("x", 5000), "-1"}) {
				ask(o, url.Values{name: {text}})
			}
		}
	}
	if all := changed.since(); len(all) > 0 {
		t.Errorf("questions wrote %v", all)
	}
	s.quiet()
}

// FuzzQuestions asks lists through the whole API, down to the database.
func FuzzQuestions(f *testing.F) {
	for _, seed := range []string{"name=~x", "public={}", "digest={}", "ProjectID={},Level=project", "labels=(1 2)", "op_time=[~]", `tags=\`} {
		f.Add(uint8(0), seed, "-name", "1", "10")
	}
	s := start(f)
	mine := s.furnish("mine", "")
	lists := listed()
	f.Fuzz(func(t *testing.T, which uint8, q, sort, page, size string) {
		o := lists[int(which)%len(lists)]
		query := url.Values{"q": {q}, "sort": {sort}, "page": {page}, "page_size": {size}}
		here := &service{TB: t, url: s.url, log: s.log}
		here.do(o.Method, mine.fill(o.Path)+"?"+mine.fill(details[o.ID].query)+"&"+query.Encode(), nil).refusedWell()
	})
}

func TestAnAdministratorIsToldWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s := start(t)
	mine := s.furnish("mine", "")
	changed := s.watch()
	for _, o := range harborapi.Operations() {
		if !o.Works() {
			continue
		}
		for _, m := range parameter.FindAllStringSubmatch(o.Path, -1) {
			name := strings.Replace(m[1], "project_name_or_id", "project_name", 1)
			want := http.StatusNotFound
			switch {
			case o.ID == "CopyArtifact" && name == "repository_name": // makes it
				continue
			case emptyThere(o, name):
				want = http.StatusOK
			case name == "addition", o.ID == "updateProjectMetadata" && name == "meta_name":
				want = http.StatusBadRequest
			}
			if o.ID == "createUserToken" { // nobody makes somebody else's, whether he is there or not
				want = http.StatusForbidden
			}
			if a := s.call(o, mine, func(*http.Request) {}, place{m[1]: nowhere[name], name: nowhere[name]}); a.status != want {
				t.Errorf("%s without %s: %d %s, want %d", o.ID, name, a.status, a.body, want)
			} else {
				a.is(want)
			}
		}
		if all := changed.since(); len(all) > 0 && o.Method != http.MethodGet {
			t.Errorf("%s wrote %v", o.ID, all)
		}
	}
}
