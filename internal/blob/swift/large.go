package swift

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// maxReport is how much is read of what the server says about the removal of segments; it names those that it could not remove.
const maxReport = 64 << 10

// removeLarge removes an object that may stand for segments: Havn writes none of those, docker-registry writes nothing else.
//
//  1. The segments. A crash leaves the object, which is damaged, and whose removal is tried again.
//  2. The object.
func (d *Driver) removeLarge(ctx context.Context, container, object string) error {
	answer, err := d.do(ctx, request{method: http.MethodHead, container: container, object: object})
	if err = end(answer, err); err != nil {
		return d.failed(err, "look at object %s", object)
	}
	if strings.EqualFold(answer.Header.Get("X-Static-Large-Object"), "true") {
		return d.removeStatic(ctx, container, object)
	}
	if at := answer.Header.Get("X-Object-Manifest"); at != "" {
		if err = d.removeSegments(ctx, object, at); err != nil {
			return err
		}
	}
	return d.remove(ctx, container, object, nil)
}

// removeSegments removes what a dynamic large object is made of: all objects whose names begin so.
func (d *Driver) removeSegments(ctx context.Context, object, manifest string) error {
	at, err := url.PathUnescape(manifest)
	container, begin, ok := strings.Cut(strings.TrimPrefix(at, "/"), "/")
	// A name that begins our own objects, or all, is no place for segments.
	if err != nil || !ok || begin == "" || strings.HasPrefix(d.prefix+"objects/", begin) || strings.HasPrefix(begin, d.prefix+"objects/") || strings.HasPrefix(d.prefix+"havn-store-id", begin) {
		return fail.E(fail.Invalid, err, "delete object %s: its segments are at %.200q", object, manifest).Hint("delete it by hand: Havn does not touch segments that could be objects of its own")
	}
	for e, listErr := range d.entries(ctx, container, begin, "") {
		if listErr != nil {
			return listErr
		}
		if err = d.remove(ctx, container, e.Name, nil); err != nil && !fail.Is(err, fail.NotFound) {
			return err
		}
	}
	return nil
}

// removeStatic removes a static large object with its segments. The answer's status says nothing of how that went.
func (d *Driver) removeStatic(ctx context.Context, container, object string) error {
	q := request{method: http.MethodDelete, container: container, object: object, query: url.Values{"multipart-manifest": {"delete"}}, header: map[string]string{"Accept": "text/plain"}}
	answer, err := d.do(ctx, q)
	if err != nil {
		return d.failed(err, "delete object %s", object)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxReport))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return d.failed(err, "delete object %s", object)
	}
	if said := string(text); strings.Contains(said, "Response Status:") && !strings.Contains(said, "Response Status: 200") {
		return fail.E(fail.Unavailable, nil, "delete object %s and its segments: the server answers %.300q", object, said)
	}
	return nil
}
