package harborapi_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/harborapi"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/project"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/settings"
	"github.com/havn-registry/havn/internal/sqldb"
)

const password = "a long password"

// service is the API over a real registry, access and settings, behind a real listener. Sessions of logIn are its own: the cookie of one is the user's name.
type service struct {
	testing.TB
	url      string
	secret   string // of the cluster
	registry *registry.Registry
	blobs    *blob.Store
	access   *access.Access
	settings *settings.Store
	audit    *audit.Log
	db       *sqldb.DB
	log      *lockedBuffer

	directory directory
	people    access.Provider // who asks for passwords; nil: nobody
	fault     func(ctx context.Context, p sqldb.FaultPoint, tx string) error
	gone      func() // ends the context of the request that is under way, as if its client had left
	identity  *idp   // nil: none is used
	mu        sync.Mutex
	parts     []harborapi.Part
	space     harborapi.Space
	session   map[string]access.Identity
}

func start(t testing.TB) *service {
	t.Helper()
	s := &service{TB: t, secret: seal.Random(), log: &lockedBuffer{}, session: map[string]access.Identity{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	var err error
	s.db, err = sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db"), Log: log, Fault: func(ctx context.Context, p sqldb.FaultPoint, tx string) error {
		s.mu.Lock()
		fault := s.fault
		s.mu.Unlock()
		if fault == nil {
			return nil
		}
		return fault(ctx, p, tx)
	}})
	s.ok(err)
	t.Cleanup(func() {
		if closeErr := s.db.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	s.ok(s.db.Migrate(t.Context()))
	s.blobs = blob.NewStore(memory.New(time.Now), blob.StoreConfig{})
	s.registry, err = registry.New(t.Context(), registry.Config{CreateOnPush: true, DB: s.db, Blobs: s.blobs, Log: log, Clock: time.Now})
	s.ok(err)
	sealer, err := seal.Open(t.Context(), s.db, s.secret)
	s.ok(err)
	s.settings, err = settings.Open(t.Context(), settings.Config{DB: s.db, Seal: sealer, Log: log, Given: config.Default()})
	s.ok(err)
	s.access, _, err = access.New(t.Context(), access.Config{Seal: sealer, DB: s.db, Log: log, Clock: time.Now, AdminPassword: password, Cost: access.Cost{Passes: 1, MemoryKiB: 1 << 10}, Provider: func() access.Provider { return s.people }, Policy: func() access.Policy {
		p := access.DefaultPolicy()
		p.SelfRegistration = s.settings.Live().SelfRegistration
		return p
	}})
	s.ok(err)
	s.audit = audit.New(audit.Config{DB: s.db, Log: log})
	api := harborapi.New(harborapi.Config{
		Registry: s.registry, Projects: project.New(s.db, s.registry), Access: s.access, Settings: s.settings, Audit: s.audit, Directory: &s.directory, Log: log, Clock: time.Now, Version: "1.2.3", Storage: "memory",
		URL: func(r *http.Request) string { return "https://" + r.Host },
		Client: func(r *http.Request) netip.Addr {
			return netip.MustParseAddr(cmp.Or(r.Header.Get("X-Test-Client"), "192.0.2.1"))
		},
		Health: func(context.Context) []harborapi.Part { s.mu.Lock(); defer s.mu.Unlock(); return s.parts },
		Space:  func(context.Context) harborapi.Space { return s.space },
		Session: func(ctx context.Context, cookie string) (access.Identity, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if who, ok := s.session[cookie]; ok {
				return who, nil
			}
			return s.access.Check(ctx, cookie)
		},
		Identity: func() (harborapi.Identity, error) {
			if s.identity == nil {
				return nil, fail.E(fail.Conflict, nil, "no identity provider is used")
			}
			return s.identity, nil
		},
		PingIdentity: func(_ context.Context, endpoint string, verify bool) error {
			if endpoint != "https://idp.example" || !verify {
				return fail.E(fail.Unavailable, nil, "no route to %s", endpoint).Hint("correct the address")
			}
			return nil
		},
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, gone := context.WithCancel(r.Context())
		defer gone()
		s.mu.Lock()
		s.gone = gone
		s.mu.Unlock()
		api.ServeHTTP(w, r.WithContext(ctx))
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *service) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// logIn makes a session of somebody who is a user and has no memberships.
func (s *service) logIn(name string) with {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session[name] = access.Identity{Subject: name, User: 1000}
	return func(r *http.Request) {
		r.Header.Del("Authorization")
		r.AddCookie(&http.Cookie{Name: harborapi.SessionCookie, Value: name})
		r.Header.Set("X-Harbor-CSRF-Token", harborapi.CSRFToken(name))
	}
}

// as logs somebody in by Basic.
func as(name, secret string) with { return func(r *http.Request) { r.SetBasicAuth(name, secret) } }

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

// with changes a request.
type with func(*http.Request)

func header(key, value string) with { return func(r *http.Request) { r.Header.Set(key, value) } }

// nobody sends no credentials.
func nobody(r *http.Request) { r.Header.Del("Authorization") }

// answer is a response, read.
type answer struct {
	*service
	asked  string
	status int
	header http.Header
	body   []byte
}

// do sends a request below /api/v2.0, or to an absolute path, as admin by Basic unless an option says otherwise. body is sent as JSON: a text as it is, other values encoded.
func (s *service) do(method, path string, body any, options ...with) *answer {
	s.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		s.ok(err)
		in = bytes.NewReader(text)
	}
	if !strings.HasPrefix(path, "/api/") && !strings.HasPrefix(path, harborapi.Browser) && !strings.HasPrefix(path, harborapi.Devcenter) {
		path = harborapi.Base + path
	}
	r, err := http.NewRequestWithContext(s.Context(), method, s.url+path, in)
	s.ok(err)
	r.SetBasicAuth("admin", password)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, o := range options {
		o(r)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	s.ok(err)
	text, err := io.ReadAll(response.Body)
	s.ok(err)
	s.ok(response.Body.Close())
	return &answer{s, method + " " + path, response.StatusCode, response.Header, text}
}

func (s *service) get(path string, options ...with) *answer {
	s.Helper()
	return s.do(http.MethodGet, path, nil, options...)
}

// is wants a status and, of an error, Harbor's form with a code and a message.
func (a *answer) is(status int, code ...string) *answer {
	a.Helper()
	if a.status != status {
		a.Fatalf("%s: status %d, want %d: %.500s\n%.2000s", a.asked, a.status, status, a.body, a.log)
	}
	if status >= http.StatusBadRequest && a.Method() != http.MethodHead {
		var b harborapi.Errors
		a.decode(&b)
		if len(b.Errors) != 1 || b.Errors[0].Code == "" || b.Errors[0].Message == "" || len(code) > 0 && b.Errors[0].Code != code[0] {
			a.Fatalf("%s: %s, want one error with code %v and a message", a.asked, a.body, code)
		}
	}
	return a
}

// Method answers the method of the request.
func (a *answer) Method() string {
	method, _, _ := strings.Cut(a.asked, " ")
	return method
}

func (a *answer) decode(v any) *answer {
	a.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.Fatalf("%s: %v in %.500q", a.asked, err, a.body)
	}
	return a
}

// has wants a header.
func (a *answer) has(key, value string) *answer {
	a.Helper()
	if got := a.header.Get(key); got != value {
		a.Fatalf("%s: %s is %q, want %q", a.asked, key, got, value)
	}
	return a
}

// id answers the number at the end of the Location.
func (a *answer) id() int64 {
	a.Helper()
	at := a.is(http.StatusCreated).header.Get("Location")
	id, err := strconv.ParseInt(at[strings.LastIndexByte(at, '/')+1:], 10, 64)
	if err != nil || !strings.HasPrefix(at, harborapi.Base+"/") {
		a.Fatalf("%s: Location %q", a.asked, at)
	}
	return id
}

// says wants a text in the body.
func (a *answer) says(text string) *answer {
	a.Helper()
	if !strings.Contains(string(a.body), text) {
		a.Fatalf("%s: no %q in %.2000s", a.asked, text, a.body)
	}
	return a
}

var pusher = registry.Pusher{Subject: "admin", MayCreate: true}

const (
	imageConfig = `{"architecture":"arm64","os":"linux","author":"somebody","rootfs":{"type":"layers"},"config":{"Cmd":["sh"]}}`
	layer       = "a layer"
)

func descriptor(mediaType, text string) string {
	d, err := json.Marshal(oci.Descriptor{MediaType: mediaType, Digest: oci.Sum(oci.SHA256, []byte(text)), Size: int64(len(text))})
	if err != nil {
		panic(err)
	}
	return string(d)
}

// image writes an image manifest of config and layer; rest is put into it.
func image(rest string) string {
	return `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageManifest + `","config":` + descriptor("application/vnd.oci.image.config.v1+json", imageConfig) +
		`,"layers":[` + descriptor("application/vnd.oci.image.layer.v1.tar", layer) + `]` + rest + `}`
}

// push pushes a manifest, and before it what it may refer to, under tags.
func (s *service) push(repo, manifest string, tags ...string) oci.Digest {
	s.Helper()
	name, err := oci.ParseName(repo)
	s.ok(err)
	for _, text := range []string{imageConfig, layer} {
		_, err = s.registry.PushBlob(s.Context(), name, registry.PushBlob{Pusher: pusher, Body: strings.NewReader(text), Digest: oci.Sum(oci.SHA256, []byte(text)), Size: int64(len(text))})
		s.ok(err)
	}
	p := registry.PutManifest{Pusher: pusher, MediaType: oci.MediaTypeImageManifest, Body: []byte(manifest), Digest: oci.Sum(oci.SHA256, []byte(manifest))}
	if strings.Contains(manifest, `"manifests":`) {
		p.MediaType = oci.MediaTypeImageIndex
	}
	for _, text := range tags {
		tag, tagErr := oci.ParseTag(text)
		s.ok(tagErr)
		p.Tags = append(p.Tags, tag)
	}
	pushed, err := s.registry.PutManifest(s.Context(), name, p)
	s.ok(err)
	return pushed.Descriptor.Digest
}
