package harborapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/refusal"
)

// Identity is an OpenID Connect provider at which people log in. It is safe for concurrent use.
type Identity interface {
	// Begin and Finish are the login: see oidc.Client.
	Begin(ctx context.Context, returnTo string) (oidc.Start, error)
	Finish(ctx context.Context, text string, answer url.Values) (oidc.Login, error)
	// Keep and Resume keep a login in the browser while a name is asked for.
	Keep(oidc.Login) ([]string, error)
	Resume(parts []string) (oidc.Login, error)
	// Leave and Left keep in the browser what LogoutURL needs.
	Leave(idToken string) string
	Left(kept string) string
	LogoutURL(ctx context.Context, idToken string) (string, error)
}

const (
	// leaveCookie keeps what a logout at the provider needs, and askCookie with a number after it a login that waits for a name.
	leaveCookie = "havn_oidc_leave"
	askCookie   = "havn_oidc_ask_"
	// leaveLife is how long the browser has from the logout here to the one at the provider.
	leaveLife = time.Minute
	// askLife is how long a cookie of askCookie lives at most; what it holds says when it is over.
	askLife = 15 * time.Minute
	// maxReturn bounds the path to return to: cookies of several logins that are under way fit into a header together.
	maxReturn = 512
	// refusedLetters are not in a name that somebody chooses, as in Harbor.
	refusedLetters = `,"~#%$`
)

// beginSignIn sends a browser to the provider.
func (a *API) beginSignIn(c *call) error {
	idp, err := a.Identity()
	if err != nil {
		return err
	}
	returnTo := c.URL.Query().Get("redirect_url")
	if len(returnTo) > maxReturn {
		return fail.E(fail.Invalid, nil, "redirect_url of %d bytes", len(returnTo)).Hint("use a path of this server of at most %d", maxReturn)
	}
	start, err := idp.Begin(c.Context(), returnTo)
	if err != nil {
		return err
	}
	a.setCookie(c, start.Cookie, start.Sealed, Callback, oidc.StateLife)
	return c.goTo(start.URL)
}

// endSignIn takes the provider's answer. Whoever is not known yet is asked for a name, or has the one that the provider tells.
func (a *API) endSignIn(c *call) error {
	idp, err := a.Identity()
	if err != nil {
		return err
	}
	answer := c.URL.Query()
	name := oidc.CookieOf(answer.Get("state"))
	a.setCookie(c, name, "", Callback, 0)
	defer c.whole()() // the provider takes its code once
	login, err := idp.Finish(c.Context(), c.cookie(name), answer)
	if err != nil {
		return err
	}
	_, err = a.Access.UserOf(c.Context(), access.FromOIDC, login.Person.Subject)
	first := fail.Is(err, fail.NotFound)
	switch {
	case err != nil && !first:
		return err
	case first && login.Ask:
		parts, keepErr := idp.Keep(login)
		if keepErr != nil {
			return keepErr
		}
		for i := range oidc.KeptParts {
			part := ""
			if i < len(parts) {
				part = parts[i]
			}
			a.setCookie(c, askCookie+strconv.Itoa(i), part, onboardPath, askLife)
		}
		return c.goTo(onboardPath)
	}
	if err = a.signIn(c, idp, login, first); err != nil {
		return err
	}
	return c.goTo(login.ReturnTo)
}

// signIn begins the session of somebody of whom the provider told.
func (a *API) signIn(c *call, idp Identity, login oidc.Login, first bool) error {
	who, err := a.Access.SignIn(c.Context(), access.FromOIDC, login.Person, login.Tokens.Refresh)
	if err != nil {
		return err
	}
	if first {
		c.is(who)
		c.audited(createdUser, who.Subject, 0, "first login through the identity provider")
	}
	left := ""
	if a.Settings.Live().OIDC.Logout {
		left = idp.Leave(login.Tokens.ID)
	}
	a.setCookie(c, leaveCookie, left, Browser, 0)
	return a.begin(c, who, "identity provider")
}

// waiting answers the login of this browser that waits for a name, and the text that its token goes with.
func (a *API) waiting(c *call, idp Identity) (oidc.Login, string, error) {
	var parts []string
	for i := range oidc.KeptParts {
		parts = append(parts, c.cookie(askCookie+strconv.Itoa(i)))
	}
	login, err := idp.Resume(parts)
	return login, strings.Join(parts, ""), err
}

// askForName shows the page that asks for a name.
func (a *API) askForName(c *call) error {
	idp, err := a.Identity()
	if err != nil {
		return err
	}
	login, kept, err := a.waiting(c, idp)
	if err != nil {
		return err
	}
	token := CSRFToken(kept)
	c.w.Header().Set(csrfHeader, token)
	return c.page(http.StatusOK, page{Title: "Choose a name", Form: onboardPath, Token: token, Name: login.Person.Name, Asks: true})
}

// onboard makes the account of somebody who chose a name, and begins his session. It makes accounts alone: whoever has one logs in.
func (a *API) onboard(c *call) error {
	idp, err := a.Identity()
	if err != nil {
		return err
	}
	login, kept, err := a.waiting(c, idp)
	if err != nil {
		return err
	}
	inJSON := strings.HasPrefix(c.Header.Get("Content-Type"), "application/json")
	var body struct {
		Username string `json:"username"`
	}
	if inJSON {
		err = c.readJSON(&body)
	} else if err = c.readForm(); err == nil {
		body.Username = c.PostFormValue("username")
	}
	if err != nil {
		return err
	}
	if !csrfHolds(c.csrfToken(), kept) {
		return noToken()
	}
	if _, err = a.Access.UserOf(c.Context(), access.FromOIDC, login.Person.Subject); !fail.Is(err, fail.NotFound) {
		if err == nil {
			err = fail.E(fail.Conflict, nil, "you have an account already").Hint("log in again")
		}
		return err
	}
	defer c.whole()()
	login.Person.Name = strings.TrimSpace(body.Username)
	if err = checkChosen(login.Person.Name); err == nil {
		err = a.signIn(c, idp, login, true)
	}
	if c.wantsPage() && (fail.Is(err, fail.Exists) || fail.Is(err, fail.Invalid)) { // he can choose another one
		token := CSRFToken(kept)
		return c.page(refusals[fail.KindOf(err)].status, page{
			Title: "Choose a name", Form: onboardPath, Token: token, Name: login.Person.Name, Asks: true, Problem: refusal.Text(err, ""),
		})
	}
	if err != nil {
		return err
	}
	for i := range oidc.KeptParts {
		a.setCookie(c, askCookie+strconv.Itoa(i), "", onboardPath, 0)
	}
	if inJSON {
		return c.done()
	}
	return c.goTo(login.ReturnTo)
}

func checkChosen(name string) error {
	if name == "" || strings.ContainsAny(name, refusedLetters) {
		return fail.E(fail.Invalid, nil, "user name %.100q", name).Hint("use one that is not empty, without %s", refusedLetters)
	}
	return nil
}

// signOut ends the session here and at the provider, which sends the browser back.
func (a *API) signOut(c *call) error {
	left, err := a.end(c)
	if err != nil {
		return err
	}
	a.setCookie(c, leaveCookie, "", signOutPath, 0)
	idp, err := a.Identity()
	if err != nil || !a.Settings.Live().OIDC.Logout {
		return c.goTo("/") // the settings changed meanwhile: there is nobody to send him to
	}
	address, err := idp.LogoutURL(c.Context(), idp.Left(left))
	if err != nil {
		return err
	}
	return c.goTo(address)
}

// PingOIDC tries the address of a provider. What does not work is 400, as in Harbor.
func (a *API) PingOIDC(c *call, body PingOIDCJSONRequestBody) error {
	if err := a.PingIdentity(c.Context(), body.URL, body.VerifyCert); err != nil {
		return fail.E(fail.Invalid, err, "identity provider %.200q", body.URL)
	}
	return c.done()
}
