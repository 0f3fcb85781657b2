package config

import (
	"crypto/tls"
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
	TLS      ClientTLS // use Config.RedisTLSMode
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

// RedisLogin answers user and password: each that of its key, or else of the URLs, so that a URL may name the user and a file hold the password.
func (c *Config) RedisLogin() (user string, password Secret) {
	user, password = c.Redis.User, c.Redis.Password
	for _, a := range c.Redis.Addrs {
		if user == "" {
			user = a.User
		}
		if password.text == "" {
			password = a.Password
		}
	}
	return user, password
}

// RedisTLSMode answers how much TLS is asked for.
func (c *Config) RedisTLSMode() TLSMode {
	t := c.Redis.TLS
	for _, a := range c.Redis.Addrs {
		if a.TLS && t.Mode == "" {
			return TLSVerify
		}
	}
	return t.Effective()
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
	r.TLS.consistent("redis.tls", mode, blame)
	if mode == TLSOff && r.Addrs[0].TLS {
		blame("redis.tls.mode", "is off, and redis.addrs says rediss://", "redis://, or require or verify")
	}
	if r.Mode != RedisSentinel && r.Mode != RedisAuto && r.Sentinel.Master != "" {
		blame("redis.sentinel.master", fmt.Sprintf("is set, and redis.mode is %s", r.Mode), "redis.mode: sentinel or auto, or no name")
	}
}

// probeRedis looks at the files for TLS to Redis.
func (c *Config) probeRedis() Problems {
	if len(c.Redis.Addrs) == 0 {
		return nil
	}
	return c.probeClientTLS("redis.tls", c.Redis.TLS)
}

// RedisTLS answers the TLS of connections to Redis, nil for none. The server's name is to be set for each.
func (c *Config) RedisTLS() (*tls.Config, error) {
	return c.Redis.TLS.config(c.RedisTLSMode(), c.serverRoots)
}
