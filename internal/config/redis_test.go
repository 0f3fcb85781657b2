package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/config"
)

func TestRedisIsNamedByListOrURL(t *testing.T) {
	t.Parallel()
	type want struct {
		hosts, user, password string
		tls                   config.TLSMode
	}
	for body, w := range map[string]want{
		"addrs: 10.0.0.1:7001":                                               {"10.0.0.1:7001", "", "", config.TLSOff},
		"addrs: [10.0.0.1:7001, '[::1]:7002']":                               {"10.0.0.1:7001 [::1]:7002", "", "", config.TLSOff},
		"addrs: redis://cache.example.com":                                   {"cache.example.com:6379", "", "", config.TLSOff},
		"addrs: redis://:hush@cache:1/0":                                     {"cache:1", "", "hush", config.TLSOff},
		"addrs: rediss://havn:hu%2Csh@cache:1/":                              {"cache:1", "havn", "hu,sh", config.TLSVerify},
		"addrs: ['rediss://a:1', 'rediss://b:1']\n  user: u\n  password: p":  {"a:1 b:1", "u", "p", config.TLSVerify},
		"addrs: rediss://a:1\n  tls:\n    mode: require":                     {"a:1", "", "", config.TLSRequire},
		"addrs: a:1\n  tls:\n    ca_file: ca.crt":                            {"a:1", "", "", config.TLSVerify},
		"addrs: redis://u@a:1\n  password: p":                                {"a:1", "u", "p", config.TLSOff},
		"addrs: redis://:hush@a:1\n  user: u":                                {"a:1", "u", "hush", config.TLSOff},
		"addrs: redis://u:old@a:1\n  user: u\n  password: new":               {"a:1", "u", "new", config.TLSOff},
		"addrs: 127.0.0.1:1\n  mode: sentinel\n  sentinel:\n    master: one": {"127.0.0.1:1", "", "", config.TLSOff},
	} {
		c := load(t, config.Source{File: file(t, "redis:\n  "+body+"\n")})
		var hosts []string
		for _, a := range c.Redis.Addrs {
			hosts = append(hosts, a.Host)
		}
		user, password := c.RedisLogin()
		if got := (want{strings.Join(hosts, " "), user, password.Reveal(), c.RedisTLSMode()}); got != w {
			t.Errorf("%s: %+v, want %+v", body, got, w)
		}
		if all := fmt.Sprintf("%v %+v %#v %v", c, c, c.Redis, c.Settings()); strings.Contains(all, "hush") || strings.Contains(all, "hu,sh") {
			t.Errorf("the password is in %s", all)
		}
	}
	c := load(t, config.Source{Env: []string{"HAVN_REDIS_ADDRS=rediss://havn:hush@a:1,rediss://havn:hush@b:1"}})
	if got := fmt.Sprint(setting(t, c, "redis.addrs").Value); got != "[rediss://havn:***@a:1 rediss://havn:***@b:1]" {
		t.Errorf("shown as %s", got)
	}
}

func TestARedisThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"addrs: cache":                                            `"cache" has no port: write cache:6379`,
		"addrs: http://cache":                                     `does not begin with redis:// or rediss://`,
		"addrs: redis://a:1/3":                                    `names a database: clusters have none`,
		"addrs: redis://a:1?x=":                                   `has a query`,
		"addrs: redis://:hush@a:0":                                `"a:0": the port "0" is not a number`,
		"addrs: hush@a:1":                                         `"***@a:1" is not host:port`,
		"addrs: ['redis://a:1', 'rediss://b:1']":                  "havn.yaml:2: redis.addrs: says another scheme, user or password for b:1 than for a:1",
		"addrs: redis://u:p@a:1\n  user: v":                       `redis.user: is "v", and redis.addrs says "u"`,
		"addrs: rediss://a:1\n  tls:\n    mode: 'off'":            "redis.tls.mode: is off, and redis.addrs says rediss://",
		"addrs: a:1\n  tls:\n    certificate: x":                  "redis.tls.certificate: is set, and redis.tls.key is not",
		"addrs: a:1\n  tls:\n    mode: 'off'\n    ca_file: x":     "redis.tls.mode: is off, and files for TLS are given",
		"addrs: a:1\n  tls:\n    mode: require\n    ca_file: x":   "redis.tls.mode is require, which checks no certificate",
		"addrs: a:1\n  tls:\n    mode: maybe":                     "allowed: off, require or verify",
		"addrs: a:1\n  mode: cluster\n  sentinel:\n    master: x": "redis.sentinel.master: is set, and redis.mode is cluster",
		"addrs: a:1\n  mode: clustr":                              "did you mean cluster?",
		"addrs: a:1\n  prefix: '{x}'":                             "redis.prefix:",
		"addrs: a:1\n  timeout: 1h":                               "too long; allowed: 1ms to 1s",
	} {
		if got := refused(t, config.Source{File: file(t, "redis:\n  "+body+"\n")}).Error(); !strings.Contains(got, want) || strings.Contains(got, "hush") {
			t.Errorf("%s:\n got %s\nwant %s", body, got, want)
		}
	}
}

func TestProbeLooksAtTheFilesForRedis(t *testing.T) {
	t.Parallel()
	c := load(t, config.Source{Env: []string{"HAVN_REDIS_ADDRS=a:1", "HAVN_REDIS_TLS_CA_FILE=" + file(t, "none"), "HAVN_REDIS_TLS_CERTIFICATE=/nowhere/a", "HAVN_REDIS_TLS_KEY=/nowhere/b"}})
	p := c.Probe()
	if len(p) != 3 || !strings.Contains(p.Error(), "holds no certificate in PEM") || !strings.Contains(p.Error(), `redis.tls.key: "/nowhere/b": no such file`) {
		t.Errorf("%v", p)
	}
	if _, err := c.RedisTLS(); err == nil {
		t.Error("TLS without an authority that can be read")
	}
}
