package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/havn-registry/havn/test/harness"
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

// refusal is the specification's form of an error.
type refusal struct {
	Errors []struct{ Code, Message string }
}

func wantRefusal(t *testing.T, res *http.Response, text []byte, err error, status int) {
	t.Helper()
	if res == nil {
		t.Fatalf("no answer: %v", err)
	}
	var r refusal
	if jsonErr := json.Unmarshal(text, &r); res.StatusCode != status || jsonErr != nil || len(r.Errors) == 0 || r.Errors[0].Code == "" {
		t.Errorf("answer %s: %s, want %d with an error of the specification's form", res.Status, text, status)
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
	for range 3 {
		res, text, err := c.do(t.Context(), http.MethodPost, "/v2/faults/app0/blobs/uploads/?digest="+digestOf(big), "application/octet-stream", big, http.StatusCreated)
		wantRefusal(t, res, text, err, http.StatusInsufficientStorage)
	}
	pulls(t, c, m)
	// What was refused left no bytes behind that would keep the disk full.
	after := newImage(source, "faults/app0", "after")
	if err := l.push(t.Context(), c, source, after); err != nil {
		t.Errorf("a small push after the large ones: %v", err)
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
	res, text, err := c.do(t.Context(), http.MethodPost, "/v2/faults/app0/blobs/uploads/", "", nil, http.StatusAccepted)
	wantRefusal(t, res, text, err, http.StatusInsufficientStorage)
	pulls(t, c, m)
	if _, _, err = c.do(t.Context(), http.MethodDelete, "/v2/faults/app0/manifests/"+m.digest, "", nil, http.StatusAccepted); err != nil {
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
	res, text, err := c.do(t.Context(), http.MethodPost, "/v2/faults/app0/blobs/uploads/?digest="+digestOf(data), "application/octet-stream", data, http.StatusCreated)
	wantRefusal(t, res, text, err, http.StatusServiceUnavailable)
	pulls(t, c, m)
	if err = syscall.Mount("", blobs, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	if err = l.push(t.Context(), c, source, newImage(source, "faults/app0", "after")); err != nil {
		t.Errorf("a push when it can be written again: %v", err)
	}
	l.check(t, s)
}

func TestADirectoryThatCannotBeWrittenIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	dir := disk(t, "1m")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "havn.log")
	p := harness.Launch(t, harness.Spawn{
		Name: "havn", Log: log, Dir: t.TempDir(), Argv: []string{harness.Binary(t), "serve"},
		Env: []string{"HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_DATA_DIR=" + filepath.Join(dir, "data")},
	})
	<-p.Ended()
	text, err := os.ReadFile(log)
	if err = errors.Join(err); err != nil || !strings.Contains(string(text), "read-only") || bytes.Contains(text, []byte("goroutine")) {
		t.Errorf("it says %s (%v)", text, err)
	}
}
