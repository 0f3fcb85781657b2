package distapi_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// bigBody is far more than the buffers of a connection hold, so that a server that does not read is noticed.
const bigBody = 32 << 20

// sendAllThenRead is a client that reads nothing before it has sent its whole body, as many programs do. A connection that is reset meanwhile fails the test.
func (s *service) sendAllThenRead(method, path string, chunked bool) *answer {
	s.Helper()
	conn, err := (&net.Dialer{}).DialContext(s.Context(), "tcp", s.host)
	s.ok(err)
	s.Cleanup(func() { s.close(conn) })
	s.ok(conn.SetDeadline(time.Now().Add(patient)))
	r, err := http.NewRequestWithContext(s.Context(), method, s.url+path, io.LimitReader(rand.Reader, bigBody))
	s.ok(err)
	r.SetBasicAuth("admin", password)
	if r.ContentLength = bigBody; chunked {
		r.ContentLength = -1
	}
	if err = r.Write(conn); err != nil {
		s.Fatalf("%s %s: the connection broke in mid-body: %v", method, path, err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), r)
	s.ok(err)
	defer s.close(response.Body)
	text, err := io.ReadAll(response.Body)
	s.ok(err)
	if !response.Close {
		s.Errorf("%s %s: the answer does not say that the connection is closed", method, path)
	}
	return &answer{s, method + " " + path, response.StatusCode, response.Header, text}
}

// fills is a store that takes so many bytes of an object, and is full then.
type fills struct {
	blob.Driver
	room int64
}

func (f fills) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	if _, err := io.CopyN(io.Discard, r, f.room); err != nil {
		return f.Driver.Put(ctx, name, size, strings.NewReader(""))
	}
	return blob.Written{}, fail.E(fail.Exhausted, nil, "disk full")
}

func TestARefusalInMidBodyReachesAClientThatSendsAllFirst(t *testing.T) {
	t.Parallel()
	s := start(t, func(set *settings) { set.driver = fills{memory.New(time.Now), 1 << 20} })
	for _, chunked := range []bool{false, true} {
		s.sendAllThenRead(http.MethodPatch, s.begin("app"), chunked).is(http.StatusInsufficientStorage, oci.CodeDenied)
	}
}

func TestARefusalBeforeTheBodyReachesAClientThatSendsAllFirst(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.sendAllThenRead(http.MethodPatch, s.begin("app")+"7", false).is(http.StatusRequestedRangeNotSatisfiable).has("Range", "0-0")
}

func TestARepeatedPutIsAnsweredAlthoughItsBodyIsOfNoUse(t *testing.T) {
	t.Parallel()
	s := start(t)
	at := s.begin("app") + "?digest=" + sum(layer)
	s.do(http.MethodPut, at, layer).is(http.StatusCreated)
	s.sendAllThenRead(http.MethodPut, at, false).is(http.StatusCreated)
}

func TestASmallBodyOfARefusalLeavesTheConnectionOpen(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.putManifest("app", "1", image(""), nobody).is(http.StatusUnauthorized).has("Connection", "")
}
