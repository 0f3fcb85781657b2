package server

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

const (
	// memoryPerRequest is what an upload or a pull under way may take: its buffers on both sides.
	memoryPerRequest = 512 << 10
	memoryRhythm     = time.Second
)

// memoryAim keeps Go's soft memory limit in step with the work: the configured limit, and half a MiB more for each request under way. A fixed
// limit would either let a quiet server grow, or make the collector run without pause when many push at once.
type memoryAim struct {
	base    int64 // 0: no limit
	traffic *traffic
}

// newMemoryAim sets the limit for the start. An operator who sets GOMEMLIMIT knows better.
func newMemoryAim(base int64, t *traffic) *memoryAim {
	if os.Getenv("GOMEMLIMIT") != "" {
		base = 0
	}
	if base > 0 {
		debug.SetMemoryLimit(base)
	}
	return &memoryAim{base: base, traffic: t}
}

// Run adjusts the limit until the context ends.
func (m *memoryAim) Run(ctx context.Context) error {
	if m.base == 0 {
		return nil
	}
	tick := time.NewTicker(memoryRhythm)
	defer tick.Stop()
	last := int64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if now := m.traffic.flight.Load(); now != last {
			debug.SetMemoryLimit(m.base + now*memoryPerRequest)
			last = now
		}
	}
}
