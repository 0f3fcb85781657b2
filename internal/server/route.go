package server

import (
	"strings"

	"github.com/havn-registry/havn/internal/harborapi"
)

// class is a kind of path, for metrics and traces: few, whatever paths clients make up.
type class int

const (
	classOther class = iota
	classBase
	classCatalog
	classManifest
	classBlob
	classUpload
	classTags
	classReferrers
	classToken
	classHealth
	classREST
	classLogin
	classes // their number
)

// String answers the class's name in metrics.
func (c class) String() string {
	return [classes]string{"other", "base", "catalog", "manifest", "blob", "upload", "tags", "referrers", "token", "health", "rest", "login"}[c]
}

// classify answers the class of a path. It looks from the end, because names have slashes and may hold words like "blobs".
func classify(path string) class {
	rest, ok := strings.CutPrefix(path, "/v2")
	if !ok {
		switch path {
		case "/service/token":
			return classToken
		case "/healthz", "/readyz":
			return classHealth
		}
		if strings.HasPrefix(path, "/api/") {
			return classREST
		}
		if strings.HasPrefix(path, harborapi.Browser) {
			return classLogin
		}
		return classOther
	}
	switch rest {
	case "", "/":
		return classBase
	case "/_catalog":
		return classCatalog
	}
	before, last := cutLast(rest)
	before, word := cutLast(before)
	switch {
	case word == "manifests":
		return classManifest
	case word == "tags" && last == "list":
		return classTags
	case word == "referrers":
		return classReferrers
	case word == "blobs" && last == "uploads":
		return classUpload
	case word == "blobs":
		return classBlob
	case word == "uploads", strings.HasSuffix(before, "/uploads"):
		return classUpload
	}
	return classOther
}

// cutLast cuts a path before its last segment.
func cutLast(path string) (before, last string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}
