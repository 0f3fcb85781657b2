package access

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// FromHTTP is where groups of an HTTP authentication proxy come from; Harbor has them, and Havn knows nobody of them.
const FromHTTP = "http"

// UserGroup is a group of a directory or an identity provider that Havn knows of: somebody of it logged in, or an administrator named it.
type UserGroup struct {
	ID      int64
	Origin  string // FromLDAP, FromOIDC or FromHTTP
	Key     string // see Group.Key
	Name    string // what it is called here; several may be called the same
	Created time.Time
}

func checkGroupKey(key string) error {
	if key == "" || len(key) > maxSubject || !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' }) || strings.TrimSpace(key) != key {
		return fail.E(fail.Invalid, nil, "name of a group: %.100q", key).Hint("use 1 to %d bytes, without control characters, and without spaces at the ends", maxSubject)
	}
	return nil
}

func checkGroupName(name string) error {
	if name == "" || !isNote(name, maxName) || strings.TrimSpace(name) != name {
		return fail.E(fail.Invalid, nil, "name of a group: %.100q", name).Hint("use 1 to %d letters, and no spaces at the ends", maxName)
	}
	return nil
}

// resolve answers the group that an administrator means, as the directory writes it. One of a directory must be there; name "" takes the directory's.
func (a *Access) resolve(ctx context.Context, origin, key, name string) (Group, error) {
	if origin != FromLDAP && origin != FromOIDC && origin != FromHTTP {
		return Group{}, fail.E(fail.Invalid, nil, "a group of origin %.20q", origin).Hint("use %s or %s", FromLDAP, FromOIDC)
	}
	if err := checkGroupKey(key); err != nil {
		return Group{}, err
	}
	g := Group{Key: key, Name: name}
	if origin == FromLDAP {
		from, searches := a.Provider().(Searcher)
		if !searches {
			return Group{}, fail.E(fail.Conflict, nil, "there is no directory to look for the group %s in", key).Hint("set up LDAP first")
		}
		found, err := from.Group(ctx, key)
		if err != nil {
			return Group{}, fmt.Errorf("look for group %s: %w", key, err)
		}
		if g = found; name != "" {
			g.Name = name
		}
	}
	if g.Name == "" {
		g.Name = firstLetters(g.Key, maxName)
	}
	if err := checkGroupKey(g.Key); err != nil {
		return Group{}, err
	}
	return g, checkGroupName(g.Name)
}

// CreateGroup makes a group known before anybody of it logs in. Errors: Invalid; NotFound if the directory has none; Exists; Conflict without a directory; Unavailable.
func (a *Access) CreateGroup(ctx context.Context, origin, key, name string) (UserGroup, error) {
	g, err := a.resolve(ctx, origin, key, name)
	if err != nil {
		return UserGroup{}, err
	}
	op, taken := sqldb.NewToken(), false
	var id int64
	err = a.DB.Tx(ctx, "group.create", func(tx *sqldb.Tx) (err error) {
		if id, taken, err = made(ctx, tx, op, "SELECT id FROM user_groups WHERE origin = ? AND k = ?", origin, g.Key); err != nil || taken || id != 0 {
			return err
		}
		id, err = insertGroup(ctx, tx, origin, g.Key, g.Name)
		return err
	})
	if taken {
		err = fail.E(fail.Exists, nil, "group %s is there already", g.Key).Hint("it is number %d", id)
	}
	if err != nil {
		return UserGroup{}, err
	}
	return a.Group(ctx, id)
}

const groupColumns = "g.id, g.origin, g.k, g.name, g.created_at"

func (g *UserGroup) scan(row sqldb.Scanner) error {
	var created int64
	err := row.Scan(&g.ID, &g.Origin, &g.Key, &g.Name, &created)
	g.Created = sqldb.FromMicros(created)
	return err
}

// Group finds a group by its number. NotFound.
func (a *Access) Group(ctx context.Context, id int64) (UserGroup, error) {
	return findGroup(ctx, a.DB, id)
}

func findGroup(ctx context.Context, q sqldb.Querier, id int64) (UserGroup, error) {
	var g UserGroup
	err := g.scan(q.Row(ctx, "SELECT "+groupColumns+" FROM user_groups g WHERE g.id = ?", id))
	if fail.Is(err, fail.NotFound) {
		err = fail.E(fail.NotFound, nil, "user group %d", id)
	}
	return g, err
}

// RenameGroup changes what a group is called here. NotFound, Invalid.
func (a *Access) RenameGroup(ctx context.Context, id int64, name string) (Changed[UserGroup], error) {
	if err := checkGroupName(name); err != nil {
		return Changed[UserGroup]{}, err
	}
	before, err := a.Group(ctx, id)
	if err != nil {
		return Changed[UserGroup]{}, err
	}
	err = a.DB.Tx(ctx, "group.rename", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(ctx, "UPDATE user_groups SET name = ? WHERE id = ?", name, id)
		return cause
	})
	after := before
	after.Name = name
	return Changed[UserGroup]{before, after}, err
}

// DeleteGroup deletes a group with its memberships, those in projects too, in steps that do not grow with them, and answers it as it was. Who breaks off does it again. One that the
// directory still tells of comes back, without roles, with the next login of somebody in it. NotFound.
func (a *Access) DeleteGroup(ctx context.Context, id int64) (UserGroup, error) {
	was, err := a.Group(ctx, id)
	if err != nil {
		return UserGroup{}, err
	}
	err = a.strip(ctx, "group.delete", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(ctx, "DELETE FROM user_groups WHERE id = ?", id)
		return cause
	}, []strand{
		{"SELECT id FROM members WHERE group_id = ? LIMIT ?", "DELETE FROM members WHERE id = ?"},
		{"SELECT user_id FROM group_users WHERE group_id = ? LIMIT ?", "DELETE FROM group_users WHERE user_id = ? AND group_id = ?"},
	}, id)
	if err != nil {
		return UserGroup{}, fmt.Errorf("delete group %s: %w", was.Name, err)
	}
	return was, nil
}
