package stores

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// swiftEnv is a server's configuration, as the guide to Harbor's has it, on a prefix of its own.
func swiftEnv(c *lab.Ceph, more ...string) []string {
	return append([]string{
		"HAVN_STORAGE_DRIVER=swift", "HAVN_STORAGE_SWIFT_AUTH_URL=" + c.SwiftAuthURL(), "HAVN_STORAGE_SWIFT_USERNAME=" + lab.SwiftUser, "HAVN_STORAGE_SWIFT_PASSWORD=" + lab.SwiftKey,
		"HAVN_STORAGE_SWIFT_CONTAINER=registry.example.com", fmt.Sprintf("HAVN_STORAGE_PREFIX=served-swift/%d", prefixes.Add(1)),
	}, more...)
}

func TestHavnServesFromSwift(t *testing.T) {
	s := serves(t, swiftEnv(ceph(t)))
	ref, err := name.ParseReference(s.Addr+"/stores/image:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	image, err := random.Image(1<<20, 5)
	if err != nil {
		t.Fatal(err)
	}
	auth := remote.WithAuth(&authn.Basic{Username: harness.User, Password: harness.Password})
	if err = remote.Write(ref, image, auth); err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(ref, auth)
	if err != nil {
		t.Fatal(err)
	}
	if err = validate.Image(pulled); err != nil {
		t.Error(err)
	}
}

func TestAPushWaitsForAGatewayThatIsKilledInItsMiddle(t *testing.T) {
	c := ceph(t)
	s := harness.Start(t, harness.Options{Env: swiftEnv(c)})
	cl := newClient(t, s)
	for _, inOne := range []bool{true, false} {
		data := blobtest.Noise(uint64(len(s.URL)), 24<<20)
		copy(data, fmt.Sprint(inOne))
		killed := make(chan struct{})
		body := io.MultiReader(bytes.NewReader(data[:len(data)/2]), &trigger{do: func() {
			c.Gateway.Kill()
			close(killed)
		}}, bytes.NewReader(data[len(data)/2:]))
		restarted := make(chan error, 1)
		go func() {
			<-killed
			restarted <- c.Gateway.Start(t.Context())
		}()
		err := cl.pushFrom(t, "stores/waits", body, digestOf(data), inOne)
		if startErr := <-restarted; startErr != nil {
			t.Fatal(startErr)
		}
		if err != nil {
			t.Fatalf("in one request %v: %v", inOne, err)
		}
		cl.pull(t, "stores/waits", data)
	}
	if log := s.Log(); strings.Contains(log, "status=503") {
		t.Error("a client was told that the store is away")
	}
}

// trigger is an empty reader that does something once.
type trigger struct {
	do   func()
	done bool
}

func (r *trigger) Read([]byte) (int, error) {
	if !r.done {
		r.done = true
		r.do()
	}
	return 0, io.EOF
}

// pushFrom pushes a body that can't be sent twice.
func (c *client) pushFrom(t *testing.T, repo string, body io.Reader, digest string, inOne bool) error {
	query := "?digest=" + url.QueryEscape(digest)
	at, err := c.want(t, http.StatusAccepted, http.MethodPost, "/v2/"+repo+"/blobs/uploads/", nil)
	if err != nil {
		return err
	}
	if inOne {
		_, err = c.want(t, http.StatusCreated, http.MethodPut, at+query, unsized{body})
		return err
	}
	if at, err = c.want(t, http.StatusAccepted, http.MethodPatch, at, unsized{body}); err != nil {
		return err
	}
	_, err = c.want(t, http.StatusCreated, http.MethodPut, at+query, nil)
	return err
}

func TestPullsAreSentToSwift(t *testing.T) {
	c := ceph(t)
	s := harness.Start(t, harness.Options{Env: swiftEnv(c, "HAVN_STORAGE_SWIFT_TEMP_URL_KEY=key-of-the-account", "HAVN_STORAGE_REDIRECT=on")})
	cl := newClient(t, s)
	data := blobtest.Noise(5, 3<<20)
	if err := cl.push(t, "stores/redirect", data, true); err != nil {
		t.Fatal(err)
	}
	// Its client follows redirects, and adds no token to where they lead.
	cl.pull(t, "stores/redirect", data)
	cl.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got, err := cl.do(t, http.MethodGet, "/v2/stores/redirect/blobs/"+digestOf(data), nil, nil)
	if err != nil || got.status != http.StatusTemporaryRedirect || !strings.HasPrefix(got.header.Get("Location"), c.S3Endpoint()+"/swift/v1/") {
		t.Errorf("%d to %q, %v", got.status, got.header.Get("Location"), err)
	}
}

func TestUsersCanCheckTheirContainer(t *testing.T) {
	env := swiftEnv(ceph(t))
	if code, _ := storeCheck(t, env); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if code, _ := storeCheck(t, append(env, "HAVN_STORAGE_SWIFT_PASSWORD=wrong")); code != 1 {
		t.Errorf("exit code %d with a wrong key", code)
	}
}

func TestStartAndDoctorSayWhatIsWrongWithSwift(t *testing.T) {
	c := ceph(t)
	makeReader(t, c)
	old, oldCA := expired(t, c)
	for what, bad := range map[string]struct {
		env   []string
		words []string
	}{
		"wrong key":        {[]string{"HAVN_STORAGE_SWIFT_PASSWORD=wrong"}, []string{"log in to Swift", "Authorization Failed", "storage.swift.password"}},
		"unknown user":     {[]string{"HAVN_STORAGE_SWIFT_USERNAME=nobody:swift"}, []string{"nobody:swift", "radosgw-admin subuser create"}},
		"only a reader":    {[]string{"HAVN_STORAGE_SWIFT_USERNAME=" + swiftReader}, []string{"403", "let the user registry:reader read, write"}},
		"absent container": {[]string{"HAVN_STORAGE_SWIFT_CONTAINER=absent", "HAVN_STORAGE_SWIFT_CREATE_CONTAINER=false"}, []string{"absent is not there", "storage.swift.create_container"}},
		"dead address":     {[]string{"HAVN_STORAGE_SWIFT_AUTH_URL=http://127.0.0.1:1/auth/v1"}, []string{"connection refused", "nobody listens there"}},
		"it hangs":         {[]string{"HAVN_STORAGE_SWIFT_AUTH_URL=" + silent(t) + "/auth/v1"}, []string{"no answer in", "is it running"}},
		"expired":          {[]string{"HAVN_STORAGE_SWIFT_AUTH_URL=" + old + "/auth/v1", "HAVN_STORAGE_SWIFT_CA_FILE=" + oldCA}, []string{"certificate", "expired", "renew it"}},
		"no such host":     {[]string{"HAVN_STORAGE_SWIFT_AUTH_URL=http://absent.invalid/auth/v1"}, []string{"absent.invalid", "storage.swift.auth_url"}},
	} {
		t.Run(what, func(t *testing.T) { refusesToStart(t, swiftEnv(c, bad.env...), bad.words...) })
	}
}
