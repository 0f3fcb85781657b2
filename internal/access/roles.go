package access

import (
	"fmt"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// Role is what a member is in a project. The numbers are those of Harbor's API.
type Role int

// The roles.
const (
	ProjectAdmin Role = 1
	Developer    Role = 2
	Guest        Role = 3
	Maintainer   Role = 4
	LimitedGuest Role = 5
)

var roles = [...]struct {
	role   Role
	name   string
	letter byte
	rank   int // who has more to say
}{
	{ProjectAdmin, "projectAdmin", 'A', 5},
	{Maintainer, "maintainer", 'M', 4},
	{Developer, "developer", 'D', 3},
	{Guest, "guest", 'G', 2},
	{LimitedGuest, "limitedGuest", 'L', 1},
}

// Roles answers all roles, from the one that may most to the one that may least.
func Roles() []Role {
	all := make([]Role, len(roles))
	for i, r := range roles {
		all[i] = r.role
	}
	return all
}

// String answers the role's name, as Harbor's API spells it.
func (r Role) String() string {
	for _, known := range roles {
		if known.role == r {
			return known.name
		}
	}
	return fmt.Sprintf("role %d", int(r))
}

func (r Role) letter() byte {
	for _, known := range roles {
		if known.role == r {
			return known.letter
		}
	}
	return 0
}

func (r Role) rank() int {
	for _, known := range roles {
		if known.role == r {
			return known.rank
		}
	}
	return 0
}

// ParseRole reads a number of Harbor's API, or a role's name. Invalid otherwise.
func ParseRole(text string) (Role, error) {
	for _, known := range roles {
		if strings.EqualFold(text, known.name) || text == fmt.Sprint(int(known.role)) {
			return known.role, nil
		}
	}
	return 0, fail.E(fail.Invalid, nil, "role %.40q", text).Hint("use 1 (projectAdmin), 2 (developer), 3 (guest), 4 (maintainer) or 5 (limitedGuest)")
}

// Operation is something that can be done in a project, by the names that Harbor's robot accounts know.
type Operation struct{ Resource, Action string }

// String answers it like repository:pull.
func (o Operation) String() string { return o.Resource + ":" + o.Action }

// anybody stands in the matrix for all people and for no login at all, where the project is public.
const anybody = 'P'

// matrix says who may do what in a project: A project admins, M maintainers, D developers, G guests, L limited guests, P everybody if the project is public. System administrators
// may do all of it. It is Harbor's matrix as of 2.12. What is done by later work (scans, retention, …) is in it already, so that robots can be given it.
var matrix = []struct {
	resource, action, who string
}{
	{"project", "read", "AMDGLP"},
	{"project", "update", "A"},
	{"project", "delete", "A"},

	{"member", "create", "A"},
	{"member", "read", "AMDG"},
	{"member", "update", "A"},
	{"member", "delete", "A"},
	{"member", "list", "AMDG"},

	{"metadata", "create", "A"},
	{"metadata", "read", "AM"},
	{"metadata", "update", "A"},
	{"metadata", "delete", "A"},
	{"metadata", "list", "A"},

	{"log", "list", "A"},
	{"quota", "read", "AMDGL"},
	{"configuration", "read", "AMDGL"},
	{"configuration", "update", "A"},

	{"label", "create", "AM"},
	{"label", "read", "AMDGP"},
	{"label", "update", "AM"},
	{"label", "delete", "AM"},
	{"label", "list", "AMDGP"},

	{"robot", "create", "A"},
	{"robot", "read", "AMDG"},
	{"robot", "update", "A"},
	{"robot", "delete", "A"},
	{"robot", "list", "AMDG"},

	{"repository", "create", "AMD"},
	{"repository", "read", "AMDGL"},
	{"repository", "update", "AMD"},
	{"repository", "delete", "AM"},
	{"repository", "list", "AMDGLP"},
	{"repository", "pull", "AMDGLP"},
	{"repository", "push", "AMD"},

	{"artifact", "create", "AMD"},
	{"artifact", "read", "AMDGLP"},
	{"artifact", "delete", "AM"},
	{"artifact", "list", "AMDGLP"},
	{"artifact-addition", "read", "AMDGLP"},
	{"artifact-label", "create", "AMD"},
	{"artifact-label", "delete", "AMD"},
	{"accessory", "list", "AMDGLP"},

	{"tag", "create", "AMD"},
	{"tag", "delete", "AM"},
	{"tag", "list", "AMDGLP"},

	{"tag-retention", "create", "AMD"},
	{"tag-retention", "read", "AMD"},
	{"tag-retention", "update", "AMD"},
	{"tag-retention", "delete", "AMD"},
	{"tag-retention", "list", "AMD"},
	{"tag-retention", "operate", "AMD"},

	{"immutable-tag", "create", "AM"},
	{"immutable-tag", "update", "AM"},
	{"immutable-tag", "delete", "AM"},
	{"immutable-tag", "list", "AM"},

	{"notification-policy", "create", "A"},
	{"notification-policy", "read", "AM"},
	{"notification-policy", "update", "A"},
	{"notification-policy", "delete", "A"},
	{"notification-policy", "list", "AM"},

	{"scan", "create", "AM"},
	{"scan", "read", "AMDGLP"},
	{"scan", "stop", "AM"},
	{"sbom", "create", "AM"},
	{"sbom", "read", "AMDGLP"},
	{"sbom", "stop", "AM"},
	{"scanner", "create", "A"},
	{"scanner", "read", "AMDGLP"},
	{"export-cve", "create", "AMD"},
	{"export-cve", "read", "AMD"},
	{"export-cve", "list", "AMD"},

	{"preheat-policy", "create", "A"},
	{"preheat-policy", "read", "A"},
	{"preheat-policy", "update", "A"},
	{"preheat-policy", "delete", "A"},
	{"preheat-policy", "list", "A"},
}

// allowed is the matrix by operation.
var allowed = func() map[Operation]string {
	all := make(map[Operation]string, len(matrix))
	for _, row := range matrix {
		all[Operation{row.resource, row.action}] = row.who
	}
	return all
}()

// Operations answers all that can be done in a project, in the order of the matrix.
func Operations() []Operation {
	all := make([]Operation, len(matrix))
	for i, row := range matrix {
		all[i] = Operation{row.resource, row.action}
	}
	return all
}

// May reports whether a role allows something.
func (r Role) May(o Operation) bool {
	letter := r.letter()
	return letter != 0 && strings.IndexByte(allowed[o], letter) >= 0
}

// publicMay reports whether everybody may do something in a public project.
func publicMay(o Operation) bool { return strings.IndexByte(allowed[o], anybody) >= 0 }
