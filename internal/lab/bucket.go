package lab

import (
	"context"
	"net/http"

	"github.com/havn-registry/havn/internal/fail"
)

// CreateBucket makes a bucket, which is a container of Swift's too: the user is the same.
func (c *Ceph) CreateBucket(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	ask := func(method, address string, header http.Header) (http.Header, error) {
		r, err := http.NewRequestWithContext(ctx, method, address, nil)
		if err != nil {
			return nil, fail.E(fail.Internal, err, "make bucket %s", name)
		}
		r.Header = header
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, fail.E(fail.Unavailable, err, "make bucket %s", name)
		}
		if err = answer.Body.Close(); err != nil || answer.StatusCode/100 != 2 {
			return nil, fail.E(fail.Unavailable, err, "make bucket %s: radosgw answers %s", name, answer.Status)
		}
		return answer.Header, nil
	}
	got, err := ask(http.MethodGet, c.SwiftAuthURL(), http.Header{"X-Auth-User": {SwiftUser}, "X-Auth-Key": {SwiftKey}})
	if err != nil {
		return err
	}
	_, err = ask(http.MethodPut, got.Get("X-Storage-Url")+"/"+name, http.Header{"X-Auth-Token": {got.Get("X-Auth-Token")}})
	return err
}
