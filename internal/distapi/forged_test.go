package distapi_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/distapi"
	"github.com/havn-registry/havn/internal/oci"
)

// forged answers tokens that nobody issued, or not for this, made of one that is good for pulls.
func (s *service) forged(good string) map[string]string {
	s.Helper()
	var claims jwt.MapClaims
	parsed, _, err := jwt.NewParser().ParseUnverified(good, &claims)
	s.ok(err)
	part := func(v any) string {
		text, jsonErr := json.Marshal(v)
		s.ok(jsonErr)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	header, _, _ := strings.Cut(good, ".")
	signature := good[strings.LastIndexByte(good, '.')+1:]
	wider := maps.Clone(claims)
	wider["access"], wider["adm"] = []access.Scope{{Type: "repository", Name: "secret/app", Actions: []string{"*"}}, {Type: "registry", Name: "catalog", Actions: []string{"*"}}}, true
	signed := func(method jwt.SigningMethod, kid any, key any) string {
		t := jwt.NewWithClaims(method, wider)
		t.Header["kid"] = kid
		raw, signErr := t.SignedString(key)
		s.ok(signErr)
		return raw
	}
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	s.ok(err)
	kid := parsed.Header["kid"]
	all := map[string]string{
		"a wider scope under the old signature": header + "." + part(wider) + "." + signature,
		"no signature":                          header + "." + part(wider) + ".",
		"no signature's place":                  header + "." + part(wider),
		"a foreign key":                         signed(jwt.SigningMethodHS256, kid, []byte("a key of somebody else, 32 bytes")),
		"an empty key":                          signed(jwt.SigningMethodHS256, kid, []byte{}),
		"another algorithm":                     signed(jwt.SigningMethodHS512, kid, []byte("a key of somebody else, 32 bytes")),
		"an asymmetric algorithm":               signed(jwt.SigningMethodRS256, kid, pair),
		"an unknown key":                        signed(jwt.SigningMethodHS256, "../../etc/passwd", []byte("x")),
		"a key that is no text":                 signed(jwt.SigningMethodHS256, 7, []byte("x")),
		"a key that SQL would find":             signed(jwt.SigningMethodHS256, "' OR 1=1 --", []byte("x")),
		"two tokens in one":                     good + "." + good,
		"a part too many":                       good + "." + signature,
		"alg none, by the library":              signed(jwt.SigningMethodNone, kid, jwt.UnsafeAllowNoneSignatureType),
	}
	for _, alg := range []string{"none", "None", "nOnE", "NONE", "", "HS256 "} {
		all["alg "+strconv.Quote(alg)] = part(map[string]any{"alg": alg, "typ": "JWT", "kid": kid}) + "." + part(wider) + "."
	}
	return all
}

// TestTokensThatNobodyIssuedForThisAreGoodForNothing tries forged tokens, and real ones for something else, at every operation, and where tokens are renewed.
func TestTokensThatNobodyIssuedForThisAreGoodForNothing(t *testing.T) {
	t.Parallel()
	s, other := start(t), start(t)
	s.pushImage("secret/app", "v1")
	good := s.token("repository:secret/app:pull")
	s.do("GET", "/v2/secret/app/manifests/v1", nil, bearer(good)).is(http.StatusOK)
	all := s.forged(good)
	admin, err := s.access.Authenticate(t.Context(), "admin", password, "192.0.2.1")
	s.ok(err)
	everything := scopes(t, "repository:secret/app:pull,push,delete", "registry:catalog:*")
	elsewhere, err := s.access.Issue(t.Context(), admin, "another-registry", everything)
	s.ok(err)
	refresh, err := s.access.IssueRefresh(t.Context(), admin, distapi.Service)
	s.ok(err)
	elsewhereToo, err := s.access.IssueRefresh(t.Context(), admin, "another-registry")
	s.ok(err)
	expired, err := s.access.Issue(t.Context(), admin, distapi.Service, everything)
	s.ok(err)
	all["for another service"], all["a refresh token"], all["another registry's"] = elsewhere.Raw, refresh, other.token("repository:secret/app:pull,push,delete")
	for what, raw := range all {
		for _, op := range operations("secret/app", sum(layer)) {
			if a := s.do(op.method, op.path, op.body, bearer(raw)); a.status != http.StatusUnauthorized || !strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
				t.Errorf("%s with %s: %d %s", a.asked, what, a.status, a.body)
			}
		}
		if raw != refresh {
			s.post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {raw}, "scope": {"repository:secret/app:pull,push"}}).is(http.StatusUnauthorized, oci.CodeUnauthorized)
		}
	}
	s.post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {elsewhereToo}}).is(http.StatusUnauthorized, oci.CodeUnauthorized)
	s.post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}).is(http.StatusOK)
	s.clock.advance(2 * time.Hour)
	for _, op := range operations("secret/app", sum(layer)) {
		s.do(op.method, op.path, op.body, bearer(expired.Raw)).is(http.StatusUnauthorized)
	}
}
