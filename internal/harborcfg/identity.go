package harborcfg

import (
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/config"
)

// identity reads who is let in. Harbor takes these keys at its first start and leaves them to its console afterwards, and so does Havn.
func (r *reading) identity() {
	r.toggle("self_registration", "settings.self_registration", always)
	switch who := r.value("project_creation_restriction"); who {
	case "":
		r.says("project_creation_restriction", Ignored, "is empty: everyone may make projects")
	case "everyone", "adminonly":
		r.give("project_creation_restriction", "settings.project_creation_restriction", always, who)
	default:
		r.wrong("project_creation_restriction", "settings.project_creation_restriction", always, "is none of Harbor's", "everyone or adminonly")
	}
	mode := r.value("auth_mode")
	switch mode {
	case "":
		r.says("auth_mode", Ignored, "is empty: Havn has its own users")
	case "db_auth", "ldap_auth":
		r.give("auth_mode", "settings.auth_mode", always, mode)
	case "uaa_auth":
		if r.give("auth_mode", "settings.auth_mode", always, string(config.AuthOIDC)) {
			r.warns("auth_mode", "people log in at the provider with their browsers, and docker with a CLI secret, no more with the provider's password: let the client there have the flow by code, with /c/oidc/callback of the registry")
		}
	default:
		r.wrong("auth_mode", "settings.auth_mode", always, "is none of Harbor's", "db_auth, ldap_auth or uaa_auth")
	}
	r.directory(mode == "ldap_auth")
	r.provider(mode == "uaa_auth")
}

// directory reads where people and groups are looked for.
func (r *reading) directory(used bool) {
	for _, pair := range [][2]string{
		{"ldap_url", "settings.ldap_url"},
		{"ldap_searchdn", "settings.ldap_search_dn"},
		{"ldap_search_pwd", "settings.ldap_search_password"},
		{"ldap_basedn", "settings.ldap_base_dn"},
		{"ldap_filter", "settings.ldap_filter"},
		{"ldap_uid", "settings.ldap_uid"},
		{"ldap_timeout", "settings.ldap_timeout"},
		{"ldap_group_basedn", "settings.ldap_group_base_dn"},
		{"ldap_group_filter", "settings.ldap_group_search_filter"},
		{"ldap_group_gid", "settings.ldap_group_attribute_name"},
	} {
		if value, ok := r.usedValue(pair[0], used, "ldap_auth"); ok {
			r.give(pair[0], pair[1], always, value)
		}
	}
	for _, pair := range [][2]string{{"ldap_scope", "settings.ldap_scope"}, {"ldap_group_scope", "settings.ldap_group_search_scope"}} {
		value, ok := r.usedValue(pair[0], used, "ldap_auth")
		if !ok {
			continue
		}
		if value == "3" && r.give(pair[0], pair[1], always, strconv.Itoa(wholeTree)) {
			r.warns(pair[0], "3 is read as the whole tree, as releases before 1.5 numbered; 1.5 itself says 2")
			continue
		}
		if value != "3" {
			r.give(pair[0], pair[1], always, value)
		}
	}
	if _, ok := r.usedValue("ldap_verify_cert", used, "ldap_auth"); ok {
		r.toggle("ldap_verify_cert", "settings.ldap_verify_cert", always)
	}
}

// wholeTree is the scope of a search that goes all the way down.
const wholeTree = 2

// provider reads UAA, which speaks OIDC.
func (r *reading) provider(used bool) {
	for _, pair := range [][2]string{{"uaa_endpoint", "settings.oidc_endpoint"}, {"uaa_clientid", "settings.oidc_client_id"}, {"uaa_clientsecret", "settings.oidc_client_secret"}} {
		value, ok := r.usedValue(pair[0], used, "uaa_auth")
		if !ok {
			continue
		}
		if pair[0] == "uaa_endpoint" && !strings.Contains(value, "://") {
			value = "https://" + value
		}
		r.give(pair[0], pair[1], always, value)
	}
	if _, ok := r.usedValue("uaa_verify_cert", used, "uaa_auth"); ok {
		r.toggle("uaa_verify_cert", "settings.oidc_verify_cert", always)
	}
}

// usedValue answers a value that counts with one auth_mode, and says of it what becomes of it otherwise.
func (r *reading) usedValue(from string, used bool, mode string) (string, bool) {
	switch value := r.value(from); {
	case !used:
		r.says(from, Ignored, "is not used without auth_mode = %s", mode)
		return "", false
	case value == "":
		r.says(from, Ignored, "is empty")
		return "", false
	default:
		return value, true
	}
}

// toggle takes a value that Harbor reads as yes or no.
func (r *reading) toggle(from, havn string, only config.Condition) {
	switch strings.ToLower(r.value(from)) {
	case "":
		r.says(from, Ignored, "is empty")
	case "on", "true", "yes", "1":
		r.give(from, havn, only, "true")
	case "off", "false", "no", "0":
		r.give(from, havn, only, "false")
	default:
		r.wrong(from, havn, only, "is neither on nor off", "on, off, true or false")
	}
}
