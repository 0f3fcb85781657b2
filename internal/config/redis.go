package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// RedisMode is how servers of Redis stand together.
type RedisMode string

// The modes. RedisAuto asks the servers.
const (
	RedisAuto     RedisMode = "auto"
	RedisSingle   RedisMode = "single"
	RedisSentinel RedisMode = "sentinel"
	RedisCluster  RedisMode = "cluster"
)

// Redis is what nodes share and may lose.
type Redis struct {
	Addrs    []RedisAddr // none: there is no Redis
	Mode     RedisMode
	User     string // use Config.RedisLogin
	Password Secret
	Prefix   string
	Timeout  time.Duration
	Sentinel RedisSentinels
	TLS      RedisTLS
}

// RedisAddr is one server, node or Sentinel.
type RedisAddr struct {
	Host     string // host:port
	TLS      bool
	User     string
	Password Secret
}

// RedisSentinels is how Sentinels are asked.
type RedisSentinels struct {
	Master   string // "": the only one they know
	User     string
	Password Secret
}

// RedisTLS is the TLS of connections to Redis. Certificate and key are given both or none.
type RedisTLS struct {
	Mode             TLSMode // "": see Config.RedisTLSMode
	CAFile           string
	Certificate, Key string
}

// RedisLogin answers user and password: those of the keys, or else of the URLs.
func (c *Config) RedisLogin() (user string, password Secret) {
	user, password = c.Redis.User, c.Redis.Password
	for _, a := range c.Redis.Addrs {
		if user == "" && password.text == "" {
			user, password = a.User, a.Password
		}
	}
	return user, password
}

// RedisTLSMode answers how much TLS is asked for.
func (c *Config) RedisTLSMode() TLSMode {
	t := c.Redis.TLS
	secure := t.CAFile != ""
	for _, a := range c.Redis.Addrs {
		secure = secure || a.TLS
	}
	switch {
	case t.Mode != "":
		return t.Mode
	case secure:
		return TLSVerify
	}
	return TLSOff
}

// consistentRedis blames what is wrong between the keys of Redis.
func (c *Config) consistentRedis(blame func(key, text, allowed string)) {
	r := c.Redis
	if len(r.Addrs) == 0 {
		return
	}
	for _, a := range r.Addrs[1:] {
		first := r.Addrs[0]
		if a.TLS != first.TLS || a.User != first.User || a.Password != first.Password {
			blame("redis.addrs", fmt.Sprintf("says another scheme, user or password for %s than for %s", a.Host, first.Host), "the same for all: all servers are one Redis")
			return
		}
	}
	if a := r.Addrs[0]; a.User != "" && r.User != "" && a.User != r.User {
		blame("redis.user", fmt.Sprintf("is %q, and redis.addrs says %q", r.User, a.User), "one of both")
	}
	mode := c.RedisTLSMode()
	switch t := r.TLS; {
	case t.Certificate != "" && t.Key == "":
		blame("redis.tls.certificate", "is set, and redis.tls.key is not", "both or none")
	case t.Key != "" && t.Certificate == "":
		blame("redis.tls.key", "is set, and redis.tls.certificate is not", "both or none")
	case mode == TLSOff && (t.Certificate != "" || t.CAFile != ""):
		blame("redis.tls.mode", "is off, and files for TLS are given", "require or verify, or no files")
	case mode == TLSOff && r.Addrs[0].TLS:
		blame("redis.tls.mode", "is off, and redis.addrs says rediss://", "redis://, or require or verify")
	case mode == TLSRequire && t.CAFile != "":
		blame("redis.tls.ca_file", "is set, and redis.tls.mode is require, which checks no certificate", "redis.tls.mode: verify, or no file")
	}
	if r.Mode != RedisSentinel && r.Mode != RedisAuto && r.Sentinel.Master != "" {
		blame("redis.sentinel.master", fmt.Sprintf("is set, and redis.mode is %s", r.Mode), "redis.mode: sentinel or auto, or no name")
	}
}

// probeRedis looks at the files for TLS to Redis.
func (c *Config) probeRedis() Problems {
	t := c.Redis.TLS
	if len(c.Redis.Addrs) == 0 {
		return nil
	}
	var all Problems
	if t.CAFile != "" {
		if _, err := c.redisRoots(); err != nil {
			all = append(all, Problem{c.origins["redis.tls.ca_file"].source, "redis.tls.ca_file", err.Error(), "a readable PEM file with certificates"})
		}
	}
	if t.Certificate != "" {
		all = append(all, c.probePair("redis.tls.certificate", t.Certificate, "redis.tls.key", t.Key)...)
	}
	return all
}

// redisRoots answers the authorities that may sign the servers' certificates; nil: the system's.
func (c *Config) redisRoots() (*x509.CertPool, error) {
	path := c.Redis.TLS.CAFile
	if path == "" {
		return nil, nil //nolint:nilnil // crypto/tls takes nil for the system's
	}
	pool := x509.NewCertPool()
	return pool, appendAuthorities(pool, path)
}

// RedisTLS answers the TLS of connections to Redis, nil for none. The server's name is to be set for each.
func (c *Config) RedisTLS() (*tls.Config, error) {
	t, mode := c.Redis.TLS, c.RedisTLSMode()
	if mode == TLSOff {
		return nil, nil //nolint:nilnil // no TLS is a value of its own here
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: mode == TLSRequire} //nolint:gosec // what the operator asked for
	var err error
	if conf.RootCAs, err = c.redisRoots(); err != nil {
		return nil, err
	}
	if t.Certificate != "" {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, loadErr := tls.LoadX509KeyPair(t.Certificate, t.Key)
			return &pair, loadErr
		}
	}
	return conf, nil
}
