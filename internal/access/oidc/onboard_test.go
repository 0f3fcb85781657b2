package oidc_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/fail"
)

func TestALoginWaitsForANameInTheBrowser(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c, node := f.client(), f.client()
	got, err := f.login(f.client(func(c *oidc.Config) { c.AutoOnboard = false }))
	if err != nil || !got.Ask {
		t.Fatalf("%+v, %v", got, err)
	}
	parts, err := c.Keep(got)
	if err != nil || len(parts) != 1 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	if again, cause := node.Resume(parts); cause != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("at another node: %+v, %v; want %+v", again, cause, got)
	}
	for what, bad := range map[string][]string{
		"nothing": nil, "empty": {""}, "a part": {parts[0][:len(parts[0])/2]}, "more": {parts[0], "x"}, "what is sealed for a logout": {c.Leave(got.Tokens.ID)},
	} {
		if _, cause := c.Resume(bad); !fail.Is(cause, fail.Invalid) || fail.HintOf(cause) == "" {
			t.Errorf("%s: %v", what, cause)
		}
	}
	if _, cause := f.client(func(c *oidc.Config) { c.ClientID = "other" }).Resume(parts); !fail.Is(cause, fail.Invalid) {
		t.Errorf("at another client: %v", cause)
	}
	f.clock = f.clock.Add(15 * time.Minute)
	if _, cause := c.Resume(parts); !fail.Is(cause, fail.Invalid) || fail.HintOf(cause) == "" {
		t.Errorf("too late: %v", cause)
	}
}

func TestALoginInManyGroupsWaitsInTwoCookiesOrSaysWhatToDo(t *testing.T) {
	t.Parallel()
	c := newFake(t).client()
	numbered := func(n int) (all []access.Group) {
		for i := range n { // like Entra's ids: 16 bytes that can't be told in less
			sum := sha256.Sum256([]byte(fmt.Sprint(i)))
			all = append(all, access.Group{Key: hex.EncodeToString(sum[:16])})
		}
		return all
	}
	login := oidc.Login{Person: access.Person{Subject: "s", Name: "ada", Groups: numbered(180)}, Ask: true, Tokens: oidc.Tokens{Refresh: "r", ID: strings.Repeat("x", 900)}, ReturnTo: "/"}
	parts, err := c.Keep(login)
	if err != nil || len(parts) != 2 || len(parts[0]) > 3500 || len(parts[1]) > 3500 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	if again, cause := c.Resume(parts); cause != nil || !reflect.DeepEqual(again, login) {
		t.Errorf("%+v, %v", again, cause)
	}
	login.Person.Groups = numbered(2000)
	if _, err = c.Keep(login); !fail.Is(err, fail.Invalid) || !strings.Contains(fail.HintOf(err), "oidc_auto_onboard") {
		t.Errorf("with far too many: %v", err)
	}
}

func TestWhatIsKeptForTheLogoutIsSealed(t *testing.T) {
	t.Parallel()
	c := newFake(t).client()
	kept := c.Leave("a.b.c")
	if strings.Contains(kept, "a.b.c") || c.Left(kept) != "a.b.c" {
		t.Errorf("%q is %q", kept, c.Left(kept))
	}
	for _, text := range []string{"", "a.b.c", kept + "x"} {
		if got := c.Left(text); got != "" {
			t.Errorf("%q is %q", text, got)
		}
	}
	if c.Leave("") != "" || c.Leave(strings.Repeat("x", 2001)) != "" {
		t.Error("nothing, or too much, is kept")
	}
}

func TestNobodyIsAskedForAgainWhoseTokenEndsWithHisBrowser(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	short := f.client(func(c *oidc.Config) { c.Scopes = []string{"openid", "profile"} })
	if got, err := f.login(short); err != nil || got.Tokens.Refresh != "" || got.Tokens.ID == "" {
		t.Errorf("%+v, %v", got, err)
	}
	f.count("/token")
	for what, c := range map[string]struct {
		client  *oidc.Client
		subject string
	}{
		"without offline_access":   {short, f.subject()},
		"another provider's":       {f.client(), "https://other.example 7"},
		"a provider's like it":     {f.client(), f.URL + ".other.example 7"},
		"a subject of another age": {f.client(), "7"},
	} {
		if _, _, err := c.client.Refresh(t.Context(), c.subject, "token"); !fail.Is(err, fail.Unsupported) || fail.HintOf(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := f.count("/token"); n != 0 {
		t.Errorf("tokens were shown to the provider %d times", n)
	}
}
