package distapi

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/refusal"
)

func (a *API) headBlob(w http.ResponseWriter, c *call) error {
	d, err := oci.ParseDigest(c.route.ref)
	if err != nil {
		return err
	}
	purpose, err := a.purpose(c)
	if err != nil {
		return err
	}
	found, err := a.registry.StatBlob(c.Context(), c.route.name, d, purpose)
	if err != nil {
		return err
	}
	header := w.Header()
	a.describeBlob(header, d)
	header.Set("Accept-Ranges", "bytes")
	if matches(c.Header["If-None-Match"], header.Get("ETag")) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header.Set("Content-Length", strconv.FormatInt(found.Size, 10))
	w.WriteHeader(http.StatusOK)
	return nil
}

func (a *API) describeBlob(header http.Header, d oci.Digest) {
	digest := d.String()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Docker-Content-Digest", digest)
	header.Set("ETag", `"`+digest+`"`)
	header["Cache-Control"] = a.fixed.immutable
}

// getBlob sends a blob or ranges of it.
func (a *API) getBlob(w http.ResponseWriter, c *call) error {
	d, err := oci.ParseDigest(c.route.ref)
	if err != nil {
		return err
	}
	asked, err := readRanges(c.Header)
	if err != nil {
		return err
	}
	in, url, err := a.registry.PullBlob(c.Context(), c.route.name, d, a.lifeOfURL(c))
	if err != nil {
		return err
	}
	if url != "" {
		redirect(w, d, url)
		return nil
	}
	source := &watched{in: in}
	defer a.closeQuietly(c, source)
	content := io.ReadSeeker(source)
	file := in.File()
	if strings.Contains(asked, ",") {
		file = nil // the parts are glued together before they are sent
	}
	if file != nil {
		content = file
	}
	a.describeBlob(w.Header(), d)
	t := &transfer{ResponseWriter: w, pace: a.newPace(w, false), direct: c.TLS == nil && c.ProtoMajor == 1, waits: file == nil}
	t.spare = func() io.Reader {
		if in.LeaveFile() {
			return source
		}
		return nil
	}
	withoutEmptyRanges(c.Header, in.Size())
	http.ServeContent(t, c.Request, "", time.Time{}, content)
	switch t.refused {
	case http.StatusRequestedRangeNotSatisfiable:
		return fail.E(fail.RangeInvalid, nil, "range %.100q of a blob of %d bytes", asked, in.Size())
	case http.StatusPreconditionFailed:
		return fail.E(fail.Conflict, nil, "the blob is not what If-Match names").Code(oci.CodePreconditionFailed).Hint("its ETag is its digest, in quotes")
	}
	if t.err != nil && file != nil {
		source.probe()
	}
	switch {
	case t.held != 0 && source.broke() != nil: // the store gave no byte: there is nothing to take back
		for _, name := range []string{"Accept-Ranges", "Content-Range"} {
			w.Header().Del(name)
		}
		return source.broke()
	case source.broke() != nil:
		a.refuseLate(w, c, source.broke())
	case t.err != nil:
		panic(http.ErrAbortHandler) // the client is gone, or it must not take a part for the whole
	}
	t.release()
	return nil
}

// urlLife is how long a URL into the store is good: long enough for a client to begin, as a transfer that has begun goes on. It must be shorter than the time that
// objects stay after their blob (sweep.dead_grace).
const urlLife = 5 * time.Minute

// lifeOfURL answers how long a URL into the store would be good for this caller, 0 if he gets none. One who names what he has already may be told that he has it, and the store knows the blob by another ETag.
func (a *API) lifeOfURL(c *call) time.Duration {
	if !a.redirect || c.Method != http.MethodGet || c.Header.Get("If-None-Match") != "" || c.Header.Get("If-Match") != "" || c.Header.Get("If-Range") != "" {
		return 0
	}
	client := a.origin.Client(c.Request)
	if len(a.near) > 0 && !slices.ContainsFunc(a.near, func(p netip.Prefix) bool { return p.Contains(client) }) {
		return 0
	}
	return urlLife
}

// redirect sends a client to the store. The answer is for one client, and soon of no use.
func redirect(w http.ResponseWriter, d oci.Digest, url string) {
	header := w.Header()
	header.Set("Docker-Content-Digest", d.String())
	header.Set("Location", url)
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", "0")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// refuseLate ends an answer whose source broke when its header was sent already: log, then cut the connection, so that nobody takes a part for the whole.
func (a *API) refuseLate(w http.ResponseWriter, c *call, err error) {
	refusal.Log(a.log, c.Request, err, refusal.RequestID(w))
	panic(http.ErrAbortHandler)
}

func (a *API) closeQuietly(c *call, in io.Closer) {
	if err := in.Close(); err != nil {
		a.log.WarnContext(c.Context(), "a blob could not be closed", "error", err, "path", c.URL.Path)
	}
}

// watched remembers why reading broke, which http.ServeContent does not tell. It has a lock because ServeContent sends several ranges from a goroutine that may
// outlive it by one Read, and a blob's reader is for one user at a time.
type watched struct {
	mu     sync.Mutex
	in     io.ReadSeekCloser
	err    error
	closed bool
}

// Read reads on.
func (s *watched) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	n, err := s.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Seek moves to an offset.
func (s *watched) Seek(offset int64, whence int) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	return s.in.Seek(offset, whence)
}

// probe asks a file for its next byte after a transfer failed. Where the kernel moves the bytes, one error stands for both sides: if the disk is at fault, it fails here too.
func (s *watched) probe() {
	var next [1]byte
	_, _ = s.Read(next[:]) //nolint:errcheck // Read remembers it
}

// Close waits for a Read under way.
func (s *watched) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.in.Close()
}

func (s *watched) broke() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (a *API) deleteBlob(w http.ResponseWriter, c *call) error {
	d, err := oci.ParseDigest(c.route.ref)
	if err != nil {
		return err
	}
	if err = a.registry.DeleteBlob(c.Context(), c.route.name, d); err != nil {
		return err
	}
	return accepted(w)
}
