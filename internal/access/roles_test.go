package access_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// TestEveryRoleMayDoWhatHarborDocuments holds the matrix against a second way to write it: what each role may do more than the one below it.
func TestEveryRoleMayDoWhatHarborDocuments(t *testing.T) {
	steps := []struct {
		role access.Role
		more string
	}{
		{access.LimitedGuest, "project:read quota:read configuration:read repository:list,read,pull artifact:read,list artifact-addition:read accessory:list tag:list scan:read sbom:read scanner:read"},
		{access.Guest, "member:read,list label:read,list robot:read,list"},
		{access.Developer, "repository:create,update,push artifact:create tag:create artifact-label:create,delete tag-retention:create,read,update,delete,list,operate export-cve:create,read,list"},
		{access.Maintainer, "metadata:read label:create,update,delete repository:delete artifact:delete tag:delete immutable-tag:create,update,delete,list " +
			"notification-policy:read,list scan:create,stop sbom:create,stop"},
		{access.ProjectAdmin, "project:update,delete member:create,update,delete metadata:create,update,delete,list log:list configuration:update robot:create,update,delete " +
			"notification-policy:create,update,delete scanner:create preheat-policy:create,read,update,delete,list"},
	}
	may := map[string]bool{}
	for _, step := range steps {
		for _, row := range strings.Fields(step.more) {
			resource, list, _ := strings.Cut(row, ":")
			for action := range strings.SplitSeq(list, ",") {
				if may[resource+":"+action] {
					t.Errorf("%s may %s:%s already", step.role, resource, action)
				}
				may[resource+":"+action] = true
			}
		}
		for _, o := range access.Operations() {
			if got := step.role.May(o); got != may[o.String()] {
				t.Errorf("%s and %s: %v", step.role, o, got)
			}
		}
	}
	if len(may) != len(access.Operations()) {
		t.Errorf("%d operations are known to this test, %d to the matrix: %v", len(may), len(access.Operations()), slices.Sorted(maps.Keys(may)))
	}
	if access.Role(0).May(access.Operation{Resource: "project", Action: "read"}) || access.ProjectAdmin.May(access.Operation{Resource: "project", Action: "own"}) {
		t.Error("nobody may do something, or somebody what is not in the matrix")
	}
}

func TestRolesAreReadByNumberAndName(t *testing.T) {
	for _, r := range access.Roles() {
		for _, text := range []string{r.String(), strings.ToUpper(r.String())} {
			if got, err := access.ParseRole(text); err != nil || got != r {
				t.Errorf("%q: %v, %v", text, got, err)
			}
		}
	}
	for _, text := range []string{"", "0", "6", "-1", "01", "admin", "1 "} {
		if r, err := access.ParseRole(text); !fail.Is(err, fail.Invalid) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
}

// people are one of each kind in a project, by the names of roles; "stranger" is logged in and has no role, "nobody" is not.
func people(t *testing.T, db *sqldb.DB, project string) map[string]access.Identity {
	t.Helper()
	all := map[string]access.Identity{"nobody": {}, "administrator": {Subject: "root", Admin: true, User: sqldb.NewID()}}
	run := func(statement string, args ...any) {
		t.Helper()
		err := db.Tx(t.Context(), "test.insert", func(tx *sqldb.Tx) error {
			_, cause := tx.Exec(t.Context(), statement, args...)
			return cause
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p, err := index.FindProject(t.Context(), db, project)
	if err != nil {
		t.Fatal(err)
	}
	user := func(name string) int64 {
		id := sqldb.NewID()
		run("INSERT INTO users (id, name, password_hash, admin, disabled, created_at, changed_at) VALUES (?, ?, '', ?, ?, 1, 1)", id, name+sqldb.NewToken(), false, false)
		all[name] = access.Identity{Subject: name, User: id}
		return id
	}
	user("stranger")
	for _, role := range access.Roles() {
		run("INSERT INTO members (id, project, user_id, role, created_at, changed_at) VALUES (?, ?, ?, ?, 1, 1)", sqldb.NewID(), p.ID, user(role.String()), int(role))
		group, id := sqldb.NewID(), user(role.String()+" by group")
		run("INSERT INTO user_groups (id, origin, k, name, created_at) VALUES (?, 'ldap', ?, ?, 1)", group, sqldb.NewToken(), role.String())
		run("INSERT INTO group_users (user_id, group_id) VALUES (?, ?)", id, group)
		run("INSERT INTO members (id, project, group_id, role, created_at, changed_at) VALUES (?, ?, ?, ?, 1, 1)", sqldb.NewID(), p.ID, group, int(role))
	}
	return all
}

// roleOf answers the role of one of people, 0 for who has none.
func roleOf(name string) access.Role {
	role, err := access.ParseRole(strings.TrimSuffix(name, " by group"))
	if err != nil {
		return 0
	}
	return role
}

func TestEveryRoleMayDoItsOwnAndNothingElse(t *testing.T) {
	db := database(t)
	a := open(t, db, &watch{now: time.Now()})
	for _, public := range []bool{false, true} {
		project := map[bool]string{false: "secret", true: "library"}[public]
		everybody := people(t, db, project)
		other := people(t, db, map[bool]string{false: "library", true: "secret"}[public])
		for name, who := range everybody {
			rights, err := a.Rights(t.Context(), who, project)
			if err != nil {
				t.Fatal(err)
			}
			role := roleOf(name)
			if rights.Role() != role && name != "administrator" {
				t.Errorf("%s has role %s", name, rights.Role())
			}
			elsewhere, err := a.Rights(t.Context(), other[name], project)
			if err != nil {
				t.Fatal(err)
			}
			stranger, err := a.Rights(t.Context(), access.Identity{}, project)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range access.Operations() {
				want := role.May(o) || name == "administrator" || public && access.PublicMay(o)
				if got := rights.May(o); got != want {
					t.Errorf("%s in %s, %s: %v", name, project, o, got)
				}
				if got := elsewhere.May(o); name != "administrator" && got != stranger.May(o) {
					t.Errorf("%s of another project in %s, %s: %v", name, project, o, got)
				}
				if got := stranger.May(o); got != (public && access.PublicMay(o)) {
					t.Errorf("a stranger in %s, %s: %v", project, o, got)
				}
			}
		}
		if _, err := a.Rights(t.Context(), everybody["projectAdmin"], "absent"); !fail.Is(err, fail.NotFound) {
			t.Errorf("rights in a project that is absent: %v", err)
		}
	}
}

func TestTokensHoldWhatARoleMayDoToRepositories(t *testing.T) {
	db := database(t)
	a := open(t, db, &watch{now: time.Now()})
	everybody := people(t, db, "secret")
	want := map[string]string{
		"nobody": "", "stranger": "", "administrator": "pull,push,delete", "projectAdmin": "pull,push,delete", "maintainer": "pull,push,delete",
		"developer": "pull,push", "guest": "pull", "limitedGuest": "pull",
	}
	for name, who := range everybody {
		granted, err := a.Grant(t.Context(), who, []access.Scope{
			{Type: "repository", Name: "secret/app", Actions: []string{"pull", "push", "delete"}}, {Type: "repository", Name: "absent/app", Actions: []string{"pull", "push"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, s := range granted {
			if s.Name == "secret/app" {
				got = strings.Join(s.Actions, ",")
			} else if name != "administrator" {
				t.Errorf("%s is granted %s", name, s)
			}
		}
		if got != want[strings.TrimSuffix(name, " by group")] {
			t.Errorf("%s is granted %q", name, got)
		}
	}
}
