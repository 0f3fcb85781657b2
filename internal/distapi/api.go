package distapi

import (
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// Service is the name of the token service, and tokenPath its place: the same as Harbor's, so that nothing has to change at clients that know it.
const (
	Service   = "harbor-registry"
	tokenPath = "/service/token"
)

// Config is what the API is made of.
type Config struct {
	Registry       *registry.Registry
	Access         *access.Access
	Log            *slog.Logger
	Clock          func() time.Time
	Audit          Auditor
	PublicURL      *url.URL       // what clients call the registry; nil: as the request was seen
	TrustedProxies []netip.Prefix // whose forwarded headers count
	// ProgressTimeout ends a request of whose bodies no byte moved for so long; 0: never.
	ProgressTimeout time.Duration
	// ReadOnly reports, as of now, whether administrators let nothing be changed. nil: never.
	ReadOnly func() bool
	// Redirect sends GETs of blobs to the store, where it gives URLs, for clients in RedirectNetworks; empty: for all.
	Redirect         bool
	RedirectNetworks []netip.Prefix
}

// API is the http.Handler of everything below /v2/ and of /service/token. It is safe for concurrent use.
type API struct {
	registry *registry.Registry
	access   *access.Access
	audit    Auditor // nil: nobody is told
	log      *slog.Logger
	clock    func() time.Time
	origin   *Origin
	patience time.Duration
	flows    flows
	readOnly func() bool
	table    [endpoints]methods
	fixed    fixed

	redirect bool
	near     []netip.Prefix // whom it is for; empty: all
}

// fixed are header values that every answer has: made once, because the way of a manifest is counted in allocations.
type fixed struct{ nosniff, version, revalidate, immutable []string }

// New makes the API.
func New(c Config) *API {
	a := &API{
		registry: c.Registry, access: c.Access, audit: c.Audit, log: c.Log, clock: c.Clock, origin: NewOrigin(c.PublicURL, c.TrustedProxies), patience: c.ProgressTimeout, readOnly: c.ReadOnly,
		redirect: c.Redirect, near: c.RedirectNetworks,
		fixed: fixed{
			nosniff: []string{"nosniff"}, version: []string{"registry/2.0"}, revalidate: []string{"private, no-cache"},
			immutable: []string{"private, max-age=31536000, immutable"},
		},
	}
	if a.readOnly == nil {
		a.readOnly = func() bool { return false }
	}
	a.table = a.operations()
	return a
}

// operation is what one method does at one endpoint, and the action that the caller must be allowed.
type operation struct {
	method string
	action action
	serve  func(http.ResponseWriter, *call) error
}

// methods are the operations of one endpoint.
type methods struct {
	all   []operation
	allow string // the Allow header of a 405
}

func (a *API) operations() [endpoints]methods {
	var t [endpoints]methods
	add := func(e endpoint, all ...operation) {
		names := make([]string, len(all))
		for i, op := range all {
			names[i] = op.method
		}
		t[e] = methods{all, strings.Join(names, ", ")}
	}
	add(base, operation{http.MethodGet, signIn, a.getBase}, operation{http.MethodHead, signIn, a.getBase})
	add(catalog, operation{http.MethodGet, browse, a.listRepositories}, operation{http.MethodHead, browse, a.listRepositories})
	add(tags, operation{http.MethodGet, pull, a.listTags}, operation{http.MethodHead, pull, a.listTags})
	add(referrers, operation{http.MethodGet, pull, a.listReferrers}, operation{http.MethodHead, pull, a.listReferrers})
	add(manifest, operation{http.MethodGet, pull, a.getManifest}, operation{http.MethodHead, pull, a.headManifest},
		operation{http.MethodPut, push, a.putManifest}, operation{http.MethodDelete, remove, a.deleteManifest})
	add(blob, operation{http.MethodGet, pull, a.getBlob}, operation{http.MethodHead, pull, a.headBlob}, operation{http.MethodDelete, remove, a.deleteBlob})
	add(uploads, operation{http.MethodPost, push, a.startUpload})
	add(upload, operation{http.MethodGet, push, a.getUpload}, operation{http.MethodHead, push, a.getUpload}, operation{http.MethodPatch, push, a.patchUpload},
		operation{http.MethodPut, push, a.finishUpload}, operation{http.MethodDelete, push, a.cancelUpload})
	add(token, operation{http.MethodGet, open, a.getToken}, operation{http.MethodPost, open, a.postToken})
	return t
}

// call is one request on its way: what it asks for, who asks, and what its error answer needs to know.
type call struct {
	*http.Request
	route  route
	op     *operation
	caller caller
	reason string // the error parameter of a Bearer challenge
	body   *body  // nil if the request has none
}

// ServeHTTP answers a request. Every error ends in a.refuse.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r}
	if r.ContentLength == 0 {
		a.answer(w, c)
		return
	}
	c.body = a.newBody(w, r)
	defer c.body.over()
	out := &responder{ResponseWriter: w, call: c}
	a.answer(out, c)
	out.linger()
}

func (a *API) answer(w http.ResponseWriter, c *call) {
	if err := a.serve(w, c); err != nil {
		a.refuse(w, c, err)
	}
}

func (a *API) serve(w http.ResponseWriter, c *call) error {
	header := w.Header()
	header["X-Content-Type-Options"] = a.fixed.nosniff
	var err error
	if c.route, err = parseRoute(c.URL); err != nil || c.route.endpoint != token {
		header["Docker-Distribution-Api-Version"] = a.fixed.version
	}
	if err != nil {
		return err
	}
	known := &a.table[c.route.endpoint]
	for i := range known.all {
		if known.all[i].method == c.Method {
			c.op = &known.all[i]
			break
		}
	}
	if c.op == nil {
		header.Set("Allow", known.allow)
		return fail.E(fail.Unsupported, nil, "method %.20q here", c.Method).Code(oci.CodeUnsupported).Hint("use %s", known.allow)
	}
	err = a.authorize(c)
	c.tellSubject(w, c.caller.identity.Subject)
	if err != nil {
		return err
	}
	if c.op.changes() && a.readOnly() {
		return fail.E(fail.Denied, nil, "the registry is read only").Code(oci.CodeDenied).Hint("an administrator has set read_only; pulls go on")
	}
	return c.op.serve(w, c)
}

// changes reports whether an operation changes something that people pushed, or are pushing.
func (o *operation) changes() bool {
	return o.action >= push && o.method != http.MethodGet && o.method != http.MethodHead
}

// tellSubject tells the server in front, for its access log, who asks.
func (c *call) tellSubject(w http.ResponseWriter, subject string) {
	if to, ok := w.(interface{ SetSubject(name string) }); ok && subject != "" {
		to.SetSubject(subject)
	}
}

// getBase answers the question whether this is a registry and whether the credentials are good, which docker login asks.
func (a *API) getBase(w http.ResponseWriter, _ *call) error {
	return writeJSON(w, http.StatusOK, "application/json", struct{}{})
}
