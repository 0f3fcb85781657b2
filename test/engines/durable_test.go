package engines

import (
	"context"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
)

// A primary waits for a synchronous standby that is not there, and shows what it committed alone: a client that asks whether its push or its deletion was done is not told so, because the standby,
// when it is promoted, knows nothing of it.
func TestWhatNoStandbyHasIsNotAcknowledgedByALook(t *testing.T) {
	t.Parallel()
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	long, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w := registrytest.Open(t, registrytest.Stores{Driver: memory.New(time.Now), Database: func() sqldb.Config {
		return sqldb.Config{Engine: sqldb.Postgres, Hosts: []string{p.Host}, User: lab.User, Password: lab.Password, Database: lab.Database}
	}}, nil)
	setting := func(text string) {
		t.Helper()
		need(t, p.Run(long, "ALTER SYSTEM "+text))
		need(t, p.Run(long, "SELECT pg_reload_conf()"))
	}
	// do does something with the time for so many commits that wait in vain.
	do := func(commits int, fn func(context.Context) error) error {
		ctx, done := context.WithTimeout(long, time.Duration(commits-1)*waited+time.Second)
		defer done()
		return fn(ctx)
	}
	refused := func(what string, doErr error) {
		t.Helper()
		if !fail.Is(doErr, fail.Unavailable) {
			t.Errorf("%s: %v", what, doErr)
		}
	}

	repo := registrytest.Name("waits/app")
	data, body := registrytest.Content("layer", 100), registrytest.Image("one", nil, "", registrytest.Content("config", 50))
	w.Push(t, repo, registrytest.Content("config", 50))
	w.Put(t, repo, oci.MediaTypeImageManifest, body, "old")
	u := w.Send(t, w.Start(t, repo, oci.SHA256), data)
	finish := func(ctx context.Context) error {
		_, doErr := w.Finish(ctx, repo, u.ID, registry.Finish{At: u.Offset, Digest: registrytest.Sum(data)})
		return doErr
	}
	put := func(ctx context.Context) error {
		_, doErr := w.TryPut(ctx, repo, oci.MediaTypeImageManifest, body, "new")
		return doErr
	}
	told := func(ctx context.Context) error {
		return w.TouchManifest(ctx, repo, registrytest.Ref("new"), registrytest.Sum(body), registry.ToPush)
	}
	stat := func(ctx context.Context) error {
		_, doErr := w.StatBlob(ctx, repo, registrytest.Sum(data), registry.ToPush)
		return doErr
	}
	remove := func(ctx context.Context) error { return w.DeleteTag(ctx, repo, registrytest.Tag("old")) }

	setting("SET synchronous_standby_names = 'absent'")
	for err == nil { // the setting takes a moment
		err = do(1, func(ctx context.Context) error {
			return w.DB.Tx(ctx, "test.empty", func(*sqldb.Tx) error { return nil })
		})
	}
	refused("wait for nobody", err)
	for _, c := range []struct {
		what  string
		write func(context.Context) error
		seen  func(context.Context) error // nil if it can be seen that it was done
		looks []func(context.Context) error
	}{
		{"finish an upload", finish, func(ctx context.Context) error {
			_, seenErr := w.StatBlob(ctx, repo, registrytest.Sum(data), registry.ToPull)
			return seenErr
		}, []func(context.Context) error{finish, stat}},
		{"put a manifest", put, func(ctx context.Context) error {
			_, seenErr := w.Manifest(ctx, repo, registrytest.Ref("new"))
			return seenErr
		}, []func(context.Context) error{told}},
		{"delete a tag", remove, func(ctx context.Context) error {
			if _, seenErr := w.Manifest(ctx, repo, registrytest.Ref("old")); !fail.Is(seenErr, fail.NotFound) {
				return fail.E(fail.Internal, seenErr, "the tag is there")
			}
			return nil
		}, []func(context.Context) error{remove}},
	} {
		refused(c.what, do(2, c.write))
		// The server shows it when it learned that nobody waits any more.
		for seenErr := c.seen(long); seenErr != nil; seenErr = c.seen(long) {
			if long.Err() != nil {
				t.Fatalf("%s, and it can't be seen that it was done: %v", c.what, seenErr)
			}
		}
		for i, look := range c.looks {
			if lookErr := do(1, look); !fail.Is(lookErr, fail.Unavailable) {
				t.Errorf("%s, then ask whether it was done (%d): %v", c.what, i, lookErr)
			}
		}
	}
	setting("RESET synchronous_standby_names")
	need(t, finish(long))
	need(t, stat(long))
	need(t, told(long))
	if err = remove(long); !fail.Is(err, fail.NotFound) {
		t.Errorf("delete a tag that is gone: %v", err)
	}
}
