package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/havn-registry/havn/internal/fail"
)

func TestListsAreBoundedWhateverTheServerSends(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.search = func(q asked) (r reply) {
		if q.base == "" {
			return r
		}
		if (q.page == nil || q.page.PagingSize > pageSize) && q.size != 2 {
			t.Errorf("%+v", q)
		}
		// As a server does that knows no pages.
		for n := range 2_000 {
			r.entries = append(r.entries, goldap.NewEntry(fmt.Sprintf("cn=x%d,%s", n, base), map[string][]string{"uid": {fmt.Sprintf("x%d", n)}, "cn": {"X"}}))
		}
		return r
	}
	d, _ := open(t, nil, f)
	for limit, want := range map[int]int{0: DefaultList, 1: 1, 50: 50, 100_000: MostList} {
		people, more, err := d.Users(t.Context(), "x", limit)
		if err != nil || len(people) != want || !more {
			t.Errorf("%d: %d people, more %v, %v", limit, len(people), more, err)
		}
		groups, more, err := d.Groups(t.Context(), "x", limit)
		if err != nil || len(groups) != want || !more {
			t.Errorf("%d: %d groups, more %v, %v", limit, len(groups), more, err)
		}
	}
}

func TestTextsAreLookedForAsTheyAre(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	d, _ := open(t, func(c *Config) { c.Filter = "(objectClass=person)" }, f)
	for _, text := range metacharacters {
		f.forget()
		_, _, err := d.Users(t.Context(), text, 0)
		if strings.ContainsAny(text, "\x00\n") {
			if !fail.Is(err, fail.Invalid) || len(f.requests("search ")) > 0 {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		escaped := goldap.EscapeFilter(text)
		want := fmt.Sprintf("search (&(objectClass=person)(|(uid=*%s*)(mail=*%s*)(cn=*%s*)))", escaped, escaped, escaped)
		if got := f.requests("search (&"); len(got) != 1 || got[0].what != want {
			t.Errorf("%q: %v, want %s", text, got, want)
		}
	}
	for _, text := range []string{strings.Repeat("x", maxLogin+1), "\xff", " "} {
		if _, _, err := d.Groups(t.Context(), text, 0); !fail.Is(err, fail.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAGroupIsFoundByItsNameHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.search = func(q asked) reply {
		switch {
		case strings.EqualFold(q.base, dnOf("core")) && q.scope == goldap.ScopeBaseObject && q.filter == DefaultGroupFilter:
			return reply{entries: []*goldap.Entry{groupEntry("core")}}
		case strings.EqualFold(q.base, dnOf("gone")):
			return reply{code: goldap.LDAPResultNoSuchObject}
		}
		return reply{}
	}
	d, _ := open(t, nil, f)
	g, err := d.Group(t.Context(), strings.ToUpper(dnOf("core")))
	if err != nil || g.Key != strings.ToLower(dnOf("core")) || g.Name != "core" {
		t.Errorf("%+v, %v", g, err)
	}
	for dn, kind := range map[string]fail.Kind{
		dnOf("gone"): fail.NotFound, dnOf("no group"): fail.NotFound, "cn=core,dc=elsewhere": fail.NotFound, aliceDN: fail.NotFound, "core": fail.Invalid, "": fail.Invalid, "cn=a\xff": fail.Invalid,
	} {
		if _, err = d.Group(t.Context(), dn); !fail.Is(err, kind) || fail.HintOf(err) == "" {
			t.Errorf("%s: %v", dn, err)
		}
	}
}

func TestATestSaysWhichStepFailed(t *testing.T) {
	t.Parallel()
	for failed, c := range map[step]struct {
		change func(c *Config, f *fake)
		hint   string
	}{
		"":          {func(*Config, *fake) {}, ""},
		stepResolve: {func(c *Config, _ *fake) { c.URLs = []string{"ldap://no..such.host"} }, "/etc/resolv.conf"},
		stepConnect: {func(_ *Config, f *fake) { f.shut(f.listener) }, "nobody listens there"},
		stepTLS:     {func(c *Config, _ *fake) { c.StartTLS = true }, "does not offer StartTLS"},
		stepBind:    {func(c *Config, _ *fake) { c.SearchPassword = "wrong" }, "the search account's name or password is wrong"},
		stepBase:    {func(c *Config, _ *fake) { c.BaseDN = "dc=elsewhere" }, "the base is not there"},
		stepUsers:   {func(c *Config, _ *fake) { c.Filter = "(objectClass=robot)" }, "nobody can log in"},
		stepGroups:  {func(c *Config, _ *fake) { c.Groups.BaseDN = "ou=gone,dc=example,dc=com" }, "the base is not there"},
		stepAdmin:   {func(c *Config, _ *fake) { c.Groups.AdminDN = "cn=gone,dc=example,dc=com" }, "the base is not there"},
	} {
		f := startFake(t)
		f.search = func(q asked) reply {
			switch {
			case strings.Contains(q.base, "gone") || strings.Contains(q.base, "elsewhere"):
				return reply{code: goldap.LDAPResultNoSuchObject}
			case strings.Contains(q.filter, "robot"):
				return reply{}
			case q.base == groupBase:
				return reply{entries: []*goldap.Entry{groupEntry("core")}}
			}
			return reply{entries: []*goldap.Entry{alice(dnOf("core"))}}
		}
		d, _ := open(t, func(conf *Config) { c.change(conf, f) }, f)
		reports := d.Test(t.Context())
		if len(reports) != 1 || reports[0].OK() != (failed == "") || len(reports[0].Steps) == 0 {
			t.Fatalf("%s: %+v", failed, reports)
		}
		for _, s := range reports[0].Steps {
			if (s.Err != nil) != (s.Name == string(failed)) {
				t.Errorf("%s: step %s: %v", failed, s.Name, s.Err)
			}
			if s.Err != nil && (!strings.Contains(s.Hint, c.hint) || !strings.Contains(s.Err.Error(), reports[0].Server) || !fail.Is(s.Err, fail.Unavailable)) {
				t.Errorf("%s: %v, hint %q", failed, s.Err, s.Hint)
			}
		}
	}
}

func TestATestOfAServerThatHangsEnds(t *testing.T) {
	t.Parallel()
	first, second := startFake(t), startFake(t)
	second.search = func(asked) reply { return reply{entries: []*goldap.Entry{alice(dnOf("core"))}} }
	d, _ := open(t, func(c *Config) { c.Timeout = quick }, first, second)
	first.pause()
	reports := d.Test(t.Context())
	if reports[0].OK() || !reports[1].OK() {
		t.Fatalf("%+v", reports)
	}
	last := reports[0].Steps[len(reports[0].Steps)-1]
	if last.Name != string(stepBind) || !errors.Is(last.Err, context.DeadlineExceeded) {
		t.Errorf("%+v", last)
	}
}
