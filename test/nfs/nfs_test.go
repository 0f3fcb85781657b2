package nfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/filesystem"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fail.HintOf(err))
	}
}

// TestTheMountRemembers proves that the file system is as bad as it should be.
func TestTheMountRemembers(t *testing.T) {
	s := newShare(t)
	one, two := s.mount(t), s.mount(t)
	if _, err := os.Stat(filepath.Join(two, "late")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	need(t, os.WriteFile(filepath.Join(one, "late"), []byte("text"), 0o600))
	if _, err := os.Stat(filepath.Join(two, "late")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a mount does not remember that a name was absent: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(one, "late")); err != nil || string(text) != "text" {
		t.Errorf("the writer itself reads %q, %v", text, err)
	}
}

// TestTheSuitePassesOnASharedDirectory lets each object be written through one mount and, where the suite opens the store again, be read through another.
func TestTheSuitePassesOnASharedDirectory(t *testing.T) {
	s := newShare(t)
	one, two := s.mount(t), s.mount(t)
	number := 0
	names := map[blob.Driver]string{}
	blobtest.Run(t, func(t *testing.T) blob.Driver {
		number++
		name := fmt.Sprint("store", number)
		d, err := filesystem.New(filepath.Join(one, name))
		need(t, err)
		names[d] = name
		return d
	}, func(t *testing.T, d blob.Driver) blob.Driver {
		other, err := filesystem.New(filepath.Join(two, names[d]))
		need(t, err)
		return other
	})
}

// TestNodesServeEachOthersBlobs pushes through one node and pulls at once through the other, each on a mount of its own; then a blob is pushed that the other was asked for in vain.
func TestNodesServeEachOthersBlobs(t *testing.T) {
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	t.Cleanup(func() {
		if stopErr := m.Stop(); stopErr != nil {
			t.Error(stopErr)
		}
	})
	s := newShare(t)
	var nodes []*harness.Server
	for range 2 {
		nodes = append(nodes, harness.Start(t, harness.Options{Env: []string{
			"HAVN_DATABASE_ENGINE=mysql", "HAVN_DATABASE_HOSTS=" + m.Host, "HAVN_DATABASE_USER=" + lab.User, "HAVN_DATABASE_PASSWORD=" + lab.Password, "HAVN_DATABASE_NAME=" + lab.Database,
			"HAVN_STORAGE_FILESYSTEM_PATH=" + filepath.Join(s.mount(t), "blobs"), "HAVN_STORAGE_LOW_DISK=0",
		}}))
	}
	for round := range 20 {
		by, other := nodes[round%2], nodes[(round+1)%2]
		data := blobtest.Noise(uint64(round), 1+round*40_000)
		at := "/v2/nfs/app/blobs/" + digestOf(data)
		if status, _ := ask(t, http.MethodGet, other.URL+at, nil); status != http.StatusNotFound {
			t.Fatalf("a blob that nobody pushed: %d", status)
		}
		if status, text := ask(t, http.MethodPost, by.URL+"/v2/nfs/app/blobs/uploads/?digest="+digestOf(data), data); status != http.StatusCreated {
			t.Fatalf("push: %d: %s", status, text)
		}
		if status, text := ask(t, http.MethodGet, other.URL+at, nil); status != http.StatusOK || !bytes.Equal(text, data) {
			t.Fatalf("round %d: the other node answers %d with %d of %d bytes", round, status, len(text), len(data))
		}
		if status, text := ask(t, http.MethodDelete, other.URL+at, nil); status != http.StatusAccepted {
			t.Fatalf("delete: %d: %s", status, text)
		}
		if status, _ := ask(t, http.MethodGet, by.URL+at, nil); status != http.StatusNotFound {
			t.Errorf("a blob that was deleted through the other node: %d", status)
		}
	}
	for _, n := range nodes {
		n.Finish(t)
	}
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func ask(t *testing.T, method, address string, body []byte) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	need(t, err)
	r.SetBasicAuth(harness.User, harness.Password)
	if body != nil {
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	answer, err := http.DefaultClient.Do(r)
	need(t, err)
	text, err := io.ReadAll(answer.Body)
	need(t, errors.Join(err, answer.Body.Close()))
	return answer.StatusCode, text
}
