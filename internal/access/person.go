package access

import (
	"context"
	"slices"
)

// Where users and groups come from.
const (
	FromHere = "local" // Havn's own accounts
	FromLDAP = "ldap"
	FromOIDC = "oidc"
)

// Person is somebody as a directory or an identity provider describes him now.
type Person struct {
	// Subject is what stays while names change: a directory's distinguished name, or an identity provider's issuer and subject. At most 700 bytes.
	Subject  string
	Name     string   // what he logs in as
	Also     []string // what else he logs in as, of a directory's people: whom Havn knows by one of these keeps it
	Email    string   // "" if it is not told
	RealName string   // "" if it is not told
	Groups   []Group
	Admin    bool // by the group of administrators that the operator named
}

// isCalled reports whether a name is one of his.
func (p Person) isCalled(name string) bool { return p.Name == name || slices.Contains(p.Also, name) }

// Group is a group of a directory or of an identity provider.
type Group struct {
	Key  string // a distinguished name in its normal form, or the name in the claim; at most 700 bytes
	Name string // what people call it; "": Key
}

// Provider is a directory that knows names and passwords. Errors: Unauthenticated if name and password do not match, whatever the reason; Unavailable, with a hint that names
// the directory, if it could not be asked, and then nothing is known of the password. It is safe for concurrent use.
type Provider interface {
	// Login answers who this is, with all groups, nested ones included.
	Login(ctx context.Context, name, password string) (Person, error)
	// Find looks somebody up by Person.Subject, for the refresh of groups without a login. NotFound: there is none any more, or the filter excludes him.
	Find(ctx context.Context, subject string) (Person, error)
}

// Renewer is an identity provider that tells of people again without a login.
type Renewer interface {
	// Renew asks for somebody by what the provider gave when he logged in last, and answers what counts the next time, "": as before; with an error too. Unauthenticated if the provider does
	// not let him in any more, Unsupported if it can't be asked for him so. No two ask for one person at once.
	Renew(ctx context.Context, subject, token string) (p Person, next string, err error)
}

// Searcher is what a Provider is too that knows people and groups without their passwords: for administrators who name them. NotFound if there is none of that name; other errors as Provider's.
type Searcher interface {
	// Lookup answers who logs in by a name; his groups need not be told.
	Lookup(ctx context.Context, login string) (Person, error)
	// Group answers the group with a key, however that is written. Invalid: it can't be a key.
	Group(ctx context.Context, key string) (Group, error)
}
