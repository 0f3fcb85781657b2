package distapi

import (
	"net/url"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// endpoint is a form of path that the API knows.
type endpoint int

const (
	base endpoint = iota
	catalog
	tags
	referrers
	manifest
	blob
	uploads
	upload
	token
	endpoints // their number
)

// route is a parsed path.
type route struct {
	endpoint endpoint
	name     oci.Name
	asked    string // the name as the client wrote it: app for library/app. Answers repeat it, because tokens and clients compare texts.
	ref      string // reference, digest or upload id, not yet parsed
	offset   string // of an upload, "" if the path has none
}

// parseRoute reads a path from its end, because names have slashes and may have segments like "blobs". Errors are NotFound for a path of no known form
// or an impossible upload, and Invalid with NAME_INVALID.
func parseRoute(u *url.URL) (route, error) {
	path := u.Path
	if path == tokenPath {
		return route{endpoint: token}, nil
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	switch {
	case path == "/v2" || ok && rest == "":
		return route{endpoint: base}, nil
	case !ok:
		return route{}, unknownPath()
	case hasEncodedSlash(u.RawPath):
		return route{}, fail.E(fail.Invalid, nil, "path with an encoded slash").Code(oci.CodeNameInvalid).Hint("write the slashes of a repository's name as they are")
	case rest == "_catalog":
		return route{endpoint: catalog}, nil
	}
	r, ok := splitRoute(rest)
	if !ok {
		return route{}, unknownPath()
	}
	var err error
	if r.name, err = oci.ParseName(r.asked); err == nil && r.endpoint == upload {
		err = checkUploadID(r.ref)
	}
	return r, err
}

func unknownPath() error {
	return fail.E(fail.NotFound, nil, "no such path in the registry API").Code(oci.CodeUnsupported).Hint("paths are /v2/<name>/manifests/…, /blobs/…, /tags/list and /referrers/…")
}

func hasEncodedSlash(raw string) bool {
	return raw != "" && (strings.Contains(raw, "%2f") || strings.Contains(raw, "%2F"))
}

// splitRoute takes the path behind /v2/ apart. The last two segments decide first: an upload's id is never one of these words.
func splitRoute(path string) (route, bool) {
	before, last := cutLast(path)
	name, word := cutLast(before)
	switch {
	case name == "":
	case word == "manifests":
		return route{endpoint: manifest, asked: name, ref: last}, true
	case word == "tags" && last == "list":
		return route{endpoint: tags, asked: name}, true
	case word == "referrers":
		return route{endpoint: referrers, asked: name, ref: last}, true
	case word == "blobs" && last == "uploads":
		return route{endpoint: uploads, asked: name}, true
	case word == "blobs":
		return route{endpoint: blob, asked: name, ref: last}, true
	}
	if repo, ok := strings.CutSuffix(before, "/blobs/uploads"); ok && repo != "" {
		if last == "" {
			return route{endpoint: uploads, asked: repo}, true
		}
		return route{endpoint: upload, asked: repo, ref: last}, true
	}
	if repo, ok := strings.CutSuffix(name, "/blobs/uploads"); ok && repo != "" {
		return route{endpoint: upload, asked: repo, ref: word, offset: last}, true
	}
	return route{}, false
}

// cutLast cuts a path before its last segment.
func cutLast(path string) (before, last string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}
