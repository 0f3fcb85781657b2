package ldap

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// maxLogin is the longest name that somebody may have, in bytes.
	maxLogin = 255
	// maxAlso is how many more names of somebody are told.
	maxAlso = 50
	// nobody is who bears the password of somebody who is not there, so that the answer takes as long and costs a guesser as much.
	nobody = "cn=havn-nobody,"
)

// Directory is a directory of people and groups, on one server or several that hold the same. It is safe for concurrent use. Errors say which server failed and at which step.
type Directory struct {
	conf    *plan
	servers []*server
	asking  chan struct{} // one place for each that may use a connection of the search account
	logins  chan struct{} // likewise for each that checks a password
}

var _ access.Provider = (*Directory)(nil)

// New makes a Directory, and asks nobody: see Test. Invalid: the configuration can't work.
func New(c Config) (*Directory, error) {
	p, err := newPlan(c)
	if err != nil {
		return nil, err
	}
	d := &Directory{conf: &p, asking: make(chan struct{}, p.Connections), logins: make(chan struct{}, p.Connections)}
	for _, raw := range c.URLs {
		a, addressErr := parseAddress(raw)
		if addressErr != nil {
			return nil, addressErr
		}
		d.servers = append(d.servers, &server{address: a, plan: d.conf})
		if !a.secure && !p.StartTLS {
			p.Log.Warn("passwords travel to the LDAP server in clear", "server", a.url, "hint", "use ldaps://, or StartTLS")
		}
	}
	return d, nil
}

// Close closes connections that nobody uses; those in use close when they are given back.
func (d *Directory) Close() {
	for _, s := range d.servers {
		s.close()
	}
}

// bounded gives what somebody waits for as much time as it takes to try all servers, and to do it at the last.
func (d *Directory) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(len(d.servers)+2)*(d.conf.Timeout+grace))
}

// each tries one server after the other: those first that are well, in the configured order, then those that rest. It ends with the first that answers, whatever the answer is.
func (d *Directory) each(ctx context.Context, places chan struct{}, try func(s *server) error) error {
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		return fail.E(fail.Unavailable, ctx.Err(), "wait for a connection to LDAP").Hint("%s: all connections are in use; is the server slow?", d.servers[0].url)
	}
	now := d.conf.Clock()
	var order, resting []*server
	for _, s := range d.servers {
		if s.ready(now) {
			order = append(order, s)
		} else {
			resting = append(resting, s)
		}
	}
	var errs []error
	for _, s := range append(order, resting...) {
		err := try(s)
		if err == nil || !away(err) {
			return err
		}
		errs = append(errs, d.conf.unavailable(s.address, err))
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return fail.E(fail.Unavailable, errors.Join(errs...), "none of %d LDAP servers answers", len(errs)).Hint("%s", fail.HintOf(errs[0]))
}

// ask runs questions on a connection of the search account. What servers answer comes back as fail.Error, and so does that none answers.
func (d *Directory) ask(ctx context.Context, questions func(ctx context.Context, c *conn, s *server) error) error {
	return d.each(ctx, d.asking, func(s *server) error {
		err := s.ask(ctx, func(ctx context.Context, c *conn) error { return questions(ctx, c, s) })
		if e := new(fail.Error); err == nil || away(err) || errors.As(err, &e) {
			return err
		}
		return d.conf.unavailable(s.address, err)
	})
}

// Login implements access.Provider. It costs one search for the person and at most two for the groups, and one bind. The person's name is as the directory writes it.
func (d *Directory) Login(ctx context.Context, login, password string) (access.Person, error) {
	if !isText(login) || password == "" || strings.ContainsRune(password, 0) {
		// A server that reads up to the first NUL would see an empty password, and let in whoever it is.
		return access.Person{}, wrong()
	}
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	p, why, err := d.lookup(ctx, login)
	if err != nil {
		return access.Person{}, err
	}
	dn := nobody + d.conf.BaseDN
	if why == "" || why == whyDisabled {
		dn = p.entry.DN
	}
	right, err := d.matches(ctx, dn, password)
	switch {
	case err != nil:
		return access.Person{}, err
	case why == "" && right == "":
		return d.complete(ctx, p)
	case why == "":
		why = right
	}
	d.conf.Log.InfoContext(ctx, "LDAP login refused", "user", login, "why", why)
	return access.Person{}, wrong()
}

// Find implements access.Provider.
func (d *Directory) Find(ctx context.Context, subject string) (access.Person, error) {
	gone := fail.E(fail.NotFound, nil, "LDAP user %s", subject)
	n, err := parseName(subject)
	if err != nil || !n.below(d.conf.base, d.conf.Scope) {
		return access.Person{}, gone
	}
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	p, why, err := d.one(ctx, query{base: subject, scope: ScopeBase, filter: and(d.conf.Filter, present(d.conf.LoginAttribute))}, "")
	if err != nil {
		return access.Person{}, err
	}
	if why != "" {
		return access.Person{}, gone.Hint("%s", why)
	}
	return d.complete(ctx, p)
}

// Lookup answers the person who logs in by this name, without groups. NotFound: there is none, or more than one.
func (d *Directory) Lookup(ctx context.Context, login string) (access.Person, error) {
	if !isText(login) {
		return access.Person{}, fail.E(fail.NotFound, nil, "LDAP user %q", login)
	}
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	p, why, err := d.lookup(ctx, login)
	if err == nil && why != "" {
		err = fail.E(fail.NotFound, nil, "LDAP user %q", login).Hint("%s", why)
	}
	return p.Person, err
}

// person is somebody with the entry that says so.
type person struct {
	access.Person
	entry *goldap.Entry
}

// Why somebody can't log in.
const (
	whyUnknown  = "nobody has this name, or the filter excludes him"
	whyDisabled = "the account is disabled or expired in the directory"
	whyMany     = "more than one entry has this name"
)

func (d *Directory) lookup(ctx context.Context, login string) (person, string, error) {
	return d.one(ctx, query{base: d.conf.BaseDN, scope: d.conf.Scope, filter: and(d.conf.Filter, equal(d.conf.LoginAttribute, login))}, login)
}

// one answers the one person whom a query finds, or why that is nobody who could log in.
func (d *Directory) one(ctx context.Context, q query, login string) (p person, why string, err error) {
	q.most, q.attributes = 1, []string{d.conf.LoginAttribute, d.conf.EmailAttribute, d.conf.RealNameAttribute, d.conf.Groups.MembershipAttribute, adControl, adExpires, lock389}
	var found result
	err = d.ask(ctx, func(ctx context.Context, c *conn, _ *server) (err error) {
		found, err = c.search(ctx, q)
		if q.scope == ScopeBase && goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject) {
			// Gone, unless the search account sees nothing any more.
			_, err = c.search(ctx, query{base: d.conf.BaseDN, scope: ScopeBase, filter: anything, attributes: []string{noAttributes}, most: 1})
		}
		return at(stepUsers, err)
	})
	switch {
	case err != nil:
		return person{}, "", err
	case len(found.entries) == 0:
		return person{}, whyUnknown, nil
	case found.more:
		d.conf.Log.ErrorContext(ctx, "LDAP has more than one entry for a name: nobody can log in by it", "name", login, "one", found.entries[0].DN, "filter", q.filter,
			"hint", "narrow the base or the filter of users, or take a login attribute that is unique")
		return person{}, whyMany, nil
	}
	p.entry = found.entries[0]
	p.Person, why = d.describe(p.entry, login)
	return p, why, nil
}

// describe reads somebody's entry. login is the name that he gave, "" for none: it picks one of several that he has.
func (d *Directory) describe(e *goldap.Entry, login string) (p access.Person, why string) {
	subject, err := Normal(e.DN)
	if err != nil {
		return p, err.Error()
	}
	p = access.Person{Subject: subject, Email: text(e, d.conf.EmailAttribute), RealName: text(e, d.conf.RealNameAttribute)}
	for _, v := range values(e, d.conf.LoginAttribute) {
		if v = strings.TrimSpace(v); !isText(v) || v == p.Name || slices.Contains(p.Also, v) {
			continue
		}
		if p.Name != "" && fold(v) == fold(login) {
			v, p.Name = p.Name, v
		}
		if p.Name == "" {
			p.Name = v
		} else if len(p.Also) < maxAlso {
			p.Also = append(p.Also, v)
		}
	}
	switch {
	case p.Name == "":
		return p, "the search account reads no name in the attribute " + d.conf.LoginAttribute
	case isOff(e, d.conf.Clock()):
		return p, whyDisabled
	}
	return p, ""
}

// matches asks whether this is somebody's password; if not, it answers why, for the log.
func (d *Directory) matches(ctx context.Context, dn, password string) (why string, err error) {
	err = d.each(ctx, d.logins, func(s *server) error {
		bindErr := s.check(ctx, dn, password)
		switch {
		case bindErr == nil || away(bindErr):
			return bindErr
		case goldap.IsErrorAnyOf(bindErr, goldap.LDAPResultInvalidCredentials, goldap.LDAPResultNoSuchObject, goldap.LDAPResultUnwillingToPerform, goldap.LDAPResultConstraintViolation,
			goldap.LDAPResultInappropriateAuthentication, goldap.LDAPResultInsufficientAccessRights, goldap.LDAPResultInvalidDNSyntax):
			// Disabled, locked, expired: each server has its own way to say so, and it may say so only to whoever knows the password. Nobody else is told.
			why = bindErr.Error()
			return nil
		}
		return d.conf.unavailable(s.address, bindErr)
	})
	return why, err
}

// isText reports whether this can be a name: what can't be is never looked for.
func isText(s string) bool {
	return strings.TrimSpace(s) != "" && len(s) <= maxLogin && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// text answers an attribute's first value, "" if it is no text that can be shown.
func text(e *goldap.Entry, attribute string) string {
	if v := strings.TrimSpace(value(e, attribute)); isText(v) {
		return v
	}
	return ""
}
