package harborapi_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/harborapi"
	"github.com/havn-registry/havn/internal/sqldb"
)

// lines are what the operations that change something write into the audit log: an event and what was changed, and then what is told of it. An operation that changes something and is not
// here fails the tests.
var lines = map[string]string{
	"CopyArtifact":          "create artifact mine/copied@{digest}: copied from mine/app",
	"CreateLabel":           "create label new",
	"CreateRobot":           "create robot robot$mine+new",
	"DeleteLabel":           "delete label renamed",
	"DeleteRobot":           "delete robot robot$mine+robot",
	"RefreshSec":            "update robot robot$mine+robot: secret",
	"UpdateLabel":           "update label renamed: was label",
	"UpdateRobot":           "update robot robot$mine+robot",
	"addLabel":              "create artifact_label mine/app@{digest}: renamed",
	"addProjectMetadatas":   "update project mine: prevent_vul true",
	"createProject":         "create project made",
	"createProjectMember":   "create project_member spare: guest",
	"createTag":             "create tag mine/app:new: {digest}",
	"createUser":            "create user new",
	"createUserGroup":       "create usergroup new",
	"createUserToken":       "create user_token admin: new",
	"deleteArtifact":        "delete artifact mine/app@{digest}",
	"deleteProject":         "delete project mine",
	"deleteProjectMember":   "delete project_member user: developer",
	"deleteProjectMetadata": "update project mine: without auto_scan",
	"deleteRepository":      "delete repository mine/app",
	"deleteTag":             "delete tag mine/app:1: {digest}",
	"deleteUser":            "delete user user",
	"deleteUserGroup":       "delete usergroup renamed",
	"deleteUserToken":       "delete user_token user: token",
	"endSession":            "delete session user",
	"endSessions":           "delete session user: all",
	"importLdapUser":        "create user maria: imported",
	"makeCliSecret":         "update user cliff: CLI secret",
	"pingLdap":              "", // changes nothing
	"pingOIDC":              "", // nor does this
	"removeLabel":           "delete artifact_label mine/app@{digest}: renamed",
	"setCliSecret":          "update user cliff: CLI secret",
	"setUserSysAdmin":       "update user user: sysadmin true",
	"updateConfigurations":  "update configuration configuration: banner_message, ldap_filter, ldap_search_dn, ldap_search_password, session_timeout",
	"updateProject":         "update project mine",
	"updateProjectMember":   "update project_member user: guest to developer",
	"updateProjectMetadata": "update project mine: auto_scan false",
	"updateQuota":           "update quota mine: -1 to 1073741824",
	"updateRepository":      "update repository mine/app: description",
	"updateUserGroup":       "update usergroup renamed: was group",
	"updateUserPassword":    "update user user: password",
	"updateUserProfile":     "update user user: profile",
}

// changing answers the operations that may change something, in an order in which each finds what it needs: what deletes comes last, what is inside before what is around it.
func changing() (all []harborapi.Operation) {
	for _, o := range harborapi.Operations() {
		if o.Works() && o.Method != http.MethodGet && o.Method != http.MethodHead {
			all = append(all, o)
		}
	}
	inside := func(o harborapi.Operation) int {
		switch {
		case o.Method != http.MethodDelete:
			return -100
		case o.ID == "deleteProject": // with its robots
			return 0
		}
		return -strings.Count(o.Path, "/")
	}
	slices.SortStableFunc(all, func(x, y harborapi.Operation) int { return cmp.Compare(inside(x), inside(y)) })
	return all
}

// crowd is a directory that knows maria.
type crowd struct{ access.Provider }

func (crowd) Lookup(_ context.Context, login string) (access.Person, error) {
	if login != "maria" {
		return access.Person{}, fail.E(fail.NotFound, nil, "user %s", login)
	}
	return access.Person{Subject: "cn=maria", Name: "maria"}, nil
}

func (crowd) Group(context.Context, string) (access.Group, error) {
	return access.Group{}, fail.E(fail.NotFound, nil, "group")
}

// written answers the lines of the audit log that are behind one, as they are told in lines, and the last one's id.
func (s *service) written(after int64) (texts []string, last int64) {
	s.Helper()
	all, _, err := s.audit.List(s.Context(), audit.Filter{OldestFirst: false, Limit: audit.MaxPage})
	s.ok(err)
	last = after
	for _, l := range slices.Backward(all) {
		if l.ID <= after {
			continue
		}
		text := l.Operation + " " + l.Kind + " " + l.Resource
		if l.Note != "" {
			text += ": " + l.Note
		}
		texts, last = append(texts, text), max(last, l.ID)
		if after != 0 && l.Subject != "admin" || l.Addr != "192.0.2.1" || !l.OK || l.At.IsZero() {
			s.Errorf("%s: %+v", text, l)
		}
	}
	return texts, last
}

// TestEveryChangeLeavesOneLine changes everything that can be changed, once with a client that waits, and once with one that leaves just before the change is committed.
func TestEveryChangeLeavesOneLine(t *testing.T) {
	t.Parallel()
	for _, leaves := range []bool{false, true} {
		t.Run(fmt.Sprintf("client leaves=%v", leaves), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			mine := s.furnish("mine", "")
			s.user("spare")
			s.people = crowd{}
			cliff, err := s.access.SignIn(t.Context(), access.FromOIDC, access.Person{Subject: "https://id.example cliff", Name: "cliff"}, "")
			s.ok(err)
			mine["login"] = "maria"
			_, last := s.written(0)
			var events []harborapi.AuditLogEventType
			s.get("/auditlog-exts/events").is(http.StatusOK).decode(&events)
			secrets := []string{"Passw0rd", password}
			changed := s.watch()
			for _, o := range changing() {
				want, known := lines[o.ID]
				if !known {
					t.Errorf("%s changes something, and the test does not know its line", o.ID)
					continue
				}
				first := place{}
				switch o.ID {
				case "setCliSecret", "makeCliSecret":
					first["user_id"] = fmt.Sprint(cliff.User)
				case "endSession", "endSessions": // those before ended with the changes of the user
					mine["session_id"] = s.begun("user", "Passw0rd-anew")
				case "deleteArtifact":
					s.do(http.MethodPost, mine.fill("/projects/mine/repositories/app/artifacts/{digest}/tags"), map[string]string{"name": "1"}).is(http.StatusCreated)
					_, last = s.written(last)
				case "deleteRepository":
					s.push("mine/app", image(""), "again")
				case "deleteProject": // which has another repository yet
					s.do(http.MethodDelete, "/projects/mine/repositories/copied", nil).is(http.StatusOK)
					_, last = s.written(last)
				}
				changed.since()
				if leaves {
					s.leaveAtCommit()
				}
				a := s.call(o, mine, func(*http.Request) {}, first)
				if a.status >= http.StatusMultipleChoices {
					t.Errorf("%s: %d %s", o.ID, a.status, a.body)
				}
				var told struct{ Secret, Token string }
				if json.Unmarshal(a.body, &told) == nil {
					secrets = append(secrets, told.Secret, told.Token)
				}
				var got []string
				got, last = s.written(last)
				if text := mine.fill(want); want == "" && len(got) > 0 || want != "" && (len(got) != 1 || got[0] != text) {
					t.Errorf("%s left %q, want %q", o.ID, got, text)
				}
				if wrote := changed.since(); (len(slices.DeleteFunc(wrote, func(w string) bool { return w == "INSERT audit" })) > 0) != (want != "") {
					t.Errorf("%s wrote %v", o.ID, wrote)
				}
				if words := strings.Fields(want); want != "" && !slices.Contains(events, harborapi.AuditLogEventType{EventType: words[0] + "_" + words[1]}) {
					t.Errorf("%s: no event %q is listed", o.ID, words[:2])
				}
			}
			text := string(s.get("/auditlog-exts?page_size=100").is(http.StatusOK).body)
			for _, secret := range secrets {
				if secret != "" && strings.Contains(text, secret) {
					t.Errorf("%q is in the audit log", secret)
				}
			}
		})
	}
}

// leaveAtCommit has the client of the next request leave just before its first change is committed.
func (s *service) leaveAtCommit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = func(_ context.Context, p sqldb.FaultPoint, tx string) error {
		if p == sqldb.BeforeCommit && !strings.HasPrefix(tx, "test.") {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.gone()
			s.fault = nil
		}
		return nil
	}
}

// failing has every transaction of a name fail from the nth on.
func (s *service) failing(name string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = func(_ context.Context, p sqldb.FaultPoint, tx string) error {
		if p != sqldb.BeforeCommit || tx != name {
			return nil
		}
		if n--; n >= 0 {
			return nil
		}
		return fail.E(fail.Unavailable, nil, "a fault")
	}
}

func TestWhatBrokeOffIsAudited(t *testing.T) {
	t.Parallel()
	s := start(t)
	for n := range 3 { // they go in several transactions
		s.push("mine/app", image(fmt.Sprintf(`,"annotations":{"n":"%d"}`, n)), fmt.Sprint(n))
	}
	s.failing("repository.delete", 1)
	s.do(http.MethodDelete, "/projects/mine/repositories/app", nil).is(http.StatusServiceUnavailable)
	s.failing("nothing", 0)
	s.get("/auditlog-exts?q=resource=mine/app,operation=delete").is(http.StatusOK).has("X-Total-Count", "1").says("broke off").says(`"username":"admin"`)
	s.do(http.MethodDelete, "/projects/mine/repositories/app", nil).is(http.StatusOK)
	s.get("/auditlog-exts?q=resource=mine/app,operation=delete").is(http.StatusOK).has("X-Total-Count", "2").says(`"operation_result":true`)
}
