package harborapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
)

// call is one request on its way.
type call struct {
	*http.Request
	w       http.ResponseWriter
	api     *API
	op      *operation // nil until the path is known
	browser bool       // the path is below Browser
	who     access.Identity
	rights  access.Rights // in the project of the path, once authorize has found it
	err     error

	storeAway bool // the blob store did not answer: what it is asked for to describe something is left out
}

type callKey struct{}

// callOf answers the call that a request is part of.
func callOf(r *http.Request) *call {
	c, ok := r.Context().Value(callKey{}).(*call)
	if !ok {
		return nil
	}
	return c
}

// readJSON reads the body. As in Harbor, fields that are not known are passed over, and what can't be read is 422.
func (c *call) readJSON(to any) error {
	if kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return fail.E(fail.Invalid, nil, "Content-Type %.60q", c.Header.Get("Content-Type")).Code(codeMediaType).Hint("send JSON, as application/json")
	}
	text, err := io.ReadAll(c.Body)
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return fail.E(fail.TooLarge, nil, "body of more than %d bytes", long.Limit).Hint("send less at once")
	case err != nil:
		return fail.E(fail.Invalid, nil, "the body broke off").Code(codeUnprocessable).Hint("send it again")
	}
	// A NUL is no text for PostgreSQL, and nobody means one.
	if bytes.Contains(text, []byte(`\u0000`)) {
		return fail.E(fail.Invalid, nil, "the body has a NUL character").Code(codeUnprocessable).Hint("leave it out")
	}
	if err = json.Unmarshal(text, to); err != nil {
		return fail.E(fail.Invalid, nil, "%s", mistake(err)).Code(codeUnprocessable).Hint("%s describes the body", Devcenter)
	}
	return nil
}

// mistake says what is wrong with a body in terms of JSON alone.
func mistake(err error) string {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return "the body's field " + strconv.Quote(kind.Field) + " can't be a " + kind.Value
	case errors.As(err, &kind):
		return "the body can't be a " + kind.Value
	case errors.As(err, &syntax):
		return "the body is no JSON at byte " + strconv.FormatInt(syntax.Offset, 10)
	default:
		return "the body can't be read"
	}
}

// json answers a value. An answer that does not reach its client has nobody to tell.
func (c *call) json(status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fail.E(fail.Internal, err, "write the answer")
	}
	return c.bytes(status, "application/json; charset=utf-8", append(text, '\n'))
}

func (c *call) bytes(status int, mediaType string, body []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	c.w.WriteHeader(status)
	if _, err := c.w.Write(body); err != nil {
		c.api.Log.DebugContext(c.Context(), "an answer did not reach its client", "error", err)
	}
	return nil
}

// done answers that what was asked for is done.
func (c *call) done() error {
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// made answers that something was made, and where it is below Base.
func (c *call) made(at string) error {
	c.w.Header().Set("Location", Base+at)
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// list answers a page of a list: the entries, how many there are on all pages, and where the next and the previous page are. entries is not nil: clients expect [].
func (c *call) list(entries any, total int64, ask listing.Ask) error {
	h := c.w.Header()
	h.Set("X-Total-Count", strconv.FormatInt(total, 10))
	link := ""
	add := func(page int64, rel string) {
		query := c.URL.Query()
		query.Set("page", strconv.FormatInt(page, 10))
		query.Set("page_size", strconv.FormatInt(ask.Size, 10))
		if link != "" {
			link += " , " // as Harbor writes it: some tools cut there
		}
		link += "<" + c.URL.EscapedPath() + "?" + query.Encode() + `>; rel="` + rel + `"`
	}
	if ask.Page > 1 && ask.Offset() < total {
		add(ask.Page-1, "prev")
	}
	if ask.Offset()+ask.Size < total {
		add(ask.Page+1, "next")
	}
	if link != "" {
		h.Set("Link", link)
	}
	return c.json(http.StatusOK, entries)
}

// Time is a time as Harbor writes it: UTC, with milliseconds. The zero Time, of the year 1, stands for never.
type Time time.Time

const timeForm = "2006-01-02T15:04:05.000Z"

// MarshalJSON writes the time.
func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(time.Time(t).UTC().Format(`"` + timeForm + `"`)), nil
}

// IsZero answers false, so that encoding/json leaves no time out: Harbor writes the year 1 too.
func (t Time) IsZero() bool { return false }

// UnmarshalJSON reads a time of RFC 3339, or nothing.
func (t *Time) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil || text == "" {
		return err
	}
	at, err := time.Parse(time.RFC3339, text)
	*t = Time(at)
	return err
}

// fromMicros answers the time of a row; 0 is never.
func fromMicros(at int64) Time {
	if at == 0 {
		return Time{}
	}
	return Time(time.UnixMicro(at))
}
