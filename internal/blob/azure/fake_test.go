package azure_test

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/azure"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/egress"
)

// stored is an object of the fake's.
type stored struct {
	data []byte
	mark string
}

// fake is as much of a blob service with one container as the driver asks for. It believes everybody.
type fake struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	absent  bool // the container
	objects map[string]stored
	staged  map[string]map[string][]byte
	asked   int
	// fault, if there is one, is asked before and after a request is served, and reports whether it answered.
	fault func(w http.ResponseWriter, r *http.Request, after bool) bool
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, objects: map[string]stored{}, staged: map[string]map[string][]byte{}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) setFault(fault func(http.ResponseWriter, *http.Request, bool) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *fake) config(t *testing.T) azure.Config {
	t.Helper()
	at, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := egress.NewStream(egress.StreamConfig{NoProgress: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := parts.NewPool(4<<20, t.TempDir(), 8)
	if err != nil {
		t.Fatal(err)
	}
	return azure.Config{
		Account: "store", Endpoint: at, Container: "registry", Create: true, Prefix: "some/where", Key: base64.StdEncoding.EncodeToString([]byte("key")), BlockBytes: 100 << 10, Pool: pool,
		HTTP: client, Clock: time.Now, CAKey: "storage.azure.ca_file",
	}
}

func (f *fake) open(t *testing.T, c azure.Config) blob.Driver {
	t.Helper()
	d, err := azure.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Ms-Error-Code", code)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if _, err := fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>Words for %s.%sRequestId:1</Message></Error>`, code, code, "\n"); err != nil {
		panic(err)
	}
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client broke off
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	fault := f.fault
	if fault != nil && fault(w, r, false) {
		return
	}
	if fault != nil {
		recorder := httptest.NewRecorder()
		f.answer(recorder, r, body)
		if fault(w, r, true) {
			return
		}
		for k, v := range recorder.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(recorder.Code)
		if _, err = w.Write(recorder.Body.Bytes()); err != nil {
			f.t.Log(err)
		}
		return
	}
	f.answer(w, r, body)
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	q := r.URL.Query()
	name, inside := strings.CutPrefix(r.URL.Path, "/registry/")
	switch {
	case q.Get("restype") == "container" && r.Method == http.MethodPut:
		f.absent = false
		w.WriteHeader(http.StatusCreated)
	case f.absent:
		refuse(w, http.StatusNotFound, "ContainerNotFound")
	case q.Get("comp") == "list":
		f.list(w, q)
	case !inside:
		refuse(w, http.StatusBadRequest, "InvalidUri")
	default:
		f.object(w, r, name, body)
	}
}

func (f *fake) object(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	o, there := f.objects[name]
	comp := r.URL.Query().Get("comp")
	switch {
	case r.Method == http.MethodPut && comp == "block":
		if f.staged[name] == nil {
			f.staged[name] = map[string][]byte{}
		}
		f.staged[name][r.URL.Query().Get("blockid")] = body
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodPut && there && r.Header.Get("If-None-Match") == "*":
		refuse(w, http.StatusConflict, "BlobAlreadyExists")
	case r.Method == http.MethodPut:
		if comp == "blocklist" {
			var list struct{ Latest []string }
			if err := xml.Unmarshal(body, &list); err != nil {
				f.t.Error(err)
			}
			body = nil
			for _, id := range list.Latest {
				block, ok := f.staged[name][id]
				if !ok {
					refuse(w, http.StatusBadRequest, "InvalidBlockList")
					return
				}
				body = append(body, block...)
			}
		}
		delete(f.staged, name)
		f.objects[name] = stored{body, r.Header.Get("X-Ms-Meta-Havnwrite")}
		w.WriteHeader(http.StatusCreated)
	case !there:
		refuse(w, http.StatusNotFound, "BlobNotFound")
	case r.Method == http.MethodDelete:
		delete(f.objects, name)
		w.WriteHeader(http.StatusAccepted)
	default:
		w.Header().Set("X-Ms-Meta-Havnwrite", o.mark)
		if ranges := r.Header.Get("X-Ms-Range"); ranges != "" {
			r.Header.Set("Range", ranges)
		}
		http.ServeContent(w, r, "", time.Now(), strings.NewReader(string(o.data)))
	}
}

// list answers a page of at most 100 entries.
func (f *fake) list(w http.ResponseWriter, q url.Values) {
	type item struct {
		XMLName xml.Name
		Name    string
		Size    int    `xml:"Properties>Content-Length,omitempty"`
		Changed string `xml:"Properties>Last-Modified,omitempty"`
	}
	begin := q.Get("prefix")
	found := map[string]item{}
	for name, o := range f.objects {
		rest, ok := strings.CutPrefix(name, begin)
		if !ok {
			continue
		}
		if folder, _, deeper := strings.Cut(rest, "/"); deeper && q.Get("delimiter") != "" {
			found[begin+folder+"/"] = item{XMLName: xml.Name{Local: "BlobPrefix"}, Name: begin + folder + "/"}
			continue
		}
		found[name] = item{xml.Name{Local: "Blob"}, name, len(o.data), time.Now().UTC().Format(http.TimeFormat)}
	}
	var names []string
	for name := range found {
		if name > q.Get("marker") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var page struct {
		XMLName xml.Name `xml:"EnumerationResults"`
		Blobs   struct{ Items []item }
		Next    string `xml:"NextMarker"`
	}
	const most = 100
	if len(names) > most {
		names = names[:most]
		page.Next = names[most-1]
	}
	for _, name := range names {
		page.Blobs.Items = append(page.Blobs.Items, found[name])
	}
	text, err := xml.Marshal(page)
	if err != nil {
		f.t.Error(err)
	}
	w.Header().Set("Content-Type", "application/xml")
	if _, err = w.Write(text); err != nil {
		f.t.Log(err)
	}
}
