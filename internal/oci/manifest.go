package oci

import (
	"encoding/json"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// MaxManifestBytes is the largest manifest that is taken (Distribution Specification, "Pushing Manifests", asks for at least 4 MiB).
const MaxManifestBytes = 4 << 20

// maxMediaTypeBytes is the longest media type: RFC 6838 allows 127 bytes for each half. The index has columns of this width.
const maxMediaTypeBytes = 255

// Kind tells the two shapes of manifests apart.
type Kind int

// Image has a config and layers; Index has manifests.
const (
	Image Kind = iota
	Index
)

// Manifest is what the registry needs to know of a manifest. The bytes themselves are stored as they came.
type Manifest struct {
	MediaType    string
	Kind         Kind
	Config       *Descriptor
	Layers       []Descriptor
	Children     []Descriptor
	Subject      *Descriptor
	ArtifactType string // artifactType, or the config's media type for an image without one (Distribution Specification, "Listing Referrers")
	Annotations  map[string]string
}

// document is the union of the two shapes, as JSON has it.
type document struct {
	SchemaVersion *int              `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *Descriptor       `json:"config"`
	Layers        *[]Descriptor     `json:"layers"`
	Manifests     *[]Descriptor     `json:"manifests"`
	Subject       *Descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
	FSLayers      json.RawMessage   `json:"fsLayers"`
}

// ParseManifest checks a manifest that was sent with this Content-Type. Errors: TooLarge beyond MaxManifestBytes, else Invalid with
// MANIFEST_INVALID, or Unsupported for Docker's schema 1.
func ParseManifest(contentType string, body []byte) (*Manifest, error) {
	if len(body) > MaxManifestBytes {
		return nil, fail.E(fail.TooLarge, nil, "manifest of %d bytes", len(body)).Code(CodeManifestInvalid).Hint("a manifest has at most %d bytes", MaxManifestBytes)
	}
	// Parameters are ignored, whatever they are (Distribution Specification, "Pushing Manifests").
	sent, _, _ := strings.Cut(contentType, ";")
	sent = strings.ToLower(strings.TrimSpace(sent))
	if isSchema1(sent) {
		return nil, schema1()
	}
	if err := checkJSON(body); err != nil {
		return nil, err
	}
	var doc document
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, invalid(err, "manifest whose parts do not fit")
	}
	return doc.check(sent)
}

func invalid(cause error, format string, args ...any) *fail.Error {
	return fail.E(fail.Invalid, cause, format, args...).Code(CodeManifestInvalid)
}

func isSchema1(mediaType string) bool {
	return mediaType == "application/vnd.docker.distribution.manifest.v1+json" || mediaType == "application/vnd.docker.distribution.manifest.v1+prettyjws"
}

func schema1() error {
	return fail.E(fail.Unsupported, nil, "Docker's manifest schema 1").Code(CodeManifestInvalid).
		Hint("it has been deprecated since 2017: push schema 2 or an OCI manifest (any current client does)")
}

func (doc *document) check(sent string) (*Manifest, error) {
	if doc.SchemaVersion != nil && *doc.SchemaVersion == 1 || isSchema1(doc.MediaType) || doc.FSLayers != nil {
		return nil, schema1()
	}
	if doc.SchemaVersion == nil || *doc.SchemaVersion != 2 {
		return nil, invalid(nil, "manifest without schemaVersion 2")
	}
	m := &Manifest{MediaType: doc.MediaType, Config: doc.Config, Subject: doc.Subject, ArtifactType: doc.ArtifactType, Annotations: doc.Annotations}
	if m.MediaType == "" {
		m.MediaType = sent
	}
	if sent != "" && sent != m.MediaType {
		return nil, invalid(nil, "manifest says mediaType %.100q and was sent as %.100q", doc.MediaType, sent).Hint("send it with its own media type as Content-Type")
	}
	switch m.MediaType {
	case MediaTypeImageIndex, MediaTypeDockerManifestList:
		m.Kind = Index
	case MediaTypeImageManifest, MediaTypeDockerManifest:
	case "":
		return nil, invalid(nil, "manifest without a media type").Hint("send Content-Type, or mediaType in the manifest")
	default:
		return nil, invalid(nil, "manifest of media type %.100q", m.MediaType).
			Hint("use %s or %s; other artifacts are image manifests with an artifactType", MediaTypeImageManifest, MediaTypeImageIndex)
	}
	if err := m.fill(doc); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Manifest) fill(doc *document) error {
	if m.Kind == Index {
		if doc.Manifests == nil {
			return invalid(nil, "index without manifests").Hint("an empty index has an empty list")
		}
		if doc.Config != nil || doc.Layers != nil {
			return invalid(nil, "index with a config or layers")
		}
		m.Children = *doc.Manifests
	} else {
		if doc.Config == nil {
			return invalid(nil, "image manifest without a config")
		}
		if doc.Manifests != nil {
			return invalid(nil, "image manifest with manifests")
		}
		if doc.Layers == nil && m.MediaType == MediaTypeDockerManifest { // OCI artifacts come without any, and as null from programs in Go
			return invalid(nil, "image manifest without layers")
		}
		if doc.Layers != nil {
			m.Layers = *doc.Layers
		}
		if m.ArtifactType == "" {
			m.ArtifactType = doc.Config.MediaType
		}
	}
	return m.checkDescriptors()
}

// checkDescriptors looks at each descriptor, and whether they agree: one digest has one size.
func (m *Manifest) checkDescriptors() error {
	sizes := make(map[Digest]int64, len(m.Layers)+len(m.Children)+1)
	check := func(d *Descriptor, what string, number int) error {
		switch {
		case d == nil:
			return nil
		case d.Digest.IsZero():
			return invalid(nil, "%s %d without a digest", what, number)
		case d.Size < 0:
			return invalid(nil, "%s %d with size %d", what, number, d.Size)
		case d.MediaType == "" && what != "subject": // a subject is only pointed at, and may be absent: its type decides nothing here
			return invalid(nil, "%s %d without a media type", what, number)
		}
		if err := checkMediaType(d.MediaType); err != nil {
			return err
		}
		if size, known := sizes[d.Digest]; known && size != d.Size {
			return invalid(nil, "manifest that says %d and %d bytes of %s", size, d.Size, d.Digest)
		}
		sizes[d.Digest] = d.Size
		return checkMediaType(d.ArtifactType)
	}
	if err := checkMediaType(m.ArtifactType); err != nil {
		return err
	}
	if err := check(m.Config, "config", 0); err != nil {
		return err
	}
	if err := check(m.Subject, "subject", 0); err != nil {
		return err
	}
	for i := range m.Layers {
		if err := check(&m.Layers[i], "layer", i); err != nil {
			return err
		}
	}
	for i := range m.Children {
		if err := check(&m.Children[i], "manifest", i); err != nil {
			return err
		}
	}
	return nil
}

// checkMediaType refuses what no media type can be. RFC 6838 allows less, but its names are not for a registry to judge: artifacts have invented
// all sorts of types.
func checkMediaType(s string) error {
	if !IsMediaType(s) {
		return invalid(nil, "media type %.300q", s).Hint("a media type has at most %d bytes of printable ASCII", maxMediaTypeBytes)
	}
	return nil
}

// IsMediaType reports whether a manifest that has s as a media type or artifact type is taken; "" is: it says that there is none.
func IsMediaType(s string) bool {
	ok := len(s) <= maxMediaTypeBytes
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] >= ' ' && s[i] <= '~'
	}
	return ok
}

// RequiredBlobs answers the config and the layers that must be in the repository, each digest once, foreign layers left out.
func (m *Manifest) RequiredBlobs() []Descriptor {
	seen := make(map[Digest]bool, len(m.Layers)+1)
	var all []Descriptor
	add := func(d Descriptor) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			all = append(all, d)
		}
	}
	if m.Config != nil {
		add(*m.Config)
	}
	for _, d := range m.Layers {
		if !d.IsForeign() {
			add(d)
		}
	}
	return all
}

// Foreign answers the layers that need not be in the repository, each digest once.
func (m *Manifest) Foreign() []Descriptor {
	seen := map[Digest]bool{}
	var all []Descriptor
	for _, d := range m.Layers {
		if d.IsForeign() && !seen[d.Digest] {
			seen[d.Digest] = true
			all = append(all, d)
		}
	}
	return all
}
