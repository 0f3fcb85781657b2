package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
)

// Referrers is a page of what refers to a subject.
type Referrers struct {
	Descriptors []oci.Descriptor // in the order of their digests
	Next        string           // the digest that the page behind this one begins after; "": this is the last
	Filtered    bool             // by the artifact type
}

// Referrers answers up to n manifests with this subject, whose digests are behind last ("": from the start), of one artifact type if that is not "". Those that a client without the API listed in
// the fallback tag (Distribution Specification, "Referrers Tag Schema") are among them if their manifests are there. A subject or repository that does not exist has none.
func (r *Registry) Referrers(ctx context.Context, repo oci.Name, subject oci.Digest, artifactType string, n int, last string) (Referrers, error) {
	page := Referrers{Filtered: artifactType != ""}
	var after oci.Digest
	if last != "" {
		var err error
		if after, err = oci.ParseDigest(last); err != nil {
			return page, err
		}
	}
	found, err := index.FindRepository(ctx, r.DB, repo)
	if fail.Is(err, fail.NotFound) {
		return page, nil
	}
	if err != nil {
		return page, fmt.Errorf("find repository %s: %w", repo, err)
	}
	rows, err := index.ListReferrers(ctx, r.DB, found.ID, subject, artifactType, after, n+1)
	if err != nil {
		return page, fmt.Errorf("list referrers of %s in %s: %w", subject, repo, err)
	}
	all := make([]oci.Descriptor, 0, len(rows))
	for _, row := range rows {
		d := oci.Descriptor{MediaType: row.MediaType, Digest: row.Digest, Size: row.Size, ArtifactType: row.ArtifactType}
		if row.Annotations != "" {
			if err = json.Unmarshal([]byte(row.Annotations), &d.Annotations); err != nil {
				return page, fail.E(fail.Internal, err, "stored annotations of %s", row.Digest)
			}
		}
		all = append(all, d)
	}
	fallback, err := r.fallback(ctx, repo, found.ID, subject, artifactType, after)
	if err != nil {
		return page, err
	}
	all = append(all, fallback...)
	slices.SortStableFunc(all, func(a, b oci.Descriptor) int { return bytes.Compare(a.Digest.Bytes(), b.Digest.Bytes()) })
	all = slices.CompactFunc(all, func(a, b oci.Descriptor) bool { return a.Digest == b.Digest })
	if len(all) > n {
		page.Next, all = all[n-1].Digest.String(), all[:n]
	}
	page.Descriptors = all
	return page, nil
}

// fallback answers what the fallback tag lists.
func (r *Registry) fallback(ctx context.Context, repo oci.Name, id int64, subject oci.Digest, artifactType string, after oci.Digest) ([]oci.Descriptor, error) {
	// The tag's length is bounded: a sha512 digest is cut, as the specification says.
	text := subject.Algorithm().String() + "-" + subject.Hex()
	tag, err := oci.ParseTag(text[:min(len(text), oci.MaxTagBytes)])
	if err != nil {
		return nil, fail.E(fail.Internal, err, "fallback tag of %s", subject)
	}
	m, err := r.Manifest(ctx, repo, oci.Reference{Tag: tag})
	if fail.Is(err, fail.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := oci.ParseManifest(m.Descriptor.MediaType, m.Body)
	if err != nil || list.Kind != oci.Index {
		return nil, nil //nolint:nilerr // some other thing has that tag: it lists nothing
	}
	var behind []oci.Descriptor
	var digests []oci.Digest
	for _, d := range list.Children {
		if bytes.Compare(d.Digest.Bytes(), after.Bytes()) > 0 && (artifactType == "" || cmp.Or(d.ArtifactType, artifactType) == artifactType) {
			behind, digests = append(behind, d), append(digests, d.Digest)
		}
	}
	present, err := index.ManifestSizes(ctx, r.DB, id, digests)
	if err != nil {
		return nil, fmt.Errorf("list fallback referrers of %s in %s: %w", subject, repo, err)
	}
	return slices.DeleteFunc(behind, func(d oci.Descriptor) bool { _, ok := present[d.Digest]; return !ok }), nil
}
