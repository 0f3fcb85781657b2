package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// PutManifest is a manifest to be stored byte for byte. Digest is zero if it was addressed by tag.
type PutManifest struct {
	Pusher
	MediaType string // the Content-Type
	Body      []byte
	Digest    oci.Digest
	Tags      []oci.Tag
	If        *Condition // nil: whatever is there
}

// Condition makes a push depend on what a tag points to, or on whether a manifest is there, at the moment of the push.
type Condition struct {
	Ref   oci.Reference
	Holds func(now oci.Digest) bool // zero: there is none
}

// Pushed is a manifest that was stored.
type Pushed struct {
	Descriptor oci.Descriptor
	Subject    *oci.Digest
}

const (
	// maxArtifactType is what the column takes. Media types have at most 255 characters (RFC 6838, 4.2, allows 127 + 1 + 127).
	maxArtifactType = 255
	// pushedEvery is how exact a repository's time of the last push is: its row is not to be the one that all pushes collide at.
	pushedEvery = time.Minute
)

// PutManifest stores a manifest and points tags to it: all or nothing, durable on return. Blobs or children that are absent are MANIFEST_BLOB_UNKNOWN, with
// their digests as the detail. The same manifest again is no error. A condition that does not hold is a Conflict with PRECONDITION_FAILED.
func (r *Registry) PutManifest(ctx context.Context, name oci.Name, p PutManifest) (Pushed, error) {
	m, err := oci.ParseManifest(p.MediaType, p.Body)
	if err != nil {
		return Pushed{}, err
	}
	if err = r.checkRoom(ctx, 0); err != nil {
		return Pushed{}, err
	}
	c := &manifestPush{r: r, name: name, first: firstPush(p.Pusher, name), parsed: m, cond: p.If, op: sqldb.NewToken()}
	if err = c.prepare(p); err != nil {
		return Pushed{}, err
	}
	c.purse = r.likelyPurse(name, int64(len(p.Body)))
	defer c.purse.empty()
	err = c.purse.afford(ctx, func() error {
		return r.change(ctx, name, c.tags, "manifest.put", func(tx *sqldb.Tx) error { return c.run(ctx, tx) })
	})
	c.purse.counted(c.used, err)
	if err != nil {
		return Pushed{}, fmt.Errorf("push manifest %s to %s: %w", c.row.Digest, name, err)
	}
	r.metrics.pushes.WithLabelValues("manifest").Inc()
	r.shared.put(c.row.Digest, p.Body)
	pushed := Pushed{Descriptor: oci.Descriptor{MediaType: m.MediaType, Digest: c.row.Digest, Size: int64(len(p.Body))}}
	if m.Subject != nil {
		subject := m.Subject.Digest
		pushed.Subject = &subject
	}
	return pushed, nil
}

// manifestPush is one transaction that stores a manifest.
type manifestPush struct {
	r      *Registry
	name   oci.Name
	first  first
	parsed *oci.Manifest
	row    index.Manifest
	tags   []oci.Tag
	cond   *Condition
	op     string
	purse  purse
	used   int64 // bytes of the purse that a run counted
}

// prepare checks what needs no database.
func (c *manifestPush) prepare(p PutManifest) error {
	algorithm := oci.SHA256
	if !p.Digest.IsZero() {
		algorithm = p.Digest.Algorithm()
	}
	m := c.parsed
	c.row = index.Manifest{Digest: oci.Sum(algorithm, p.Body), MediaType: m.MediaType, ArtifactType: m.ArtifactType, Body: p.Body}
	if !p.Digest.IsZero() && c.row.Digest != p.Digest {
		return digestWrong(p.Digest, c.row.Digest)
	}
	if len(m.ArtifactType) > maxArtifactType || strings.ContainsFunc(m.ArtifactType, func(l rune) bool { return l < ' ' || l == 0x7f }) {
		return fail.E(fail.Invalid, nil, "artifact type %.100q", m.ArtifactType).Code(oci.CodeManifestInvalid).
			Hint("it is a media type of at most %d bytes", maxArtifactType)
	}
	c.tags = append([]oci.Tag{}, p.Tags...) // not nil: that would be every tag
	slices.SortFunc(c.tags, func(a, b oci.Tag) int { return strings.Compare(a.String(), b.String()) })
	c.tags = slices.Compact(c.tags)
	switch {
	case m.Subject != nil:
		c.row.Subject = m.Subject.Digest
	case m.IsSignature():
		c.row.Subject = signed(c.tags)
	}
	return nil
}

// signed answers what a signature is of that has no subject and one of these tags: it is attached to that as Harbor has it, though no referrer.
func signed(tags []oci.Tag) oci.Digest {
	for _, t := range tags {
		if d := t.Signs(); !d.IsZero() {
			return d
		}
	}
	return oci.Digest{}
}

func (c *manifestPush) run(ctx context.Context, tx *sqldb.Tx) error {
	now := micros(tx.Now())
	// A second run of an applied transaction must not move a tag back, or bring back what was deleted meanwhile.
	if mine, err := index.ClaimOp(ctx, tx, c.op, now); err != nil || !mine {
		return err
	}
	repo, err := c.r.ensure(ctx, tx, c.first)
	if err != nil {
		return err
	}
	sparse := c.r.cfg.SparseIndex
	if sparse {
		// An index that notes an absent child, and that child on its way through another node, must not miss each other.
		if err = index.RaisePushed(ctx, tx, repo.ID, now); err != nil {
			return err
		}
	}
	if c.cond != nil && c.cond.Ref.IsDigest() {
		if err = c.checkPresence(ctx, tx, repo.ID); err != nil {
			return err
		}
	}
	refs, err := c.references(ctx, tx, repo.ID)
	if err != nil {
		return err
	}
	if err = c.store(ctx, tx, repo, now, refs); err != nil {
		return err
	}
	if err = c.point(ctx, tx, repo.ID, now); err != nil {
		return err
	}
	if !sparse && now-repo.PushedAt > pushedEvery.Microseconds() {
		return index.SetPushed(ctx, tx, repo.ID, now)
	}
	return nil
}

// references are what a manifest refers to and is there, and the children that are not.
type references struct {
	blobs, children, absent []oci.Digest
}

// references looks whether everything that the manifest needs is in the repository, with the sizes that it says. What it only mentions (foreign layers, and with sparse
// indexes children) is held too if it is there.
func (c *manifestPush) references(ctx context.Context, tx *sqldb.Tx, repo int64) (references, error) {
	var refs references
	required := c.parsed.RequiredBlobs()
	absent, err := pick(&refs.blobs, required, func(list []oci.Digest) (map[oci.Digest]int64, error) { return index.LinkSizes(ctx, tx, repo, list) })
	if err != nil {
		return refs, err
	}
	rest, err := pick(&refs.children, c.parsed.Children, func(list []oci.Digest) (map[oci.Digest]int64, error) { return index.ManifestSizes(ctx, tx, repo, list) })
	if err != nil {
		return refs, err
	}
	// An index may list blobs too: BuildKit's cache does. But what it says to be a manifest is not there for those who pull it, if it was pushed as a blob.
	var others []oci.Descriptor
	rest, others = byKind(rest)
	more, err := pick(&refs.blobs, slices.Concat(others, c.parsed.Foreign()), func(list []oci.Digest) (map[oci.Digest]int64, error) { return index.LinkSizes(ctx, tx, repo, list) })
	if err != nil {
		return refs, err
	}
	rest = append(rest, more...)
	switch {
	case c.parsed.Kind != oci.Index:
	case c.r.cfg.SparseIndex:
		refs.absent = sortedOnce(digestsOf(rest))
	default:
		absent = append(absent, rest...)
	}
	if len(absent) > 0 {
		return refs, absentReferences(c.name, digestsOf(absent))
	}
	refs.blobs, refs.children = sortedOnce(refs.blobs), sortedOnce(refs.children)
	return refs, nil
}

// byKind takes those apart that say that they are manifests, and others.
func byKind(list []oci.Descriptor) (manifests, others []oci.Descriptor) {
	for _, d := range list {
		if d.IsManifest() {
			manifests = append(manifests, d)
		} else {
			others = append(others, d)
		}
	}
	return manifests, others
}

// pick adds those of the wanted that are there, with the size that is said of them, and answers the others.
func pick(to *[]oci.Digest, wanted []oci.Descriptor, look func([]oci.Digest) (map[oci.Digest]int64, error)) (absent []oci.Descriptor, err error) {
	found, err := look(digestsOf(wanted))
	if err != nil {
		return nil, err
	}
	for _, d := range wanted {
		size, ok := found[d.Digest]
		switch {
		case !ok:
			absent = append(absent, d)
		case size != d.Size:
			return nil, fail.E(fail.Invalid, nil, "the manifest says %d bytes of %s, which has %d", d.Size, d.Digest, size).Code(oci.CodeManifestInvalid).
				Hint("descriptors hold the exact size")
		default:
			*to = append(*to, d.Digest)
		}
	}
	return absent, nil
}

// shownDigests bounds the digests in the text of an error; its detail has all.
const shownDigests = 5

func absentReferences(name oci.Name, absent []oci.Digest) error {
	return fail.E(fail.NotFound, nil, "%s not in %s", listed(absent), name).Code(oci.CodeManifestBlobUnknown).Detail(texts(absent)).
		Hint("push what the manifest refers to first, to this repository")
}

// texts answers digests as clients write them.
func texts(list []oci.Digest) []string {
	all := make([]string, len(list))
	for i, d := range list {
		all[i] = d.String()
	}
	return all
}

func listed(all []oci.Digest) string {
	var b strings.Builder
	for i, d := range all {
		if i == shownDigests {
			fmt.Fprintf(&b, " and %d more", len(all)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(d.String())
	}
	return b.String()
}

func digestsOf(list []oci.Descriptor) []oci.Digest {
	all := make([]oci.Digest, len(list))
	for i, d := range list {
		all[i] = d.Digest
	}
	return all
}

// sortedOnce answers digests in the order in which rows are touched, each once.
func sortedOnce(list []oci.Digest) []oci.Digest {
	slices.SortFunc(list, compareDigests)
	return slices.Compact(list)
}

// compareDigests is the order of the database.
func compareDigests(a, b oci.Digest) int { return slices.Compare(a.Bytes(), b.Bytes()) }

// store inserts the manifest and its references, or raises when it was pushed.
func (c *manifestPush) store(ctx context.Context, tx *sqldb.Tx, in index.Repository, now int64, refs references) error {
	row, repo := c.row, in.ID
	row.Repo, row.PushedAt = repo, now
	n, err := index.TouchManifest(ctx, tx, repo, row.Digest, now)
	if err != nil {
		return err
	}
	if n == 0 {
		if err = index.InsertManifest(ctx, tx, &row); err != nil {
			return err
		}
		if err = index.InsertManifestBlobs(ctx, tx, repo, row.Digest, refs.blobs); err != nil {
			return err
		}
		if err = index.InsertChildren(ctx, tx, repo, row.Digest, refs.children); err != nil {
			return err
		}
		if err = c.patience(ctx, tx, repo, refs.absent); err != nil {
			return err
		}
		if err = index.InsertAbsent(ctx, tx, repo, row.Digest, refs.absent); err != nil {
			return err
		}
		if err = index.Adopt(ctx, tx, repo, row.Digest); err != nil {
			return err
		}
		if err = c.count(ctx, tx, in.Quota); err != nil {
			return err
		}
	} else if c.parsed.Subject == nil && !row.Subject.IsZero() {
		if err = index.SetSubject(ctx, tx, repo, row.Digest, row.Subject); err != nil {
			return err
		}
	} else if c.parsed.Kind == oci.Index || len(c.parsed.Foreign()) > 0 {
		if err = c.complete(ctx, tx, repo, refs); err != nil {
			return err
		}
	}
	if len(c.tags) > 0 {
		return nil
	}
	return index.Review(ctx, tx, index.ReviewManifest, repo, row.Digest, micros(tx.Now().Add(c.r.cfg.SafeTime)))
}

// count counts a manifest that is new in its repository against the quota of the project, if that has one.
func (c *manifestPush) count(ctx context.Context, tx *sqldb.Tx, quota int64) error {
	if quota == 0 {
		return nil
	}
	used, err := c.purse.charge(ctx, tx, quota, c.row.Digest, int64(len(c.row.Body)), index.Hold{})
	c.used = max(c.used, used)
	return err
}

// mostWaiting bounds the indexes that wait for one manifest: when it comes, one transaction lets them all refer to it.
const mostWaiting = 1000

// patience refuses an index with a child for which too many wait already.
func (c *manifestPush) patience(ctx context.Context, tx *sqldb.Tx, repo int64, absent []oci.Digest) error {
	if len(absent) == 0 {
		return nil
	}
	d, err := index.Awaited(ctx, tx, repo, absent, mostWaiting)
	if err != nil || d.IsZero() {
		return err
	}
	return fail.E(fail.NotFound, nil, "%s is not in %s, and %d indexes wait for it already", d, c.name, mostWaiting).Code(oci.CodeManifestBlobUnknown).
		Detail(texts([]oci.Digest{d})).Hint("push it first")
}

// complete adds the references of a manifest that is there to what was absent when it came.
func (c *manifestPush) complete(ctx context.Context, tx *sqldb.Tx, repo int64, refs references) error {
	there, err := index.Children(ctx, tx, repo, c.row.Digest)
	if err != nil {
		return err
	}
	if err = index.InsertChildren(ctx, tx, repo, c.row.Digest, without(refs.children, there)); err != nil {
		return err
	}
	if there, err = index.ManifestBlobs(ctx, tx, repo, c.row.Digest); err != nil {
		return err
	}
	return index.InsertManifestBlobs(ctx, tx, repo, c.row.Digest, without(refs.blobs, there))
}

func without(list, those []oci.Digest) []oci.Digest {
	known := make(map[oci.Digest]bool, len(those))
	for _, d := range those {
		known[d] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(d oci.Digest) bool { return known[d] })
}

// point moves the tags here. What they pointed to may be garbage now.
func (c *manifestPush) point(ctx context.Context, tx *sqldb.Tx, repo, now int64) error {
	for _, tag := range c.tags {
		before, err := c.move(ctx, tx, repo, tag, now)
		if err != nil {
			return err
		}
		if before.IsZero() || before == c.row.Digest {
			continue
		}
		if err = index.Review(ctx, tx, index.ReviewManifest, repo, before, micros(tx.Now().Add(c.r.cfg.SafeTime))); err != nil {
			return err
		}
	}
	return nil
}

// tagLooks bounds the looks at a tag that others move, make or delete between each look and what was to follow it.
const tagLooks = 100

// move points a tag here, and answers what it pointed to. That is exact: a condition may be about it, and it is what is put up for review. Two that saw the same touch the tag's row, and one of them finds it changed, and looks again.
func (c *manifestPush) move(ctx context.Context, tx *sqldb.Tx, repo int64, tag oci.Tag, now int64) (before oci.Digest, err error) {
	for range tagLooks {
		before, err = index.TagDigest(ctx, tx, repo, tag)
		if err = absentIsFine(err); err != nil {
			return before, err
		}
		if c.cond != nil && c.cond.Ref.Tag == tag && !c.cond.Holds(before) {
			return before, preconditionFailed(c.cond.Ref)
		}
		moved, moveErr := index.MoveTag(ctx, tx, repo, tag, before, c.row.Digest, now)
		if moveErr != nil || moved {
			return before, moveErr
		}
	}
	return before, tagBusy(tag)
}

func tagBusy(tag oci.Tag) error {
	return fail.E(fail.Unavailable, nil, "tag %s is moved all the time", tag).RetryAfter(busyRetry)
}

// checkPresence checks a condition about a manifest itself. Its bytes are the same whoever pushes it, so a race decides nothing.
func (c *manifestPush) checkPresence(ctx context.Context, tx *sqldb.Tx, repo int64) error {
	there, err := index.HasManifest(ctx, tx, repo, c.row.Digest)
	if err != nil {
		return err
	}
	var now oci.Digest
	if there {
		now = c.row.Digest
	}
	if !c.cond.Holds(now) {
		return preconditionFailed(c.cond.Ref)
	}
	return nil
}

func preconditionFailed(ref oci.Reference) error {
	return fail.E(fail.Conflict, nil, "%s is not what the request expects", ref).Code(oci.CodePreconditionFailed).Hint("look what it is now (HEAD answers its ETag), and decide again")
}
