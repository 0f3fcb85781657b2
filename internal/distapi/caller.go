package distapi

import (
	"strings"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// action is what an operation needs the caller to be allowed.
type action int

const (
	open   action = iota // nothing: the operation looks at credentials itself
	signIn               // any valid credentials
	browse               // the catalogue
	pull                 // from here on, on one repository
	push
	remove
)

// String answers the action as scopes write it.
func (n action) String() string {
	switch n {
	case pull:
		return "pull"
	case push:
		return "push"
	case remove:
		return "delete"
	default:
		return "*"
	}
}

// caller is who asks. Without credentials it is the zero caller.
type caller struct {
	identity access.Identity
	claims   *access.Claims // of a Bearer token, else nil
}

func (c *caller) pusher() registry.Pusher {
	return registry.Pusher{Subject: c.identity.Subject, MayCreate: c.identity.Admin}
}

func (c *caller) viewer() registry.Viewer {
	return registry.Viewer{All: c.identity.Admin, User: c.identity.User, Robot: c.identity.Robot}
}

// authorize finds out who asks and refuses what the caller may not do. Without credentials, or with a token that does not hold enough, the answer is 401
// with a challenge: the client can ask the token service for more. Whoever named himself with each request (Basic) and may not is told so: 403.
func (a *API) authorize(c *call) error {
	if c.op.action == open {
		return nil
	}
	scheme, credentials, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	switch {
	case scheme == "":
		return a.admitStranger(c)
	case strings.EqualFold(scheme, "Bearer"):
		return a.admitToken(c, strings.TrimSpace(credentials))
	case strings.EqualFold(scheme, "Basic"):
		return a.admitUser(c)
	}
	return unauthenticated("Authorization of scheme %.20q", scheme).Hint("use Bearer or Basic")
}

func unauthenticated(format string, args ...any) *fail.Error {
	return fail.E(fail.Unauthenticated, nil, format, args...).Code(oci.CodeUnauthorized)
}

// admitStranger lets pulls of public projects through, and refuses all else with a challenge.
func (a *API) admitStranger(c *call) error {
	if c.op.action == pull {
		ok, err := a.mayDo(c, access.Identity{}, c.route.name, pull)
		if ok || err != nil {
			return err
		}
	}
	return unauthenticated("authentication required").Hint("log in")
}

func (a *API) admitUser(c *call) error {
	user, password, ok := c.BasicAuth()
	if !ok {
		return unauthenticated("malformed Basic credentials")
	}
	var err error
	if c.caller.identity, err = a.access.Authenticate(c.Context(), user, password, a.origin.Client(c.Request).String()); err != nil {
		return err
	}
	if c.op.action < pull {
		return nil
	}
	if ok, err = a.mayDo(c, c.caller.identity, c.route.name, c.op.action); ok || err != nil {
		return err
	}
	return fail.E(fail.Denied, nil, "%s on %s is not allowed to %s", c.op.action, c.route.asked, user).Code(oci.CodeDenied)
}

func (a *API) admitToken(c *call, raw string) error {
	var claims access.Claims
	var err error
	if c.op.action > pull {
		if err = a.access.Current(c.Context()); err != nil {
			return err
		}
	}
	if c.route.endpoint == upload {
		claims, err = a.verifyForUpload(c, raw)
	} else {
		claims, err = a.access.Verify(c.Context(), raw)
	}
	if err != nil {
		if fail.Is(err, fail.Unauthenticated) {
			c.reason = "invalid_token"
		}
		return err
	}
	c.caller = caller{claims.Identity, &claims}
	switch c.op.action {
	case open, signIn:
		return nil
	case browse:
		if claims.AllowsCatalog() {
			return nil
		}
	default:
		if claims.Allows(c.route.name, c.op.action.String()) {
			return nil
		}
	}
	c.reason = "insufficient_scope"
	return unauthenticated("the token does not allow %s", a.scope(c)).Hint("ask the token service for this scope; if it was asked for, it was not granted")
}

// verifyForUpload lets a token that expired go on with the upload that its subject began, so that a push of two hours does not end in 401; nor does its last request, when it is sent again because
// its answer was lost.
func (a *API) verifyForUpload(c *call, raw string) (access.Claims, error) {
	claims, err := a.access.VerifyForUpload(c.Context(), raw)
	if err != nil || !claims.Expired {
		return claims, err
	}
	subject, err := a.registry.UploadSubject(c.Context(), c.route.name, c.route.ref)
	if err != nil && !fail.Is(err, fail.NotFound) {
		return claims, err
	}
	if err != nil || subject != claims.Identity.Subject {
		return claims, unauthenticated("the token has expired").Hint("ask the token service for a new one")
	}
	return claims, nil
}

// mayDo reports whether somebody may do something to a repository, whatever his token holds.
func (a *API) mayDo(c *call, who access.Identity, name oci.Name, n action) (bool, error) {
	granted, err := a.access.Grant(c.Context(), who, []access.Scope{{Type: "repository", Name: name.String(), Actions: []string{n.String()}}})
	if err != nil {
		return false, err
	}
	return len(granted) > 0 && len(granted[0].Actions) > 0, nil
}

// purpose answers what a HEAD is for: maybe it is a push's question what it need not send, if the caller may push here, whatever his token holds so far, or did not say yet who
// he is. Then what he is told to be present must stay for a while.
func (a *API) purpose(c *call) (registry.Purpose, error) {
	who := &c.caller
	switch {
	case who.claims == nil && who.identity.Subject == "":
		return registry.Unsaid, nil
	case who.claims != nil && who.claims.Allows(c.route.name, push.String()):
		return registry.ToPush, nil
	case who.identity.Subject == "":
		return registry.ToPull, nil
	}
	if ok, err := a.mayDo(c, who.identity, c.route.name, push); !ok || err != nil {
		return registry.ToPull, err
	}
	return registry.ToPush, nil
}

// scope answers what a client has to ask the token service for. A mount needs its source too.
func (a *API) scope(c *call) string {
	if c.op == nil {
		return ""
	}
	repository := "repository:" + c.route.asked + ":"
	switch c.op.action {
	case browse:
		return "registry:catalog:*"
	case pull:
		return repository + "pull"
	case remove:
		return repository + "delete"
	case push:
		if from := c.URL.Query().Get("from"); c.route.endpoint == uploads && from != "" {
			if _, err := oci.ParseName(from); err == nil {
				return repository + "pull,push repository:" + from + ":pull"
			}
		}
		return repository + "pull,push"
	default:
		return ""
	}
}

// challenge answers WWW-Authenticate: where to get what.
func (a *API) challenge(c *call) string {
	if c.route.endpoint == token {
		return `Basic realm="` + Service + `"`
	}
	text := `Bearer realm="` + a.origin.URL(c.Request) + tokenPath + `",service="` + Service + `"`
	if scope := a.scope(c); scope != "" {
		text += `,scope="` + scope + `"`
	}
	if c.reason != "" {
		text += `,error="` + c.reason + `"`
	}
	return text
}
