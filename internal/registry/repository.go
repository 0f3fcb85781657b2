package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// manifestsAtOnce, uploadsAtOnce and linksAtOnce bound what one transaction of a repository's deletion removes: each is some hundred statements at most.
	manifestsAtOnce = 20
	uploadsAtOnce   = 50
	linksAtOnce     = 100
)

// DeleteRepository removes a repository with all that is in it: manifests with their tags and labels, uploads, also those under way, links to blobs, what was written about it and how often it was pulled.
// NAME_UNKNOWN if there is none.
//
//  1. Manifests, those first that no index has as a child.
//  2. Uploads and links to blobs, which go up for review.
//  3. The repository itself. Keys see to it that nothing is left that refers to it.
//
// Each step is as many transactions as it takes, of bounded size. A crash leaves a repository with less in it; the same call again goes on. A manifest that is pushed during 1 may be deleted too; one that is
// pushed later stays, and makes it a Conflict.
func (r *Registry) DeleteRepository(ctx context.Context, name oci.Name) error {
	return r.empty(ctx, emptying{r: r, name: name})
}

// DeleteUnseen is DeleteRepository for one to which no manifest was pushed. Conflict, and nothing that was acknowledged goes, if one was, or is meanwhile.
func (r *Registry) DeleteUnseen(ctx context.Context, name oci.Name) error {
	return r.empty(ctx, emptying{r: r, name: name, unseen: true})
}

func (r *Registry) empty(ctx context.Context, e emptying) error {
	name := e.name
	for step := e.manifests; step != nil; {
		some := func(tx *sqldb.Tx, repo index.Repository) (done emptied, err error) {
			e.ended, e.gone, e.freed = nil, nil, 0
			if e.unseen && repo.PushedAt > 0 {
				return done, fail.E(fail.Conflict, nil, "a manifest was pushed meanwhile").Code(oci.CodeDenied).Hint("delete the repository if that is to go too")
			}
			if done.next, err = step(ctx, tx, repo); err != nil {
				return done, err
			}
			done.ended = e.ended
			return done, discharge(ctx, tx, repo, e.freed, e.gone...)
		}
		var done emptied
		err := r.ending(ctx, func() (err error) {
			done, err = deleting(ctx, r, name, "repository.delete", some)
			return err
		})
		if e.begun && fail.CodeOf(err) == oci.CodeNameUnknown {
			return nil // somebody else came to the end first
		}
		if fail.CodeOf(err) == sqldb.CodeFK {
			err = fail.E(fail.Conflict, err, "it is pushed to all the time").Code(oci.CodeDenied).Hint("try again when its users have stopped")
		}
		if err != nil {
			return fmt.Errorf("delete repository %s: %w", name, err)
		}
		for _, upload := range done.ended {
			r.prepared.take(upload)
		}
		e.begun, step = true, done.next
	}
	return nil
}

// emptied is what one transaction of such a deletion did: the uploads that it ended, and what comes next.
type emptied struct {
	ended []string
	next  emptyingStep
}

// emptying is the deletion of a repository under way.
type emptying struct {
	r     *Registry
	name  oci.Name
	begun bool
	// unseen: it ends where a manifest was pushed. Who pushes the first one changes the repository's row, which the last step deletes, and refers to links, which the one before it does.
	unseen bool
	ended  []string     // uploads of the last transaction
	gone   []oci.Digest // blobs and manifests of the last transaction
	freed  int64        // bytes of the quota that its uploads held
}

// emptyingStep removes some of a repository, and answers what comes next; nil: nothing.
type emptyingStep func(ctx context.Context, tx *sqldb.Tx, in index.Repository) (emptyingStep, error)

// manifests removes some, with at most so many tags as one transaction takes.
func (e *emptying) manifests(ctx context.Context, tx *sqldb.Tx, in index.Repository) (emptyingStep, error) {
	repo := in.ID
	list, err := topManifests(ctx, tx, repo)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return e.rest, nil
	}
	room := tagsAtOnce
	for _, d := range list {
		tags, tagsErr := index.TagsOf(ctx, tx, repo, d, room+1)
		if tagsErr != nil {
			return nil, tagsErr
		}
		slices.Sort(tags)
		if len(tags) > room {
			if err = index.DeleteTags(ctx, tx, repo, d, tags[:room]); err != nil {
				return nil, err
			}
			return e.manifests, e.r.review(ctx, tx, index.ReviewManifest, repo, d)
		}
		u := untagging{r: e.r, name: e.name, d: d}
		gone, lastErr := u.last(ctx, tx, in, tags)
		if lastErr != nil {
			return nil, lastErr
		}
		if gone {
			e.gone = append(e.gone, d)
		}
		if room -= len(tags); room == 0 {
			break
		}
	}
	return e.manifests, nil
}

// topManifests lists some manifests that no index has as a child: indexes as long as there are any.
func topManifests(ctx context.Context, tx *sqldb.Tx, repo int64) ([]oci.Digest, error) {
	list, err := index.Indexes(ctx, tx, repo, manifestsAtOnce)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return index.Manifests(ctx, tx, repo, manifestsAtOnce)
	}
	for i := 0; i < len(list); i++ {
		for parents := list[i : i+1]; len(parents) > 0; {
			list[i] = parents[0]
			if parents, err = index.Parents(ctx, tx, repo, list[i], 1); err != nil {
				return nil, err
			}
		}
	}
	return sortedOnce(list), nil
}

// rest removes some uploads, links and pull counts, and if there are none, the repository.
func (e *emptying) rest(ctx context.Context, tx *sqldb.Tx, in index.Repository) (emptyingStep, error) {
	repo := in.ID
	uploads, err := index.UploadsOf(ctx, tx, repo, uploadsAtOnce)
	if err != nil {
		return nil, err
	}
	for _, u := range uploads {
		if err = e.end(ctx, tx, in, u); err != nil {
			return nil, err
		}
	}
	links, err := index.Links(ctx, tx, repo, linksAtOnce)
	if err != nil {
		return nil, err
	}
	for _, d := range links {
		if err = e.unlink(ctx, tx, in, d); err != nil {
			return nil, err
		}
	}
	pulls, err := index.ForgetPulls(ctx, tx, repo, linksAtOnce)
	if err != nil {
		return nil, err
	}
	if len(uploads) == uploadsAtOnce || len(links) == linksAtOnce || pulls == linksAtOnce {
		return e.rest, nil
	}
	if err = index.SetNote(ctx, tx, repo, ""); err != nil {
		return nil, err
	}
	// A push that moved a tag may have put up for review what was deleted at the same moment.
	if err = index.DropReviews(ctx, tx, repo); err != nil {
		return nil, err
	}
	return nil, index.DeleteRepository(ctx, tx, repo)
}

// end ends an upload. One that goes on at this moment is looked at again.
func (e *emptying) end(ctx context.Context, tx *sqldb.Tx, repo index.Repository, u index.Upload) error {
	if !u.Done.IsZero() {
		return index.ForgetUploads(ctx, tx, []string{u.ID})
	}
	n, err := index.DeleteUploadSeen(ctx, tx, u)
	if err != nil || n == 0 {
		return err
	}
	e.ended = append(e.ended, u.ID)
	if err = index.Bury(ctx, tx, u.Content, micros(tx.Now())); err != nil {
		return err
	}
	if repo.Quota == 0 { // or it had none when this transaction began
		return forgetHold(ctx, tx, u)
	}
	held, err := index.FindHold(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	freed, err := deleteHold(ctx, tx, repo.Quota, held)
	e.freed += freed
	return err
}

// unlink takes a blob from the repository. A manifest that refers to it came after the others were deleted.
func (e *emptying) unlink(ctx context.Context, tx *sqldb.Tx, repo index.Repository, d oci.Digest) error {
	users, err := index.Users(ctx, tx, repo.ID, d, 1)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fail.E(fail.Conflict, nil, "manifest %s was pushed meanwhile", users[0]).Code(oci.CodeDenied).Hint("delete the repository again if that is to go too")
	}
	n, err := e.r.unlink(ctx, tx, repo, d)
	if n > 0 {
		e.gone = append(e.gone, d)
	}
	return err
}
