package client

import (
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// Place is a repository, or an artifact in it.
type Place struct {
	Project    string
	Repository string // without its project
	Reference  string // tag or digest; "" if a repository is meant
}

// String answers it as people write it.
func (p Place) String() string {
	switch {
	case p.Reference == "":
		return p.Project + "/" + p.Repository
	case strings.Contains(p.Reference, ":"):
		return p.Project + "/" + p.Repository + "@" + p.Reference
	}
	return p.Project + "/" + p.Repository + ":" + p.Reference
}

// ParseRepository reads the name of a repository with its project. Invalid.
func ParseRepository(text string) (Place, error) {
	name, err := oci.ParseName(text)
	if err != nil {
		return Place{}, err
	}
	return Place{Project: name.Project(), Repository: name.Rest()}, nil
}

// ParseArtifact reads team/app:tag or team/app@digest. Invalid.
func ParseArtifact(text string) (Place, error) {
	name, reference, ok := strings.Cut(text, "@")
	if colon := strings.LastIndexByte(text, ':'); !ok && colon > strings.LastIndexByte(text, '/') {
		name, reference, ok = text[:colon], text[colon+1:], true
	}
	if !ok || strings.Contains(text, "@") != strings.Contains(reference, ":") {
		return Place{}, fail.E(fail.Invalid, nil, "%.300q names no artifact", text).Hint("write project/repository:tag, or project/repository@sha256:…")
	}
	p, err := ParseRepository(name)
	if err != nil {
		return Place{}, err
	}
	if _, err = oci.ParseReference(reference); err != nil {
		return Place{}, err
	}
	p.Reference = reference
	return p, nil
}
