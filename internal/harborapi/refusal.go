package harborapi

import (
	"net/http"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/refusal"
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
	id := refusal.RequestID(c.w)
	if refusal.IsOurs(err) {
		refusal.Log(a.Log, c.Request, err, id)
	}
	switch kind {
	case fail.Unauthenticated:
		if !c.browser { // where a browser would ask for a password by itself
			h.Set("WWW-Authenticate", `Basic realm="Havn"`)
		}
	case fail.Exhausted, fail.Unavailable:
		h.Set("Retry-After", refusal.RetryAfter(err))
	default:
	}
	text := refusal.Text(err, id)
	refusal.Tell(c.w, is.code, text)
	if c.wantsPage() {
		err = a.refusePage(c, is.status, text)
	} else {
		err = c.json(is.status, Errors{[]Error{{is.code, text}}})
	}
	if err != nil {
		a.Log.ErrorContext(c.Context(), "an error could not be written", "error", err, "request_id", id)
	}
}
