package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

func redisKeys() []key {
	return []key{
		listed("redis.addrs", "list of addresses", "host:port, or redis://[user:password@]host:port, rediss:// for TLS; IPv6 in brackets", value{},
			"Redis that nodes share: one server, some nodes of a cluster, or the Sentinels. Those that are not named are found by asking. It holds nothing that may not be lost, and whatever happens to it, requests go on without it.",
			func(c *Config) *[]RedisAddr { return &c.Redis.Addrs }, parseRedisAddr, RedisAddr.String).
			like("10.212.29.38:7001,10.212.29.39:7001,10.212.29.40:7001").empty("none: each node has its own memory alone"),
		choice("redis.mode", "auto", "How the servers stand together; `auto` asks them.", func(c *Config) *RedisMode { return &c.Redis.Mode },
			[]string{"auto", "single", "sentinel", "cluster"}, []RedisMode{RedisAuto, RedisSingle, RedisSentinel, RedisCluster}, equal),
		text("redis.user", "a name", "", "User (ACL) of the servers. [operations.md](operations.md) says what it must be allowed to do.",
			func(c *Config) *string { return &c.Redis.User }, anyText).like("havn").empty("the user `default`, or the one in the URL"),
		secret("redis.password", "any text up to 1024 bytes", "Password of that user.", func(c *Config) *Secret { return &c.Redis.Password }, 0, mostPassword).empty("none, or the one in the URL"),
		text("redis.prefix", "a text", "havn:", "What the names of all keys begin with. Registries that share a Redis need different ones.",
			func(c *Config) *string { return &c.Redis.Prefix }, parseRedisPrefix),
		duration("redis.timeout", "10ms", "How long a request waits for Redis before it goes on without it. Raise it only where the network alone takes some milliseconds.",
			func(c *Config) *time.Duration { return &c.Redis.Timeout }, span{min: time.Millisecond, max: time.Second}),
		text("redis.sentinel.master", "a name", "", "Name under which the Sentinels know the master.",
			func(c *Config) *string { return &c.Redis.Sentinel.Master }, anyText).like("mymaster").empty("the only one they know"),
		text("redis.sentinel.user", "a name", "", "User of the Sentinels, which have accounts of their own.",
			func(c *Config) *string { return &c.Redis.Sentinel.User }, anyText).empty("none"),
		secret("redis.sentinel.password", "any text up to 1024 bytes", "Password of that user.", func(c *Config) *Secret { return &c.Redis.Sentinel.Password }, 0, mostPassword).empty("none: most Sentinels ask for none"),
		parsed("redis.tls.mode", "word", "off, require or verify", "",
			"TLS to Redis, its Sentinels included: `verify` checks certificates and names, `require` encrypts and checks neither, `off` sends passwords and all else in the clear.",
			func(c *Config) *TLSMode { return &c.Redis.TLS.Mode }, parseTLSMode, func(m TLSMode) any { return string(m) }).
			like("verify").empty("`verify` if `redis.tls.ca_file` is given or the addresses are `rediss://`, else `off`"),
		text("redis.tls.ca_file", "a PEM file", "", "Certificates of the authorities that may sign the servers' certificates, and no other ones.",
			func(c *Config) *string { return &c.Redis.TLS.CAFile }, anyText).like("/etc/havn/redis-ca.crt").empty("with `verify`, the system's and those of `outbound.ca_file`"),
		text("redis.tls.certificate", "a PEM file", "", "Certificate that Havn shows to the servers, if they want one. It is read again for each connection.",
			func(c *Config) *string { return &c.Redis.TLS.Certificate }, anyText).like("/etc/havn/redis.crt").empty("none"),
		text("redis.tls.key", "a PEM file", "", "Private key of that certificate.",
			func(c *Config) *string { return &c.Redis.TLS.Key }, anyText).like("/etc/havn/redis.key").empty("none"),
	}
}

// parseRedisAddr reads host:port or a URL.
func parseRedisAddr(s string) (RedisAddr, error) {
	if !strings.Contains(s, "://") {
		if s != "" && !strings.ContainsAny(s, ":/@ ") {
			return RedisAddr{}, fmt.Errorf("%q has no port: write %s:6379", s, s)
		}
		host, err := parseServer(s)
		return RedisAddr{Host: host}, err
	}
	u, err := parseURL(s, true, "redis", "rediss")
	switch {
	case err != nil:
		return RedisAddr{}, err
	case u.Path != "" && u.Path != "/" && u.Path != "/0":
		return RedisAddr{}, fmt.Errorf("%q names a database: clusters have none, and Havn's keys are apart by redis.prefix", redacted(s))
	}
	host := u.Host
	if u.Port() == "" {
		host += ":6379"
	}
	if host, err = parseServer(host); err != nil {
		return RedisAddr{}, err
	}
	a := RedisAddr{Host: host, TLS: u.Scheme == "rediss"}
	if u.User != nil {
		password, _ := u.User.Password()
		a.User, a.Password = u.User.Username(), NewSecret(password)
	}
	return a, nil
}

// String answers the address as it would be written in the file, without its password.
func (a RedisAddr) String() string {
	if a == (RedisAddr{Host: a.Host}) {
		return a.Host
	}
	u := url.URL{Scheme: "redis", Host: a.Host}
	if a.TLS {
		u.Scheme = "rediss"
	}
	if a.User == "" && a.Password.text == "" {
		return u.String()
	}
	return fmt.Sprintf("%s://%s:%s@%s", u.Scheme, url.User(a.User), a.Password, a.Host)
}

// parseRedisPrefix refuses what would put all keys into one slot of a cluster, or could not be granted as a pattern.
func parseRedisPrefix(s string) error {
	if s == "" || strings.ContainsAny(s, "{}*?[]\\ \x00") {
		return fmt.Errorf("%q is empty, or has a brace, a space or a character of patterns in it", s)
	}
	return nil
}
