package distapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/oci"
)

// robot makes a robot that may push to a project, and answers it with its credentials.
func (s *service) robot(project string) (access.Robot, string) {
	s.Helper()
	r, secret, err := s.access.CreateRobot(s.Context(), access.Identity{Subject: "admin", Admin: true}, access.RobotSpec{
		Name: "ci", Project: project, Days: access.Forever,
		Permissions: []access.Permission{{In: project, Operation: access.Operation{Resource: "repository", Action: "pull"}}, {In: project, Operation: access.Operation{Resource: "repository", Action: "push"}}},
	})
	s.ok(err)
	return r, secret
}

func TestARobotPushesToItsProjectAndNowhereElse(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushImage("secret/app", "1")
	s.pushImage("other/app", "1")
	r, secret := s.robot("secret")
	who := basic(r.Name, secret)
	s.do("GET", "/v2/", nil, who).is(http.StatusOK)
	raw := s.tokenFor(who, "repository:secret/app:pull,push,delete", "repository:other/app:pull,push")
	claims, err := s.access.Verify(t.Context(), raw)
	s.ok(err)
	if len(claims.Granted) != 1 || claims.Granted[0].String() != "repository:secret/app:pull,push" || claims.Identity.Robot != r.ID {
		t.Errorf("granted %v to %+v", claims.Granted, claims.Identity)
	}
	for _, as := range []with{bearer(raw), who} {
		s.do("GET", "/v2/secret/app/manifests/1", nil, as).is(http.StatusOK)
		s.do("POST", "/v2/secret/app/blobs/uploads/", nil, as).is(http.StatusAccepted)
	}
	s.do("GET", "/v2/other/app/manifests/1", nil, bearer(raw)).is(http.StatusUnauthorized)
	s.do("GET", "/v2/other/app/manifests/1", nil, who).is(http.StatusForbidden)
	s.do("DELETE", "/v2/secret/app/manifests/1", nil, who).is(http.StatusForbidden)
	if a := s.do("GET", "/service/token?offline_token=true", nil, who).is(http.StatusOK); strings.Contains(string(a.body), "refresh_token") {
		t.Errorf("a robot gets a refresh token: %s", a.body)
	}
}

func TestARobotThatIsDisabledInTheMiddleOfAPushPushesNoFurther(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushImage("secret/app", "1")
	r, secret := s.robot("secret")
	who := basic(r.Name, secret)
	raw := s.tokenFor(who, "repository:secret/app:pull,push")
	begun := s.do("POST", "/v2/secret/app/blobs/uploads/", nil, bearer(raw)).is(http.StatusAccepted).location()
	next := s.do("PATCH", begun, "123", bearer(raw)).is(http.StatusAccepted).location()
	_, err := s.access.UpdateRobot(t.Context(), access.Identity{Admin: true}, r.ID, access.RobotSpec{Days: access.Forever, Permissions: r.Permissions, Disabled: true})
	s.ok(err)
	for _, as := range []with{bearer(raw), who} {
		s.do("PATCH", next, "45", as).is(http.StatusUnauthorized, oci.CodeUnauthorized)
		s.do("PUT", next+"?digest="+sum("123"), nil, as).is(http.StatusUnauthorized, oci.CodeUnauthorized)
		s.do("GET", "/v2/secret/app/manifests/1", nil, as).is(http.StatusUnauthorized, oci.CodeUnauthorized)
	}
	s.do("GET", "/service/token?scope=repository:secret/app:pull", nil, who).is(http.StatusUnauthorized)
}
