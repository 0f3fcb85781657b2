package egress

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
)

func parse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// known lets a client's direct connections find names, each the one server's. Connections are checked like any other.
func known(t *testing.T, c *http.Client, servers map[string]*httptest.Server) {
	t.Helper()
	b, ok := c.Transport.(*bounded)
	if !ok {
		t.Fatal("another transport")
	}
	dial := b.direct.DialContext
	b.direct.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if s := servers[host]; s != nil {
			address = s.Listener.Addr().String()
		}
		return dial(ctx, network, address)
	}
}

func TestWhatIsReachedWithoutTheProxy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what    string
		noProxy []string
		proxied map[string]bool
	}{
		{"nothing named", nil, map[string]bool{
			"https://s3.example.com/": true, "http://10.1.2.3/": true, "http://[fd00::1]/": true, "http://localhost.example.com/": true, "http://0.0.0.0/": true,
			"http://localhost:4318/": false, "http://LOCALHOST/": false, "http://localhost./": false, "http://127.0.0.1:4318/": false, "http://127.9.9.9/": false, "http://[::1]/": false, "http://[::ffff:127.0.0.1]/": false,
		}},
		{"names", []string{"s3.example.com", ".corp.example", "store:9000"}, map[string]bool{
			"https://s3.example.com/": false, "https://bucket.s3.example.com/": false, "https://S3.Example.Com./": false, "http://a.corp.example/": false, "http://store:9000/": false,
			"https://s3.example.com.evil.example/": true, "https://xs3.example.com/": true, "https://example.com/": true, "http://corp.example/": true, "http://store/": true, "http://store:90/": true,
		}},
		{"a port that goes without saying", []string{"a.example:443"}, map[string]bool{"https://a.example/": false, "http://a.example/": true, "http://a.example:443/": false}},
		{"addresses", []string{"10.1.2.3", "10.9.9.9:9000", "fd00::1", "[fd00::9]:9000"}, map[string]bool{
			"http://10.1.2.3/": false, "http://10.1.2.3:9000/": false, "http://[::ffff:10.1.2.3]/": false, "http://10.9.9.9:9000/": false, "http://[fd00:0::1]/": false, "http://[fd00::9]:9000/": false,
			"http://10.1.2.4/": true, "http://10.9.9.9/": true, "http://[fd00::2]/": true, "http://[fd00::9]/": true, "http://10.1.2.3.example/": true,
		}},
		{"networks", []string{"10.0.0.0/8", "fd00::/8"}, map[string]bool{
			"http://10.255.0.1:9000/": false, "http://[::ffff:10.0.0.1]/": false, "http://[fd12::1]/": false, "http://11.0.0.1/": true, "http://[fe80::1]/": true, "http://a.example/": true,
		}},
		{"everything", []string{"a.example", "*"}, map[string]bool{"https://b.example/": false, "http://8.8.8.8/": false}},
	} {
		of := byProxy(c.noProxy)
		for address, want := range c.proxied {
			if got := of(parse(t, address)); got != want {
				t.Errorf("%s: %s by the proxy: %v, want %v", c.what, address, got, want)
			}
		}
	}
}

func TestConnectionsWithoutTheProxyAreCheckedAsTheyAreMade(t *testing.T) {
	t.Parallel()
	inside, asked := serve(t, hello)
	proxy, proxied := serve(t, hello)
	names := map[string]*httptest.Server{"inside.example": inside}
	noProxy := []string{"inside.example", "10.0.0.0/8", "169.254.169.254"}
	c := client(t, Config{Proxy: parse(t, proxy.URL), NoProxy: noProxy})
	known(t, c, names)
	for _, address := range []string{"http://inside.example/", inside.URL, "http://localhost:" + port(t, inside), "http://10.0.0.1/", "http://169.254.169.254/latest", "http://[::ffff:a00:1]/"} {
		if text, err := get(t, c, address); !fail.Is(err, fail.Denied) {
			t.Errorf("%s: %q, %v, kind %v", address, text, err, fail.KindOf(err))
		}
	}
	if asked.Load() != 0 || proxied.Load() != 0 {
		t.Errorf("the server inside was asked %d times, the proxy %d times", asked.Load(), proxied.Load())
	}
	c = client(t, Config{Proxy: parse(t, proxy.URL), NoProxy: noProxy, Allow: here})
	known(t, c, names)
	for _, address := range []string{"http://inside.example/", inside.URL} {
		if text, err := get(t, c, address); err != nil || text != "hello" {
			t.Errorf("allowed, %s: %q, %v", address, text, err)
		}
	}
	if asked.Load() != 2 || proxied.Load() != 0 {
		t.Errorf("allowed: the server inside was asked %d times, the proxy %d times", asked.Load(), proxied.Load())
	}
	if text, err := get(t, c, "http://8.8.8.8/"); err != nil || text != "hello" || proxied.Load() != 1 {
		t.Errorf("what is not named: %q, %v; the proxy was asked %d times", text, err, proxied.Load())
	}
}

// TestARedirectBetweenTheProxyAndWhatIsReachedWithoutItIsChecked goes over each border in both directions: to what may be reached, and to what may not.
func TestARedirectBetweenTheProxyAndWhatIsReachedWithoutItIsChecked(t *testing.T) {
	t.Parallel()
	away := func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		hello(w, r)
	}
	direct, asked := serve(t, away)
	proxy, proxied := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "8.8.8.8" {
			http.Error(w, "asked for "+r.URL.Host, http.StatusBadGateway)
			return
		}
		away(w, r)
	})
	for _, c := range []struct {
		what, from, to string
		denied         bool // also where this machine's address is allowed
		asked, proxied int64
	}{
		{"off the proxy", "http://8.8.8.8", "http://direct.example/", false, 1, 1},
		{"off the proxy, to what is not public", "http://8.8.8.8", "http://10.0.0.1/", true, 0, 1},
		{"off the proxy, to the metadata of a cloud", "http://8.8.8.8", "http://169.254.169.254/latest", true, 0, 1},
		{"to the proxy", "http://direct.example", "http://8.8.8.8/", false, 1, 1},
		{"to the proxy, for what is not public", "http://direct.example", "http://192.168.0.1/", true, 1, 0},
	} {
		for _, allowed := range []bool{true, false} {
			asked.Store(0)
			proxied.Store(0)
			config := Config{Proxy: parse(t, proxy.URL), NoProxy: []string{"direct.example", "10.0.0.0/8", "169.254.169.254"}}
			if allowed {
				config.Allow = here
			}
			made := client(t, config)
			known(t, made, map[string]*httptest.Server{"direct.example": direct})
			text, err := get(t, made, c.from+"/?to="+url.QueryEscape(c.to))
			wantAsked := c.asked
			if !allowed {
				wantAsked = 0
			}
			wantProxied := c.proxied
			if !allowed && c.from != "http://8.8.8.8" {
				wantProxied = 0
			}
			if denied := c.denied || !allowed; denied != fail.Is(err, fail.Denied) || !denied && (err != nil || text != "hello") {
				t.Errorf("%s, allowed %v: %q, %v", c.what, allowed, text, err)
			}
			if asked.Load() != wantAsked || proxied.Load() != wantProxied {
				t.Errorf("%s, allowed %v: the server was asked %d times, want %d; the proxy %d times, want %d", c.what, allowed, asked.Load(), wantAsked, proxied.Load(), wantProxied)
			}
		}
	}
}

func TestAStreamGoesAroundTheProxyToWhatIsNamed(t *testing.T) {
	t.Parallel()
	var dialed []string
	c := newStream(StreamConfig{NoProgress: patience, Proxy: parse(t, "http://proxy.example:3128"), NoProxy: []string{"s3.lan.example"}}, func(_ context.Context, _, address string) (net.Conn, error) {
		dialed = append(dialed, address)
		return nil, net.ErrClosed
	})
	for _, address := range []string{"http://bucket.s3.lan.example/", "http://s3.example.com/", "http://127.0.0.1:9000/", "http://169.254.169.254/latest"} {
		if text, err := get(t, c, address); err == nil {
			t.Errorf("%s: %q", address, text)
		}
	}
	if want := []string{"bucket.s3.lan.example:80", "proxy.example:3128", "127.0.0.1:9000", "169.254.169.254:80"}; !slices.Equal(dialed, want) {
		t.Errorf("connected to %q, want %q", dialed, want)
	}
}
