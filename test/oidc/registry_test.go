package oidc

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

// registry is two nodes behind one address: each request goes to the other one. It does with Begin and Finish what an HTTP layer has to.
type registry struct {
	*httptest.Server
	nodes [2]*oidc.Client

	mu     sync.Mutex
	turn   int
	logins []oidc.Login
	last   url.Values // the callback's query
	errs   []error
}

// start starts a provider and a registry that uses it.
func start(t *testing.T, change ...func(*oidc.Config)) (*provider, *registry) {
	t.Helper()
	r := &registry{}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	p := startProvider(t, r.URL+"/c/oidc/callback", r.URL+"/bye")
	shared := sealed(t)
	for i := range r.nodes {
		c := oidc.Config{
			Endpoint: p.URL, ClientID: clientID, ClientSecret: secret, RedirectURL: r.URL + "/c/oidc/callback", AfterLogout: r.URL + "/bye",
			GroupsClaim: "groups", AdminGroup: "admins", AutoOnboard: true, CA: p.ca(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Seal: shared,
		}
		for _, do := range change {
			do(&c)
		}
		var err error
		if r.nodes[i], err = oidc.New(c); err != nil {
			t.Fatal(err)
		}
	}
	return p, r
}

func (r *registry) serve(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	node := r.nodes[r.turn%len(r.nodes)]
	r.turn++
	switch q.URL.Path {
	case "/c/oidc/login":
		begun, err := node.Begin(q.Context(), q.FormValue("to"))
		if err != nil {
			r.refuse(w, err)
			return
		}
		http.SetCookie(w, &http.Cookie{
			Name: begun.Cookie, Value: begun.Sealed, Path: "/c/oidc", MaxAge: int(oidc.StateLife / time.Second), HttpOnly: true, SameSite: http.SameSiteLaxMode,
		})
		http.Redirect(w, q, begun.URL, http.StatusFound)
	case "/c/oidc/callback":
		r.last = q.URL.Query()
		name := oidc.CookieOf(r.last.Get("state"))
		kept := ""
		if cookie, err := q.Cookie(name); err == nil {
			kept = cookie.Value
		}
		http.SetCookie(w, &http.Cookie{Name: name, Path: "/c/oidc", MaxAge: -1})
		login, err := node.Finish(q.Context(), kept, r.last)
		if err != nil {
			r.refuse(w, err)
			return
		}
		r.logins = append(r.logins, login)
		http.Redirect(w, q, login.ReturnTo, http.StatusFound)
	}
}

func (r *registry) refuse(w http.ResponseWriter, err error) {
	r.errs = append(r.errs, err)
	http.Error(w, err.Error(), http.StatusForbidden)
}

// outcome answers the last login and the last error.
func (r *registry) outcome() (oidc.Login, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var login oidc.Login
	var err error
	if len(r.logins) > 0 {
		login = r.logins[len(r.logins)-1]
	}
	if len(r.errs) > 0 {
		err = r.errs[len(r.errs)-1]
	}
	return login, err
}

// browser keeps cookies, and believes the provider's certificate.
type browser struct {
	*http.Client
	t *testing.T
}

func newBrowser(t *testing.T, p *provider) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return browser{&http.Client{Jar: jar, Transport: p.Client().Transport, Timeout: time.Minute}, t}
}

// open answers where a browser ends, and what it shows there.
func (b browser) open(address string) (*url.URL, string) {
	b.t.Helper()
	answer, err := b.Get(address)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.read(answer)
}

func (b browser) read(answer *http.Response) (*url.URL, string) {
	b.t.Helper()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if err = answer.Body.Close(); err != nil {
		b.t.Fatal(err)
	}
	return answer.Request.URL, string(text)
}

var (
	action = regexp.MustCompile(`<form method="POST" action="([^"]+)"`)
	hidden = regexp.MustCompile(`<input type="hidden" name="id" value="([^"]+)"`)
)

// login fills in the provider's form, and answers where that leads.
func (b browser) login(r *registry, to, name, word string) (*url.URL, string) {
	b.t.Helper()
	at, page := b.open(r.URL + "/c/oidc/login?" + url.Values{"to": {to}}.Encode())
	form, id := action.FindStringSubmatch(page), hidden.FindStringSubmatch(page)
	if form == nil || id == nil {
		return at, page
	}
	target, err := at.Parse(form[1])
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := b.PostForm(target.String(), url.Values{"id": {id[1]}, "username": {name}, "password": {word}})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.read(answer)
}

// enter logs in, and answers what came of it.
func (b browser) enter(r *registry) oidc.Login {
	b.t.Helper()
	at, page := b.login(r, "/harbor/projects", user, password)
	if at.Path != "/harbor/projects" || !strings.HasPrefix(at.String(), r.URL) {
		b.t.Fatalf("ended at %s: %s", at, page)
	}
	got, err := r.outcome()
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func sealed(t *testing.T) *seal.Seal {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cause := db.Close(); cause != nil {
			t.Error(cause)
		}
	})
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := seal.Open(t.Context(), db, "the secret of the cluster")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
