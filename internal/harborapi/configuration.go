package harborapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// configItem is one setting in the answer.
type configItem struct {
	Value    any  `json:"value"`
	Editable bool `json:"editable"`
}

// absent are Harbor's settings of what Havn does not have (its authentication proxy, its UAA, scans), as Harbor tells them where they are not set: `harbor config view` panics if one
// is missing.
func absent() map[string]any {
	all := map[string]any{"scan_all_policy": struct{}{}}
	for _, name := range []string{
		"http_authproxy_admin_groups", "http_authproxy_admin_usernames", "http_authproxy_endpoint", "http_authproxy_server_certificate", "http_authproxy_tokenreview_endpoint", "uaa_client_id", "uaa_client_secret",
		"uaa_endpoint",
	} {
		all[name] = configItem{Value: ""}
	}
	for name, is := range map[string]bool{"http_authproxy_skip_search": false, "http_authproxy_verify_cert": true, "uaa_verify_cert": false} {
		all[name] = configItem{Value: is}
	}
	return all
}

// GetConfigurations answers all settings but the secrets, and whether each can be changed.
func (a *API) GetConfigurations(c *call) error {
	live := a.Settings.Live()
	answer := absent()
	for _, k := range config.LiveKeys() {
		if k.Secret {
			continue
		}
		value, err := settingValue(k, live.Text(k.Name))
		if err != nil {
			return fail.E(fail.Internal, err, "setting %s", k.Name)
		}
		answer[k.Name] = configItem{value, !a.Settings.Fixed(k.Name)}
	}
	return c.json(http.StatusOK, answer)
}

// settingValue answers a setting's value in the type that it has in JSON.
func settingValue(k config.LiveKey, text string) (any, error) {
	switch k.Kind {
	case config.LiveNumber:
		return strconv.ParseInt(text, 10, 64)
	case config.LiveBool:
		return strconv.ParseBool(text)
	default:
		return text, nil
	}
}

// UpdateConfigurations changes the settings that the body names, all or none.
func (a *API) UpdateConfigurations(c *call, body UpdateConfigurationsJSONRequestBody) error {
	values, err := settingTexts(body)
	if err != nil {
		return err
	}
	changed, err := a.Settings.Put(c.Context(), values)
	if err != nil {
		return err
	}
	if len(changed) > 0 {
		c.audited(changedConfiguration, "configuration", 0, strings.Join(changed, ", "))
	}
	return c.done()
}

// settingTexts answers what the body names, by the names of settings. What Harbor has and Havn has not (its UAA, its authentication proxy) is passed over like any field that is not known.
func settingTexts(body Configurations) (map[string]string, error) {
	text, err := json.Marshal(body)
	var raw map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(text, &raw)
	}
	if err != nil {
		return nil, fail.E(fail.Internal, err, "settings of a body")
	}
	values := map[string]string{}
	for _, k := range config.LiveKeys() {
		v, ok := raw[k.Name]
		if !ok {
			continue
		}
		value := string(v)
		if k.Kind == config.LiveText {
			if err = json.Unmarshal(v, &value); err != nil {
				return nil, fail.E(fail.Internal, err, "setting %s of a body", k.Name)
			}
		}
		values[k.Name] = value
	}
	return values, nil
}
