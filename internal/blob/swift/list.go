package swift

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// listAtOnce keeps a page small; servers give up to 10,000.
	listAtOnce = 1000
	// maxPage is more than such a page with names of the longest (1024 bytes) takes.
	maxPage = 8 << 20
)

// List answers the objects in order, a page at a time: see blob.Driver.
func (d *Driver) List(ctx context.Context, after string) iter.Seq2[blob.Info, error] {
	if len(d.cfg.Containers) == 1 {
		return d.walk(ctx, d.cfg.Containers[0], after)
	}
	return func(yield func(blob.Info, error) bool) {
		var heads []*head
		for _, container := range d.cfg.Containers {
			next, stop := iter.Pull2(d.walk(ctx, container, after))
			defer stop()
			heads = append(heads, &head{next: next})
		}
		for {
			var least *head
			for _, h := range heads {
				h.fill()
				if h.err != nil {
					yield(blob.Info{}, h.err)
					return
				}
				if h.full && (least == nil || h.info.Name < least.info.Name) {
					least = h
				}
			}
			if least == nil || !yield(least.info, nil) {
				return
			}
			least.full = false
		}
	}
}

// head is the next object of one container.
type head struct {
	next func() (blob.Info, error, bool)
	info blob.Info
	err  error
	full bool
	over bool
}

func (h *head) fill() {
	if h.full || h.over {
		return
	}
	var ok bool
	h.info, h.err, ok = h.next()
	h.full, h.over = ok, !ok
}

// walk lists one container.
func (d *Driver) walk(ctx context.Context, container, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		marker := ""
		if after != "" {
			marker = d.prefix + after
		}
		for e, err := range d.entries(ctx, container, d.prefix, marker) {
			info := blob.Info{Name: strings.TrimPrefix(e.Name, d.prefix), Size: e.Bytes}
			if err == nil {
				if info.ModTime, err = parseTime(e.LastModified); err != nil {
					err = fail.E(fail.Unavailable, err, "list container %s: time of %s", container, e.Name)
				}
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// entries answers what a container lists behind a marker, of names with a prefix.
func (d *Driver) entries(ctx context.Context, container, prefix, marker string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for {
			page, err := d.page(ctx, container, prefix, marker)
			if err != nil {
				yield(entry{}, d.failed(err, "list container %s", container))
				return
			}
			// A page that is not full may be followed by others: radosgw cuts them as its index is cut.
			if len(page) == 0 {
				return
			}
			for _, e := range page {
				if e.Name <= marker {
					yield(entry{}, fail.E(fail.Unavailable, nil, "list container %s: %q comes behind %q", container, e.Name, marker).Hint("the server's listings are not in the order of bytes"))
					return
				}
				if marker = e.Name; !yield(e, nil) {
					return
				}
			}
		}
	}
}

// entry is one object of a listing.
type entry struct {
	Name         string `json:"name"`
	Bytes        int64  `json:"bytes"`
	LastModified string `json:"last_modified"`
}

func (d *Driver) page(ctx context.Context, container, prefix, marker string) (page []entry, err error) {
	q := url.Values{"format": {"json"}, "limit": {strconv.Itoa(listAtOnce)}}
	if marker != "" {
		q.Set("marker", marker)
	}
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	answer, err := d.do(ctx, request{method: http.MethodGet, container: container, query: q})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxPage))
	if err != nil || len(body) == 0 { // 204
		return nil, err
	}
	if err = json.Unmarshal(body, &page); err != nil {
		return nil, fail.E(fail.Unavailable, err, "the list is no JSON").Hint("is %s that of a Swift server?", addressKey)
	}
	return page, nil
}
