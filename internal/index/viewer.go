package index

// Viewer is who looks at lists of projects and repositories. The zero Viewer sees what is public.
type Viewer struct {
	All   bool  // sees all
	User  int64 // sees the projects of his own memberships and of those of his groups too
	Robot int64 // sees the projects too in which it may pull, or list repositories
}

// condition answers what a row p of projects must meet, in parentheses, and its parameters. It looks at one project after the other: for lists that end early.
func (v Viewer) condition() (cond string, args []any) {
	if v.All {
		return "(1 = 1)", nil
	}
	cond, args = "(p.public = ?", []any{true}
	if v.User != 0 {
		cond += ` OR EXISTS (SELECT 1 FROM members m WHERE m.user_id = ? AND m.project = p.id)
			OR EXISTS (SELECT 1 FROM group_users g JOIN members m ON m.group_id = g.group_id WHERE g.user_id = ? AND m.project = p.id)`
		args = append(args, v.User, v.User)
	}
	if v.Robot != 0 {
		cond += ` OR EXISTS (SELECT 1 FROM robot_permissions o WHERE o.robot = ? AND o.scope IN (-1, p.id) AND ` + robotSees + `)`
		args = append(args, v.Robot)
	}
	return cond + ")", args
}

// robotSees is what a permission o of a robot must be so that it sees the project.
const robotSees = "o.resource IN ('repository', '*') AND o.action IN ('pull', 'list', '*') AND o.effect <> 'deny'"

// sets is condition for lists that look at all projects: what the viewer has in all is looked for once.
func (v Viewer) sets() (cond string, args []any) {
	if v.All {
		return "(1 = 1)", nil
	}
	cond, args = "(p.public = ?", []any{true}
	if v.User != 0 {
		cond += ` OR p.id IN (SELECT m.project FROM members m WHERE m.user_id = ?)
			OR p.id IN (SELECT m.project FROM group_users g JOIN members m ON m.group_id = g.group_id WHERE g.user_id = ?)`
		args = append(args, v.User, v.User)
	}
	if v.Robot != 0 {
		cond += ` OR p.id IN (SELECT o.scope FROM robot_permissions o WHERE o.robot = ? AND ` + robotSees + `)
			OR EXISTS (SELECT 1 FROM robot_permissions o WHERE o.robot = ? AND o.scope = -1 AND ` + robotSees + `)`
		args = append(args, v.Robot, v.Robot)
	}
	return cond + ")", args
}
