package harborapi_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/harborapi"
)

func TestUsersMakeTokensForThemselvesAndEndThem(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.user("maria")
	other := s.user("otto")
	at, maria := fmt.Sprintf("/users/%d/tokens", id), as("maria", secret)
	s.get(at, maria).is(http.StatusOK).has("X-Total-Count", "0").says("[]")

	until := time.Now().Add(time.Hour).Unix()
	var laptop, ci harborapi.UserTokenCreated
	made := s.do(http.MethodPost, at, map[string]any{"name": "laptop"}, maria).is(http.StatusCreated).decode(&laptop)
	made.has("Location", fmt.Sprintf("%s%s/%d", harborapi.Base, at, laptop.ID)).has("Cache-Control", "no-store")
	s.do(http.MethodPost, at, map[string]any{"name": "ci", "expires_at": until}, maria).is(http.StatusCreated).decode(&ci)
	if laptop.Token == "" || laptop.ExpiresAt != -1 || ci.ExpiresAt != until || ci.Token == laptop.Token {
		t.Errorf("%+v, %+v", laptop, ci)
	}
	s.get("/users/current", as("maria", laptop.Token)).is(http.StatusOK).says(`"username":"maria"`)
	s.get("/users/current", as("otto", laptop.Token)).is(http.StatusUnauthorized) // it is hers

	var all []harborapi.UserToken
	list := s.get(at, maria).is(http.StatusOK).has("X-Total-Count", "2").decode(&all)
	if len(all) != 2 || all[0].Name != "laptop" || time.Time(all[0].UseTime).Year() < 2000 || all[1].ExpiresAt != until || time.Time(all[1].UseTime).Year() != 1 {
		t.Errorf("%s", list.body)
	}
	for _, bad := range []map[string]any{{"name": ""}, {"name": "\x01"}, {"name": " x"}, {"name": "x", "expires_at": 1}, {"name": "x", "expires_at": -2}} {
		s.do(http.MethodPost, at, bad, maria).is(http.StatusBadRequest, "BAD_REQUEST")
	}
	s.do(http.MethodPost, at, map[string]any{"name": "laptop"}, maria).is(http.StatusConflict, "CONFLICT")

	// Nobody makes one in another's name, administrators included; these see and end them.
	s.do(http.MethodPost, at, map[string]any{"name": "x"}).is(http.StatusForbidden).says("robot account")
	s.do(http.MethodPost, fmt.Sprintf("/users/%d/tokens", other), map[string]any{"name": "x"}, maria).is(http.StatusForbidden)
	s.get(at, as("otto", secret)).is(http.StatusForbidden)
	s.do(http.MethodDelete, fmt.Sprintf("%s/%d", at, laptop.ID), nil, as("otto", secret)).is(http.StatusForbidden)
	s.do(http.MethodDelete, fmt.Sprintf("/users/%d/tokens/%d", other, laptop.ID), nil).is(http.StatusNotFound) // not his
	s.get(at).is(http.StatusOK).has("X-Total-Count", "2")
	s.do(http.MethodDelete, fmt.Sprintf("%s/%d", at, ci.ID), nil).is(http.StatusOK)
	s.get("/users/current", as("maria", ci.Token)).is(http.StatusUnauthorized)
	s.do(http.MethodDelete, fmt.Sprintf("%s/%d", at, laptop.ID), nil, as("maria", laptop.Token)).is(http.StatusOK) // a logout
	s.get("/users/current", as("maria", laptop.Token)).is(http.StatusUnauthorized)
	s.do(http.MethodDelete, fmt.Sprintf("%s/%d", at, laptop.ID), nil, maria).is(http.StatusNotFound)
	s.get("/audit-logs?q=resource_type=user_token").has("X-Total-Count", "4").says(`"resource":"maria"`)
}
