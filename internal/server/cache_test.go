package server_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

const helloPath = "/v2/library/app/blobs/sha256:" + helloHash

func pushHello(t *testing.T, url string) {
	t.Helper()
	a, err := do(t, http.DefaultClient, http.MethodPost, url+"/v2/library/app/blobs/uploads/?digest=sha256:"+helloHash, strings.NewReader("hello"), basic()...)
	if err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("push: %v %v", err, a)
	}
}

func TestASecondPullComesFromTheReadCache(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	r := start(t, "HAVN_STORAGE_CACHE_PATH="+dir, "HAVN_METRICS_ADDR=127.0.0.1:0")
	pushHello(t, r.URL())
	await(t, "a pull from the copy", func() bool {
		if a := get(t, r.URL()+helloPath, basic()...); a.StatusCode != http.StatusOK || a.body != "hello" {
			t.Fatalf("pull: %s %q", a.Status, a.body)
		}
		return !strings.Contains(get(t, "http://"+r.MetricsAddr().String()+"/metrics").body, `havn_read_cache_reads_total{result="hit"} 0`)
	})
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "copies", "*"))
	if err != nil || len(files) != 1 {
		t.Errorf("copies %v, %v; want one", files, err)
	}
}

func TestANodeWhoseCacheCantBeUsedServesWithoutIt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	mustWrite(t, file, "x")
	r := start(t, "HAVN_STORAGE_CACHE_PATH="+file)
	pushHello(t, r.URL())
	if a := get(t, r.URL()+helloPath, basic()...); a.StatusCode != http.StatusOK || a.body != "hello" {
		t.Errorf("pull: %s %q", a.Status, a.body)
	}
	if lines := r.log.lines("this node serves without a read cache"); len(lines) != 1 || lines[0]["hint"] == "" {
		t.Errorf("log: %v", lines)
	}
}
