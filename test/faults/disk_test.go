package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/request"
)

// disk is a file system of a certain size in memory, which goes with the test.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(harness.Folder(t), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a tmpfs: %v; this test has to run as root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// mounted is a directory on a file system in user space of a type, which goes with the test.
func mounted(t *testing.T, kind string) string {
	t.Helper()
	dir := filepath.Join(harness.Folder(t), "mounted")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := fs.NewLoopbackRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{DirectMountStrict: true, AllowOther: true, FsName: "user@host:", Name: kind}})
	if err != nil {
		t.Fatalf("mount a file system in user space: %v; this needs root and /dev/fuse", err)
	}
	t.Cleanup(func() {
		if unmountErr := syscall.Unmount(dir, syscall.MNT_DETACH); unmountErr != nil {
			t.Error(unmountErr)
		}
		server.Wait()
	})
	return dir
}

// refusal is the specification's form of an error.
type refusal struct {
	Errors []struct{ Code, Message string }
}

func wantRefusal(t *testing.T, a request.Answer, err error, status int) {
	t.Helper()
	if a.Status == 0 {
		t.Fatalf("no answer: %v", err)
	}
	var r refusal
	if jsonErr := json.Unmarshal(a.Text, &r); a.Status != status || jsonErr != nil || len(r.Errors) == 0 || r.Errors[0].Code == "" {
		t.Errorf("answer %d: %s, want %d with an error of the specification's form", a.Status, a.Text, status)
	}
}

// pulls looks at an image that was pushed before.
func pulls(t *testing.T, c *client, m image) {
	t.Helper()
	newLedger().whole(t, c, m.repo+":"+m.tag, m)
}

func TestAFullDiskRefusesPushesAndServesPulls(t *testing.T) {
	t.Parallel()
	// The blobs alone are on the small disk.
	blobs := disk(t, "24m")
	s, l := harness.Start(t, harness.Options{Env: []string{"HAVN_STORAGE_FILESYSTEM_PATH=" + filepath.Join(blobs, "blobs"), "HAVN_STORAGE_LOW_DISK=0"}}), newLedger()
	c := &client{s.HTTP(), s.URL}
	source := rand.New(rand.NewPCG(1, 1))
	m := newImage(source, "faults/app0", "before")
	if err := l.push(t.Context(), c, source, m); err != nil {
		t.Fatal(err)
	}
	big := noise(source, 32<<20)
	// The answer comes while the client still sends, and Go's client may find the connection closed before it finds the answer: then it asks again.
	for answers, tries := 0, 0; answers < 3 && !t.Failed(); tries++ {
		a, err := c.do(t.Context(), http.MethodPost, "/v2/faults/app0/blobs/uploads/?digest="+request.Digest(big), request.Octets, big, http.StatusCreated)
		if a.Status == 0 && tries < 50 {
			continue
		}
		wantRefusal(t, a, err, http.StatusInsufficientStorage)
		answers++
	}
	pulls(t, c, m)
	// What was refused left no bytes behind that would keep the disk full.
	after := newImage(source, "faults/app0", "after")
	if err := l.push(t.Context(), c, source, after); err != nil {
		t.Errorf("a small push after the large ones: %v", err)
	}
	// A node that has to start meanwhile serves what is there.
	empty := fill(t, blobs, 0)
	s.Kill(t)
	s.Again(t)
	l.check(t, s)
	c = &client{s.HTTP(), s.URL}
	a, err := c.do(t.Context(), http.MethodPost, "/v2/faults/app0/blobs/uploads/?digest="+request.Digest([]byte("more")), request.Octets, []byte("more"), http.StatusCreated)
	wantRefusal(t, a, err, http.StatusInsufficientStorage)
	empty()
	if err = l.push(t.Context(), c, source, newImage(source, "faults/app0", "last")); err != nil {
		t.Errorf("a push when there is room again: %v", err)
	}
	l.check(t, s)
}

func TestNearlyFullIsRefusedEarly(t *testing.T) {
	t.Parallel()
	data := filepath.Join(harness.Folder(t), "data")
	s, l := harness.Start(t, harness.Options{Data: data}), newLedger()
	c := &client{s.HTTP(), s.URL}
	source := rand.New(rand.NewPCG(1, 2))
	m := newImage(source, "faults/app0", "before")
	if err := l.push(t.Context(), c, source, m); err != nil {
		t.Fatal(err)
	}
	s.Finish(t)
	s = harness.Start(t, harness.Options{Data: data, Env: []string{"HAVN_STORAGE_LOW_DISK=1024TiB"}})
	c = &client{s.HTTP(), s.URL}
	a, err := c.do(t.Context(), http.MethodPost, "/v2/faults/app0/blobs/uploads/", "", nil, http.StatusAccepted)
	wantRefusal(t, a, err, http.StatusInsufficientStorage)
	pulls(t, c, m)
	if _, err = c.do(t.Context(), http.MethodDelete, "/v2/faults/app0/manifests/"+m.digest, "", nil, http.StatusAccepted); err != nil {
		t.Errorf("delete with little room: %v", err)
	}
}

func TestAReadOnlyStoreRefusesPushesAndServesPulls(t *testing.T) {
	t.Parallel()
	blobs := disk(t, "64m")
	s, l := harness.Start(t, harness.Options{Env: []string{"HAVN_STORAGE_FILESYSTEM_PATH=" + filepath.Join(blobs, "blobs"), "HAVN_STORAGE_LOW_DISK=0"}}), newLedger()
	c := &client{s.HTTP(), s.URL}
	source := rand.New(rand.NewPCG(1, 3))
	m := newImage(source, "faults/app0", "before")
	if err := l.push(t.Context(), c, source, m); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", blobs, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	data := []byte("more")
	a, err := c.do(t.Context(), http.MethodPost, "/v2/faults/app0/blobs/uploads/?digest="+request.Digest(data), request.Octets, data, http.StatusCreated)
	wantRefusal(t, a, err, http.StatusServiceUnavailable)
	pulls(t, c, m)
	if err = syscall.Mount("", blobs, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	if err = l.push(t.Context(), c, source, newImage(source, "faults/app0", "after")); err != nil {
		t.Errorf("a push when it can be written again: %v", err)
	}
	l.check(t, s)
}

// TestAnUnmountedStoreIsNotTakenForAnEmptyOne unmounts the store under a server. The directory under its mount point looks like a store too, as after a start without the mount.
func TestAnUnmountedStoreIsNotTakenForAnEmptyOne(t *testing.T) {
	t.Parallel()
	kept, at := disk(t, "64m"), filepath.Join(harness.Folder(t), "mount")
	for i := range 256 {
		must(t, os.MkdirAll(filepath.Join(at, "blobs", "objects", fmt.Sprintf("%02x", i)), 0o700))
	}
	mount := func() {
		t.Helper()
		must(t, syscall.Mount(kept, at, "", syscall.MS_BIND, ""))
	}
	mount()
	mounted := true
	unmount := func() {
		if mounted {
			mounted = false
			must(t, syscall.Unmount(at, syscall.MNT_DETACH))
		}
	}
	t.Cleanup(unmount)
	s, l := harness.Start(t, harness.Options{Env: []string{"HAVN_STORAGE_FILESYSTEM_PATH=" + filepath.Join(at, "blobs"), "HAVN_STORAGE_LOW_DISK=0"}}), newLedger()
	c := &client{s.HTTP(), s.URL}
	source := rand.New(rand.NewPCG(1, 5))
	must(t, l.push(t.Context(), c, source, newImage(source, "faults/app0", "before")))
	unmount()
	data := []byte("more")
	a, err := c.do(t.Context(), http.MethodPost, "/v2/faults/app0/blobs/uploads/?digest="+request.Digest(data), request.Octets, data, http.StatusCreated)
	wantRefusal(t, a, err, http.StatusServiceUnavailable)
	for digest, repo := range l.blobs {
		a, err = c.do(t.Context(), http.MethodGet, "/v2/"+repo+"/blobs/"+digest, "", nil, http.StatusOK)
		wantRefusal(t, a, err, http.StatusServiceUnavailable)
	}
	mount()
	mounted = true
	l.check(t, s)
	must(t, l.push(t.Context(), c, source, newImage(source, "faults/app0", "after")))
	l.check(t, s)
}

// deprived takes away root's right to pass over permissions.
var deprived = []string{"setpriv", "--bounding-set=-dac_override,-dac_read_search"}

func TestAStoreWithoutPermissionRefusesPushesAndServesPulls(t *testing.T) {
	t.Parallel()
	s, l := harness.Start(t, harness.Options{Wrap: deprived}), newLedger()
	c := &client{s.HTTP(), s.URL}
	source := rand.New(rand.NewPCG(1, 4))
	m := newImage(source, "faults/app0", "before")
	if err := l.push(t.Context(), c, source, m); err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob(filepath.Join(s.Data, "blobs", "objects", "*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no folders of objects: %v", err)
	}
	permit := func(mode os.FileMode) {
		t.Helper()
		for _, folder := range folders {
			if err = os.Chmod(folder, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	permit(0o500)
	data := []byte("more")
	a, err := c.do(t.Context(), http.MethodPost, "/v2/faults/app0/blobs/uploads/?digest="+request.Digest(data), request.Octets, data, http.StatusCreated)
	wantRefusal(t, a, err, http.StatusServiceUnavailable)
	if !strings.Contains(s.Log(), "permission denied") {
		t.Error("the log does not say why")
	}
	pulls(t, c, m)
	permit(0o700)
	if err = l.push(t.Context(), c, source, newImage(source, "faults/app0", "after")); err != nil {
		t.Errorf("a push when it can be written again: %v", err)
	}
	l.check(t, s)
}

func TestADirectoryThatCannotBeUsedIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T) string
		says    string
	}{
		{"read-only", func(t *testing.T) string {
			dir := disk(t, "1m")
			if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "data")
		}, "read-only"},
		{"without permission", func(t *testing.T) string {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o500); err != nil {
				t.Fatal(err)
			}
			return dir
		}, "permission denied"},
		{"full", func(t *testing.T) string {
			dir := disk(t, "64k")
			f, err := os.Create(filepath.Join(dir, "filler"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = f.Write(make([]byte, 128<<10)); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("the disk does not fill: %v", err)
			}
			if err = f.Close(); err != nil {
				t.Fatal(err)
			}
			return dir
		}, "no space left"},
		{"of another machine", func(t *testing.T) string { return mounted(t, "sshfs") }, "can't be on sshfs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := harness.Launch(t, harness.Spawn{
				Name: "havn", Dir: t.TempDir(), Argv: append(append([]string{}, deprived...), harness.Binary(t), "serve"),
				Env: []string{"PATH=" + os.Getenv("PATH"), "HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_DATA_DIR=" + c.prepare(t)},
			})
			select {
			case <-p.Ended():
			case <-time.After(harness.Patience):
				t.Fatal("it goes on")
			}
			if log := p.Log(); !strings.Contains(log, c.says) || strings.Contains(log, "goroutine") {
				t.Errorf("it says %q, want %q in it", log, c.says)
			}
		})
	}
}
