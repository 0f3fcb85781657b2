package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// samples is how many people and groups a test shows.
const samples = 5

// Report is what became of a test of one server.
type Report struct {
	Server string // its URL
	Steps  []Step // in their order; a step that could not be taken because one before it failed is left out
}

// Step is a step of a test.
type Step struct {
	Name   string
	Took   time.Duration
	Detail string // what was found
	Hint   string // what to do: about the error, or about what was found
	Err    error  // nil: it went well
}

// OK reports whether all went well.
func (r Report) OK() bool {
	for _, s := range r.Steps {
		if s.Err != nil {
			return false
		}
	}
	return true
}

// Test tries every server, all at once and whether it rests or not, step by step: find the host, connect, begin TLS, log in as the search account, look at the base, search some users and
// some groups, and the group of administrators. The reports are in the order of the configuration. It uses no connection that others use.
func (d *Directory) Test(ctx context.Context) []Report {
	reports := make([]Report, len(d.servers))
	var all sync.WaitGroup
	for i, s := range d.servers {
		all.Go(func() {
			t := trial{d: d, at: s.address}
			t.run(ctx)
			reports[i] = Report{Server: s.url, Steps: t.steps}
		})
	}
	all.Wait()
	return reports
}

// errNone is that of a search that found nothing where there must be something.
var errNone = errors.New("nothing was found")

// trial is a test of one server.
type trial struct {
	d     *Directory
	at    address
	steps []Step
}

// take takes a step, and reports whether it went well.
func (t *trial) take(name step, do func(s *Step) error) bool {
	s := Step{Name: string(name)}
	begin := t.d.conf.Clock()
	err := do(&s)
	s.Took = t.d.conf.Clock().Sub(begin)
	if err != nil {
		s.Err = t.d.conf.unavailable(t.at, at(name, err))
		if s.Hint == "" {
			s.Hint = t.d.conf.hint(name, err)
		}
	}
	t.steps = append(t.steps, s)
	return err == nil
}

func (t *trial) run(ctx context.Context) {
	p := t.d.conf
	if !t.take(stepResolve, func(s *Step) error { return t.resolve(ctx, s) }) {
		return
	}
	var w *wire
	if !t.take(stepConnect, func(*Step) (err error) { w, err = dial(ctx, t.at, p.Timeout); return err }) {
		return
	}
	var c *conn
	if !t.take(stepTLS, func(s *Step) (err error) { c, err = t.secure(ctx, w, s); return err }) {
		return
	}
	defer c.close()
	if !t.take(stepBind, func(s *Step) error {
		if p.SearchDN == "" {
			s.Detail = "nobody logs in: there is no search account"
			return nil
		}
		s.Detail = p.SearchDN
		return c.bind(ctx, p.SearchDN, p.SearchPassword)
	}) {
		return
	}
	if t.take(stepBase, func(s *Step) error {
		s.Detail = p.BaseDN
		_, err := c.search(ctx, query{base: p.BaseDN, scope: ScopeBase, filter: anything, attributes: []string{noAttributes}, most: 1})
		return err
	}) {
		t.take(stepUsers, func(s *Step) error { return t.users(ctx, c, s) })
	}
	t.take(stepGroups, func(s *Step) error { return t.groups(ctx, c, s) })
	if p.admin != "" {
		t.take(stepAdmin, func(s *Step) error { return t.admin(ctx, c, s) })
	}
}

func (t *trial) resolve(ctx context.Context, s *Step) error {
	ctx, cancel := context.WithTimeout(ctx, t.d.conf.Timeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupHost(ctx, t.at.host)
	s.Detail = strings.Join(found, ", ")
	return err
}

func (t *trial) secure(ctx context.Context, w *wire, s *Step) (*conn, error) {
	c, err := w.speak(ctx, t.at, t.d.conf)
	if err != nil {
		return nil, err
	}
	state, ok := c.lib.TLSConnectionState()
	switch {
	case !ok:
		s.Detail, s.Hint = "there is none", "passwords travel in clear: use ldaps://, or StartTLS"
	default:
		s.Detail = tls.VersionName(state.Version)
		if t.d.conf.TLS.Unverified {
			s.Hint = "the server's certificate is not verified: whoever is on the way can read passwords"
		}
	}
	return c, nil
}

func (t *trial) users(ctx context.Context, c *conn, s *Step) error {
	p := t.d.conf
	r, err := c.search(ctx, query{
		base: p.BaseDN, scope: p.Scope, filter: and(p.Filter, present(p.LoginAttribute)), most: samples, attributes: []string{p.LoginAttribute, p.Groups.MembershipAttribute},
	})
	if err != nil {
		return err
	}
	var names []string
	member := false
	for _, e := range r.entries {
		names = append(names, value(e, p.LoginAttribute))
		member = member || len(values(e, p.Groups.MembershipAttribute)) > 0
	}
	switch {
	case len(names) == 0:
		s.Detail, s.Hint = "there are none", fmt.Sprintf("nobody can log in: nothing below %s has the attribute %s and passes the filter %s, or the search account may not read it", p.BaseDN, p.LoginAttribute, p.Filter)
		return errNone
	case !member:
		s.Hint = "none of these is in a group by the attribute " + p.Groups.MembershipAttribute + ": groups are found all the same if they name their members in " + p.Groups.MemberAttribute
	}
	s.Detail = listed(names, r.more)
	return nil
}

func (t *trial) groups(ctx context.Context, c *conn, s *Step) error {
	g := t.d.conf.Groups
	r, err := c.search(ctx, query{base: g.BaseDN, scope: g.Scope, filter: and(g.Filter, present(g.NameAttribute)), most: samples, attributes: []string{g.NameAttribute}})
	if err != nil {
		return err
	}
	var names []string
	for _, e := range r.entries {
		names = append(names, value(e, g.NameAttribute))
	}
	s.Detail = listed(names, r.more)
	if len(names) == 0 {
		s.Detail, s.Hint = "there are none", fmt.Sprintf("groups give nobody rights: nothing below %s has the attribute %s and passes the filter %s, or the search account may not read it", g.BaseDN, g.NameAttribute, g.Filter)
	}
	return nil
}

func (t *trial) admin(ctx context.Context, c *conn, s *Step) error {
	s.Detail = t.d.conf.Groups.AdminDN
	_, err := c.search(ctx, query{base: t.d.conf.Groups.AdminDN, scope: ScopeBase, filter: anything, attributes: []string{noAttributes}, most: 1})
	return err
}

func listed(names []string, more bool) string {
	text := strings.Join(names, ", ")
	if more {
		text += " and others"
	}
	return text
}
