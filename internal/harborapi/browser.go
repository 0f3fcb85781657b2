package harborapi

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
)

// Browser is where browsers log in and out, and Callback where an identity provider sends them back. Harbor has the same paths there; /c/cli_secret is Havn's own.
const (
	Browser  = "/c/"
	Callback = Browser + "oidc/callback"

	loginPath  = Browser + "login"
	logoutPath = Browser + "log_out"
	existsPath = Browser + "userExists"
	secretPath = Browser + "cli_secret"

	signInPath  = Browser + "oidc/login"
	onboardPath = Browser + "oidc/onboard"
	signOutPath = Browser + "oidc/logout"

	// csrfField is where forms of pages have the token that csrfHeader is for elsewhere.
	csrfField = "csrf"
)

// The events of browsers.
var (
	loggedIn  = event{"login", "user"}
	loggedOut = event{"logout", "user"}
)

// way is a path with a method.
type way struct{ path, method string }

// browsers answers what browsers are offered.
func (a *API) browsers() map[way]func(*call) error {
	return map[way]func(*call) error{
		{loginPath, http.MethodPost}:   a.logIn,
		{logoutPath, http.MethodGet}:   a.logOut,
		{logoutPath, http.MethodPost}:  a.logOut,
		{existsPath, http.MethodPost}:  a.userExists,
		{secretPath, http.MethodGet}:   a.askForSecret,
		{secretPath, http.MethodPost}:  a.showSecret,
		{signInPath, http.MethodGet}:   a.beginSignIn,
		{Callback, http.MethodGet}:     a.endSignIn,
		{onboardPath, http.MethodGet}:  a.askForName,
		{onboardPath, http.MethodPost}: a.onboard,
		{signOutPath, http.MethodGet}:  a.signOut,
	}
}

// serveBrowser answers a request below Browser.
func (a *API) serveBrowser(c *call, at string) error {
	c.browser = true
	h := c.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // an address may hold a code
	if err := a.crossSite.Check(c.Request); err != nil {
		return otherSite()
	}
	if serve := a.ways[way{at, c.Method}]; serve != nil {
		return serve(c)
	}
	var allowed []string
	for w := range a.ways {
		if w.path == at {
			allowed = append(allowed, w.method)
		}
	}
	if len(allowed) == 0 {
		return unknownPath()
	}
	slices.Sort(allowed)
	return methodNotAllowed(c, strings.Join(allowed, ", "))
}

func otherSite() error {
	return fail.E(fail.Denied, nil, "a request from another site's page").Hint("open this site itself")
}

// setCookie gives the browser a cookie for a path, which no script reads and no other site's page sends but by a link; "" takes it away, and an age of 0 ends with the browser.
func (a *API) setCookie(c *call, name, value, path string, age time.Duration) {
	cookie := http.Cookie{
		Name: name, Value: value, Path: path, MaxAge: int(age / time.Second), HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(a.URL(c.Request), "https://"),
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(c.w, &cookie)
}

// cookie answers the value of a cookie, "" for none.
func (c *call) cookie(name string) string {
	cookie, err := c.Cookie(name)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// goTo sends the browser on, with a GET.
func (c *call) goTo(address string) error {
	http.Redirect(c.w, c.Request, address, http.StatusSeeOther)
	return nil
}

// wantsPage reports whether a person looks at the answer.
func (c *call) wantsPage() bool {
	return c.browser && strings.Contains(c.Header.Get("Accept"), "text/html")
}

// readForm reads the body of a form.
func (c *call) readForm() error {
	err := c.ParseForm()
	if kind, _, kindErr := mime.ParseMediaType(c.Header.Get("Content-Type")); kindErr == nil && kind == "multipart/form-data" {
		err = c.ParseMultipartForm(maxBody)
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return fail.E(fail.TooLarge, nil, "body of more than %d bytes", long.Limit).Hint("send less at once")
	case err != nil:
		return fail.E(fail.Invalid, nil, "the form can't be read").Hint("send it as application/x-www-form-urlencoded")
	}
	return nil
}

// logIn begins a session by a name and a password, which stand in the body alone: addresses are written to logs.
func (a *API) logIn(c *call) error {
	if err := c.readForm(); err != nil {
		return err
	}
	who, err := a.Access.Authenticate(c.Context(), c.PostFormValue("principal"), c.PostFormValue("password"), a.Client(c.Request).String())
	if fail.Is(err, fail.Unauthenticated) {
		a.notLoggedIn(c, c.PostFormValue("principal"))
	}
	if fail.Is(err, fail.Unauthenticated) && a.Settings.Live().AuthMode == config.AuthOIDC {
		err = fail.E(fail.Unauthenticated, err, "wrong user name or password").Hint("people of the identity provider log in at %s", signInPath)
	}
	if err != nil {
		return err
	}
	defer c.whole()()
	if err = a.begin(c, who, "password"); err != nil {
		return err
	}
	return c.done()
}

// notLoggedIn tells the audit log of a login that failed. A name that nobody has is not told: it may be a password in the wrong field. It takes as long for one as for the other, and waits for
// nothing: nobody is to learn of names by the time that it takes. Guesses are slowed down, and those that are refused for that leave no line.
func (a *API) notLoggedIn(c *call, name string) {
	line := audit.Line{Operation: loggedIn.operation, Kind: loggedIn.kind, Addr: a.Client(c.Request).String(), Note: "nobody has this name"}
	if known, err := a.Access.UserByName(c.Context(), name); err == nil {
		line.Resource, line.Note = known.Name, "wrong password"
	}
	a.Audit.Add(line)
}

// begin begins a session, instead of the one that the browser may have: nobody goes on in a session that somebody else gave him.
func (a *API) begin(c *call, who access.Identity, how string) error {
	cookie, err := a.Access.Begin(c.Context(), who, a.Client(c.Request).String(), c.UserAgent())
	if err != nil {
		return err
	}
	if before := a.sessionOf(c.Request); before != "" {
		if err = a.Access.End(c.Context(), before); err != nil {
			return err
		}
	}
	a.setCookie(c, SessionCookie, cookie, "/", 0)
	c.w.Header().Set(csrfHeader, CSRFToken(cookie))
	c.is(who)
	c.audited(loggedIn, who.Subject, 0, how)
	return nil
}

// is notes who asks.
func (c *call) is(who access.Identity) {
	c.who = who
	if to, ok := c.w.(interface{ SetSubject(name string) }); ok && who.Subject != "" { // for the server's access log
		to.SetSubject(who.Subject)
	}
}

// logOut ends the session. A GET does, as in Harbor; but none that a page of another site makes a browser send.
func (a *API) logOut(c *call) error {
	left, err := a.end(c)
	if err != nil {
		return err
	}
	next := ""
	if left != "" && a.Settings.Live().OIDC.Logout {
		next = signOutPath
		a.setCookie(c, leaveCookie, left, signOutPath, leaveLife) // for there, once
	}
	switch {
	case c.wantsPage() && next != "":
		return c.goTo(next)
	case c.wantsPage():
		return c.goTo("/")
	case next != "": // a script sends the browser there itself
		return c.json(http.StatusOK, struct {
			Location string `json:"location"`
		}{next})
	}
	return c.done()
}

// end ends the browser's session, and answers what it kept for the logout at the identity provider.
func (a *API) end(c *call) (left string, err error) {
	if c.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return "", otherSite()
	}
	defer c.whole()()
	if cookie := a.sessionOf(c.Request); cookie != "" {
		who, known := a.Session(c.Context(), cookie)
		if err = a.Access.End(c.Context(), cookie); err != nil {
			return "", err
		}
		if known == nil {
			c.is(who)
			c.audited(loggedOut, who.Subject, 0, "")
		}
	}
	left = c.cookie(leaveCookie)
	a.setCookie(c, SessionCookie, "", "/", 0)
	a.setCookie(c, leaveCookie, "", Browser, 0)
	return left, nil
}

// userExists tells who makes an account whether a name or an address is taken. Where strangers make none, administrators alone are told.
func (a *API) userExists(c *call) error {
	if err := c.readForm(); err != nil {
		return err
	}
	if err := a.authenticate(c); err != nil {
		return err
	}
	if !c.who.Admin && !a.Access.Policy().SelfRegistration {
		return fail.E(fail.Conflict, nil, "administrators alone are told who there is").Code(codePrecondition).Hint("self_registration is off")
	}
	var query access.UserQuery
	target, value := c.PostFormValue("target"), c.PostFormValue("value")
	switch target {
	case "username":
		query.Name = value
	case "email":
		query.Email = value
	default:
		return fail.E(fail.Invalid, nil, "target %.60q", target).Hint("it is username or email")
	}
	if value == "" {
		return fail.E(fail.Invalid, nil, "no value").Hint("send the name, or the address")
	}
	query.Page = accessPage(listing.Ask{Page: 1, Size: access.MaxPage})
	found, _, err := a.Access.Users(c.Context(), query)
	if err != nil {
		return err
	}
	text, err := json.Marshal(slices.ContainsFunc(found, func(u access.User) bool { return target == "username" || strings.EqualFold(u.Email, value) }))
	if err != nil {
		return fail.E(fail.Internal, err, "write the answer")
	}
	return c.bytes(http.StatusOK, "application/json; charset=utf-8", text)
}
