package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// blobMediaType is what a blob is served as: the registry does not know what it is.
const blobMediaType = "application/octet-stream"

// Manifest is a manifest as it was pushed. It is shared: read only.
type Manifest struct {
	Descriptor oci.Descriptor
	Body       []byte
	// Outage says that it comes from memory, because the database is out of reach: what was asked for may have been deleted meanwhile, or a tag moved, which was
	// seen where it points Age ago at the latest.
	Outage bool
	Age    time.Duration
}

// Manifest finds a manifest by tag or digest. A tag answers what the last push that was acknowledged, by any node, made of it; only while the database is out of reach, and
// Config.StaleTags allows it, what this node knew of it lately.
func (r *Registry) Manifest(ctx context.Context, name oci.Name, ref oci.Reference) (*Manifest, error) {
	known, at := r.recent.manifest(name, ref)
	if known != nil && r.recent.exact {
		r.metrics.hit.Inc()
		return known, nil
	}
	r.metrics.miss.Inc()
	t := r.recent.begin(name)
	var have oci.Digest
	if known != nil {
		have = known.Descriptor.Digest
	}
	row, err := fromDatabase(ctx, r, guessOf(known, ref), func(ctx context.Context) (index.Manifest, error) {
		return index.FindManifest(ctx, r.db, name, ref, have, r.shared.inline())
	})
	switch {
	case fail.Is(err, fail.Unavailable) && known != nil:
		if m := r.remembered(ctx, name, ref, known, at); m != nil {
			return m, nil
		}
	case fail.Is(err, fail.NotFound):
		r.recent.drop(name)
		return nil, r.unknown(ctx, name, manifestUnknown(name, ref.String()))
	}
	if err != nil {
		return nil, fmt.Errorf("find manifest %s in %s: %w", ref, name, err)
	}
	if row.Body == nil {
		if row, err = r.withBody(ctx, name, ref, row, known); err != nil {
			return nil, err
		}
	}
	m := &Manifest{Descriptor: oci.Descriptor{MediaType: row.MediaType, Digest: row.Digest, Size: int64(len(row.Body))}, Body: row.Body}
	r.recent.keepManifest(name, ref, t, m)
	return m, nil
}

// withBody answers a manifest whose bytes did not come with its row. What it answers at last may be another one: a tag may be moved and what it was deleted meanwhile.
func (r *Registry) withBody(ctx context.Context, name oci.Name, ref oci.Reference, row index.Manifest, known *Manifest) (index.Manifest, error) {
	if known != nil && known.Descriptor.Digest == row.Digest {
		row.Body = known.Body
		return row, nil
	}
	if row.Body = r.shared.get(ctx, row.Digest, row.Size); row.Body != nil {
		return row, nil
	}
	row, err := index.FindManifest(ctx, r.db, name, ref, oci.Digest{}, oci.MaxManifestBytes)
	if fail.Is(err, fail.NotFound) {
		r.recent.drop(name)
		return row, r.unknown(ctx, name, manifestUnknown(name, ref.String()))
	}
	if err != nil {
		return row, fmt.Errorf("read manifest %s in %s: %w", ref, name, err)
	}
	r.shared.put(row.Digest, row.Body)
	return row, nil
}

func manifestUnknown(name oci.Name, ref string) *fail.Error {
	return fail.E(fail.NotFound, nil, "manifest %s in %s", ref, name).Code(oci.CodeManifestUnknown).Hint("push it first, or check the tag")
}

// Purpose is what somebody asks for whether a content is there.
type Purpose int

// The purposes. A push leaves out what it was told to be there, so that must stay for a while.
const (
	ToPull Purpose = iota
	ToPush         // kept for the safe time
	Unsaid         // somebody who did not say who he is, and may go on to push: kept for half of the safe time at least
)

// TouchManifest keeps a manifest from being reviewed, because a push is told that it is what a reference names, durably. Conflict: by now the reference names another.
func (r *Registry) TouchManifest(ctx context.Context, name oci.Name, ref oci.Reference, d oci.Digest, p Purpose) error {
	var row index.Manifest
	var due int64
	err := r.db.Durable(ctx, "manifest.told", func(q sqldb.Querier) (err error) {
		due = 0
		if row, err = index.FindManifest(ctx, q, name, ref, d, 0); err != nil {
			return err
		}
		if due, err = index.ReviewDue(ctx, q, index.ReviewManifest, row.Repo, d); fail.Is(err, fail.NotFound) {
			return nil
		}
		return err
	})
	switch {
	case fail.Is(err, fail.NotFound):
		return r.unknown(ctx, name, manifestUnknown(name, ref.String()))
	case err == nil && row.Digest != d:
		return fail.E(fail.Conflict, nil, "%s in %s is manifest %s, and was %s", ref, name, row.Digest, d)
	case err == nil:
		err = r.postpone(ctx, p, index.ReviewManifest, row.Repo, d, due)
	}
	if err != nil {
		return fmt.Errorf("keep manifest %s in %s: %w", d, name, err)
	}
	return nil
}

// StatBlob answers a repository's blob. If a push may come of it, it also keeps the blob from being reviewed, and fails if that fails; a blob known to be
// damaged is absent then, so that it is pushed again.
func (r *Registry) StatBlob(ctx context.Context, name oci.Name, d oci.Digest, p Purpose) (oci.Descriptor, error) {
	if p == ToPull {
		b, err := r.findBlob(ctx, name, d)
		if err != nil {
			return oci.Descriptor{}, err
		}
		return oci.Descriptor{MediaType: blobMediaType, Digest: d, Size: b.size}, nil
	}
	var f index.Found
	var ok bool
	err := r.db.Durable(ctx, "blob.told", func(q sqldb.Querier) (err error) {
		f, ok, err = index.FindBlob(ctx, q, name, d)
		return err
	})
	if err != nil {
		return oci.Descriptor{}, fmt.Errorf("find blob %s in %s: %w", d, name, err)
	}
	if !ok || f.Damaged {
		return oci.Descriptor{}, r.unknown(ctx, name, blobUnknown(name, d))
	}
	if err = r.postpone(ctx, p, index.ReviewLink, f.Repo, d, f.Due); err != nil {
		return oci.Descriptor{}, fmt.Errorf("keep blob %s in %s: %w", d, name, err)
	}
	return oci.Descriptor{MediaType: blobMediaType, Digest: d, Size: f.Size}, nil
}

// postpone raises when something is reviewed that was seen to be due. Nothing that is not up for review needs it: what puts it up grants the safe time.
//
// Where this process alone writes, a time that is far enough away needs no write. A power cut may lose it: the push is cut as well then. Nor does it for those who did not say who
// they are, or strangers could make each of their requests a commit on all servers of the database, and all on one row. Half of the safe time is more than any push, and
// more than clocks may be wrong together.
func (r *Registry) postpone(ctx context.Context, p Purpose, kind int, repo int64, d oci.Digest, due int64) error {
	now := r.cfg.Clock()
	if p == ToPull || due == 0 || (p == Unsaid || r.db.Sole()) && due > micros(now.Add(r.cfg.SafeTime/2)) {
		return nil
	}
	return r.relaxed(ctx, "review.raise", func(tx *sqldb.Tx) error {
		return index.RaiseReview(ctx, tx, kind, repo, d, micros(tx.Now().Add(r.cfg.SafeTime)))
	})
}

// OpenBlob opens a repository's blob for reading; the context bounds the reader's life. Objects that are not what the rows say are Internal.
func (r *Registry) OpenBlob(ctx context.Context, name oci.Name, d oci.Digest) (*blob.Reader, error) {
	in, _, err := r.PullBlob(ctx, name, d, 0)
	return in, err
}

// PullBlob is OpenBlob for a client who may read from the store itself: if the blob is one object and the store gives URLs, it answers no reader but a URL that is
// good for so long. A URL that can't be made is no reason to refuse the pull. With no life it is OpenBlob.
func (r *Registry) PullBlob(ctx context.Context, name oci.Name, d oci.Digest, life time.Duration) (in *blob.Reader, url string, err error) {
	b, err := r.findBlob(ctx, name, d)
	if err != nil {
		return nil, "", err
	}
	if life > 0 {
		if url = r.sign(ctx, d, b, life); url != "" {
			return nil, url, nil
		}
	}
	if in, err = r.blobs.OpenCached(ctx, b.objects, d); err != nil {
		if blob.IsDamage(err) {
			r.suspect(ctx, d)
		}
		return nil, "", fmt.Errorf("open blob %s in %s: %w", d, name, err)
	}
	in.OnDamage = func() { r.suspect(ctx, d) }
	return in, "", nil
}

// sign answers a URL of a blob, "" if it has none.
func (r *Registry) sign(ctx context.Context, d oci.Digest, b *held, life time.Duration) string {
	if len(b.objects) == 1 && r.blobs.CanSign() {
		url, err := r.blobs.SignGet(ctx, b.objects[0].Name, life)
		if err == nil {
			r.metrics.redirected.Inc()
			return url
		}
		r.cfg.Log.WarnContext(ctx, "a blob goes through this node: the store gives no URL", "digest", d.String(), "error", err)
	}
	r.metrics.through.Inc()
	return ""
}

func (r *Registry) findBlob(ctx context.Context, name oci.Name, d oci.Digest) (*held, error) {
	known := r.recent.blob(name, d)
	if known != nil && r.recent.exact {
		return known, nil
	}
	t := r.recent.begin(name)
	type answer struct {
		found index.Found
		ok    bool
	}
	g := noGuess
	if known != nil {
		g = goodGuess
	}
	a, err := fromDatabase(ctx, r, g, func(ctx context.Context) (a answer, err error) {
		a.found, a.ok, err = index.FindBlob(ctx, r.db, name, d)
		return a, err
	})
	if fail.Is(err, fail.Unavailable) && known != nil {
		r.metrics.outage.Inc()
		return known, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find blob %s in %s: %w", d, name, err)
	}
	if !a.ok {
		r.recent.drop(name)
		return nil, r.unknown(ctx, name, blobUnknown(name, d))
	}
	b := &held{size: a.found.Size, objects: objects(a.found.Objects)}
	r.recent.keepBlob(name, d, t, b)
	return b, nil
}

// outageTime is how long a pull by digest waits for the database, where this node knows the answer of a moment ago: that may no longer be right (the manifest may have been deleted), so it
// counts only while nobody can be asked. The bytes behind a digest never change.
const outageTime = 3 * time.Second

// guess is what there is besides the database's answer.
type guess int

const (
	noGuess   guess = iota
	oldGuess        // one that counts only where the database is known to be out of reach
	goodGuess       // one that counts where it does not answer soon
)

func guessOf(known *Manifest, ref oci.Reference) guess {
	switch {
	case known == nil:
		return noGuess
	case ref.IsDigest():
		return goodGuess
	}
	return oldGuess
}

// fromDatabase asks the database, not for long where there is a good guess, and not at all where there is any and it is known to be out of reach.
func fromDatabase[T any](ctx context.Context, r *Registry, g guess, ask func(ctx context.Context) (T, error)) (T, error) {
	if g == noGuess || r.recent.exact {
		return ask(ctx)
	}
	if err := r.cfg.Lost(); err != nil {
		var none T
		return none, err
	}
	if g == oldGuess {
		return ask(ctx)
	}
	bounded, cancel := context.WithTimeout(ctx, outageTime)
	defer cancel()
	return ask(bounded)
}

func objects(rows []index.Object) []blob.Object {
	all := make([]blob.Object, len(rows))
	for i, o := range rows {
		all[i] = blob.Object(o)
	}
	return all
}

func blobUnknown(name oci.Name, d oci.Digest) *fail.Error {
	return fail.E(fail.NotFound, nil, "blob %s in %s", d, name).Code(oci.CodeBlobUnknown).Hint("push it to this repository first")
}
