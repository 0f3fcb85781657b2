package stores

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/test/harness"
)

func TestHavnServesFromAzure(t *testing.T) {
	serves(t, startAzurite(t).env())
}

func TestPullsAreSentToAzure(t *testing.T) {
	e := startAzurite(t)
	redirects(t, harness.Start(t, harness.Options{Env: e.env("HAVN_STORAGE_REDIRECT=on")}))
}

// redirects pulls a blob as clients do: without the credentials that are Havn's.
func redirects(t *testing.T, s *harness.Server) {
	t.Helper()
	c := newClient(t, s)
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	data := blobtest.Noise(5, 6<<20)
	if err := c.push(t, "stores/away", data, true); err != nil {
		t.Fatal(err)
	}
	got, err := c.do(t, http.MethodGet, "/v2/stores/away/blobs/"+digestOf(data), nil, nil)
	if err != nil || got.status != http.StatusTemporaryRedirect {
		t.Fatalf("%d %s, %v", got.status, got.body, err)
	}
	readsSigned(t, got.header.Get("Location"), data)
}

// cutter stands between Havn and a store, and cuts connections.
type cutter struct {
	t    *testing.T
	to   string
	at   net.Listener
	mu   sync.Mutex
	open map[net.Conn]bool
}

func cutting(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	c := &cutter{t: t, to: to, at: l, open: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, acceptErr := l.Accept()
			if acceptErr != nil {
				return
			}
			all.Go(func() { c.relay(in) })
		}
	})
	t.Cleanup(func() {
		if closeErr := l.Close(); closeErr != nil {
			t.Error(closeErr)
		}
		c.cut()
		all.Wait()
	})
	return c
}

// relay moves the bytes of one connection, both ways, until one side ends.
func (c *cutter) relay(in net.Conn) {
	out, err := net.Dial("tcp", c.to)
	if err != nil { // the store is down
		c.end(in)
		return
	}
	c.mu.Lock()
	c.open[in], c.open[out] = true, true
	c.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			//nolint:errcheck // that it is cut is the point
			io.Copy(way[0], way[1])
			c.end(in)
			c.end(out)
		})
	}
	both.Wait()
}

func (c *cutter) end(conn net.Conn) {
	c.mu.Lock()
	delete(c.open, conn)
	c.mu.Unlock()
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.t.Error(err)
	}
}

// cut ends all connections.
func (c *cutter) cut() {
	c.mu.Lock()
	var all []net.Conn
	for conn := range c.open {
		all = append(all, conn)
	}
	c.mu.Unlock()
	for _, conn := range all {
		c.end(conn)
	}
}

// TestPushesOutliveAzurite stops Azurite and starts it again under pushes, and cuts connections at all times: pushes wait or send again, and no client sees it.
func TestPushesOutliveAzurite(t *testing.T) {
	e := startAzurite(t)
	between := cutting(t, e.endpoint.Host)
	env := e.env("HAVN_STORAGE_AZURE_BLOCK_SIZE=1MiB", "HAVN_STORAGE_AZURE_ENDPOINT=http://"+between.at.Addr().String()+"/"+azureAccount)
	s := harness.Start(t, harness.Options{Env: env})
	const pushers, rounds = 4, 3
	var stop atomic.Bool
	var pushed atomic.Int64
	var all sync.WaitGroup
	var mu sync.Mutex
	var kept [][]byte
	for i := range pushers {
		all.Go(func() {
			cl := newClient(t, s)
			for round := 0; !stop.Load(); round++ {
				data := blobtest.Noise(uint64(i), 5<<20)
				copy(data, fmt.Sprintf("%d of %d", round, i))
				if err := cl.push(t, "stores/faults", data, round%2 == 0); err != nil {
					t.Errorf("push %d of pusher %d: %v", round, i, err)
					return
				}
				mu.Lock()
				if len(kept) < 20 {
					kept = append(kept, data)
				}
				mu.Unlock()
				pushed.Add(1)
			}
		})
	}
	cuts := 0
	for range rounds {
		for before, deadline := pushed.Load(), time.Now().Add(patience); pushed.Load() < before+3 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			between.cut()
			cuts++
		}
		if err := e.Stop(t); err != nil {
			t.Errorf("Azurite ended with %v", err)
		}
		e.again(t)
	}
	stop.Store(true)
	all.Wait()
	cl := newClient(t, s)
	for _, data := range kept {
		cl.pull(t, "stores/faults", data)
	}
	t.Logf("%d pushes, %d cuts, %d restarts", pushed.Load(), cuts, rounds)
}

func TestStartAndDoctorSayWhatIsWrongWithAzure(t *testing.T) {
	e := startAzurite(t)
	for name, bad := range map[string]struct {
		env   []string
		words []string
	}{
		"wrong key":        {[]string{"HAVN_STORAGE_AZURE_KEY=d3Jvbmc="}, []string{"AuthorizationFailure", "storage.azure.key"}},
		"absent container": {[]string{"HAVN_STORAGE_AZURE_CONTAINER=absent", "HAVN_STORAGE_AZURE_CREATE_CONTAINER=false"}, []string{"it is not there", "storage.azure.create_container"}},
		"dead address":     {[]string{"HAVN_STORAGE_AZURE_ENDPOINT=http://127.0.0.1:1"}, []string{"connection refused", "storage.azure.endpoint"}},
		"no such host":     {[]string{"HAVN_STORAGE_AZURE_ENDPOINT=http://nowhere.invalid"}, []string{"nowhere.invalid", "/etc/resolv.conf"}},
		"no identity": {
			[]string{"HAVN_STORAGE_AZURE_KEY=", "HAVN_STORAGE_AZURE_ENDPOINT=https://127.0.0.1:1", "IDENTITY_ENDPOINT=http://127.0.0.1:1", "IDENTITY_HEADER=x"},
			[]string{"no identity for Azure", "storage.azure.key"},
		},
	} {
		t.Run(name, func(t *testing.T) { refusesToStart(t, e.env(bad.env...), bad.words...) })
	}
}

// TestUsersCanCheckTheirContainerByHarborsFile also proves that the check leaves nothing, and that Harbor's file is enough but for where Azurite is.
func TestUsersCanCheckTheirContainerByHarborsFile(t *testing.T) {
	e := startAzurite(t)
	cfg := filepath.Join(t.TempDir(), "harbor.cfg")
	text := "hostname = registry.example.com\nregistry_storage_provider_name = azure\n" +
		"registry_storage_provider_config = accountname: " + azureAccount + ", accountkey: " + azureKey + ", container: " + azureContainer + "\n"
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"HAVN_STORAGE_AZURE_ENDPOINT=" + e.endpoint.String()}
	code, out := storeCheck(t, env, "--output", "json", "--harbor-cfg", cfg)
	var result struct {
		OK     bool
		Checks []struct {
			Name string
			OK   bool
		}
	}
	if err := json.Unmarshal(out, &result); err != nil || code != 0 || !result.OK || len(result.Checks) < 10 {
		t.Errorf("exit code %d, %+v, %v", code, result, err)
	}
	pages := e.client(t).NewListBlobsFlatPager(nil)
	page, err := pages.NextPage(t.Context())
	if err != nil || len(page.Segment.BlobItems) > 0 {
		t.Errorf("%d objects are left, %v", len(page.Segment.BlobItems), err)
	}
	if code, _ = storeCheck(t, append(env, "HAVN_STORAGE_AZURE_KEY=d3Jvbmc="), "--harbor-cfg", cfg); code != 1 {
		t.Errorf("exit code %d with a wrong key", code)
	}
}

// TestTheMachinesIdentityReadsAndWrites gives Havn no key: it asks what stands for the machine's cloud for a token, as in Azure, and the store for a key that signs.
func TestTheMachinesIdentityReadsAndWrites(t *testing.T) {
	cert := harness.Issue(t, t.TempDir())
	e := startAzurite(t, "--oauth", "basic", "--cert", cert.Cert, "--key", cert.Key)
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Identity-Header") != "of-the-machine" {
			http.Error(w, "not for you", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if _, err := fmt.Fprintf(w, `{"access_token": %q, "expires_on": "%d", "resource": "https://storage.azure.com", "token_type": "Bearer"}`, token(), time.Now().Add(time.Hour).Unix()); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(cloud.Close)
	away := "HAVN_STORAGE_REDIRECT_NETWORKS=192.0.2.0/24"
	for _, networks := range []string{away, "HAVN_STORAGE_REDIRECT_NETWORKS=127.0.0.0/8"} {
		s := harness.Start(t, harness.Options{Env: e.env("HAVN_STORAGE_AZURE_KEY=", "HAVN_STORAGE_AZURE_CA_FILE="+cert.Authority, "HAVN_STORAGE_REDIRECT=on", networks,
			"IDENTITY_ENDPOINT="+cloud.URL, "IDENTITY_HEADER=of-the-machine")})
		c := newClient(t, s)
		c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		data := blobtest.Noise(6, 3<<20)
		if err := c.push(t, "stores/identity", data, false); err != nil {
			t.Fatal(err)
		}
		if networks == away {
			c.pull(t, "stores/identity", data)
			continue
		}
		// This Azurite does not know what newer versions of the API sign with such a key, so that the URL is only looked at.
		got, err := c.do(t, http.MethodGet, "/v2/stores/identity/blobs/"+digestOf(data), nil, nil)
		if err != nil || got.status != http.StatusTemporaryRedirect || !strings.Contains(got.header.Get("Location"), "skoid=") || !strings.Contains(got.header.Get("Location"), "sp=r&") {
			t.Errorf("%d %s %s, %v", got.status, got.header.Get("Location"), got.body, err)
		}
	}
}

// token makes one as Azure's login service does, but for the signature, at which Azurite does not look.
func token() string {
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now().Unix()
	const tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	return part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." + part(map[string]any{
		"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/" + tenant + "/", "iat": now - 60, "nbf": now - 60, "exp": now + 3600,
		"tid": tenant, "oid": "8f1b9b1e-5c3c-4f3b-9d3f-0a4f0c4a6f10", "ver": "1.0",
	}) + "." + base64.RawURLEncoding.EncodeToString([]byte("unsigned"))
}
