package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
)

// breakOff sends the head of a PATCH that promises the whole body, a part of the body, and ends the connection.
func breakOff(t *testing.T, s *harness.Server, path string, from, promised int, part []byte) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: harness.Patience}).DialContext(t.Context(), "tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: application/octet-stream\r\n"+
		"Content-Range: %d-%d\r\nContent-Length: %d\r\n\r\n",
		path, s.Addr, base64.StdEncoding.EncodeToString([]byte(creds)), from, from+promised-1, promised)
	if _, err = conn.Write(append([]byte(head), part...)); err != nil {
		t.Fatal(err)
	}
	// An end of the sending side, not a reset: all of the part arrives before it.
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.CloseWrite()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err = conn.SetReadDeadline(time.Now().Add(harness.Patience)); err != nil {
		t.Fatal(err)
	}
	// Whatever it answers or not: when it has closed the connection it is done with the request.
	if _, err = io.Copy(io.Discard, conn); err != nil {
		t.Logf("after the connection broke off: %v", err)
	}
	if err = conn.Close(); err != nil {
		t.Fatal(err)
	}
}

// offset asks an upload how far it is, until it has something; the path is that of the answer.
func offset(t *testing.T, s *harness.Server, path string) (string, int) {
	t.Helper()
	for deadline := time.Now().Add(harness.Patience); ; time.Sleep(50 * time.Millisecond) {
		a := ask(t, s, true, http.MethodGet, path, nil, nil)
		if a.status != http.StatusNoContent {
			t.Fatalf("status of the upload: %d %s", a.status, a.body)
		}
		_, last, _ := strings.Cut(a.header.Get("Range"), "-")
		if n, err := strconv.Atoi(last); err == nil && n > 0 {
			return location(t, a), n + 1
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s the upload has nothing of what was sent: Range is %q", harness.Patience, a.header.Get("Range"))
		}
	}
}

func location(t *testing.T, a answer) string {
	t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Path == "" {
		t.Fatalf("the answer %d has no Location: %s (%v)", a.status, a.body, err)
	}
	return u.RequestURI()
}

func TestUploadGoesOnWhereItBrokeOff(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	blob := noise(81, 6<<20)
	sum := sha256.Sum256(blob)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	a := ask(t, s, true, http.MethodPost, "/v2/lab/raw/blobs/uploads/", nil, nil)
	equal(t, "status of the POST", a.status, http.StatusAccepted)
	path := location(t, a)

	breakOff(t, s, path, 0, len(blob), blob[:4<<20])
	path, have := offset(t, s, path)
	if have > 4<<20 {
		t.Fatalf("the upload has %d bytes of the %d that were sent", have, 4<<20)
	}
	s.Kill(t) // the offset that was answered is durable
	s.Again(t)
	again, still := offset(t, s, path)
	equal(t, "offset after kill -9", still, have)

	rest := map[string]string{"Content-Range": fmt.Sprintf("%d-%d", have, len(blob)-1), "Content-Type": "application/octet-stream"}
	wrong := map[string]string{"Content-Range": fmt.Sprintf("%d-%d", have-1, len(blob)-1), "Content-Type": "application/octet-stream"}
	a = ask(t, s, true, http.MethodPatch, again, wrong, bytes.NewReader(blob[have-1:]))
	equal(t, "status of a chunk that overlaps", a.status, http.StatusRequestedRangeNotSatisfiable)
	a = ask(t, s, true, http.MethodPatch, again, rest, bytes.NewReader(blob[have:]))
	equal(t, "status of the rest", a.status, http.StatusAccepted)
	end := location(t, a)
	a = ask(t, s, true, http.MethodPut, end+"?digest="+digest, nil, nil)
	equal(t, "status of the PUT", a.status, http.StatusCreated)
	a = ask(t, s, true, http.MethodPut, end+"?digest="+digest, nil, nil)
	equal(t, "status of the PUT, said again", a.status, http.StatusCreated)

	a = ask(t, s, true, http.MethodGet, "/v2/lab/raw/blobs/"+digest, nil, nil)
	if a.status != http.StatusOK || !bytes.Equal(a.body, blob) {
		t.Fatalf("the blob as it is pulled: %d, %d bytes", a.status, len(a.body))
	}
}

func TestTokenIsWhatItWasGrantedFor(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	seed(t, s, "lab/app", "v1", image(t, 82))
	client := s.HTTP()
	defer client.CloseIdleConnections()
	token := func(auth bool, scope string) string {
		a := ask(t, s, auth, http.MethodGet, "/service/token?service=harbor-registry&scope="+url.QueryEscape(scope), nil, nil)
		var answer struct{ Token string }
		if err := json.Unmarshal(a.body, &answer); a.status != http.StatusOK || err != nil || answer.Token == "" {
			t.Fatalf("token: %d %s (%v)", a.status, a.body, err)
		}
		return answer.Token
	}
	status := func(raw, path string) int {
		return ask(t, s, false, http.MethodGet, path, map[string]string{"Authorization": "Bearer " + raw, "Accept": manifestTypes}, nil).status
	}
	mine, nobodys := token(true, "repository:lab/app:pull"), token(false, "repository:lab/app:pull")
	equal(t, "pull with a token", status(mine, "/v2/lab/app/manifests/v1"), http.StatusOK)
	equal(t, "the catalog with a token for pulling", status(mine, "/v2/_catalog"), http.StatusUnauthorized)
	if got := status(nobodys, "/v2/lab/app/manifests/v1"); got != http.StatusUnauthorized && got != http.StatusForbidden {
		t.Fatalf("pull with nobody's token: %d", got)
	}
	equal(t, "a token that was changed", status(mine[:len(mine)-4]+"AAAA", "/v2/lab/app/manifests/v1"), http.StatusUnauthorized)
}

func TestServerEndsWhenAsked(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	digest := seed(t, s, "lab/app", "v1", image(t, 83))
	s.Finish(t)
	s.Again(t)
	_, got, _ := manifest(t, s, "lab/app", "v1")
	equal(t, "digest after a restart", got, digest)
}
