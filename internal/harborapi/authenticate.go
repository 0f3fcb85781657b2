package harborapi

import (
	"net/http"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// SessionCookie is the cookie of a browser's login, by the name that Harbor gives it.
const SessionCookie = "sid"

// authenticate finds out who asks: by Basic, or else by a session's cookie; without either it is a stranger. Credentials that do not hold are an error, also where none are needed: who
// sends them means to be somebody.
func (a *API) authenticate(c *call) error {
	// What a page of another site makes a browser send is never meant: not with a cookie, and not with a password that the browser remembers either.
	if err := a.crossSite.Check(c.Request); err != nil {
		return otherSite()
	}
	var err error
	switch cookie := a.sessionOf(c.Request); {
	case c.Header.Get("Authorization") != "":
		err = a.basic(c)
	case cookie != "":
		err = a.session(c, cookie)
	}
	c.is(c.who)
	return err
}

func (a *API) basic(c *call) error {
	name, password, ok := c.BasicAuth()
	if !ok {
		return fail.E(fail.Unauthenticated, nil, "the Authorization header is not Basic").Hint("send a user's name and password, or a robot account's name and secret, with Basic")
	}
	var err error
	c.who, err = a.Access.Authenticate(c.Context(), name, password, a.Client(c.Request).String())
	return err
}

// sessionOf answers the value of a session's cookie, "" for none.
func (a *API) sessionOf(r *http.Request) string {
	cookie, err := r.Cookie(SessionCookie)
	if err != nil || a.Session == nil {
		return ""
	}
	return cookie.Value
}

// session is the way of a browser. A session that has ended makes its browser a stranger, as if the cookie were gone.
func (a *API) session(c *call, cookie string) error {
	who, err := a.Session(c.Context(), cookie)
	if fail.Is(err, fail.Unauthenticated) {
		return nil
	}
	if err != nil {
		return err
	}
	if isSafe(c.Method) {
		c.who = who
		c.w.Header().Set(csrfHeader, CSRFToken(cookie))
		return nil
	}
	if !csrfHolds(c.csrfToken(), cookie) {
		c.w.Header().Set(csrfHeader, CSRFToken(cookie))
		return noToken()
	}
	c.who = who
	return nil
}

// csrfToken answers the token of a request: its header, or that of a page's form.
func (c *call) csrfToken() string {
	if token := c.Header.Get(csrfHeader); token != "" || !c.browser {
		return token
	}
	return c.PostFormValue(csrfField)
}

func noToken() error {
	return fail.E(fail.Denied, nil, "no CSRF token of this session").Hint("send the header %s with what the last answer's header of this name holds", csrfHeader)
}

// isSafe reports whether a method changes nothing (RFC 9110, 9.2.1).
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// isKnown reports whether somebody is logged in.
func isKnown(who access.Identity) bool { return who.Subject != "" }
