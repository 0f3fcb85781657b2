package server

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/config"
)

// policy answers what administrators set about accounts, as of now.
func (s *Server) policy() access.Policy {
	live, p := s.settings.Live(), access.DefaultPolicy()
	p.RobotPrefix = live.RobotNamePrefix
	p.SelfRegistration = live.SelfRegistration && live.AuthMode == config.AuthLocal
	p.SessionIdle = time.Duration(live.SessionTimeout) * time.Minute
	p.SessionLife = max(p.SessionLife, p.SessionIdle)
	return p
}

// refreshPeople is the duty of asking the directory for those who do not log in: one node has it.
func (s *Server) refreshPeople(ctx context.Context) error {
	return access.Duty{Access: s.access, Holds: func(ctx context.Context) (bool, error) {
		_, mine, err := s.node.Claim(ctx, "directory")
		return mine, err
	}}.Run(ctx)
}
