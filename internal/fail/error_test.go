package fail_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

func TestTheKindSurvivesWrapping(t *testing.T) {
	t.Parallel()
	inner := fail.E(fail.NotFound, io.EOF, "manifest %s", "v1").Code("MANIFEST_UNKNOWN").Hint("push it first").RetryAfter(time.Second)
	err := fmt.Errorf("pull app: %w", inner)
	if fail.KindOf(err) != fail.NotFound || !fail.Is(err, fail.NotFound) {
		t.Errorf("kind %v, want not found", fail.KindOf(err))
	}
	if got := err.Error(); got != "pull app: manifest v1: EOF" {
		t.Errorf("text %q", got)
	}
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is lost")
	}
	if fail.HintOf(err) != "push it first" || fail.CodeOf(err) != "MANIFEST_UNKNOWN" || fail.RetryAfterOf(err) != time.Second {
		t.Errorf("hint %q, code %q, retry %v", fail.HintOf(err), fail.CodeOf(err), fail.RetryAfterOf(err))
	}
	if inner.Text() != "manifest v1" {
		t.Errorf("text without cause %q", inner.Text())
	}
}

func TestTheOuterKindWinsAndMissingPartsComeFromInside(t *testing.T) {
	t.Parallel()
	inner := fail.E(fail.NotFound, nil, "row").Hint("inner hint").Detail(7)
	outer := fail.E(fail.Unavailable, inner, "read").Code("UNAVAILABLE")
	if fail.KindOf(outer) != fail.Unavailable {
		t.Errorf("kind %v, want unavailable", fail.KindOf(outer))
	}
	if fail.HintOf(outer) != "inner hint" || fail.DetailOf(outer) != 7 || fail.CodeOf(outer) != "UNAVAILABLE" {
		t.Errorf("hint %q, detail %v, code %q", fail.HintOf(outer), fail.DetailOf(outer), fail.CodeOf(outer))
	}
}

func TestForeignErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want fail.Kind
	}{
		{io.ErrUnexpectedEOF, fail.Internal},
		{fmt.Errorf("query: %w", context.Canceled), fail.Unavailable},
		{context.DeadlineExceeded, fail.Unavailable},
	} {
		if got := fail.KindOf(c.err); got != c.want {
			t.Errorf("%v: kind %v, want %v", c.err, got, c.want)
		}
	}
	if fail.Is(nil, fail.Internal) {
		t.Error("no error has no kind")
	}
	if fail.HintOf(io.EOF) != "" || fail.DetailOf(nil) != nil {
		t.Error("something out of nothing")
	}
	if fail.Kind(99).String() != "kind 99" || fail.TooLarge.String() != "too large" {
		t.Error("names of kinds")
	}
}

func TestWhatIsInnerIsNotForStrangers(t *testing.T) {
	t.Parallel()
	inner := fail.E(fail.Exists, errors.New("cause"), "database: INSERT").Inner()
	outer := fail.E(fail.Invalid, fmt.Errorf("wrapped: %w", inner), "name")
	if inner.Text() != "exists" || inner.Whole() != "exists" || outer.Text() != "name" || outer.Whole() != "name" {
		t.Errorf("strangers read %q, %q, %q, %q", inner.Text(), inner.Whole(), outer.Text(), outer.Whole())
	}
	if text := outer.Error(); !strings.Contains(text, "database: INSERT: cause") {
		t.Errorf("the log reads %q", text)
	}
	plain := fail.E(fail.Invalid, errors.New("cause"), "name")
	if plain.Whole() != "name: cause" {
		t.Errorf("of a mistake of their own they read %q", plain.Whole())
	}
}
