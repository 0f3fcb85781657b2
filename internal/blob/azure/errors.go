package azure

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
)

// longest is how much is repeated of what somebody else says.
const longest = 300

// skewed is how far clocks may be apart until requests are refused for it: Azure's own limit.
const skewed = 15 * time.Minute

// answered is what the server said: the code of its error, if it named one, and the status.
type answered struct {
	code, message, detail, request string
	status                         int
	at                             time.Time // by the server's clock; zero: not said
}

// Error is what the server said, for people.
func (a answered) Error() string {
	text := fmt.Sprintf("the server answers %d", a.status)
	if a.code != "" {
		text = fmt.Sprintf("the server answers %s (%d)", a.code, a.status)
	}
	for _, more := range []string{a.message, a.detail} {
		if more != "" {
			text += ": " + more
		}
	}
	if a.request != "" {
		text += " [request " + a.request + "]"
	}
	return text
}

// answerOf answers what the server said, false if it is not the server's error.
func answerOf(err error) (answered, bool) {
	var response *azcore.ResponseError
	if !errors.As(err, &response) || response.StatusCode == 0 {
		return answered{}, false
	}
	a := answered{code: response.ErrorCode, status: response.StatusCode}
	if response.RawResponse == nil {
		return a, true
	}
	a.request = response.RawResponse.Header.Get("X-Ms-Request-Id")
	if at, timeErr := http.ParseTime(response.RawResponse.Header.Get("Date")); timeErr == nil {
		a.at = at
	}
	body, readErr := runtime.Payload(response.RawResponse)
	var said struct {
		Message                   string
		AuthenticationErrorDetail string
	}
	if readErr == nil && xml.Unmarshal(body, &said) == nil {
		a.message, a.detail = firstLine(said.Message), firstLine(said.AuthenticationErrorDetail)
	}
	return a, true
}

// firstLine answers what a text begins with. Behind it come times and numbers of requests, and what was signed, which helps nobody here.
func firstLine(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	for _, end := range []string{" Server used following", " String to sign used"} {
		text, _, _ = strings.Cut(text, end)
	}
	return brief(text)
}

// brief puts a text on one line, and bounds it.
func brief(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

// failed gives an error of the SDK its kind, the server's words and what to do.
func (d *Driver) failed(err error, format string, args ...any) error {
	if a, ok := answerOf(err); ok {
		kind, hint := d.judge(a)
		return hinted(fail.E(kind, a, format, args...), hint)
	}
	hint := egress.Hint(err, d.cfg.addressKey(), d.cfg.CAKey)
	var sent *url.Error
	var token *azidentity.AuthenticationFailedError
	switch { // the SDK's own text is long and may hold the address with its signature
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		err = context.Canceled
	case errors.As(err, &token):
		err, hint = errors.New(brief(token.Error())), "this machine's identity gets no token: look at what the environment gives (AZURE_ variables, a workload identity, the machine's managed identity)"
	case errors.As(err, &sent):
		err = fmt.Errorf("%s: %w", sent.URL[:strings.IndexByte(sent.URL+"?", '?')], sent.Err)
	}
	return hinted(fail.E(fail.Unavailable, err, format, args...), hint)
}

func hinted(e *fail.Error, hint string) error {
	if hint != "" {
		return e.Hint("%s", hint)
	}
	return e
}

// judge answers the kind of what the server said, and what to do. That the server refuses Havn is nothing that Havn's client could change: it is Unavailable, as a
// directory without permission is.
func (d *Driver) judge(a answered) (fail.Kind, string) {
	switch bloberror.Code(a.code) {
	case bloberror.BlobNotFound:
		return fail.NotFound, ""
	case bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, bloberror.UnauthorizedBlobOverwrite:
		return fail.Exists, ""
	case bloberror.InvalidRange:
		return fail.RangeInvalid, ""
	case bloberror.ContainerNotFound:
		return fail.Unavailable, fmt.Sprintf("make the container %s, or correct storage.azure.container", d.cfg.Container)
	case bloberror.ContainerBeingDeleted:
		return fail.Unavailable, "somebody deleted the container: wait until that is done, or take another one"
	case bloberror.InvalidResourceName, bloberror.OutOfRangeInput:
		return fail.Unavailable, "the container's name must be 3 to 63 lower-case letters, digits and single hyphens: correct storage.azure.container"
	case bloberror.AccountIsDisabled:
		return fail.Unavailable, "the storage account is disabled: look at its subscription"
	case bloberror.BlobArchived, bloberror.BlobBeingRehydrated:
		return fail.Unavailable, "somebody, or a lifecycle rule, moved the object to the archive: bring it back, and keep Havn's objects in an online tier"
	case bloberror.BlobImmutableDueToPolicy, bloberror.LeaseIDMissing:
		return fail.Unavailable, "a lease, a legal hold or a policy of immutability keeps the object: Havn must be able to delete in its container"
	default:
		if hint, ok := d.refused(a); ok {
			return fail.Unavailable, hint
		}
	}
	switch {
	case a.code == "ResourceNotFound":
		return fail.Unavailable, "there is no such account or container at the address: correct storage.azure.container and " + d.cfg.addressKey()
	case a.status == http.StatusNotFound:
		return fail.NotFound, ""
	case a.status == http.StatusPreconditionFailed:
		return fail.Exists, ""
	case a.status == http.StatusRequestedRangeNotSatisfiable:
		return fail.RangeInvalid, ""
	case a.status == http.StatusInsufficientStorage:
		return fail.Exhausted, "the store is full: make room, or delete repositories, whose room is free after sweep.dead_grace"
	case a.status >= http.StatusMultipleChoices && a.status < http.StatusBadRequest:
		return fail.Unavailable, "the answer is a redirect, which a blob service does not give: correct " + d.cfg.addressKey()
	case a.status == http.StatusNotImplemented:
		return fail.Unsupported, ""
	case a.status == http.StatusTooManyRequests, a.status >= http.StatusInternalServerError:
		return fail.Unavailable, "the server does not keep up, or fails: look at its log and its health"
	case a.status == http.StatusBadRequest && (a.code == "InvalidHeaderValue" || a.code == "FeatureVersionMismatch" || a.code == "InvalidApiVersion"):
		return fail.Unavailable, "the server may be too old for the version of the API that Havn speaks; start Azurite with --skipApiVersionCheck"
	}
	return fail.Internal, ""
}

// refused answers what to do where the server does not let Havn in, false if it is not that.
func (d *Driver) refused(a answered) (string, bool) {
	if a.status != http.StatusForbidden && a.status != http.StatusUnauthorized && a.code != "PublicAccessNotPermitted" && a.code != "InvalidAuthenticationInfo" {
		return "", false
	}
	switch {
	case !a.at.IsZero() && d.now().Sub(a.at).Abs() > skewed:
		return fmt.Sprintf("this machine's clock is wrong, or the server's: they are %s apart. Keep both with NTP", d.now().Sub(a.at).Abs().Round(time.Second)), true
	case a.code == "KeyBasedAuthenticationNotPermitted":
		return "the account lets nobody in by key: leave storage.azure.key and storage.azure.sas_token out, and give this machine's identity a role, or allow keys in the account", true
	case d.cfg.Key != "":
		return "the key is not the account's, or the account's firewall keeps this machine out: correct storage.azure.key and storage.azure.account, or look at the account's network rules", true
	case d.cfg.SAS != "":
		return d.refusedSAS(bloberror.Code(a.code)), true
	case a.code == string(bloberror.AuthorizationPermissionMismatch):
		return fmt.Sprintf("give this machine's identity the role Storage Blob Data Contributor for the container %s, and for redirects Storage Blob Delegator for the account; a new role takes minutes to count", d.cfg.Container), true
	}
	return "the account does not let this machine's identity in: look at its roles, at storage.azure.account and at the account's network rules", true
}

// refusedSAS answers what to do where the server does not take the SAS.
func (d *Driver) refusedSAS(code bloberror.Code) string {
	switch end := d.cfg.SASEnd; {
	case code == bloberror.AuthorizationSourceIPMismatch:
		return "the SAS is for other addresses than this machine's: make one for it"
	case code == bloberror.AuthorizationProtocolMismatch:
		return "the SAS is for HTTPS alone: write https:// in " + d.cfg.addressKey()
	case !end.IsZero() && end.Before(d.now()):
		return "the SAS is over since " + end.Format(time.RFC3339) + ": make a new one for storage.azure.sas_token"
	case code == bloberror.AuthenticationFailed:
		return "the SAS is not valid yet, for another account or container, or not whole: make a new one for storage.azure.sas_token, with its whole text"
	}
	hint := fmt.Sprintf("the SAS must allow to read, create, write, delete and list (sp=rcwdl) in the container %s, or a firewall keeps this machine out: make another one for storage.azure.sas_token", d.cfg.Container)
	if d.cfg.Create {
		hint += "; to make the container takes a SAS of the whole account"
	}
	return hint
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
