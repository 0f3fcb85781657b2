package deployment

import (
	"context"
	"errors"
	"time"
)

// keepPause is the pause between two looks for what ended by itself.
const keepPause = 500 * time.Millisecond

// Run starts a lab, looks after it until the context ends or somebody asks for its end, and leaves nothing behind. While it starts it says what it does; then it calls ready.
func Run(ctx context.Context, o Options, say func(format string, args ...any), ready func(a Access, password string)) error {
	if err := o.Check(); err != nil {
		return err
	}
	place, err := enter(o.Dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &Deployment{o: o, say: say, since: time.Now()}
	s, err := listen(ctx, cancel, d)
	if err != nil {
		return errors.Join(err, place.remove())
	}
	if err = d.run(ctx, s, ready); ctx.Err() != nil {
		err = nil // it was asked to end, whatever it was doing
	}
	// Whoever gave up must not leave processes behind.
	after := context.WithoutCancel(ctx)
	err = errors.Join(err, d.end(after))
	s.close(after)
	return errors.Join(err, place.remove())
}

func (d *Deployment) run(ctx context.Context, s *socket, ready func(a Access, password string)) error {
	for _, step := range []func(context.Context) error{d.start, d.serve, d.settle} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.assemble()
	ready(d.access(), d.password)
	s.ready.Store(true)
	pause := time.NewTicker(keepPause)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
			d.keep()
		}
	}
}
