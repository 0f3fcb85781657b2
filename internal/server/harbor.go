package server

import (
	"context"
	"net/http"

	"github.com/havn-registry/havn/internal/distapi"
	"github.com/havn-registry/havn/internal/harborapi"
	"github.com/havn-registry/havn/internal/project"
)

// harbor makes Harbor's REST API.
func (s *Server) harbor() http.Handler {
	origin := distapi.NewOrigin(s.cfg.HTTP.PublicURL, s.cfg.HTTP.TrustedProxies)
	return harborapi.New(harborapi.Config{
		Registry: s.registry, Projects: project.New(s.stores.db, s.registry), Access: s.access, Settings: s.settings, Audit: s.audit, Directory: s.directory, Log: s.log, Clock: s.clock, Version: s.version, Storage: string(s.cfg.Storage.Driver),
		URL: origin.URL, Client: origin.Client, Health: s.health, Space: s.space, Session: s.access.Check,
		Identity: s.identity.provider, PingIdentity: s.identity.ping,
	})
}

// health tells what this node sees of what it stands on, as /readyz does.
func (s *Server) health(ctx context.Context) []harborapi.Part {
	names := map[string]string{"blobs": "storage"} // as Harbor calls it
	var all []harborapi.Part
	for name, state := range s.ready.look(ctx).Stores {
		p := harborapi.Part{Name: name, Spare: name == "redis"}
		if other := names[name]; other != "" {
			p.Name = other
		}
		if state.Status != stateOK && state.Status != stateLow {
			p.Problem = state.Status
		}
		all = append(all, p)
	}
	return all
}

// space tells the room of the blob store.
func (s *Server) space(ctx context.Context) harborapi.Space {
	free, total, known, err := s.stores.blobs.Space(ctx)
	return harborapi.Space{Known: known && err == nil, Total: total, Free: free}
}
