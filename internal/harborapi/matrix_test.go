package harborapi_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/harborapi"
	"github.com/havn-registry/havn/internal/sqldb"
)

// hidden is part of the names of all that is in a project which most callers may not see.
const hidden = "zqx"

// place is a project with one of everything, by the names that the document gives to parameters.
type place map[string]string

// nowhere is where nothing is.
var nowhere = place{
	"project_name": "absent", "repository_name": "absent", "reference": "absent", "digest": "sha256:" + strings.Repeat("0", 64), "tag_name": "absent", "meta_name": "absent", "addition": "absent",
	"project": absent, "mid": absent, "id": absent, "label_id": absent, "robot_id": absent, "group_id": absent, "user_id": absent, "token_id": absent, "session_id": "absent", "robot": "absent",
}

// absent is a number that nothing has.
const absent = "4711"

// parameter finds the parameters of a path, or of a template of a body.
var parameter = regexp.MustCompile(`\{(\w+)\}`)

// fill answers a template with what is in a place, or in another one that counts before it.
func (p place) fill(template string, first ...place) string {
	return parameter.ReplaceAllStringFunc(template, func(m string) string {
		name := strings.Trim(m, "{}")
		for _, other := range first {
			if v, ok := other[name]; ok {
				return v
			}
		}
		if name == "project_name_or_id" {
			name = "project_name"
		}
		return cmp.Or(p[name], absent)
	})
}

// furnish makes one of everything in a project, and a user and a group besides. mark is in the name of each.
func (s *service) furnish(project, mark string) place {
	s.Helper()
	d := s.push(project+"/app"+mark, image(`,"annotations":{"of":"`+project+`"}`), "1", "2")
	p := place{"project_name": project, "repository_name": "app" + mark, "reference": "1", "digest": d.String(), "tag_name": "1", "meta_name": "auto_scan", "addition": "build_history"}
	var number int64
	s.ok(s.db.Row(s.Context(), "SELECT id FROM projects WHERE name = ?", project).Scan(&number))
	p["project"], p["id"] = fmt.Sprint(number), fmt.Sprint(number)
	make := func(name, path string, body any) { p[name] = fmt.Sprint(s.do(http.MethodPost, path, body).id()) }
	make("label_id", "/labels", map[string]any{"name": "label" + mark, "scope": "p", "project_id": number})
	make("user_id", "/users", map[string]any{"username": "user" + mark, "password": secret, "email": "user" + mark + "@example.com", "realname": "U"})
	make("group_id", "/usergroups", map[string]any{"group_name": "group" + mark, "group_type": 3})
	make("mid", "/projects/"+project+"/members", map[string]any{"role_id": 3, "member_user": map[string]string{"username": "user" + mark}})
	p["token_id"] = fmt.Sprint(s.do(http.MethodPost, "/users/"+p["user_id"]+"/tokens", map[string]string{"name": "token" + mark}, as("user"+mark, secret)).id())
	p["session_id"] = s.begun("user"+mark, secret)
	s.do(http.MethodPost, "/projects/"+project+"/metadatas", map[string]string{"auto_scan": "true"}).is(http.StatusOK)
	var robot harborapi.RobotCreated
	s.do(http.MethodPost, "/robots", robotBody("robot"+mark, "project", in("project", project, "repository:pull"))).is(http.StatusCreated).decode(&robot)
	p["robot_id"], p["robot"] = fmt.Sprint(robot.ID), robot.Name
	return p
}

// begun begins a session of a user and answers its id.
func (s *service) begun(name, password string) string {
	s.Helper()
	who, err := s.access.Authenticate(s.Context(), name, password, "192.0.2.2")
	s.ok(err)
	cookie, err := s.access.Begin(s.Context(), who, "192.0.2.2", "a browser")
	s.ok(err)
	return access.SessionID(cookie)
}

// known is what a test knows of an operation beyond the document: what an operation needs that looks further than "login" itself, and a request that is good in a place.
type known struct {
	need  string // "known": nothing but a login; "user": that it is no robot's, or a robot that may something; "admin": that it is the administrator's; or as in the document
	query string
	body  string
	at    place // where the place's own is not what it is for
}

const pullIn = `"permissions":[{"kind":"project","namespace":"{project_name}","access":[{"resource":"repository","action":"pull"}]}]`

// details are the operations that need more words. One that has a body or looks further and is not here fails the tests.
var details = map[string]known{
	"CopyArtifact":              {query: "from={project_name}/{repository_name}:1", at: place{"repository_name": "copied"}},
	"CreateLabel":               {need: "project label:create", body: `{"name":"new","description":"d","color":"#FFFFFF","scope":"p","project_id":{project}}`},
	"CreateRobot":               {need: "project robot:create", body: `{"name":"new","level":"project","duration":30,"description":"d","disable":false,` + pullIn + `}`},
	"DeleteLabel":               {need: "project label:delete"},
	"DeleteRobot":               {need: "project robot:delete"},
	"GetLabelByID":              {need: "project label:read"},
	"GetRobotByID":              {need: "project robot:read"},
	"ListLabels":                {need: "project label:list", query: "scope=p&project_id={project}"},
	"ListRobot":                 {need: "project robot:list", query: "q=Level%3Dproject%2CProjectID%3D{project}"},
	"RefreshSec":                {need: "project robot:update", body: `{"secret":"Passw0rd-of-robots"}`},
	"UpdateLabel":               {need: "project label:update", body: `{"name":"renamed","description":"changed","color":"#000000"}`},
	"UpdateRobot":               {need: "project robot:update", body: `{"name":"{robot}","level":"project","duration":30,"description":"changed","disable":false,` + pullIn + `}`},
	"addLabel":                  {body: `{"id":{label_id}}`},
	"addProjectMetadatas":       {body: `{"prevent_vul":"true"}`},
	"createProject":             {need: "user or project:create", body: `{"project_name":"made","metadata":{"public":"false","auto_scan":"true"},"storage_limit":1048576}`},
	"createProjectMember":       {body: `{"role_id":3,"member_user":{"username":"spare"}}`},
	"createTag":                 {body: `{"name":"new"}`},
	"createUser":                {body: `{"username":"new","password":"Passw0rd-of-new","email":"new@example.com","realname":"New","comment":"c"}`},
	"createUserGroup":           {body: `{"group_name":"new","group_type":3}`},
	"createUserToken":           {need: "admin", body: `{"name":"new","expires_at":4102444800}`, at: place{"user_id": "1"}}, // of the administrator, who makes his own
	"deleteUserToken":           {need: "system user:update"},
	"endSession":                {need: "system user:update"},
	"endSessions":               {need: "system user:update"},
	"getCurrentUserInfo":        {need: "user"},
	"getCurrentUserPermissions": {need: "known"},
	"getPermissions":            {need: "user who makes robots"},
	"getStatistic":              {need: "known"},
	"getUser":                   {need: "system user:read"},
	"headProject":               {need: "known", query: "project_name={project_name}"},
	"importLdapUser":            {body: `{"ldap_uid_list":["{login}"]}`},
	"listAuditLogExts":          {need: "known"},
	"listAuditLogs":             {need: "known"},
	"listSessions":              {need: "system user:read"},
	"listUserTokens":            {need: "system user:read"},
	"makeCliSecret":             {need: "system user:update"},
	"pingLdap":                  {body: `{"ldap_url":"ldaps://good.example","ldap_search_dn":"cn=a","ldap_search_password":"x","ldap_base_dn":"dc=b","ldap_filter":"(a=b)","ldap_uid":"uid","ldap_scope":2,"ldap_connection_timeout":5,"ldap_verify_cert":true}`},
	"pingOIDC":                  {body: `{"url":"https://idp.example","verify_cert":true}`},
	"search":                    {query: "q=app"},
	"searchLdapGroup":           {query: "groupname=team"},
	"searchLdapUser":            {query: "username=maria"},
	"searchUserGroups":          {need: "known", query: "groupname=group"},
	"searchUsers":               {need: "known", query: "username=user"},
	"setCliSecret":              {need: "system user:update", body: `{"secret":"Passw0rd-of-clis"}`},
	"setUserSysAdmin":           {body: `{"sysadmin_flag":true}`},
	"updateConfigurations":      {body: `{"session_timeout":90,"banner_message":"hello","self_registration":false,"ldap_filter":"(a=b)","ldap_search_dn":"cn=a","ldap_search_password":"Passw0rd-of-ldap"}`},
	"updateProject":             {body: `{"metadata":{"auto_scan":"false","severity":"low"},"cve_allowlist":{"items":[{"cve_id":"CVE-2024-1"}],"expires_at":4102444800}}`},
	"updateProjectMember":       {body: `{"role_id":2}`},
	"updateProjectMetadata":     {body: `{"auto_scan":"false"}`},
	"updateQuota":               {body: `{"hard":{"storage":1073741824}}`},
	"updateRepository":          {body: `{"description":"words"}`},
	"updateUserGroup":           {body: `{"group_name":"renamed"}`},
	"updateUserPassword":        {need: "system user:update", body: `{"new_password":"Passw0rd-anew"}`},
	"updateUserProfile":         {need: "system user:update", body: `{"email":"changed@example.com","realname":"Changed","comment":"c"}`},
}

func TestEveryOperationIsKnownToTheMatrix(t *testing.T) {
	t.Parallel()
	all := map[string]bool{}
	for _, o := range harborapi.Operations() {
		all[o.ID] = true
		if d := details[o.ID]; o.Works() && (o.Access == "login" && d.need == "" || o.Access != "login" && o.Access != "open" && d.need != "") || o.Works() && o.HasBody() != (d.body != "") {
			t.Errorf("%s: the test does not know what it needs besides %q, or a good body", o.ID, o.Access)
		}
	}
	for id := range details {
		if !all[id] {
			t.Errorf("%s is no operation", id)
		}
	}
}

// call sends a good request of an operation: its path, its query and its body are those of a place.
func (s *service) call(o harborapi.Operation, p place, who with, first ...place) *answer {
	s.Helper()
	d := details[o.ID]
	first = append(first, d.at)
	path := p.fill(o.Path, first...)
	if d.query != "" {
		path += "?" + p.fill(d.query)
	}
	if d.body == "" {
		return s.do(o.Method, path, nil, who)
	}
	return s.do(o.Method, path, p.fill(d.body), who)
}

// changes notes what is written to the database from now on.
type changes struct{ *service }

func (s *service) watch() changes {
	s.Helper()
	var tables []string
	for row, err := range s.db.Rows(s.Context(), "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name LIMIT 1000") {
		s.ok(err)
		var name string
		s.ok(row.Scan(&name))
		tables = append(tables, name)
	}
	s.ok(s.db.Tx(s.Context(), "test.watch", func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(s.Context(), "CREATE TABLE test_changes (what TEXT)"); err != nil {
			return err
		}
		for _, t := range tables {
			for _, how := range []string{"INSERT", "UPDATE", "DELETE"} {
				text := how + " " + t
				if _, err := tx.Exec(s.Context(), "CREATE TRIGGER test_"+strings.ToLower(how)+"_"+t+" AFTER "+how+" ON "+t+" BEGIN INSERT INTO test_changes VALUES ('"+text+"'); END"); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	return changes{s}
}

// since answers what was written since it was asked last.
func (c changes) since() (all []string) {
	c.Helper()
	for row, err := range c.db.Rows(c.Context(), "SELECT DISTINCT what FROM test_changes ORDER BY what LIMIT 1000") {
		c.ok(err)
		var what string
		c.ok(row.Scan(&what))
		all = append(all, what)
	}
	if len(all) > 0 {
		c.ok(c.db.Tx(c.Context(), "test.since", func(tx *sqldb.Tx) error {
			_, err := tx.Exec(c.Context(), "DELETE FROM test_changes")
			return err
		}))
	}
	return all
}

// caller is somebody who asks.
type caller struct {
	name   string
	with   with
	user   bool // not a robot
	admin  bool
	role   access.Role        // in the project that is asked for
	robot  []access.Operation // what a robot may there
	system []access.Operation // what a robot may in the system
}

func (c *caller) may(need string) bool {
	scope, text, _ := strings.Cut(need, " ")
	resource, action, _ := strings.Cut(text, ":")
	o := access.Operation{Resource: resource, Action: action}
	switch {
	case scope == "open" || c.admin:
		return true
	case scope == "known":
		return c.user || c.robot != nil || c.system != nil
	case need == "user":
		return c.user
	case need == "user who makes robots":
		o = access.Operation{Resource: "robot", Action: "create"}
		return c.role.May(o) || slices.Contains(c.robot, o) || strings.HasSuffix(c.name, "another project") // which he looks after
	case scope == "user":
		return c.user || slices.Contains(c.system, access.Operation{Resource: "project", Action: "create"})
	case scope == "project":
		return c.role.May(o) || slices.Contains(c.robot, o)
	default:
		return slices.Contains(c.system, o)
	}
}

// robotFor makes a robot account, and answers its credentials.
func (s *service) robotFor(name, level string, disabled bool, permissions ...any) with {
	s.Helper()
	body := robotBody(name, level, permissions...)
	body["disable"] = disabled
	var made harborapi.RobotCreated
	s.do(http.MethodPost, "/robots", body).is(http.StatusCreated).decode(&made)
	return as(made.Name, made.Secret)
}

// plain makes a user without memberships, with a session.
func (s *service) plain(name string) with {
	s.Helper()
	id, who := s.user(name), s.logIn(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session[name] = access.Identity{Subject: name, User: id}
	return who
}

// callers are everybody who asks for something in the first project.
func (s *service) callers(mine, others place) []caller {
	s.Helper()
	everything := func(system bool) []string {
		var all []string
		for _, o := range access.RobotOperations(system) {
			all = append(all, o.String())
		}
		return all
	}
	project, other := mine["project_name"], others["project_name"]
	one := access.Operation{Resource: "accessory", Action: "list"}
	all := []caller{
		{name: "nobody", with: nobody},
		{name: "admin", with: func(*http.Request) {}, user: true, admin: true},
		{name: "a plain user", with: s.plain("plain"), user: true},
		{name: "an administrator of another project", with: s.join("foreign", other, access.ProjectAdmin), user: true},
		{name: "a robot without the permission", with: s.robotFor("one", "project", false, in("project", project, one.String())), robot: []access.Operation{one}},
		{name: "a robot with every permission", with: s.robotFor("all", "project", false, in("project", project, everything(false)...)), robot: access.RobotOperations(false)},
		{name: "a robot of another project", with: s.robotFor("all", "project", false, in("project", other, everything(false)...)), robot: []access.Operation{}},
		{name: "a robot of the system", with: s.robotFor("system", "system", false, in("system", "/", everything(true)...)), system: access.RobotOperations(true)},
		{name: "a robot of the system without the permission", with: s.robotFor("catalog", "system", false, in("system", "/", "catalog:read")), system: []access.Operation{{Resource: "catalog", Action: "read"}}},
	}
	for _, r := range access.Roles() {
		all = append(all, caller{name: r.String(), with: s.join(r.String(), project, r), user: true, role: r})
	}
	return all
}

// TestEveryRoleAtEveryOperation asks for everything as everybody. Whoever may not is told so and nothing else, and nothing is changed for him; whoever may is let pass.
func TestEveryRoleAtEveryOperation(t *testing.T) {
	t.Parallel()
	s := start(t)
	mine, others := s.furnish("mine", ""), s.furnish("others-"+hidden, hidden)
	s.user("spare")
	everybody := s.callers(mine, others)
	disabled := s.robotFor("disabled", "project", true, in("project", "mine", "repository:pull"))
	changed := s.watch()
	for i, o := range harborapi.Operations() {
		if !o.Works() {
			for _, c := range everybody {
				if a := s.call(o, mine, c.with); o.Method != http.MethodHead {
					a.is(http.StatusNotImplemented, "NOT_IMPLEMENTED").says(o.ID)
				}
			}
			continue
		}
		need := o.Access
		if d := details[o.ID].need; d != "" {
			need = d
		}
		var may []caller
		for _, c := range everybody {
			if c.may(need) {
				may = append(may, c)
				continue
			}
			want, code := http.StatusForbidden, "FORBIDDEN"
			if c.name == "nobody" {
				want, code = http.StatusUnauthorized, "UNAUTHORIZED"
			}
			if o.ID == "getCurrentUserInfo" && c.name != "nobody" { // a robot is no user, as Harbor says it
				want, code = http.StatusPreconditionFailed, "PRECONDITION"
			}
			a := s.call(o, mine, c.with)
			if a.status != want {
				t.Errorf("%s as %s: %d %s, want %d", o.ID, c.name, a.status, a.body, want)
			} else {
				a.is(want, code)
			}
		}
		s.call(o, mine, func(r *http.Request) { // each from elsewhere, or guessing is slowed down
			disabled(r)
			r.Header.Set("X-Test-Client", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())
		}).is(http.StatusUnauthorized)
		if all := changed.since(); len(all) > 0 {
			t.Errorf("%s: refused calls wrote %v", o.ID, all)
		}
		for _, c := range may {
			s.passes(o, mine, c)
		}
		changed.since()
	}
	s.quiet()
}

// passes asks for an operation as somebody who may. What is deleted is not there, and bodies are none where the document says who may, so that there is something left for the next.
func (s *service) passes(o harborapi.Operation, p place, c caller) {
	s.Helper()
	var a *answer
	switch {
	case o.Method == http.MethodDelete && strings.HasSuffix(o.Path, "{project_name_or_id}"): // which has a repository
		a = s.call(o, p, c.with)
	case o.Method == http.MethodDelete:
		at := place{}
		for _, name := range parameter.FindAllStringSubmatch(o.Path, -1) {
			if !strings.HasPrefix(name[1], "project_name") {
				at[name[1]] = nowhere[name[1]]
			}
		}
		if a = s.call(o, p, c.with, at); !c.admin && (o.ID == "DeleteLabel" || o.ID == "DeleteRobot") {
			return // one that is not there is as one that may not be seen
		}
	case o.HasBody() && o.Access != "login":
		a = s.do(o.Method, p.fill(o.Path), "{", c.with)
	default:
		a = s.call(o, p, c.with)
	}
	if o.ID == "getScannerOfProject" { // there is none yet, which only who may look is told
		a.is(http.StatusNotFound, "NOT_FOUND")
		return
	}
	if a.status == http.StatusForbidden || a.status == http.StatusUnauthorized || a.status >= http.StatusInternalServerError || o.Method == http.MethodGet && a.status != http.StatusOK {
		s.Errorf("%s as %s, who may: %d %s", o.ID, c.name, a.status, a.body)
	}
}

// quiet wants that nothing failed inside.
func (s *service) quiet() {
	s.Helper()
	if text := s.log.String(); strings.Contains(text, "ERROR") || strings.Contains(text, "panic") {
		s.Errorf("something failed inside:\n%.4000s", text)
	}
}

// TestWhatIsNotSeenIsAsWhatIsNotThere asks for what is in another project, and for what is nowhere: to whoever may not see the other project the answers are the same, and tell nothing.
func TestWhatIsNotSeenIsAsWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s := start(t)
	mine, others := s.furnish("mine", ""), s.furnish("others-"+hidden, hidden)
	s.user("spare")
	changed := s.watch()
	for _, c := range s.callers(mine, others) {
		if c.admin || c.system != nil || strings.Contains(c.name, "another project") {
			continue
		}
		changed.since()
		for _, o := range harborapi.Operations() {
			need := details[o.ID].need
			if !o.Works() || need == "" && o.Access == "open" || need == "known" || strings.HasPrefix(need, "user") {
				continue
			}
			s.sameAnswer(o, c, others, nowhere)
			// The project by its number, in bodies too.
			s.sameAnswer(o, c, others.with("project_name", others["project"]), nowhere.with("project_name", absent))
			for _, name := range []string{"mid", "label_id", "robot_id"} { // in his own project
				if strings.Contains(o.Path+details[o.ID].body, "{"+name+"}") {
					s.sameAnswer(o, c, mine.with(name, others[name]), mine.with(name, absent))
				}
			}
			if all := changed.since(); len(all) > 0 {
				t.Errorf("%s as %s: wrote %v", o.ID, c.name, all)
			}
		}
	}
	s.quiet()
}

// with is the place with something else in it.
func (p place) with(name, value string) place {
	other := maps.Clone(p)
	other[name] = value
	return other
}

func (s *service) sameAnswer(o harborapi.Operation, c caller, there, gone place) {
	s.Helper()
	seen, none := s.call(o, there, c.with), s.call(o, gone, c.with)
	plain := func(a *answer, p place) string {
		text := string(a.body)
		for _, v := range p {
			if len(v) > 3 || strings.Trim(v, "0123456789") == "" {
				text = regexp.MustCompile(`\b`+regexp.QuoteMeta(v)+`\b`).ReplaceAllString(text, "X")
			}
		}
		return text
	}
	if seen.status != none.status || seen.status < http.StatusBadRequest || plain(seen, there) != plain(none, gone) {
		s.Errorf("%s as %s: %s: %d %s\nand where nothing is: %s: %d %s", o.ID, c.name, seen.asked, seen.status, seen.body, none.asked, none.status, none.body)
	}
	if strings.Contains(string(seen.body), hidden) && !strings.Contains(seen.asked+there.fill(details[o.ID].body), hidden) {
		s.Errorf("%s as %s: %s tells %s", o.ID, c.name, seen.asked, seen.body)
	}
}

func TestListsTellNobodyOfWhatHeMayNotSee(t *testing.T) {
	t.Parallel()
	s := start(t)
	mine, others := s.furnish("mine", ""), s.furnish("others-"+hidden, hidden)
	for _, c := range s.callers(mine, others) {
		if c.admin || c.system != nil || c.name == "an administrator of another project" || c.name == "a robot of another project" {
			continue
		}
		for _, path := range []string{
			"/projects", "/projects?name=" + hidden, "/projects?q=name%3D~" + hidden, "/repositories", "/repositories?q=name%3D~" + hidden, "/search?q=" + hidden, "/search?q=", "/audit-logs", "/auditlog-exts",
			"/audit-logs?q=resource%3D~" + hidden, "/labels?scope=g", "/users/current/permissions?scope=/project/" + others["project"],
		} {
			if a := s.get(path, c.with); a.status < http.StatusBadRequest && strings.Contains(string(a.body), "-"+hidden) || a.status >= http.StatusInternalServerError {
				t.Errorf("%s as %s: %d %s", path, c.name, a.status, a.body)
			}
		}
	}
}

// TestASessionWithoutItsTokenChangesNothingAnywhere has every operation asked for by a page that has an administrator's cookie alone.
func TestASessionWithoutItsTokenChangesNothingAnywhere(t *testing.T) {
	t.Parallel()
	s := start(t)
	mine := s.furnish("mine", "")
	s.session["boss"] = access.Identity{Subject: "boss", Admin: true, User: 2}
	cookie := func(r *http.Request) {
		r.Header.Del("Authorization")
		r.AddCookie(&http.Cookie{Name: harborapi.SessionCookie, Value: "boss"})
	}
	changed := s.watch()
	for _, o := range harborapi.Operations() {
		if o.Method == http.MethodGet || o.Method == http.MethodHead {
			continue
		}
		s.call(o, mine, cookie).is(http.StatusForbidden, "FORBIDDEN").says("CSRF")
		if all := changed.since(); len(all) > 0 {
			t.Errorf("%s wrote %v", o.ID, all)
		}
	}
}
