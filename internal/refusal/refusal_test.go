package refusal_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/refusal"
)

func TestStrangersReadOfErrorsWhatIsTheirs(t *testing.T) {
	t.Parallel()
	cause := errors.New("the disk is odd")
	inner := fail.E(fail.Invalid, nil, "SELECT secret").Inner()
	for _, c := range []struct {
		name, want string
		err        error
		id         string
	}{
		{"a mistake", "size 7: the disk is odd: send less", fail.E(fail.Invalid, cause, "size 7").Hint("send less"), ""},
		{"too much", "size 7: the disk is odd", fail.E(fail.TooLarge, cause, "size 7"), ""},
		{"what is not there", "tag x: push it first", fail.E(fail.NotFound, cause, "tag x").Hint("push it first"), "id"},
		{"a statement", "invalid", inner, ""},
		{"a statement behind", "size 7", fail.E(fail.Invalid, inner, "size 7"), ""},
		{"our own fault", "internal error; the server's log has it under request id", fail.E(fail.Internal, cause, "secret"), "id"},
		{"our own fault without an id", "internal error", cause, ""},
		{"a context that ended", "unavailable", context.Canceled, ""},
		{"a long text", strings.Repeat("x", 1000) + "…: " + strings.Repeat("y", 999) + "…", fail.E(fail.Invalid, nil, "%s", strings.Repeat("x", 1<<20)).Hint("%s", strings.Repeat("y", 999)+"äöü"), ""},
	} {
		if got := refusal.Text(c.err, c.id); got != c.want {
			t.Errorf("%s: %.3000q, want %.3000q", c.name, got, c.want)
		}
	}
}

func TestClientsAreToldToWaitWholeSeconds(t *testing.T) {
	t.Parallel()
	for want, wait := range map[string]time.Duration{"5": 0, "1": time.Millisecond, "2": 1001 * time.Millisecond, "60": time.Minute} {
		if got := refusal.RetryAfter(fail.E(fail.Exhausted, nil, "full").RetryAfter(wait)); got != want {
			t.Errorf("%v: %s, want %s", wait, got, want)
		}
	}
}

func TestOurOwnFaultsAreLoggedAsWhatTheyAre(t *testing.T) {
	t.Parallel()
	if refusal.IsOurs(fail.E(fail.NotFound, nil, "x")) || refusal.IsOurs(fail.E(fail.Invalid, errors.New("odd"), "x")) {
		t.Error("a client's mistake is ours")
	}
	left, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want string
	}{
		{t.Context(), fail.E(fail.Unavailable, nil, "x"), "WARN"},
		{t.Context(), errors.New("x"), "ERROR"},
		{left, fail.E(fail.Unavailable, nil, "x"), "DEBUG"},
		{left, fail.E(fail.Internal, nil, "x"), "ERROR"}, // a defect is one, whoever went away
	} {
		var b strings.Builder
		r, err := http.NewRequestWithContext(c.ctx, http.MethodGet, "http://example.com/path", nil)
		if err != nil {
			t.Fatal(err)
		}
		refusal.Log(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})), r, c.err, "id-7")
		got := b.String()
		if !refusal.IsOurs(c.err) || !strings.Contains(got, "level="+c.want+" ") || !strings.Contains(got, "request_id=id-7") {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
