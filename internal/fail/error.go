package fail

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what sort of failure an error is. It is all that code may decide on.
type Kind int

// The kinds. Internal is the zero value: an error that nobody classified is our own fault.
const (
	Internal        Kind = iota // a defect, or a state that must not be
	NotFound                    // what was named does not exist
	Exists                      // what was to be made is there already
	Conflict                    // the state of things forbids it
	Invalid                     // the input can't be right
	Denied                      // the caller is known and may not
	Unauthenticated             // the caller is not known
	TooLarge                    // the input is beyond a limit
	Exhausted                   // a limit on rate, number or space is reached; see RetryAfter
	Unavailable                 // a store or service does not answer now; the same request may succeed later
	Unsupported                 // understood, and not offered
	RangeInvalid                // a range or an offset does not fit what is there
)

var names = [...]string{
	"internal error", "not found", "exists", "conflict", "invalid", "denied", "unauthenticated", "too large", "exhausted",
	"unavailable", "unsupported", "range invalid",
}

// String answers the kind in words.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return names[k]
}

// Error is an error of a known kind. It is made by E, completed by its methods before it is returned, and not changed after.
type Error struct {
	kind   Kind
	cause  error
	text   string
	hint   string
	code   string
	detail any
	retry  time.Duration
	inner  bool
}

// E makes an error of a kind. The text says what failed on what; cause may be nil.
func E(kind Kind, cause error, format string, args ...any) *Error {
	return &Error{kind: kind, cause: cause, text: fmt.Sprintf(format, args...)}
}

// Hint adds what the reader can do next.
func (e *Error) Hint(format string, args ...any) *Error {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

// Code adds the error code of a surface (BLOB_UNKNOWN and the like) that fits best.
func (e *Error) Code(code string) *Error {
	e.code = code
	return e
}

// Inner marks an error whose text is about the inside (a statement to a database): it belongs in the log, and no stranger may read it.
func (e *Error) Inner() *Error {
	e.inner = true
	return e
}

// Detail adds a value that a surface may show or use.
func (e *Error) Detail(v any) *Error {
	e.detail = v
	return e
}

// RetryAfter says after which time the same request may succeed.
func (e *Error) RetryAfter(d time.Duration) *Error {
	e.retry = d
	return e
}

// Error answers the text and the cause behind it. The hint is not part of it: ask Hint.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.text
	}
	return e.text + ": " + e.cause.Error()
}

// Unwrap answers the cause.
func (e *Error) Unwrap() error { return e.cause }

// Text answers what failed without the cause: fit to be shown to a stranger. Of an inner error that is its kind.
func (e *Error) Text() string {
	if e.inner {
		return e.kind.String()
	}
	return e.text
}

// Whole answers what Error does where no cause is an inner error, else what Text does: all that may be shown to a stranger of his own mistake.
func (e *Error) Whole() string {
	var cause *Error
	for err := error(e); errors.As(err, &cause); err = cause.cause {
		if cause.inner {
			return e.Text()
		}
	}
	return e.Error()
}

// KindOf answers the kind of the outermost Error in err's chain. A context that ended is Unavailable, any other error Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.kind
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Unavailable
	}
	return Internal
}

// Is reports whether err is not nil and of this kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// HintOf answers the first hint in err's chain, or "".
func HintOf(err error) string {
	return first(err, func(e *Error) (string, bool) { return e.hint, e.hint != "" })
}

// CodeOf answers the first code in err's chain, or "".
func CodeOf(err error) string {
	return first(err, func(e *Error) (string, bool) { return e.code, e.code != "" })
}

// DetailOf answers the first detail in err's chain, or nil.
func DetailOf(err error) any {
	return first(err, func(e *Error) (any, bool) { return e.detail, e.detail != nil })
}

// RetryAfterOf answers the first waiting time in err's chain, or 0.
func RetryAfterOf(err error) time.Duration {
	return first(err, func(e *Error) (time.Duration, bool) { return e.retry, e.retry != 0 })
}

func first[T any](err error, of func(*Error) (T, bool)) T {
	var e *Error
	for errors.As(err, &e) {
		if v, ok := of(e); ok {
			return v
		}
		err = e.cause
	}
	var none T
	return none
}
