package stores

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
)

// patience is for what ends within seconds on an idle machine.
const patience = 2 * time.Minute

// swiftCall sends one request of the Swift API by hand, so that what the lab promises does not rest on a driver. header is names and values in turn.
func swiftCall(ctx context.Context, c *lab.Ceph, method, path string, body []byte, header ...string) (int, []byte, error) {
	auth, err := http.NewRequestWithContext(ctx, http.MethodGet, c.SwiftAuthURL(), nil)
	if err != nil {
		return 0, nil, err
	}
	auth.Header.Set("X-Auth-User", lab.SwiftUser)
	auth.Header.Set("X-Auth-Key", lab.SwiftKey)
	answer, err := http.DefaultClient.Do(auth)
	if err != nil {
		return 0, nil, err
	}
	if err = answer.Body.Close(); err != nil {
		return 0, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, answer.Header.Get("X-Storage-Url")+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("X-Auth-Token", answer.Header.Get("X-Auth-Token"))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if answer, err = http.DefaultClient.Do(r); err != nil {
		return 0, nil, err
	}
	read, err := io.ReadAll(answer.Body)
	return answer.StatusCode, read, errors.Join(err, answer.Body.Close())
}

func wantSwift(t *testing.T, c *lab.Ceph, method, path string, body []byte, status int, header ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, read, err := swiftCall(ctx, c, method, path, body, header...)
	if err != nil || got != status {
		t.Fatalf("%s %s: %d, want %d: %v\n%s", method, path, got, status, err, read)
	}
	return read
}

func TestCephKeepsWhatItAcknowledgedThroughEveryKill(t *testing.T) {
	c := ceph(t)
	wantSwift(t, c, http.MethodPut, "/lab-kills", nil, http.StatusCreated)
	for name, kill := range map[string]func(context.Context) error{
		"radosgw": c.Gateway.Restart, "osd": c.OSDs[0].Restart, "mon": c.Monitor.Restart,
		"all": func(ctx context.Context) error {
			c.Kill()
			return c.Restart(ctx)
		},
	} {
		want := []byte("before the kill of " + name)
		wantSwift(t, c, http.MethodPut, "/lab-kills/"+name, want, http.StatusCreated)
		began := time.Now()
		if err := kill(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := wantSwift(t, c, http.MethodGet, "/lab-kills/"+name, nil, http.StatusOK); !bytes.Equal(got, want) {
			t.Errorf("%s: %q after the kill", name, got)
		}
		t.Logf("%s: back after %s", name, time.Since(began).Round(10*time.Millisecond))
	}
}

func TestAPausedGatewayHangsAndGoesOn(t *testing.T) {
	c := ceph(t)
	wantSwift(t, c, http.MethodPut, "/lab-pause", nil, http.StatusCreated)
	if err := c.Gateway.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	_, _, err := swiftCall(ctx, c, http.MethodGet, "/lab-pause", nil)
	cancel()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused radosgw answers: %v", err)
	}
	if err = c.Gateway.Resume(); err != nil {
		t.Fatal(err)
	}
	wantSwift(t, c, http.MethodGet, "/lab-pause", nil, http.StatusNoContent)
}

func TestACephIsStartedAgainInItsDirectory(t *testing.T) {
	dir := t.TempDir()
	o := lab.CephOptions{Gigabytes: 2}
	c, err := lab.StartCeph(t.Context(), dir, o)
	need(t, err)
	wantSwift(t, c, http.MethodPut, "/again", nil, http.StatusCreated)
	wantSwift(t, c, http.MethodPut, "/again/object", []byte("kept"), http.StatusCreated)
	if err = c.Stop(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c, err = lab.StartCeph(t.Context(), dir, o)
	need(t, err)
	t.Logf("started again in %s", time.Since(began).Round(10*time.Millisecond))
	if got := wantSwift(t, c, http.MethodGet, "/again/object", nil, http.StatusOK); string(got) != "kept" {
		t.Errorf("%q after a stop and a start", got)
	}
	if err = c.Stop(); err != nil {
		t.Fatal(err)
	}
}
