package access

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
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

	// maxScope is the longest scope that is read, in bytes.
	maxScope = 1024
)

var actions = []string{actionPull, "push", "delete", anyAction}

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

// Grant answers what of the scopes somebody may have; scopes of which nothing is left are not among them. Administrators may do everything; everybody may pull from public
// projects; whoever is known may ask for the catalogue, which shows what they may see.
func (a *Access) Grant(ctx context.Context, who Identity, asked []Scope) ([]Scope, error) {
	var granted []Scope
	public := map[string]bool{}
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
				allowed = keep(s.Actions, actions...)
				break
			}
			project := name.Project()
			if _, known := public[project]; !known {
				if public[project], err = a.isPublic(ctx, project); err != nil {
					return nil, err
				}
			}
			if public[project] {
				allowed = keep(s.Actions, actionPull)
			}
		}
		if len(allowed) > 0 {
			granted = append(granted, Scope{Type: s.Type, Name: s.Name, Actions: allowed})
		}
	}
	return granted, nil
}

func (a *Access) isPublic(ctx context.Context, project string) (bool, error) {
	p, err := index.FindProject(ctx, a.DB, project)
	if fail.Is(err, fail.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find project %s: %w", project, err)
	}
	return p.Public, nil
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

// VisibleProjects says which repositories somebody may see in lists: all, those of public projects, and those of the named projects.
func (a *Access) VisibleProjects(_ context.Context, who Identity) (all, public bool, names []string, err error) {
	return who.Admin, true, nil, nil
}
