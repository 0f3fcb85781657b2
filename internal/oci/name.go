package oci

import (
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// MaxNameBytes is the longest repository name, in bytes, with its project.
	MaxNameBytes = 255
	// MaxTagBytes is the longest tag, in bytes (Distribution Specification, "Pulling manifests").
	MaxTagBytes = 128
	// DefaultProject is the project of names with one segment, as on Docker Hub.
	DefaultProject = "library"
)

// Name is a repository's name with at least two segments, the first of which is its project. It is comparable; the zero Name names nothing.
type Name struct{ s string }

// ParseName checks a name against the grammar of the Distribution Specification. A name of one segment is in the project library. Errors are
// Invalid with NAME_INVALID.
func ParseName(s string) (Name, error) {
	full := s
	if !strings.Contains(s, "/") {
		full = DefaultProject + "/" + s
	}
	if len(full) > MaxNameBytes {
		return Name{}, fail.E(fail.Invalid, nil, "repository name of %d bytes", len(full)).Code(CodeNameInvalid).Hint("use at most %d bytes", MaxNameBytes)
	}
	for rest := full; rest != ""; {
		segment, after, more := strings.Cut(rest, "/")
		if !isSegment(segment) || (more && after == "") {
			return Name{}, fail.E(fail.Invalid, nil, "repository name %q", s).Code(CodeNameInvalid).
				Hint("segments are lower-case letters and digits, with single '.', '_', '__' or dashes between them, joined by '/'")
		}
		rest = after
	}
	return Name{full}, nil
}

// isSegment reports whether s matches [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*.
func isSegment(s string) bool {
	if s == "" || !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case isAlnum(c):
		case c == '-':
			if p := s[i-1]; p != '-' && !isAlnum(p) {
				return false
			}
		case c == '.':
			if !isAlnum(s[i-1]) || !isAlnum(s[i+1]) {
				return false
			}
		case c == '_':
			if p := s[i-1]; !isAlnum(p) && (p != '_' || !isAlnum(s[i-2])) {
				return false
			}
			if n := s[i+1]; !isAlnum(n) && n != '_' {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// String answers the full name, project included.
func (n Name) String() string { return n.s }

// Project answers the first segment.
func (n Name) Project() string {
	project, _, _ := strings.Cut(n.s, "/")
	return project
}

// Rest answers the name without its project.
func (n Name) Rest() string {
	_, rest, _ := strings.Cut(n.s, "/")
	return rest
}

// IsZero reports whether n names nothing.
func (n Name) IsZero() bool { return n.s == "" }

// Tag is a tag's name. It is comparable.
type Tag struct{ s string }

// ParseTag checks a tag against the grammar of the Distribution Specification: a letter, digit or '_', then up to 127 of these, '.' and '-'. Errors
// are Invalid with TAG_INVALID.
func ParseTag(s string) (Tag, error) {
	ok := s != "" && len(s) <= MaxTagBytes
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = isAlnum(c) || c >= 'A' && c <= 'Z' || c == '_' || i > 0 && (c == '.' || c == '-')
	}
	if !ok {
		shown := s
		if len(shown) > MaxTagBytes {
			shown = shown[:MaxTagBytes] + "…"
		}
		return Tag{}, fail.E(fail.Invalid, nil, "tag %q", shown).Code(CodeTagInvalid).
			Hint("a tag has at most %d letters, digits, '_', '.' and '-', and begins with none of the last two", MaxTagBytes)
	}
	return Tag{s}, nil
}

// String answers the tag.
func (t Tag) String() string { return t.s }

// IsZero reports whether t names nothing.
func (t Tag) IsZero() bool { return t.s == "" }

// Reference is a tag or a digest: exactly one of them is set.
type Reference struct {
	Tag    Tag
	Digest Digest
}

// ParseReference reads what stands behind /manifests/: a digest if it has a ':', else a tag.
func ParseReference(s string) (Reference, error) {
	if strings.Contains(s, ":") {
		d, err := ParseDigest(s)
		return Reference{Digest: d}, err
	}
	t, err := ParseTag(s)
	return Reference{Tag: t}, err
}

// IsDigest reports whether r is a digest.
func (r Reference) IsDigest() bool { return !r.Digest.IsZero() }

// String answers the tag or the digest.
func (r Reference) String() string {
	if r.IsDigest() {
		return r.Digest.String()
	}
	return r.Tag.String()
}
