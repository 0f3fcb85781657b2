package swift

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	library "github.com/ncw/swift/v2"
	"golang.org/x/sync/singleflight"

	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// loginTime bounds one login: Keystone asks a directory, which may be slow.
	loginTime = 20 * time.Second
	// refusedTime is how long credentials that were refused are not sent again: each request would, and Keystone locks accounts.
	refusedTime = 5 * time.Second
	// renewBefore the end of a token's life it is renewed, or when three quarters of a shorter life are over: it must last for the request.
	renewBefore = 5 * time.Minute

	userAgent     = "havn"
	defaultDomain = "Default"
)

// session is what a login brings.
type session struct {
	storage url.URL // of the account
	token   string
	renew   time.Time // when another login is due; zero if the server does not say: then it refuses the token
	expires time.Time
}

// login keeps the session. It is safe for concurrent use; however many want another one, there is one login.
type login struct {
	cfg     *Config
	version int
	one     singleflight.Group

	mu      sync.Mutex
	current *session
	refused error
	since   time.Time // of refused
}

// session answers one to use now.
func (l *login) session(ctx context.Context) (*session, error) {
	l.mu.Lock()
	now, s := l.cfg.Clock(), l.current
	if l.refused != nil && now.Sub(l.since) >= refusedTime {
		l.refused = nil
	}
	refused := l.refused
	l.mu.Unlock()
	if s != nil && (s.renew.IsZero() || now.Before(s.renew)) {
		return s, nil
	}
	if refused != nil {
		return nil, refused
	}
	// It goes on when this request ends: others wait for the same.
	result := l.one.DoChan("", func() (any, error) { return l.again(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return nil, l.failed(context.Cause(ctx))
	case r := <-result:
		if made, ok := r.Val.(*session); ok && r.Err == nil {
			return made, nil
		}
		if s != nil && now.Before(s.expires) {
			return s, nil // still good, and the next request tries again
		}
		return nil, r.Err
	}
}

// drop forgets a session whose token was refused.
func (l *login) drop(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == s {
		l.current = nil
	}
}

func (l *login) again(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	s, err := l.ask(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	var answer *library.Error
	if err != nil {
		if errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden) {
			l.refused, l.since = err, l.cfg.Clock()
		}
		return nil, err
	}
	l.current, l.refused = s, nil
	return s, nil
}

// ask logs in with a connection of the library's that lives as long as that takes: what it keeps of its own is not needed.
func (l *login) ask(ctx context.Context) (*session, error) {
	c := &library.Connection{
		UserName: l.cfg.Username, ApiKey: l.cfg.Password, AuthUrl: l.cfg.AuthURL.String(), AuthVersion: l.version,
		Tenant: l.cfg.Tenant, Domain: l.cfg.Domain, Region: l.cfg.Region,
		UserAgent: userAgent, ConnectTimeout: loginTime, Timeout: loginTime, Transport: once{l.cfg.HTTP.Transport},
	}
	if l.version == 3 && c.Domain == "" {
		c.Domain = defaultDomain
	}
	if err := c.Authenticate(ctx); err != nil {
		return nil, l.failed(err)
	}
	storage, err := url.Parse(c.StorageUrl)
	if err != nil || storage.Host == "" || storage.Scheme != "http" && storage.Scheme != "https" {
		return nil, fail.E(fail.Unavailable, err, "log in to Swift: the storage address %.200q is none", c.StorageUrl).Hint("look at the catalogue of services, with radosgw at rgw_swift_url")
	}
	storage.Path = strings.TrimRight(storage.Path, "/")
	// A radosgw behind something that ends TLS for it, and not told its own address (rgw_swift_url), answers with http: the token must not go there.
	if auth := l.cfg.AuthURL; l.version == 1 && auth.Scheme == "https" && storage.Scheme == "http" && auth.Hostname() == storage.Hostname() {
		storage.Scheme, storage.Host = auth.Scheme, auth.Host
	}
	s := &session{storage: *storage, token: c.AuthToken, expires: c.Expires}
	if !c.Expires.IsZero() {
		life := c.Expires.Sub(l.cfg.Clock())
		s.renew = c.Expires.Add(-min(renewBefore, life/4))
	}
	return s, nil
}

// failed says what is wrong with the answer to a login.
func (l *login) failed(err error) error {
	var answer *library.Error
	if !errors.As(err, &answer) || answer.StatusCode == http.StatusRequestTimeout {
		e := fail.E(fail.Unavailable, shorter(err), "log in to Swift at %s", l.cfg.AuthURL.Redacted())
		if hint := fail.HintOf(err); hint != "" {
			return e.Hint("%s", hint)
		}
		if errors.Is(err, library.TimeoutError) {
			err = context.DeadlineExceeded
		}
		return hinted(e, egress.Hint(err, addressKey, caKey))
	}
	e := fail.E(fail.Unavailable, err, "log in to Swift at %s as %s", l.cfg.AuthURL.Redacted(), l.cfg.Username)
	switch status := answer.StatusCode; {
	case status == http.StatusUnauthorized && l.version == 1:
		return e.Hint("the key is not the user's: correct storage.swift.password; with radosgw it is the subuser's secret key, as `radosgw-admin user info` shows it under swift_keys")
	case status == http.StatusUnauthorized:
		return e.Hint("correct storage.swift.username, storage.swift.password, storage.swift.tenant and storage.swift.domain")
	case status == http.StatusForbidden && l.version == 1:
		return e.Hint("the user is not known: correct storage.swift.username; with radosgw it is user:subuser, made by `radosgw-admin subuser create --uid=registry --subuser=registry:swift --access=full`")
	case status == 0:
		return e.Hint("the user has no object store there: with Keystone give storage.swift.tenant, look at storage.swift.region and the service catalogue (type object-store)")
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusMultipleChoices, status == http.StatusBadRequest:
		return e.Hint("is that the address of version %d? radosgw has http://host:7480/auth/v1, Keystone https://host:5000/v3; see storage.swift.auth_url and storage.swift.auth_version", l.version)
	case status >= http.StatusInternalServerError:
		return e.Hint("the server fails: look at its log and its health")
	}
	return e.Hint("look at storage.swift.auth_url, storage.swift.username and storage.swift.password")
}

// once is a transport whose idle connections the library can't close, which it would at each login, and that follows nobody: the password goes along.
type once struct{ next http.RoundTripper }

// RoundTrip makes one exchange.
func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := o.next.RoundTrip(r)
	if err != nil || answer.StatusCode < http.StatusMovedPermanently || answer.StatusCode >= http.StatusBadRequest || answer.Header.Get("Location") == "" {
		return answer, err
	}
	to := answer.Header.Get("Location")
	err = fail.E(fail.Invalid, nil, "the server sends us on to %.200q", to).Hint("set storage.swift.auth_url to where it leads")
	return nil, errors.Join(err, answer.Body.Close())
}

// shorter cuts the method and the address, which the text of an error names already, from what net/http adds.
func shorter(err error) error {
	var sent *url.Error
	if errors.As(err, &sent) {
		err = sent.Err
	}
	switch {
	case errors.Is(err, library.TimeoutError):
		return fmt.Errorf("no answer in %s: %w", loginTime, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer in time: %w", err)
	}
	return err
}
