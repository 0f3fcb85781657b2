package distapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// page is what a client asks of a list: so many entries behind one.
type page struct {
	n    int
	last string // "": from the beginning
}

// readPage reads n, which is cut to most (also the default), and last, which check turns into the list's own form. Who asks for more than a page has gets a Link to the rest.
// Errors are Invalid with PAGINATION_NUMBER_INVALID, and check's.
func readPage(query url.Values, most int, check func(string) (fmt.Stringer, error)) (page, error) {
	p := page{n: most}
	if query.Has("n") {
		n, err := strconv.ParseUint(query.Get("n"), 10, 64)
		if err != nil {
			return p, fail.E(fail.Invalid, nil, "n=%.40q", query.Get("n")).Code(oci.CodePaginationInvalid).Hint("n is a number of entries, 0 or more")
		}
		p.n = int(min(n, uint64(most)))
	}
	if last := query.Get("last"); last != "" {
		parsed, err := check(last)
		if err != nil {
			return p, err
		}
		p.last = parsed.String()
	}
	return p, nil
}

// link sets the Link to the page behind an entry.
func (p page) link(header http.Header, path, last string, rest url.Values) {
	query := url.Values{"n": {strconv.Itoa(p.n)}, "last": {last}}
	maps.Copy(query, rest)
	header.Set("Link", "<"+path+"?"+query.Encode()+`>; rel="next"`)
}

// linkNames is link for a list of names.
func (p page) linkNames(header http.Header, path string, found registry.Page) {
	if found.More && len(found.Names) > 0 {
		p.link(header, path, found.Names[len(found.Names)-1], nil)
	}
}

func (a *API) listTags(w http.ResponseWriter, c *call) error {
	p, err := readPage(c.URL.Query(), registry.MaxPage, func(s string) (fmt.Stringer, error) { return oci.ParseTag(s) })
	if err != nil {
		return err
	}
	found, err := a.registry.Tags(c.Context(), c.route.name, p.n, p.last)
	if err != nil {
		return err
	}
	p.linkNames(w.Header(), "/v2/"+c.route.asked+"/tags/list", found)
	return writeJSON(w, http.StatusOK, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{c.route.asked, listed(found.Names)})
}

// listed makes an empty list of none: clients expect [], not null.
func listed(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

func (a *API) listRepositories(w http.ResponseWriter, c *call) error {
	p, err := readPage(c.URL.Query(), registry.MaxPage, func(s string) (fmt.Stringer, error) { return oci.ParseName(s) })
	if err != nil {
		return err
	}
	found, err := a.registry.Repositories(c.Context(), c.caller.viewer(), p.n, p.last)
	if err != nil {
		return err
	}
	p.linkNames(w.Header(), "/v2/_catalog", found)
	return writeJSON(w, http.StatusOK, "application/json", struct {
		Repositories []string `json:"repositories"`
	}{listed(found.Names)})
}

// listReferrers answers an index of what refers to a digest. It is never 404: clients take that for a registry without this endpoint and fall back to tags.
func (a *API) listReferrers(w http.ResponseWriter, c *call) error {
	subject, err := oci.ParseDigest(c.route.ref)
	if err != nil {
		return err
	}
	query := c.URL.Query()
	p, err := readPage(query, registry.MaxReferrers, func(s string) (fmt.Stringer, error) { return oci.ParseDigest(s) })
	if err != nil {
		return err
	}
	p.n = max(p.n, 1) // an empty page would have no digest to go on from
	kind, filter := query.Get("artifactType"), url.Values{}
	header := w.Header()
	if kind != "" {
		filter.Set("artifactType", kind)
		header.Set("OCI-Filters-Applied", "artifactType")
	}
	found := registry.Referrers{Descriptors: []oci.Descriptor{}}
	if oci.IsMediaType(kind) { // nothing has another one, and not every database would take it for a text
		if found, err = a.registry.Referrers(c.Context(), c.route.name, subject, kind, p.n, p.last); err != nil {
			return err
		}
	}
	if found.Next != "" {
		p.link(header, "/v2/"+c.route.asked+"/referrers/"+subject.String(), found.Next, filter)
	}
	return writeJSON(w, http.StatusOK, oci.MediaTypeImageIndex, struct {
		SchemaVersion int              `json:"schemaVersion"`
		MediaType     string           `json:"mediaType"`
		Manifests     []oci.Descriptor `json:"manifests"`
	}{2, oci.MediaTypeImageIndex, found.Descriptors})
}
