package s3_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/blob/s3"
	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
)

func TestTheSuiteOnAFake(t *testing.T) {
	t.Parallel()
	for name, conditional := range map[string]bool{"AsAmazon": true, "WithoutConditions": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blobtest.Run(t, func(t *testing.T) blob.Driver {
				f := newFake(t)
				f.conditional = conditional
				return f.open(t, f.config(t))
			}, nil)
		})
	}
}

// TestAServerThatWritesOverObjectsIsKnown: what such a server says to the question is not what Havn fails of, and not what is kept from the operator.
func TestAServerThatWritesOverObjectsIsKnown(t *testing.T) {
	t.Parallel()
	answering := func(status int, code string) func(http.ResponseWriter, *http.Request, bool) bool {
		return func(w http.ResponseWriter, r *http.Request, after bool) bool {
			if after || r.Header.Get("If-None-Match") == "" {
				return false
			}
			refuse(w, status, code)
			return true
		}
	}
	for name, c := range map[string]struct {
		conditional bool
		fault       func(http.ResponseWriter, *http.Request, bool) bool
		why, hint   string
	}{
		"refuses to write over":    {conditional: true},
		"does not know the header": {why: "writes over an object", hint: "newer release"},
		"refuses the header":       {fault: answering(http.StatusNotImplemented, "NotImplemented"), why: "NotImplemented", hint: "newer release"},
		"behind what drops it":     {fault: answering(http.StatusForbidden, "SignatureDoesNotMatch"), why: "SignatureDoesNotMatch", hint: "takes it away"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.conditional = c.conditional
			f.setFault(c.fault)
			d := f.open(t, f.config(t))
			err := d.Overwrites()
			if c.why == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !fail.Is(err, fail.Unsupported) || !strings.Contains(err.Error(), c.why) || !strings.Contains(fail.HintOf(err), c.hint) {
				t.Errorf("%v, hint %q", err, fail.HintOf(err))
			}
			for _, size := range []int{10, 300 << 10} {
				if _, err = d.Put(t.Context(), fmt.Sprint(size), -1, bytes.NewReader(make([]byte, size))); err != nil {
					t.Errorf("%d bytes: %v", size, err)
				}
			}
		})
	}
}

// cut answers a fault that ends the first connection on which such a request was served, before its answer.
func cut(is func(r *http.Request) bool) func(http.ResponseWriter, *http.Request, bool) bool {
	done := false
	return func(_ http.ResponseWriter, r *http.Request, after bool) bool {
		if !after || done || !is(r) {
			return false
		}
		done = true
		panic(http.ErrAbortHandler)
	}
}

func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}

func isEnd(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }

func isWhole(r *http.Request) bool {
	return r.Method == http.MethodPut && !r.URL.Query().Has("partNumber")
}

func TestAnAnswerThatIsLostCostsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		size        int
		conditional bool
		is          func(*http.Request) bool
	}{
		{"of an object", 1000, true, isWhole},
		{"of an object, without conditions", 1000, false, isWhole},
		{"of a part", 250 << 10, true, isPart},
		{"of a completion", 250 << 10, true, isEnd},
		{"of a completion, without conditions", 250 << 10, false, isEnd},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.conditional = c.conditional
			d := f.open(t, f.config(t))
			f.setFault(cut(c.is))
			want := blobtest.Noise(1, c.size)
			w, err := d.Put(t.Context(), "name", int64(c.size), bytes.NewReader(want))
			if err != nil || w.Size != int64(c.size) || !bytes.Equal(f.objects["some/where/name"].data, want) {
				t.Errorf("%+v, %v", w, err)
			}
		})
	}
}

// A server may say that all is well and then put the object together: if it dies meanwhile, its answer breaks off behind the status (radosgw does so).
func TestACompletionThatBreaksOffBehindItsStatusIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		sent   string
		after  bool
		always bool
	}{
		{"before it is done", `<?xml version="1.0"?><CompleteMultipart`, false, false},
		{"after it is done", `<?xml version="1.0"?><CompleteMultipart`, true, false},
		{"without a word", "", false, false},
		{"each time", " ", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			d := f.open(t, f.config(t))
			broken := false
			f.setFault(func(w http.ResponseWriter, r *http.Request, after bool) bool {
				if !isEnd(r) || after != c.after || broken && !c.always {
					return false
				}
				broken = true
				w.Header().Set("Content-Length", "1000")
				fmt.Fprint(w, c.sent)    //nolint:errcheck // what is sent breaks off anyway
				w.(http.Flusher).Flush() //nolint:errcheck // the server's is one
				panic(http.ErrAbortHandler)
			})
			want := blobtest.Noise(1, 250<<10)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := d.Put(ctx, "name", int64(len(want)), bytes.NewReader(want))
			switch {
			case c.always && (!fail.Is(err, fail.Unavailable) || ctx.Err() == nil && !strings.Contains(err.Error(), "broke off")):
				t.Errorf("%v (%v)", err, fail.KindOf(err))
			case !c.always && (err != nil || !bytes.Equal(f.objects["some/where/name"].data, want)):
				t.Errorf("%v (%v)", err, fail.KindOf(err))
			}
		})
	}
}

// TestNobodyElseKeepsTheBytes: two copies of each upload would be more than a node may take.
func TestNobodyElseKeepsTheBytes(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	if !blobtest.Store(f.open(t, f.config(t))).Resends() || blobtest.Store(memory.New(time.Now)).Resends() {
		t.Error("who sends again?")
	}
}

func TestAStoreThatDoesNotKeepUpIsAskedAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := f.open(t, f.config(t))
	left := 3
	f.setFault(func(w http.ResponseWriter, r *http.Request, after bool) bool {
		if after || !isPart(r) || left == 0 {
			return false
		}
		left--
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
		return true
	})
	if _, err := d.Put(t.Context(), "name", -1, bytes.NewReader(make([]byte, 300<<10))); err != nil {
		t.Error(err)
	}
}

func TestAConditionThatIsNotKnownAtTheEndIsLeftOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		code   string
	}{{http.StatusNotImplemented, "NotImplemented"}, {http.StatusBadRequest, "InvalidArgument"}, {http.StatusBadRequest, "InvalidRequest"}} {
		t.Run(c.code, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			d := f.open(t, f.config(t))
			f.setFault(func(w http.ResponseWriter, r *http.Request, after bool) bool {
				if after || !isEnd(r) || r.Header.Get("If-None-Match") == "" {
					return false
				}
				refuse(w, c.status, c.code)
				return true
			})
			for _, name := range []string{"one", "two"} {
				if _, err := d.Put(t.Context(), name, -1, bytes.NewReader(make([]byte, 300<<10))); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestALongObjectIsNotWrittenOverAnother(t *testing.T) {
	t.Parallel()
	for _, conditional := range []bool{true, false} {
		f := newFake(t)
		f.conditional = conditional
		d := f.open(t, f.config(t))
		for _, size := range []int{10, 300 << 10} {
			if _, err := d.Put(t.Context(), "name", -1, bytes.NewReader(make([]byte, size))); size == 10 && err != nil || size > 10 && !fail.Is(err, fail.Exists) {
				t.Errorf("conditional %v, %d bytes: %v", conditional, size, err)
			}
		}
		if len(f.uploads) > 0 || len(f.objects["some/where/name"].data) != 10 {
			t.Errorf("conditional %v: %d uploads, %d bytes", conditional, len(f.uploads), len(f.objects["some/where/name"].data))
		}
	}
}

// dropRange lets requests through without the header Range, as caching proxies do.
func dropRange(_ http.ResponseWriter, r *http.Request, _ bool) bool {
	r.Header.Del("Range")
	return false
}

func TestAWholeObjectIsNotTakenForARangeOfIt(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := f.open(t, f.config(t))
	if _, err := d.Put(t.Context(), "name", -1, strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	f.setFault(dropRange)
	for _, c := range []struct {
		off, n int64
		want   string // "": refused
	}{{0, -1, "0123456789"}, {0, 3, "012"}, {0, 30, "0123456789"}, {5, 3, ""}, {5, -1, ""}} {
		r, err := d.Get(t.Context(), "name", c.off, c.n)
		if c.want == "" {
			if !fail.Is(err, fail.Unavailable) || !strings.Contains(fail.HintOf(err), "Range") {
				t.Errorf("%d bytes from %d: %v, hint %q", c.n, c.off, err, fail.HintOf(err))
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if closeErr := r.Close(); err != nil || closeErr != nil || string(got) != c.want {
			t.Errorf("%d bytes from %d: %q, %v, %v", c.n, c.off, got, err, closeErr)
		}
	}
	if _, err := s3.New(t.Context(), f.config(t)); !fail.Is(err, fail.Unavailable) || !strings.Contains(fail.HintOf(err), "Range") {
		t.Errorf("at the start: %v, hint %q", err, fail.HintOf(err))
	}
}

// To abort an upload of which there is an object takes the object's bytes on radosgw.
func TestAnUploadOfAnObjectThatIsThereIsNotAborted(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.forgetful = true
	d := f.open(t, f.config(t))
	name := blobtest.Store(d).NewName()
	if _, err := d.Put(t.Context(), name, -1, bytes.NewReader(make([]byte, 300<<10))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{0, 1} {
		if n, err := d.Tidy(t.Context(), time.Now(), blobtest.NoneKnown); err != nil || n != want {
			t.Errorf("%d uploads are aborted, want %d; %v", n, want, err)
		}
		if err := d.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnUploadThatIsKnownIsNotAborted: a slow client's is as old as one of a dead node, and older still by a clock that is ahead.
func TestAnUploadThatIsKnownIsNotAborted(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := f.open(t, f.config(t))
	slow, dead := blobtest.Store(d).NewName(), blobtest.Store(d).NewName()
	for _, name := range []string{slow, dead} {
		f.uploads[name] = &unfinished{key: "some/where/" + name}
	}
	known := func(_ context.Context, names []string) (map[string]bool, error) {
		return map[string]bool{slow: slices.Contains(names, slow)}, nil
	}
	if n, err := d.Tidy(t.Context(), time.Now().Add(24*time.Hour), known); err != nil || n != 1 || f.uploads[slow] == nil || f.uploads[dead] != nil {
		t.Errorf("%d uploads are aborted, of %d; %v", n, len(f.uploads), err)
	}
}

func TestTidyingUpEndsWhereNobodyKnowsWhatIsOfUse(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := f.open(t, f.config(t))
	name := blobtest.Store(d).NewName()
	f.uploads[name] = &unfinished{key: "some/where/" + name}
	away := fail.E(fail.Unavailable, nil, "no database")
	known := func(context.Context, []string) (map[string]bool, error) { return nil, away }
	if n, err := d.Tidy(t.Context(), time.Now(), known); n != 0 || !errors.Is(err, away) || len(f.uploads) != 1 {
		t.Errorf("%d uploads are aborted, %d are left; %v", n, len(f.uploads), err)
	}
}

// TestAnUploadThatWasAbortedWhileItWasCompletedIsNoSuccess: radosgw leaves the object's name, size and mark then, and takes its bytes.
func TestAnUploadThatWasAbortedWhileItWasCompletedIsNoSuccess(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := f.open(t, f.config(t))
	lost := cut(isEnd)
	f.setFault(func(w http.ResponseWriter, r *http.Request, after bool) bool {
		if after && isEnd(r) {
			o := f.objects["some/where/name"]
			o.hollow = true
			f.objects["some/where/name"] = o
		}
		return lost(w, r, after)
	})
	if _, err := d.Put(t.Context(), "name", -1, bytes.NewReader(make([]byte, 300<<10))); !fail.Is(err, fail.Unavailable) {
		t.Errorf("%v (%v)", err, fail.KindOf(err))
	}
}

func TestTheLockOfADeadGatewayIsNamed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := f.open(t, f.config(t))
	f.setFault(func(w http.ResponseWriter, _ *http.Request, _ bool) bool {
		w.WriteHeader(http.StatusInternalServerError)
		answer(w, struct {
			XMLName       xml.Name `xml:"Error"`
			Code, Message string
		}{Code: "InternalError", Message: "This multipart completion is already in progress"})
		return true
	})
	// A completion is tried for longer.
	_, err := d.Get(t.Context(), "name", 0, -1)
	if !fail.Is(err, fail.Unavailable) || !strings.Contains(fail.HintOf(err), "push again") {
		t.Errorf("%v: %q", err, fail.HintOf(err))
	}
}

func TestEncryptionAndClassAreAskedFor(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.config(t)
	c.SSE, c.KMSKey, c.StorageClass = "aws:kms", "the-key", "STANDARD_IA"
	d := f.open(t, c)
	for name, size := range map[string]int{"short": 10, "long": 300 << 10} {
		if _, err := d.Put(t.Context(), name, -1, bytes.NewReader(make([]byte, size))); err != nil {
			t.Fatal(err)
		}
	}
	begun := 0
	for _, r := range f.asked {
		if begins := r.Method == http.MethodPost && r.URL.Query().Has("uploads"); !begins && !isWhole(r) {
			continue
		}
		begun++
		if h := r.Header; h.Get("X-Amz-Server-Side-Encryption") != "aws:kms" || h.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "the-key" || h.Get("X-Amz-Storage-Class") != "STANDARD_IA" {
			t.Errorf("%s %s without them: %v", r.Method, r.URL, h)
		}
	}
	if begun < 4 { // two of the probe
		t.Errorf("%d objects were begun", begun)
	}
}

func TestGoogleIsSpokenToWithoutWhatItChanges(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.config(t)
	c.Flavour = s3.GCS
	d := f.open(t, c)
	if _, err := d.Put(t.Context(), "name", -1, bytes.NewReader(make([]byte, 300<<10))); err != nil {
		t.Fatal(err)
	}
	for _, r := range f.asked {
		_, signed, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
		signed, _, _ = strings.Cut(signed, ",")
		names := strings.Split(signed, ";")
		if len(names) < 2 || slices.Contains(names, "accept-encoding") || r.Header.Get("Content-Encoding") != "" || r.Header.Get("X-Amz-Trailer") != "" {
			t.Errorf("%s %s signs %q: %v", r.Method, r.URL, names, r.Header)
		}
	}
}

func TestRefusalsHaveAKindAndAHint(t *testing.T) {
	t.Parallel()
	for code, c := range map[string]struct {
		status int
		kind   fail.Kind
		hint   string
	}{
		"AccessDenied":          {http.StatusForbidden, fail.Unavailable, "s3:PutObject"},
		"QuotaExceeded":         {http.StatusForbidden, fail.Exhausted, "quota"},
		"RequestTimeTooSkewed":  {http.StatusForbidden, fail.Unavailable, "clock"},
		"ExpiredToken":          {http.StatusBadRequest, fail.Unavailable, "renew"},
		"KMS.DisabledException": {http.StatusBadRequest, fail.Unavailable, "storage.s3.sse_kms_key"},
		"PermanentRedirect":     {http.StatusMovedPermanently, fail.Unavailable, "eu-north-1"},
		"InvalidStorageClass":   {http.StatusBadRequest, fail.Unavailable, "storage.s3.storage_class"},
		"NoSuchBucket":          {http.StatusNotFound, fail.Unavailable, "storage.s3.bucket"},
		"NoSuchKey":             {http.StatusNotFound, fail.NotFound, ""},
		"SomethingElse":         {http.StatusForbidden, fail.Unavailable, "s3:ListBucket"},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			d := f.open(t, f.config(t))
			f.setFault(func(w http.ResponseWriter, _ *http.Request, _ bool) bool {
				w.Header().Set("X-Amz-Bucket-Region", "eu-north-1")
				refuse(w, c.status, code)
				return true
			})
			_, err := d.Get(t.Context(), "name", 0, -1)
			if !fail.Is(err, c.kind) || !strings.Contains(fail.HintOf(err), c.hint) || !strings.Contains(err.Error(), code) {
				t.Errorf("kind %v, hint %q, %v", fail.KindOf(err), fail.HintOf(err), err)
			}
		})
	}
}

func TestAReadOnlyBucketIsRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.setFault(func(w http.ResponseWriter, r *http.Request, _ bool) bool {
		if r.Method != http.MethodPut {
			return false
		}
		refuse(w, http.StatusForbidden, "AccessDenied")
		return true
	})
	_, err := s3.New(t.Context(), f.config(t))
	if !fail.Is(err, fail.Unavailable) || !strings.Contains(err.Error(), "write an object") || !strings.Contains(fail.HintOf(err), "s3:PutObject") {
		t.Errorf("hint %q, %v", fail.HintOf(err), err)
	}
	if len(f.objects) > 0 {
		t.Error("something is left")
	}
}

func TestACertificateIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.Close()
	f.Server = httptest.NewTLSServer(f)
	t.Cleanup(f.Close)
	began := time.Now()
	_, err := s3.New(t.Context(), f.config(t))
	if err == nil || !strings.Contains(fail.HintOf(err), "storage.s3.ca_file") {
		t.Errorf("hint %q, %v", fail.HintOf(err), err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestTheProxyIsUsed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.config(t)
	proxy := c.Endpoint
	var err error
	if c.HTTP, err = egress.NewStream(egress.StreamConfig{NoProgress: time.Minute, Proxy: proxy}); err != nil {
		t.Fatal(err)
	}
	c.Endpoint = &url.URL{Scheme: "http", Host: "store.invalid"} // only the proxy knows it
	f.open(t, c)
	if len(f.asked) == 0 || f.asked[0].URL.Host != "store.invalid" {
		t.Errorf("asked %d times", len(f.asked))
	}
}

func TestCredentialsOfTheEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"HOME": t.TempDir(), "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	f := newFake(t)
	c := f.config(t)
	c.AccessKey, c.SecretKey = "", ""
	if _, err := s3.New(t.Context(), c); !fail.Is(err, fail.Invalid) || !strings.Contains(fail.HintOf(err), "storage.s3.access_key") {
		t.Errorf("without any: hint %q, %v", fail.HintOf(err), err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "from-outside")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	f.open(t, c)
	if by := f.asked[0].Header.Get("Authorization"); !strings.Contains(by, "Credential=from-outside/") || !strings.Contains(by, "/us-east-1/") {
		t.Errorf("signed by %s", by)
	}
	other := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	bundle := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	f.open(t, c)
	c.Endpoint = nil
	if _, err := s3.New(t.Context(), c); !fail.Is(err, fail.Invalid) || !strings.Contains(fail.HintOf(err), "storage.s3.region") {
		t.Errorf("without a region: hint %q, %v", fail.HintOf(err), err)
	}
}
