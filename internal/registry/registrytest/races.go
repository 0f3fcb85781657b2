package registrytest

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// racers is how many do the same at once; rounds is how often.
const (
	racers = 8
	rounds = 10
)

// races lets nodes do at the same time what only one of them may do. Where this process is the only one, all are one registry: that is what it promises.
func races(t *testing.T, w *World) {
	nodes := []*registry.Registry{w.Registry}
	if !w.DB.Sole() {
		nodes = append(nodes, w.Another(t), w.Another(t))
	}
	r := &race{w: w, nodes: nodes}
	for _, c := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"Of two that append one wins", r.appenders},
		{"A PUT that is sent twice at once is one blob", r.finishers},
		{"One digest has one content", r.committers},
		{"What a manifest needs is not deleted under it", r.pushAndDelete},
		{"A repository is deleted or pushed to", r.emptiedWhilePushed},
		{"A quota is never exceeded, and every byte counts", r.quotas},
		{"A quota comes and goes under pushes", r.quotaComesAndGoes},
		{"A link that comes and goes is counted while it is there", r.linked},
		{"What many delete at once is gone once", r.deleters},
		{"A quota goes while what it counts is deleted", r.quotaGoes},
		{"A quota goes while it is counted", r.quotaGoesUncounted},
		{"A quota goes while all push", r.quotaGoesUnderPushes},
		{"Expiry and cancel never take what goes on", r.endings},
		{"A tag moves once from where all saw it", r.conditions},
		{"Tags are linearizable", r.tags},
		{"What a tag pointed to is up for review", r.replaced},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t)
			CheckInvariants(t, w.DB, w.Store)
		})
	}
	w.Sweep(t)
	CheckInvariants(t, w.DB, w.Store)
}

type race struct {
	w     *World
	nodes []*registry.Registry
}

func (r *race) node(i int) *registry.Registry { return r.nodes[i%len(r.nodes)] }

// together runs all at once and waits for all.
func together(n int, do func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	wg.Wait()
}

func (r *race) appenders(t *testing.T) {
	repo := Name("races/append")
	for round := range rounds {
		u := r.w.Start(t, repo, 0)
		begin := Content(fmt.Sprintf("begin %d", round), 100)
		if round%2 == 0 {
			u = r.w.Send(t, u, begin)
		} else {
			begin = nil
		}
		var mu sync.Mutex
		var won []byte
		together(racers, func(i int) {
			piece := Content(fmt.Sprintf("append %d of %d", round, i), 100+i)
			state, err := r.node(i).Append(t.Context(), repo, u.ID, registry.Append{At: u.Offset, Size: -1, Body: bytes.NewReader(piece)})
			if err != nil {
				if fail.KindOf(err) != fail.RangeInvalid {
					t.Error(err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if won != nil || state.Offset != u.Offset+int64(len(piece)) {
				t.Errorf("a second one won, or not as far as it should: %+v", state)
			}
			won = piece
		})
		if won == nil {
			t.Fatal("nobody won")
		}
		whole := append(bytes.Clone(begin), won...)
		r.w.End(t, r.w.At(t, u, len(whole)), nil, Sum(whole))
		r.w.WantBlob(t, repo, Sum(whole), whole)
	}
}

func (r *race) finishers(t *testing.T) {
	repo := Name("races/finish")
	for round := range rounds {
		u := r.w.Start(t, repo, 0)
		data := Content(fmt.Sprintf("finish %d", round), 500)
		if round%2 == 0 {
			u = r.w.Send(t, u, data[:200])
		}
		digest := Sum(data)
		if round%4 == 0 { // all is read back before the commit
			digest = oci.Sum(oci.SHA512, data)
		}
		together(racers, func(i int) {
			f := registry.Finish{At: u.Offset, Digest: digest, Size: -1, Body: bytes.NewReader(data[u.Offset:])}
			d, err := r.node(i).Finish(t.Context(), repo, u.ID, f)
			if err != nil || d.Digest != digest || d.Size != 500 {
				t.Errorf("%+v, %v", d, err)
			}
		})
		r.w.WantBlob(t, repo, digest, data)
	}
}

func (r *race) committers(t *testing.T) {
	for round := range rounds {
		data := Content(fmt.Sprintf("commit %d", round), 500)
		together(racers, func(i int) {
			repo := Name("races/commit" + strconv.Itoa(i%3))
			_, err := r.node(i).PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum(data), Size: 500, Body: bytes.NewReader(data)})
			if err != nil {
				t.Error(err)
			}
		})
		for i := range 3 {
			r.w.WantBlob(t, Name("races/commit"+strconv.Itoa(i)), Sum(data), data)
		}
	}
	var dead int64
	if err := r.w.DB.Row(t.Context(), "SELECT COUNT(*) FROM dead").Scan(&dead); err != nil || dead < rounds*(racers-1) {
		t.Errorf("%d dead, %v", dead, err)
	}
}

// pushAndDelete pushes images while others delete all that they are made of. Whatever was acknowledged last is there, and whole.
func (r *race) pushAndDelete(t *testing.T) {
	repo := Name("races/delete")
	config, layer := Content("race config", 50), Content("race layer", 60)
	body := Image("race", nil, "", config, layer)
	push := func(n *registry.Registry) error {
		for _, b := range [][]byte{config, layer} {
			if _, err := n.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum(b), Size: -1, Body: bytes.NewReader(b)}); err != nil {
				return err
			}
		}
		_, err := n.PutManifest(t.Context(), repo, registry.PutManifest{Pusher: Admin, MediaType: oci.MediaTypeImageManifest, Body: body, Tags: []oci.Tag{Tag("v1")}})
		if fail.CodeOf(err) == oci.CodeManifestBlobUnknown {
			return nil // a blob was deleted before the manifest came
		}
		return err
	}
	remove := func(n *registry.Registry) error {
		for _, err := range []error{
			n.DeleteManifest(t.Context(), repo, Sum(body)), n.DeleteBlob(t.Context(), repo, Sum(layer)), n.DeleteTag(t.Context(), repo, Tag("v1")),
		} {
			if err != nil && !fail.Is(err, fail.NotFound) && !fail.Is(err, fail.Conflict) {
				return err
			}
		}
		return nil
	}
	if err := push(r.w.Registry); err != nil {
		t.Fatal(err)
	}
	together(racers, func(i int) {
		for range rounds {
			do := push
			if i%2 == 0 {
				do = remove
			}
			if err := do(r.node(i)); err != nil {
				t.Error(err)
			}
			m, err := r.node(i).Manifest(t.Context(), repo, Ref("v1"))
			if err == nil && !bytes.Equal(m.Body, body) || err != nil && !fail.Is(err, fail.NotFound) {
				t.Errorf("%v", err)
			}
		}
	})
	CheckInvariants(t, r.w.DB, r.w.Store)
	if err := push(r.w.Registry); err != nil {
		t.Fatal(err)
	}
	r.w.WantManifest(t, repo, "v1", body)
	r.w.WantBlob(t, repo, Sum(layer), layer)
}

// endings appends to an upload while it is cancelled, finished and expired: exactly one end is true.
func (r *race) endings(t *testing.T) {
	repo := Name("races/end")
	for round := range rounds {
		data := Content(fmt.Sprintf("end %d", round), 300)
		u := r.w.Send(t, r.w.Start(t, repo, 0), data[:100])
		errs := make([]error, 4)
		together(len(errs), func(i int) {
			switch i {
			case 0:
				_, errs[i] = r.node(i).Finish(t.Context(), repo, u.ID, registry.Finish{At: 100, Digest: Sum(data), Size: -1, Body: bytes.NewReader(data[100:])})
			case 1:
				errs[i] = r.node(i).CancelUpload(t.Context(), repo, u.ID)
			case 2:
				_, errs[i] = r.node(i).Append(t.Context(), repo, u.ID, registry.Append{At: 100, Size: -1, Body: io.MultiReader(bytes.NewReader(data[100:200]), bytes.NewReader(data[200:]))})
			case 3:
				_, errs[i] = r.node(i).ExpireUploads(t.Context(), false, r.w.Now().Add(time.Hour), 100)
			}
		})
		for i, err := range errs {
			if err != nil && !fail.Is(err, fail.NotFound) && !fail.Is(err, fail.RangeInvalid) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if errs[0] == nil {
			r.w.WantBlob(t, repo, Sum(data), data)
			if errs[1] == nil {
				t.Error("finished and cancelled")
			}
		} else if _, err := r.w.StatBlob(t.Context(), repo, Sum(data), registry.ToPull); !fail.Is(err, fail.NotFound) {
			t.Errorf("not finished, but there: %v", err)
		}
	}
}

// conditions lets all push with the condition that the tag is as they saw it: exactly one may move it from there.
func (r *race) conditions(t *testing.T) {
	repo := Name("races/conditions")
	bodies := make([][]byte, racers)
	for i := range bodies {
		bodies[i] = r.w.image(t, repo, fmt.Sprintf("conditional %d", i))
	}
	var seen oci.Digest
	for range rounds {
		var mu sync.Mutex
		var won []oci.Digest
		together(racers, func(i int) {
			p := registry.PutManifest{Pusher: Admin, MediaType: oci.MediaTypeImageManifest, Body: bodies[i], Tags: []oci.Tag{Tag("moving")}}
			p.If = &registry.Condition{Ref: Ref("moving"), Holds: func(now oci.Digest) bool { return now == seen }}
			if Sum(p.Body) == seen {
				return // it would change nothing, and so not be in anybody's way
			}
			pushed, err := r.node(i).PutManifest(t.Context(), repo, p)
			switch {
			case err == nil:
				mu.Lock()
				won = append(won, pushed.Descriptor.Digest)
				mu.Unlock()
			case fail.CodeOf(err) != oci.CodePreconditionFailed:
				t.Error(err)
			}
		})
		m, err := r.node(0).Manifest(t.Context(), repo, Ref("moving"))
		if err != nil || len(won) != 1 || m.Descriptor.Digest != won[0] {
			t.Fatalf("%d pushes moved the tag from %s; now %+v, %v", len(won), seen, m, err)
		}
		seen = won[0]
	}
}

// replaced moves a tag from everywhere at once, and deletes it: each push brings a manifest that nothing but the tag names. CheckInvariants finds those that are forgotten.
func (r *race) replaced(t *testing.T) {
	repo, config := Name("races/replaced"), Content("replaced config", 50)
	r.w.Push(t, repo, config)
	together(racers, func(i int) {
		for n := range rounds {
			p := registry.PutManifest{Pusher: Admin, MediaType: oci.MediaTypeImageManifest, Body: Image(fmt.Sprintf("replaced %d by %d", n, i), nil, "", config), Tags: []oci.Tag{Tag("moving")}}
			if _, err := r.node(i).PutManifest(t.Context(), repo, p); err != nil {
				t.Error(err)
			}
			if n%3 != i%3 {
				continue
			}
			if err := r.node(i).DeleteTag(t.Context(), repo, Tag("moving")); err != nil && !fail.Is(err, fail.NotFound) {
				t.Error(err)
			}
		}
	})
}

func (r *race) tags(t *testing.T) {
	repo := Name("races/tags")
	const images, moves = 4, 12
	bodies, numbers := make([][]byte, images+1), map[oci.Digest]int{}
	for i := 1; i <= images; i++ {
		bodies[i] = r.w.image(t, repo, fmt.Sprintf("tagged %d", i))
		numbers[Sum(bodies[i])] = i
	}
	history := NewTagHistory()
	together(racers, func(i int) {
		for n := range moves {
			began := time.Now()
			switch {
			case i%2 == 0:
				m, err := r.node(i).Manifest(t.Context(), repo, Ref("moving"))
				if err != nil && !fail.Is(err, fail.NotFound) {
					t.Error(err)
					return
				}
				found := 0
				if err == nil {
					found = numbers[m.Descriptor.Digest]
				}
				history.Saw(i, began, found)
			case i == 1 && n%4 == 3:
				err := r.node(i).DeleteTag(t.Context(), repo, Tag("moving"))
				if err != nil && !fail.Is(err, fail.NotFound) {
					t.Error(err)
					return
				}
				if err != nil {
					history.Saw(i, began, 0) // it saw that the tag is absent
				} else {
					history.Moved(i, began, 0)
				}
			default:
				to := 1 + (i+n)%images
				p := registry.PutManifest{Pusher: Admin, MediaType: oci.MediaTypeImageManifest, Body: bodies[to], Tags: []oci.Tag{Tag("moving")}}
				if _, err := r.node(i).PutManifest(t.Context(), repo, p); err != nil {
					t.Error(err)
					return
				}
				history.Moved(i, began, to)
			}
		}
	})
	if err := history.Check(time.Minute); err != nil {
		t.Error(err)
	}
}
