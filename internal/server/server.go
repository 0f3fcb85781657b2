package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/distapi"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/redis"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/settings"
	"github.com/havn-registry/havn/internal/sweep"
)

// Options say what a server is started with, besides its configuration.
type Options struct {
	Config   *config.Config
	Warnings []config.Warning
	Version  string
	Stderr   io.Writer          // where the log goes
	Terminal bool               // Stderr is one: a person reads it, and a secret may be shown there
	Reload   <-chan os.Signal   // asks to load the certificate again; may be nil
	Announce func(*slog.Logger) // what else is to be said once about the configuration; may be nil
}

// Server is a registry that is ready to serve: its stores are open and its addresses bound.
type Server struct {
	cfg     *config.Config
	version string
	log     *slog.Logger
	lines   *lines
	reload  <-chan os.Signal
	clock   func() time.Time
	hurried chan struct{} // ends the drain delay early; tests alone set it

	stores    *stores
	redis     *redis.Client // nil: none
	settings  *settings.Store
	audit     *audit.Log
	access    *access.Access
	directory *directory
	identity  *identity
	registry  *registry.Registry
	node      *cluster.Node
	sweep     *sweep.Sweeper
	keys      keyKeeper

	listeners []net.Listener
	inside    net.Listener // of the metrics address, nil if there is none
	cert      *certificate // nil: plain HTTP
	tracer    *tracer      // nil: no traces
	traffic   *traffic
	ready     *readiness
	notifier  *notifier
	memory    *memoryAim
	places    *places // of the connections of http
	http      *http.Server
	metrics   *http.Server // nil if there is none
}

// New opens everything that a server needs, in the order in which a failure leaves least behind: first what only looks (certificate,
// addresses), then the stores. After an error nothing is open.
func New(ctx context.Context, o Options) (*Server, error) {
	s := &Server{cfg: o.Config, version: o.Version, reload: o.Reload, lines: newLines(o.Stderr), clock: time.Now}
	s.log = newLog(s.lines, o.Config.Log)
	for _, w := range o.Warnings {
		s.log.Warn(string(w))
	}
	if o.Announce != nil {
		o.Announce(s.log)
	}
	if err := s.open(ctx, o); err != nil {
		return nil, errors.Join(err, s.closeListeners())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context, o Options) error {
	c := s.cfg
	if problems := c.Probe(); len(problems) > 0 {
		return config.Invalid(problems)
	}
	var err error
	if c.HTTP.TLS.Enabled() {
		if s.cert, err = newCertificate(c.HTTP.TLS, s.log); err != nil {
			return err
		}
	}
	if s.listeners, err = listen(ctx, c.HTTP.Addr); err != nil {
		return err
	}
	if c.Metrics.Addr != "" {
		inside, listenErr := listen(ctx, []string{c.Metrics.Addr})
		if listenErr != nil {
			return listenErr
		}
		s.inside = inside[0]
	}
	reg := newMetrics(s.version)
	s.traffic = newTraffic(reg)
	s.memory = newMemoryAim(c.Memory.Limit, s.traffic)
	if s.redis, err = newRedis(c, s.log, reg, s.clock); err != nil {
		return err
	}
	if s.stores, err = openStores(ctx, c, thisProcess(s.clock()), s.log, reg, s.clock); err != nil {
		return err
	}
	if err = s.build(ctx, o, reg); err != nil {
		return errors.Join(err, s.stores.abandon())
	}
	return nil
}

func thisProcess(now time.Time) Holder {
	return Holder{PID: os.Getpid(), Host: hostName(), Since: now.UTC().Truncate(time.Second)}
}

func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "this host"
	}
	return host
}

// build makes the services on open stores, and the handlers on the services.
func (s *Server) build(ctx context.Context, o Options, reg *prometheus.Registry) error {
	c, db := s.cfg, s.stores.db
	if c.Storage.Redirect && !s.stores.blobs.CanSign() {
		return fail.E(fail.Invalid, nil, "storage.redirect is on, and the driver %s gives no URLs", c.Storage.Driver).Hint("set storage.redirect to off")
	}
	sealer, err := s.stores.seal(ctx, c)
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if s.settings, err = settings.Open(ctx, settings.Config{DB: db, Seal: sealer, Log: s.log, Given: c, Usable: s.usable}); err != nil {
		return err
	}
	roots, err := c.OutboundRoots()
	if err != nil {
		return err
	}
	s.audit = audit.New(audit.Config{
		DB: db, Log: s.log, Clock: s.clock, Metrics: reg, Options: auditOptions(s.settings), Syslog: audit.Syslog{Host: hostName(), Roots: roots},
	})
	s.directory = &directory{roots: roots, log: s.log, clock: s.clock}
	s.settings.Changed(s.directory.follow)
	s.identity = &identity{home: s.home(), roots: roots, outbound: c.Outbound, seal: sealer, log: s.log, clock: s.clock}
	s.settings.Changed(s.identity.follow)
	if err = s.openAccess(ctx, o, sealer, reg); err != nil {
		return fmt.Errorf("access: %w", err)
	}
	s.keys = keyKeeper{s, sealer}
	sees := &sights{db: db, clock: s.clock, host: hostName()}
	if s.node, err = cluster.Start(ctx, cluster.Config{DB: db, Version: s.version, Addr: s.advertised(), Clock: s.clock, Log: s.log, Sight: sees.text}); err != nil {
		return fmt.Errorf("join the cluster: %w", err)
	}
	s.registry, err = registry.New(ctx, registry.Config{
		DB: db, Blobs: s.stores.blobs, Log: s.log, Clock: s.clock, Metrics: reg,
		CreateOnPush: c.Projects.CreateOnPush, SparseIndex: c.Registry.SparseIndex, DefaultQuota: s.newQuota, QuotasOff: func() bool { return !s.settings.Live().QuotaPerProject },
		MaxUploadsPerSubject: c.Uploads.MaxPerSubject, MaxObjectBytes: c.Uploads.MaxObjectSize, LowDiskBytes: c.Storage.LowDisk,
		SafeTime: c.Sweep.SafeTime, DeadGrace: c.Sweep.DeadGrace, NodeID: s.node.ID(), Shared: sharedBytes(s.redis), StaleTags: c.HA.StaleTags, NotePulls: s.notePulls,
	})
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	id, err := s.registry.Identify(ctx)
	if err != nil {
		return err
	}
	lost := registry.CheckEpoch(ctx, db, s.stores.blobs)
	if lost != nil {
		s.log.Warn(lost.Error(), "hint", fail.HintOf(lost))
	}
	s.sweep = sweep.New(sweep.Config{
		Registry: s.registry, Access: s.access, Node: s.node, Log: s.log, Clock: s.clock, Metrics: reg,
		UploadTime: c.Uploads.ExpireAfter, Interval: c.Sweep.Interval, OrphanAge: c.Sweep.SafeTime, OrphanEvery: orNever(c.Sweep.OrphanInterval), LostAtStart: lost,
	})
	api := distapi.New(distapi.Config{
		Registry: s.registry, Access: s.access, Log: s.log, Clock: s.clock, Audit: s.audit,
		PublicURL: c.HTTP.PublicURL, TrustedProxies: c.HTTP.TrustedProxies, ProgressTimeout: c.HTTP.ProgressTimeout,
		ReadOnly: func() bool { return s.settings.Live().ReadOnly }, Redirect: c.Storage.Redirect, RedirectNetworks: c.Storage.RedirectNetworks,
	})
	harbor := s.harbor()
	s.ready = &readiness{db: db, blobs: s.stores.blobs, redis: s.redis, id: id, lowDisk: c.Storage.LowDisk, lost: s.sweep.Lost, clock: s.clock}
	sees.ready = s.ready
	s.notifier = newNotifier(s.log, db.Ping)
	return s.serveWith(ctx, api, harbor, reg)
}

// auditOptions answers what administrators want of the audit log at the moment.
func auditOptions(s *settings.Store) func() audit.Options {
	var now atomic.Pointer[audit.Options]
	s.Changed(func(l *config.Live) {
		o := audit.Options{Forward: l.AuditLogForwardEndpoint, SkipDatabase: l.SkipAuditLogDatabase, SkipPulls: l.PullAuditLogDisable}
		for kind := range strings.SplitSeq(l.DisabledAuditLogEventTypes, ",") {
			if kind = strings.TrimSpace(kind); kind != "" {
				o.Disabled = append(o.Disabled, kind)
			}
		}
		now.Store(&o)
	})
	return func() audit.Options { return *now.Load() }
}

// newQuota answers what projects that are made now may have, in bytes.
func (s *Server) newQuota() int64 {
	live := s.settings.Live()
	if !live.QuotaPerProject {
		return registry.Unlimited
	}
	return live.StoragePerProject
}

// notePulls answers what is noted of pulls now.
func (s *Server) notePulls() registry.Notes {
	live := s.settings.Live()
	return registry.Notes{Count: !live.PullCountUpdateDisable, Time: !live.PullTimeUpdateDisable}
}

// orNever answers how the sweep is told of a walk that never is.
func orNever(every time.Duration) time.Duration {
	if every == 0 {
		return sweep.Never
	}
	return every
}

// address is what `havn doctor` may call this one.
func (s *Server) address() string { return s.listeners[0].Addr().String() }

// advertised is what other nodes and people call this one: listening at every address of the machine says nothing of which machine it is.
func (s *Server) advertised() string {
	addr := s.address()
	host, port, err := net.SplitHostPort(addr)
	if ip, ipErr := netip.ParseAddr(host); err == nil && ipErr == nil && ip.IsUnspecified() {
		return net.JoinHostPort(hostName(), port)
	}
	return addr
}

// URL answers where the first listener answers.
func (s *Server) URL() string {
	scheme := "http://"
	if s.cert != nil {
		scheme = "https://"
	}
	return scheme + s.address()
}

// Addrs answers the bound addresses, those of http.addr in their order.
func (s *Server) Addrs() []net.Addr {
	var all []net.Addr
	for _, l := range s.listeners {
		all = append(all, l.Addr())
	}
	return all
}

// MetricsAddr answers the bound second address, nil if there is none.
func (s *Server) MetricsAddr() net.Addr {
	if s.inside == nil {
		return nil
	}
	return s.inside.Addr()
}

func (s *Server) closeListeners() error {
	var err error
	for _, l := range s.listeners {
		err = errors.Join(err, l.Close())
	}
	if s.inside != nil {
		err = errors.Join(err, s.inside.Close())
	}
	return err
}
