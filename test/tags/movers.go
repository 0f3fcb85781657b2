package tags

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/test/request"
)

// Movers are clients that move and read the tags of a group until they are ended: each tag has two that move it and two that read it. Their errors are kept.
type Movers struct {
	g     *Group
	pause time.Duration
	stop  context.CancelFunc
	all   sync.WaitGroup
	acks  atomic.Int64

	mu    sync.Mutex
	wrong []error // that no retry hides
}

// perTag is how many clients there are for each tag, of which every other one reads.
const perTag = 4

// Start starts clients; do answers how the n-th of them sends its requests. They end with the context too.
func (g *Group) Start(ctx context.Context, pause time.Duration, do func(n int) Do) *Movers {
	ctx, stop := context.WithCancel(ctx)
	m := &Movers{g: g, pause: pause, stop: stop}
	for n := range perTag * len(g.histories) {
		m.all.Go(func() { m.run(ctx, do(n), n) })
	}
	return m
}

func (m *Movers) run(ctx context.Context, do Do, n int) {
	for ctx.Err() == nil {
		var err error
		if n%2 == 0 {
			err = m.g.Move(ctx, do, n, n/perTag)
		} else {
			err = m.g.Look(ctx, do, n, n/perTag)
		}
		switch {
		case err == nil:
			m.acks.Add(1)
		case ctx.Err() == nil && !request.Passes(err):
			m.mu.Lock()
			m.wrong = append(m.wrong, err)
			m.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(m.pause):
		}
	}
}

// Acknowledged is how many operations were answered so far.
func (m *Movers) Acknowledged() int { return int(m.acks.Load()) }

// End ends the clients, and answers what they were told that no fault explains.
func (m *Movers) End() error {
	m.stop()
	m.all.Wait()
	return errors.Join(m.wrong...)
}

// Judge reads each tag once more through each of some nodes, when all clients have ended, and answers an error if no order explains all that was seen, or if that could not be said within
// the limit.
func (g *Group) Judge(ctx context.Context, limit time.Duration, nodes ...Do) error {
	for which := range g.histories {
		for i, node := range nodes {
			if err := g.Look(ctx, node, perTag*len(g.histories), which); err != nil {
				return fmt.Errorf("after all, node %d: %w", i, err)
			}
		}
	}
	return errors.Join(g.Check(limit)...)
}
