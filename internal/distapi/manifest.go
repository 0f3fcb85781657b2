package distapi

import (
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// maxTags is how many tags one PUT may set (the specification asks for ten at least); more would make one transaction long.
const maxTags = 100

// existing reads the reference of a manifest that is to be there. Under a tag that none can be there is no manifest: that is 404 (Distribution Specification, "Pulling manifests"), also to
// the specification's suite of version 1.1, which asks for .INVALID_MANIFEST_NAME. What can't be a digest stays 400, which the suite allows: it is a mistake of the client's.
func (c *call) existing() (oci.Reference, error) {
	ref, err := oci.ParseReference(c.route.ref)
	if fail.CodeOf(err) == oci.CodeTagInvalid {
		err = fail.E(fail.NotFound, err, "manifest %.140q in %s", c.route.ref, c.route.name).Code(oci.CodeManifestUnknown).Hint("%s", fail.HintOf(err))
	}
	return ref, err
}

// getManifest serves a manifest as it was pushed, whatever the client accepts: converting would change its digest.
func (a *API) getManifest(w http.ResponseWriter, c *call) error {
	ref, err := c.existing()
	if err != nil {
		return err
	}
	m, err := a.registry.Manifest(c.Context(), c.route.name, ref)
	if err != nil {
		return err
	}
	markStale(w.Header(), ref, m)
	if a.describeManifest(w.Header(), c, ref, &m.Descriptor) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	a.registry.CountPull(c.route.name, ref, m.Descriptor.Digest)
	a.auditedPull(c, ref)
	if _, err = w.Write(m.Body); err != nil {
		a.log.DebugContext(c.Context(), "a manifest did not reach its client", "error", err)
	}
	return nil // a client that is gone can't be told so, and net/http ends a connection on which bytes are missing
}

// headManifest answers like getManifest. A push may leave out what it is told to be there, so the manifest is kept first.
func (a *API) headManifest(w http.ResponseWriter, c *call) error {
	ref, err := c.existing()
	if err != nil {
		return err
	}
	m, err := a.told(c, ref)
	if err != nil {
		return err
	}
	status := http.StatusOK
	markStale(w.Header(), ref, m)
	if a.describeManifest(w.Header(), c, ref, &m.Descriptor) {
		status = http.StatusNotModified
	}
	w.WriteHeader(status)
	return nil
}

// toldTries bounds the looks at a tag that is moved between a look and the next.
const toldTries = 5

// told answers the manifest that a HEAD is told of, kept if it may be for a push.
func (a *API) told(c *call, ref oci.Reference) (*registry.Manifest, error) {
	for n := 1; ; n++ {
		m, err := a.registry.Manifest(c.Context(), c.route.name, ref)
		if err == nil {
			err = a.keepForPush(c, ref, m)
		}
		if err == nil {
			return m, nil
		}
		if !fail.Is(err, fail.Conflict) {
			return nil, err
		}
		if n >= toldTries {
			return nil, fail.E(fail.Unavailable, err, "look at %s, which moves all the time", ref).RetryAfter(time.Second)
		}
	}
}

// keepForPush keeps a manifest that a push may be told of. Without a database that can't be done, and no push can succeed; a token that does not hold the right to push is taken for a pull's then, because
// clients pull a tag by asking HEAD first. If it is a push after all, the transaction that ends it looks at everything that it refers to.
func (a *API) keepForPush(c *call, ref oci.Reference, m *registry.Manifest) error {
	if claims := c.caller.claims; m.Outage && claims != nil && !claims.Allows(c.route.name, push.String()) {
		return nil
	}
	purpose, err := a.purpose(c)
	if err != nil || purpose == registry.ToPull {
		return err
	}
	return a.registry.TouchManifest(c.Context(), c.route.name, ref, m.Descriptor.Digest, purpose)
}

// markStale says of a tag that was answered without the database how old the answer is: for programs in seconds, for people as the specification has it ("Warnings").
func markStale(header http.Header, ref oci.Reference, m *registry.Manifest) {
	if !m.Outage || ref.IsDigest() {
		return
	}
	seconds := strconv.Itoa(int(math.Ceil(m.Age.Seconds())))
	header.Set("Havn-Stale", seconds)
	header.Set("Warning", `299 - "the tag is answered as it was `+seconds+` s ago: the registry's database is out of reach"`)
}

// describeManifest sets the headers of a manifest and reports whether the client has it already. All values share one allocation.
func (a *API) describeManifest(header http.Header, c *call, ref oci.Reference, d *oci.Descriptor) (unchanged bool) {
	etag := `"` + d.Digest.String() + `"`
	values := [...]string{d.MediaType, strconv.FormatInt(d.Size, 10), etag[1 : len(etag)-1], etag}
	header["Docker-Content-Digest"] = values[2:3:3]
	header["Etag"] = values[3:4:4]
	header["Cache-Control"] = a.fixed.revalidate
	if ref.IsDigest() {
		header["Cache-Control"] = a.fixed.immutable
	}
	if known := c.Header["If-None-Match"]; len(known) > 0 && matches(known, etag) {
		return true
	}
	header["Content-Type"] = values[0:1:1]
	header["Content-Length"] = values[1:2:2]
	return false
}

// matches compares If-Match or If-None-Match with an entity tag of what is there; weak ones count (RFC 9110, section 13.1.2).
func matches(fields []string, etag string) bool {
	for _, field := range fields {
		for field != "" {
			var one string
			one, field, _ = strings.Cut(field, ",")
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == etag {
				return true
			}
		}
	}
	return false
}

func (a *API) putManifest(w http.ResponseWriter, c *call) error {
	ref, err := oci.ParseReference(c.route.ref)
	if err != nil {
		return err
	}
	asked, err := tagParameters(c)
	if err != nil {
		return err
	}
	done, err := a.registry.StartManifest(c.caller.identity.Subject, c.ContentLength)
	if err != nil {
		return err
	}
	defer done()
	text, err := c.readManifest()
	if err != nil {
		return err
	}
	put := registry.PutManifest{Pusher: c.caller.pusher(), MediaType: c.Header.Get("Content-Type"), Body: text, Digest: ref.Digest, Tags: asked, If: c.condition(ref)}
	if !ref.IsDigest() && !slices.Contains(asked, ref.Tag) {
		put.Tags = append([]oci.Tag{ref.Tag}, asked...)
	}
	pushed, err := a.registry.PutManifest(c.Context(), c.route.name, put)
	if err != nil {
		return err
	}
	if len(put.Tags) == 0 {
		a.audited(c, "create", oci.Reference{Digest: pushed.Descriptor.Digest})
	}
	for _, t := range put.Tags {
		a.audited(c, "create", oci.Reference{Tag: t})
	}
	header := w.Header()
	digest := pushed.Descriptor.Digest.String()
	header.Set("Location", "/v2/"+c.route.asked+"/manifests/"+digest)
	header.Set("Docker-Content-Digest", digest)
	if pushed.Subject != nil {
		header.Set("OCI-Subject", pushed.Subject.String())
	}
	if len(asked) > 0 {
		names := make([]string, len(asked))
		for i, t := range asked {
			names[i] = t.String()
		}
		header.Set("OCI-Tag", strings.Join(names, ", "))
	}
	header.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// condition reads If-Match and If-None-Match of a PUT: what the path names must be, or must not be, one of these now (RFC 9110, section 13.1). Weak entity tags count, because
// proxies that compress weaken ours, and a digest is exact in any dress.
func (c *call) condition(ref oci.Reference) *registry.Condition {
	some, none := c.Header["If-Match"], c.Header["If-None-Match"]
	if len(some)+len(none) == 0 {
		return nil
	}
	return &registry.Condition{Ref: ref, Holds: func(now oci.Digest) bool {
		if now.IsZero() {
			return len(some) == 0
		}
		etag := `"` + now.String() + `"`
		return (len(some) == 0 || matches(some, etag)) && !matches(none, etag)
	}}
}

// tagParameters reads the parameters tag, each once.
func tagParameters(c *call) ([]oci.Tag, error) {
	if c.URL.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "query that can't be read").Code(oci.CodeTagInvalid).Hint("set each tag with tag=NAME")
	}
	texts := query["tag"]
	if len(texts) > maxTags {
		return nil, fail.E(fail.Invalid, nil, "%d tags in one request", len(texts)).Code(oci.CodeTagInvalid).Hint("set at most %d at once", maxTags)
	}
	all := make([]oci.Tag, 0, len(texts))
	for _, text := range texts {
		t, tagErr := oci.ParseTag(text)
		if tagErr != nil {
			return nil, tagErr
		}
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return all, nil
}

// readManifest reads the body whole, as far as a manifest may go. What a client announces is not allocated before it comes.
func (c *call) readManifest() ([]byte, error) {
	switch {
	case c.ContentLength > oci.MaxManifestBytes:
		return nil, tooLarge()
	case c.body == nil:
		return nil, fail.E(fail.Invalid, nil, "manifest without bytes").Code(oci.CodeManifestInvalid)
	}
	text, err := io.ReadAll(io.LimitReader(c.body, oci.MaxManifestBytes+1))
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fail.E(fail.Invalid, err, "manifest broke off after %d bytes", len(text)).Code(oci.CodeManifestInvalid).Hint("send it again")
	case len(text) > oci.MaxManifestBytes:
		return nil, tooLarge()
	}
	return text, nil
}

func tooLarge() error {
	return fail.E(fail.TooLarge, nil, "manifest is too large").Code(oci.CodeManifestInvalid).Hint("a manifest has at most %d bytes", oci.MaxManifestBytes)
}

// deleteManifest removes a tag, or a manifest with its tags.
func (a *API) deleteManifest(w http.ResponseWriter, c *call) error {
	ref, err := c.existing()
	if err != nil {
		return err
	}
	if ref.IsDigest() {
		err = a.registry.DeleteManifest(c.Context(), c.route.name, ref.Digest)
	} else {
		err = a.registry.DeleteTag(c.Context(), c.route.name, ref.Tag)
	}
	if err != nil {
		return err
	}
	a.audited(c, "delete", ref)
	return accepted(w)
}

func accepted(w http.ResponseWriter) error {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
	return nil
}
