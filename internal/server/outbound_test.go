package server

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/config"
)

// TestEverythingGoesAroundTheProxyToWhatIsNamed asks for names that are nowhere: whether the proxy hears of one tells how it was looked for.
func TestEverythingGoesAroundTheProxyToWhatIsNamed(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	heard := map[string]int{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		heard[r.URL.Host]++
		http.NotFound(w, r)
	}))
	t.Cleanup(proxy.Close)
	c, _, err := config.Load(config.Source{Env: []string{"HAVN_OUTBOUND_PROXY=" + proxy.URL, "HAVN_OUTBOUND_NO_PROXY=lan.invalid"}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(client *http.Client, unmade error) func(string) error {
		if unmade != nil {
			t.Fatal(unmade)
		}
		t.Cleanup(client.CloseIdleConnections)
		return func(address string) error {
			r, bad := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
			if bad != nil {
				t.Fatal(bad)
			}
			answer, bad := client.Do(r)
			if bad != nil {
				return bad
			}
			return answer.Body.Close()
		}
	}
	who := &identity{outbound: c.Outbound, clock: time.Now}
	for what, asks := range map[string]func(string) error{
		"collector": ask(outbound(c)),
		"store":     ask(storeClient(c, "", time.Minute)),
		"provider":  func(address string) error { return oidc.Ping(t.Context(), who.reach(address, false)) },
	} {
		if err = asks("http://" + what + ".lan.invalid"); err == nil {
			t.Errorf("the %s that is nowhere answers", what)
		}
		err = asks("http://" + what + ".away.invalid")
		mu.Lock()
		if heard[what+".lan.invalid"] != 0 || heard[what+".away.invalid"] == 0 {
			t.Errorf("%s: the proxy heard of %v; %v", what, heard, err)
		}
		mu.Unlock()
	}
}
