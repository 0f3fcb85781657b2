package harborapi_test

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/harborapi"
)

func TestHealthHasHarborsShapeAndHavnsParts(t *testing.T) {
	t.Parallel()
	s := start(t)
	look := func(want string, parts ...harborapi.Part) *answer {
		t.Helper()
		s.mu.Lock()
		s.parts = parts
		s.mu.Unlock()
		var h harborapi.OverallHealthStatus
		a := s.get("/health", nobody).is(http.StatusOK).decode(&h)
		if h.Status != want || len(h.Components) != len(parts)+1 {
			t.Errorf("%s, want %s", a.body, want)
		}
		return a
	}
	look("healthy", harborapi.Part{Name: "storage"}, harborapi.Part{Name: "database"}).
		says(`{"components":[{"name":"core","status":"healthy"},{"name":"database","status":"healthy"},{"name":"storage","status":"healthy"}],"status":"healthy"}`)
	look("unhealthy", harborapi.Part{Name: "database", Problem: "unavailable"}).says(`{"error":"unavailable","name":"database","status":"unhealthy"}`)
	look("healthy", harborapi.Part{Name: "redis", Problem: "unavailable", Spare: true}).says(`"unhealthy"`)
}

func TestStrangersLearnLittleOfTheServer(t *testing.T) {
	t.Parallel()
	s := start(t)
	if a := s.get("/systeminfo", nobody).is(http.StatusOK).says(`"auth_mode":"db_auth"`).says(`"self_registration":false`); strings.Contains(string(a.body), "version") {
		t.Errorf("strangers are told the version: %s", a.body)
	}
	s.get("/systeminfo").is(http.StatusOK).says(`"harbor_version":"v2.13.0-havn-1.2.3"`).says(`"registry_storage_provider_name":"memory"`).says(`"external_url":"https://127.0.0.1`).
		says(`"registry_url":"127.0.0.1`).says(`"read_only":false`).says(`"current_time":"2`)
}

// keys answers the fields of an object.
func (a *answer) keys() []string {
	a.Helper()
	var all map[string]any
	a.is(http.StatusOK).decode(&all)
	return slices.Sorted(maps.Keys(all))
}

func TestTheServerIsToldInHarborsFields(t *testing.T) {
	t.Parallel()
	s := start(t)
	open := []string{"auth_mode", "banner_message", "oidc_provider_name", "primary_auth_mode", "self_registration"}
	if got := s.get("/systeminfo", nobody).keys(); !slices.Equal(got, open) {
		t.Errorf("a stranger is told %v", got)
	}
	all := append(open, "current_time", "external_url", "harbor_version", "has_ca_root", "notification_enable", "project_creation_restriction", "read_only", "registry_storage_provider_name", "registry_url")
	slices.Sort(all)
	for _, who := range []with{as("admin", password), s.logIn("somebody")} {
		if got := s.get("/systeminfo", who).keys(); !slices.Equal(got, all) {
			t.Errorf("who is logged in is told %v", got)
		}
	}
	if got := s.get("/systeminfo/volumes").keys(); !slices.Equal(got, []string{"storage"}) {
		t.Errorf("volumes: %v", got)
	}
	s.get("/systeminfo/volumes", s.logIn("somebody")).is(http.StatusForbidden)
	s.get("/systeminfo/volumes", nobody).is(http.StatusUnauthorized)
	if got := s.get("/health", nobody).keys(); !slices.Equal(got, []string{"components", "status"}) {
		t.Errorf("health: %v", got)
	}
	if a := s.get("/ping", nobody); string(a.body) != "Pong" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("%s of %s", a.body, a.header.Get("Content-Type"))
	}
}

func TestVolumesAreThoseOfTheStoreOrNone(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.get("/systeminfo/volumes").is(http.StatusOK).says(`{"storage":[]}`)
	s.space = harborapi.Space{Known: true, Total: 100, Free: 40}
	s.get("/systeminfo/volumes").is(http.StatusOK).says(`"free":40`).says(`"total":100`)
}

func TestConfigurationsAreReadAndChanged(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.get("/configurations").is(http.StatusOK).says(`"auth_mode":{"value":"db_auth","editable":true}`).says(`"read_only":{"value":false,"editable":true}`).says(`"session_timeout":{"value":60,"editable":true}`).says(`"token_expiration":{"value":30,"editable":true}`)
	if strings.Contains(string(a.body), "password") || strings.Contains(string(a.body), "oidc_client_secret") {
		t.Errorf("secrets are told, or named: %s", a.body)
	}
	// harbor config view panics where one that Harbor's document names is missing.
	var told map[string]any
	a.decode(&told)
	for field := range reflect.TypeFor[harborapi.ConfigurationsResponse]().Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); told[name] == nil {
			t.Errorf("%s is not told", name)
		}
	}
	a.says(`"uaa_client_secret":{"value":"","editable":false}`).says(`"scan_all_policy":{}`)
	s.do(http.MethodPut, "/configurations", `{"read_only":true,"token_expiration":45,"robot_name_prefix":"bot+","uaa_endpoint":"x","nothing":[1],"ldap_search_dn":"cn=us","ldap_search_password":"hidden"}`).is(http.StatusOK)
	live := s.settings.Live()
	if !live.ReadOnly || live.TokenExpiration != 45 || live.RobotNamePrefix != "bot+" || live.LDAP.SearchPassword.Reveal() != "hidden" {
		t.Errorf("%+v", live)
	}
	s.do(http.MethodPut, "/configurations", `{"session_timeout":"long"}`).is(http.StatusUnprocessableEntity).says("session_timeout")
	s.do(http.MethodPut, "/configurations", `{"read_only":false,"session_timeout":0}`).is(http.StatusBadRequest, "BAD_REQUEST").says("session_timeout")
	if !s.settings.Live().ReadOnly {
		t.Error("half of a refused change was made")
	}
	s.do(http.MethodPut, "/configurations", `{}`).is(http.StatusOK)
}
