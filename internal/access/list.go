package access

import (
	"context"
	"fmt"
	"strings"

	"github.com/havn-registry/havn/internal/sqldb"
)

// MaxPage is the largest page of a list.
const MaxPage = 100

// Page is a part of a list.
type Page struct {
	Offset int // how many are left out at the beginning
	Limit  int // how many there are at most; 0, and more than MaxPage: MaxPage
}

// Order is what a list is sorted by. Entries that are alike come in the order of their numbers.
type Order int

// Orders of lists.
const (
	ByName Order = iota
	ByID
	ByCreation
	ByChange
)

// UserQuery says which users are listed, and how. The zero value: all, by name, from the first.
type UserQuery struct {
	Name   string // exactly this one; "": any
	Part   string // this is a part of the name, in whatever case
	Email  string // this is a part of the e-mail address, in whatever case
	Origin string // FromHere, FromLDAP or FromOIDC; "": any
	Admins bool   // administrators alone, by themselves or by their group
	Others bool   // without the administrator of the first start
	Order  Order
	Down   bool // from the last to the first
	Page
}

// RobotQuery says which robots are listed, and how. The zero value: the system's, by name, from the first.
type RobotQuery struct {
	Project int64  // of this project; 0: the system's
	Every   bool   // of the system and of all projects, whatever Project is
	Name    string // exactly this one, without prefix and project; "": any
	Part    string // this is a part of that name, in whatever case
	Order   Order
	Down    bool
	Page
}

// MemberQuery says which members of a project are listed, by name.
type MemberQuery struct {
	Project int64
	Name    string // exactly this user or group; "": any
	Part    string // this is a part of the user's or the group's name, in whatever case
	Page
}

// GroupQuery says which groups are listed, by name.
type GroupQuery struct {
	Origin string // "": any
	Key    string // exactly this one; "": any
	Part   string // this is a part of the name, in whatever case
	Page
}

// listing makes a query of conditions.
type listing struct {
	conditions []string
	args       []any
}

func (l *listing) where(given bool, condition string, args ...any) {
	if given {
		l.conditions, l.args = append(l.conditions, condition), append(l.args, args...)
	}
}

// part takes what has a text in a column; some engines know of letters without accents alone that they have two cases.
func (l *listing) part(column, text string) {
	pattern := "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text) + "%"
	l.where(text != "", "LOWER("+column+") LIKE LOWER(?) ESCAPE '!'", pattern)
	l.where(!isNote(text, maxSubject), "1 = 0") // some engines would refuse to look for it
}

// exactly takes what is a text in a column.
func (l *listing) exactly(column, text string) {
	l.where(text != "", column+" = ?", text)
	l.where(!isNote(text, maxSubject), "1 = 0")
}

func (l *listing) condition() string {
	if len(l.conditions) == 0 {
		return "1 = 1"
	}
	return strings.Join(l.conditions, " AND ")
}

// run reads a page with a function that is given what stands behind WHERE, and counts all with a query up to there.
func (l *listing) run(ctx context.Context, db *sqldb.DB, name, count, order string, p Page, read func(q sqldb.Querier, behind string, args ...any) (int, error)) (total int64, err error) {
	if p.Limit <= 0 || p.Limit > MaxPage {
		p.Limit = MaxPage
	}
	p.Offset = max(0, p.Offset)
	err = db.View(ctx, name, func(q sqldb.Querier) error {
		n, readErr := read(q, l.condition()+" ORDER BY "+order+" LIMIT ? OFFSET ?", append(append([]any{}, l.args...), p.Limit, p.Offset)...)
		if readErr != nil {
			return readErr
		}
		if n < p.Limit && (n > 0 || p.Offset == 0) { // a page that is not full, and not behind the end, is the last
			total = int64(p.Offset + n)
			return nil
		}
		return q.Row(ctx, count+" WHERE "+l.condition(), l.args...).Scan(&total)
	})
	if err != nil {
		return 0, fmt.Errorf("list: %w", err)
	}
	return total, nil
}

// by answers what stands behind ORDER BY, for a table with columns name, id, created_at and changed_at.
func (o Order) by(table string, down bool) string {
	column := [...]string{"name", "id", "created_at", "changed_at"}[max(0, min(o, ByChange))]
	way := ""
	if down {
		way = " DESC"
	}
	if column == "id" {
		return table + ".id" + way
	}
	return table + "." + column + way + ", " + table + ".id"
}

// Users answers a page of users, and how many there are in all.
func (a *Access) Users(ctx context.Context, query UserQuery) (page []User, total int64, err error) {
	var l listing
	l.exactly("u.name", query.Name)
	l.part("u.name", query.Part)
	l.part("u.email", query.Email)
	l.exactly("COALESCE(p.origin, 'local')", query.Origin)
	l.where(query.Others, "u.name <> ?", Admin)
	l.where(query.Admins, "(u.admin = ? OR p.origin_admin = ?)", true, true)
	total, err = l.run(ctx, a.DB, "user.list", "SELECT COUNT(*) FROM users u LEFT JOIN profiles p ON p.user_id = u.id", query.Order.by("u", query.Down), query.Page,
		func(q sqldb.Querier, behind string, args ...any) (int, error) {
			page = []User{}
			for row, err := range q.Rows(ctx, "SELECT "+accountColumns+" WHERE "+behind, args...) {
				var u User
				if err == nil {
					err = u.scan(row)
				}
				if err != nil {
					return 0, err
				}
				page = append(page, u)
			}
			return len(page), nil
		})
	return page, total, err
}

// Robots answers a page of robots with their permissions, and how many there are in all.
func (a *Access) Robots(ctx context.Context, query RobotQuery) (page []Robot, total int64, err error) {
	var l listing
	l.where(!query.Every, "r.scope = ?", query.Project)
	l.exactly("r.name", query.Name)
	l.part("r.name", query.Part)
	total, err = l.run(ctx, a.DB, "robot.list", "SELECT COUNT(*) FROM robots r", query.Order.by("r", query.Down), query.Page,
		func(q sqldb.Querier, behind string, args ...any) (int, error) {
			if page, err = a.readRobots(ctx, q, behind, args...); err == nil {
				err = readPermissions(ctx, q, page)
			}
			return len(page), err
		})
	return page, total, err
}

// Members answers a page of a project's members, and how many there are in all.
func (a *Access) Members(ctx context.Context, query MemberQuery) (page []Member, total int64, err error) {
	var l listing
	l.where(true, "m.project = ?", query.Project)
	l.exactly("COALESCE(u.name, g.name, '')", query.Name)
	l.part("COALESCE(u.name, g.name, '')", query.Part)
	total, err = l.run(ctx, a.DB, "member.list", "SELECT COUNT(*) FROM members m LEFT JOIN users u ON u.id = m.user_id LEFT JOIN user_groups g ON g.id = m.group_id", "COALESCE(u.name, g.name, ''), m.id", query.Page,
		func(q sqldb.Querier, behind string, args ...any) (int, error) {
			page = []Member{}
			for row, err := range q.Rows(ctx, "SELECT "+memberColumns+" WHERE "+behind, args...) {
				var m Member
				if err == nil {
					err = m.scan(row)
				}
				if err != nil {
					return 0, err
				}
				page = append(page, m)
			}
			return len(page), nil
		})
	return page, total, err
}

// Groups answers a page of user groups, and how many there are in all.
func (a *Access) Groups(ctx context.Context, query GroupQuery) (page []UserGroup, total int64, err error) {
	var l listing
	l.exactly("g.origin", query.Origin)
	l.exactly("g.k", query.Key)
	l.part("g.name", query.Part)
	total, err = l.run(ctx, a.DB, "group.list", "SELECT COUNT(*) FROM user_groups g", "g.name, g.id", query.Page,
		func(q sqldb.Querier, behind string, args ...any) (int, error) {
			page = []UserGroup{}
			for row, err := range q.Rows(ctx, "SELECT "+groupColumns+" FROM user_groups g WHERE "+behind, args...) {
				var g UserGroup
				if err == nil {
					err = g.scan(row)
				}
				if err != nil {
					return 0, err
				}
				page = append(page, g)
			}
			return len(page), nil
		})
	return page, total, err
}
