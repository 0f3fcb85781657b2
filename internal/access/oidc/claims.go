package oidc

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"unicode"

	"golang.org/x/oauth2"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// maxName and maxGroup are access's limits of a user's name and of Group.Key.
	maxName  = 255
	maxGroup = 700
	// maxText bounds an e-mail address and a name of a person.
	maxText = 255
)

// claims are what a provider says of somebody.
type claims map[string]any

// text answers a claim that is a text, "" if it is not one.
func (s claims) text(name string) string {
	text, ok := s[name].(string)
	if !ok {
		return ""
	}
	return text
}

// person answers whom the provider means. What the ID token does not say, userinfo is asked for, and what it says too counts; many providers put groups there, and some when there are
// too many for a token. Errors: Unauthenticated; Unavailable if userinfo could not be asked.
func (c *Client) person(ctx context.Context, p *provider, id identity, token *oauth2.Token) (access.Person, error) {
	subject, err := p.subject(id.sub)
	if err != nil {
		return access.Person{}, err
	}
	_, grouped := id.said[c.GroupsClaim]
	if p.said.UserInfo != "" && !id.whole && (!grouped && c.GroupsClaim != "" || c.name(id.said) == "" || id.said.text("email") == "") {
		more, infoErr := c.userInfo(ctx, p, token)
		if infoErr != nil {
			return access.Person{}, infoErr
		}
		if more != nil && more.text("sub") != id.sub {
			return access.Person{}, fail.E(fail.Unauthenticated, nil, "the OIDC provider's userinfo is of somebody else than its ID token").Hint("look at the provider's log")
		}
		for name, value := range more {
			if _, told := id.said[name]; !told {
				id.said[name] = value
			}
		}
	}
	who := access.Person{Subject: subject, Name: c.name(id.said), Email: email(id.said), RealName: realName(id.said)}
	who.Groups, who.Admin = c.groups(ctx, subject, id.said)
	return who, nil
}

// userInfo answers what userinfo says, nil where the provider does not let us have it: then the ID token's claims are all there is.
func (c *Client) userInfo(ctx context.Context, p *provider, token *oauth2.Token) (claims, error) {
	info, err := p.UserInfo(c.asking(ctx), oauth2.StaticTokenSource(token))
	var more claims
	if err == nil {
		err = info.Claims(&more)
	}
	if err == nil {
		return more, nil
	}
	status, answered := fail.DetailOf(err).(int)
	definite := answered && status < http.StatusInternalServerError && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
	if !definite && fail.KindOf(err) != fail.Internal {
		return nil, silent(err, "OIDC provider's userinfo could not be asked")
	}
	c.Log.WarnContext(ctx, "OIDC provider tells nothing by userinfo; the ID token's claims are all that counts", "error", err)
	return nil, nil
}

// name answers the user name that the claims propose, "" if there is none.
func (c *Client) name(said claims) string {
	claims := []string{"preferred_username", "name"}
	if c.NameClaim != "" {
		claims = []string{c.NameClaim}
	}
	for _, claim := range claims {
		text := said.text(claim)
		if claim == "email" {
			text = email(said)
		}
		if name := cleaned(text); name != "" {
			return name
		}
	}
	return ""
}

// cleaned makes a user name of a text, "" if that can't be one. A colon would end the name in a docker login, $ begins the names of robots, Harbor refuses , ~ # and %; what is not
// seen would let one user look like another.
func cleaned(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), strings.ContainsRune(":,~#$%", r):
			return '_'
		case !unicode.IsPrint(r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, strings.TrimSpace(s))
	if len(s) > maxName {
		return ""
	}
	return s
}

// email answers the address, "" if the provider says that it was not verified. Where it says nothing of that, it counts: several providers know verified ones alone.
func email(said claims) string {
	verified, told := said["email_verified"]
	if told && verified != true && verified != "true" { // AWS Cognito writes a text
		return ""
	}
	if address := shown(said.text("email")); strings.Contains(address, "@") {
		return address
	}
	return ""
}

func realName(said claims) string {
	if name := shown(said.text("name")); name != "" {
		return name
	}
	return shown(said.text("given_name") + " " + said.text("family_name"))
}

// shown answers a text that can be stored and shown, "" if it can't.
func shown(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxText || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return s
}

// groups answers the groups that the filter lets through, and whether the administrators' group is among all of them, as in Harbor.
func (c *Client) groups(ctx context.Context, subject string, said claims) (groups []access.Group, admin bool) {
	if c.GroupsClaim == "" {
		return nil, false
	}
	var names []any
	switch value := said[c.GroupsClaim].(type) {
	case []any:
		names = value
	case string:
		names = []any{value}
	default:
		c.noGroups(ctx, subject, said)
	}
	seen, unfit := map[string]bool{}, 0
	for _, value := range names {
		name, ok := value.(string)
		switch {
		case !ok || len(name) > maxGroup || strings.ContainsFunc(name, unicode.IsControl):
			unfit++
		case name == "" || seen[name]:
		default:
			seen[name] = true
			admin = admin || name == c.AdminGroup
			if c.filter == nil || c.filter.MatchString(name) {
				groups = append(groups, access.Group{Key: name})
			}
		}
	}
	if unfit > 0 {
		c.Log.WarnContext(ctx, "groups of the OIDC provider that are no names, or too long, are left out", "subject", subject, "number", unfit)
	}
	return groups, admin
}

// noGroups says in the log why somebody has no groups. He is let in: a right less is what he can tell his administrators.
func (c *Client) noGroups(ctx context.Context, subject string, said claims) {
	var elsewhere map[string]json.RawMessage
	if text, err := json.Marshal(said["_claim_names"]); err == nil && json.Unmarshal(text, &elsewhere) == nil && elsewhere[c.GroupsClaim] != nil {
		c.Log.WarnContext(ctx, "the OIDC provider does not tell the groups of somebody who is in too many; let it tell those alone that are assigned to Havn, or roles",
			"subject", subject, "claim", c.GroupsClaim)
		return
	}
	c.Log.InfoContext(ctx, "the OIDC provider tells no groups: is oidc_groups_claim right, and the scope for it in oidc_scope?", "subject", subject, "claim", c.GroupsClaim)
}
