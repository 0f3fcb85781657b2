package request

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/havn-registry/havn/test/harness"
)

// Media types.
const (
	Manifest = "application/vnd.oci.image.manifest.v1+json"
	Octets   = "application/octet-stream"
)

// Digest answers the digest of some bytes.
func Digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// Answer is a response that was read to its end.
type Answer struct {
	Status   int // 0: none came
	Location string
	Range    string // as the header of that name says
	Text     []byte
}

// Refused is an answer that was not one of the wanted.
type Refused struct {
	Request string
	Retry   string // Retry-After
	Answer
}

func (r *Refused) Error() string {
	return fmt.Sprintf("%s: %d: %.2000s", r.Request, r.Status, r.Text)
}

// Passes reports whether an error may pass if the same is asked again: no answer came, or one that says so.
func Passes(err error) bool {
	var r *Refused
	return !errors.As(err, &r) || r.Status == http.StatusServiceUnavailable && r.Retry != ""
}

// maxRefusal bounds what is read of an answer that was not wanted.
const maxRefusal = 64 << 10

// Do asks as the administrator, once. It answers an error for anything but the wanted, with the answer if one came.
func Do(ctx context.Context, c *http.Client, method, url, kind string, body []byte, want ...int) (Answer, error) {
	a, stream, err := Send(ctx, c, method, url, kind, bytes.NewReader(body), int64(len(body)), want...)
	if err != nil {
		return a, err
	}
	a.Text, err = io.ReadAll(stream)
	if err = errors.Join(err, stream.Close()); err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", method, url, err)
	}
	return a, nil
}

// Send is Do with a body that is not held in memory, and the answer's still to be read, and closed, by the caller; there is none if there is an error.
func Send(ctx context.Context, c *http.Client, method, url, kind string, body io.Reader, size int64, want ...int) (Answer, io.ReadCloser, error) {
	if size == 0 {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return Answer{}, nil, err
	}
	req.ContentLength = size
	req.SetBasicAuth(harness.User, harness.Password)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.Do(req)
	if err != nil {
		return Answer{}, nil, err
	}
	a := Answer{Status: res.StatusCode, Location: res.Header.Get("Location"), Range: res.Header.Get("Range")}
	if slices.Contains(want, a.Status) {
		return a, res.Body, nil
	}
	a.Text, err = io.ReadAll(io.LimitReader(res.Body, maxRefusal))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return Answer{}, nil, fmt.Errorf("%s %s: %w", method, url, err)
	}
	return a, nil, &Refused{method + " " + url, res.Header.Get("Retry-After"), a}
}

// PushBlob sends a blob: in one request if there are no pieces, else as an upload of so many, the last of them with its end. Each request goes through send, with a path.
func PushBlob(pieces int, repo string, data []byte, send func(method, path, kind string, body []byte, want int) (Answer, error)) error {
	base, digest := "/v2/"+repo+"/blobs/uploads/", Digest(data)
	if pieces == 0 {
		_, err := send(http.MethodPost, base+"?digest="+digest, Octets, data, http.StatusCreated)
		return err
	}
	at, err := send(http.MethodPost, base, "", nil, http.StatusAccepted)
	for ; err == nil && pieces > 1; pieces-- {
		part := data[:len(data)/pieces]
		data = data[len(part):]
		at, err = send(http.MethodPatch, Path(at.Location), Octets, part, http.StatusAccepted)
	}
	if err == nil {
		_, err = send(http.MethodPut, Path(at.Location)+"?digest="+digest, Octets, data, http.StatusCreated)
	}
	return err
}

// Path cuts the server off a Location.
func Path(location string) string {
	if _, after, found := strings.Cut(location, "/v2/"); found {
		return "/v2/" + after
	}
	return location
}

// Image answers the manifest of a configuration and layers. A note, where given, tells it from others of the same.
func Image(note string, config []byte, layers ...[]byte) []byte {
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	part := func(kind string, b []byte) descriptor {
		return descriptor{"application/vnd.oci.image." + kind, Digest(b), len(b)}
	}
	all := []descriptor{}
	for _, layer := range layers {
		all = append(all, part("layer.v1.tar", layer))
	}
	image := map[string]any{"schemaVersion": 2, "mediaType": Manifest, "config": part("config.v1+json", config), "layers": all}
	if note != "" {
		image["annotations"] = map[string]string{"note": note}
	}
	text, err := json.Marshal(image)
	if err != nil {
		panic(err) // of maps and texts
	}
	return text
}
