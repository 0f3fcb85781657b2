package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
)

const (
	// MaxReferrers is the largest and the default page of referrers.
	MaxReferrers = 500
	// maxReferrersBytes bounds the manifests that a page is made of, and with them its annotations: an answer should not be larger than clients take for a
	// manifest, 4 MiB. (One manifest alone may be as large.)
	maxReferrersBytes = 1 << 20
	// fallbackHex is how much of a digest's hex the fallback tag has (Distribution Specification, "Referrers Tag Schema").
	fallbackHex = 64
)

// Referrers is a page of the manifests that have a subject, in a stable order. Next is where the next page begins, "" at the end.
type Referrers struct {
	Descriptors []oci.Descriptor
	Next        string
	Filtered    bool // the artifact type was applied
}

// Referrers lists up to n manifests whose subject is d, of one artifact type if that is not "", behind a digest; n below 0 means as many as a page may hold.
// What clients without the referrers API listed under the fallback tag is merged in. The subject need not exist, nor the repository.
func (r *Registry) Referrers(ctx context.Context, name oci.Name, d oci.Digest, artifactType string, n int, after string) (Referrers, error) {
	if n < 0 || n > MaxReferrers {
		n = MaxReferrers
	}
	behind := []byte{}
	if after != "" {
		last, err := oci.ParseDigest(after)
		if err != nil {
			return Referrers{}, err
		}
		behind = last.Bytes()
	}
	list := Referrers{Descriptors: []oci.Descriptor{}, Filtered: artifactType != ""}
	if n == 0 {
		return list, nil
	}
	rows, full, err := index.Referrers(ctx, r.db, name, d, artifactType, behind, n+1, maxReferrersBytes)
	if err != nil {
		return Referrers{}, fmt.Errorf("list referrers of %s in %s: %w", d, name, err)
	}
	tagged, err := r.fallback(ctx, name, d, artifactType, behind)
	if err != nil {
		return Referrers{}, fmt.Errorf("list referrers of %s in %s: %w", d, name, err)
	}
	all, err := descriptors(rows)
	if err != nil {
		return Referrers{}, err
	}
	// Rows end at a limit or a size; behind the last of them there may be others that come before what is tagged.
	cut := full || len(rows) > n
	for _, t := range tagged {
		if slices.ContainsFunc(all, func(o oci.Descriptor) bool { return o.Digest == t.Digest }) {
			continue
		}
		if !cut || compareDigests(t.Digest, rows[len(rows)-1].Digest) < 0 {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b oci.Descriptor) int { return compareDigests(a.Digest, b.Digest) })
	more := cut
	if len(all) > n {
		all, more = all[:n], true
	}
	switch {
	case more && len(all) > 0:
		list.Next = all[len(all)-1].Digest.String()
	case more: // all that was looked at is attached by its tag alone
		list.Next = rows[len(rows)-1].Digest.String()
	}
	list.Descriptors = append(list.Descriptors, all...)
	return list, nil
}

// descriptors makes descriptors of manifests, with their annotations (Distribution Specification, "Listing Referrers"). What does not name its subject itself is no referrer.
func descriptors(rows []index.Referrer) ([]oci.Descriptor, error) {
	all := make([]oci.Descriptor, 0, len(rows))
	for _, m := range rows {
		var text struct {
			Subject     *struct{}         `json:"subject"`
			Annotations map[string]string `json:"annotations"`
		}
		if err := json.Unmarshal(m.Body, &text); err != nil {
			return nil, fail.E(fail.Internal, err, "stored manifest %s", m.Digest)
		}
		if text.Subject != nil {
			all = append(all, oci.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Body)), ArtifactType: m.ArtifactType, Annotations: text.Annotations})
		}
	}
	return all, nil
}

// fallback answers the descriptors that the fallback tag lists behind a digest, each once. A tag of that name that is no index is just a tag.
func (r *Registry) fallback(ctx context.Context, name oci.Name, d oci.Digest, artifactType string, behind []byte) ([]oci.Descriptor, error) {
	tag, err := oci.ParseTag(d.Algorithm().String() + "-" + d.Hex()[:fallbackHex])
	if err != nil {
		return nil, fail.E(fail.Internal, err, "fallback tag of %s", d)
	}
	m, err := r.Manifest(ctx, name, oci.Reference{Tag: tag})
	if fail.Is(err, fail.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	parsed, err := oci.ParseManifest(m.Descriptor.MediaType, m.Body)
	if err != nil {
		return nil, fail.E(fail.Internal, err, "stored manifest %s", m.Descriptor.Digest)
	}
	seen := map[oci.Digest]bool{}
	var all []oci.Descriptor
	for _, c := range parsed.Children {
		if seen[c.Digest] || artifactType != "" && c.ArtifactType != artifactType || slices.Compare(c.Digest.Bytes(), behind) <= 0 {
			continue
		}
		seen[c.Digest] = true
		all = append(all, c)
	}
	return all, nil
}
