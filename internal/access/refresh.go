package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// DefaultRefreshAge is how old the groups of somebody who does not log in may become.
	DefaultRefreshAge = time.Hour
	// refreshEvery is how often it is looked whose they are.
	refreshEvery = time.Minute
	// peopleAtOnce bounds one query for people.
	peopleAtOnce = 100
)

// Refreshed is what a refresh of people came to.
type Refreshed struct {
	Told int // whom the directory told of
	Gone int // whom it does not know any more
	Left int // of whom nothing was found out; the next refresh asks again
}

// RefreshGroups asks the directory, and the identity provider where it can be asked, for everybody whom it told of last longer than Config.RefreshAge ago: groups, names and who is an
// administrator become what they say. Whom they do not know any more is out, with all his tokens, until they know him again. It may run on several nodes at once, and break off at any point.
// It ends with the first sign that the directory is away: Unavailable.
func (a *Access) RefreshGroups(ctx context.Context) (Refreshed, error) {
	var sum Refreshed
	var errs []error
	if from := a.Provider(); from != nil {
		errs = append(errs, a.refresh(ctx, FromLDAP, &sum, func(ctx context.Context, s profile) error { return a.findAgain(ctx, from, s) }))
	}
	if from := a.Renewer(); from != nil {
		errs = append(errs, a.refresh(ctx, FromOIDC, &sum, func(ctx context.Context, s profile) error { return a.renewPerson(ctx, from, s) }))
	}
	return sum, errors.Join(errs...)
}

// Duty is the refresh of people as one node's duty.
type Duty struct {
	Access *Access
	Holds  func(context.Context) (bool, error) // whether it is this node's now
	Every  <-chan time.Time                    // when to look whose groups are old; nil: each minute
}

// Run refreshes people until the context ends.
func (d Duty) Run(ctx context.Context) error {
	if d.Every == nil {
		tick := time.NewTicker(refreshEvery)
		defer tick.Stop()
		d.Every = tick.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.Every:
		}
		d.once(ctx)
	}
}

func (d Duty) once(ctx context.Context) {
	a := d.Access
	if a.Provider() == nil && a.Renewer() == nil {
		return
	}
	var done Refreshed
	mine, err := d.Holds(ctx)
	if mine && err == nil {
		done, err = a.RefreshGroups(ctx)
	}
	switch {
	case err != nil && ctx.Err() == nil:
		a.Log.WarnContext(ctx, "groups of users not refreshed", "error", err, "hint", fail.HintOf(err), "told", done.Told, "gone", done.Gone, "left", done.Left)
	case done != Refreshed{}:
		a.Log.InfoContext(ctx, "groups of users refreshed", "told", done.Told, "gone", done.Gone, "left", done.Left)
	}
}

// refresh goes through the people of an origin, those that were not told of for longest first. One who fails by himself holds nobody else back.
func (a *Access) refresh(ctx context.Context, origin string, sum *Refreshed, ask func(context.Context, profile) error) error {
	before := sqldb.Micros(a.Clock().Add(-a.RefreshAge))
	var seen, id int64
	for {
		people, err := stalePeople(ctx, a.DB, origin, before, seen, id)
		if err != nil {
			return fmt.Errorf("find people of %s: %w", origin, err)
		}
		for _, s := range people {
			seen, id = sqldb.Micros(s.seen), s.id
			err = ask(ctx, s)
			switch {
			case err == nil:
				sum.Told++
			case errors.Is(err, errGone):
				sum.Gone++
				err = nil
			case errors.Is(err, errUnasked):
				err = nil
			case fail.Is(err, fail.Unavailable), ctx.Err() != nil:
			default:
				sum.Left++
				a.Log.WarnContext(ctx, "user not refreshed", "user", s.name, "subject", s.subject, "error", err, "hint", fail.HintOf(err))
				err = nil
			}
			if err != nil {
				return fmt.Errorf("refresh user %s: %w", s.name, err)
			}
		}
		if len(people) < peopleAtOnce {
			return nil
		}
	}
}

// stalePeople answers some people who were told of last before a time, behind the one who was told of at seen and has a number.
func stalePeople(ctx context.Context, q sqldb.Querier, origin string, before, seen, id int64) ([]profile, error) {
	var all []profile
	for row, err := range q.Rows(ctx, "SELECT "+profileColumns+` FROM profiles p JOIN users u ON u.id = p.user_id
		WHERE p.origin = ? AND p.seen_at < ? AND (p.seen_at > ? OR p.seen_at = ? AND p.user_id > ?) AND (p.origin <> 'oidc' OR p.token IS NOT NULL) ORDER BY p.seen_at, p.user_id LIMIT ?`, origin, before, seen, seen, id, peopleAtOnce) {
		if err != nil {
			return nil, err
		}
		var s profile
		if err = s.scan(row); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// findAgain asks the directory for somebody. Who is not where he was may have been moved; of one who was gone before, the name may be somebody else's by now: see placePerson.
func (a *Access) findAgain(ctx context.Context, from Provider, s profile) error {
	p, err := from.Find(ctx, s.subject)
	if fail.Is(err, fail.NotFound) && !s.gone {
		p, err = a.findMoved(ctx, from, s)
	}
	if fail.Is(err, fail.NotFound) {
		return a.setGone(ctx, s)
	}
	if err != nil {
		return err
	}
	return a.readmit(ctx, FromLDAP, p, "")
}

// findMoved answers the one who has somebody's name now. NotFound: there is none, or he is another user here.
func (a *Access) findMoved(ctx context.Context, from Provider, s profile) (Person, error) {
	none := fail.E(fail.NotFound, nil, "person of the name %s", s.name)
	searcher, searches := from.(Searcher)
	if !searches {
		return Person{}, none
	}
	p, err := searcher.Lookup(ctx, s.name)
	if err != nil {
		return Person{}, err
	}
	if _, err = findProfile(ctx, a.DB, FromLDAP, p.Subject); err == nil || p.Name != s.name {
		return Person{}, none
	}
	if !fail.Is(err, fail.NotFound) {
		return Person{}, err
	}
	return from.Find(ctx, p.Subject)
}

// readmit takes a person in who did not come himself: whether he is disabled here is nothing to the directory.
func (a *Access) readmit(ctx context.Context, origin string, p Person, token string) error {
	_, err := a.admit(ctx, origin, p, token)
	if fail.Is(err, fail.Denied) {
		return nil
	}
	return err
}

// renewPerson asks the identity provider for somebody, by what it gave for that, which many take once only:
//
//  1. The row is claimed by a change of seen_at: of two nodes one asks.
//  2. The provider is asked. A crash here: the token may be spent. The next refresh is refused, and he logs in with his browser again.
//  3. What it gave for the next time is stored, whatever it said.
func (a *Access) renewPerson(ctx context.Context, from Renewer, s profile) error {
	was := s.seen
	won, err := a.claimPerson(ctx, &s)
	if err != nil || !won {
		return err
	}
	token, err := a.Seal.Open(tokenName(s.id), s.sealed)
	if err != nil {
		return err
	}
	p, next, err := from.Renew(ctx, s.subject, string(token))
	if err == nil {
		return a.readmit(ctx, FromOIDC, p, next)
	}
	if next != "" {
		if storeErr := a.storeToken(ctx, s, next); storeErr != nil {
			return storeErr
		}
	}
	switch {
	case fail.Is(err, fail.Unauthenticated):
		return a.setGone(ctx, s)
	case fail.Is(err, fail.Unsupported):
		if sqldb.Micros(was) == askSoon { // a revocation's mark, which says nothing of when somebody told of him
			was = s.seen
		}
		if err = a.dropToken(ctx, s, was); err == nil {
			err = errUnasked
		}
	}
	return err
}

// askSoon is when somebody was told of last whom the next refresh is to ask for.
const askSoon = 1

// askFor asks the directory, or the identity provider, for one person now. What fails, the next refresh does.
func (a *Access) askFor(ctx context.Context, id int64) {
	var s profile
	err := s.scan(a.DB.Row(ctx, "SELECT "+profileColumns+" FROM profiles p JOIN users u ON u.id = p.user_id WHERE p.user_id = ?", id))
	from, renewer := a.Provider(), a.Renewer()
	switch {
	case err != nil:
	case s.origin == FromLDAP && from != nil:
		err = a.findAgain(ctx, from, s)
	case s.origin == FromOIDC && renewer != nil && s.sealed != "":
		err = a.renewPerson(ctx, renewer, s)
	}
	if err != nil && !errors.Is(err, errGone) && !errors.Is(err, errUnasked) && !fail.Is(err, fail.NotFound) {
		a.Log.WarnContext(ctx, "user not refreshed; the next refresh asks again", "user", s.name, "error", err, "hint", fail.HintOf(err))
	}
}

// claimPerson makes a person this node's to ask for.
func (a *Access) claimPerson(ctx context.Context, s *profile) (won bool, err error) {
	now := max(sqldb.Micros(a.Clock()), sqldb.Micros(s.seen)+1)
	var n int64
	err = a.DB.Tx(ctx, "person.claim", func(tx *sqldb.Tx) (err error) {
		n, err = tx.Exec(ctx, "UPDATE profiles SET seen_at = ? WHERE user_id = ? AND seen_at = ?", now, s.id, sqldb.Micros(s.seen))
		return err
	})
	s.seen = sqldb.FromMicros(now)
	return n > 0, err
}

// dropToken forgets a token that is nothing to the provider of now, so that it is not tried each hour; and nobody told of its user meanwhile.
func (a *Access) dropToken(ctx context.Context, s profile, was time.Time) error {
	return a.DB.Tx(ctx, "person.untold", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE profiles SET token = NULL, seen_at = ? WHERE user_id = ? AND seen_at = ?", sqldb.Micros(was), s.id, sqldb.Micros(s.seen))
		return err
	})
}

func (a *Access) storeToken(ctx context.Context, s profile, token string) error {
	sealed := a.Seal.Seal(tokenName(s.id), []byte(token))
	return a.DB.Tx(ctx, "person.token", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE profiles SET token = ? WHERE user_id = ?", sealed, s.id)
		return err
	})
}

// setGone notes that a directory does not know somebody any more, unless he logged in meanwhile. It answers errGone. His groups stay: they count for nobody who is out, and
// a mistake in the directory's filter is made good by the next refresh.
func (a *Access) setGone(ctx context.Context, s profile) error {
	now := max(sqldb.Micros(a.Clock()), sqldb.Micros(s.seen)+1)
	err := a.DB.Tx(ctx, "person.gone", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(ctx, "UPDATE profiles SET gone = ?, origin_admin = ?, seen_at = ? WHERE user_id = ? AND seen_at = ?", true, false, now, s.id, sqldb.Micros(s.seen))
		return cause
	})
	if err != nil {
		return err
	}
	a.verified.forget(owner{user: s.id})
	a.browsers.clear()
	if !s.gone {
		a.Log.WarnContext(ctx, "the directory does not know a user any more; he is out until it does", "user", s.name, "subject", s.subject)
	}
	return errGone
}

var (
	// errGone says that somebody is not known any more, and that it is noted.
	errGone = errors.New("gone")
	// errUnasked says that nobody can be asked for somebody now.
	errUnasked = errors.New("not asked")
)
