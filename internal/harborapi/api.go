package harborapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/project"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/settings"
)

// Base is where the operations are, and Devcenter where they are described.
const (
	Base      = "/api/v2.0"
	Devcenter = "/devcenter-api-2.0"

	versionPath  = "/api/version"
	documentPath = Devcenter + "/openapi.yaml"
	// maxBody bounds the body of a request: far above a project's longest metadata.
	maxBody = 1 << 20
	// longestChange bounds a change whose client may have left: deleting a repository with a hundred thousand tags takes minutes where the database is far away.
	longestChange = 10 * time.Minute
)

// Config is what the API is made of.
type Config struct {
	Registry *registry.Registry
	Projects *project.Projects
	Access   *access.Access
	Settings *settings.Store
	Audit    *audit.Log
	// Directory is the LDAP directory of the settings. Its methods answer Conflict if there is none.
	Directory Directory
	// Identity answers the identity provider of the settings, as of now: Conflict if there is none, Invalid if it can't be used. PingIdentity tries another one.
	Identity     func() (Identity, error)
	PingIdentity func(ctx context.Context, endpoint string, verify bool) error
	Log          *slog.Logger
	Clock        func() time.Time
	Version      string                                                            // Havn's
	Storage      string                                                            // the driver of the blob store
	URL          func(*http.Request) string                                        // what a client calls the server, without a slash at the end
	Client       func(*http.Request) netip.Addr                                    // who sent a request
	Health       func(context.Context) []Part                                      // how this node and what it stands on are
	Space        func(context.Context) Space                                       // of the blob store
	Session      func(ctx context.Context, cookie string) (access.Identity, error) // who is logged in with it; Unauthenticated: nobody any more. nil: there are no sessions
}

// Part is one of what a node stands on.
type Part struct {
	Name    string
	Problem string // "": it is well
	Spare   bool   // the node works without it
}

// Space is the room of a blob store.
type Space struct {
	Known       bool
	Total, Free int64 // bytes
}

// API is the http.Handler of Base, Browser, Devcenter and /api/version. It is safe for concurrent use.
type API struct {
	Config
	mux       *http.ServeMux
	ways      map[way]func(*call) error
	later     map[string]*operation // those that do not work yet, by their patterns in mux
	crossSite *http.CrossOriginProtection
	pages     pages
	kept      kept
}

// operation is one of the document.
type operation struct {
	ID, Method, Path, Tag string
	Access                string // see need
	Later                 string // the work that brings it
	Never                 string // why it will not come
	Own                   bool   // Harbor does not have it

	body  bool              // it has one
	serve func(*call) error // nil: it does not work yet
	need  need
}

// New makes the API.
func New(c Config) *API {
	a := &API{Config: c, mux: http.NewServeMux(), later: map[string]*operation{}, crossSite: http.NewCrossOriginProtection()}
	a.ways = a.browsers()
	all := operations(a)
	for i := range all {
		op := &all[i]
		op.need = parseNeed(op.Access)
		pattern := op.Method + " " + Base + strings.TrimSuffix(op.Path, "/")
		if op.serve == nil {
			a.later[pattern] = op
		}
		a.mux.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) {
			if c := callOf(r); c != nil {
				c.Request, c.op = r, op
				c.err = a.run(c)
			}
		})
	}
	return a
}

// ServeHTTP answers a request. Every error ends in a.refuse.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, w: w, api: a}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := a.serve(c); err != nil {
		a.refuse(c, err)
	}
}

func (a *API) serve(c *call) error {
	at, err := cleaned(c.URL)
	if err != nil {
		return err
	}
	switch at.Path {
	case versionPath, Devcenter, documentPath:
		if c.Method != http.MethodGet && c.Method != http.MethodHead {
			return methodNotAllowed(c, "GET, HEAD")
		}
		return a.serveFixed(c, at.Path)
	}
	if c.Body != nil {
		c.Body = http.MaxBytesReader(c.w, c.Body, maxBody)
	}
	if strings.HasPrefix(at.Path, Browser) {
		return a.serveBrowser(c, at.Path)
	}
	r := c.WithContext(context.WithValue(c.Context(), callKey{}, c))
	r.URL = at
	if _, pattern := a.mux.Handler(r); pattern == "" {
		return a.unknown(c, r)
	}
	a.mux.ServeHTTP(c.w, r)
	return c.err
}

func (a *API) serveFixed(c *call, at string) error {
	switch at {
	case versionPath:
		return c.json(http.StatusOK, struct {
			Version string `json:"version"`
		}{"v2.0"})
	case documentPath:
		return c.bytes(http.StatusOK, "application/yaml", document)
	default:
		return a.serveReference(c)
	}
}

// cleaned answers a URL whose path has neither empty segments nor a slash at its end, which Harbor passes over too. What is escaped stays so: a repository's name has escaped slashes.
func cleaned(u *url.URL) (*url.URL, error) {
	raw := path.Clean(u.EscapedPath())
	plain, err := url.PathUnescape(raw)
	if err != nil {
		return nil, unknownPath()
	}
	at := *u
	at.Path, at.RawPath = plain, raw
	return &at, nil
}

func unknownPath() error {
	return fail.E(fail.NotFound, nil, "no such path in the API").Hint("%s lists what there is", Devcenter)
}

// unknown tells a path that is not there from a method that it does not have. Where nothing works yet, any method is answered so: tools that failed with one try another, and show
// the last error alone.
func (a *API) unknown(c *call, r *http.Request) error {
	var allowed []string
	var notYet *operation
	works := false
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		try := *r
		try.Method = method
		if _, pattern := a.mux.Handler(&try); pattern != "" {
			if op := a.later[pattern]; op != nil {
				notYet = op
			} else {
				works = true
			}
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return unknownPath()
	}
	if !works && notYet != nil {
		return notYet.notYet()
	}
	return methodNotAllowed(c, strings.Join(allowed, ", "))
}

func methodNotAllowed(c *call, allow string) error {
	c.w.Header().Set("Allow", allow)
	return fail.E(fail.Unsupported, nil, "method %.20q here", c.Method).Code(codeMethod).Hint("use %s", allow)
}

// run is what happens to a request whose operation is known.
func (a *API) run(c *call) error {
	if err := a.authenticate(c); err != nil {
		return err
	}
	if c.op.serve == nil {
		return c.op.notYet()
	}
	if err := a.authorize(c); err != nil {
		return err
	}
	if err := a.writable(c); err != nil {
		return err
	}
	if !isSafe(c.Method) {
		defer c.whole()()
	}
	return c.op.serve(c)
}

// whole has what is changed from now on be changed whole and audited, also if the client leaves meanwhile: it may leave when the change is committed, and the line in the audit log is not.
// What it answers is called at the end.
func (c *call) whole() context.CancelFunc {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), longestChange)
	c.Request = c.WithContext(ctx)
	return cancel
}

// writable refuses what changes something while administrators let nothing be changed, as Harbor does: all but the setting that says so. Sessions begin and end.
func (a *API) writable(c *call) error {
	always := c.op != nil && slices.Contains([]string{"updateConfigurations", "endSession", "endSessions"}, c.op.ID)
	if always || isSafe(c.Method) || !a.Settings.Live().ReadOnly {
		return nil
	}
	return fail.E(fail.Denied, nil, "the registry is read only").Code(oci.CodeDenied).Hint("an administrator has set read_only; pulls go on")
}

func (o *operation) notYet() error {
	if o.Never != "" {
		return fail.E(fail.Unsupported, nil, "%s is not offered: %s", o.ID, o.Never).Code(codeNotYet)
	}
	return fail.E(fail.Unsupported, nil, "%s is not offered yet: it comes with %s", o.ID, o.Later).Code(codeNotYet)
}
