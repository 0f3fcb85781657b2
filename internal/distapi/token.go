package distapi

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

const (
	// maxFormBytes bounds the form of a token request: a refresh token, a password and some scopes.
	maxFormBytes = 64 << 10
	// maxScopes bounds the scopes of one token: a push with mounts asks for a handful.
	maxScopes = 100
)

// tokenAnswer is the token service's answer. Old clients read token, OAuth 2 clients access_token.
type tokenAnswer struct {
	Token        string `json:"token"`
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope,omitempty"`
	ExpiresIn    int    `json:"expires_in"` // seconds
	IssuedAt     string `json:"issued_at"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// getToken is Docker's token authentication: Basic credentials, or none for a token that is good for public projects.
func (a *API) getToken(w http.ResponseWriter, c *call) error {
	query := c.URL.Query()
	if err := checkService(query); err != nil {
		return err
	}
	scopes, err := parseScopes(query["scope"])
	if err != nil {
		return err
	}
	var who access.Identity
	if c.Header.Get("Authorization") != "" {
		user, password, ok := c.BasicAuth()
		if !ok {
			return unauthenticated("malformed Basic credentials").Hint("send user name and password with Basic")
		}
		if who, err = a.access.Authenticate(c.Context(), user, password, a.origin.Client(c.Request).String()); err != nil {
			return err
		}
	}
	offline := query.Get("offline_token")
	return a.answerToken(w, c, who, scopes, "", offline == "true" || offline == "1")
}

// postToken is the OAuth 2 form of the same: grant types password and refresh_token.
func (a *API) postToken(w http.ResponseWriter, c *call) error {
	form, err := c.readForm(w)
	if err != nil {
		return err
	}
	if err = checkService(form); err != nil {
		return err
	}
	scopes, err := parseScopes(form["scope"])
	if err != nil {
		return err
	}
	var who access.Identity
	refresh := ""
	switch grant := form.Get("grant_type"); grant {
	case "password":
		who, err = a.access.Authenticate(c.Context(), form.Get("username"), form.Get("password"), a.origin.Client(c.Request).String())
	case "refresh_token":
		refresh = form.Get("refresh_token")
		who, err = a.access.Refresh(c.Context(), refresh)
	default:
		err = fail.E(fail.Invalid, nil, "grant_type %.40q", grant).Code(oci.CodeUnsupported).Hint("use password or refresh_token")
	}
	if err != nil {
		return err
	}
	return a.answerToken(w, c, who, scopes, refresh, form.Get("access_type") == "offline")
}

// readForm reads the form of a POST.
func (c *call) readForm(w http.ResponseWriter) (url.Values, error) {
	if c.body != nil {
		c.Body = http.MaxBytesReader(w, readCloser{c.body, c.Body}, maxFormBytes)
	}
	if err := c.ParseForm(); err != nil {
		return nil, fail.E(fail.Invalid, err, "form of a token request").Code(oci.CodeUnsupported).Hint("send application/x-www-form-urlencoded")
	}
	return c.PostForm, nil
}

// checkService takes requests for this service and those that name none; a token of ours would be of no use elsewhere.
func checkService(params url.Values) error {
	if service := params.Get("service"); service != "" && service != Service {
		return fail.E(fail.Invalid, nil, "service %.100q", service).Code(oci.CodeUnsupported).Hint("this is the token service of %s", Service)
	}
	return nil
}

// parseScopes reads the parameters scope: several, or several in one with spaces between.
func parseScopes(params []string) ([]access.Scope, error) {
	var all []access.Scope
	for _, param := range params {
		for text := range strings.FieldsSeq(param) {
			scope, err := access.ParseScope(text)
			if err != nil {
				return nil, err
			}
			if all = append(all, scope); len(all) > maxScopes {
				return nil, fail.E(fail.Invalid, nil, "more than %d scopes", maxScopes).Code(oci.CodeUnsupported).Hint("ask for fewer in one token")
			}
		}
	}
	return all, nil
}

// answerToken issues what is granted of the scopes; nothing granted is a token all the same, and the registry then says what it lacks.
func (a *API) answerToken(w http.ResponseWriter, c *call, who access.Identity, scopes []access.Scope, refresh string, offline bool) error {
	c.tellSubject(w, who.Subject)
	granted, err := a.access.Grant(c.Context(), who, scopes)
	if err != nil {
		return err
	}
	t, err := a.access.Issue(c.Context(), who, Service, granted)
	if err != nil {
		return err
	}
	if offline && refresh == "" && who.Subject != "" {
		if refresh, err = a.access.IssueRefresh(c.Context(), who, Service); err != nil {
			return err
		}
	}
	texts := make([]string, len(granted))
	for i, s := range granted {
		texts[i] = s.String()
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, http.StatusOK, "application/json", tokenAnswer{
		Token: t.Raw, AccessToken: t.Raw, TokenType: "Bearer", Scope: strings.Join(texts, " "), ExpiresIn: int(t.ExpiresIn / time.Second),
		IssuedAt: t.IssuedAt.UTC().Format(time.RFC3339), RefreshToken: refresh,
	})
}
