package ldap

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// tree is a directory that has alice and groups.
type tree struct {
	members  map[string][]string // of each group: alice, or other groups
	memberOf bool                // entries say which groups they are in
	ad       bool
}

func dnOf(name string) string {
	if name == "alice" {
		return aliceDN
	}
	return "cn=" + name + "," + groupBase
}

// in answers the groups that somebody or a group is in directly.
func (tr tree) in(name string) (groups []string) {
	for _, g := range slices.Sorted(maps.Keys(tr.members)) {
		if slices.Contains(tr.members[g], name) {
			groups = append(groups, g)
		}
	}
	return groups
}

// all answers the groups that somebody is in, by however many steps.
func (tr tree) all(name string) []string {
	seen := map[string]bool{}
	next := tr.in(name)
	for len(next) > 0 {
		g := next[0]
		next = next[1:]
		if !seen[g] {
			seen[g] = true
			next = append(next, tr.in(g)...)
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func (tr tree) entry(name string) *goldap.Entry {
	attributes := map[string][]string{"cn": {name}}
	if name == "alice" {
		attributes = map[string][]string{"cn": {"Alice Adams"}, "uid": {"alice"}, "mail": {"alice@example.com"}}
	}
	if tr.memberOf {
		for _, g := range tr.in(name) {
			attributes["memberOf"] = append(attributes["memberOf"], dnOf(g))
		}
	}
	return goldap.NewEntry(dnOf(name), attributes)
}

func (tr tree) search(q asked) (r reply) {
	switch {
	case q.base == "" && q.scope == goldap.ScopeBaseObject:
		root := map[string][]string{}
		if tr.ad {
			root["supportedCapabilities"] = []string{"1.2.840.113556.1.4.1670", oidActiveDirectory}
		}
		r.entries = append(r.entries, goldap.NewEntry("", root))
	case q.base == groupBase && tr.ad && strings.Contains(q.filter, "(member"+chainRule+"="+aliceDN+")"):
		for _, g := range tr.all("alice") {
			r.entries = append(r.entries, tr.entry(g))
		}
	case q.base == groupBase:
		for g, members := range tr.members {
			if slices.ContainsFunc(members, func(m string) bool { return strings.Contains(q.filter, "(member="+dnOf(m)+")") }) || strings.Contains(q.filter, "(entryDN="+dnOf(g)+")") {
				r.entries = append(r.entries, tr.entry(g))
			}
		}
	case strings.Contains(q.filter, "(uid=alice)") || strings.EqualFold(q.base, aliceDN):
		r.entries = append(r.entries, tr.entry("alice"))
	}
	return r
}

// staff is a nest of four levels.
var staff = map[string][]string{"core": {"alice"}, "build": {"alice"}, "developers": {"core"}, "engineering": {"developers"}, "everybody": {"engineering", "everybody"}, "strangers": {"nobody"}}

func keysOf(groups []access.Group) string {
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
		if g.Key != strings.ToLower(dnOf(g.Name)) {
			names = append(names, "key "+g.Key)
		}
	}
	return strings.Join(names, " ")
}

func TestGroupsInGroupsAreFoundInThreeSearches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tree     tree
		nested   Nested
		want     string
		searches int // of the log-in; the first connection asks for the server's kind too
	}{
		"Active Directory":                  {tree{staff, true, true}, NestedAuto, "build core developers engineering everybody", 2},
		"a chain that is asked for":         {tree{staff, true, true}, NestedChain, "build core developers engineering everybody", 2},
		"a walk":                            {tree{staff, true, false}, NestedAuto, "build core developers engineering everybody", 3},
		"a walk without memberOf":           {tree{staff, false, false}, NestedAuto, "build core developers", 3},
		"a walk in an Active Directory":     {tree{staff, true, true}, NestedWalk, "build core developers engineering everybody", 3},
		"direct groups":                     {tree{staff, true, false}, NestedOff, "build core", 2},
		"direct groups without memberOf":    {tree{staff, false, false}, NestedOff, "build core", 2},
		"one who is in no group":            {tree{map[string][]string{"strangers": {"nobody"}}, true, false}, NestedAuto, "", 2},
		"groups that are in nothing, known": {tree{map[string][]string{"core": {"alice"}}, true, false}, NestedAuto, "core", 2},
	} {
		f := startFake(t)
		f.search = c.tree.search
		d, _ := open(t, func(conf *Config) { conf.Nested = c.nested }, f)
		for range 2 {
			f.forget()
			p, err := d.Login(t.Context(), "alice", "alicepw")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := keysOf(p.Groups); got != c.want {
				t.Errorf("%s: groups %q, want %q", name, got, c.want)
			}
			if p.Subject != strings.ToLower(aliceDN) || p.Name != "alice" || p.Email != "alice@example.com" || p.RealName != "Alice Adams" || p.Admin {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if got := f.requests("search "); len(got) != c.searches {
			t.Errorf("%s: %d searches: %v", name, len(got), got)
		}
		if got := f.requests("bind "); len(got) != 1 || got[0].what != "bind "+aliceDN {
			t.Errorf("%s: binds %v", name, got)
		}
	}
}

func TestOnlyGroupsBelowTheirBaseCountAndTheAdministratorsMayBeElsewhere(t *testing.T) {
	t.Parallel()
	outside := "CN=Admins,OU=Elsewhere,DC=example,DC=com"
	user := goldap.NewEntry(aliceDN, map[string][]string{"uid": {"alice"}, "memberOf": {outside, dnOf("dynamic"), "no name", dnOf("core")}})
	f := startFake(t)
	f.search = func(q asked) (r reply) {
		switch {
		case q.base != groupBase:
			r.entries = append(r.entries, user)
		case strings.Contains(q.filter, "(member="+aliceDN+")"):
			r.entries = append(r.entries, groupEntry("core"))
		case strings.Contains(q.filter, "(entryDN="+dnOf("dynamic")+")"):
			r.entries = append(r.entries, groupEntry("dynamic"))
		case strings.Contains(q.filter, "entryDN="):
			t.Errorf("asked for %s", q.filter)
		}
		return r
	}
	for _, admin := range []string{"cn=admins,ou=elsewhere,dc=example,dc=com", dnOf("core"), dnOf("other")} {
		d, _ := open(t, func(c *Config) { c.Groups.AdminDN = admin; c.Nested = NestedWalk }, f)
		p, err := d.Login(t.Context(), "alice", "alicepw")
		if err != nil {
			t.Fatal(err)
		}
		if got := keysOf(p.Groups); got != "core dynamic" {
			t.Errorf("groups %q", got)
		}
		if p.Admin != (admin != dnOf("other")) {
			t.Errorf("administrators %s: %v", admin, p.Admin)
		}
	}
}

func TestNobodyLogsInWithoutAPassword(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.search = tree{staff, true, false}.search
	f.bind = func(string, string) int { return goldap.LDAPResultSuccess } // as a server does that takes no password for a stranger
	d, _ := open(t, nil, f)
	for _, c := range [][2]string{{"alice", ""}, {"alice", "\x00"}, {"alice", "\x00alicepw"}, {"alice", "alicepw\x00"}, {"", "alicepw"}, {" ", "alicepw"}, {"alice\x00", "alicepw"}, {"alice\n", "alicepw"}, {"\xff", "alicepw"}, {strings.Repeat("a", maxLogin+1), "alicepw"}} {
		if p, err := d.Login(t.Context(), c[0], c[1]); !fail.Is(err, fail.Unauthenticated) || p.Name != "" {
			t.Errorf("%q with %q: %+v, %v", c[0], c[1], p, err)
		}
	}
	if got := f.requests(""); len(got) != 0 {
		t.Errorf("the server was asked: %v", got)
	}
	// Whoever is not there is not let in by a server that lets in everybody.
	if p, err := d.Login(t.Context(), "mallory", "x"); !fail.Is(err, fail.Unauthenticated) || p.Name != "" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestARefusalDoesNotTellWhetherSomebodyIsThere(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	var log bytes.Buffer
	twins := []*goldap.Entry{alice(), goldap.NewEntry("cn=Alice,ou=other,"+base, map[string][]string{"uid": {"alice"}})}
	f.search = func(q asked) (r reply) {
		switch {
		case strings.Contains(q.filter, "(uid=alice)"):
			r.entries = twins[:1]
		case strings.Contains(q.filter, "(uid=twin)"):
			r.entries, r.code = twins, goldap.LDAPResultSizeLimitExceeded
		case strings.Contains(q.filter, "(uid=off)"):
			r.entries = []*goldap.Entry{goldap.NewEntry(aliceDN, map[string][]string{"uid": {"off"}, "userAccountControl": {"514"}})}
		case strings.Contains(q.filter, "(uid=locked)"):
			r.entries = []*goldap.Entry{goldap.NewEntry(aliceDN, map[string][]string{"uid": {"locked"}, "nsAccountLock": {"TRUE"}})}
		case strings.Contains(q.filter, "(uid=mute)"):
			r.entries = []*goldap.Entry{goldap.NewEntry(aliceDN, nil)}
		}
		return r
	}
	d, _ := open(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) }, f)
	var first string
	for _, c := range []struct{ name, password, why string }{
		{"alice", "wrong", "Invalid Credentials"},
		{"nobody", "alicepw", whyUnknown},
		{"twin", "alicepw", whyMany},
		{"off", "alicepw", whyDisabled},
		{"locked", "alicepw", whyDisabled},
		{"mute", "alicepw", "reads no name"},
	} {
		f.forget()
		log.Reset()
		_, err := d.Login(t.Context(), c.name, c.password)
		if !fail.Is(err, fail.Unauthenticated) {
			t.Fatalf("%s: %v", c.name, err)
		}
		if first == "" {
			first = fmt.Sprintf("%v %s", err, fail.HintOf(err))
		}
		if got := fmt.Sprintf("%v %s", err, fail.HintOf(err)); got != first {
			t.Errorf("%s is told %q, alice %q", c.name, got, first)
		}
		if !strings.Contains(log.String(), c.why) || !strings.Contains(log.String(), "user="+c.name) {
			t.Errorf("%s: the log does not say %q: %s", c.name, c.why, &log)
		}
		binds := f.requests("bind ")
		if binds = slices.DeleteFunc(binds, func(s said) bool { return s.what == "bind "+searcher }); len(binds) != 1 {
			t.Errorf("%s cost %v, not one bind", c.name, binds)
		}
	}
	log.Reset()
	if _, err := d.Login(t.Context(), "twin", "alicepw"); err == nil || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), aliceDN) {
		t.Errorf("two entries for a name: %v, %s", err, &log)
	}
	if _, err := d.Lookup(t.Context(), "twin"); !fail.Is(err, fail.NotFound) {
		t.Errorf("look-up of two: %v", err)
	}
}

func TestSomebodysConnectionServesNothingElse(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.search = tree{staff, true, false}.search
	d, _ := open(t, nil, f)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := d.Login(t.Context(), "alice", "alicepw"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	search, personal := map[int]bool{}, map[int]bool{}
	for _, s := range f.requests("") {
		switch {
		case s.what == "bind "+aliceDN:
			if personal[s.conn] {
				t.Error("two log-ins on one connection")
			}
			personal[s.conn] = true
		case strings.HasPrefix(s.what, "search "), s.what == "bind "+searcher:
			search[s.conn] = true
		}
	}
	for n := range personal {
		if search[n] {
			t.Errorf("connection %d served a search and a log-in", n)
		}
	}
	if len(personal) != 20 || len(search) == 0 || len(search) > DefaultConnections {
		t.Errorf("%d connections of people, %d of the search account", len(personal), len(search))
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	var mu sync.Mutex
	under, most := map[string]int{}, map[string]int{}
	count := func(what string) func() {
		mu.Lock()
		under[what]++
		most[what] = max(most[what], under[what])
		mu.Unlock()
		return func() {
			mu.Lock()
			defer mu.Unlock()
			under[what]--
		}
	}
	whole, right := tree{staff, true, false}, f.bind
	f.search = func(q asked) reply { defer count("search")(); return whole.search(q) }
	f.bind = func(dn, password string) int { defer count(dn)(); return right(dn, password) }
	d, k := open(t, func(c *Config) { c.Connections = 2 }, f)
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, err := d.Login(t.Context(), "alice", "alicepw"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most["search"] > 2 || most[aliceDN] > 2 || most[searcher] > 2 {
		t.Errorf("at once: %v", most)
	}
	if n := len(f.requests("bind " + searcher)); n > 2 {
		t.Errorf("%d connections for 30 log-ins, of which two may ask at once", n)
	}
	k.forward(idlePing)
	idle := func() int {
		d.servers[0].mu.Lock()
		defer d.servers[0].mu.Unlock()
		return len(d.servers[0].idle)
	}
	for range 7 {
		if err := login(t, d); err != nil {
			t.Fatal(err)
		}
		k.forward(idlePing)
	}
	if n := idle(); n != 1 {
		t.Errorf("%d connections are kept of which one is used", n)
	}
}

func TestWhoWaitsForAConnectionIsToldSo(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.search = tree{staff, true, false}.search
	d, _ := open(t, func(c *Config) { c.Connections = 1 }, f)
	f.pause()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := d.Login(ctx, "alice", "alicepw"); !fail.Is(err, fail.Unavailable) {
			t.Error(err)
		}
	})
	for len(d.asking) == 0 {
		time.Sleep(time.Millisecond)
	}
	short, cancelShort := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelShort()
	_, err := d.Login(short, "alice", "alicepw")
	if !fail.Is(err, fail.Unavailable) || !strings.Contains(fail.HintOf(err), f.url()) {
		t.Errorf("%v, hint %q", err, fail.HintOf(err))
	}
	cancel()
	all.Wait()
	f.release()
	if _, err = d.Login(t.Context(), "alice", "alicepw"); err != nil {
		t.Errorf("a request that was given up rests the server: %v", err)
	}
}

func TestAnAnswerIsWholeOrAnError(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(q asked, whole reply) reply{
		"cut at the person": func(q asked, r reply) reply {
			r.cut = strings.Contains(q.filter, "uid=")
			return r
		},
		"cut before the person": func(q asked, r reply) reply {
			if strings.Contains(q.filter, "uid=") {
				return reply{cut: true}
			}
			return r
		},
		"cut within the groups": func(q asked, r reply) reply {
			if q.base == groupBase {
				r.entries, r.cut = r.entries[:1], true
			}
			return r
		},
		"busy": func(q asked, r reply) reply {
			if q.base == groupBase {
				r.code = goldap.LDAPResultBusy
			}
			return r
		},
		"a referral": func(q asked, r reply) reply {
			if q.base == groupBase {
				r.code = goldap.LDAPResultReferral
			}
			return r
		},
		"too slow": func(q asked, r reply) reply {
			if q.base == groupBase {
				r.code = goldap.LDAPResultTimeLimitExceeded
			}
			return r
		},
		"no right": func(q asked, r reply) reply {
			if q.base == groupBase {
				return reply{code: goldap.LDAPResultInsufficientAccessRights}
			}
			return r
		},
		"no base": func(q asked, r reply) reply {
			if q.base == groupBase {
				return reply{code: goldap.LDAPResultNoSuchObject}
			}
			return r
		},
		"nothing because of a limit": func(q asked, r reply) reply {
			if q.base == groupBase {
				return reply{code: goldap.LDAPResultAdminLimitExceeded}
			}
			return r
		},
		"a flood": func(q asked, r reply) reply {
			if q.base == groupBase {
				for n := range 35_000 {
					r.entries = append(r.entries, groupEntry(fmt.Sprintf("g%d%0200d", n, n)))
				}
			}
			return r
		},
	} {
		f := startFake(t)
		whole := tree{staff, true, false}
		f.search = func(q asked) reply { return broken(q, whole.search(q)) }
		d, _ := open(t, nil, f)
		p, err := d.Login(t.Context(), "alice", "alicepw")
		if !fail.Is(err, fail.Unavailable) || p.Name != "" {
			t.Errorf("%s: %s in %d groups, %v", name, p.Name, len(p.Groups), err)
			continue
		}
		if !strings.Contains(err.Error(), f.url()) || !strings.Contains(err.Error(), "search ") || !strings.Contains(fail.HintOf(err), f.url()+": ") {
			t.Errorf("%s: error %v, hint %q", name, err, fail.HintOf(err))
		}
		f.mu.Lock()
		f.search = whole.search
		f.mu.Unlock()
		if _, err = d.Login(t.Context(), "alice", "alicepw"); err != nil {
			t.Errorf("%s, and then: %v", name, err)
		}
	}
}

func TestALimitOfTheServerLeavesSomeGroups(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := startFake(t)
	whole := tree{staff, true, false}
	f.search = func(q asked) reply {
		r := whole.search(q)
		if q.base == groupBase {
			r.code = goldap.LDAPResultSizeLimitExceeded
		}
		return r
	}
	d, _ := open(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) }, f)
	p, err := d.Login(t.Context(), "alice", "alicepw")
	if err != nil || !strings.Contains(keysOf(p.Groups), "build core developers") || !strings.Contains(log.String(), "more groups than are looked at") {
		t.Errorf("%q, %v, %s", keysOf(p.Groups), err, &log)
	}
}

func TestReferencesToOtherServersAreIgnored(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	whole := tree{staff, true, true}
	f.search = func(q asked) reply {
		r := whole.search(q)
		r.references = []string{"ldap://127.0.0.1:1/DC=ForestDnsZones,DC=example,DC=com", "no URL"}
		return r
	}
	d, _ := open(t, nil, f)
	if p, err := d.Login(t.Context(), "alice", "alicepw"); err != nil || len(p.Groups) != 5 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestManyGroupsComeInPages(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	total := 0
	f.search = func(q asked) (r reply) {
		if q.base != groupBase {
			return tree{ad: true}.search(q)
		}
		if q.page == nil || q.page.PagingSize > pageSize || q.size != 0 {
			t.Errorf("page %v, limit %d", q.page, q.size)
			return r
		}
		from := 0
		if _, err := fmt.Sscan(string(q.page.Cookie), &from); err != nil && len(q.page.Cookie) > 0 {
			t.Error(err)
		}
		for n := from; n < min(from+int(q.page.PagingSize), total); n++ {
			r.entries = append(r.entries, groupEntry(fmt.Sprintf("g%d", n)))
		}
		if end := from + int(q.page.PagingSize); end < total {
			r.cookie = fmt.Sprint(end)
		}
		return r
	}
	var log bytes.Buffer
	d, _ := open(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) }, f)
	for n, want := range map[int]int{1: 1, 499: 499, 500: 500, 1015: 1015, maxGroups: maxGroups, 100_000: maxGroups} {
		total = n
		log.Reset()
		p, err := d.Login(t.Context(), "alice", "alicepw")
		if err != nil || len(p.Groups) != want {
			t.Errorf("of %d groups %d came: %v", n, len(p.Groups), err)
		}
		if cut := strings.Contains(log.String(), "more groups than"); cut != (n > want) {
			t.Errorf("of %d groups %d came, and the log says %s", n, want, &log)
		}
	}
}

func TestFindSeesWhoIsGone(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	whole := tree{staff, true, false}
	f.search = whole.search
	d, _ := open(t, nil, f)
	p, err := d.Find(t.Context(), strings.ToLower(aliceDN))
	if err != nil || p.Name != "alice" || len(p.Groups) != 5 {
		t.Fatalf("%+v, %v", p, err)
	}
	if binds := f.requests("bind " + aliceDN); len(binds) != 0 {
		t.Errorf("%v", binds)
	}
	set := func(search func(q asked) reply) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.search = search
	}
	for what, search := range map[string]func(q asked) reply{
		"the filter excludes him": func(asked) reply { return reply{} },
		"he was deleted": func(q asked) reply {
			if strings.EqualFold(q.base, aliceDN) {
				return reply{code: goldap.LDAPResultNoSuchObject}
			}
			return reply{entries: []*goldap.Entry{goldap.NewEntry(base, nil)}}
		},
		"he was switched off": func(asked) reply {
			return reply{entries: []*goldap.Entry{goldap.NewEntry(aliceDN, map[string][]string{"uid": {"alice"}, "userAccountControl": {"66050"}})}}
		},
	} {
		set(search)
		if _, err = d.Find(t.Context(), p.Subject); !fail.Is(err, fail.NotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A search account that sees nothing any more must not make everybody disappear.
	set(func(asked) reply { return reply{code: goldap.LDAPResultNoSuchObject} })
	if _, err = d.Find(t.Context(), p.Subject); !fail.Is(err, fail.Unavailable) {
		t.Errorf("nothing is to be seen: %v", err)
	}
	set(whole.search)
	f.forget()
	for _, subject := range []string{"", "alice", "cn=alice,dc=elsewhere", "https://issuer#alice"} {
		if _, err = d.Find(t.Context(), subject); !fail.Is(err, fail.NotFound) {
			t.Errorf("%s: %v", subject, err)
		}
	}
	if got := f.requests(""); len(got) != 0 {
		t.Errorf("asked %v", got)
	}
}

func TestWhoHasSeveralNamesIsToldOfWithAllOfThem(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.search = func(q asked) reply {
		if strings.Contains(q.filter, "(uid=") || strings.EqualFold(q.base, aliceDN) {
			return reply{entries: []*goldap.Entry{goldap.NewEntry(aliceDN, map[string][]string{"uid": {"Alice Adams", "alice", "alice", "aadams"}})}}
		}
		return reply{}
	}
	d, _ := open(t, nil, f)
	for login, want := range map[string]string{"ALICE": "alice Alice Adams,aadams", "aadams": "aadams Alice Adams,alice", "alice  adams": "Alice Adams aadams,alice"} {
		p, err := d.Login(t.Context(), login, "alicepw")
		slices.Sort(p.Also)
		if got := p.Name + " " + strings.Join(p.Also, ","); err != nil || got != want {
			t.Errorf("%s: %q, want %q, %v", login, got, want, err)
		}
	}
	if p, err := d.Find(t.Context(), aliceDN); err != nil || p.Name != "Alice Adams" || !slices.Contains(p.Also, "alice") || !slices.Contains(p.Also, "aadams") {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestNothingInClearSlipsIntoTLS(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	// Whoever is on the way adds the answer to the bind that will come, in clear, right behind the agreement to begin TLS.
	f.raw = func(c net.Conn, id int64, op *ber.Packet) bool {
		if op.Tag != goldap.ApplicationExtendedRequest {
			return false
		}
		both := append(answerPacket(id, goldap.ApplicationExtendedResponse, 0).Bytes(), answerPacket(1, goldap.ApplicationBindResponse, 0).Bytes()...)
		_, err := c.Write(both)
		return err == nil
	}
	d, _ := open(t, func(c *Config) { c.StartTLS = true; c.TLS.Unverified = true }, f)
	_, err := d.Login(t.Context(), "alice", "alicepw")
	if !fail.Is(err, fail.Unavailable) || !strings.Contains(err.Error(), string(stepTLS)) {
		t.Errorf("%v", err)
	}
}
