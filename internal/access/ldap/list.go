package ldap

import (
	"context"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// How many entries a list has.
const (
	DefaultList = 100
	MostList    = 500
)

// Users answers people in whose login name, e-mail address or real name the text is, without groups, in the directory's order; "" finds all. Not more than limit (0: DefaultList) and
// not more than MostList; more: there are others. Invalid: such a text is nowhere.
func (d *Directory) Users(ctx context.Context, text string, limit int) (people []access.Person, more bool, err error) {
	filter := contains(d.conf.LoginAttribute, text)
	if text != "" {
		filter = or([]string{filter, contains(d.conf.EmailAttribute, text), contains(d.conf.RealNameAttribute, text)})
	}
	r, err := d.list(ctx, text, stepUsers, query{
		base: d.conf.BaseDN, scope: d.conf.Scope, filter: and(d.conf.Filter, filter), most: limit, attributes: []string{d.conf.LoginAttribute, d.conf.EmailAttribute, d.conf.RealNameAttribute, adControl, adExpires, lock389},
	})
	if err != nil {
		return nil, false, err
	}
	for _, e := range r.entries {
		if p, why := d.describe(e, ""); why == "" {
			people = append(people, p)
		}
	}
	return people, r.more, nil
}

// Groups answers groups in whose name the text is, as Users does people.
func (d *Directory) Groups(ctx context.Context, text string, limit int) (groups []access.Group, more bool, err error) {
	r, err := d.list(ctx, text, stepGroups, query{
		base: d.conf.Groups.BaseDN, scope: d.conf.Groups.Scope, filter: and(d.conf.Groups.Filter, contains(d.conf.Groups.NameAttribute, text)), most: limit, attributes: []string{d.conf.Groups.NameAttribute},
	})
	if err != nil {
		return nil, false, err
	}
	for _, e := range r.entries {
		if g, groupErr := d.group(e); groupErr == nil {
			groups = append(groups, g)
		}
	}
	return groups, r.more, nil
}

func (d *Directory) list(ctx context.Context, text string, s step, q query) (r result, err error) {
	if text != "" && !isText(text) {
		return result{}, fail.E(fail.Invalid, nil, "text %q to look for in LDAP", text).Hint("give at most %d letters, and no control characters", maxLogin)
	}
	if q.most <= 0 {
		q.most = DefaultList
	}
	q.most = min(q.most, MostList)
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	err = d.ask(ctx, func(ctx context.Context, c *conn, _ *server) (err error) {
		r, err = c.search(ctx, q)
		return at(s, err)
	})
	return r, err
}

// Group answers the group with a distinguished name, however it is written. Invalid: it is no such name. NotFound: there is none, it is not below the base of groups, or the filter
// excludes it.
func (d *Directory) Group(ctx context.Context, dn string) (access.Group, error) {
	n, err := parseName(dn)
	if err != nil {
		return access.Group{}, err
	}
	none := fail.E(fail.NotFound, nil, "LDAP group %s", dn).Hint("it is looked for below %s, with the filter %s", d.conf.Groups.BaseDN, d.conf.Groups.Filter)
	if !n.below(d.conf.groupBase, d.conf.Groups.Scope) {
		return access.Group{}, none
	}
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	var r result
	err = d.ask(ctx, func(ctx context.Context, c *conn, _ *server) (err error) {
		r, err = c.search(ctx, query{base: dn, scope: ScopeBase, filter: d.conf.Groups.Filter, attributes: []string{d.conf.Groups.NameAttribute}, most: 1})
		if goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject) {
			err = nil
		}
		return at(stepGroups, err)
	})
	switch {
	case err != nil:
		return access.Group{}, err
	case len(r.entries) == 0:
		return access.Group{}, none
	}
	return d.group(r.entries[0])
}
