package harborapi

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

//go:embed browser.html
var browserPage string

// browserTemplate writes a page.
var browserTemplate = template.Must(template.New("browser").Parse(browserPage))

// page is what a page says and asks.
type page struct {
	Title   string
	Problem string
	Link    string // where to go from here, "" if the page has a form
	Form    string // where its form goes, "" for none
	Token   string // of the form
	Asks    bool   // for a name
	Name    string
	Secret  string
}

// page answers a page, which has neither scripts nor anything of other sites, and is in no frame.
func (c *call) page(status int, p page) error {
	var text bytes.Buffer
	if err := browserTemplate.Execute(&text, p); err != nil {
		return fail.E(fail.Internal, err, "write the page %s", p.Title)
	}
	c.w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	return c.bytes(status, "text/html; charset=utf-8", text.Bytes())
}

// refusePage shows a person what went wrong.
func (a *API) refusePage(c *call, status int, text string) error {
	p := page{Title: http.StatusText(status), Problem: text, Link: "/"}
	if a.Settings.Live().AuthMode == config.AuthOIDC {
		p.Link = signInPath
	}
	return c.page(status, p)
}

// mayHaveSecret answers who has or will have a CLI secret: a user of the identity provider.
func (a *API) mayHaveSecret(c *call, user int64) (access.User, error) {
	found, err := a.Access.User(c.Context(), user)
	if err == nil && found.Origin != access.FromOIDC {
		err = fail.E(fail.Conflict, nil, "%s does not log in through an identity provider", found.Name).Code(codePrecondition).Hint("programs of other users log in with their passwords, or with tokens")
	}
	return found, err
}

// askForSecret shows the page that makes a CLI secret. Whoever is not logged in is sent to the provider first.
func (a *API) askForSecret(c *call) error {
	if err := a.authenticate(c); err != nil {
		return err
	}
	if !isKnown(c.who) && a.Settings.Live().AuthMode == config.AuthOIDC {
		return c.goTo(signInPath + "?redirect_url=" + secretPath)
	}
	if err := a.require(c, c.who.User != 0); err != nil {
		return err
	}
	found, err := a.mayHaveSecret(c, c.who.User)
	if err != nil {
		return err
	}
	return c.page(http.StatusOK, page{Title: "CLI secret", Form: secretPath, Token: CSRFToken(a.sessionOf(c.Request)), Name: found.Name})
}

// showSecret makes a CLI secret and shows it, once.
func (a *API) showSecret(c *call) error {
	if err := c.readForm(); err != nil {
		return err
	}
	if err := a.authenticate(c); err != nil {
		return err
	}
	if err := a.require(c, c.who.User != 0); err != nil {
		return err
	}
	if err := a.writable(c); err != nil {
		return err
	}
	defer c.whole()()
	made, name, err := a.makeSecret(c, c.who.User, "")
	if err != nil {
		return err
	}
	return c.page(http.StatusOK, page{Title: "CLI secret", Name: name, Secret: made, Link: "/"})
}

// makeSecret gives a user a CLI secret, "" for one that is made.
func (a *API) makeSecret(c *call, user int64, secret string) (made, name string, err error) {
	found, err := a.mayHaveSecret(c, user)
	if err != nil {
		return "", "", err
	}
	if made, err = a.Access.SetCLISecret(c.Context(), user, secret); err != nil {
		return "", "", err
	}
	c.audited(changedUser, found.Name, 0, "CLI secret")
	return made, found.Name, nil
}
