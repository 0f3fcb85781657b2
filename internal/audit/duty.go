package audit

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// purgeEvery is how often it is looked for lines that are too old.
const purgeEvery = time.Hour

// Duty removes lines that are older than they are to be kept, as one node's duty.
type Duty struct {
	Log   *Log
	Keep  func() time.Duration                // how long lines are kept, as of now; 0: for ever
	Holds func(context.Context) (bool, error) // whether it is this node's now
	Every <-chan time.Time                    // when to look; nil: each hour
}

// Run removes lines until the context ends.
func (d Duty) Run(ctx context.Context) error {
	if d.Every == nil {
		tick := time.NewTicker(purgeEvery)
		defer tick.Stop()
		d.Every = tick.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.Every:
		}
		d.once(ctx)
	}
}

func (d Duty) once(ctx context.Context) {
	keep := d.Keep()
	if keep <= 0 {
		return
	}
	log := d.Log.cfg.Log
	var gone int64
	before := d.Log.cfg.Clock().Add(-keep)
	mine, err := d.Holds(ctx)
	if mine && err == nil {
		gone, err = d.Log.Purge(ctx, before)
	}
	switch {
	case err != nil && ctx.Err() == nil:
		log.WarnContext(ctx, "old lines of the audit log not removed", "error", err, "hint", fail.HintOf(err), "removed", gone)
	case gone > 0:
		log.InfoContext(ctx, "old lines of the audit log removed", "removed", gone, "before", before.UTC())
	}
}
