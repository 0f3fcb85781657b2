package oidc_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/fail"
)

func keys(l oidc.Login) []string {
	var all []string
	for _, g := range l.Person.Groups {
		all = append(all, g.Key)
	}
	return all
}

func TestNamesAreTakenFromClaims(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.info = nil
	for _, c := range []struct {
		claim  string
		claims jwt.MapClaims
		want   string
	}{
		{"", jwt.MapClaims{}, "ada"},
		{"", jwt.MapClaims{"preferred_username": nil}, "Ada_Lovelace"},
		{"", jwt.MapClaims{"preferred_username": 7}, "Ada_Lovelace"},
		{"", jwt.MapClaims{"preferred_username": " \u200b\u202e", "name": ""}, ""},
		{"", jwt.MapClaims{"preferred_username": nil, "name": nil}, ""},
		{"nick", jwt.MapClaims{"nick": "al"}, "al"},
		{"nick", jwt.MapClaims{}, ""},
		{"email", jwt.MapClaims{}, "ada@example.com"},
		{"email", jwt.MapClaims{"email_verified": "false"}, ""},
		{"", jwt.MapClaims{"preferred_username": " a b\tc:d,e~f#g$h%i "}, "a_b_c_d_e_f_g_h_i"},
		{"", jwt.MapClaims{"preferred_username": "robot$ci"}, "robot_ci"},
		{"", jwt.MapClaims{"preferred_username": "ad\u200bmi\x00n\u202e"}, "admin"},
		{"", jwt.MapClaims{"preferred_username": "Ünal@example.com"}, "Ünal@example.com"},
		{"", jwt.MapClaims{"preferred_username": strings.Repeat("ö", 128)}, "Ada_Lovelace"}, // 256 bytes
		{"", jwt.MapClaims{"preferred_username": strings.Repeat("ö", 127)}, strings.Repeat("ö", 127)},
	} {
		f.claims = c.claims
		got, err := f.login(f.client(func(conf *oidc.Config) { conf.NameClaim = c.claim }))
		if err != nil || got.Person.Name != c.want || got.Ask != (c.want == "") {
			t.Errorf("%q of %v: %q, ask %v, %v; want %q", c.claim, c.claims, got.Person.Name, got.Ask, err, c.want)
		}
	}
	f.claims = nil
	if got, err := f.login(f.client(func(c *oidc.Config) { c.AutoOnboard = false })); err != nil || !got.Ask || got.Person.Name != "ada" {
		t.Errorf("without onboarding: %+v, %v", got, err)
	}
}

func TestAnAddressThatWasNotVerifiedIsNotTaken(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.info = nil
	for _, c := range []struct {
		claims jwt.MapClaims
		want   string
	}{
		{jwt.MapClaims{}, "ada@example.com"},
		{jwt.MapClaims{"email_verified": "true"}, "ada@example.com"},
		{jwt.MapClaims{"email_verified": nil}, "ada@example.com"}, // nothing is said
		{jwt.MapClaims{"email_verified": false}, ""},
		{jwt.MapClaims{"email_verified": "false"}, ""},
		{jwt.MapClaims{"email_verified": 1}, ""},
		{jwt.MapClaims{"email": "ada"}, ""},
		{jwt.MapClaims{"email": "ada@example.com\r\nBcc: all"}, ""},
		{jwt.MapClaims{"email": strings.Repeat("a", 250) + "@example.com"}, ""},
		{jwt.MapClaims{"email": []string{"ada@example.com"}}, ""},
	} {
		f.claims = c.claims
		if got, err := f.login(f.client()); err != nil || got.Person.Email != c.want {
			t.Errorf("%v: %q, %v", c.claims, got.Person.Email, err)
		}
	}
	f.claims = jwt.MapClaims{"name": nil, "given_name": "Ada", "family_name": "King"}
	if got, err := f.login(f.client()); err != nil || got.Person.RealName != "Ada King" {
		t.Errorf("%q, %v", got.Person.RealName, err)
	}
}

func TestGroupsAreTakenFromTheirClaim(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.info = nil
	for _, c := range []struct {
		claim, filter string
		value         any
		want          []string
		admin         bool
	}{
		{"groups", "", []string{"b", "a"}, []string{"b", "a"}, false},
		{"roles", "", []string{"a"}, []string{"a"}, false},
		{"https://example.com/groups", "", []string{"a"}, []string{"a"}, false},
		{"", "", []string{"admins"}, nil, false},
		{"groups", "", "admins", []string{"admins"}, true},
		{"groups", "", "", nil, false},
		{"groups", "", []string{}, nil, false},
		{"groups", "", nil, nil, false},
		{"groups", "", map[string]any{"a": 1}, nil, false},
		{"groups", "", []any{"a", 7, nil, "", "a", "b\x00", strings.Repeat("c", 701), strings.Repeat("d", 700)}, []string{"a", strings.Repeat("d", 700)}, false},
		{"groups", "^team-", []string{"team-a", "my-team-b", "admins"}, []string{"team-a"}, true},
		{"groups", "team", []string{"team-a", "my-team-b"}, []string{"team-a", "my-team-b"}, false},
		{"groups", "", []string{"/Admins", "Admins", "admins "}, []string{"/Admins", "Admins", "admins "}, false},
	} {
		name := c.claim
		if name == "" {
			name = "groups"
		}
		f.claims = jwt.MapClaims{"groups": nil, name: c.value}
		got, err := f.login(f.client(func(conf *oidc.Config) {
			conf.GroupsClaim, conf.GroupFilter, conf.AdminGroup = c.claim, c.filter, "admins"
		}))
		if err != nil || !reflect.DeepEqual(keys(got), c.want) || got.Person.Admin != c.admin {
			t.Errorf("%+v: %v, admin %v, %v", c, keys(got), got.Person.Admin, err)
		}
	}
	f.claims = jwt.MapClaims{"groups": []string{""}}
	if got, err := f.login(f.client()); err != nil || got.Person.Admin {
		t.Errorf("without a group of administrators, that without a name makes one: %v", err)
	}
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprintf("group-%d", i)
	}
	f.claims = jwt.MapClaims{"groups": many}
	if got, err := f.login(f.client()); err != nil || len(got.Person.Groups) != len(many) {
		t.Errorf("of %d groups %d, %v", len(many), len(got.Person.Groups), err)
	}
}

func TestUserinfoTellsWhatTheTokenDoesNot(t *testing.T) {
	t.Parallel()
	overage := jwt.MapClaims{
		"groups": nil, "_claim_names": map[string]string{"groups": "src1"},
		"_claim_sources": map[string]any{"src1": map[string]string{"endpoint": "https://graph.example/users/7/getMemberObjects"}},
	}
	for _, c := range []struct {
		what   string
		claims jwt.MapClaims
		change func(*fake)
		kind   fail.Kind // 0: he is let in
		groups []string
		asked  int
	}{
		{"all in the token", nil, func(*fake) {}, 0, []string{"team-a", "admins"}, 0},
		{"no groups in it", jwt.MapClaims{"groups": nil}, func(*fake) {}, 0, []string{"from-userinfo"}, 1},
		{"too many groups for it", overage, func(*fake) {}, 0, []string{"from-userinfo"}, 1},
		{"no address in it", jwt.MapClaims{"email": nil}, func(*fake) {}, 0, []string{"team-a", "admins"}, 1},
		{"no groups anywhere", jwt.MapClaims{"groups": nil}, func(f *fake) { f.info = map[string]any{"sub": "7"} }, 0, nil, 1},
		{"not for us", overage, func(f *fake) { f.info = nil }, 0, nil, 1},
		{"no such page", jwt.MapClaims{"groups": nil}, func(f *fake) { f.refuses["/userinfo"] = http.StatusNotFound }, 0, nil, 1},
		{"not offered", jwt.MapClaims{"groups": nil}, func(f *fake) { f.said = map[string]any{"userinfo_endpoint": nil} }, 0, nil, 0},
		{"not now", jwt.MapClaims{"groups": nil}, func(f *fake) { f.refuses["/userinfo"] = http.StatusServiceUnavailable }, fail.Unavailable, nil, 1},
		{"too often", jwt.MapClaims{"groups": nil}, func(f *fake) { f.refuses["/userinfo"] = http.StatusTooManyRequests }, fail.Unavailable, nil, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.claims = c.claims
			c.change(f)
			got, err := f.login(f.client())
			if c.kind != 0 && (!fail.Is(err, c.kind) || fail.HintOf(err) == "") || c.kind == 0 && (err != nil || !reflect.DeepEqual(keys(got), c.groups)) {
				t.Errorf("%v, %v, kind %v", keys(got), err, fail.KindOf(err))
			}
			if n := f.count("/userinfo"); n != c.asked {
				t.Errorf("asked %d times", n)
			}
		})
	}
}
