package lab

import (
	"context"
	"net/http"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// CreateBucket makes a bucket, which is a container of Swift's too: the user is the same.
func (c *Ceph) CreateBucket(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return c.put(ctx, name, "")
}

// PutObject writes a small object into a bucket that is there, without anything of Havn's in between: does the store take what it is given?
func (c *Ceph) PutObject(ctx context.Context, bucket, name, text string) error {
	return c.put(ctx, bucket+"/"+name, text)
}

// put makes a bucket or an object, by the Swift API.
func (c *Ceph) put(ctx context.Context, name, text string) error {
	ask := func(method, address, text string, header http.Header) (http.Header, error) {
		r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(text))
		if err != nil {
			return nil, fail.E(fail.Internal, err, "make %s", name)
		}
		r.Header = header
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, fail.E(fail.Unavailable, err, "make %s", name)
		}
		if err = answer.Body.Close(); err != nil || answer.StatusCode/100 != 2 {
			return nil, fail.E(fail.Unavailable, err, "make %s: radosgw answers %s", name, answer.Status)
		}
		return answer.Header, nil
	}
	got, err := ask(http.MethodGet, c.SwiftAuthURL(), "", http.Header{"X-Auth-User": {SwiftUser}, "X-Auth-Key": {SwiftKey}})
	if err != nil {
		return err
	}
	_, err = ask(http.MethodPut, got.Get("X-Storage-Url")+"/"+name, text, http.Header{"X-Auth-Token": {got.Get("X-Auth-Token")}})
	return err
}
