package redis

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/fail"
)

// Mode is how servers of Redis stand together.
type Mode string

// The modes. Auto asks the servers.
const (
	Auto     Mode = "auto"
	Single   Mode = "single"
	Sentinel Mode = "sentinel"
	Cluster  Mode = "cluster"
)

// Defaults of Config.
const (
	// DefaultTimeout is far above what Redis takes in one data centre, where it is well, and below what anybody notices in a request.
	DefaultTimeout = 10 * time.Millisecond
	DefaultPrefix  = "havn:"
)

// Config says which Redis is asked, and how.
type Config struct {
	Addrs    []string // host:port each, at least one: servers, nodes of the cluster or Sentinels. One that answers is enough.
	Mode     Mode     // "": Auto
	User     string   // "": the user default
	Password string
	TLS      *tls.Config // nil: none

	Master           string // the name under which Sentinels know the master; "": they know one
	SentinelUser     string // at the Sentinels, which have accounts of their own
	SentinelPassword string

	Prefix  string        // of all keys; "": DefaultPrefix
	Timeout time.Duration // how long a request waits; 0: DefaultTimeout

	Log     *slog.Logger          // nil: discarded
	Clock   func() time.Time      // nil: the system's
	Metrics prometheus.Registerer // nil: none
}

func (c *Config) setDefaults() error {
	if len(c.Addrs) == 0 {
		return fail.E(fail.Invalid, nil, "no address of Redis").Hint("give redis.addrs")
	}
	switch c.Mode {
	case "":
		c.Mode = Auto
	case Auto, Single, Sentinel, Cluster:
	default:
		return fail.E(fail.Invalid, nil, "mode of Redis %q", c.Mode).Hint("it is %s, %s, %s or %s", Auto, Single, Sentinel, Cluster)
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the clock of the package where no other is given
	}
	return nil
}
