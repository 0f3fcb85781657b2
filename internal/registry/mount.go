package registry

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Mount asks for a blob of another repository. From may be zero: any repository that the caller may see, and pull from, will do.
type Mount struct {
	Pusher
	Digest  oci.Digest
	From    oci.Name
	MayPull func(oci.Name) bool
	Viewer  Viewer // where to look without From
}

// maxMountSources bounds the repositories that are looked at for a mount without a source. A blob in more of them is a base layer; what is not found among
// these is uploaded.
const maxMountSources = 256

// Mount links a blob that is in another repository, or in this one already. False means that the caller must upload it, and says nothing about whether the blob
// exists.
func (r *Registry) Mount(ctx context.Context, name oci.Name, m Mount) (bool, error) {
	if err := r.checkRoom(ctx, 0); err != nil {
		return false, err
	}
	source, size, err := r.mountSource(ctx, name, m)
	if err != nil {
		return false, fmt.Errorf("mount blob %s to %s: %w", m.Digest, name, err)
	}
	if source.IsZero() {
		return false, nil
	}
	f, op, mounted, most := firstPush(m.Pusher, name), sqldb.NewToken(), false, int64(0)
	p := r.likelyPurse(name, size)
	defer p.empty()
	link := func(tx *sqldb.Tx) error {
		mounted = false
		from, findErr := index.RepositoryByName(ctx, tx, source)
		if findErr != nil {
			return absentIsFine(findErr)
		}
		// The link may have gone since the look; on other nodes the key from link to blob holds the blob.
		if linked, linkErr := index.IsLinked(ctx, tx, from.ID, m.Digest); linkErr != nil || !linked {
			return linkErr
		}
		mounted = true
		// A second run of a mount that was applied must not bring back a link that was deleted meanwhile.
		if mine, claimErr := index.ClaimOp(ctx, tx, op, micros(tx.Now())); claimErr != nil || !mine {
			return claimErr
		}
		repo, repoErr := r.ensure(ctx, tx, f)
		if repoErr != nil {
			return repoErr
		}
		now := micros(tx.Now())
		if repo.Quota == 0 {
			repoErr = index.Link(ctx, tx, repo.ID, m.Digest, now)
		} else {
			var used int64
			used, repoErr = p.link(ctx, tx, repo.Quota, repo.ID, m.Digest, size, index.Hold{}, now)
			most = max(most, used)
		}
		if repoErr != nil {
			return repoErr
		}
		return index.Review(ctx, tx, index.ReviewLink, repo.ID, m.Digest, micros(tx.Now().Add(r.cfg.SafeTime)))
	}
	err = p.afford(ctx, func() error { return r.keyed(ctx, "blob.mount", link) })
	p.counted(most, err)
	if err != nil {
		return false, fmt.Errorf("mount blob %s to %s: %w", m.Digest, name, err)
	}
	return mounted, nil
}

// absentIsFine drops NotFound.
func absentIsFine(err error) error {
	if fail.Is(err, fail.NotFound) {
		return nil
	}
	return err
}

// mountSource answers a repository that has the blob and that the caller may know of, and the blob's size; zero if there is none. A damaged blob is nowhere: it is to be uploaded.
func (r *Registry) mountSource(ctx context.Context, name oci.Name, m Mount) (source oci.Name, size int64, err error) {
	has := func(n oci.Name) (bool, error) {
		f, ok, findErr := index.FindBlob(ctx, r.db, n, m.Digest)
		size = f.Size
		return ok && !f.Damaged, findErr
	}
	if ok, findErr := has(name); findErr != nil || ok {
		return name, size, findErr
	}
	if !m.From.IsZero() {
		if m.MayPull == nil || !m.MayPull(m.From) {
			return oci.Name{}, 0, nil
		}
		ok, findErr := has(m.From)
		if findErr != nil || !ok {
			return oci.Name{}, 0, findErr
		}
		return m.From, size, nil
	}
	// Asked for those that may be seen alone: a question for each of those that may not would tell by its time that they have the blob.
	names, err := index.LinkedRepositories(ctx, r.db, m.Digest, index.Viewer(m.Viewer), maxMountSources)
	if err != nil {
		return oci.Name{}, 0, err
	}
	for _, s := range names {
		n, parseErr := oci.ParseName(s)
		if parseErr != nil {
			return oci.Name{}, 0, fail.E(fail.Internal, parseErr, "stored name %q", s)
		}
		if m.MayPull == nil || !m.MayPull(n) {
			continue
		}
		if ok, hasErr := has(n); hasErr != nil || ok {
			return n, size, hasErr
		}
	}
	return oci.Name{}, 0, nil
}
