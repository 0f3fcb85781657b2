package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// leaveTime bounds the sending of the last traces.
	leaveTime = 10 * time.Second
	// cutTime is how long handlers may take to notice that their connections were cut.
	cutTime = 5 * time.Second
	pollCut = 10 * time.Millisecond
)

// Run serves until the context ends, then drains and closes everything. It answers nil after such a stop, also one that had to cut requests
// off; and an error if something that must run ended by itself.
func (s *Server) Run(ctx context.Context) error {
	// What stands behind the requests outlives them: it is stopped by background, after the drain.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, running := errgroup.WithContext(background)
	for _, part := range s.parts() {
		group.Go(func() error {
			if err := part.run(running); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
			return nil
		})
	}
	s.accept(group)
	if err := s.stores.home.answers(s.URL(), s.version, s.node.ID()); err != nil {
		s.log.Warn("the lock does not say where this process answers", "error", err.Error())
	}
	s.announce()
	select {
	case <-ctx.Done():
	case <-running.Done():
	}
	s.drain(running)
	stop()
	return errors.Join(group.Wait(), s.leave())
}

// part is something that runs beside the requests.
type part struct {
	name string
	run  func(context.Context) error
}

func (s *Server) parts() []part {
	all := []part{
		{"log", s.lines.Run},
		{"registry", s.registry.Run},
		{"settings", s.settings.Run},
		{"audit log", s.audit.Run},
		{"audit purge", s.purge().Run},
		{"access", s.access.Run},
		{"key", s.keys.Run},
		{"directory", s.refreshPeople},
		{"sweep", s.sweep.Run},
		{"cluster", s.beat},
		{"watchdog", s.notifier.Run},
		{"memory", s.memory.Run},
		{"reload", s.watchReload},
	}
	if s.cert != nil {
		all = append(all, part{"certificate", s.cert.Run})
	}
	if s.redis != nil {
		all = append(all, part{"redis", s.redis.Run})
	}
	return all
}

// beat keeps this node alive in the eyes of others. That it can't sign off while stopping is no failure: others find out by its beat.
func (s *Server) beat(ctx context.Context) error {
	err := s.node.Run(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	s.log.Warn("this node is not signed off", "error", err.Error())
	return nil
}

// watchReload loads the certificate again when it is asked to.
func (s *Server) watchReload(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.reload:
			if s.cert == nil {
				s.log.Info("asked to reload, and there is no certificate: everything else takes a restart")
				continue
			}
			s.cert.reload()
		}
	}
}

// accept starts the listeners.
func (s *Server) accept(group *errgroup.Group) {
	for _, l := range s.listeners {
		group.Go(func() error {
			bounded := newLimited(l, s.places, pace{limit: s.cfg.HTTP.ProgressTimeout, short: s.cert != nil})
			if s.cert != nil {
				return ended(s.http.ServeTLS(bounded, "", ""), l)
			}
			return ended(s.http.Serve(bounded), l)
		})
	}
	if s.inside != nil {
		group.Go(func() error { return ended(s.metrics.Serve(s.inside), s.inside) })
	}
}

func ended(err error, l net.Listener) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve at %s: %w", l.Addr(), err)
}

// announce says where the server is, to people and to systemd. Tests and scripts read these lines.
func (s *Server) announce() {
	scheme := "http"
	if s.cert != nil {
		scheme = "https"
	}
	for _, l := range s.listeners {
		s.log.Info("listening", "addr", l.Addr().String(), "scheme", scheme)
	}
	if s.inside != nil {
		s.log.Info("metrics listening", "addr", s.inside.Addr().String())
	}
	for _, e := range exposed(s.cfg) {
		s.log.Warn(e.Error(), "hint", fail.HintOf(e))
	}
	s.log.Info("ready", "version", s.version, "data_dir", s.cfg.DataDir, "database", string(s.stores.db.Engine()), "storage", string(s.cfg.Storage.Driver))
	s.notifier.send("READY=1\nSTATUS=serving at " + s.URL())
}

// drain stops taking requests and lets those under way finish: 1. /readyz says so, and requests are still taken for a while, so that balancers
// notice; 2. listeners close and idle connections end; 3. after the time-out, what is left is cut off.
func (s *Server) drain(running context.Context) {
	c := s.cfg.HTTP
	s.ready.stopping.Store(true)
	// systemd kills what does not end in time, and knows nothing of how long this may take.
	patience := c.DrainDelay + c.DrainTimeout + cutTime + leaveTime
	s.notifier.send(fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d\nSTATUS=finishing requests under way", patience.Microseconds()))
	s.log.Info("stopping", "in_flight", s.traffic.flight.Load(), "drain_timeout", c.DrainTimeout)
	s.http.SetKeepAlivesEnabled(false)
	if c.DrainDelay > 0 {
		select {
		case <-time.After(c.DrainDelay):
		case <-running.Done():
		case <-s.hurried:
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.DrainTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		s.log.Warn("requests are cut off", "in_flight", s.traffic.flight.Load(), "error", err.Error())
		if err = s.http.Close(); err != nil {
			s.log.Debug("close connections", "error", err.Error())
		}
		s.awaitCut()
	}
	if s.metrics != nil {
		if err := s.metrics.Close(); err != nil {
			s.log.Debug("close connections", "error", err.Error())
		}
	}
}

// awaitCut waits until the handlers whose connections were cut are gone, so that the stores are not closed under them.
func (s *Server) awaitCut() {
	deadline := s.clock().Add(cutTime)
	for s.traffic.flight.Load() > 0 && s.clock().Before(deadline) {
		time.Sleep(pollCut)
	}
}

// leave closes what is still open. Everything that ran has ended.
func (s *Server) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	if s.tracer != nil {
		if traceErr := s.tracer.stop(ctx); traceErr != nil {
			s.log.Warn("the last traces are lost", "error", traceErr.Error())
		}
	}
	err := s.stores.close()
	s.log.Info("stopped")
	s.lines.finish()
	return err
}
