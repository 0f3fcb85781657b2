package registrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
)

// quotas lets all push to a project whose quota has room for some, and delete, so that it never has more than it may and every byte counts.
func (r *race) quotas(t *testing.T) {
	const size, fit = 1000, 12
	project := r.w.limit(t, "crowded", fit*size)
	repo := func(i int) oci.Name { return Name(fmt.Sprint("crowded/r", i%2)) }
	data := func(i int) []byte { return Content(fmt.Sprint("crowded ", i), size) }
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, n := range r.nodes { // they give back what they do not use
		running.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	defer running.Wait()
	defer stop()
	for round := range rounds {
		var mu sync.Mutex
		var there []int
		refusals := 0
		together(racers*2, func(i int) {
			d := data(round*100 + i)
			_, err := r.node(i).PushBlob(t.Context(), repo(i), registry.PushBlob{Pusher: Admin, Digest: Sum(d), Size: size, Body: bytes.NewReader(d)})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				there = append(there, i)
			case isRefused(err):
				refusals++
			default:
				t.Error(err)
			}
		})
		if len(there) > fit || len(there)+refusals != racers*2 {
			t.Fatalf("%d were pushed, %d refused, %d fit", len(there), refusals, fit)
		}
		if len(there) < fit {
			t.Logf("round %d: %d were pushed of %d that fit", round, len(there), fit)
		}
		r.w.wantUsed(t, project, int64(len(there)*size))
		// Others of them come and go at the same time, the same ones to both repositories.
		together(len(there)*2, func(k int) {
			i := there[k/2]
			d := data(round*100 + i)
			if k%2 == 0 {
				if err := r.node(k).DeleteBlob(t.Context(), repo(i), Sum(d)); err != nil {
					t.Error(err)
				}
				return
			}
			_, err := r.node(k).PushBlob(t.Context(), repo(i+1), registry.PushBlob{Pusher: Admin, Digest: Sum(d), Size: -1, Body: bytes.NewReader(d)})
			if err != nil && !isRefused(err) {
				t.Error(err)
			}
		})
		CheckInvariants(t, r.w.DB, r.w.Store)
		for _, name := range []oci.Name{repo(0), repo(1)} {
			if err := r.w.DeleteRepository(t.Context(), name); err != nil && !fail.Is(err, fail.NotFound) {
				t.Fatal(err)
			}
		}
		r.w.wantUsed(t, project, 0)
	}
}

// linked mounts one blob to one repository of a project with a quota that has it, while somebody deletes it there: whoever finds it there counts nothing, and it may go at that moment.
func (r *race) linked(t *testing.T) {
	project := r.w.limit(t, "linked", 1<<30)
	source, repo, data := Name("unlimited/source"), Name("linked/app"), Content("linked", 100)
	r.w.Push(t, source, data)
	mount := func(i int) error {
		_, err := r.node(i).Mount(t.Context(), repo, registry.Mount{Pusher: Admin, Digest: Sum(data), From: source, MayPull: all})
		return err
	}
	for range 3 * rounds {
		if err := mount(0); err != nil {
			t.Fatal(err)
		}
		together(racers/2, func(i int) {
			do := mount
			if i == 0 {
				do = func(int) error { return r.node(0).DeleteBlob(t.Context(), repo, Sum(data)) }
			}
			if err := do(i); err != nil {
				t.Error(err)
			}
		})
		r.w.wantUsed(t, project, 100*count(t, r.w, "SELECT COUNT(*) FROM repo_blobs l JOIN repositories r ON r.id = l.repo WHERE r.name = ?", repo.String()))
	}
}

// deleters delete the same at once, which another repository of the project has too.
func (r *race) deleters(t *testing.T) {
	project := r.w.limit(t, "twice", 1<<30)
	one, two := Name("twice/one"), Name("twice/two")
	want := int64(0)
	for round := range rounds {
		config := Content(fmt.Sprint("twice ", round), 100)
		body := Image(fmt.Sprint("twice ", round), nil, "", config)
		for _, repo := range []oci.Name{one, two} {
			r.w.Push(t, repo, config)
			r.w.Put(t, repo, oci.MediaTypeImageManifest, body)
		}
		want += int64(len(config) + len(body))
		for _, remove := range []func(n *registry.Registry) error{
			func(n *registry.Registry) error { return n.DeleteManifest(t.Context(), one, Sum(body)) },
			func(n *registry.Registry) error { return n.DeleteBlob(t.Context(), one, Sum(config)) },
		} {
			together(racers, func(i int) {
				if err := remove(r.node(i)); err != nil && !fail.Is(err, fail.NotFound) {
					t.Error(err)
				}
			})
		}
		r.w.wantUsed(t, project, want)
	}
	r.w.Push(t, one, Content("twice still", 10))
	together(racers, func(i int) {
		if err := r.node(i).DeleteRepository(t.Context(), one); err != nil && !fail.Is(err, fail.NotFound) {
			t.Error(err)
		}
	})
	r.w.wantUsed(t, project, want)
}

// quotaGoes lets some of a quota be forgotten, a few things at a time, while all of them are deleted and pushed again.
func (r *race) quotaGoes(t *testing.T) {
	const many = 40
	ctx, repo := t.Context(), Name("goes/app")
	project := r.w.limit(t, "goes", 1<<30)
	blob := func(i int) []byte { return Content(fmt.Sprint("goes ", i), 100) }
	for range 2 {
		for i := range many {
			r.w.Push(t, repo, blob(i))
		}
		if _, err := r.w.ReturnSlices(ctx, Free, 100); err != nil {
			t.Fatal(err)
		}
		together(racers, func(i int) {
			if i == 0 {
				for range many / 5 {
					err := r.w.DB.Tx(ctx, "test.forget", func(tx *sqldb.Tx) error {
						_, err := index.ForgetQuota(ctx, tx, project, 4)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
				return
			}
			for k := range many {
				if k%(racers-1) != i-1 {
					continue
				}
				if err := r.node(i).DeleteBlob(ctx, repo, Sum(blob(k))); err != nil {
					t.Error(err)
				}
			}
		})
		if err := r.w.SetQuota(ctx, project, 1<<30); err != nil {
			t.Fatal(err)
		}
		if err := r.w.CountQuota(ctx, project); err != nil {
			t.Fatal(err)
		}
		CheckInvariants(t, r.w.DB, r.w.Store)
	}
}

// quotaGoesUncounted takes a quota away at the moment at which the first thing of its project is counted, by a count or by a push of no bytes.
func (r *race) quotaGoesUncounted(t *testing.T) {
	project, repo := r.w.limit(t, "uncounted", 1<<30), Name("uncounted/app")
	if err := r.w.SetQuota(t.Context(), project, registry.Unlimited); err != nil {
		t.Fatal(err)
	}
	r.w.Push(t, repo, Content("uncounted", 100))
	remove := func(i int) error { return r.node(i).SetQuota(t.Context(), project, registry.Unlimited) }
	pushEmpty := func(i, round int) error {
		_, err := r.node(i).PushBlob(t.Context(), Name(fmt.Sprint("uncounted/r", round)), registry.PushBlob{Pusher: Admin, Digest: Sum(nil), Size: 0, Body: bytes.NewReader(nil)})
		return err
	}
	for round := range 4 * rounds {
		err := r.w.DB.Tx(t.Context(), "test.limit", func(tx *sqldb.Tx) error { return registry.LimitNew(t.Context(), tx, project, 1<<30) })
		if err != nil {
			t.Fatal(err)
		}
		errs := make([]error, 4)
		together(len(errs), func(i int) {
			switch i {
			case 0:
				errs[i] = remove(i)
			case 1:
				errs[i] = pushEmpty(i, round)
			default:
				errs[i] = r.node(i).CountQuota(t.Context(), project)
			}
		})
		if err = errors.Join(append(errs, remove(0))...); err != nil {
			t.Fatal(err)
		}
		CheckInvariants(t, r.w.DB, r.w.Store)
	}
}

// quotaGoesUnderPushes takes a quota away of which much is counted, while others count more all the time.
func (r *race) quotaGoesUnderPushes(t *testing.T) {
	const counted = 400
	project := r.w.limit(t, "busy", 1<<30)
	exec(t, r.w, "UPDATE quotas SET held = held + ? WHERE project = ?", counted, project)
	for i := range counted {
		exec(t, r.w, "INSERT INTO quota_charges (project, digest, size, repos, checked) VALUES (?, ?, 1, 1, 0)", project, Sum(fmt.Appendf(nil, "counted only %d", i)).Bytes())
	}
	gone := make(chan struct{})
	together(racers, func(i int) {
		if i == 0 {
			defer close(gone)
			if err := r.node(i).SetQuota(t.Context(), project, registry.Unlimited); err != nil {
				t.Error(err)
			}
			return
		}
		for k := 0; ; k++ {
			select {
			case <-gone:
				return
			default:
			}
			data := fmt.Appendf(nil, "busy %d %d", i, k)
			if _, err := r.node(i).PushBlob(t.Context(), Name(fmt.Sprint("busy/r", i)), registry.PushBlob{Pusher: Admin, Digest: Sum(data), Size: -1, Body: bytes.NewReader(data)}); err != nil {
				t.Error(err)
				return
			}
		}
	})
}

// quotaComesAndGoes gives a project a quota, and takes it away, while all push to it and delete.
func (r *race) quotaComesAndGoes(t *testing.T) {
	if err := r.w.EnsureProject(t.Context(), registry.Project{Name: "comes"}); err != nil {
		t.Fatal(err)
	}
	project := r.w.projectID(t, "comes")
	together(racers, func(i int) {
		name, n := Name(fmt.Sprint("comes/r", i%3)), r.node(i)
		for k := range rounds {
			config := Content(fmt.Sprint("comes ", k%4), 100+k%4)
			var err error
			switch {
			case i == 0:
				err = n.SetQuota(t.Context(), project, []int64{registry.Unlimited, 1 << 30}[k%2])
			case i == 1 && k%3 == 0:
				err = n.CountQuota(t.Context(), project)
			case i == 2 && k%2 == 0:
				err = n.DeleteBlob(t.Context(), name, Sum(config))
			case i == 3 && k%3 == 2:
				err = n.DeleteRepository(t.Context(), name)
			default:
				if _, err = n.PushBlob(t.Context(), name, registry.PushBlob{Pusher: Admin, Digest: Sum(config), Size: -1, Body: bytes.NewReader(config)}); err == nil {
					p := registry.PutManifest{Pusher: Admin, MediaType: oci.MediaTypeImageManifest, Body: Image(fmt.Sprint("comes ", i), nil, "", config), Tags: []oci.Tag{Tag("v")}}
					_, err = n.PutManifest(t.Context(), name, p)
				}
			}
			if err != nil && !fail.Is(err, fail.NotFound) && !fail.Is(err, fail.Conflict) {
				t.Errorf("%d, %d: %v", i, k, err)
			}
		}
	})
	if err := r.w.SetQuota(t.Context(), project, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := r.w.CountQuota(t.Context(), project); err != nil {
		t.Fatal(err)
	}
	CheckInvariants(t, r.w.DB, r.w.Store)
}
