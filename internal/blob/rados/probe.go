//go:build rados

package rados

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// probePrefix begins the names of objects that are written to see whether that works.
const probePrefix = "havn-probe-"

// probe proves that the pool can be used.
func (d *Driver) probe(ctx context.Context) (err error) {
	name := probePrefix + newMark()
	if _, err = d.Put(ctx, name, int64(len(name)), strings.NewReader(name)); err != nil {
		return fmt.Errorf("write an object: %w", err)
	}
	defer func() {
		if deleteErr := d.Delete(ctx, name); deleteErr != nil {
			err = errors.Join(err, fmt.Errorf("delete the object %s that was written for a try: %w", name, deleteErr))
		}
	}()
	r, err := d.Get(ctx, name, 0, -1)
	if err != nil {
		return fmt.Errorf("read the object that was just written: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(len(name))+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read the object that was just written: %w", err)
	}
	if !bytes.Equal(body, []byte(name)) {
		return fail.E(fail.Unavailable, nil, "the object that was just written has other bytes").Hint("look at `ceph health detail`")
	}
	err = run(ctx, d.others, func() error {
		it, iterErr := d.io.Iter()
		if iterErr != nil {
			return iterErr
		}
		defer it.Close()
		it.Next()
		return it.Err()
	})
	if err != nil {
		return d.failed(err, "list the pool")
	}
	return nil
}
