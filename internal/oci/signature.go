package oci

import (
	"slices"
	"strings"
)

// mediaTypeSimpleSigning is that of a layer of cosign's signatures.
const mediaTypeSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"

// Signs answers whose signature cosign keeps under a tag where it does not use referrers, which is sha256-<hex>.sig; the zero Digest where the tag has another form.
func (t Tag) Signs() Digest {
	before, isSignature := strings.CutSuffix(t.s, ".sig")
	hex, isDigest := strings.CutPrefix(before, "sha256-")
	if !isSignature || !isDigest {
		return Digest{}
	}
	d, err := ParseDigest("sha256:" + hex)
	if err != nil {
		return Digest{}
	}
	return d
}

// IsSignature reports whether a manifest holds cosign's signatures.
func (m *Manifest) IsSignature() bool {
	return slices.ContainsFunc(m.Layers, func(l Descriptor) bool { return l.MediaType == mediaTypeSimpleSigning })
}
