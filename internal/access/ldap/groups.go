package ldap

import (
	"context"
	"maps"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/havn-registry/havn/internal/access"
)

const (
	// chainRule finds members of members, in Active Directory.
	chainRule = ":1.2.840.113556.1.4.1941:"
	// maxGroups are found of one person: Active Directory lets nobody log in who is in more than 1,015.
	maxGroups = 2000
	// maxClauses are in one filter: it stays below the 256 KiB that OpenLDAP takes from a stranger.
	maxClauses = 1000
	// rounds is how many searches look for groups, where the directory does not find groups in groups itself: with the one for the person that makes three.
	rounds = 2
)

// complete adds the groups.
func (d *Directory) complete(ctx context.Context, p person) (access.Person, error) {
	var w *walk
	err := d.ask(ctx, func(ctx context.Context, c *conn, s *server) error {
		w = d.newWalk(p.entry, s.chains())
		for filter := w.next(); filter != ""; filter = w.next() {
			r, err := c.search(ctx, query{
				base: d.conf.Groups.BaseDN, scope: d.conf.Groups.Scope, filter: and(d.conf.Groups.Filter, filter), attributes: []string{d.conf.Groups.NameAttribute, d.conf.Groups.MembershipAttribute}, most: maxGroups,
			})
			if err != nil {
				return at(stepGroups, err)
			}
			w.add(r)
		}
		return nil
	})
	if err != nil {
		return access.Person{}, err
	}
	if w.cut {
		d.conf.Log.WarnContext(ctx, "LDAP user is in more groups than are looked at", "user", p.Name, "found", len(w.found),
			"hint", "let the server give the search account more entries, or narrow the filter of groups")
	}
	p.Groups, p.Admin = w.groups(), d.conf.admin != "" && w.isIn(d.conf.admin)
	return p.Person, nil
}

// walk finds the groups of one person, search by search. Servers are asked for names as they wrote them: they know them best.
type walk struct {
	d      *Directory
	self   string // the person
	chains bool   // the server finds groups in groups

	round   int
	found   map[string]access.Group // by key
	known   map[string]string       // found or not: the server's names by key
	claimed map[string]bool         // the person's own entry names them
	asked   map[string]bool         // it was asked which groups they are in
	cut     bool                    // there are more
}

func (d *Directory) newWalk(e *goldap.Entry, chains bool) *walk {
	w := &walk{d: d, self: e.DN, chains: chains, found: map[string]access.Group{}, known: map[string]string{}, asked: map[string]bool{}}
	w.note(e)
	w.claimed = make(map[string]bool, len(w.known))
	for key := range w.known {
		w.claimed[key] = true
	}
	return w
}

// note remembers which groups an entry says it is in.
func (w *walk) note(e *goldap.Entry) {
	for _, dn := range values(e, w.d.conf.Groups.MembershipAttribute) {
		if key, err := Normal(dn); err == nil {
			w.known[key] = dn
		}
	}
}

// next answers the filter of the next search, "" if there is none. The first finds what the person is in and, of groups that his own entry names, what these are in. The second goes on
// from there, and looks for groups that the entry names and that have no members to be found by: those whose members come from a filter.
func (w *walk) next() string {
	w.round++
	member := w.d.conf.Groups.MemberAttribute
	var filters []string
	add := func(attribute, dn string) {
		if len(filters) == maxClauses {
			w.cut = true
			return
		}
		filters = append(filters, equal(attribute, dn))
	}
	nested := w.d.conf.Nested != NestedOff
	switch {
	case w.round > rounds || w.round > 1 && (w.chains || !nested):
		return ""
	case w.chains:
		return equal(member+chainRule, w.self)
	case w.round == 1:
		add(member, w.self)
	}
	for _, key := range slices.Sorted(maps.Keys(w.known)) {
		if _, found := w.found[key]; !found && w.claimed[key] && (w.round > 1 || !nested) && w.inside(key) {
			add("entryDN", w.known[key])
		}
		if nested && !w.asked[key] {
			w.asked[key] = true
			add(member, w.known[key])
		}
	}
	if len(filters) == 0 {
		return ""
	}
	return or(filters)
}

// inside reports whether a group is where groups are looked for.
func (w *walk) inside(key string) bool {
	n, err := parseName(key)
	return err == nil && n.below(w.d.conf.groupBase, w.d.conf.Groups.Scope)
}

// add takes what a search found.
func (w *walk) add(r result) {
	w.cut = w.cut || r.more
	for _, e := range r.entries {
		g, err := w.d.group(e)
		if err != nil {
			continue // its name is too long to be given rights
		}
		w.found[g.Key], w.known[g.Key] = g, e.DN
		w.note(e)
	}
}

func (d *Directory) group(e *goldap.Entry) (access.Group, error) {
	key, err := Normal(e.DN)
	return access.Group{Key: key, Name: text(e, d.conf.Groups.NameAttribute)}, err
}

// groups answers what was found, in the order of the keys.
func (w *walk) groups() []access.Group {
	return slices.SortedFunc(maps.Values(w.found), func(a, b access.Group) int { return strings.Compare(a.Key, b.Key) })
}

// isIn reports whether the person is in a group: one that was found, or one that his own entry names.
func (w *walk) isIn(key string) bool {
	_, found := w.found[key]
	return found || w.claimed[key]
}
