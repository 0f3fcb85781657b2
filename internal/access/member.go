package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Member is a user or a group with a role in a project.
type Member struct {
	ID      int64
	Project int64
	Role    Role
	User    int64 // 0: a group
	Group   int64 // 0: a user
	Name    string
	Created time.Time
	Changed time.Time
}

// MemberSpec says who becomes a member: the first of its fields that is set counts, from the top.
type MemberSpec struct {
	User      int64  // by number
	Group     int64  // by number
	UserName  string // one whom only the directory knows is taken in
	GroupKey  string // see Group.Key; one that is not known yet is taken in
	GroupName string // what a group is called here; of an identity provider also one that is not known yet
	// Origin of a group by key or name; "": FromLDAP by key, and whichever there is by name.
	Origin string
	Role   Role
}

// AddMember gives a user or a group a role in a project. Errors: Invalid; NotFound without the project, the user or the group; Exists if it has one; Unavailable if the directory can't
// be asked.
func (a *Access) AddMember(ctx context.Context, project int64, s MemberSpec) (Member, error) {
	if s.Role.letter() == 0 {
		return Member{}, badRole(fmt.Sprint(int(s.Role)))
	}
	column, id, err := a.memberOf(ctx, s)
	if err != nil {
		return Member{}, err
	}
	op, taken := sqldb.NewToken(), false
	var member int64
	err = a.DB.Tx(ctx, "member.add", func(tx *sqldb.Tx) (err error) {
		if member, taken, err = made(ctx, tx, op, "SELECT id FROM members WHERE "+column+" = ? AND project = ?", id, project); err != nil || taken || member != 0 {
			return err
		}
		if member, err = index.NextNumber(ctx, tx, index.NumberMember); err != nil {
			return err
		}
		now := sqldb.Micros(tx.Now())
		_, err = tx.Exec(ctx, "INSERT INTO members (id, project, "+column+", role, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?)", member, project, id, int(s.Role), now, now)
		return err
	})
	if taken {
		err = fail.E(fail.Exists, nil, "it is a member of project %d already", project).Hint("change the role that it has")
	}
	if err != nil {
		return Member{}, fmt.Errorf("add a member to project %d: %w", project, keyIsNotFound(err, "the project, the user or the group"))
	}
	return a.Member(ctx, project, member)
}

// memberOf answers who is meant, as a column of members and its value.
func (a *Access) memberOf(ctx context.Context, s MemberSpec) (column string, id int64, err error) {
	switch {
	case s.User != 0:
		u, userErr := a.User(ctx, s.User)
		return "user_id", u.ID, userErr
	case s.Group != 0:
		g, groupErr := a.Group(ctx, s.Group)
		return "group_id", g.ID, groupErr
	case s.UserName != "":
		u, userErr := a.MeetUser(ctx, s.UserName)
		return "user_id", u.ID, userErr
	case s.GroupKey != "":
		id, err = a.meetGroup(ctx, s.Origin, s.GroupKey, s.GroupName)
		return "group_id", id, err
	case s.GroupName != "":
		id, err = a.groupCalled(ctx, s.Origin, s.GroupName)
		return "group_id", id, err
	}
	return "", 0, fail.E(fail.Invalid, nil, "a member who is nobody").Hint("name a user or a group")
}

// MeetUser finds a user by his name, and takes in one whom only the directory knows, as if he had logged in; his groups come when he does. NotFound; Exists if the directory means
// somebody whose name is taken; Unavailable.
func (a *Access) MeetUser(ctx context.Context, name string) (User, error) {
	u, err := a.UserByName(ctx, name)
	from, searches := a.Provider().(Searcher)
	if !fail.Is(err, fail.NotFound) || !searches || a.isRobotName(name) {
		return u, err
	}
	p, err := from.Lookup(ctx, name)
	if err == nil {
		p, err = cleanPerson(p)
	}
	if err != nil {
		return User{}, fmt.Errorf("look for user %s: %w", name, err)
	}
	if u, err = a.UserOf(ctx, FromLDAP, p.Subject); !fail.Is(err, fail.NotFound) {
		return u, err // under another name
	}
	s, err := a.writePerson(ctx, FromLDAP, p, "")
	if err != nil {
		return User{}, err
	}
	return a.User(ctx, s.id)
}

// meetGroup answers the number of a group, which may not be known yet.
func (a *Access) meetGroup(ctx context.Context, origin, key, name string) (int64, error) {
	if origin == "" {
		origin = FromLDAP
	}
	known, err := knownGroups(ctx, a.DB, origin, []string{key})
	if err != nil || known[key] != 0 {
		return known[key], err
	}
	g, err := a.resolve(ctx, origin, key, name)
	if err != nil {
		return 0, err
	}
	known, err = a.ensureGroups(ctx, origin, []string{g.Key}, map[string]string{g.Key: g.Name})
	return known[g.Key], err
}

// groupCalled answers the number of the one group that is called so.
func (a *Access) groupCalled(ctx context.Context, origin, name string) (int64, error) {
	if err := checkGroupName(name); err != nil {
		return 0, err
	}
	var found []int64
	for row, err := range a.DB.Rows(ctx, "SELECT id FROM user_groups WHERE name = ? AND (origin = ? OR ? = '') ORDER BY id LIMIT 2", name, origin, origin) {
		if err != nil {
			return 0, err
		}
		var id int64
		if err = row.Scan(&id); err != nil {
			return 0, err
		}
		found = append(found, id)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return 0, fail.E(fail.Conflict, nil, "several groups are called %q", name).Hint("name the group by its number or its key")
	case origin == FromOIDC || origin == FromHTTP:
		return a.meetGroup(ctx, origin, name, name)
	}
	return 0, fail.E(fail.NotFound, nil, "user group %q", name).Hint("name a directory's group by its distinguished name")
}

const memberColumns = `m.id, m.project, m.role, COALESCE(m.user_id, 0), COALESCE(m.group_id, 0), COALESCE(u.name, g.name, ''), m.created_at, m.changed_at
	FROM members m LEFT JOIN users u ON u.id = m.user_id LEFT JOIN user_groups g ON g.id = m.group_id`

func (m *Member) scan(row sqldb.Scanner) error {
	var created, changed int64
	err := row.Scan(&m.ID, &m.Project, &m.Role, &m.User, &m.Group, &m.Name, &created, &changed)
	m.Created, m.Changed = sqldb.FromMicros(created), sqldb.FromMicros(changed)
	return err
}

// Member finds a member of a project. NotFound, also for a member of another one.
func (a *Access) Member(ctx context.Context, project, id int64) (Member, error) {
	var m Member
	err := m.scan(a.DB.Row(ctx, "SELECT "+memberColumns+" WHERE m.id = ? AND m.project = ?", id, project))
	if fail.Is(err, fail.NotFound) {
		err = noMember(project, id)
	}
	return m, err
}

func noMember(project, id int64) error {
	return fail.E(fail.NotFound, nil, "member %d of project %d", id, project)
}

func badRole(text string) error {
	_, err := ParseRole(text)
	return err
}

// SetMemberRole gives a member another role. Invalid, NotFound.
func (a *Access) SetMemberRole(ctx context.Context, project, id int64, role Role) (Changed[Member], error) {
	if role.letter() == 0 {
		return Changed[Member]{}, badRole(fmt.Sprint(int(role)))
	}
	before, err := a.Member(ctx, project, id)
	if err != nil {
		return Changed[Member]{}, err
	}
	err = a.DB.Tx(ctx, "member.role", func(tx *sqldb.Tx) error {
		now := sqldb.Micros(tx.Now())
		n, txErr := tx.Exec(ctx, "UPDATE members SET role = ?, changed_at = "+raised+" WHERE id = ? AND project = ?", int(role), now, now, id, project)
		if txErr == nil && n == 0 {
			txErr = noMember(project, id)
		}
		return txErr
	})
	if err != nil {
		return Changed[Member]{}, err
	}
	after, err := a.Member(ctx, project, id)
	return Changed[Member]{before, after}, err
}

// RemoveMember takes a member's role away, and answers it as it was. NotFound.
func (a *Access) RemoveMember(ctx context.Context, project, id int64) (Member, error) {
	was, err := a.Member(ctx, project, id)
	if err != nil {
		return Member{}, err
	}
	err = a.DB.Tx(ctx, "member.remove", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(ctx, "DELETE FROM members WHERE id = ? AND project = ?", id, project)
		return cause
	})
	return was, err
}

// RolesIn answers the roles of a user in some projects, his own and those of his groups, from the one that may most: one query. Projects in which he has none are not among them.
func (a *Access) RolesIn(ctx context.Context, user int64, projects []int64) (map[int64][]Role, error) {
	all := map[int64][]Role{}
	if len(projects) == 0 || user == 0 {
		return all, nil
	}
	in := "m.project IN (?" + strings.Repeat(", ?", len(projects)-1) + ")"
	args := []any{user}
	for _, id := range projects {
		args = append(args, id)
	}
	for row, err := range a.DB.Rows(ctx, "SELECT m.project, m.role FROM members m WHERE m.user_id = ? AND "+in+
		" UNION SELECT m.project, m.role FROM group_users g JOIN members m ON m.group_id = g.group_id WHERE g.user_id = ? AND "+in, append(args, args...)...) {
		if err != nil {
			return nil, err
		}
		var project int64
		var role Role
		if err = row.Scan(&project, &role); err != nil {
			return nil, err
		}
		all[project] = append(all[project], role)
	}
	for _, roles := range all {
		slices.SortFunc(roles, func(x, y Role) int { return y.rank() - x.rank() })
	}
	return all, nil
}
