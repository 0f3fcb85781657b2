package stores

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/blob/swift"
	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// swiftConfig answers that of a driver on the Ceph, with objects under a prefix of their own.
func swiftConfig(t *testing.T, c *lab.Ceph, prefix string) swift.Config {
	t.Helper()
	auth, err := url.Parse(c.SwiftAuthURL())
	if err != nil {
		t.Fatal(err)
	}
	client, err := egress.NewStream(egress.StreamConfig{NoProgress: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	pool, err := parts.NewPool(16<<20, t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return swift.Config{
		AuthURL: auth, Username: lab.SwiftUser, Password: lab.SwiftKey, Containers: []string{"registry.example.com"}, Create: true,
		Prefix: prefix, Pool: pool, HTTP: client, Clock: time.Now,
	}
}

func openSwift(t *testing.T, c swift.Config) blob.Driver {
	t.Helper()
	d, err := swift.New(t.Context(), c)
	need(t, err)
	return d
}

func TestSuiteOnSwift(t *testing.T) {
	c := ceph(t)
	var made atomic.Int64
	for _, containers := range [][]string{{"registry.example.com"}, {"shard-a", "shard-b", "shard-c"}} {
		t.Run(fmt.Sprintf("%dContainers", len(containers)), func(t *testing.T) {
			t.Parallel()
			at := func() swift.Config {
				conf := swiftConfig(t, c, fmt.Sprintf("suite/%d", made.Add(1)))
				conf.Containers = containers
				return conf
			}
			again := at()
			blobtest.Run(t, func(t *testing.T) blob.Driver {
				if strings.HasSuffix(t.Name(), "ObjectsOutliveTheDriver") {
					return openSwift(t, again)
				}
				return openSwift(t, at())
			}, func(t *testing.T, _ blob.Driver) blob.Driver { return openSwift(t, again) })
		})
	}
}

// swiftReader is a subuser that may only read.
const swiftReader = "registry:reader"

var madeReader sync.Once

func makeReader(t *testing.T, c *lab.Ceph) {
	t.Helper()
	madeReader.Do(func() {
		err := c.GatewayAdmin(t.Context(), "subuser", "create", "--uid=registry", "--subuser="+swiftReader, "--access=read", "--key-type=swift", "--secret-key="+lab.SwiftKey)
		if err != nil {
			t.Error(err)
		}
	})
}

func swiftPut(t *testing.T, d blob.Driver, data []byte) string {
	t.Helper()
	name := blobtest.Store(d).NewName()
	if _, err := d.Put(t.Context(), name, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return name
}

func swiftRead(t *testing.T, d blob.Driver, name string) string {
	t.Helper()
	r, err := d.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if closeErr := r.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	return string(body)
}

func TestASwiftObjectIsOneObjectOfItsTrueSize(t *testing.T) {
	c := ceph(t)
	d := openSwift(t, swiftConfig(t, c, "whole"))
	name := swiftPut(t, d, blobtest.Noise(1, 20<<20))
	list := string(wantSwift(t, c, http.MethodGet, "/registry.example.com?format=json&prefix=whole/", nil, http.StatusOK))
	if strings.Count(list, `"name"`) != 1 || !strings.Contains(list, name) || !strings.Contains(list, `"bytes":20971520`) {
		t.Errorf("the container's list is %s", list)
	}
	whole := wantSwift(t, c, http.MethodGet, "/registry.example.com/whole/"+name, nil, http.StatusOK)
	if string(whole) != string(blobtest.Noise(1, 20<<20)) {
		t.Error("another client reads other bytes")
	}
}

// TestASwiftWriteOutlivesTheGateway kills radosgw before an object's first byte, in its middle and behind its last, and lets it hang for a while.
func TestASwiftWriteOutlivesTheGateway(t *testing.T) {
	c := ceph(t)
	d := openSwift(t, swiftConfig(t, c, "outlives"))
	want := blobtest.Noise(4, 12<<20)
	restart := func() error { return c.Gateway.Restart(context.WithoutCancel(t.Context())) }
	for what, fault := range map[string]struct {
		at int
		do func() error
	}{
		"before its first byte": {0, restart}, "in its middle": {len(want) / 2, restart}, "behind its last byte": {len(want), restart},
		"in its middle, hanging": {len(want) / 2, func() error {
			if err := c.Gateway.Pause(); err != nil {
				return err
			}
			time.Sleep(2 * time.Second) // how long it hangs
			return c.Gateway.Resume()
		}},
	} {
		over := make(chan error, 1)
		begin := &trigger{do: func() {
			go func() { over <- fault.do() }()
		}}
		in := io.MultiReader(bytes.NewReader(want[:fault.at]), begin, bytes.NewReader(want[fault.at:]))
		name := blobtest.Store(d).NewName()
		w, err := d.Put(t.Context(), name, -1, in)
		if begin.done {
			if faultErr := <-over; faultErr != nil {
				t.Fatal(faultErr)
			}
		}
		if err != nil || w.Size != int64(len(want)) {
			t.Errorf("%s: %d bytes, %v", what, w.Size, err)
			continue
		}
		if swiftRead(t, d, name) != string(want) {
			t.Errorf("%s: other bytes", what)
		}
	}
	n := 0
	for info, err := range d.List(t.Context(), "") {
		if err != nil || info.Size != int64(len(want)) {
			t.Errorf("%s is listed with %d bytes, %v", info.Name, info.Size, err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d objects are listed, want 4", n)
	}
}

func TestSegmentsOfOtherProgramsGoWithTheirObject(t *testing.T) {
	c := ceph(t)
	d := openSwift(t, swiftConfig(t, c, "large"))
	put := func(path, body string, header ...string) {
		t.Helper()
		wantSwift(t, c, http.MethodPut, "/registry.example.com/large/"+path, []byte(body), http.StatusCreated, header...)
	}
	for _, name := range []string{"segments/a/1", "segments/a/2", "segments/b/1", "segments/b/2", "stays"} {
		put(name, "segment "+name[len(name)-1:])
	}
	put("dynamic", "", "X-Object-Manifest", "registry.example.com/large/segments/a/")
	put("static?multipart-manifest=put", `[{"path":"/registry.example.com/large/segments/b/1","size_bytes":9},{"path":"/registry.example.com/large/segments/b/2","size_bytes":9}]`)
	for _, name := range []string{"dynamic", "static"} {
		if info, err := d.Stat(t.Context(), name); err != nil || info.Size != 18 {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
		if got := swiftRead(t, d, name); got != "segment 1segment 2" {
			t.Errorf("%s: %q", name, got)
		}
		if err := d.Delete(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	var left []string
	for info, err := range d.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, info.Name)
	}
	if !slices.Equal(left, []string{"stays"}) {
		t.Errorf("left are %v", left)
	}
}

func TestContainersMayBeAddedToSwift(t *testing.T) {
	c := ceph(t)
	conf := swiftConfig(t, c, "added")
	conf.Containers = []string{"added-a"}
	d := openSwift(t, conf)
	var all []string
	for i := range 12 {
		all = append(all, swiftPut(t, d, []byte{byte(i)}))
	}
	conf.Containers = []string{"added-a", "added-b", "added-c"}
	conf.TempURLKey = "key-of-the-account"
	d = openSwift(t, conf)
	signer, ok := d.(blob.Signer)
	if !ok {
		t.Fatal("the driver signs no URLs")
	}
	for i, name := range all {
		if got := swiftRead(t, d, name); got != string([]byte{byte(i)}) {
			t.Errorf("%s: %q", name, got)
		}
		at, err := signer.SignGet(t.Context(), name, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := fetch(t, at, ""); status != http.StatusOK || body != string([]byte{byte(i)}) {
			t.Errorf("%s by a signed URL: %d %q", name, status, body)
		}
		if err = d.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, err = d.Stat(t.Context(), name); !fail.Is(err, fail.NotFound) {
			t.Errorf("%s after its delete: %v", name, err)
		}
	}
}

func fetch(t *testing.T, at, ranges string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranges != "" {
		r.Header.Set("Range", ranges)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if closeErr := answer.Body.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	return answer.StatusCode, string(body)
}

func TestASignedSwiftURLReadsOneObjectForAWhile(t *testing.T) {
	c := ceph(t)
	conf := swiftConfig(t, c, "signed")
	conf.TempURLKey = "key-of-the-account"
	d := openSwift(t, conf)
	signer, ok := d.(blob.Signer)
	if !ok {
		t.Fatal("the driver signs no URLs")
	}
	name, other := swiftPut(t, d, []byte("0123456789")), swiftPut(t, d, []byte("another"))
	at, err := signer.SignGet(t.Context(), name, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := fetch(t, at, ""); status != http.StatusOK || body != "0123456789" {
		t.Errorf("%d %q", status, body)
	}
	if status, body := fetch(t, at, "bytes=2-4"); status != http.StatusPartialContent || body != "234" {
		t.Errorf("a range: %d %q", status, body)
	}
	if status, body := fetch(t, strings.Replace(at, name, other, 1), ""); status != http.StatusForbidden && status != http.StatusUnauthorized {
		t.Errorf("another object by the same signature: %d %q", status, body)
	}
	past, err := signer.SignGet(t.Context(), name, -time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := fetch(t, past, ""); status != http.StatusUnauthorized {
		t.Errorf("a URL whose time is over: %d %q", status, body)
	}
	if _, unsigned := openSwift(t, swiftConfig(t, c, "signed")).(blob.Signer); unsigned {
		t.Error("a driver without a key for signed URLs says that it signs")
	}
}

func TestWrongSwiftSettingsSayWhatToDo(t *testing.T) {
	c := ceph(t)
	makeReader(t, c)
	openSwift(t, swiftConfig(t, c, "wrong")) // which makes the container
	for _, tt := range []struct {
		name   string
		change func(*swift.Config)
		kind   fail.Kind
		text   string
		hint   string
	}{
		{"wrong key", func(c *swift.Config) { c.Password = "wrong" }, fail.Unavailable, "log in to Swift", "storage.swift.password"},
		{"unknown user", func(c *swift.Config) { c.Username = "nobody:swift" }, fail.Unavailable, "as nobody:swift", "radosgw-admin subuser create"},
		{"a user who may only read", func(c *swift.Config) { c.Username = swiftReader }, fail.Unavailable, "403", "--access=full"},
		{"no such container", func(c *swift.Config) { c.Containers, c.Create = []string{"not-there"}, false }, fail.NotFound, "not-there is not there", "swift post not-there"},
		{"a name that is too short", func(c *swift.Config) { c.Containers = []string{"ab"} }, fail.Invalid, "the container ab", "3 to 255"},
		{"a path that is no authentication", func(c *swift.Config) { c.AuthURL = c.AuthURL.JoinPath("..", "..", "nowhere", "v1") }, fail.Unavailable, "log in", "storage.swift.auth_url"},
		{"a path without a version", func(c *swift.Config) { c.AuthURL = c.AuthURL.JoinPath("..", "..", "identity") }, fail.Invalid, "version", "storage.swift.auth_version"},
		{"version 3 of a server without", func(c *swift.Config) { c.AuthVersion = 3 }, fail.Unavailable, "log in", "storage.swift.auth_version"},
		{"nobody listens", func(c *swift.Config) {
			c.AuthURL = &url.URL{Scheme: "http", Host: "127.255.255.1:7480", Path: "/auth/v1"}
		}, fail.Unavailable, "refused", "nobody listens there"},
		{"TLS where there is none", func(c *swift.Config) { c.AuthURL = c.AuthURL.JoinPath(); c.AuthURL.Scheme = "https" }, fail.Unavailable, "log in", "http://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conf := swiftConfig(t, c, "wrong")
			tt.change(&conf)
			_, err := swift.New(t.Context(), conf)
			if !fail.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) || !strings.Contains(fail.HintOf(err), tt.hint) {
				t.Errorf("%v (%v)\nhint: %s\nwant %q, hint %q", err, fail.KindOf(err), fail.HintOf(err), tt.text, tt.hint)
			}
		})
	}
}

func TestAFullSwiftQuotaIsExhausted(t *testing.T) {
	c := ceph(t)
	conf := swiftConfig(t, c, "quota")
	conf.Containers = []string{"quota"}
	d := openSwift(t, conf)
	swiftPut(t, d, []byte("the only one"))
	quota := func(args ...string) {
		t.Helper()
		if err := c.GatewayAdmin(context.Background(), append([]string{"quota"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	quota("set", "--quota-scope=bucket", "--uid=registry", "--max-objects=1")
	quota("enable", "--quota-scope=bucket", "--uid=registry")
	t.Cleanup(func() {
		quota("disable", "--quota-scope=bucket", "--uid=registry")
		if err := c.Gateway.Restart(context.Background()); err != nil {
			t.Error(err)
		}
	})
	// radosgw remembers a user, and what he has, for a while.
	if err := c.Gateway.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := d.Put(t.Context(), blobtest.Store(d).NewName(), -1, strings.NewReader("one too many"))
	if !fail.Is(err, fail.Exhausted) {
		t.Errorf("%v (%v)", err, fail.KindOf(err))
	}
}
