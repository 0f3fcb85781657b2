package harborapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
)

// Codes of Harbor's errors that stand for a status of their own. They are given to errors with Code; codes of other surfaces are passed over here.
const (
	codeUnprocessable = listing.CodePage
	codeMediaType     = "UNSUPPORTED_MEDIA_TYPE"
	codeMethod        = "METHOD_NOT_ALLOWED"
	codePrecondition  = "PRECONDITION"
	codeNotYet        = "NOT_IMPLEMENTED"
	codeInUse         = "VIOLATE_FOREIGN_KEY_CONSTRAINT"
)

var statuses = map[string]int{
	codeUnprocessable: http.StatusUnprocessableEntity, codeMediaType: http.StatusUnsupportedMediaType, codeMethod: http.StatusMethodNotAllowed,
	codePrecondition: http.StatusPreconditionFailed, codeInUse: http.StatusPreconditionFailed, codeNotYet: http.StatusNotImplemented,
}

// refusals says, for each kind of error, the status and Harbor's code.
var refusals = map[fail.Kind]struct {
	status int
	code   string
}{
	fail.Internal:        {http.StatusInternalServerError, "UNKNOWN"},
	fail.NotFound:        {http.StatusNotFound, "NOT_FOUND"},
	fail.Exists:          {http.StatusConflict, "CONFLICT"},
	fail.Conflict:        {http.StatusConflict, "CONFLICT"},
	fail.Invalid:         {http.StatusBadRequest, "BAD_REQUEST"},
	fail.Denied:          {http.StatusForbidden, "FORBIDDEN"},
	fail.Unauthenticated: {http.StatusUnauthorized, "UNAUTHORIZED"},
	fail.TooLarge:        {http.StatusRequestEntityTooLarge, "REQUEST_ENTITY_TOO_LARGE"},
	fail.Exhausted:       {http.StatusTooManyRequests, "TOO_MANY_REQUEST"},
	fail.Unavailable:     {http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE"},
	fail.Unsupported:     {http.StatusBadRequest, "BAD_REQUEST"},
	fail.RangeInvalid:    {http.StatusBadRequest, "BAD_REQUEST"},
}

// retryAfter is what a client is told to wait where the error names no time.
const retryAfter = 5 * time.Second

// refuse answers an error, in Harbor's form. It is the only place that turns kinds into statuses, and the only one that logs: what is our own fault, once, with the id of the request.
func (a *API) refuse(c *call, err error) {
	kind := fail.KindOf(err)
	is := refusals[kind]
	if code := fail.CodeOf(err); statuses[code] != 0 {
		is.status, is.code = statuses[code], code
	} else if code == oci.CodeDenied && kind == fail.Denied { // what the registry refuses to everybody, as Harbor calls it: a quota, read_only
		is.code = code
	}
	h := c.w.Header()
	id := h.Get("X-Request-Id")
	if kind == fail.Internal || kind == fail.Unavailable {
		a.report(c, kind, err, id)
	}
	switch kind {
	case fail.Unauthenticated:
		if !c.browser { // where a browser would ask for a password by itself
			h.Set("WWW-Authenticate", `Basic realm="Havn"`)
		}
	case fail.Exhausted, fail.Unavailable:
		wait := fail.RetryAfterOf(err)
		if wait <= 0 {
			wait = retryAfter
		}
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	default:
	}
	text := message(err, kind, id)
	if to, ok := c.w.(interface{ SetRefusal(code, why string) }); ok { // for the server's access log
		to.SetRefusal(is.code, text)
	}
	if c.wantsPage() {
		err = a.refusePage(c, is.status, text)
	} else {
		err = c.json(is.status, Errors{[]Error{{is.code, text}}})
	}
	if err != nil {
		a.Log.ErrorContext(c.Context(), "an error could not be written", "error", err, "request_id", id)
	}
}

// maxMessage bounds, in bytes, what an answer says of what failed, and what to do: some texts repeat what the client sent, which may be a MiB.
const maxMessage = 1000

// message is what a stranger may read: what failed, and what to do; of our own faults only the id under which the log has them.
func message(err error, kind fail.Kind, id string) string {
	var e *fail.Error
	switch {
	case kind == fail.Internal && id != "":
		return "internal error; the server's log has it under request " + id
	case kind == fail.Internal || !errors.As(err, &e):
		return kind.String()
	}
	text := e.Text()
	if kind == fail.Invalid {
		text = e.Whole()
	}
	text = bounded(text)
	if hint := fail.HintOf(err); hint != "" {
		text += ": " + bounded(hint)
	}
	return text
}

func bounded(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "…"
}

// report logs. A client that went away is no fault.
func (a *API) report(c *call, kind fail.Kind, err error, id string) {
	level := slog.LevelError
	switch {
	case c.Context().Err() != nil && (kind == fail.Unavailable || errors.Is(err, context.Canceled)):
		level = slog.LevelDebug
	case kind == fail.Unavailable:
		level = slog.LevelWarn
	}
	a.Log.LogAttrs(c.Context(), level, "a request failed", slog.String("error", err.Error()), slog.String("kind", kind.String()), slog.String("method", fmt.Sprintf("%.20s", c.Method)),
		slog.String("path", fmt.Sprintf("%.1000s", c.URL.Path)), slog.String("hint", fail.HintOf(err)), slog.String("request_id", id))
}
