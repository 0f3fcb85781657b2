package swift

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/fail"
)

// Config says where the containers are and how they are used.
type Config struct {
	AuthURL     *url.URL
	AuthVersion int // 1, 2 or 3; 0: as AuthURL says
	Username    string
	Password    string
	Tenant      string // versions 2 and 3; 3 calls it project
	Domain      string // version 3, of the user and the project; "": Default
	Region      string // versions 2 and 3; "": the first in the catalogue
	// Containers are one or more. Of several, a hash of an object's name chooses. More may be added behind them later: what is not where it
	// belongs is looked for in the others.
	Containers []string
	Create     bool        // containers that are absent
	Prefix     string      // of every object; "" or without slashes at its ends
	TempURLKey string      // the account's; "": no signed URLs
	Pool       *parts.Pool // keeps objects on their way
	HTTP       *http.Client
	Clock      func() time.Time
}

// Driver is a blob.Driver on containers.
type Driver struct {
	cfg    Config
	prefix string // "" or with a slash at its end
	login  *login
	taken  blob.Taken
}

// New logs in, makes absent containers if it may, and proves that objects can be written, read, listed and deleted. With a TempURLKey, the driver that it
// answers is a blob.Signer too. Errors say what to do; an absent container that may not be made is NotFound.
func New(ctx context.Context, c Config) (blob.Driver, error) {
	if len(c.Containers) == 0 {
		return nil, fail.E(fail.Invalid, nil, "no container").Hint("give storage.swift.container")
	}
	version, err := c.version()
	if err != nil {
		return nil, err
	}
	d := &Driver{cfg: c, login: &login{cfg: &c, version: version}}
	if c.Prefix != "" {
		d.prefix = c.Prefix + "/"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if err = d.prepare(ctx); err != nil {
		return nil, fmt.Errorf("container %s at %s: %w", strings.Join(c.Containers, ", "), c.AuthURL.Redacted(), err)
	}
	if c.TempURLKey == "" {
		return d, nil
	}
	s := &signing{Driver: d}
	if err = s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("signed URLs of container %s at %s: %w", strings.Join(c.Containers, ", "), c.AuthURL.Redacted(), err)
	}
	return s, nil
}

// version answers that of the authentication. The library looks for "v1" anywhere in the address, the host's name included, and does not know
// radosgw's plain /auth.
func (c *Config) version() (int, error) {
	if c.AuthVersion != 0 {
		return c.AuthVersion, nil
	}
	found := 0
	for part := range strings.SplitSeq(c.AuthURL.Path, "/") {
		switch {
		case part == "v3":
			return 3, nil
		case strings.HasPrefix(part, "v2"):
			return 2, nil
		case strings.HasPrefix(part, "v1"), part == "auth":
			found = 1
		}
	}
	if found == 0 {
		return 0, fail.E(fail.Invalid, nil, "the version of authentication at %s is not known", c.AuthURL.Redacted()).
			Hint("set storage.swift.auth_version to 1, 2 or 3; for OpenStack's Keystone end storage.swift.auth_url with /v3")
	}
	return found, nil
}
