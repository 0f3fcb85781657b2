package distapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/oci"
)

// signed is a driver that gives URLs, and remembers how long they are good.
type signed struct {
	blob.Driver
	life time.Duration
	err  error
}

func (s *signed) SignGet(_ context.Context, name string, life time.Duration) (string, error) {
	s.life = life
	return "https://store.example.com/" + name + "?signature=x", s.err
}

func redirecting(s *signed, reg prometheus.Registerer, networks ...string) func(*settings) {
	return func(set *settings) {
		s.Driver, set.driver = set.driver, s
		set.registry.Metrics, set.registry.MaxObjectBytes = reg, 100
		set.api.Redirect = true
		set.api.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		for _, n := range networks {
			set.api.RedirectNetworks = append(set.api.RedirectNetworks, netip.MustParsePrefix(n))
		}
	}
}

func TestAPullIsSentToTheStore(t *testing.T) {
	t.Parallel()
	driver, reg := &signed{}, prometheus.NewRegistry()
	s := start(t, redirecting(driver, reg))
	d := s.pushBlob("app", layer)
	path := "/v2/app/blobs/" + d
	a := s.do(http.MethodGet, path, nil).is(http.StatusTemporaryRedirect).has("Docker-Content-Digest", d).has("Cache-Control", "no-store").has("Content-Length", "0")
	var object string
	for info, err := range s.store.List(t.Context(), "") {
		s.ok(err)
		object = info.Name
	}
	if want := "https://store.example.com/" + object + "?signature=x"; a.location() != want || len(a.body) > 0 {
		t.Errorf("sent to %q with body %q, want %q", a.location(), a.body, want)
	}
	if driver.life <= 0 || driver.life > 5*time.Minute {
		t.Errorf("the URL is good for %v, want at most five minutes", driver.life)
	}
	s.do(http.MethodGet, path, nil, header("Range", "bytes=0-3")).is(http.StatusTemporaryRedirect)

	// Never for HEAD, nor for who has it already, nor before it is known that the blob is there and the caller may read it.
	s.do(http.MethodHead, path, nil).is(http.StatusOK).has("Content-Length", "7").has("Location", "")
	s.do(http.MethodGet, path, nil, header("If-None-Match", `"`+d+`"`)).is(http.StatusNotModified).has("Location", "")
	s.do(http.MethodGet, path, nil, header("If-Range", `"`+d+`"`), header("Range", "bytes=0-3")).is(http.StatusPartialContent).has("Location", "")
	s.do(http.MethodGet, path, nil, header("If-Match", `"`+d+`"`)).is(http.StatusOK).has("Location", "")
	s.do(http.MethodGet, "/v2/app/blobs/"+sum("absent"), nil).is(http.StatusNotFound, oci.CodeBlobUnknown).has("Location", "")
	s.do(http.MethodGet, "/v2/other/blobs/"+d, nil).is(http.StatusNotFound, oci.CodeNameUnknown).has("Location", "")
	private := s.pushBlob("team/app", "private")
	s.do(http.MethodGet, "/v2/team/app/blobs/"+private, nil, nobody).is(http.StatusUnauthorized, oci.CodeUnauthorized).has("Location", "")

	// What is not one object goes through the node.
	for _, text := range []string{"", noisy(250)} {
		if got := s.do(http.MethodGet, "/v2/app/blobs/"+s.pushBlob("app", text), nil).is(http.StatusOK); string(got.body) != text {
			t.Errorf("%d bytes came back, want %d", len(got.body), len(text))
		}
	}
	driver.err = errors.New("no key")
	if got := s.do(http.MethodGet, path, nil).is(http.StatusOK); string(got.body) != layer {
		t.Errorf("without a URL: %q", got.body)
	}
	families, err := reg.Gather()
	s.ok(err)
	counted := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "havn_blob_redirects_total" {
				counted[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if counted["redirected"] != 2 || counted["through"] != 3 {
		t.Errorf("counted %v, want 2 redirected and 3 through", counted)
	}
}

func TestOnlyClientsWhoCanReachTheStoreAreSentThere(t *testing.T) {
	t.Parallel()
	s := start(t, redirecting(&signed{}, nil, "10.0.0.0/8", "2001:db8::/32"))
	path := "/v2/app/blobs/" + s.pushBlob("app", layer)
	for client, want := range map[string]int{
		"10.1.2.3": http.StatusTemporaryRedirect, "2001:db8::5": http.StatusTemporaryRedirect, "::ffff:10.1.2.3": http.StatusTemporaryRedirect,
		"192.0.2.1": http.StatusOK, "2001:db9::5": http.StatusOK,
	} {
		s.do(http.MethodGet, path, nil, header("X-Forwarded-For", client)).is(want)
	}
	s.do(http.MethodGet, path, nil).is(http.StatusOK)
}

func TestNobodyIsSentAwayUnlessItIsWanted(t *testing.T) {
	t.Parallel()
	s := start(t, redirecting(&signed{}, nil), func(set *settings) { set.api.Redirect = false })
	s.do(http.MethodGet, "/v2/app/blobs/"+s.pushBlob("app", layer), nil).is(http.StatusOK)
}
