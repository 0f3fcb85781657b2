package access

import (
	"context"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// Scope is a resource and what shall be done to it: "repository:library/app:pull,push" (Docker's token authentication, "scope").
type Scope struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

const (
	typeRepository = "repository"
	typeRegistry   = "registry"
	nameCatalog    = "catalog"
	anyAction      = "*"
	actionPull     = "pull"
	actionPush     = "push"
	actionDelete   = "delete"

	// maxScope is the longest scope that is read, in bytes.
	maxScope = 1024
)

var actions = []string{actionPull, actionPush, actionDelete, anyAction}

// ParseScope reads type:name:action,action. The name may hold colons; a class in brackets behind the type is passed over. Invalid with UNSUPPORTED.
func ParseScope(text string) (Scope, error) {
	kind, rest, ok := strings.Cut(text, ":")
	end := strings.LastIndexByte(rest, ':')
	if !ok || end < 0 || kind == "" || len(text) > maxScope {
		return Scope{}, fail.E(fail.Invalid, nil, "scope %.100q", text).Code(oci.CodeUnsupported).Hint("write type:name:action,action like repository:library/app:pull,push")
	}
	if class := strings.IndexByte(kind, '('); class > 0 {
		kind = kind[:class]
	}
	s := Scope{Type: kind, Name: rest[:end]}
	for action := range strings.SplitSeq(rest[end+1:], ",") {
		if action != "" && !slices.Contains(s.Actions, action) {
			s.Actions = append(s.Actions, action)
		}
	}
	return s, nil
}

// String answers the form that ParseScope reads.
func (s Scope) String() string { return s.Type + ":" + s.Name + ":" + strings.Join(s.Actions, ",") }

// Grant answers what of the scopes somebody may have; scopes of which nothing is left are not among them. Administrators may do everything; whoever is known may ask for the
// catalogue, which shows what they may see.
func (a *Access) Grant(ctx context.Context, who Identity, asked []Scope) ([]Scope, error) {
	var granted []Scope
	known := map[string]Rights{}
	for _, s := range asked {
		allowed := []string(nil)
		switch {
		case s.Type == typeRegistry && s.Name == nameCatalog && who.Subject != "":
			allowed = keep(s.Actions, anyAction)
		case s.Type == typeRepository:
			name, err := oci.ParseName(s.Name)
			if err != nil {
				continue // there is no such repository to do anything to
			}
			if who.Admin {
				allowed = keep(s.Actions, actions...) // in a project that is not there too: a push may make it
				break
			}
			rights, seen := known[name.Project()]
			if !seen {
				if rights, err = a.Rights(ctx, who, name.Project()); err != nil && !fail.Is(err, fail.NotFound) {
					return nil, err
				}
				known[name.Project()] = rights
			}
			allowed = keep(s.Actions, rights.actions()...)
		}
		if len(allowed) > 0 {
			granted = append(granted, Scope{Type: s.Type, Name: s.Name, Actions: allowed})
		}
	}
	return granted, nil
}

// actions answers what of the registry's actions may be done to the project's repositories.
func (r *Rights) actions() []string {
	var may []string
	for _, pair := range []struct {
		action string
		needs  Operation
	}{
		{actionPull, Operation{"repository", "pull"}},
		{actionPush, Operation{"repository", "push"}},
		{actionDelete, Operation{"repository", "delete"}},
		{actionDelete, Operation{"artifact", "delete"}}, // what robots may be given alone
	} {
		if r.May(pair.needs) && !slices.Contains(may, pair.action) {
			may = append(may, pair.action)
		}
	}
	if len(may) == len(actions)-1 {
		may = append(may, anyAction)
	}
	return may
}

func keep(asked []string, allowed ...string) []string {
	var kept []string
	for _, action := range asked {
		if slices.Contains(allowed, action) {
			kept = append(kept, action)
		}
	}
	return kept
}
