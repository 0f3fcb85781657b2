package harborapi

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/config"
)

// harborVersion is the version of Harbor whose API this is. Tools that ask for a version of Harbor read the beginning of harbor_version.
const harborVersion = "v2.13.0"

// GetPing answers that the API is there.
func (a *API) GetPing(c *call) error {
	return c.bytes(http.StatusOK, "text/plain; charset=utf-8", []byte("Pong"))
}

const (
	healthy   = "healthy"
	unhealthy = "unhealthy"
)

// GetHealth answers how everything is. The status of all is that of what the node can't work without.
func (a *API) GetHealth(c *call) error {
	answer := OverallHealthStatus{Status: healthy, Components: []ComponentHealthStatus{{Name: "core", Status: healthy}}}
	for _, p := range a.Health(c.Context()) {
		part := ComponentHealthStatus{Name: p.Name, Status: healthy, Error: p.Problem}
		if p.Problem != "" {
			part.Status = unhealthy
			if !p.Spare {
				answer.Status = unhealthy
			}
		}
		answer.Components = append(answer.Components, part)
	}
	slices.SortFunc(answer.Components, func(x, y ComponentHealthStatus) int { return cmp.Compare(x.Name, y.Name) })
	return c.json(http.StatusOK, answer)
}

// GetSystemInfo answers what the server is.
func (a *API) GetSystemInfo(c *call) error {
	known := func(s string) *string { return &s }
	live := a.Settings.Live()
	info := GeneralInfo{AuthMode: known(string(live.AuthMode)), PrimaryAuthMode: &live.PrimaryAuthMode, SelfRegistration: &live.SelfRegistration, BannerMessage: &live.BannerMessage, OidcProviderName: known("")}
	if live.AuthMode == config.AuthOIDC {
		info.OidcProviderName = &live.OIDC.Name
	}
	if isKnown(c.who) {
		url := a.URL(c.Request)
		_, host, _ := strings.Cut(url, "://")
		now, no := Time(a.Clock()), false
		info.ExternalURL, info.RegistryURL, info.CurrentTime, info.HasCaRoot = &url, &host, &now, &no
		info.HarborVersion, info.RegistryStorageProviderName = known(harborVersion+"-havn-"+a.Version), known(a.Storage)
		info.ProjectCreationRestriction, info.ReadOnly, info.NotificationEnable = known(string(live.ProjectCreationRestriction)), &live.ReadOnly, &live.NotificationEnable
	}
	return c.json(http.StatusOK, info)
}

// GetVolumes answers the room of the blob store, or none where that can't be known: a bucket has no size.
func (a *API) GetVolumes(c *call) error {
	answer := struct {
		Storage []Storage `json:"storage"`
	}{[]Storage{}}
	if s := a.Space(c.Context()); s.Known {
		answer.Storage = append(answer.Storage, Storage{Total: uint64(max(s.Total, 0)), Free: uint64(max(s.Free, 0))})
	}
	return c.json(http.StatusOK, answer)
}
