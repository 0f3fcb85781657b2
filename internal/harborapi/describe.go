package harborapi

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

const (
	unknownType = "UNKNOWN"
	imageType   = "IMAGE"

	// maxConfig bounds the configurations that are read to describe images; of longer ones nothing is told.
	maxConfig = 256 << 10
	// maxKept bounds the descriptions that are kept, and maxKeptConfig the configurations that they are made of: together some 30 MiB at most.
	maxKept       = 1000
	maxKeptConfig = 8 << 10
)

// artifactTypes are Harbor's kinds of artifacts, by the media type of their configuration.
var artifactTypes = map[string]string{
	"application/vnd.oci.image.config.v1+json": imageType, "application/vnd.docker.container.image.v1+json": imageType,
	oci.MediaTypeImageIndex: imageType, "application/vnd.docker.distribution.manifest.list.v2+json": imageType,
	"application/vnd.cncf.helm.config.v1+json": chartType, "application/vnd.cnab.manifest.v1": "CNAB", "application/vnd.wasm.config.v1+json": "WASM",
	"application/vnd.goharbor.harbor.sbom.v1": "SBOM", "application/vnd.cncf.model.config.v1+json": "CNAI",
}

// otherType finds the kind in a media type of which nothing else is known: application/vnd.<vendor>.<kind>.config.<version>+json.
var otherType = regexp.MustCompile(`^application/vnd\.[^.]*\.(.*)\.config\.[^.]*\+json$`)

// mediaTypesOf answers the media types of a kind, in whatever case it is written.
func mediaTypesOf(kind string) []string {
	var all []string
	for mediaType, known := range artifactTypes {
		if strings.EqualFold(known, kind) {
			all = append(all, mediaType)
		}
	}
	slices.Sort(all)
	return all
}

// typeNames answers the kinds that lists can be asked for.
func typeNames() []string {
	return slices.Compact(slices.Sorted(maps.Values(artifactTypes)))
}

func typeOf(mediaType string) string {
	if known := artifactTypes[mediaType]; known != "" {
		return known
	}
	if m := otherType.FindStringSubmatch(mediaType); m != nil {
		return strings.ToUpper(m[1])
	}
	return unknownType
}

// describe adds what the manifest and its configuration say.
func (a *API) describe(c *call, of *registry.Artifact, to *Artifact) error {
	m, err := oci.ParseManifest(of.MediaType, of.Body)
	if err != nil {
		return fail.E(fail.Internal, err, "manifest %s of %s, as it is stored", of.Digest, of.Repository)
	}
	to.Annotations = m.Annotations
	if m.Kind == oci.Index {
		to.Type = typeOf(to.MediaType)
		to.References = referencesOf(of, m.Children)
		return nil
	}
	if m.Config == nil {
		return nil
	}
	to.MediaType = m.Config.MediaType
	to.Type = typeOf(to.MediaType)
	to.AdditionLinks = linksOf(to)
	if !strings.HasSuffix(to.MediaType, "json") || c.storeAway {
		return nil
	}
	name, err := oci.ParseName(of.Repository)
	if err != nil {
		return fail.E(fail.Internal, err, "repository %s, as it is stored", of.Repository)
	}
	read := func() (ExtraAttrs, error) {
		config, readErr := a.readConfig(c, name, *m.Config)
		return describeConfig(to.Type, config), readErr
	}
	if m.Config.Size > maxKeptConfig {
		to.ExtraAttrs, err = read()
	} else {
		to.ExtraAttrs, err = a.kept.of(m.Config.Digest, read)
	}
	if err == nil || c.Context().Err() != nil {
		return err
	}
	// The list is of the database. Who looks for what is broken, to delete it or push it again, would not find it; and a store that is away is waited for once, not for each of a page.
	a.Log.WarnContext(c.Context(), "an artifact is told without what its configuration says", "repository", of.Repository, "digest", of.Digest.String(), "error", err, "hint", fail.HintOf(err))
	to.ExtraAttrs, c.storeAway = ExtraAttrs{}, fail.Is(err, fail.Unavailable)
	return nil
}

func referencesOf(of *registry.Artifact, children []oci.Descriptor) []Reference {
	all := make([]Reference, len(children))
	parent := number(of.Repo, of.Digest.Bytes())
	for i, child := range children {
		all[i] = Reference{ParentID: parent, ChildID: number(of.Repo, child.Digest.Bytes()), ChildDigest: child.Digest.String(), Annotations: child.Annotations, Urls: child.URLs}
		// A platform of another form than the specification's says nothing to people, and is no failure of this request.
		if child.Platform != nil && json.Unmarshal(child.Platform, &all[i].Platform) != nil {
			all[i].Platform = Platform{}
		}
	}
	return all
}

// readConfig reads a configuration. One that is long, gone or no JSON tells nothing.
func (a *API) readConfig(c *call, name oci.Name, config oci.Descriptor) (all map[string]any, err error) {
	if config.Size > maxConfig {
		return nil, nil
	}
	in, err := a.Registry.OpenBlob(c.Context(), name, config.Digest)
	if fail.Is(err, fail.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	text, err := io.ReadAll(io.LimitReader(in, maxConfig))
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(text, &all) != nil {
		return nil, nil
	}
	return all, nil
}

// kept are descriptions of images by the digest of their configuration: they can't change.
type kept struct {
	mu  sync.Mutex
	all map[oci.Digest]ExtraAttrs
}

func (k *kept) of(d oci.Digest, read func() (ExtraAttrs, error)) (ExtraAttrs, error) {
	k.mu.Lock()
	attrs, ok := k.all[d]
	k.mu.Unlock()
	if ok {
		return attrs, nil
	}
	attrs, err := read()
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil || len(k.all) >= maxKept {
		k.all = map[oci.Digest]ExtraAttrs{}
	}
	k.all[d] = attrs
	return attrs, nil
}
