package server

import (
	"context"
	"errors"
	"testing"
)

// full is a log that can't be written.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestALogThatCannotBeWrittenDoesNotMakeAStopAFailure(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancel(t.Context())
	end()
	l := newLines(full{})
	l.later([]byte("a line\n"))
	if err := l.Run(ended); err != nil {
		t.Errorf("the log's end: %v", err)
	}
}
