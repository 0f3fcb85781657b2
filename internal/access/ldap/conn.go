package ldap

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

const (
	// grace is what a search gets beyond the time that the server is told to keep to: so a server that lives says itself that it took too long, and is told apart from one that hangs.
	grace = time.Second
	// pageSize is below the limits of all servers that set one without being asked (Active Directory's is 1,000).
	pageSize = 500
)

// Active Directory's names for itself and for its lightweight form, in supportedCapabilities.
const (
	oidActiveDirectory = "1.2.840.113556.1.4.800"
	oidADLDS           = "1.2.840.113556.1.4.1851"
)

// conn is a connection to a server. One question at a time.
type conn struct {
	lib   *goldap.Conn
	wire  *wire
	limit time.Duration
	born  time.Time
	idle  time.Time // since when nobody asks
}

// connect makes a connection on which nobody has said yet who he is.
func connect(ctx context.Context, a address, p *plan) (*conn, error) {
	w, err := dial(ctx, a, p.Timeout)
	if err != nil {
		return nil, at(stepConnect, err)
	}
	c, err := w.speak(ctx, a, p)
	return c, at(stepTLS, err)
}

// speak begins TLS where it is wanted, and then LDAP. An error closes the wire.
func (w *wire) speak(ctx context.Context, a address, p *plan) (*conn, error) {
	inner, err := w.secure(ctx, a, p)
	if err != nil {
		_ = w.Close() //nolint:errcheck // nothing was written that could be lost
		return nil, err
	}
	c := &conn{lib: goldap.NewConn(inner, a.secure || p.StartTLS), wire: w, limit: p.Timeout, born: p.Clock()}
	c.lib.Start()
	return c, nil
}

// close says goodbye, and waits for no answer.
func (c *conn) close() {
	// Within a limit: a hung server takes no more bytes than fit into the sockets' buffers.
	_ = c.wire.during(context.Background(), c.limit, func(context.Context) error { return c.lib.Unbind() }) //nolint:errcheck // it may be broken already
	_ = c.lib.Close()                                                                                       //nolint:errcheck // likewise
}

// bind says who asks from now on. There is no way to call it without a password: a server takes that for a stranger who names somebody, and lets him in (RFC 4513, 5.1.2).
func (c *conn) bind(ctx context.Context, dn, password string) error {
	return c.wire.during(ctx, c.limit, func(context.Context) error { return c.lib.Bind(dn, password) })
}

// ping finds out whether the server answers on this connection, with a question that is no search.
func (c *conn) ping(ctx context.Context, limit time.Duration) error {
	err := c.wire.during(ctx, limit, func(context.Context) error {
		_, err := c.lib.WhoAmI(nil)
		return err
	})
	if !broken(err) {
		return nil // an answer, even if it says that there is no such question
	}
	return err
}

// query is a search.
type query struct {
	base       string
	scope      Scope
	filter     string
	attributes []string
	most       int // how many entries are wanted; if there are more, some are left out
}

// result is what a search found. more: there are others, which were not asked for or which the server did not give away.
type result struct {
	entries []*goldap.Entry
	more    bool
}

// search asks for entries, in pages if more than one is wanted.
func (c *conn) search(ctx context.Context, q query) (result, error) {
	var r result
	var page *goldap.ControlPaging
	request := goldap.SearchRequest{
		BaseDN: q.base, Scope: scopes[q.scope], DerefAliases: goldap.NeverDerefAliases, TimeLimit: int(max(1, c.limit/time.Second)), Filter: q.filter, Attributes: q.attributes,
	}
	if q.most == 1 {
		request.SizeLimit = 2
	} else {
		// Without a limit of our own: OpenLDAP refuses one that is above its.
		page = goldap.NewControlPaging(uint32(min(pageSize, q.most+1)))
		request.Controls = []goldap.Control{page}
	}
	for {
		var answer *goldap.SearchResult
		err := c.wire.during(ctx, c.limit+grace, func(context.Context) (err error) {
			answer, err = c.lib.Search(&request)
			return err
		})
		if answer != nil {
			r.entries = append(r.entries, answer.Entries...)
		}
		if goldap.IsErrorAnyOf(err, goldap.LDAPResultSizeLimitExceeded, goldap.LDAPResultAdminLimitExceeded) && len(r.entries) > 0 {
			r.more, err = true, nil
		}
		if err != nil {
			return result{}, err
		}
		if len(r.entries) > q.most {
			r.entries, r.more = r.entries[:q.most], true
		}
		if page == nil || r.more {
			return r, nil
		}
		next, ok := goldap.FindControl(answer.Controls, goldap.ControlTypePaging).(*goldap.ControlPaging)
		if !ok || len(next.Cookie) == 0 {
			return r, nil
		}
		page.SetCookie(next.Cookie)
	}
}

// isAD asks the server whether it is an Active Directory.
func (c *conn) isAD(ctx context.Context) (bool, error) {
	r, err := c.search(ctx, query{scope: ScopeBase, filter: "(objectClass=*)", attributes: []string{"supportedCapabilities"}, most: 1})
	if err != nil || len(r.entries) == 0 {
		return false, err
	}
	capabilities := values(r.entries[0], "supportedCapabilities")
	return slices.Contains(capabilities, oidActiveDirectory) || slices.Contains(capabilities, oidADLDS), nil
}

// values answers what an entry says of an attribute. Active Directory gives long lists in parts, whose range is behind the name.
func values(e *goldap.Entry, attribute string) []string {
	var all []string
	for _, a := range e.Attributes {
		if name, _, _ := strings.Cut(a.Name, ";"); strings.EqualFold(name, attribute) {
			all = append(all, a.Values...)
		}
	}
	return all
}

// value answers the first of an attribute's values, "" if there is none.
func value(e *goldap.Entry, attribute string) string {
	if all := values(e, attribute); len(all) > 0 {
		return all[0]
	}
	return ""
}

// broken reports whether nobody knows what becomes of a connection after this error: it is not an answer of the server.
func broken(err error) bool {
	if err == nil {
		return false
	}
	var e *goldap.Error
	return !errors.As(err, &e) || e.ResultCode >= goldap.ErrorNetwork && e.ResultCode < goldap.LDAPResultSyncRefreshRequired
}

// away reports whether another server may answer what this one did not.
func away(err error) bool {
	return broken(err) && !errors.Is(err, errTooMuch) || goldap.IsErrorAnyOf(err, goldap.LDAPResultBusy, goldap.LDAPResultUnavailable)
}
