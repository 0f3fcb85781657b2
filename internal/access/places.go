package access

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Places answers up to most numbers of the projects in which a user's or a group's membership, or a robot's permission for just that project, lets somebody do something. What
// administrators, and robots of the whole system, may do everywhere is not told by it.
func (a *Access) Places(ctx context.Context, who Identity, o Operation, most int) ([]int64, error) {
	var query string
	var args []any
	switch {
	case who.Robot != 0:
		query = "SELECT DISTINCT o.scope FROM robot_permissions o WHERE o.robot = ? AND o.scope > 0 AND o.resource IN (?, '*') AND o.action IN (?, '*') AND o.effect <> 'deny' LIMIT ?"
		args = []any{who.Robot, o.Resource, o.Action, most}
	case who.User != 0:
		roles := rolesWith(o)
		query = "SELECT m.project FROM members m WHERE m.user_id = ? AND m.role IN (" + roles + ") UNION SELECT m.project FROM group_users g JOIN members m ON m.group_id = g.group_id WHERE g.user_id = ? AND m.role IN (" + roles + ") LIMIT ?"
		args = []any{who.User, who.User, most}
	default:
		return nil, nil
	}
	var all []int64
	for row, err := range a.DB.Rows(ctx, query, args...) {
		var id int64
		if err == nil {
			err = row.Scan(&id)
		}
		if err != nil {
			return nil, fmt.Errorf("list projects in which %s is allowed: %w", o, err)
		}
		all = append(all, id)
	}
	return all, nil
}

// rolesWith answers the numbers of the roles that may do something, as a list of SQL that is never empty.
func rolesWith(o Operation) string {
	all := []string{"0"}
	for _, r := range Roles() {
		if r.May(o) {
			all = append(all, strconv.Itoa(int(r)))
		}
	}
	return strings.Join(all, ", ")
}
