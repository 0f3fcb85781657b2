package distapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/refusal"
	"github.com/havn-registry/havn/internal/registry"
)

// refusals says, for each kind of error, the status and the code if the error names none.
var refusals = map[fail.Kind]struct {
	status int
	code   string
}{
	fail.Internal:        {http.StatusInternalServerError, "UNKNOWN"},
	fail.NotFound:        {http.StatusNotFound, oci.CodeNameUnknown},
	fail.Exists:          {http.StatusConflict, oci.CodeDenied},
	fail.Conflict:        {http.StatusConflict, oci.CodeDenied},
	fail.Invalid:         {http.StatusBadRequest, oci.CodeUnsupported},
	fail.Denied:          {http.StatusForbidden, oci.CodeDenied},
	fail.Unauthenticated: {http.StatusUnauthorized, oci.CodeUnauthorized},
	fail.TooLarge:        {http.StatusRequestEntityTooLarge, oci.CodeSizeInvalid},
	fail.Exhausted:       {http.StatusTooManyRequests, oci.CodeTooManyRequests},
	fail.Unavailable:     {http.StatusServiceUnavailable, oci.CodeUnavailable},
	fail.Unsupported:     {http.StatusBadRequest, oci.CodeUnsupported},
	fail.RangeInvalid:    {http.StatusRequestedRangeNotSatisfiable, oci.CodeRangeInvalid},
}

// maxProblems bounds the errors of one answer: a manifest of 4 MiB can name some 30,000 blobs.
const maxProblems = 100

// problem is one error of the answer's body: Distribution Specification, "Error Codes".
type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// refuse answers an error. It is the only place that turns kinds into statuses, and the only one that logs: what is our own fault, once, with the id of the
// request.
func (a *API) refuse(w http.ResponseWriter, c *call, err error) {
	kind := fail.KindOf(err)
	is := refusals[kind]
	id := refusal.RequestID(w)
	switch {
	case c.op == nil && kind == fail.Unsupported:
		is.status = http.StatusMethodNotAllowed
	case fail.CodeOf(err) == oci.CodePreconditionFailed:
		is.status = http.StatusPreconditionFailed
	case c.body.stoodStill():
		is.status = http.StatusRequestTimeout
	case kind == fail.Exhausted && isSpace(err):
		is.status, is.code = http.StatusInsufficientStorage, oci.CodeDenied
	}
	if refusal.IsOurs(err) {
		refusal.Log(a.log, c.Request, err, id)
	}
	header := w.Header()
	switch kind {
	case fail.Unauthenticated:
		header.Set("WWW-Authenticate", a.challenge(c))
	case fail.Exhausted, fail.Unavailable:
		if is.status != http.StatusInsufficientStorage {
			header.Set("Retry-After", refusal.RetryAfter(err))
		}
	default:
	}
	if state, ok := fail.DetailOf(err).(registry.Upload); ok {
		describeUpload(header, c.route.asked, state)
	}
	for _, of := range []string{"Cache-Control", "Docker-Content-Digest", "ETag"} { // what was to be served, and is not
		header.Del(of)
	}
	body := struct {
		Errors []problem `json:"errors"`
	}{problems(err, is.code, id)}
	if len(body.Errors) > 0 {
		refusal.Tell(w, body.Errors[0].Code, body.Errors[0].Message)
	}
	if err = writeJSON(w, is.status, "application/json", body); err != nil {
		a.log.DebugContext(c.Context(), "an error did not reach its client", "error", err, "request_id", id)
	}
}

// isSpace reports whether what is exhausted is room, not rate: waiting does not bring it back, so the registry names no time.
func isSpace(err error) bool { return fail.RetryAfterOf(err) == 0 }

// problems makes the body's errors: one, or one for each content that a manifest misses.
func problems(err error, code, id string) []problem {
	if own := fail.CodeOf(err); own != "" {
		code = own
	}
	p := problem{Code: code, Message: refusal.Text(err, id)}
	switch detail := fail.DetailOf(err).(type) {
	case nil, registry.Upload:
	case []string:
		if code == oci.CodeManifestBlobUnknown {
			return missing(p, detail)
		}
		p.Detail = detail
	default:
		p.Detail = detail
	}
	return []problem{p}
}

// missing makes one error for each content that is missing, as the specification asks.
func missing(p problem, digests []string) []problem {
	all := make([]problem, 0, min(len(digests), maxProblems))
	for _, d := range digests[:min(len(digests), maxProblems)] {
		all = append(all, problem{p.Code, p.Message, map[string]string{"digest": d}})
	}
	return all
}

// writeJSON answers a JSON document, with its length, so that a HEAD says it too.
func writeJSON(w http.ResponseWriter, status int, mediaType string, v any) error {
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	to.SetEscapeHTML(false) // no browser takes this for a page, and six bytes for each of <, > and & would make annotations longer than they may be
	if err := to.Encode(v); err != nil {
		return fail.E(fail.Internal, err, "write an answer")
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	// An error here means that the client is gone: there is nobody left to tell.
	if _, err := w.Write(text); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		return fail.E(fail.Unavailable, err, "write an answer")
	}
	return nil
}
