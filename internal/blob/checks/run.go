package checks

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// scratch begins the names of all that Run writes. It is no name of Havn's own form, so that no sweep takes it for an orphan in the middle of a check.
	scratch = "havn-check-"
	// alone is the check of what a driver keeps in one process, whatever its store can do; between is the same between processes, which takes a store that
	// refuses to write over an object. Where it does not (radosgw's Swift, some S3 servers), names made by chance are enough.
	alone, between = "OneOfManyWritersWins", "OneOfManyNodesWins"
	// enough is what such a store means.
	enough = "Havn does without: names are made by chance and looked for before they are written, so nothing is lost, and a small push may cost a request more. " +
		"Only the first start of a registry writes a name that is not made by chance, the store's id: do not begin two registries in one place at the same instant"
	// maxProblems bounds what is kept of one check.
	maxProblems = 20
	// cleanTime bounds the removal of what a check wrote, also when the user gave up.
	cleanTime = 2 * time.Minute
	// abandonedAge is when what is left of an earlier run is nobody's any more.
	abandonedAge = 24 * time.Hour
)

// Result is what came of one check.
type Result struct {
	Name     string   `json:"name"`
	What     string   `json:"what"`
	OK       bool     `json:"ok"`
	Minor    bool     `json:"minor,omitempty"` // not OK, and Havn does without
	Problems []string `json:"problems,omitempty"`
	Hint     string   `json:"hint,omitempty"`
	Took     float64  `json:"seconds"`
}

// Run tries a store that is in use: its drivers are connections to the same place, and take turns, so that what one wrote another reads. Everything is
// written under names of its own and removed; what earlier runs could not remove goes too. each is told every result as it comes. An error says that
// something could not be removed, or that ctx ended.
func Run(ctx context.Context, drivers []blob.Driver, clock func() time.Time, each func(Result)) error {
	all := &turns{drivers: drivers}
	if err := clean(ctx, all, scratch, clock().Add(-abandonedAge)); err != nil {
		return fmt.Errorf("remove what an earlier check left: %w", err)
	}
	mine := scratch + strings.ToLower(rand.Text()) + "-"
	var errs []error
	for i, c := range append(All(), Check{Name: between, What: "one of many nodes that write a name at once wins"}) {
		if ctx.Err() != nil {
			break
		}
		own := fmt.Sprintf("%s%d-", mine, i)
		begin := clock()
		r := &report{ctx: ctx}
		r.run(func() {
			switch c.Name {
			case alone:
				c.Run(r, scoped{drivers[0], own})
			case between:
				r.between(scoped{all, own}, drivers[0])
			default:
				c.Run(r, scoped{all, own})
			}
		})
		result := Result{Name: c.Name, What: c.What, OK: len(r.problems) == 0, Minor: r.minor, Problems: r.problems, Hint: r.hint, Took: clock().Sub(begin).Seconds()}
		cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
		errs = append(errs, clean(cleaning, all, own, time.Time{}))
		cancel()
		each(result)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what was written for the checks (names that begin with %s): %w", mine, err)
	}
	return ctx.Err()
}

// between lets writers of several processes race for a name, and takes in what the driver knows of the store: chance may let the race end well. That a store
// writes over objects is minor; everything else is not.
func (r *report) between(all, one blob.Driver) {
	won := raced(r, all)
	switch {
	case len(r.problems) > 0:
		return
	case len(won) == 0:
		r.Errorf("none of %d writers of one name was told that their bytes are there", racers)
		return
	}
	if o, ok := one.(blob.Overwriter); ok {
		if err := o.Overwrites(); err != nil {
			r.Errorf("%v", err)
		}
	}
	if len(won) > 1 {
		r.Errorf("%d of %d writers of one name were told that their bytes are there", len(won), racers)
	}
	if r.minor = len(r.problems) > 0; r.minor {
		r.hint = strings.TrimPrefix(r.hint+". "+enough, ". ")
	}
}

// clean removes the objects whose names begin with a text, and that are older than a time, if one is given.
func clean(ctx context.Context, d blob.Driver, begin string, before time.Time) error {
	var names []string
	for info, err := range d.List(ctx, begin) {
		if err != nil {
			return err
		}
		if !strings.HasPrefix(info.Name, begin) {
			break
		}
		if before.IsZero() || info.ModTime.Before(before) {
			names = append(names, info.Name)
		}
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, d.Delete(ctx, name))
	}
	return errors.Join(errs...)
}

// report is a Reporter that keeps what it is told.
type report struct {
	ctx context.Context

	mu       sync.Mutex
	problems []string
	hint     string
	minor    bool // set by the check itself, when it ends
}

// run runs a check to its end, or to its Fatalf.
func (r *report) run(check func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		check()
	}()
	<-done
}

// Context is the command's.
func (r *report) Context() context.Context { return r.ctx }

// Helper does nothing: no line of code is reported.
func (r *report) Helper() {}

// Errorf keeps a problem, and the first hint of an error in it.
func (r *report) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, fmt.Sprintf(format, args...))
	}
	for _, a := range args {
		if err, ok := a.(error); ok && r.hint == "" {
			r.hint = fail.HintOf(err)
		}
	}
}

// Fatalf keeps a problem and ends the check.
func (r *report) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// turns is a driver that passes each operation to the next of several on one place.
type turns struct {
	drivers []blob.Driver
	next    atomic.Uint64
}

func (t *turns) one() blob.Driver { return t.drivers[t.next.Add(1)%uint64(len(t.drivers))] }

// Put is the next driver's.
func (t *turns) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	return t.one().Put(ctx, name, size, r)
}

// Get is the next driver's.
func (t *turns) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	return t.one().Get(ctx, name, off, n)
}

// Stat is the next driver's.
func (t *turns) Stat(ctx context.Context, name string) (blob.Info, error) {
	return t.one().Stat(ctx, name)
}

// Delete is the next driver's.
func (t *turns) Delete(ctx context.Context, name string) error { return t.one().Delete(ctx, name) }

// List is the next driver's.
func (t *turns) List(ctx context.Context, after string) iter.Seq2[blob.Info, error] {
	return t.one().List(ctx, after)
}

// Classify is any driver's: they are of one kind.
func (t *turns) Classify(err error) fail.Kind { return t.drivers[0].Classify(err) }

// scoped is a driver in which there is nothing but what has a beginning of its name. Slashes become tildes: in a directory there may be no other folders.
type scoped struct {
	next  blob.Driver
	begin string
}

func (s scoped) in(name string) string  { return s.begin + strings.ReplaceAll(name, "/", "~") }
func (s scoped) out(name string) string { return strings.ReplaceAll(name[len(s.begin):], "~", "/") }

// Put writes in the scope.
func (s scoped) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	return s.next.Put(ctx, s.in(name), size, r)
}

// Get reads in the scope.
func (s scoped) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	return s.next.Get(ctx, s.in(name), off, n)
}

// Stat looks in the scope.
func (s scoped) Stat(ctx context.Context, name string) (blob.Info, error) {
	info, err := s.next.Stat(ctx, s.in(name))
	info.Name = name
	return info, err
}

// Delete removes in the scope.
func (s scoped) Delete(ctx context.Context, name string) error { return s.next.Delete(ctx, s.in(name)) }

// List lists the scope alone.
func (s scoped) List(ctx context.Context, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range s.next.List(ctx, s.in(after)) {
			if err == nil && !strings.HasPrefix(info.Name, s.begin) {
				return
			}
			if err == nil {
				info.Name = s.out(info.Name)
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// Classify is the driver's.
func (s scoped) Classify(err error) fail.Kind { return s.next.Classify(err) }
