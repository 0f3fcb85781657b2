package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	clientID = "havn"
	// secret has what must be escaped in one form and not in the other.
	secret = "s+cr/t %"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// fake is a provider of which a test decides what it says. What is not changed is as it should be. Fields are set while nobody asks.
type fake struct {
	*httptest.Server
	t *testing.T

	key     *rsa.PrivateKey
	kid     string
	jwks    []map[string]any
	claims  jwt.MapClaims // over those of a good token; a nil takes one away
	signing func(jwt.MapClaims) string
	info    map[string]any // of userinfo; nil: 403
	said    map[string]any // over the discovery document
	answers map[string]any // over those of the token endpoint

	clock   time.Time
	refuses map[string]int    // path -> status
	oauth   map[string]string // grant -> error of the token endpoint
	inBody  bool              // the client's secret is taken in the body alone

	codeFirst bool   // it looks at the code, then at the client
	during    func() // while it makes tokens

	mu        sync.Mutex
	asked     map[string]int // path -> requests
	nonce     string
	challenge string
	verified  int // codes whose verifier was the challenge's
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := unstarted(t)
	f.StartTLS()
	return f
}

func unstarted(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, clock: time.Now(), asked: map[string]int{}, refuses: map[string]int{}, oauth: map[string]string{}, claims: jwt.MapClaims{}}
	f.use(firstKey(), "first")
	f.info = map[string]any{"sub": "7", "groups": []string{"from-userinfo"}}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // refused handshakes
	t.Cleanup(func() { f.Close() })
	return f
}

// firstKey is shared, because it takes long to make one.
var firstKey = sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// use signs with a key, and publishes it alone.
func (f *fake) use(key *rsa.PrivateKey, kid string) {
	f.key, f.kid, f.jwks = key, kid, []map[string]any{public(key, kid)}
}

func public(key *rsa.PrivateKey, kid string) map[string]any {
	enc := base64.RawURLEncoding.EncodeToString
	return map[string]any{"kty": "RSA", "use": "sig", "kid": kid, "n": enc(key.N.Bytes()), "e": enc(big.NewInt(int64(key.E)).Bytes())}
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[r.URL.Path]++
	if status := f.refuses[r.URL.Path]; status != 0 {
		http.Error(w, "no", status)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		document := map[string]any{
			"issuer": f.URL, "authorization_endpoint": f.URL + "/authorize?tenant=1", "token_endpoint": f.URL + "/token", "jwks_uri": f.URL + "/keys",
			"userinfo_endpoint": f.URL + "/userinfo", "end_session_endpoint": f.URL + "/end?tenant=1",
		}
		over(document, f.said)
		write(w, http.StatusOK, document)
	case "/keys":
		write(w, http.StatusOK, map[string]any{"keys": f.jwks})
	case "/token":
		f.token(w, r)
	case "/userinfo":
		if f.info == nil || r.Header.Get("Authorization") != "Bearer access" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		write(w, http.StatusOK, f.info)
	default:
		http.NotFound(w, r)
	}
}

func (f *fake) token(w http.ResponseWriter, r *http.Request) {
	id, given, inHeader := r.BasicAuth()
	if inHeader {
		id, given = unescape(id), unescape(given)
	} else {
		id, given = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	grant := r.PostFormValue("grant_type")
	switch {
	case grant == "authorization_code" && f.codeFirst && strings.HasPrefix(r.PostFormValue("code"), "havn-"):
		write(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	case f.inBody && inHeader, id != clientID || given != secret:
		write(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	case f.oauth[grant] != "":
		write(w, http.StatusBadRequest, map[string]any{"error": f.oauth[grant], "error_description": "because"})
		return
	case strings.HasPrefix(r.PostFormValue("code")+r.PostFormValue("refresh_token"), "havn-"):
		write(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	case grant == "authorization_code":
		if s256(r.PostFormValue("code_verifier")) == f.challenge {
			f.verified++
		}
	}
	if f.during != nil {
		f.during()
	}
	answer := map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 300, "refresh_token": "second", "id_token": f.idToken()}
	over(answer, f.answers)
	write(w, http.StatusOK, answer)
}

// idToken is a good one, but for f.claims, signed by f.signing or well.
func (f *fake) idToken() string {
	all := jwt.MapClaims{
		"iss": f.URL, "aud": clientID, "sub": "7", "nonce": f.nonce, "iat": f.clock.Unix(), "exp": f.clock.Add(5 * time.Minute).Unix(),
		"preferred_username": "ada", "name": "Ada Lovelace", "email": "ada@example.com", "email_verified": true, "groups": []string{"team-a", "admins"},
	}
	over(all, f.claims)
	if f.signing != nil {
		return f.signing(all)
	}
	return f.sign(jwt.SigningMethodRS256, f.key, all)
}

func (f *fake) sign(method jwt.SigningMethod, key any, all jwt.MapClaims) string {
	token := jwt.NewWithClaims(method, all)
	token.Header["kid"] = f.kid
	text, err := token.SignedString(key)
	if err != nil {
		f.t.Error(err)
	}
	return text
}

// over changes a document; nil takes a part of it away.
func over(document, changes map[string]any) {
	maps.Copy(document, changes)
	maps.DeleteFunc(document, func(_ string, v any) bool { return v == nil })
}

func write(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(document); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func unescape(s string) string {
	plain, err := url.QueryUnescape(s)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return plain
}

func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// count answers how often a path was asked since the last count.
func (f *fake) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.asked[path]
	f.asked[path] = 0
	return n
}

// authorize is what a browser does at the provider: it answers the query of the callback.
func (f *fake) authorize(start oidc.Start) url.Values {
	f.t.Helper()
	u, err := url.Parse(start.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	q := u.Query()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nonce, f.challenge = q.Get("nonce"), q.Get("code_challenge")
	return url.Values{"state": {q.Get("state")}, "code": {"one"}}
}

// config is a good one for this provider.
func (f *fake) config() oidc.Config {
	c := oidc.Config{
		Endpoint: f.URL, ClientID: clientID, ClientSecret: secret, RedirectURL: "https://registry.example/c/oidc/callback", AutoOnboard: true,
		GroupsClaim: "groups", Allow: loopback, Clock: func() time.Time { return f.clock }, Seal: sealed(f.t, "the secret of the cluster"),
	}
	if f.Certificate() != nil {
		c.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}))
	}
	return c
}

// client makes a client of f.config, changed.
func (f *fake) client(change ...func(*oidc.Config)) *oidc.Client {
	f.t.Helper()
	c := f.config()
	for _, do := range change {
		do(&c)
	}
	made, err := oidc.New(c)
	if err != nil {
		f.t.Fatal(err)
	}
	return made
}

// login goes the whole way.
func (f *fake) login(c *oidc.Client) (oidc.Login, error) {
	f.t.Helper()
	start, err := c.Begin(f.t.Context(), "/harbor/projects?page=2")
	if err != nil {
		return oidc.Login{}, err
	}
	return c.Finish(f.t.Context(), start.Sealed, f.authorize(start))
}

// subject is the person's of a good token.
func (f *fake) subject() string { return fmt.Sprintf("%s 7", f.URL) }

// seals are made once for each secret, in a database that they do not need after.
var seals struct {
	sync.Mutex
	by map[string]*seal.Seal
}

func sealed(t *testing.T, secret string) *seal.Seal {
	t.Helper()
	seals.Lock()
	defer seals.Unlock()
	if s := seals.by[secret]; s != nil {
		return s
	}
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db")})
	if err != nil {
		t.Fatal(err)
	}
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := seal.Open(t.Context(), db, secret)
	if err != nil {
		t.Fatal(err)
	}
	if err = db.Close(); err != nil {
		t.Fatal(err)
	}
	if seals.by == nil {
		seals.by = map[string]*seal.Seal{}
	}
	seals.by[secret] = s
	return s
}
