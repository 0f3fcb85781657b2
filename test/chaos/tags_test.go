package chaos

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/test/request"
	"github.com/havn-registry/havn/test/tags"
)

const (
	// movedTags is how many tags are moved and read at the same time, each by two clients that move it and two that read it.
	movedTags = 3
	movers    = 4 * movedTags
	movedRepo = "chaos/moved"
	// moverPause is between two operations of a client, and moverRest after one that failed.
	moverPause = 150 * time.Millisecond
	moverRest  = 500 * time.Millisecond
	// checkTime is what the checker gets for one history: it takes milliseconds, as a rule.
	checkTime = 20 * time.Second
)

var tagRounds atomic.Int64

// newTagged makes tags that live for one fault, from the end of the one before: so a node that was away must know what it missed, and a history is short enough to be checked.
func newTagged() *tags.Group {
	return tags.New(movedRepo, "moving-"+strconv.FormatInt(tagRounds.Add(1), 10), movedTags)
}

// via sends requests to one node, or if that is empty to any.
func (c *client) via(node string) tags.Do {
	return func(ctx context.Context, method, path, kind string, body []byte, want ...int) (request.Answer, error) {
		return c.once(ctx, method, node, path, kind, body, want...)
	}
}

// move moves or reads a tag again and again. Each attempt is an operation of its own.
func (l *traffic) move(ctx context.Context, c *client, n int) {
	for _, data := range [][]byte{tags.Config, tags.Layer} {
		if c.pushBlob(ctx, movedRepo, data) != nil {
			return
		}
	}
	which := (n / 4) % movedTags
	for ctx.Err() == nil {
		l.mu.Lock()
		moved := l.tags
		moved.Begin()
		l.mu.Unlock()
		var err error
		if n%4 < 2 {
			err = moved.Move(ctx, c.via(""), n, which)
		} else {
			err = moved.Look(ctx, c.via(""), n, which)
		}
		moved.End()
		switch {
		case err == nil:
			pause(ctx, moverPause)
			continue
		case ctx.Err() != nil:
		case !request.Passes(err):
			l.seen.wrong(err)
		case n%4 < 2:
			l.seen.retried(err)
		}
		pause(ctx, moverRest)
	}
}

// turn begins new tags and answers the old ones.
func (l *traffic) turn() *tags.Group {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.tags
	l.tags = newTagged()
	return old
}

// last reads the old tags once more through each node, when all operations on them have ended: so all nodes must agree. A node may end only now, that learns so late that it was
// declared dead.
func (l *traffic) last(t *testing.T, moved *tags.Group) {
	t.Helper()
	moved.Wait()
	c := newClient(l.d, l.seen)
	defer c.http.CloseIdleConnections()
	for which := range movedTags {
		for _, node := range l.d.urls {
			for deadline := time.Now().Add(patience); ; pause(t.Context(), retryPause) {
				err := moved.Look(t.Context(), c.via(node), movers, which)
				if err == nil {
					break
				}
				if !request.Passes(err) || time.Now().After(deadline) {
					l.seen.wrong(fmt.Errorf("after all: %w", err))
					return
				}
				l.d.supervise(t)
			}
		}
	}
}

// verdict is what the checker says of the histories of some tags.
type verdict struct {
	operations int
	checked    int
	unchecked  []string // histories that took the checker too long
	illegal    []string // histories that no order explains
}

// judge asks whether each tag behaved as one register would.
func judge(moved *tags.Group) verdict {
	v := verdict{operations: moved.Operations()}
	for _, err := range moved.Check(checkTime) {
		switch {
		case err == nil:
			v.checked++
		case fail.Is(err, fail.Unavailable):
			v.unchecked = append(v.unchecked, err.Error())
		default:
			v.illegal = append(v.illegal, err.Error())
			v.checked++
		}
	}
	return v
}
