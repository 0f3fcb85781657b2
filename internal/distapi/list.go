package distapi

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// pageSize is the length of a page if the client names none, and maxPageSize the longest: a page is held in memory. Clients that ask for more get a Link to
// the rest.
const (
	pageSize    = 1000
	maxPageSize = 10000
)

// page reads n. Errors are Invalid with PAGINATION_NUMBER_INVALID.
func page(query url.Values) (int, error) {
	if !query.Has("n") {
		return pageSize, nil
	}
	n, err := strconv.ParseUint(query.Get("n"), 10, 31)
	if err != nil {
		return 0, fail.E(fail.Invalid, nil, "n=%.40q", query.Get("n")).Code(oci.CodePaginationInvalid).Hint("n is a number of entries, 0 or more")
	}
	return int(min(n, maxPageSize)), nil
}

// linkNext sets the Link to the next page.
func linkNext(header http.Header, path string, query url.Values) {
	header.Set("Link", "<"+path+"?"+query.Encode()+`>; rel="next"`)
}

func (a *API) listTags(w http.ResponseWriter, c *call) error {
	query := c.URL.Query()
	n, err := page(query)
	if err != nil {
		return err
	}
	last := query.Get("last")
	if last != "" {
		if _, err = oci.ParseTag(last); err != nil {
			return err
		}
	}
	found, err := a.registry.Tags(c.Context(), c.route.name, n, last)
	if err != nil {
		return err
	}
	if found.More && n > 0 && len(found.Names) > 0 {
		linkNext(w.Header(), "/v2/"+c.route.asked+"/tags/list", url.Values{"n": {strconv.Itoa(n)}, "last": {found.Names[len(found.Names)-1]}})
	}
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
	query := c.URL.Query()
	n, err := page(query)
	if err != nil {
		return err
	}
	last := query.Get("last")
	if last != "" {
		name, e := oci.ParseName(last)
		if e != nil {
			return e
		}
		last = name.String()
	}
	var who registry.Visible
	if who.All, who.Public, who.Projects, err = a.access.VisibleProjects(c.Context(), c.caller.identity); err != nil {
		return err
	}
	found, err := a.registry.Repositories(c.Context(), who, n, last)
	if err != nil {
		return err
	}
	if found.More && n > 0 && len(found.Names) > 0 {
		linkNext(w.Header(), "/v2/_catalog", url.Values{"n": {strconv.Itoa(n)}, "last": {found.Names[len(found.Names)-1]}})
	}
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
	n, err := page(query)
	if err != nil {
		return err
	}
	after := query.Get("last")
	if after != "" {
		if _, err = oci.ParseDigest(after); err != nil {
			return err
		}
	}
	n = max(n, 1) // an empty page would have no digest to go on from
	kind := query.Get("artifactType")
	found, err := a.registry.Referrers(c.Context(), c.route.name, subject, kind, n, after)
	if err != nil {
		return err
	}
	header := w.Header()
	if kind != "" {
		header.Set("OCI-Filters-Applied", "artifactType")
	}
	if found.Next != "" {
		next := url.Values{"n": {strconv.Itoa(n)}, "last": {found.Next}}
		if kind != "" {
			next.Set("artifactType", kind)
		}
		linkNext(header, "/v2/"+c.route.asked+"/referrers/"+subject.String(), next)
	}
	if found.Descriptors == nil {
		found.Descriptors = []oci.Descriptor{}
	}
	return writeJSON(w, http.StatusOK, oci.MediaTypeImageIndex, struct {
		SchemaVersion int              `json:"schemaVersion"`
		MediaType     string           `json:"mediaType"`
		Manifests     []oci.Descriptor `json:"manifests"`
	}{2, oci.MediaTypeImageIndex, found.Descriptors})
}
