package stores

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/test/harness"
)

const (
	// manyUploads at once must fit into mostMemory: what a node promises for stores that want parts.
	manyUploads = 200
	mostMemory  = 250 << 20
	// inDirectory is the promise of the embedded default, which writes as it reads: this much, and perUpload for each upload under way.
	inDirectory = 64 << 20
	perUpload   = 512 << 10
	// gibibyte of content in one blob must take no more than small ones do.
	gibibyte = 1 << 30
)

// gate lets readers through when all have come to it.
type gate struct {
	left sync.WaitGroup
}

// held is a body that stops in its middle until all others are there too.
type held struct {
	io.Reader
	gate *gate
	at   *bool
}

// Read reads on, and waits once where the first half ends.
func (h held) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if err == io.EOF && !*h.at {
		*h.at = true
		h.gate.left.Done()
		h.gate.left.Wait()
	}
	return n, err
}

func TestMemoryStaysFlatUnderManyUploads(t *testing.T) {
	c := ceph(t)
	for name, env := range map[string][]string{"S3": s3Env(t, c), "Swift": swiftEnv(c), "Azure": startAzurite(t).env()} {
		t.Run(name, func(t *testing.T) { flat(t, env, mostMemory) })
	}
}

// TestMemoryOfTheEmbeddedDefault holds SQLite and a directory to what they promise.
func TestMemoryOfTheEmbeddedDefault(t *testing.T) {
	t.Run("ManyUploads", func(t *testing.T) { flat(t, nil, inDirectory+manyUploads*perUpload) })
	t.Run("LargeBlobs", large)
}

// flat holds many uploads in their middle, more than fit in memory, and then lets all of them end.
func flat(t *testing.T, env []string, most int64) {
	t.Helper()
	s := harness.Start(t, harness.Options{Env: env})
	data := blobtest.Noise(9, 5<<18)
	half := len(data) / 2
	g := &gate{}
	g.left.Add(manyUploads)
	c := newClient(t, s)
	c.http.Timeout = 0 // they wait for each other, and for a machine that may have other things to do
	var all sync.WaitGroup
	for i := range manyUploads {
		all.Go(func() {
			mine := append([]byte(fmt.Sprint(i)), data...)
			at := false
			body := io.MultiReader(held{bytes.NewReader(mine[:half]), g, &at}, bytes.NewReader(mine[half:]))
			err := c.upload(t, mine, body)
			if !at { // it broke off before its middle: the others must not wait for it
				g.left.Done()
			}
			for tries := 0; err != nil && tries < 3; tries++ {
				t.Logf("upload %d, again after %v", i, err) // as clients do, where the machine is so busy that the store does not answer in time
				err = c.upload(t, mine, bytes.NewReader(mine))
			}
			if err != nil {
				t.Errorf("upload %d: %v", i, err)
			}
		})
	}
	began := time.Now()
	all.Wait()
	peak := peakMemory(t, s.PID())
	t.Logf("%d uploads at once took %s and %d MiB of memory at most", manyUploads, time.Since(began).Round(time.Second), peak>>20)
	if peak > most {
		t.Errorf("%d MiB of memory, more than %d", peak>>20, most>>20)
	}
}

// large pushes and pulls some blobs of a gibibyte at once.
func large(t *testing.T) {
	const blobs = 3
	s := harness.Start(t, harness.Options{})
	c := newClient(t, s)
	c.http.Timeout = 0 // a slow disk may take its time
	piece := blobtest.Noise(11, 1<<20)
	began := time.Now()
	var all sync.WaitGroup
	for i := range blobs {
		all.Go(func() {
			digest, err := c.pushLarge(t, byte(i), piece)
			if err == nil {
				err = c.pullLarge(t, digest)
			}
			if err != nil {
				t.Errorf("blob %d: %v", i, err)
			}
		})
	}
	all.Wait()
	peak, most := peakMemory(t, s.PID()), int64(inDirectory+blobs*perUpload)
	t.Logf("%d blobs of 1 GiB at once took %s and %d MiB of memory at most", blobs, time.Since(began).Round(time.Second), peak>>20)
	if peak > most {
		t.Errorf("%d MiB of memory, more than %d", peak>>20, most>>20)
	}
}

// pushLarge sends a gibibyte that begins with a byte and then repeats a piece, and answers its digest.
func (c *client) pushLarge(t *testing.T, first byte, piece []byte) (string, error) {
	parts := []io.Reader{bytes.NewReader([]byte{first})}
	for sent := 1; sent < gibibyte; sent += len(piece) {
		parts = append(parts, bytes.NewReader(piece[:min(len(piece), gibibyte-sent)]))
	}
	sum := sha256.New()
	at, err := c.want(t, http.StatusAccepted, http.MethodPost, "/v2/stores/large/blobs/uploads/", nil)
	if err == nil {
		at, err = c.want(t, http.StatusAccepted, http.MethodPatch, at, io.TeeReader(io.MultiReader(parts...), sum))
	}
	digest := fmt.Sprintf("sha256:%x", sum.Sum(nil))
	if err == nil {
		_, err = c.want(t, http.StatusCreated, http.MethodPut, at+"?digest="+url.QueryEscape(digest), nil)
	}
	return digest, err
}

// pullLarge reads a blob of a gibibyte and compares its digest.
func (c *client) pullLarge(t *testing.T, digest string) error {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.s.URL+"/v2/stores/large/blobs/"+digest, nil)
	if err != nil {
		return err
	}
	r.SetBasicAuth(harness.User, harness.Password)
	answer, err := c.http.Do(r)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, answer.Body)
	err = errors.Join(err, answer.Body.Close())
	if got := fmt.Sprintf("sha256:%x", sum.Sum(nil)); err != nil || n != gibibyte || got != digest {
		return fmt.Errorf("pulled %d bytes of %s with status %d, want %d of %s: %w", n, got, answer.StatusCode, gibibyte, digest, err)
	}
	return nil
}

// upload sends a blob in three requests.
func (c *client) upload(t *testing.T, data []byte, body io.Reader) error {
	location, err := c.want(t, http.StatusAccepted, http.MethodPost, "/v2/stores/many/blobs/uploads/", nil)
	if err == nil {
		location, err = c.want(t, http.StatusAccepted, http.MethodPatch, location, body)
	}
	if err == nil {
		_, err = c.want(t, http.StatusCreated, http.MethodPut, location+"?digest="+url.QueryEscape(digestOf(data)), nil)
	}
	return err
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMemory answers the most that a process ever had resident.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := highWater.FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
