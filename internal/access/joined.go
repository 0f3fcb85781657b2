package access

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// mostGroups bounds the groups of a person that count: each question for rights goes through them.
	mostGroups = 2000
	// joinTries bounds how often the groups are written anew because one of them was deleted at the same time.
	joinTries = 3
)

// joinGroups brings a person's memberships in groups of his origin up to date: first those go that he has no more.
func (a *Access) joinGroups(ctx context.Context, user int64, origin string, p Person) error {
	wanted := a.cleanGroups(ctx, p)
	for try := 1; ; try++ {
		err := a.tryJoin(ctx, user, origin, wanted)
		if fail.CodeOf(err) != sqldb.CodeFK || try == joinTries {
			return err
		}
	}
}

func (a *Access) tryJoin(ctx context.Context, user int64, origin string, wanted map[string]string) error {
	held, err := heldGroups(ctx, a.DB, user, origin)
	if err != nil {
		return err
	}
	var lost []int64
	for key, id := range held {
		if _, stays := wanted[key]; !stays {
			lost = append(lost, id)
		}
	}
	slices.Sort(lost)
	for part := range slices.Chunk(lost, rowsAtOnce) {
		if err = a.leaveGroups(ctx, user, part); err != nil {
			return err
		}
	}
	var won []string
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if _, there := held[key]; !there {
			won = append(won, key)
		}
	}
	for part := range slices.Chunk(won, rowsAtOnce) {
		if err = a.enterGroups(ctx, user, origin, part, wanted); err != nil {
			return err
		}
	}
	return nil
}

// cleanGroups answers the names of a person's groups by their keys, without what can't be stored and what is beyond the bound.
func (a *Access) cleanGroups(ctx context.Context, p Person) map[string]string {
	all, left := map[string]string{}, 0
	for _, g := range p.Groups {
		name := g.Name
		if name == "" || !isNote(name, maxName) {
			name = firstLetters(g.Key, maxName)
		}
		if checkGroupKey(g.Key) != nil || len(all) >= mostGroups && all[g.Key] == "" {
			left++
			continue
		}
		all[g.Key] = name
	}
	if left > 0 {
		a.Log.WarnContext(ctx, "groups of a person are left out: they can't be stored, or there are too many", "user", p.Name, "left_out", left, "most", mostGroups)
	}
	return all
}

func firstLetters(s string, n int) string {
	letters := []rune(s)
	return string(letters[:min(n, len(letters))])
}

// heldGroups answers the numbers of a person's groups of an origin by their keys.
func heldGroups(ctx context.Context, q sqldb.Querier, user int64, origin string) (map[string]int64, error) {
	return groupNumbers(ctx, q, "SELECT g.id, g.k FROM group_users m JOIN user_groups g ON g.id = m.group_id WHERE m.user_id = ? AND g.origin = ?", user, origin)
}

// knownGroups answers the numbers of those of some groups that are known.
func knownGroups(ctx context.Context, q sqldb.Querier, origin string, keys []string) (map[string]int64, error) {
	args := []any{origin}
	for _, key := range keys {
		args = append(args, key)
	}
	return groupNumbers(ctx, q, "SELECT id, k FROM user_groups WHERE origin = ? AND k IN (?"+strings.Repeat(", ?", len(keys)-1)+")", args...)
}

func groupNumbers(ctx context.Context, q sqldb.Querier, query string, args ...any) (map[string]int64, error) {
	all := map[string]int64{}
	for row, err := range q.Rows(ctx, query, args...) {
		if err != nil {
			return nil, err
		}
		var id int64
		var key string
		if err = row.Scan(&id, &key); err != nil {
			return nil, err
		}
		all[key] = id
	}
	return all, nil
}

func (a *Access) leaveGroups(ctx context.Context, user int64, groups []int64) error {
	return a.DB.Tx(ctx, "person.leave", func(tx *sqldb.Tx) error {
		for _, id := range groups {
			if _, err := tx.Exec(ctx, "DELETE FROM group_users WHERE user_id = ? AND group_id = ?", user, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// enterGroups makes the groups that nobody has told of before, and then the memberships. The group's key keeps one from being deleted meanwhile.
func (a *Access) enterGroups(ctx context.Context, user int64, origin string, keys []string, names map[string]string) error {
	known, err := knownGroups(ctx, a.DB, origin, keys)
	if err != nil {
		return err
	}
	if len(known) < len(keys) {
		if known, err = a.ensureGroups(ctx, origin, keys, names); err != nil {
			return err
		}
	}
	return a.DB.Tx(ctx, "person.enter", func(tx *sqldb.Tx) error {
		for _, key := range keys {
			if _, txErr := tx.InsertIgnore(ctx, "group_users", []string{"user_id", "group_id"}, user, known[key]); txErr != nil {
				return txErr
			}
		}
		return nil
	})
}

// ensureGroups makes those of some groups that are not known, and answers the numbers of all. A second run finds those of the first.
func (a *Access) ensureGroups(ctx context.Context, origin string, keys []string, names map[string]string) (map[string]int64, error) {
	var known map[string]int64
	err := a.DB.Tx(ctx, "group.meet", func(tx *sqldb.Tx) (err error) {
		if known, err = knownGroups(ctx, tx, origin, keys); err != nil {
			return err
		}
		for _, key := range keys {
			if _, there := known[key]; there {
				continue
			}
			if known[key], err = insertGroup(ctx, tx, origin, key, names[key]); err != nil {
				return err
			}
		}
		return nil
	})
	return known, err
}

func insertGroup(ctx context.Context, tx *sqldb.Tx, origin, key, name string) (int64, error) {
	id, err := index.NextNumber(ctx, tx, index.NumberGroup)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, "INSERT INTO user_groups (id, origin, k, name, created_at) VALUES (?, ?, ?, ?, ?)", id, origin, key, name, sqldb.Micros(tx.Now()))
	return id, err
}
