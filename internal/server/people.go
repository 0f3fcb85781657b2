package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/seal"
)

// policy answers what administrators set about accounts, as of now.
func (s *Server) policy() access.Policy {
	live, p := s.settings.Live(), access.DefaultPolicy()
	p.RobotPrefix = live.RobotNamePrefix
	p.TokenLife = time.Duration(live.TokenExpiration) * time.Minute
	p.SelfRegistration = live.SelfRegistration && live.AuthMode == config.AuthLocal
	p.SessionIdle = time.Duration(live.SessionTimeout) * time.Minute
	p.SessionLife = max(p.SessionLife, p.SessionIdle)
	return p
}

// usable answers why settings can't be used though they go together.
func (s *Server) usable(l *config.Live) error {
	if err := s.directory.usable(l); err != nil {
		return err
	}
	return s.identity.usable(l)
}

// openAccess opens who is known, and hands the first password over.
func (s *Server) openAccess(ctx context.Context, o Options, sealer *seal.Seal, reg *prometheus.Registry) error {
	c := s.cfg
	handOver := &handOver{dir: c.DataDir, terminal: o.Terminal, out: o.Stderr, log: s.log}
	var first access.FirstStart
	var err error
	s.access, first, err = access.New(ctx, access.Config{
		DB: s.stores.db, Clock: s.clock, Log: s.log, Metrics: reg, AdminPassword: c.Admin.Password.Reveal(),
		Seal: sealer, Policy: s.policy, Provider: s.directory.provider, Renewer: s.identity.renewer, EndUploads: func(ctx context.Context, subject string) error { return s.registry.EndUploads(ctx, subject) },
		Announce: handOver.announce, Guesses: sharedGuesses(s.redis),
	})
	if err != nil {
		return err
	}
	s.settings.Changed(func(*config.Live) { s.access.PolicyChanged() })
	return handOver.settle(first.Password)
}

// purge is the duty of removing old lines of the audit log: one node has it.
func (s *Server) purge() audit.Duty {
	return audit.Duty{
		Log:  s.audit,
		Keep: func() time.Duration { return time.Duration(s.settings.Live().AuditLogRetentionDays) * 24 * time.Hour },
		Holds: func(ctx context.Context) (bool, error) {
			_, mine, err := s.node.Claim(ctx, "audit purge")
			return mine, err
		},
	}
}

// refreshPeople is the duty of asking the directory for those who do not log in: one node has it.
func (s *Server) refreshPeople(ctx context.Context) error {
	defer s.directory.close()
	return access.Duty{Access: s.access, Holds: func(ctx context.Context) (bool, error) {
		_, mine, err := s.node.Claim(ctx, "directory")
		return mine, err
	}}.Run(ctx)
}
