package harborapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/harborapi"
	"github.com/havn-registry/havn/internal/sqldb"
)

// join makes a user, with a session of his name, who has a role in a project.
func (s *service) join(name, project string, role access.Role) with {
	s.Helper()
	id := sqldb.NewID()
	s.ok(s.db.Tx(s.Context(), "test.join", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(s.Context(), "INSERT INTO users (id, name, password_hash, admin, disabled, created_at, changed_at) VALUES (?, ?, '', ?, ?, 0, 0)", id, name, false, false)
		if err == nil {
			_, err = tx.Exec(s.Context(), "INSERT INTO members (id, project, user_id, role, created_at, changed_at) VALUES (?, (SELECT id FROM projects WHERE name = ?), ?, ?, 0, 0)", sqldb.NewID(), project, id, int(role))
		}
		return err
	}))
	who := s.logIn(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session[name] = access.Identity{Subject: name, User: id}
	return who
}

func TestTheAuditLogIsReadByThoseWhoMay(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("private/app", image(""), "1")
	s.do(http.MethodPut, "/configurations", `{"session_timeout":90}`).is(http.StatusOK)
	s.do(http.MethodPut, "/configurations", `{"session_timeout":90}`).is(http.StatusOK) // changes nothing
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var private int64
	s.ok(s.db.Row(t.Context(), "SELECT id FROM projects WHERE name = 'private'").Scan(&private))
	for i := range 3 {
		s.ok(s.audit.Write(t.Context(), audit.Line{At: begin.Add(time.Duration(i) * time.Hour), Subject: fmt.Sprintf("user%d", i), Operation: "create", Kind: "artifact", Resource: "private/app:1", Project: private, OK: true, Note: "pushed"}))
	}
	var lines []harborapi.AuditLogExt
	read := func(a *answer, want ...string) {
		t.Helper()
		lines = nil
		a.is(http.StatusOK).has("X-Total-Count", fmt.Sprint(len(want))).decode(&lines)
		if len(lines) != len(want) {
			t.Fatalf("%s: %+v, want %v", a.asked, lines, want)
		}
		for i := range want {
			if lines[i].Username != want[i] {
				t.Errorf("%s: %+v, want %v", a.asked, lines, want)
			}
		}
	}
	read(s.get("/auditlog-exts"), "admin", "user2", "user1", "user0")
	if l := lines[0]; l.Operation != "update" || l.ResourceType != "configuration" || l.OperationDescription != "session_timeout" || !l.OperationResult || time.Since(time.Time(l.OpTime)) > time.Hour {
		t.Errorf("%+v", l)
	}
	read(s.get("/audit-logs?sort=op_time&q=operation=create"), "user0", "user1", "user2")
	read(s.get("/audit-logs?q=username=~R1"), "user1")
	read(s.get("/audit-logs?q=resource_type=artifact,username=user2"), "user2")
	read(s.get("/audit-logs?q="+url.QueryEscape("op_time=[2026-01-02T03:04:05~2026-01-02T04:04:05]")), "user1", "user0")
	read(s.get("/projects/private/logs"), "user2", "user1", "user0")
	read(s.get("/projects/private/auditlog-exts?q=username=user0"), "user0")
	boss, guest := s.join("boss", "private", access.ProjectAdmin), s.join("guest", "private", access.Guest)
	read(s.get("/audit-logs", boss), "user2", "user1", "user0")
	read(s.get("/audit-logs", guest))
	read(s.get("/projects/private/logs", boss), "user2", "user1", "user0")
	s.get("/projects/private/logs", guest).is(http.StatusForbidden)
	s.createProject("later", nil)
	s.get("/auditlog-exts?page_size=1").is(http.StatusOK).says(`"operation_description":"create project: later"`)
	s.get("/auditlog-exts/events", guest).is(http.StatusForbidden)
	s.get("/auditlog-exts/events").is(http.StatusOK).says(`{"event_type":"create_artifact"}`).says(`{"event_type":"update_configuration"}`)
	for _, bad := range []string{"q=nothing=1", "q=username={a+b}", "q=op_time=soon", "q=op_time=~2", "sort=username"} {
		s.get("/audit-logs?"+bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}
}
