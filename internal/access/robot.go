package access

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Robot is an account for programs.
type Robot struct {
	ID          int64
	Name        string // the whole one, with the prefix of now
	ProjectID   int64  // 0: a robot of the system
	Project     string // "": likewise
	Description string
	Disabled    bool
	Days        int64     // it lives so long; Forever
	Expires     time.Time // zero: never
	Creator     Creator
	Created     time.Time
	Changed     time.Time
	Permissions []Permission // in the order of their places, resources and actions
}

// Forever is a robot's Days without an end.
const Forever = -1

// Creator is who made a robot.
type Creator struct {
	Robot bool  // a robot, not a user
	ID    int64 // 0: nobody that is known
}

// RobotSpec is what is to be said of a robot. Name, Project and Secret count when it is made, and stay.
type RobotSpec struct {
	Name        string // without prefix and project
	Project     string // "": a robot of the system
	Secret      string // "": one is made
	Description string
	Disabled    bool
	Days        int64 // 1 to MostDays, or Forever
	Permissions []Permission
}

const (
	// MostDays is the longest time that a robot can be given, in days.
	MostDays = 36500
	day      = 24 * time.Hour
	// maxDescription is the longest description of a robot, in letters.
	maxDescription = 1024
	robotSecret    = "robot" // the kind of a robot's secret
)

func (s *RobotSpec) check(project string) error {
	switch {
	case s.Days != Forever && (s.Days < 1 || s.Days > MostDays):
		return fail.E(fail.Invalid, nil, "robot for %d days", s.Days).Hint("use 1 to %d, or -1 for no end", MostDays)
	case !isNote(s.Description, maxDescription):
		return fail.E(fail.Invalid, nil, "description of a robot").Hint("use at most %d letters, and no control characters but line breaks", maxDescription)
	}
	return checkPermissions(project, s.Permissions)
}

// isNote reports whether a text for people can be stored: some engines count letters, and others bytes.
func isNote(s string, most int) bool {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > most {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
	}
	return true
}

func (s *RobotSpec) expires(created time.Time) time.Time {
	if s.Days == Forever {
		return time.Time{}
	}
	return created.Add(time.Duration(s.Days) * day)
}

// CreateRobot makes a robot, and answers its secret, which nobody is told again. Errors: Invalid; Denied if a permission is more than who asks has; NotFound without the project, or one of a permission;
// Exists.
func (a *Access) CreateRobot(ctx context.Context, who Identity, s RobotSpec) (Robot, string, error) {
	if s.Secret == "" {
		s.Secret = newSecret()
	}
	if err := s.checkNew(); err != nil {
		return Robot{}, "", err
	}
	if err := a.mayGive(ctx, who, s.Permissions); err != nil {
		return Robot{}, "", err
	}
	op, taken := sqldb.NewToken(), false
	var id int64
	err := a.DB.Tx(ctx, "robot.create", func(tx *sqldb.Tx) error {
		places, err := findPlaces(ctx, tx, s.Project, s.Permissions)
		if err != nil {
			return err
		}
		id, taken, err = made(ctx, tx, op, "SELECT id FROM robots WHERE scope = ? AND name = ?", places[s.Project], s.Name)
		if err != nil || taken || id != 0 {
			return err
		}
		if id, err = index.NextNumber(ctx, tx, index.NumberRobot); err != nil {
			return err
		}
		return a.insertRobot(ctx, tx, id, who, s, places)
	})
	if taken {
		err = fail.E(fail.Exists, nil, "robot %s is there already", RobotName(a.robotPrefix(), s.Project, s.Name)).Hint("use another name, or change that one")
	}
	if err != nil {
		return Robot{}, "", fmt.Errorf("make robot %s: %w", s.Name, keyIsNotFound(err, "project"))
	}
	r, err := a.Robot(ctx, id)
	return r, s.Secret, err
}

func (s *RobotSpec) checkNew() error {
	if err := checkRobotName(s.Project, s.Name); err != nil {
		return err
	}
	if err := CheckSecret(s.Secret); err != nil {
		return err
	}
	return s.check(s.Project)
}

func (a *Access) insertRobot(ctx context.Context, tx *sqldb.Tx, id int64, who Identity, s RobotSpec, places map[string]int64) error {
	now := tx.Now()
	creator, kind := who.User, FromHere
	if who.Robot != 0 {
		creator, kind = who.Robot, robotSecret
	}
	_, err := tx.Exec(ctx, `INSERT INTO robots (id, scope, project, name, description, secret, disabled, duration, expires_at, creator_type, creator, created_at, changed_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, places[s.Project], orNull(places[s.Project]), s.Name, s.Description, a.secrets.hash(robotSecret, id, s.Secret), s.Disabled, s.Days, timeOrNull(s.expires(now)), kind, creator,
		sqldb.Micros(now), sqldb.Micros(now))
	if err != nil {
		return err
	}
	return insertPermissions(ctx, tx, id, s.Permissions, places)
}

// Robot finds a robot by its number, with its permissions. NotFound.
func (a *Access) Robot(ctx context.Context, id int64) (Robot, error) {
	var all []Robot
	err := a.DB.View(ctx, "robot.read", func(q sqldb.Querier) (err error) {
		if all, err = a.readRobots(ctx, q, "r.id = ?", id); err == nil {
			err = readPermissions(ctx, q, all)
		}
		return err
	})
	if err == nil && len(all) == 0 {
		err = noRobot(id)
	}
	if err != nil {
		return Robot{}, err
	}
	return all[0], nil
}

func noRobot(id int64) error { return fail.E(fail.NotFound, nil, "robot %d", id) }

// UpdateRobot changes what Harbor lets be changed: description, Disabled, Days (which count from the robot's creation) and permissions; these replace all that it had, and those that are new
// may not be more than who asks has. Its tokens end with a Disabled at once, and otherwise hold what they were granted until they end. Errors as CreateRobot's.
func (a *Access) UpdateRobot(ctx context.Context, who Identity, id int64, s RobotSpec) (Changed[Robot], error) {
	before, err := a.Robot(ctx, id)
	if err != nil {
		return Changed[Robot]{}, err
	}
	if err = s.check(before.Project); err != nil {
		return Changed[Robot]{}, err
	}
	given := without(s.Permissions, before.Permissions)
	if err = a.mayGive(ctx, who, given); err != nil {
		return Changed[Robot]{}, err
	}
	err = a.DB.Tx(ctx, "robot.change", func(tx *sqldb.Tx) error { return a.writeRobot(ctx, tx, before, s, given) })
	a.verified.forget(owner{robot: id})
	if err == nil && s.Disabled {
		a.heed(ctx)
	}
	if err != nil {
		return Changed[Robot]{}, fmt.Errorf("change robot %s: %w", before.Name, keyIsNotFound(err, "project"))
	}
	after, err := a.Robot(ctx, id)
	return Changed[Robot]{before, after}, err
}

// writeRobot writes the differences. The robot's row comes first, and always changes: of two that change its permissions at once, one comes behind the other. What is given anew was
// looked at before, and may have become more meanwhile.
func (a *Access) writeRobot(ctx context.Context, tx *sqldb.Tx, before Robot, s RobotSpec, given []Permission) error {
	id := before.ID
	var err error
	if s.Disabled {
		err = revokeRobot(ctx, tx, id, before.Name)
	} else {
		err = touchRobot(ctx, tx, id)
	}
	if err != nil {
		return err
	}
	robots, err := a.readRobots(ctx, tx, "r.id = ?", id)
	if err == nil {
		err = readPermissions(ctx, tx, robots)
	}
	if err != nil {
		return err
	}
	was := robots[0]
	more, less := without(s.Permissions, was.Permissions), without(was.Permissions, s.Permissions)
	if len(without(more, given)) > 0 {
		return fail.E(fail.Conflict, nil, "somebody else changed the robot at the same time").Hint("look at it, and try again")
	}
	places, err := findPlaces(ctx, tx, "", slices.Concat(more, less))
	if err != nil {
		return err
	}
	if _, err = tx.Exec(ctx, "UPDATE robots SET description = ?, disabled = ?, duration = ?, expires_at = ? WHERE id = ?", s.Description, s.Disabled, s.Days, timeOrNull(s.expires(was.Created)), id); err != nil {
		return err
	}
	if err = deletePermissions(ctx, tx, id, less, places); err != nil {
		return err
	}
	return insertPermissions(ctx, tx, id, more, places)
}

// touchRobot changes a robot's row, so that who else changes it waits, or collides. NotFound.
func touchRobot(ctx context.Context, tx *sqldb.Tx, id int64) error {
	now := sqldb.Micros(tx.Now())
	n, err := tx.Exec(ctx, "UPDATE robots SET changed_at = "+raised+" WHERE id = ?", now, now, id)
	if err == nil && n == 0 {
		err = noRobot(id)
	}
	return err
}

// SetRobotSecret gives a robot another secret, "" for one that is made, and answers it. The old one ends at once at this node, and within seconds at the others; tokens that were issued for
// it end as they would. Invalid, NotFound.
func (a *Access) SetRobotSecret(ctx context.Context, id int64, secret string) (string, error) {
	if secret == "" {
		secret = newSecret()
	}
	if err := CheckSecret(secret); err != nil {
		return "", err
	}
	var n int64
	err := a.DB.Tx(ctx, "robot.secret", func(tx *sqldb.Tx) (err error) {
		now := sqldb.Micros(tx.Now())
		n, err = tx.Exec(ctx, "UPDATE robots SET secret = ?, changed_at = "+raised+" WHERE id = ?", a.secrets.hash(robotSecret, id, secret), now, now, id)
		return err
	})
	a.verified.forget(owner{robot: id})
	if err == nil && n == 0 {
		err = noRobot(id)
	}
	if err != nil {
		return "", err
	}
	return secret, nil
}

// DeleteRobot deletes a robot, and answers it as it was. Its tokens end. NotFound.
func (a *Access) DeleteRobot(ctx context.Context, id int64) (Robot, error) {
	was, err := a.Robot(ctx, id)
	if err != nil {
		return Robot{}, err
	}
	err = a.DB.Tx(ctx, "robot.delete", func(tx *sqldb.Tx) error {
		if txErr := revokeRobot(ctx, tx, id, was.Name); txErr != nil {
			return absentIsFine(txErr) // an earlier run deleted it, or somebody else
		}
		if _, txErr := tx.Exec(ctx, "DELETE FROM robot_permissions WHERE robot = ?", id); txErr != nil {
			return txErr
		}
		_, txErr := tx.Exec(ctx, "DELETE FROM robots WHERE id = ?", id)
		return txErr
	})
	a.verified.forget(owner{robot: id})
	if err != nil {
		return Robot{}, fmt.Errorf("delete robot %s: %w", was.Name, err)
	}
	a.heed(ctx)
	return was, nil
}
