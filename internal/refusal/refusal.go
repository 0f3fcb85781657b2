package refusal

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
)

const (
	// retryAfter is what a client is told to wait where the error names no time: long enough for a failover, short enough for a push under way.
	retryAfter = 5 * time.Second
	// maxText bounds, in bytes, what an answer says of what failed, and what to do: some texts repeat what the client sent, which may be a MiB.
	maxText = 1000
)

// RequestID answers the id that a request has in the server's log, "" for none.
func RequestID(w http.ResponseWriter) string { return w.Header().Get("X-Request-Id") }

// Text is what a stranger may read: of his own mistakes everything, causes included; of other errors what failed, and what to do; of our own faults only the id under which the log has them.
func Text(err error, id string) string {
	kind := fail.KindOf(err)
	var e *fail.Error
	if kind == fail.Internal || !errors.As(err, &e) {
		if id != "" {
			return kind.String() + "; the server's log has it under request " + id
		}
		return kind.String()
	}
	text := e.Text()
	switch kind {
	case fail.Invalid, fail.TooLarge, fail.RangeInvalid, fail.Unsupported:
		text = e.Whole()
	default:
	}
	text = bounded(text)
	if hint := fail.HintOf(err); hint != "" {
		text += ": " + bounded(hint)
	}
	return text
}

func bounded(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// RetryAfter answers the header of this name: whole seconds, at least one.
func RetryAfter(err error) string {
	wait := fail.RetryAfterOf(err)
	if wait <= 0 {
		wait = retryAfter
	}
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}

// Tell tells the server's access log, where there is one, how a request was refused.
func Tell(w http.ResponseWriter, code, text string) {
	if to, ok := w.(interface{ SetRefusal(code, why string) }); ok {
		to.SetRefusal(code, text)
	}
}

// IsOurs reports whether an error is a fault of the server's, and not the client's mistake: it belongs in the log.
func IsOurs(err error) bool { return fail.Is(err, fail.Internal) || fail.Is(err, fail.Unavailable) }

// Log logs an error with the id of its request. A client that went away is no fault.
func Log(log *slog.Logger, r *http.Request, err error, id string) {
	kind := fail.KindOf(err)
	level := slog.LevelError
	switch {
	case r.Context().Err() != nil && (kind == fail.Unavailable || errors.Is(err, context.Canceled)):
		level = slog.LevelDebug
	case kind == fail.Unavailable:
		level = slog.LevelWarn
	}
	log.LogAttrs(r.Context(), level, "a request failed", slog.String("error", err.Error()), slog.String("kind", kind.String()), slog.String("method", fmt.Sprintf("%.20s", r.Method)),
		slog.String("path", fmt.Sprintf("%.1000s", r.URL.Path)), slog.String("hint", fail.HintOf(err)), slog.String("request_id", id))
}
