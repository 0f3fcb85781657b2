package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
)

// answered is what the server said: the code of its error, if it named one, and the status.
type answered struct {
	code, message, region, request string
	status                         int
}

func (a answered) Error() string {
	text := fmt.Sprintf("the server answers %d", a.status)
	if a.code != "" {
		text = fmt.Sprintf("the server answers %s (%d)", a.code, a.status)
	}
	if a.message != "" && a.message != a.code && a.message != "UnknownError" { // the SDK's word for none
		text += ": " + a.message
	}
	if a.request != "" {
		text += " [request " + a.request + "]"
	}
	return text
}

// answerOf answers what the server said, false if it is not the server's error.
func answerOf(err error) (answered, bool) {
	var a answered
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() > 0 {
		a.status, a.request = response.HTTPStatusCode(), response.ServiceRequestID()
		if response.Response != nil {
			a.region = response.Response.Header.Get("X-Amz-Bucket-Region")
		}
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		a.code, a.message = api.ErrorCode(), api.ErrorMessage()
	}
	if a.brokeOff() {
		a.message = "the answer broke off, or is none of S3"
	}
	return a, a.status > 0
}

// brokeOff says of an answer that failed that it began as a success: a server that dies while it puts an object together has said 200 already.
func (a answered) brokeOff() bool {
	return a.code == "" && a.status > 0 && a.status < http.StatusMultipleChoices
}

// passing says of an error whether it may pass by itself: see retryer.
func passing(err error) aws.Ternary {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return aws.FalseTernary
	}
	a, ok := answerOf(err)
	if !ok {
		var sent *url.Error
		if !errors.As(err, &sent) {
			return aws.UnknownTernary
		}
		return aws.BoolTernary(!egress.Hopeless(err))
	}
	switch {
	case a.brokeOff(), a.code == "ConditionalRequestConflict", a.code == "OperationAborted", a.status == http.StatusTooManyRequests, a.status == http.StatusRequestTimeout:
		return aws.TrueTernary
	case a.status == http.StatusNotImplemented, a.status == http.StatusInsufficientStorage, a.status == http.StatusHTTPVersionNotSupported:
		return aws.FalseTernary
	case a.status >= http.StatusInternalServerError:
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// failed gives an error of the SDK its kind, the server's words and what to do.
func (d *Driver) failed(err error, format string, args ...any) error {
	if a, ok := answerOf(err); ok {
		kind, hint := d.judge(a)
		e := fail.E(kind, a, format, args...)
		if hint != "" {
			e = e.Hint("%s", hint)
		}
		return e
	}
	hint := egress.Hint(err, d.cfg.AddressKey, d.cfg.CAKey)
	var sent *url.Error
	switch { // the SDK's own text is long, and says nothing more
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		err = context.Canceled
	case errors.As(err, &sent):
		err = fmt.Errorf("%s: %w", sent.URL[:strings.IndexByte(sent.URL+"?", '?')], sent.Err)
	}
	e := fail.E(fail.Unavailable, err, format, args...)
	if hint != "" {
		e = e.Hint("%s", hint)
	}
	return e
}

// completing is what radosgw says, as InternalError, while the lock of a completion is held: its own of an earlier try, or that of a gateway that was
// killed in the middle of one.
const completing = "multipart completion is already in progress"

// judge answers the kind of what the server said, and what to do. That the server refuses Havn is nothing that Havn's client could change: it is
// Unavailable, as a directory without permission is.
func (d *Driver) judge(a answered) (fail.Kind, string) {
	switch a.code {
	case "NoSuchKey", "NotFound":
		return fail.NotFound, ""
	case "NoSuchBucket":
		return fail.Unavailable, fmt.Sprintf("make the bucket %s, or correct storage.s3.bucket", d.cfg.Bucket)
	case "PreconditionFailed", "FileAlreadyExists":
		return fail.Exists, ""
	case "InvalidRange":
		return fail.RangeInvalid, ""
	case "InvalidAccessKeyId":
		return fail.Unavailable, "the server does not know the access key: correct storage.s3.access_key"
	case "SignatureDoesNotMatch":
		return fail.Unavailable, "the secret key is not the one of the access key: correct storage.s3.secret_key; if it is right, look at storage.s3.region, and whether a proxy changes requests"
	case "RequestTimeTooSkewed":
		return fail.Unavailable, "this machine's clock is wrong, or the server's: keep both with NTP"
	case "ExpiredToken", "TokenRefreshRequired", "InvalidToken":
		return fail.Unavailable, "the credentials from the environment are over: renew them, or let the machine's role give them"
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return fail.Unavailable, d.wrongRegion(a)
	case "InvalidStorageClass":
		return fail.Unavailable, "correct storage.s3.storage_class"
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "TooManyBuckets":
		return fail.Exhausted, "the store is full, or the user's or bucket's quota is reached: make room, raise it, or delete repositories, whose room is free after sweep.dead_grace"
	case "AccessDenied", "AllAccessDisabled":
		return fail.Unavailable, fmt.Sprintf("let the user list, read, write and delete in the bucket %s (s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload, s3:ListBucketMultipartUploads)", d.cfg.Bucket)
	}
	switch {
	case strings.Contains(a.message, completing):
		return fail.Unavailable, "a gateway died, or hangs, while it put this object together, and holds its lock until rgw_mp_lock_max_time is over (10 minutes): push again"
	case strings.HasPrefix(a.code, "KMS."), strings.HasPrefix(a.code, "InvalidEncryption"), strings.HasPrefix(a.code, "ServerSideEncryption"):
		return fail.Unavailable, "correct storage.s3.sse and storage.s3.sse_kms_key, and let the user use the key"
	case a.status == http.StatusNotFound:
		return fail.NotFound, ""
	case a.status == http.StatusPreconditionFailed:
		return fail.Exists, ""
	case a.status == http.StatusRequestedRangeNotSatisfiable:
		return fail.RangeInvalid, ""
	case a.status == http.StatusMovedPermanently, a.status == http.StatusTemporaryRedirect:
		return fail.Unavailable, d.wrongRegion(a)
	case a.status == http.StatusInsufficientStorage:
		return fail.Exhausted, "the store is full: make room, or delete repositories, whose room is free after sweep.dead_grace"
	case a.status == http.StatusForbidden, a.status == http.StatusUnauthorized:
		return fail.Unavailable, "the server refuses the credentials: look at storage.s3.access_key and storage.s3.secret_key and what they may do; without s3:ListBucket an absent object is refused too"
	case a.status == http.StatusBadRequest && d.cfg.SSE+d.cfg.StorageClass != "":
		return fail.Unavailable, "the server may not know what is asked for: look at storage.s3.sse, storage.s3.sse_kms_key and storage.s3.storage_class (some want TLS for encryption)"
	case a.status == http.StatusNotImplemented:
		return fail.Unsupported, ""
	case a.brokeOff(), a.status >= http.StatusInternalServerError, a.status == http.StatusTooManyRequests:
		return fail.Unavailable, "the server does not keep up, or fails: look at its log and its health"
	}
	return fail.Internal, ""
}

func (d *Driver) wrongRegion(a answered) string {
	if a.region != "" {
		return fmt.Sprintf("the bucket is in %s: set storage.s3.region to it", a.region)
	}
	return "the bucket is in another region, or at another address: correct storage.s3.region and " + d.cfg.AddressKey
}

// Classify answers the kind of an error of a reader: see blob.Driver.
func (d *Driver) Classify(err error) fail.Kind {
	var known *fail.Error
	if errors.As(err, &known) {
		return fail.KindOf(err)
	}
	if a, ok := answerOf(err); ok {
		kind, _ := d.judge(a)
		return kind
	}
	if errors.Is(err, io.EOF) {
		return fail.Internal
	}
	// What is left comes from the connection.
	return fail.Unavailable
}
