package swift

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the only one that radosgw takes
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// The headers of an account that hold the keys of its signed URLs.
var keyHeaders = []string{"X-Account-Meta-Temp-Url-Key", "X-Account-Meta-Temp-Url-Key-2"}

// probeLife is how long the URL lives with which signing is tried.
const probeLife = time.Minute

// signing is a Driver that is a blob.Signer too: it signs TempURLs with the account's key.
type signing struct {
	*Driver
	form form
}

// form is how a server wants a signature.
type form struct {
	hash func() hash.Hash
	// path goes before /container/object in what is signed; "" is the storage address's own.
	path string
}

// forms are what servers differ in: radosgw takes SHA-1 alone and, depending on its settings, wants another path than the one that its storage address has; new
// releases of Swift don't take SHA-1.
var forms = []form{{sha1.New, ""}, {sha256.New, ""}, {sha1.New, "/v1"}, {sha1.New, "/swift/v1"}}

// prepare sees to it that the account has the key, and finds out how the server wants URLs to be signed.
func (s *signing) prepare(ctx context.Context) error {
	if err := s.key(ctx); err != nil {
		return err
	}
	return s.probe(ctx, func(name string) error {
		var refused error
		for _, f := range forms {
			s.form = f
			at, err := s.sign(ctx, s.home(name)[0], name, probeLife)
			if err != nil {
				return err
			}
			status, err := s.try(ctx, at)
			if err != nil {
				return s.failed(err, "read by a signed URL")
			}
			if status == http.StatusOK {
				return nil
			}
			refused = &answered{status: status}
		}
		return fail.E(fail.Unavailable, refused, "the server does not take the URLs that Havn signs").
			Hint("is storage.swift.temp_url_key the account's key, does the server offer TempURL, and do the clocks agree?")
	})
}

// key gives the account the key, if it has it not, and a place for it.
func (s *signing) key(ctx context.Context) error {
	answer, err := s.do(ctx, request{method: http.MethodHead})
	if err = end(answer, err); err != nil {
		return s.failed(err, "look at the account")
	}
	free := ""
	for _, name := range keyHeaders {
		switch answer.Header.Get(name) {
		case s.cfg.TempURLKey:
			return nil
		case "":
			if free == "" {
				free = name
			}
		}
	}
	if free == "" {
		return fail.E(fail.Invalid, nil, "the account has two keys for signed URLs, and storage.swift.temp_url_key is neither").
			Hint("set storage.swift.temp_url_key to one of them, or drop one: `swift post -m Temp-URL-Key-2:`")
	}
	answer, err = s.do(ctx, request{method: http.MethodPost, header: map[string]string{free: s.cfg.TempURLKey}})
	if err = end(answer, err); err != nil {
		return s.failed(err, "give the account the key for signed URLs")
	}
	return nil
}

// try reads by a signed URL, without a token.
func (s *signing) try(ctx context.Context, at string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, err
	}
	answer, err := s.cfg.HTTP.Do(r)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, maxText))
	return answer.StatusCode, errors.Join(err, answer.Body.Close())
}

// SignGet answers a URL at which the object can be read for a while without a token: see blob.Signer. With several containers it looks in which one the object is.
func (s *signing) SignGet(ctx context.Context, name string, life time.Duration) (at string, err error) {
	if len(s.cfg.Containers) == 1 {
		return s.sign(ctx, s.cfg.Containers[0], name, life)
	}
	err = s.find(name, func(container string) (tryErr error) {
		if _, tryErr = s.stat(ctx, container, name); tryErr != nil {
			return tryErr
		}
		at, tryErr = s.sign(ctx, container, name, life)
		return tryErr
	})
	return at, err
}

func (s *signing) sign(ctx context.Context, container, name string, life time.Duration) (string, error) {
	now, err := s.login.session(ctx)
	if err != nil {
		return "", err
	}
	at := now.storage
	signed := s.form.path
	if signed == "" {
		signed = at.Path
	}
	object := "/" + container + "/" + s.prefix + name
	expires := strconv.FormatInt(s.cfg.Clock().Add(life).Unix(), 10)
	mac := hmac.New(s.form.hash, []byte(s.cfg.TempURLKey))
	fmt.Fprintf(mac, "%s\n%s\n%s", http.MethodGet, expires, signed+object) //nolint:errcheck // a hash never fails
	at.Path += object
	at.RawQuery = url.Values{"temp_url_sig": {hex.EncodeToString(mac.Sum(nil))}, "temp_url_expires": {expires}}.Encode()
	return at.String(), nil
}
