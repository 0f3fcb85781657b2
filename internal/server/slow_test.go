package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// link is a client's end of a slow line: what arrives is read in small pieces, with a pause after each, until it is told to hurry.
type link struct {
	net.Conn
	pause *atomic.Int64
}

func (l link) Read(p []byte) (int, error) {
	pause := time.Duration(l.pause.Load())
	if pause > 0 {
		p = p[:min(len(p), 8<<10)]
		time.Sleep(pause) // this is the line's slowness, not a wait for an event
	}
	return l.Conn.Read(p)
}

// overSlowLine answers a client whose line is as slow as pause says.
func overSlowLine(pause *atomic.Int64, http2 bool) *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: http2,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if tcp, ok := conn.(*net.TCPConn); ok {
				err = tcp.SetReadBuffer(256 << 10) // what waits here has left the server
			}
			return link{conn, pause}, err
		},
	}}
}

// pushed puts a blob that no layer below makes smaller into a server, and answers its URL.
func pushed(t *testing.T, r *running, size int) (url string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	rand.New(rand.NewSource(1)).Read(content)
	sum := sha256.Sum256(content)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	a, err := do(t, client, http.MethodPost, r.URL()+"/v2/library/app/blobs/uploads/?digest="+digest, bytes.NewReader(content), basic()...)
	if err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("push: %v %v %s", err, a.Response, a.body)
	}
	return r.URL() + "/v2/library/app/blobs/" + digest, content
}

// secured answers the variables of a server with a certificate.
func secured(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	issue(t, cert, key, 1, time.Now().Add(24*time.Hour))
	return []string{"HAVN_HTTP_TLS_CERTIFICATE=" + cert, "HAVN_HTTP_TLS_KEY=" + key}
}

func TestAPullThatIsVerySlowIsServedWhole(t *testing.T) {
	t.Parallel()
	const size = 24 << 20         // more than all the buffers on the way
	const limit = 4 * time.Second // with less, a machine that is busy for a moment looks like a client that stands still
	for name, c := range map[string]struct{ tls, http2 bool }{"HTTP": {}, "HTTPS": {true, false}, "HTTP/2": {true, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := []string{"HAVN_HTTP_PROGRESS_TIMEOUT=" + limit.String()}
			if c.tls {
				env = append(env, secured(t)...)
			}
			r := start(t, env...)
			url, content := pushed(t, r, size)
			var pause atomic.Int64
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", basic()[1])
			res, err := overSlowLine(&pause, c.http2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{false: 1, true: 2}[c.http2]; res.ProtoMajor != want {
				t.Errorf("HTTP/%d", res.ProtoMajor)
			}
			// The line is quick at first, so that the kernel's buffer grows; then it moves half a MiB in each limit, as 9 KB/s do in the default one.
			got := make([]byte, size/4, size)
			if _, err = io.ReadFull(res.Body, got); err != nil {
				t.Fatal(err)
			}
			pause.Store(int64(limit / 64))
			hurry := time.AfterFunc(3*limit, func() { pause.Store(0) }) // a client that stands still is noticed after two
			defer hurry.Stop()
			more, err := io.ReadAll(res.Body)
			got = append(got, more...)
			if closeErr := res.Body.Close(); err == nil {
				err = closeErr
			}
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d of %d bytes: %v", len(got), size, err)
			}
		})
	}
}

// HTTP/2 gives a stream one deadline, which its handler alone moves on: also while it writes a large manifest, or shares the line with others.
func TestWhatMovesSlowlyOverHTTP2IsServedWhole(t *testing.T) {
	t.Parallel()
	const limit, layers = 4 * time.Second, 64 // of the line, each gets less in the limit than is written at once
	r := start(t, append(secured(t), "HAVN_HTTP_PROGRESS_TIMEOUT="+limit.String())...)
	get := func(client *http.Client, url string) ([]byte, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", basic()[1])
		res, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		got, err := io.ReadAll(res.Body)
		return got, errors.Join(err, res.Body.Close())
	}
	noise := make([]byte, 3_100_000)
	rand.New(rand.NewSource(2)).Read(noise)
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"a":"%s"}}`, base64.StdEncoding.EncodeToString(noise))
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	url := r.URL() + "/v2/library/app/manifests/large"
	a, err := do(t, plain, http.MethodPut, url, bytes.NewReader(manifest), append(basic(), "Content-Type", "application/vnd.oci.image.index.v1+json")...)
	if err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("push: %v %v %s", err, a.Response, a.body)
	}
	layer, content := pushed(t, r, 192<<10)
	var all sync.WaitGroup
	for _, line := range []struct {
		url     string
		content []byte
		times   int
		pause   time.Duration // for 8 KiB
	}{{url, manifest, 1, limit / 160}, {layer, content, layers, limit / 400}} {
		var pause atomic.Int64
		client := overSlowLine(&pause, true)
		if _, err = get(client, r.URL()+"/v2/"); err != nil { // one connection for all that follows
			t.Fatal(err)
		}
		pause.Store(int64(line.pause))
		for range line.times {
			all.Go(func() {
				if got, getErr := get(client, line.url); getErr != nil || !bytes.Equal(got, line.content) {
					t.Errorf("%d of %d bytes: %v", len(got), len(line.content), getErr)
				}
			})
		}
	}
	all.Wait()
}

// TestAPingMayWaitBehindWhatIsOnTheLine answers a ping of HTTP/2 later than a header may come: on a slow line it is behind all that was sent before it.
func TestAPingMayWaitBehindWhatIsOnTheLine(t *testing.T) {
	t.Parallel()
	const late = 2 * time.Second
	r := start(t, append(secured(t), "HAVN_HTTP_HEADER_TIMEOUT=1s", "HAVN_HTTP_PROGRESS_TIMEOUT=4s")...)
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(r.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := conn.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	if err = conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err = io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	frames := http2.NewFramer(conn, conn)
	if err = frames.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	for asked := false; ; {
		frame, readErr := frames.ReadFrame()
		if readErr != nil {
			t.Fatalf("asked %v: %v", asked, readErr)
		}
		ping, ok := frame.(*http2.PingFrame)
		switch {
		case !ok:
			continue
		case ping.IsAck():
			return // it is served on
		}
		data := ping.Data
		time.Sleep(late)
		asked = true
		if err = errors.Join(frames.WritePing(true, data), frames.WritePing(false, [8]byte{1})); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPullThatStandsStillIsCutOff(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"HTTP": false, "HTTPS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := []string{"HAVN_HTTP_PROGRESS_TIMEOUT=1s"}
			if secure {
				env = append(env, secured(t)...)
			}
			r := start(t, env...)
			const size = 32 << 20
			url, _ := pushed(t, r, size)
			var pause atomic.Int64
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", basic()[1])
			res, err := overSlowLine(&pause, false).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			// Nothing of the body is read.
			await(t, "the end of the pull", func() bool { return len(r.log.lines("request")) == 2 })
			line := r.log.lines("request")[1]
			if sent, ok := line["bytes"].(float64); line["method"] != http.MethodGet || !ok || sent >= size {
				t.Errorf("line %v", line)
			}
			if err = res.Body.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAChangeMayTakeLongerThanNothingMayMove: HTTP/2 ended the stream of whatever took longer to be done than nothing may move while it is written, as the deletion of a large repository does.
func TestAChangeMayTakeLongerThanNothingMayMove(t *testing.T) {
	t.Parallel()
	r := start(t, append(secured(t), "HAVN_HTTP_PROGRESS_TIMEOUT=1s")...)
	mute, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err = mute.Close(); err != nil {
			t.Error(err)
		}
	}()
	ask := `{"ldap_url":"ldap://` + mute.Addr().String() + `","ldap_base_dn":"dc=x","ldap_uid":"uid","ldap_connection_timeout":3}`
	for name, http2 := range map[string]bool{"HTTPS": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			client := overSlowLine(new(atomic.Int64), http2)
			began := time.Now()
			a, askErr := do(t, client, http.MethodPost, r.URL()+"/api/v2.0/ldap/ping", strings.NewReader(ask), append(basic(), "Content-Type", "application/json")...)
			if askErr != nil {
				t.Fatalf("after %s: %v", time.Since(began), askErr)
			}
			if took := time.Since(began); a.StatusCode != http.StatusOK || (a.ProtoMajor == 2) != http2 || !strings.Contains(a.body, "does not answer within 3s") || took < 3*time.Second {
				t.Errorf("%s over %s after %s: %s", a.Status, a.Proto, took, a.body)
			}
		})
	}
}
