package swift

import (
	"context"
	"errors"
	"net/url"
	"testing"

	library "github.com/ncw/swift/v2"
)

// Which of two clocks is ahead, the library's or that of the whole login, is chance: both say that there was no answer.
func TestALoginWithoutAnAnswerSaysSo(t *testing.T) {
	t.Parallel()
	const address = "http://store.example.com/auth/v1"
	other := errors.New("connection refused")
	for _, c := range []struct {
		err  error
		want string
	}{
		{library.TimeoutError, "no answer in " + loginTime.String() + ": Timeout when reading or writing data"},
		{context.DeadlineExceeded, "no answer in time: context deadline exceeded"},
		{&url.Error{Op: "Get", URL: address, Err: context.DeadlineExceeded}, "no answer in time: context deadline exceeded"},
		{&url.Error{Op: "Get", URL: address, Err: other}, "connection refused"},
		{other, "connection refused"},
	} {
		if got := shorter(c.err); got.Error() != c.want {
			t.Errorf("%v: %q, not %q", c.err, got, c.want)
		}
	}
}
