package server_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/server"
)

func diagnose(t *testing.T, env ...string) ([]server.Finding, string) {
	t.Helper()
	c, data := configure(t, env...)
	return server.Diagnose(t.Context(), c), data
}

// find answers the findings about a subject with a status.
func find(all []server.Finding, subject string, status server.Status) string {
	var texts []string
	for _, f := range all {
		if f.Subject == subject && f.Status == status {
			texts = append(texts, f.Text+" → "+f.Hint)
		}
	}
	return strings.Join(texts, "\n")
}

func noneWrong(t *testing.T, all []server.Finding) {
	t.Helper()
	for _, f := range all {
		if f.Status == server.Wrong {
			t.Errorf("%+v", f)
		}
	}
}

func TestDoctorFindsNothingWrongBeforeTheFirstStartAndMakesNothing(t *testing.T) {
	t.Parallel()
	all, data := diagnose(t)
	noneWrong(t, all)
	mustBeAbsent(t, data)
	if find(all, "data_dir", server.Good) == "" || find(all, "address", server.Good) == "" {
		t.Errorf("%+v", all)
	}
}

func TestDoctorAsksTheRunningProcessAndLaterItsStores(t *testing.T) {
	t.Parallel()
	r := start(t)
	await(t, "the lock to say where it answers", func() bool {
		all, _ := diagnose(t, "HAVN_DATA_DIR="+r.data)
		noneWrong(t, all)
		return strings.Contains(find(all, "process", server.Good), r.URL()+" is ready") && strings.Contains(find(all, "lock", server.Good), "held by process") &&
			find(all, "database", server.Good) != "" && strings.Contains(find(all, "blobs", server.Good), "MiB are free")
	})
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	all, _ := diagnose(t, "HAVN_DATA_DIR="+r.data)
	noneWrong(t, all)
	for _, subject := range []string{"lock", "database", "blobs", "key", "address"} {
		if find(all, subject, server.Good) == "" {
			t.Errorf("nothing good about %s in %+v", subject, all)
		}
	}
	if err := os.Rename(filepath.Join(r.data, "blobs"), filepath.Join(r.data, "away")); err != nil {
		t.Fatal(err)
	}
	all, _ = diagnose(t, "HAVN_DATA_DIR="+r.data)
	if got := find(all, "blobs", server.Wrong); !strings.Contains(got, "is it mounted?") {
		t.Errorf("%q of %+v", got, all)
	}
	mustBeAbsent(t, filepath.Join(r.data, "blobs"))
}

// TestDoctorLooksAtTheStoresBeforeTheFirstStart: they may be there, and wrong, long before the data directory is.
func TestDoctorLooksAtTheStoresBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	all, data := diagnose(t, "HAVN_DATABASE_ENGINE=mysql", "HAVN_DATABASE_HOSTS=127.0.0.1:1", "HAVN_DATABASE_USER=havn", "HAVN_DATABASE_PASSWORD=havn", "HAVN_CLUSTER_SECRET=0123456789abcdef",
		"HAVN_STORAGE_DRIVER=s3", "HAVN_STORAGE_S3_ENDPOINT=http://127.0.0.1:1", "HAVN_STORAGE_S3_BUCKET=bucket", "HAVN_STORAGE_S3_ACCESS_KEY=a", "HAVN_STORAGE_S3_SECRET_KEY=b")
	mustBeAbsent(t, data)
	for _, subject := range []string{"database", "blobs"} {
		if got := find(all, subject, server.Wrong); !strings.Contains(got, "127.0.0.1:1") {
			t.Errorf("%s: %+v", subject, all)
		}
	}
}

// TestDoctorLooksAtTheDiskOfTheDatabase: nothing else watches it where the blobs are elsewhere.
func TestDoctorLooksAtTheDiskOfTheDatabase(t *testing.T) {
	t.Parallel()
	away := []string{"HAVN_STORAGE_DRIVER=s3", "HAVN_STORAGE_S3_ENDPOINT=http://127.0.0.1:1", "HAVN_STORAGE_S3_BUCKET=bucket", "HAVN_STORAGE_S3_ACCESS_KEY=a", "HAVN_STORAGE_S3_SECRET_KEY=b"}
	for free, want := range map[int64]server.Status{10 << 20: server.Wrong, 100 << 20: server.Warning, 1 << 40: server.Good} {
		c, data := configure(t, away...)
		if got := find(server.DiagnoseWithRoom(t.Context(), c, free), "disk", want); !strings.Contains(got, data) {
			t.Errorf("%d MiB: %q", free>>20, got)
		}
	}
	elsewhere := slices.Concat(away, []string{"HAVN_DATABASE_ENGINE=mysql", "HAVN_DATABASE_HOSTS=127.0.0.1:1", "HAVN_DATABASE_USER=havn", "HAVN_DATABASE_PASSWORD=havn", "HAVN_CLUSTER_SECRET=0123456789abcdef"})
	for free, want := range map[int64]server.Status{10 << 20: server.Warning, 1 << 40: server.Good} {
		c, data := configure(t, elsewhere...)
		if got := find(server.DiagnoseWithRoom(t.Context(), c, free), "disk", want); !strings.Contains(got, data) || strings.Contains(got, "deletes are refused") {
			t.Errorf("a database of its own, %d MiB: %q", free>>20, got)
		}
	}
	r := start(t)
	c, _ := configure(t, "HAVN_DATA_DIR="+r.data, "HAVN_STORAGE_LOW_DISK=1MiB")
	if got := server.DiagnoseWithRoom(t.Context(), c, 0); find(got, "disk", server.Wrong) != "" {
		t.Errorf("the disk that the blobs are on too: %+v", got)
	}
}

// TestDoctorLooksAtAddressesAsTheyAreListenedAt: [::] is that of IPv6 alone beside one of IPv4, so who has another address of IPv4 is not in its way.
func TestDoctorLooksAtAddressesAsTheyAreListenedAt(t *testing.T) {
	t.Parallel()
	taken, err := server.Listen(t, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(taken[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	all, _ := diagnose(t, "HAVN_HTTP_ADDR=127.0.0.2:"+port+",[::]:"+port)
	if got := find(all, "address", server.Wrong); got != "" {
		t.Error(got)
	}
	all, _ = diagnose(t, "HAVN_HTTP_ADDR=[::]:"+port)
	if got := find(all, "address", server.Wrong); !strings.Contains(got, "[::]:"+port) {
		t.Errorf("of both families: %q of %+v", got, all)
	}
}

func TestDoctorSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	issue(t, cert, key, 1, time.Now().Add(24*time.Hour))
	tls := []string{"HAVN_HTTP_TLS_CERTIFICATE=" + cert, "HAVN_HTTP_TLS_KEY=" + key}
	all, _ := diagnose(t, append(tls, "HAVN_HTTP_PUBLIC_URL=https://registry.example.com")...)
	if got := find(all, "certificate", server.Warning); !strings.Contains(got, "expires at") {
		t.Errorf("%q", got)
	}
	if got := find(all, "certificate", server.Wrong); !strings.Contains(got, "registry.example.com") {
		t.Errorf("%q", got)
	}
	issue(t, cert, key, 2, time.Now().Add(-time.Minute))
	all, _ = diagnose(t, tls...)
	if got := find(all, "certificate", server.Wrong); !strings.Contains(got, "expired at") || !strings.Contains(got, "renew it") {
		t.Errorf("%q", got)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	all, _ = diagnose(t, "HAVN_DATA_DIR="+open)
	if got := find(all, "data_dir", server.Warning); !strings.Contains(got, "chmod 700") {
		t.Errorf("%q", got)
	}
	r := start(t)
	all, _ = diagnose(t, "HAVN_HTTP_ADDR="+r.Addrs()[0].String())
	if got := find(all, "address", server.Wrong); !strings.Contains(got, "address already in use") {
		t.Errorf("%q", got)
	}
	file := filepath.Join(dir, "file")
	mustWrite(t, file, "not a database, however long it is looked at, and at least as long as a header of one, which is a hundred bytes")
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	all, _ = diagnose(t, "HAVN_DATA_DIR="+data, "HAVN_DATABASE_PATH="+file)
	if got := find(all, "database", server.Wrong); got == "" {
		t.Errorf("a file that is no database: %+v", all)
	}
}

func TestDoctorTriesTheSecretOfTheKeys(t *testing.T) {
	t.Parallel()
	const given = "HAVN_CLUSTER_SECRET=0123456789abcdef"
	r := start(t, given)
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env    string
		status server.Status
		want   string
	}{
		{given, server.Good, "tokens are signed with key"},
		{"HAVN_CLUSTER_SECRET=0123456789abcdeF", server.Wrong, "are sealed with another cluster secret"},
		{"HAVN_CLUSTER_SECRET=", server.Wrong, "are sealed, and this node has no cluster secret"},
	} {
		all, _ := diagnose(t, "HAVN_DATA_DIR="+r.data, c.env)
		if got := find(all, "key", c.status); !strings.Contains(got, c.want) {
			t.Errorf("%s: %+v", c.env, all)
		}
	}
	mustBeAbsent(t, filepath.Join(r.data, "cluster-secret"))
	mustWrite(t, filepath.Join(r.data, "cluster-secret"), "0123456789abcdef\n")
	if err := os.Chmod(filepath.Join(r.data, "cluster-secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	all, _ := diagnose(t, "HAVN_DATA_DIR="+r.data)
	if find(all, "key", server.Good) == "" || !strings.Contains(find(all, "key", server.Warning), "chmod 600") {
		t.Errorf("%+v", all)
	}
}

// mute answers the address of a server that takes connections and says nothing.
func mute(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closed := l.Close(); closed != nil {
			t.Error(closed)
		}
	})
	return l.Addr().String()
}

// bucket is as much of an S3 server as doctor asks. It takes its time, and may say nothing at all.
type bucket struct {
	takes time.Duration
	held  []byte
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	select {
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	case <-time.After(b.takes):
	}
	answer := []byte("<Error><Code>NoSuchKey</Code></Error>")
	switch {
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method == http.MethodPut:
		b.held = body
		return
	case r.URL.Query().Has("list-type"):
		answer = []byte("<ListBucketResult></ListBucketResult>")
	case strings.Contains(r.URL.Path, "havn-probe-"):
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.held))
		return
	default:
		w.WriteHeader(http.StatusNotFound)
	}
	if _, err = w.Write(answer); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// TestDoctorGivesEachStoreItsOwnTime: a database that hangs does not make a slow store one that does not answer, nor the other way round.
func TestDoctorGivesEachStoreItsOwnTime(t *testing.T) {
	t.Parallel()
	const forEach = 3 * time.Second
	for name, c := range map[string]struct {
		takes time.Duration
		blobs server.Status
	}{
		"the database hangs":              {10 * time.Millisecond, server.Good},
		"the database and the store hang": {time.Minute, server.Wrong},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := httptest.NewServer(&bucket{takes: c.takes})
			t.Cleanup(store.Close)
			conf, data := configure(t, "HAVN_DATABASE_ENGINE=mysql", "HAVN_DATABASE_HOSTS="+mute(t), "HAVN_DATABASE_USER=havn", "HAVN_DATABASE_PASSWORD=havn", "HAVN_CLUSTER_SECRET=0123456789abcdef",
				"HAVN_STORAGE_DRIVER=s3", "HAVN_STORAGE_S3_ENDPOINT="+store.URL, "HAVN_STORAGE_S3_BUCKET=bucket", "HAVN_STORAGE_S3_ACCESS_KEY=a", "HAVN_STORAGE_S3_SECRET_KEY=b")
			if err := os.Mkdir(data, 0o700); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			all := server.DiagnoseWithin(t.Context(), conf, forEach)
			if find(all, "database", server.Wrong) == "" || find(all, "blobs", c.blobs) == "" {
				t.Errorf("%+v", all)
			}
			if took := time.Since(began); took > time.Minute/2 { // the store's own time is twice that
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestDoctorSaysWhenASignatureEnds(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]server.Status{-time.Hour: server.Wrong, 24 * time.Hour: server.Warning, 60 * 24 * time.Hour: server.Good} {
		end := time.Now().Add(left).UTC().Format("2006-01-02T15:04:05Z")
		all, _ := diagnose(t, "HAVN_STORAGE_DRIVER=azure", "HAVN_STORAGE_AZURE_ENDPOINT=http://127.0.0.1:1", "HAVN_STORAGE_AZURE_CONTAINER=registry", "HAVN_STORAGE_AZURE_SAS_TOKEN=sv=2026-06-06&se="+end+"&sig=hush")
		if text := find(all, "signature", want); !strings.Contains(text, end) || strings.Contains(text, "hush") {
			t.Errorf("%s left: %+v", left, all)
		}
	}
}

func TestWhatIsOpenToOthersIsToldOf(t *testing.T) {
	t.Parallel()
	cert, key := filepath.Join(t.TempDir(), "a.crt"), filepath.Join(t.TempDir(), "a.key")
	for _, c := range []struct {
		env  string
		want []string
	}{
		{"HAVN_HTTP_ADDR=:0", []string{"over :0 in the clear"}},
		{"HAVN_HTTP_ADDR=127.0.0.1:0,0.0.0.0:0", []string{"over 0.0.0.0:0 in the clear"}},
		{"HAVN_HTTP_ADDR=registry.example:5000;HAVN_HTTP_PUBLIC_URL=http://registry.example:5000", []string{"over registry.example:5000 in the clear"}},
		{"HAVN_HTTP_ADDR=:0;HAVN_HTTP_PUBLIC_URL=https://registry.example", nil},
		{"HAVN_HTTP_ADDR=:0;HAVN_HTTP_TLS_CERTIFICATE=" + cert + ";HAVN_HTTP_TLS_KEY=" + key, nil},
		{"HAVN_HTTP_ADDR=127.0.0.2:0,[::1]:0,localhost:0;HAVN_METRICS_ADDR=[::1]:0", nil},
		{"HAVN_METRICS_ADDR=:0", []string{"metrics and profiles are shown at :0"}},
	} {
		all, _ := diagnose(t, strings.Split(c.env, ";")...)
		got := find(all, "exposed", server.Warning)
		if (got == "") != (len(c.want) == 0) {
			t.Errorf("%s: %q", c.env, got)
		}
		for _, want := range c.want {
			if !strings.Contains(got, want) || !strings.Contains(got, " → ") {
				t.Errorf("%s: %q, want %q and what to do", c.env, got, want)
			}
		}
	}
}

func TestTheLogTellsWhatIsOpenToOthersAndWhichProxyIsNotTrusted(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_ADDR=0.0.0.0:0", "HAVN_HTTP_TRUSTED_PROXIES=127.0.0.3")
	await(t, "a warning", func() bool { return strings.Contains(r.log.String(), "over 0.0.0.0:0 in the clear") })
	const ignored = "headers of a proxy are ignored, because it is not in http.trusted_proxies"
	_, port, err := net.SplitHostPort(r.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"127.0.0.1", "127.0.0.1", "127.0.0.3"} {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext}}
		for _, header := range []string{"X-Forwarded-Proto", "X-Forwarded-For"} {
			if _, err = do(t, client, http.MethodGet, "http://127.0.0.1:"+port+"/v2/", nil, header, "https"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if all := r.log.lines(ignored); len(all) != 1 || all[0]["peer"] != "127.0.0.1" || all[0]["hint"] == "" {
		t.Errorf("%v", all)
	}
}

func TestFilesOfSecretsThatEverybodyReadsAreToldOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"own", "group", "open"} {
		mustWrite(t, filepath.Join(dir, name), "sixteen bytes or more")
		if err := os.Chmod(filepath.Join(dir, name), map[string]os.FileMode{"own": 0o600, "group": 0o640, "open": 0o644}[name]); err != nil {
			t.Fatal(err)
		}
		all, _ := diagnose(t, "HAVN_CLUSTER_SECRET_FILE="+filepath.Join(dir, name), "HAVN_HTTP_TLS_CERTIFICATE="+filepath.Join(dir, "open"), "HAVN_HTTP_TLS_KEY="+filepath.Join(dir, name))
		got := find(all, "key", server.Warning)
		for _, key := range []string{"cluster.secret_file", "http.tls.key"} {
			if strings.Contains(got, "("+key+")") != (name == "open") {
				t.Errorf("%s: %q", name, got)
			}
		}
		if strings.Contains(got, "certificate") {
			t.Errorf("a certificate is no secret: %q", got)
		}
	}
}
