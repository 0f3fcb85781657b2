package deployment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"github.com/havn-registry/havn/internal/fail"
)

// Client reaches the process that looks after a lab.
type Client struct {
	dir  string
	http *http.Client
}

// NewClient answers a client of the lab in a directory. Nothing is asked yet.
func NewClient(dir string) *Client {
	path := filepath.Join(dir, socketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{dir: dir, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks how the lab is.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.ask(ctx, http.MethodGet, "/status", nil, &s)
}

// Do does a verb to parts: kill, restart, partition or heal. It answers what was done, for people.
func (c *Client) Do(ctx context.Context, verb string, r Request) (string, error) {
	var done Done
	err := c.ask(ctx, http.MethodPost, "/"+verb, r, &done)
	return done.Text, err
}

// Down ends the lab, or removes what one left that was killed. It reports whether there was any.
func (c *Client) Down(ctx context.Context) (bool, error) {
	err := c.ask(ctx, http.MethodPost, "/down", Request{}, &Done{})
	switch {
	case err == nil:
		return true, gone(ctx, c.dir)
	case !fail.Is(err, fail.NotFound):
		return false, err
	}
	if _, statErr := os.Stat(filepath.Join(c.dir, lockName)); errors.Is(statErr, fs.ErrNotExist) {
		return false, nil
	}
	return true, clean(ctx, c.dir)
}

// ask makes a request. That no process listens is NotFound.
func (c *Client) ask(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fail.E(fail.Internal, err, "ask the lab")
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, bytes.NewReader(body))
	if err != nil {
		return fail.E(fail.Internal, err, "ask the lab")
	}
	answer, err := c.http.Do(r)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fail.E(fail.NotFound, nil, "no lab runs in %s", c.dir).Hint("`havn lab up` starts one; --dir says where one is")
	case errors.Is(err, fs.ErrPermission):
		return fail.E(fail.Denied, err, "ask the lab in %s", c.dir).Hint("it is another user's")
	case err != nil:
		return fail.E(fail.Unavailable, err, "ask the lab in %s", c.dir)
	}
	decoder := json.NewDecoder(http.MaxBytesReader(nil, answer.Body, maxRequest))
	var no refusal
	if answer.StatusCode == http.StatusOK {
		err = decoder.Decode(out)
	} else {
		err = decoder.Decode(&no)
	}
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return fail.E(fail.Unavailable, err, "answer of the lab in %s", c.dir)
	}
	if no.Text != "" {
		return fail.E(no.Kind, nil, "%s", no.Text).Hint("%s", no.Hint)
	}
	return nil
}
