package server_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheRESTAPIIsMounted(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_METRICS_ADDR=127.0.0.1:0")
	api := r.URL() + "/api/v2.0"
	if a := get(t, api+"/ping"); a.StatusCode != http.StatusOK || a.body != "Pong" || a.Header.Get("X-Request-Id") == "" {
		t.Errorf("ping: %s %s %v", a.Status, a.body, a.Header)
	}
	if a := get(t, api+"/nothing"); a.StatusCode != http.StatusNotFound || !strings.Contains(a.body, `{"errors":[{"code":"NOT_FOUND"`) {
		t.Errorf("a path that is not there: %s %s", a.Status, a.body)
	}
	if a := get(t, r.URL()+"/devcenter-api-2.0"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "listRepositories") {
		t.Errorf("the reference: %s", a.Status)
	}
	if a := get(t, api+"/systeminfo", basic()...); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"external_url":"`+r.URL()+`"`) || !strings.Contains(a.body, `"registry_storage_provider_name":"filesystem"`) {
		t.Errorf("systeminfo: %s %s", a.Status, a.body)
	}
	if a := get(t, api+"/systeminfo/volumes", basic()...); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"total":`) {
		t.Errorf("volumes: %s %s", a.Status, a.body)
	}
	if a := get(t, "http://"+r.MetricsAddr().String()+"/metrics"); !strings.Contains(a.body, `route="rest"`) {
		t.Error("the metrics do not tell these requests apart")
	}
	id := filepath.Join(r.data, "blobs", "havn-store-id")
	if err := os.Rename(id, id+".away"); err != nil {
		t.Fatal(err)
	}
	await(t, "a health that tells of the store", func() bool {
		return strings.Contains(get(t, api+"/health").body, `{"error":"not found","name":"storage","status":"unhealthy"}],"status":"unhealthy"}`)
	})
}

// putter answers what changes the settings of a server, by their JSON.
func putter(t *testing.T, url string) func(body string) answer {
	t.Helper()
	return func(body string) answer {
		t.Helper()
		a, err := do(t, http.DefaultClient, http.MethodPut, url+"/api/v2.0/configurations", strings.NewReader(body), append(basic(), "Content-Type", "application/json")...)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

func TestAnIdentityProviderIsFollowedAndOneThatCanNotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t)
	put := putter(t, r.URL())
	login := func() answer { return get(t, r.URL()+"/c/oidc/login") }
	const good = `"auth_mode":"oidc_auth","oidc_endpoint":"https://127.0.0.1:1/realm","oidc_client_id":"havn"`
	for what, more := range map[string]string{
		"in the clear":           `,"oidc_endpoint":"http://127.0.0.1:1/realm"`,
		"a parameter of ours":    `,"oidc_extra_redirect_parms":"{\"state\":\"x\"}"`,
		"an address with a name": `,"oidc_endpoint":"https://user@127.0.0.1:1/realm"`,
	} {
		if a := put("{" + good + more + "}"); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s %s", what, a.Status, a.body)
		}
	}
	if a := login(); a.StatusCode != http.StatusConflict {
		t.Errorf("without one: %s %s", a.Status, a.body)
	}
	if a := put("{" + good + "}"); a.StatusCode != http.StatusOK {
		t.Errorf("%s %s", a.Status, a.body)
	}
	if a := login(); a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.body, "oidc_endpoint") { // nobody listens there
		t.Errorf("with one that is away: %s %s", a.Status, a.body)
	}
	if a := get(t, r.URL()+"/v2/", basic()...); a.StatusCode != http.StatusOK {
		t.Errorf("the administrator, meanwhile: %s %s", a.Status, a.body)
	}
	if text := r.log.String(); strings.Contains(text, "nobody of it can log in") || strings.Contains(text, "can't log in yet") {
		t.Errorf("the log complains:\n%s", text)
	}
	if a := put(`{"auth_mode":"db_auth"}`); a.StatusCode != http.StatusOK {
		t.Errorf("%s %s", a.Status, a.body)
	}
	if a := login(); a.StatusCode != http.StatusConflict {
		t.Errorf("without one again: %s %s", a.Status, a.body)
	}
}

func TestWithoutAnAddressOfItsOwnARegistrySendsNobodyToAProvider(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_ADDR=0.0.0.0:0")
	_, port, err := net.SplitHostPort(r.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"auth_mode":"oidc_auth","oidc_endpoint":"https://127.0.0.1:1/realm","oidc_client_id":"havn"}`
	if a := putter(t, "http://127.0.0.1:"+port)(body); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "http.public_url") {
		t.Errorf("%s %s", a.Status, a.body)
	}
	r = start(t, "HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_HTTP_PUBLIC_URL=https://registry.example.com")
	if a := putter(t, r.URL())(body); a.StatusCode != http.StatusOK {
		t.Errorf("%s %s", a.Status, a.body)
	}
}

func TestADirectoryThatCanNotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t)
	put := putter(t, r.URL())
	const good = `"auth_mode":"ldap_auth","ldap_url":"ldaps://ldap.example.com","ldap_base_dn":"dc=example,dc=com"`
	for what, more := range map[string]string{
		"no base":                 `,"ldap_base_dn":""`,
		"a base that is no name":  `,"ldap_base_dn":"example.com"`,
		"a filter that is none":   `,"ldap_filter":"((cn=*)"`,
		"no filter of groups":     `,"ldap_group_search_filter":"(&"`,
		"an account, no password": `,"ldap_search_dn":"cn=havn,dc=example,dc=com"`,
		"an odd group of admins":  `,"ldap_group_admin_dn":"admins"`,
	} {
		if a := put("{" + good + more + "}"); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "LDAP") {
			t.Errorf("%s: %s %s", what, a.Status, a.body)
		}
	}
	if a := get(t, r.URL()+"/api/v2.0/configurations", basic()...); !strings.Contains(a.body, `"auth_mode":{"value":"db_auth"`) {
		t.Errorf("what was refused is set: %s", a.body)
	}
	if a := put("{" + good + "}"); a.StatusCode != http.StatusOK {
		t.Errorf("%s %s", a.Status, a.body)
	}
}
