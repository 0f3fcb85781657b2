package scale

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	// startLimit is the target for the start, empty or with a million manifests. The quickest of some starts must keep it: a machine that is busy makes some of them slow, and whoever
	// reads a million rows makes all of them slow.
	startLimit = 300 * time.Millisecond
	starts     = 9
	// killedLog is how long SQLite's log is when the server is killed: it is copied from 4 MiB on.
	killedLog = 3 << 20
	// pageLimit bounds the deep page against the first: whoever skips 99,900 rows takes a hundred times as long, not three.
	pageTarget, pageLimit = 1.2, 3.0
	pages                 = 200
	// memoryTarget and memoryLimit are of the peak resident memory, in MiB.
	memoryTarget, memoryLimit = 64, 128
)

// push makes the repository, its two blobs and its first tag through the front door.
func push(t *testing.T, s *harness.Server) {
	t.Helper()
	for _, blob := range []string{config, layer} {
		res := ask(t, s, http.MethodPost, "/v2/"+deepRepo+"/blobs/uploads/?digest="+hexDigest([]byte(blob)), "application/octet-stream", blob)
		if res.status != http.StatusCreated {
			t.Fatalf("push a blob: %d %s", res.status, res.body)
		}
	}
	body, _ := manifestOf(deepRepo, 0)
	res := ask(t, s, http.MethodPut, "/v2/"+deepRepo+"/manifests/"+tagName(0), "application/vnd.oci.image.manifest.v1+json", string(body))
	if res.status != http.StatusCreated {
		t.Fatalf("push a manifest: %d %s", res.status, res.body)
	}
}

func hexDigest(content []byte) string { return "sha256:" + hex.EncodeToString(digestOf(content)[1:]) }

type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

var client = &http.Client{Timeout: 2 * time.Minute}

func ask(t *testing.T, s *harness.Server, method, path, contentType, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(harness.User, harness.Password)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	began := time.Now()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	took := time.Since(began)
	if closeErr := res.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, text, took}
}

func TestMillionManifests(t *testing.T) {
	s := server(t)
	t.Logf("%d manifests and tags", totalPushed)
	t.Run("StartIsQuick", func(t *testing.T) { startIsQuick(t, s) })
	t.Run("StartAfterAKillIsQuick", func(t *testing.T) { startAfterAKillIsQuick(t, s) })
	t.Run("PagesAreRightAndAlikeQuick", func(t *testing.T) { pagesAreRight(t, s) })
	t.Run("CatalogIsWhole", func(t *testing.T) { catalogIsWhole(t, s) })
	t.Run("MemoryIsBounded", func(t *testing.T) { memoryIsBounded(t, s) })
}

// quick looks at some starts, from the making of the process to the answer 200 of /readyz, which asks the stores.
func quick(t *testing.T, start func() *harness.Server) {
	t.Helper()
	var all []time.Duration
	for range starts {
		all = append(all, start().Startup)
	}
	slices.Sort(all)
	t.Logf("start to first answer: quickest %s, median %s", all[0], all[starts/2])
	if all[0] > startLimit {
		t.Errorf("the quickest of %d starts took %s, limit %s", starts, all[0], startLimit)
	}
}

// TestFirstStartIsQuick starts on nothing: the directories, the schema, the password's hash and the keys are made.
func TestFirstStartIsQuick(t *testing.T) {
	harness.Binary(t) // not to be built within the time
	quick(t, func() *harness.Server {
		s := harness.Start(t, harness.Options{})
		s.Kill(t)
		return s
	})
}

// startAfterAKillIsQuick starts on a log of SQLite that nobody copied into the database: it is read whole.
func startAfterAKillIsQuick(t *testing.T, s *harness.Server) {
	log := func() int64 {
		info, err := os.Stat(s.Data + "/havn.db-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	body, _ := manifestOf(deepRepo, 0)
	for i := 0; log() < killedLog; i++ {
		res := ask(t, s, http.MethodPut, fmt.Sprintf("/v2/%s/manifests/%s", deepRepo, tagName(i%deepTags)), "application/vnd.oci.image.manifest.v1+json", string(body))
		if res.status != http.StatusCreated {
			t.Fatalf("move a tag: %d %s", res.status, res.body)
		}
	}
	quick(t, func() *harness.Server {
		s.Kill(t)
		s.Again(t)
		return s
	})
	t.Logf("the log has %d KiB", log()>>10)
}

func startIsQuick(t *testing.T, s *harness.Server) {
	quick(t, func() *harness.Server {
		s.Finish(t)
		s.Again(t)
		return s
	})
	for _, tag := range []int{0, deepTags / 2, deepTags - 1} {
		body, _ := manifestOf(deepRepo, tag)
		a := ask(t, s, http.MethodGet, "/v2/"+deepRepo+"/manifests/"+tagName(tag), "", "")
		if a.status != http.StatusOK || string(a.body) != string(body) {
			t.Errorf("manifest of %s: %d %s", tagName(tag), a.status, a.body)
		}
	}
}

func pagesAreRight(t *testing.T, s *harness.Server) {
	const size = 100
	page := func(from int) time.Duration {
		path := fmt.Sprintf("/v2/%s/tags/list?n=%d", deepRepo, size)
		if from > 0 {
			path += "&last=" + tagName(from-1)
		}
		a := ask(t, s, http.MethodGet, path, "", "")
		var list struct{ Tags []string }
		if err := json.Unmarshal(a.body, &list); err != nil || a.status != http.StatusOK || len(list.Tags) != size || list.Tags[0] != tagName(from) || list.Tags[size-1] != tagName(from+size-1) {
			t.Fatalf("page from %d: %d %.200s (%v)", from, a.status, a.body, err)
		}
		if last := from+size == deepTags; last == (a.header.Get("Link") != "") {
			t.Fatalf("page from %d has Link %q", from, a.header.Get("Link"))
		}
		return a.took
	}
	var first, deep []time.Duration
	for range pages { // in turns, so that both meet the same noise
		first, deep = append(first, page(0)), append(deep, page(deepTags-size))
	}
	slices.Sort(first)
	slices.Sort(deep)
	ratio := float64(deep[pages/2]) / float64(first[pages/2])
	t.Logf("page of %d from %d tags: first %s, last %s (medians), ratio %.2f; target %.1f", size, deepTags, first[pages/2], deep[pages/2], ratio, pageTarget)
	if ratio > pageLimit {
		t.Errorf("the last page takes %.2f times as long as the first, limit %.1f", ratio, pageLimit)
	}
}

func catalogIsWhole(t *testing.T, s *harness.Server) {
	var all []string
	for path := "/v2/_catalog?n=250"; path != ""; {
		a := ask(t, s, http.MethodGet, path, "", "")
		var list struct{ Repositories []string }
		if err := json.Unmarshal(a.body, &list); err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: %d %s (%v)", path, a.status, a.body, err)
		}
		all = append(all, list.Repositories...)
		link, _, more := strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
		if path = link; !more {
			path = ""
		}
		if len(all) > otherRepos+1 {
			t.Fatalf("the catalog has no end: %d repositories by now", len(all))
		}
	}
	if len(all) != otherRepos+1 || !slices.IsSorted(all) {
		t.Errorf("the catalog has %d repositories, sorted: %v; want %d", len(all), slices.IsSorted(all), otherRepos+1)
	}
}

func memoryIsBounded(t *testing.T, s *harness.Server) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	var kib int64
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if _, err = fmt.Sscanf(rest, "%d kB", &kib); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("peak memory %d MiB; target %d", kib>>10, memoryTarget)
	if kib == 0 || kib>>10 > memoryLimit {
		t.Errorf("peak memory is %d MiB, limit %d", kib>>10, memoryLimit)
	}
}
