package s3_test

import (
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/blob/s3"
	"github.com/havn-registry/havn/internal/egress"
)

// fake is as much of an S3 server as the driver speaks with, to fail at will. The real one is in the module test/.
type fake struct {
	*httptest.Server
	conditional bool // heeds If-None-Match
	forgetful   bool // dies after an upload's completion, before it removes the upload

	mu      sync.Mutex
	objects map[string]stored
	uploads map[string]*unfinished
	asked   []*http.Request
	// fault is asked before a request is served, and again (after) when its answer would go out; true: it has answered itself.
	fault func(w http.ResponseWriter, r *http.Request, after bool) bool
}

type stored struct {
	data   []byte
	mark   string
	header http.Header
	hollow bool // there is a name and a size, and no bytes
}

type unfinished struct {
	key   string
	mark  string
	parts map[int][]byte
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{conditional: true, objects: map[string]stored{}, uploads: map[string]*unfinished{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// config is a driver's on the fake.
func (f *fake) config(t *testing.T) s3.Config {
	t.Helper()
	at, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := egress.NewStream(egress.StreamConfig{NoProgress: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	pool, err := parts.NewPool(1<<20, t.TempDir(), 8)
	if err != nil {
		t.Fatal(err)
	}
	return s3.Config{
		Flavour: s3.Plain, Endpoint: at, Bucket: "bucket", Prefix: "some/where", AccessKey: "key", SecretKey: "secret", Style: s3.Auto, PartBytes: 100 << 10,
		Pool: pool, HTTP: client, AddressKey: "storage.s3.endpoint", CAKey: "storage.s3.ca_file",
	}
}

func (f *fake) open(t *testing.T, c s3.Config) *s3.Driver {
	t.Helper()
	d, err := s3.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// refuse answers an error as S3 does.
func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>said the fake</Message></Error>", code) //nolint:errcheck // a client that is gone needs no answer
}

func answer(w http.ResponseWriter, v any) {
	if err := xml.NewEncoder(w).Encode(v); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (f *fake) setFault(fault func(w http.ResponseWriter, r *http.Request, after bool) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// ServeHTTP serves one request at a time.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r)
	if f.fault != nil && f.fault(w, r, false) {
		return
	}
	held := httptest.NewRecorder()
	f.serve(held, r, body)
	if f.fault != nil && f.fault(w, r, true) {
		return
	}
	for k, v := range held.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(held.Code)
	if _, err = w.Write(held.Body.Bytes()); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	id := q.Get("uploadId")
	switch {
	case bucket != "bucket":
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case key == "" && q.Has("uploads"):
		f.listUploads(w)
	case key == "":
		f.list(w, q)
	case q.Has("uploads"):
		id = strconv.Itoa(len(f.asked))
		f.uploads[id] = &unfinished{key, r.Header.Get("X-Amz-Meta-Havn-Write"), map[int][]byte{}}
		answer(w, struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadID string   `xml:"UploadId"`
		}{UploadID: id})
	case id != "":
		f.upload(w, r, key, id, body)
	default:
		f.object(w, r, key, body)
	}
}

func (f *fake) upload(w http.ResponseWriter, r *http.Request, key, id string, body []byte) {
	u := f.uploads[id]
	if u == nil {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	switch r.Method {
	case http.MethodPut:
		number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
		if err != nil {
			refuse(w, http.StatusBadRequest, "InvalidArgument")
			return
		}
		u.parts[number] = body
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(body)))
	case http.MethodDelete:
		delete(f.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		if _, there := f.objects[key]; there && f.conditional && r.Header.Get("If-None-Match") == "*" {
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
			return
		}
		var whole []byte
		for i := 1; i <= len(u.parts); i++ {
			whole = append(whole, u.parts[i]...)
		}
		f.objects[key] = stored{data: whole, mark: u.mark, header: r.Header}
		if !f.forgetful {
			delete(f.uploads, id)
		}
		answer(w, struct {
			XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
			ETag    string
		}{ETag: "x"})
	}
}

func (f *fake) object(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	o, there := f.objects[key]
	switch {
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut && there && f.conditional && r.Header.Get("If-None-Match") == "*":
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPut:
		f.objects[key] = stored{data: body, mark: r.Header.Get("X-Amz-Meta-Havn-Write"), header: r.Header}
	case !there, o.hollow && r.Method == http.MethodGet:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	default:
		w.Header().Set("X-Amz-Meta-Havn-Write", o.mark)
		http.ServeContent(w, r, "", time.Now(), strings.NewReader(string(o.data)))
	}
}

func (f *fake) list(w http.ResponseWriter, q url.Values) {
	type content struct {
		Key          string
		Size         int
		LastModified string
	}
	var page struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
	}
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	var keys []string
	for key := range f.objects {
		if strings.HasPrefix(key, q.Get("prefix")) && key > after {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	const pageSize = 100
	if len(keys) > pageSize {
		keys, page.IsTruncated, page.NextContinuationToken = keys[:pageSize], true, keys[pageSize-1]
	}
	for _, key := range keys {
		page.Contents = append(page.Contents, content{key, len(f.objects[key].data), time.Now().UTC().Format(time.RFC3339)})
	}
	answer(w, page)
}

func (f *fake) listUploads(w http.ResponseWriter) {
	type upload struct {
		Key       string
		UploadID  string `xml:"UploadId"`
		Initiated string
	}
	var page struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Upload  []upload
	}
	for id, u := range f.uploads {
		page.Upload = append(page.Upload, upload{u.key, id, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)})
	}
	answer(w, page)
}
