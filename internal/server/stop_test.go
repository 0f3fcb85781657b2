package server_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/sqldb"
)

// push is an upload request whose body the test sends as it likes.
type push struct {
	body *io.PipeWriter
	done chan answer
	err  chan error
}

func (r *running) patch(t *testing.T) *push {
	t.Helper()
	url := r.upload(t)
	in, out := io.Pipe()
	p := &push{body: out, done: make(chan answer, 1), err: make(chan error, 1)}
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		a, err := do(t, client, http.MethodPatch, url, in, append(basic(), "Content-Type", "application/octet-stream")...)
		if err != nil {
			p.err <- err
			return
		}
		p.done <- a
	}()
	if _, err := out.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAStopLetsRequestsFinishAndTakesNoMore(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_DRAIN_DELAY=5m", "HAVN_METRICS_ADDR=127.0.0.1:0")
	p := r.patch(t)
	r.awaitFlight(t, "1")
	r.stop()
	// While balancers notice, the node still answers, and says that it is about to stop.
	await(t, "503 from /readyz", func() bool {
		a := get(t, r.URL()+"/readyz")
		return a.StatusCode == http.StatusServiceUnavailable && strings.Contains(a.body, `"status":"stopping"`)
	})
	if _, err := p.body.Write([]byte(" second")); err != nil {
		t.Fatal(err)
	}
	if err := p.body.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-p.done:
		if a.StatusCode != http.StatusAccepted || a.Header.Get("Range") != "0-11" {
			t.Errorf("%s, Range %s: %s", a.Status, a.Header.Get("Range"), a.body)
		}
	case err := <-p.err:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("the push does not end")
	}
	r.hurry()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.Addrs()[0].String()); err == nil {
		t.Errorf("it still listens")
		if err = conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// awaitFlight waits until so many requests are under way.
func (r *running) awaitFlight(t *testing.T, n string) {
	t.Helper()
	await(t, n+" requests under way", func() bool {
		return strings.Contains(get(t, "http://"+r.MetricsAddr().String()+"/metrics").body, "\nhavn_http_requests_in_flight "+n+"\n")
	})
}

func TestAStopFinishesWhatIsUnderWayAndCutsWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_DRAIN_TIMEOUT=1s", "HAVN_METRICS_ADDR=127.0.0.1:0")
	p := r.patch(t)
	r.awaitFlight(t, "1")
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	// The client notices once it has nothing more to send.
	if err := p.body.CloseWithError(errors.New("nothing more")); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-p.done:
		t.Errorf("the push that never ended was answered: %s %s", a.Status, a.body)
	case err := <-p.err:
		t.Logf("the client sees: %v", err)
	case <-time.After(patience):
		t.Fatal("the connection was not cut")
	}
	if len(r.log.lines("requests are cut off")) != 1 {
		t.Errorf("log:\n%s", r.log)
	}
}

func TestAStopWithoutRequestsIsQuick(t *testing.T) {
	t.Parallel()
	r := start(t)
	// An idle connection is no request.
	if a, err := do(t, &http.Client{}, http.MethodGet, r.URL()+"/healthz", nil); err != nil || a.StatusCode != http.StatusOK {
		t.Fatal(a, err)
	}
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	if len(r.log.lines("requests are cut off")) != 0 || len(r.log.lines("stopped")) != 1 {
		t.Errorf("log:\n%s", r.log)
	}
}

func TestTheServerEndsWhenSomethingThatMustRunEnds(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.fails = true
	// Another node declares this one dead: what it claimed may be another's by now, so it must end.
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(r.data, "havn.db")})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), "test.dead", func(tx *sqldb.Tx) error {
		_, execErr := tx.Exec(t.Context(), "UPDATE nodes SET state = 'dead' WHERE state = 'alive'")
		return execErr
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	notNil(t, r.wait(t), "cluster")
}
