package access

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// maxSubject is the longest Person.Subject and Group.Key, in bytes.
	maxSubject = 700
	// seenNoted is how exactly is known when a person was told of last: one who logs in all the time is written once in that time.
	seenNoted = 10 * time.Minute
)

// SignIn answers whom a person of an identity provider is here, now that the provider has said so: for OIDC's callback. One who is not known yet is taken in under Person.Name; whoever is
// asked for a name first is found out with UserOf. token is what Config.Renewer will be given, "" for none. Errors: Exists if somebody else has the name; Denied if the account is
// disabled; Invalid if nobody can be called so.
func (a *Access) SignIn(ctx context.Context, origin string, p Person, token string) (Identity, error) {
	return a.admit(ctx, origin, p, token)
}

// profile is what is stored of a person.
type profile struct {
	user
	subject, email, realName string
	byGroup                  bool
	seen                     time.Time
	sealed                   string // of the token, "" if there is none
}

// admit brings what is stored of a person up to date, and answers who he is here. Only differences are written, in transactions that do not grow with the number of his groups.
func (a *Access) admit(ctx context.Context, origin string, p Person, token string) (Identity, error) {
	p, err := cleanPerson(p)
	if err != nil {
		return Identity{}, err
	}
	now := a.Clock()
	was, err := findProfile(ctx, a.DB, origin, p.Subject)
	if err != nil && !fail.Is(err, fail.NotFound) {
		return Identity{}, fmt.Errorf("find %s: %w", p.Name, err)
	}
	if err != nil || token != "" || was.differs(origin, p) || now.Sub(was.seen) >= seenNoted {
		if was, err = a.writePerson(ctx, origin, p, token); err != nil {
			return Identity{}, err
		}
	}
	if was.disabled {
		return Identity{}, fail.E(fail.Denied, nil, "user %s is disabled", was.name).Hint("an administrator can enable him")
	}
	if err = a.joinGroups(ctx, was.id, origin, p); err != nil {
		return Identity{}, fmt.Errorf("store the groups of %s: %w", was.name, err)
	}
	return was.identity(), nil
}

// cleanPerson refuses whom nobody can be, and drops what can't be stored.
func cleanPerson(p Person) (Person, error) {
	if p.Subject == "" || len(p.Subject) > maxSubject || !utf8.ValidString(p.Subject) || strings.ContainsRune(p.Subject, 0) || strings.TrimSpace(p.Subject) != p.Subject {
		return Person{}, fail.E(fail.Invalid, nil, "a person without a name of its own that can be stored: %.100q", p.Subject).Hint("it has 1 to %d bytes", maxSubject)
	}
	if !isNote(p.Email, maxName) || len(p.Email) > maxName {
		p.Email = ""
	}
	if !isNote(p.RealName, maxName) {
		p.RealName = ""
	}
	return p, nil
}

// differs reports whether a person is not as he is stored. An identity provider's people keep the names that they chose here.
func (s *profile) differs(origin string, p Person) bool {
	return s.email != p.Email || s.realName != p.RealName || s.byGroup != p.Admin || s.gone || origin == FromLDAP && !p.isCalled(s.name)
}

const profileColumns = userColumns + ", p.subject, COALESCE(u.email, ''), p.realname, p.seen_at, COALESCE(p.token, '')"

func (s *profile) scan(row sqldb.Scanner) error {
	var changed, seen int64
	var subject *string
	err := row.Scan(&s.id, &s.name, &s.hash, &s.admin, &s.disabled, &changed, &s.origin, &s.byGroup, &s.gone, &subject, &s.email, &s.realName, &seen, &s.sealed)
	if err != nil {
		return err
	}
	if subject != nil {
		s.subject = *subject
	}
	s.admin, s.changed, s.seen = s.admin || s.byGroup, sqldb.FromMicros(changed), sqldb.FromMicros(seen)
	return nil
}

// findProfile finds a person by what stays of him.
func findProfile(ctx context.Context, q sqldb.Querier, origin, subject string) (profile, error) {
	var s profile
	err := s.scan(q.Row(ctx, "SELECT "+profileColumns+" FROM profiles p JOIN users u ON u.id = p.user_id WHERE p.origin = ? AND p.subject = ?", origin, subject))
	if err == nil && s.subject != subject { // MariaDB, and spaces at the end
		err = fail.E(fail.NotFound, nil, "person %q", subject)
	}
	return s, err
}

// writePerson writes a person's account, new or changed. A second run finds what the first wrote.
func (a *Access) writePerson(ctx context.Context, origin string, p Person, token string) (profile, error) {
	var s profile
	var refused error
	err := a.DB.Tx(ctx, "person.admit", func(tx *sqldb.Tx) error {
		var err error
		if s, refused, err = a.placePerson(ctx, tx, origin, p); err != nil || refused != nil {
			return err
		}
		name := s.name
		if origin == FromLDAP && !p.isCalled(name) && a.checkPersonName(p.Name) == nil {
			if name, err = freeName(ctx, tx, p.Name, name); err != nil {
				return err
			}
		}
		sealed := s.sealed
		if token != "" {
			sealed = a.Seal.Seal(tokenName(s.id), []byte(token))
		}
		if _, err = tx.Exec(ctx, "UPDATE users SET name = ?, email = ? WHERE id = ?", name, textOrNull(p.Email), s.id); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE profiles SET subject = ?, realname = ?, origin_admin = ?, gone = ?, token = ?, seen_at = "+tx.Engine().Greatest("seen_at + 1", "?")+" WHERE user_id = ?",
			p.Subject, p.RealName, p.Admin, false, textOrNull(sealed), sqldb.Micros(tx.Now()), s.id)
		if err == nil {
			s, err = findProfile(ctx, tx, origin, p.Subject)
		}
		return err
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return profile{}, fmt.Errorf("take in %s: %w", p.Name, err)
	}
	return s, nil
}

// placePerson finds the account of a person, or makes it. A directory's people are known by their names too: a distinguished name changes when somebody is moved. Of one whom the directory did
// not know any more, the name may be somebody else's by now, who gets nothing that was his. A local account, or one of another origin, is never taken for a person's.
func (a *Access) placePerson(ctx context.Context, tx *sqldb.Tx, origin string, p Person) (s profile, refused, err error) {
	s, err = findProfile(ctx, tx, origin, p.Subject)
	if !fail.Is(err, fail.NotFound) {
		return s, nil, err
	}
	if refused = a.checkPersonName(p.Name); refused != nil {
		return profile{}, refused, nil
	}
	other, err := findUser(ctx, tx, p.Name)
	switch {
	case fail.Is(err, fail.NotFound):
		s, err = insertPerson(ctx, tx, origin, p)
		return s, nil, err
	case err != nil:
		return profile{}, nil, err
	case origin != FromLDAP || other.origin != FromLDAP:
		return profile{}, fail.E(fail.Exists, nil, "there is another user %s already, of origin %s", p.Name, other.origin).Hint("use another name, or let an administrator delete that account"), nil
	case other.gone:
		return profile{}, fail.E(fail.Exists, nil, "there is a user %s already, whom the directory knew under another distinguished name and then not any more", p.Name).
			Hint("let an administrator delete that account: then this one is made anew, with the rights of his groups alone"), nil
	}
	s.user = other
	return s, nil, nil
}

// checkPersonName refuses names that nobody can log in by.
func (a *Access) checkPersonName(name string) error {
	if !isName(name) || strings.TrimSpace(name) != name || strings.ContainsRune(name, ':') || a.isRobotName(name) {
		return fail.E(fail.Invalid, nil, "user name %.100q", name).
			Hint("use 1 to %d bytes, no control characters, no colon, no spaces at the ends, and not the prefix of robots (%s)", maxName, a.robotPrefix())
	}
	return nil
}

// insertPerson makes the account of somebody who has no password here.
func insertPerson(ctx context.Context, tx *sqldb.Tx, origin string, p Person) (profile, error) {
	id, err := index.NextNumber(ctx, tx, index.NumberUser)
	if err != nil {
		return profile{}, err
	}
	now := sqldb.Micros(tx.Now())
	_, err = tx.Exec(ctx, "INSERT INTO users (id, name, email, password_hash, admin, disabled, created_at, changed_at) VALUES (?, ?, ?, '', ?, ?, ?, ?)", id, p.Name, textOrNull(p.Email), false, false, now, now)
	if err != nil {
		return profile{}, err
	}
	_, err = tx.Exec(ctx, "INSERT INTO profiles (user_id, origin, subject, realname, comment, origin_admin, gone, token, seen_at) VALUES (?, ?, ?, ?, '', ?, ?, NULL, 0)",
		id, origin, p.Subject, p.RealName, p.Admin, false)
	return profile{user: user{id: id, name: p.Name, origin: origin}, subject: p.Subject}, err
}

// freeName answers the name that a person has now, or, if somebody else has that, the one that he had.
func freeName(ctx context.Context, tx *sqldb.Tx, now, before string) (string, error) {
	_, err := findUser(ctx, tx, now)
	if fail.Is(err, fail.NotFound) {
		return now, nil
	}
	return before, err
}

// tokenName is what the token of an identity provider is sealed under.
func tokenName(user int64) string { return fmt.Sprint("profile_token:", user) }

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
