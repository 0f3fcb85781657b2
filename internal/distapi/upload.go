package distapi

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// chunkMinBytes is announced as OCI-Chunk-Min-Length. Smaller chunks are taken, but each is an object of its own, a blob has at most 10,000 of them, and each
// costs two flushes.
const chunkMinBytes = 1 << 20

// maxUploadID bounds what is looked up as an upload's id.
const maxUploadID = 64

// startUpload is POST …/blobs/uploads/: mount, a whole blob in one request, or the beginning of an upload.
func (a *API) startUpload(w http.ResponseWriter, c *call) error {
	query := c.URL.Query()
	if query.Has("mount") {
		mounted, err := a.mount(w, c, query.Get("mount"), query.Get("from"))
		if mounted || err != nil {
			return err
		}
	}
	if query.Has("digest") {
		return a.pushBlob(w, c, query.Get("digest"))
	}
	algorithm := oci.SHA256
	if query.Has("digest-algorithm") {
		var err error
		if algorithm, err = oci.ParseAlgorithm(query.Get("digest-algorithm")); err != nil {
			return err
		}
	}
	begun, err := a.registry.StartUpload(c.Context(), c.route.name, registry.StartUpload{Pusher: c.caller.pusher(), Algorithm: algorithm})
	if err != nil {
		return err
	}
	header := w.Header()
	describeUpload(header, c.route.asked, begun)
	header.Set("OCI-Chunk-Min-Length", strconv.Itoa(chunkMinBytes))
	return accepted(w)
}

// mount tries to link a blob of another repository. Whether the caller may pull there is asked of his identity, not of his token: a client can't know all
// sources beforehand, above all if it names none. A blob that is absent or not his to pull looks the same: not mounted.
func (a *API) mount(w http.ResponseWriter, c *call, digest, from string) (bool, error) {
	d, err := oci.ParseDigest(digest)
	if err != nil {
		return false, err
	}
	m := registry.Mount{Pusher: c.caller.pusher(), Viewer: c.caller.viewer(), Digest: d}
	if from != "" {
		if m.From, err = oci.ParseName(from); err != nil {
			return false, err
		}
	}
	var broken error
	m.MayPull = func(name oci.Name) bool {
		if c.caller.claims != nil && c.caller.claims.Allows(name, pull.String()) {
			return true
		}
		may, e := a.mayDo(c, c.caller.identity, name, pull)
		if e != nil {
			broken = e
		}
		return may
	}
	mounted, err := a.registry.Mount(c.Context(), c.route.name, m)
	if err == nil && !mounted {
		err = broken
	}
	if err != nil || !mounted {
		return false, err
	}
	return true, created(w, c, d)
}

// pushBlob takes a blob that comes whole with the POST.
func (a *API) pushBlob(w http.ResponseWriter, c *call, digest string) error {
	d, err := oci.ParseDigest(digest)
	if err != nil {
		return err
	}
	push := registry.PushBlob{Pusher: c.caller.pusher(), Digest: d, Size: c.ContentLength, Body: c.reader()}
	if _, err = a.registry.PushBlob(c.Context(), c.route.name, push); err != nil {
		return err
	}
	return created(w, c, d)
}

// reader answers the body of a blob, or an empty one.
func (c *call) reader() io.Reader {
	if c.body == nil {
		return http.NoBody
	}
	c.body.takeTime()
	return c.body
}

// created answers 201 with the place of the blob.
func created(w http.ResponseWriter, c *call, d oci.Digest) error {
	header := w.Header()
	digest := d.String()
	header.Set("Location", "/v2/"+c.route.asked+"/blobs/"+digest)
	header.Set("Docker-Content-Digest", digest)
	header.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// describeUpload sets where an upload stands. The Location has no query, because some clients drop it, and holds the offset, so that a PATCH that is
// repeated shows itself. An empty upload says 0-0, as Docker's registry does.
func describeUpload(header http.Header, asked string, u registry.Upload) {
	header.Set("Location", "/v2/"+asked+"/blobs/uploads/"+u.ID+"/"+strconv.FormatInt(u.Offset, 10))
	header.Set("Range", "0-"+strconv.FormatInt(max(0, u.Offset-1), 10))
	header.Set("Docker-Upload-UUID", u.ID)
}

// chunk is what a PATCH or PUT brings: where it begins, its length or -1, and its bytes.
type chunk struct {
	at, size int64
	body     io.Reader // nil: none
}

// chunk reads offset and length from path and headers. Where a Content-Range says where the chunk begins, it does not count which of the upload's Locations it is sent to: clients may use that
// of the POST for all of them (Distribution Specification, "Pushing a blob in chunks"), and a chunk that is repeated shows itself all the same.
func (c *call) chunk() (chunk, error) {
	k := chunk{at: -1, size: c.ContentLength}
	if c.body != nil {
		k.body = c.reader()
	}
	if c.route.offset != "" {
		at, err := strconv.ParseUint(c.route.offset, 10, 63)
		if err != nil {
			return k, fail.E(fail.NotFound, nil, "upload at offset %.40q", c.route.offset).Code(oci.CodeBlobUploadUnknown).Hint("use the Location of the last answer")
		}
		k.at = int64(at)
	}
	text := c.Header.Get("Content-Range")
	if text == "" {
		if k.at < 0 {
			return k, fail.E(fail.Invalid, nil, "chunk without an offset").Code(oci.CodeBlobUploadInvalid).Hint("use the Location of the last answer, or send Content-Range")
		}
		return k, nil
	}
	first, last, err := oci.ParseContentRange(text)
	switch {
	case err != nil:
		return k, err
	case k.size >= 0 && k.size != last-first+1:
		return k, fail.E(fail.Invalid, nil, "Content-Range %s of a body of %d bytes", text, k.size).Code(oci.CodeSizeInvalid)
	}
	if k.size < 0 {
		k.size = last - first + 1
		k.body = &exactly{in: k.body, left: k.size}
	}
	k.at = first
	return k, nil
}

// exactly reads a body whose length only Content-Range tells: one that is shorter or longer broke.
type exactly struct {
	in   io.Reader
	left int64
}

// Read reads on.
func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		var more [1]byte
		n, err := io.ReadFull(e.in, more[:])
		if n > 0 {
			err = fail.E(fail.Invalid, nil, "body is longer than its Content-Range").Code(oci.CodeSizeInvalid)
		}
		return 0, err
	}
	n, err := e.in.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = fail.E(fail.Invalid, io.ErrUnexpectedEOF, "body is %d bytes shorter than its Content-Range", e.left).Code(oci.CodeSizeInvalid)
	}
	return n, err
}

// checkUploadID refuses what can't be the id of an upload before a database sees it.
func checkUploadID(id string) error {
	ok := len(id) <= maxUploadID
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
	}
	if !ok {
		return fail.E(fail.NotFound, nil, "upload %.64q", id).Code(oci.CodeBlobUploadUnknown).Hint("begin a new one")
	}
	return nil
}

func (a *API) getUpload(w http.ResponseWriter, c *call) error {
	state, err := a.registry.Upload(c.Context(), c.route.name, c.route.ref)
	if err != nil {
		return err
	}
	describeUpload(w.Header(), c.route.asked, state)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) patchUpload(w http.ResponseWriter, c *call) error {
	k, err := c.chunk()
	if err != nil {
		return err
	}
	state, err := a.registry.Append(c.Context(), c.route.name, c.route.ref, registry.Append{At: k.at, Size: k.size, Body: k.body})
	if err != nil {
		return err
	}
	describeUpload(w.Header(), c.route.asked, state)
	return accepted(w)
}

func (a *API) finishUpload(w http.ResponseWriter, c *call) error {
	query := c.URL.Query()
	if !query.Has("digest") {
		return fail.E(fail.Invalid, nil, "PUT without a digest").Code(oci.CodeDigestInvalid).Hint("add ?digest=<algorithm>:<hex> to the Location of the last answer")
	}
	d, err := oci.ParseDigest(query.Get("digest"))
	if err != nil {
		return err
	}
	k, err := c.chunk()
	if err != nil {
		return err
	}
	f := registry.Finish{At: k.at, Digest: d, Size: k.size, Body: k.body}
	if _, err = a.registry.Finish(c.Context(), c.route.name, c.route.ref, f); err != nil {
		return err
	}
	return created(w, c, d)
}

func (a *API) cancelUpload(w http.ResponseWriter, c *call) error {
	if err := a.registry.CancelUpload(c.Context(), c.route.name, c.route.ref); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
