package swift

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// probeTime bounds all that is done at the start: radosgw makes no container for half a minute after another radosgw was killed.
const probeTime = 60 * time.Second

// probePrefix begins the names of objects that are written to see whether that works.
const probePrefix = "havn-probe-"

// prepare looks for the containers and makes them, and tries them.
func (d *Driver) prepare(ctx context.Context) error {
	if _, err := d.login.session(ctx); err != nil {
		return err
	}
	for _, container := range d.cfg.Containers {
		if err := d.container(ctx, container); err != nil {
			return err
		}
	}
	return d.probe(ctx, func(string) error { return nil })
}

func (d *Driver) container(ctx context.Context, container string) error {
	answer, err := d.do(ctx, request{method: http.MethodHead, container: container})
	if err = end(answer, err); err == nil {
		return nil
	}
	var a *answered
	if errors.As(err, &a) && a.status == http.StatusBadRequest {
		return fail.E(fail.Invalid, a, "the container %s", container).Hint("the server does not take the name: radosgw wants 3 to 255 bytes; correct storage.swift.container")
	}
	if err = d.failed(err, "look at the container %s", container); !fail.Is(err, fail.NotFound) {
		return err
	}
	if !d.cfg.Create {
		return fail.E(fail.NotFound, nil, "the container %s is not there", container).
			Hint("make it (`swift post %s`), set storage.swift.create_container to true, or correct storage.swift.container", container)
	}
	answer, err = d.do(ctx, request{method: http.MethodPut, container: container})
	if err = end(answer, err); err != nil {
		return d.failed(err, "make the container %s", container)
	}
	return nil
}

// probe writes an object, reads and lists it, and deletes it; meanwhile more is done with it. It goes to the first container, and stands for the others.
func (d *Driver) probe(ctx context.Context, more func(name string) error) (err error) {
	name := probePrefix + strings.ToLower(rand.Text())
	if _, err = d.Put(ctx, name, int64(len(name)), strings.NewReader(name)); err != nil {
		return fmt.Errorf("try it: %w", err)
	}
	defer func() {
		if deleteErr := d.Delete(ctx, name); deleteErr != nil {
			err = errors.Join(err, fmt.Errorf("try it: %w", deleteErr))
		}
	}()
	r, err := d.Get(ctx, name, 0, -1)
	if err != nil {
		return fmt.Errorf("try it: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(len(name))+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return d.failed(err, "read the object that was just written")
	}
	if !bytes.Equal(body, []byte(name)) {
		return fail.E(fail.Unavailable, nil, "the object that was just written has other bytes").Hint("does something on the way to the server change or compress answers?")
	}
	if _, err = d.page(ctx, d.cfg.Containers[0], d.prefix, ""); err != nil {
		return d.failed(err, "list the container %s", d.cfg.Containers[0])
	}
	return more(name)
}
