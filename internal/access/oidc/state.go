package oidc

import (
	"crypto/subtle"
	"encoding/json"
	"maps"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// StateLife is how long a login at the provider may take, second factors included; it is the age of the cookie.
	StateLife = 15 * time.Minute
	// maxSealed bounds what is sealed: browsers keep cookies of 4,096 bytes, with their names and attributes.
	maxSealed = 3500
	// mostSpent bounds the logins that are remembered as ended: those of StateLife, at ten a second.
	mostSpent = 9000
	// slots is how many logins a browser may have under way, in as many cookies. More end each other: without a bound, a page that sends people to the provider and is never
	// finished with would fill the header of every request, until servers refuse it.
	slots = "0123"

	again = "log in again, from the beginning"
)

// sealed is what must survive until the callback.
type sealed struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	Return   string `json:"r"`
	Until    int64  `json:"t"` // in seconds
}

// CookieOf answers in which cookie a login's Start.Sealed is, by the parameter state of the callback.
func CookieOf(state string) string {
	slot := slots[0]
	if state != "" {
		slot = slots[int(state[0])%len(slots)]
	}
	return "havn_oidc_" + string(slot)
}

// purpose is the name under which the state is sealed: for one client at one provider, so that an answer can't be taken for another's.
func (c *Client) purpose() string { return "oidc login " + c.ClientID + " " + c.Endpoint }

func (c *Client) seal(s sealed) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fail.E(fail.Internal, err, "seal the state of a login")
	}
	value := c.Seal.Seal(c.purpose(), text)
	if len(value) > maxSealed {
		return "", fail.E(fail.Invalid, nil, "path to return to after the login of %d bytes", len(s.Return)).Hint("use a shorter one: it travels in a cookie")
	}
	return value, nil
}

// open answers what was sealed for this answer of the provider's. Errors are Invalid.
func (c *Client) open(text, state string) (sealed, error) {
	if text == "" {
		return sealed{}, fail.E(fail.Invalid, nil, "a login that did not begin in this browser, or too long ago").
			Hint("%s; cookies must be allowed, and the registry opened under the name at which the provider sends back (oidc: the registry's external address)", again)
	}
	plain, err := c.Seal.Open(c.purpose(), text)
	var s sealed
	if err == nil {
		err = json.Unmarshal(plain, &s)
	}
	switch {
	case err != nil:
		return sealed{}, fail.E(fail.Invalid, err, "the state of a login can't be read").Hint("%s; if it goes on, the nodes have different cluster secrets", again)
	case subtle.ConstantTimeCompare([]byte(s.State), []byte(state)) != 1:
		return sealed{}, fail.E(fail.Invalid, nil, "the answer of the OIDC provider belongs to another login").Hint(again)
	case c.Clock().Unix() >= s.Until:
		return sealed{}, fail.E(fail.Invalid, nil, "the login took longer than %s", StateLife).Hint(again)
	}
	return s, nil
}

// local answers a path of this server. Browsers drop tabs and line ends, and take \ for /: what they would make another host of is refused.
func local(path string) (string, error) {
	if path == "" {
		return "/", nil
	}
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, `\`) ||
		strings.ContainsFunc(path, unicode.IsControl) {
		return "", fail.E(fail.Invalid, err, "path to return to after the login: %.100q", path).Hint("use a path of this server, such as /harbor/projects")
	}
	return path, nil
}

// spent are the logins that ended on this node. Those of other nodes are not known here: there a replayed answer fails at the provider, which takes a code once.
type spent struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// claim reports whether a login did not end here before.
func (s *spent) claim(state string, until, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, used := s.until[state]; used {
		return false
	}
	if len(s.until) >= mostSpent {
		maps.DeleteFunc(s.until, func(_ string, end time.Time) bool { return !end.After(now) })
	}
	for other := range s.until {
		if len(s.until) < mostSpent {
			break
		}
		delete(s.until, other)
	}
	s.until[state] = until
	return true
}
