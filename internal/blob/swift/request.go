package swift

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	library "github.com/ncw/swift/v2"

	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
)

// rateLimited is what Swift's rate limit answers.
const rateLimited = 498

// maxText is how much of an answer's text an error holds.
const maxText = 300

// The keys of the configuration that hints name.
const (
	addressKey = "storage.swift.auth_url"
	caKey      = "storage.swift.ca_file"
)

// request is one of the API.
type request struct {
	method    string
	container string // "": of the account
	object    string // "": of the container
	query     url.Values
	header    map[string]string
	body      *body // nil: none
}

// answered is an answer that is no success.
type answered struct {
	status int
	text   string
}

func (a *answered) Error() string {
	text := fmt.Sprintf("the server answers %d %s", a.status, http.StatusText(a.status))
	if a.text != "" {
		text += ": " + a.text
	}
	return text
}

// do sends a request, and one without a body once more with another token if its own is refused. An answer that is no success is an *answered; else the
// caller closes the answer's body.
func (d *Driver) do(ctx context.Context, q request) (*http.Response, error) {
	for again := true; ; again = false {
		s, err := d.login.session(ctx)
		if err != nil {
			return nil, err
		}
		answer, err := d.send(ctx, s, q)
		var a *answered
		if !errors.As(err, &a) || a.status != http.StatusUnauthorized {
			return answer, err
		}
		d.login.drop(s)
		if !again || q.body != nil {
			return nil, err
		}
	}
}

func (d *Driver) send(ctx context.Context, s *session, q request) (*http.Response, error) {
	at := s.storage
	if q.container != "" {
		at.Path += "/" + q.container
	}
	if q.object != "" {
		at.Path += "/" + q.object
	}
	at.RawQuery = q.query.Encode()
	var sent io.Reader = http.NoBody
	if q.body != nil {
		sent = q.body
	}
	r, err := http.NewRequestWithContext(ctx, q.method, at.String(), sent)
	if err != nil {
		return nil, err
	}
	if q.body != nil {
		// Chunked, whatever is known of the length: a body that is shorter than was said, because who pushes broke off, is kept as far as it came.
		r.ContentLength = -1
	}
	for name, value := range q.header {
		r.Header.Set(name, value)
	}
	r.Header.Set("X-Auth-Token", s.token)
	r.Header.Set("User-Agent", userAgent)
	answer, err := d.cfg.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= http.StatusOK && answer.StatusCode < http.StatusMultipleChoices {
		return answer, nil
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxText))
	if closeErr := answer.Body.Close(); err != nil || closeErr != nil {
		text = nil // the status says it all
	}
	return nil, &answered{answer.StatusCode, strings.Join(strings.Fields(string(text)), " ")}
}

// end does what a success without a body leaves to do.
func end(answer *http.Response, err error) error {
	if err != nil {
		return err
	}
	if _, err = io.Copy(io.Discard, io.LimitReader(answer.Body, maxText)); err != nil {
		return errors.Join(err, answer.Body.Close())
	}
	return answer.Body.Close()
}

// failed gives an error its kind, the server's words and what to do.
func (d *Driver) failed(err error, format string, args ...any) error {
	var a *answered
	if errors.As(err, &a) {
		kind, hint := d.judge(a)
		return hinted(fail.E(kind, a, format, args...), hint)
	}
	var known *fail.Error
	if errors.As(err, &known) {
		return fmt.Errorf(format+": %w", append(args, err)...)
	}
	return hinted(fail.E(fail.Unavailable, shorter(err), format, args...), egress.Hint(err, addressKey, caKey))
}

// passing reports whether an error may pass by itself.
func passing(err error) bool {
	var status int
	var a *answered
	var l *library.Error
	switch {
	case errors.As(err, &a):
		status = a.status
	case errors.As(err, &l):
		if status = l.StatusCode; status == http.StatusUnauthorized || status == 0 {
			return false
		}
	case fail.Is(err, fail.Unavailable):
		return !egress.Hopeless(err) // what is left comes from the connection
	default:
		return false
	}
	switch status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusTooManyRequests, rateLimited:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusInsufficientStorage:
		return false
	}
	return status >= http.StatusInternalServerError
}

func hinted(e *fail.Error, hint string) error {
	if hint == "" {
		return e
	}
	return e.Hint("%s", hint)
}

// judge answers the kind of what the server said, and what to do. That the server refuses Havn is nothing that Havn's client could change: it is
// Unavailable, as a directory without permission is.
func (d *Driver) judge(a *answered) (fail.Kind, string) {
	switch a.status {
	case http.StatusNotFound:
		return fail.NotFound, ""
	case http.StatusBadRequest:
		return fail.Unavailable, "the server may not take the name: shorten storage.prefix, or look at osd_max_object_name_len where Ceph is behind it"
	case http.StatusPreconditionFailed:
		return fail.Exists, ""
	case http.StatusRequestedRangeNotSatisfiable:
		return fail.RangeInvalid, ""
	case http.StatusUnauthorized:
		return fail.Unavailable, "the server refuses a token that it has just given: are the servers behind the address the same cluster, with clocks that agree?"
	case http.StatusForbidden:
		return fail.Unavailable, fmt.Sprintf("let the user %s read, write, list and delete in the container; with radosgw `radosgw-admin subuser modify --uid=… --subuser=… --access=full`", d.cfg.Username)
	case http.StatusInsufficientStorage:
		return fail.Exhausted, "the store is full: make room, or delete repositories, whose room is free after sweep.dead_grace"
	case http.StatusRequestEntityTooLarge:
		if strings.Contains(a.text, "uota") {
			return fail.Exhausted, "the quota of the user or the container is reached: raise it, or delete repositories, whose room is free after sweep.dead_grace"
		}
		return fail.Unavailable, "the object is larger than the server takes, or a quota is reached: lower uploads.max_object_size, or raise the server's limit"
	case http.StatusUnprocessableEntity, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests, rateLimited:
		return fail.Unavailable, ""
	}
	if a.status >= http.StatusInternalServerError {
		return fail.Unavailable, "the server fails, or does not keep up: look at its log and its health"
	}
	return fail.Internal, "is " + addressKey + " that of a Swift server?"
}

// Classify answers the kind of an error of a reader: see blob.Driver.
func (d *Driver) Classify(err error) fail.Kind {
	var known *fail.Error
	var a *answered
	switch {
	case errors.As(err, &known):
		return fail.KindOf(err)
	case errors.As(err, &a):
		kind, _ := d.judge(a)
		return kind
	case errors.Is(err, io.EOF):
		return fail.Internal
	}
	return fail.Unavailable // what is left comes from the connection
}
