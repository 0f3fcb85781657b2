package distapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/distapi"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	password = "a long password"
	// patient is how long a test waits for what must come.
	patient = 60 * time.Second
)

// clock is a clock that a test can move.
type clock struct {
	mu     sync.Mutex
	behind time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.behind)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.behind += d
}

// service is the API over a real registry and real access, behind a real listener.
type service struct {
	testing.TB
	url      string
	host     string
	registry *registry.Registry
	access   *access.Access
	store    *blob.Store
	db       *sqldb.DB
	clock    *clock
	log      *lockedBuffer
	handler  http.Handler
}

// settings are what a test changes.
type settings struct {
	driver   blob.Driver
	store    blob.StoreConfig
	registry registry.Config
	api      distapi.Config
	wrap     func(http.Handler) http.Handler
	fault    func(context.Context, sqldb.FaultPoint, string) error // of the database
}

func start(t testing.TB, change ...func(*settings)) *service {
	t.Helper()
	s := &service{TB: t, clock: &clock{}, log: &lockedBuffer{}}
	set := settings{driver: memory.New(s.clock.now), wrap: func(h http.Handler) http.Handler { return h }}
	set.registry = registry.Config{CreateOnPush: true}
	for _, c := range change {
		c(&set)
	}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	var err error
	s.db, err = sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db"), Log: log, Fault: set.fault})
	s.ok(err)
	t.Cleanup(func() {
		if closeErr := s.db.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	s.ok(s.db.Migrate(t.Context()))
	s.store = blob.NewStore(set.driver, set.store)
	set.registry.DB, set.registry.Blobs, set.registry.Log, set.registry.Clock = s.db, s.store, log, s.clock.now
	s.registry, err = registry.New(t.Context(), set.registry)
	s.ok(err)
	sealer, err := seal.Open(t.Context(), s.db, seal.Random())
	s.ok(err)
	s.access, _, err = access.New(t.Context(), access.Config{Seal: sealer, DB: s.db, Log: log, Clock: s.clock.now, AdminPassword: password, Cost: access.Cost{Passes: 1, MemoryKiB: 1 << 10}})
	s.ok(err)
	set.api.Registry, set.api.Access, set.api.Log, set.api.Clock = s.registry, s.access, log, time.Now
	s.handler = set.wrap(distapi.New(set.api))
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	s.url = server.URL
	s.host = strings.TrimPrefix(server.URL, "http://")
	return s
}

func (s *service) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *service) close(c io.Closer) {
	s.Helper()
	if err := c.Close(); err != nil {
		s.Error(err)
	}
}

// lockedBuffer is a log that handlers write and a test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// answer is a response, read.
type answer struct {
	*service
	asked  string
	status int
	header http.Header
	body   []byte
}

// with changes a request.
type with func(*http.Request)

func header(key, value string) with { return func(r *http.Request) { r.Header.Add(key, value) } }

func bearer(token string) with {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func basic(user, pass string) with {
	return func(r *http.Request) { r.SetBasicAuth(user, pass) }
}

// nobody sends no credentials.
func nobody(r *http.Request) { r.Header.Del("Authorization") }

// streamed hides the body's length, so that it goes in chunks of HTTP.
func streamed(r *http.Request) { r.ContentLength = -1 }

// do sends a request, as admin by Basic unless an option says otherwise. body is a string, bytes, a reader or nil.
func (s *service) do(method, path string, body any, options ...with) *answer {
	s.Helper()
	var in io.Reader
	switch b := body.(type) {
	case string:
		in = strings.NewReader(b)
	case []byte:
		in = bytes.NewReader(b)
	case io.Reader:
		in = b
	}
	r, err := http.NewRequestWithContext(s.Context(), method, s.url+path, in)
	s.ok(err)
	r.SetBasicAuth("admin", password)
	for _, o := range options {
		o(r)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	s.ok(err)
	defer s.close(response.Body)
	text, err := io.ReadAll(response.Body)
	s.ok(err)
	return &answer{s, method + " " + path, response.StatusCode, response.Header, text}
}

// is wants a status and, behind it, the codes of the errors in the body.
func (a *answer) is(status int, codes ...string) *answer {
	a.Helper()
	if a.status != status {
		a.Fatalf("%s: status %d, want %d: %s", a.asked, a.status, status, a.body)
	}
	if len(codes) == 0 {
		return a
	}
	for _, p := range a.problems() {
		if p.Code != codes[0] || p.Message == "" {
			a.Fatalf("%s: %+v, want code %s and a message", a.asked, p, codes[0])
		}
	}
	return a
}

type problem struct {
	Code, Message string
	Detail        any
}

func (a *answer) problems() []problem {
	a.Helper()
	var b struct{ Errors []problem }
	a.decode(&b)
	if len(b.Errors) == 0 {
		a.Fatalf("%s: no errors in %s", a.asked, a.body)
	}
	return b.Errors
}

func (a *answer) decode(v any) {
	a.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.Fatalf("%s: %v in %q", a.asked, err, a.body)
	}
}

// has wants a header.
func (a *answer) has(key, value string) *answer {
	a.Helper()
	if got := a.header.Get(key); got != value {
		a.Fatalf("%s: %s is %q, want %q", a.asked, key, got, value)
	}
	return a
}

func (a *answer) location() string { return a.header.Get("Location") }

// token asks the token service for a token, as admin.
func (s *service) token(scopes ...string) string {
	s.Helper()
	return s.tokenFor(basic("admin", password), scopes...)
}

func (s *service) tokenFor(who with, scopes ...string) string {
	s.Helper()
	query := url.Values{"service": {distapi.Service}, "scope": scopes}
	var got struct{ Token string }
	s.do(http.MethodGet, "/service/token?"+query.Encode(), nil, who).is(http.StatusOK).decode(&got)
	return got.Token
}

func sum(text string) string { return oci.Sum(oci.SHA256, []byte(text)).String() }

// pushBlob pushes a blob in one request.
func (s *service) pushBlob(repo, text string) string {
	s.Helper()
	d := sum(text)
	s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+d, text).is(http.StatusCreated)
	return d
}

// begin begins an upload and answers its Location.
func (s *service) begin(repo string) string {
	s.Helper()
	return s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil).is(http.StatusAccepted).location()
}

// descriptor writes a descriptor of a text.
func descriptor(mediaType, text string) string {
	return `{"mediaType":"` + mediaType + `","digest":"` + sum(text) + `","size":` + strconv.Itoa(len(text)) + `}`
}

const (
	config = `{"architecture":"amd64"}`
	layer  = "a layer"
)

// image writes an image manifest of config and layer; rest is put into it.
func image(rest string) string {
	return `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageManifest + `","config":` + descriptor("application/vnd.oci.image.config.v1+json", config) +
		`,"layers":[` + descriptor("application/vnd.oci.image.layer.v1.tar", layer) + `]` + rest + `}`
}

// index writes an image index.
func index(children ...string) string {
	all := make([]string, len(children))
	for i, c := range children {
		all[i] = descriptor(oci.MediaTypeImageManifest, c)
	}
	return `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageIndex + `","manifests":[` + strings.Join(all, ",") + `]}`
}

// pushImage pushes config, layer and manifest, and answers the manifest's digest.
func (s *service) pushImage(repo, ref string) string {
	s.Helper()
	s.pushBlob(repo, config)
	s.pushBlob(repo, layer)
	return s.putManifest(repo, ref, image("")).is(http.StatusCreated).header.Get("Docker-Content-Digest")
}

func (s *service) putManifest(repo, ref, text string, options ...with) *answer {
	s.Helper()
	mediaType := oci.MediaTypeImageManifest
	if strings.Contains(text, `"manifests":`) {
		mediaType = oci.MediaTypeImageIndex
	}
	return s.do(http.MethodPut, "/v2/"+repo+"/manifests/"+ref, text, append([]with{func(r *http.Request) { r.Header.Set("Content-Type", mediaType) }}, options...)...)
}

// eventually polls until a condition holds.
func (s *service) eventually(what string, holds func() bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patient)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			s.Fatalf("%s: not within %v; log:\n%s", what, patient, s.log)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
