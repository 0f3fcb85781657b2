package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// robotRow is what counts of a robot when it logs in.
type robotRow struct {
	id       int64
	name     string // without prefix and project
	secret   []byte
	disabled bool
	expires  *int64
	version  int64
}

func (r *robotRow) scan(row sqldb.Scanner) error {
	return row.Scan(&r.id, &r.name, &r.secret, &r.disabled, &r.expires, &r.version)
}

const robotColumns = "r.id, r.name, r.secret, r.disabled, r.expires_at, r.changed_at"

// findRobot finds a robot by its whole name. NotFound.
func (a *Access) findRobot(ctx context.Context, whole string) (robotRow, error) {
	var r robotRow
	project, name, ok := ParseRobotName(a.robotPrefix(), whole)
	if !ok {
		return r, fail.E(fail.NotFound, nil, "robot %q", whole)
	}
	var err error
	if project == "" {
		err = r.scan(a.DB.Row(ctx, "SELECT "+robotColumns+" FROM robots r WHERE r.scope = ? AND r.name = ?", systemScope, name))
	} else {
		err = r.scan(a.DB.Row(ctx, "SELECT "+robotColumns+" FROM projects p JOIN robots r ON r.scope = p.id WHERE p.name = ? AND r.name = ?", project, name))
	}
	if err == nil && r.name != name { // MariaDB compares as if both ended in the same number of spaces
		err = fail.E(fail.NotFound, nil, "robot %q", whole)
	}
	return r, err
}

// ended answers why a robot may not do anything now, nil if it may.
func (a *Access) ended(r robotRow) error {
	switch {
	case r.disabled:
		return errors.New("the robot is disabled")
	case r.expires != nil && *r.expires <= sqldb.Micros(a.Clock()):
		return errors.New("the robot's time is over")
	}
	return nil
}

// isRobotName reports whether somebody calls himself by a name that robots have. Such a name is never sent to a directory.
func (a *Access) isRobotName(name string) bool { return strings.HasPrefix(name, a.robotPrefix()) }

// robotPrefix answers what begins the names of robots now: something, or everybody would be one.
func (a *Access) robotPrefix() string {
	return cmp.Or(a.Policy().RobotPrefix, DefaultPolicy().RobotPrefix)
}

// robotLogin compares a robot's secret. known is false if there is no robot of this name.
func (a *Access) robotLogin(ctx context.Context, whole, secret string) (who Identity, known bool, err error) {
	r, err := a.findRobot(ctx, whole)
	if fail.Is(err, fail.NotFound) {
		return Identity{}, false, nil
	}
	if err != nil {
		return Identity{}, false, fmt.Errorf("find robot: %w", err)
	}
	if !a.secrets.matches(r.secret, robotSecret, r.id, secret) {
		return Identity{}, true, wrong()
	}
	if err = a.ended(r); err != nil { // told to none but who has the secret: those who look after a robot look there
		return Identity{}, true, fail.E(fail.Unauthenticated, err, "robot %s can't log in", whole).Code(oci.CodeUnauthorized).Hint("an administrator can enable it, or give it more time")
	}
	return Identity{Subject: whole, Robot: r.id, version: r.version}, true, nil
}

// enabledRobot refuses a robot that is deleted, disabled or over.
func (a *Access) enabledRobot(ctx context.Context, id int64) error {
	var r robotRow
	err := r.scan(a.DB.Row(ctx, "SELECT "+robotColumns+" FROM robots r WHERE r.id = ?", id))
	if fail.Is(err, fail.NotFound) {
		return invalidToken(errors.New("no such robot"))
	}
	if err != nil {
		return fmt.Errorf("find robot: %w", err)
	}
	if err = a.ended(r); err != nil {
		return invalidToken(err)
	}
	return nil
}
