package server

import (
	"context"
	"crypto/x509"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/access/ldap"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// directory is the LDAP directory that administrators name at the moment, or none.
type directory struct {
	roots *x509.CertPool // nil: the system's
	log   *slog.Logger
	clock func() time.Time
	now   atomic.Pointer[ldap.Directory]
	is    config.LDAP
	used  bool
}

// lives is how long a directory that was replaced may finish what it is asked: longer than a login.
const lives = 5 * time.Minute

// follow takes the directory that settings name, if they name another one than before. Calls of it do not overlap.
func (d *directory) follow(l *config.Live) {
	used := l.AuthMode == config.AuthLDAP
	if used == d.used && l.LDAP == d.is {
		return
	}
	d.used, d.is = used, l.LDAP
	var next *ldap.Directory
	if used {
		c, err := d.config(l.LDAP)
		if err == nil {
			next, err = ldap.New(c)
		}
		if err != nil {
			d.log.Error("the directory of the settings can't be used; nobody of it can log in", "error", err, "hint", fail.HintOf(err))
		}
	}
	if before := d.now.Swap(next); before != nil {
		time.AfterFunc(lives, before.Close)
	}
}

// usable answers why a directory that settings would name can't be used, nil if it can, or none is named. Nobody is asked: it may be away.
func (d *directory) usable(l *config.Live) error {
	if l.AuthMode != config.AuthLDAP {
		return nil
	}
	c, err := d.config(l.LDAP)
	if err != nil {
		return err
	}
	c.Log = nil // what is to be said is said when it is used
	one, err := ldap.New(c)
	if err == nil {
		one.Close()
	}
	return err
}

// config answers settings as the directory's own.
func (d *directory) config(l config.LDAP) (ldap.Config, error) {
	roots := d.roots
	if l.CACertificate != "" {
		if roots == nil {
			system, err := x509.SystemCertPool()
			if err != nil {
				return ldap.Config{}, fail.E(fail.Invalid, err, "the system's certificate authorities")
			}
			roots = system
		} else {
			roots = roots.Clone()
		}
		roots.AppendCertsFromPEM([]byte(l.CACertificate)) // settings hold no other text
	}
	return ldap.Config{
		URLs: strings.Fields(l.URL), StartTLS: l.StartTLS, TLS: ldap.TLS{Unverified: !l.VerifyCert, Roots: roots}, Timeout: time.Duration(l.Timeout) * time.Second,
		SearchDN: l.SearchDN, SearchPassword: l.SearchPassword.Reveal(), BaseDN: l.BaseDN, Scope: scopeOf(l.Scope), Filter: l.Filter, LoginAttribute: l.UID,
		Groups: ldap.Groups{
			BaseDN: l.GroupBaseDN, Scope: scopeOf(l.GroupSearchScope), Filter: l.GroupSearchFilter, NameAttribute: l.GroupAttributeName,
			MembershipAttribute: l.GroupMembershipAttribute, AdminDN: l.GroupAdminDN,
		},
		Log: d.log, Clock: d.clock,
	}, nil
}

// scopeOf reads Harbor's numbers; those before 1.5 counted from 1, so that 3 was the whole tree.
func scopeOf(n int) ldap.Scope {
	switch n {
	case 0:
		return ldap.ScopeBase
	case 1:
		return ldap.ScopeOne
	default:
		return ldap.ScopeSubtree
	}
}

// provider answers the directory of the moment, nil if there is none.
func (d *directory) provider() access.Provider {
	if now := d.now.Load(); now != nil {
		return now
	}
	return nil
}

// Try tests a directory as settings would have it, at all its servers, and answers which step failed, where, and what to do; "" if all went well.
func (d *directory) Try(ctx context.Context, l config.LDAP) string {
	c, err := d.config(l)
	var tried *ldap.Directory
	if err == nil {
		tried, err = ldap.New(c)
	}
	if err != nil {
		return strings.TrimSuffix(err.Error()+": "+fail.HintOf(err), ": ")
	}
	defer tried.Close()
	var problems []string
	for _, r := range tried.Test(ctx) {
		for _, step := range r.Steps {
			if step.Err != nil {
				problems = append(problems, strings.TrimSuffix(r.Server+": "+step.Name+": "+step.Err.Error()+": "+step.Hint, ": "))
			}
		}
	}
	return strings.Join(problems, "; ")
}

// People and Groups find who and what is called so, some of them.
func (d *directory) People(ctx context.Context, text string) ([]access.Person, error) {
	now := d.now.Load()
	if now == nil {
		return nil, noDirectory()
	}
	people, _, err := now.Users(ctx, text, 0)
	return people, err
}

// Groups answers one group if dn is not "".
func (d *directory) Groups(ctx context.Context, text, dn string) ([]access.Group, error) {
	now := d.now.Load()
	if now == nil {
		return nil, noDirectory()
	}
	if dn != "" {
		one, err := now.Group(ctx, dn)
		return []access.Group{one}, err
	}
	groups, _, err := now.Groups(ctx, text, 0)
	return groups, err
}

func noDirectory() error {
	return fail.E(fail.Conflict, nil, "no directory is used").Hint("set auth_mode to ldap_auth, and ldap_url")
}

// close ends the connections.
func (d *directory) close() {
	if now := d.now.Swap(nil); now != nil {
		now.Close()
	}
}
