package config

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// keys is the table, made once: every key there is, in the order of the reference.
var keys = sync.OnceValue(func() []key {
	var all []key
	for _, section := range [][]key{
		generalKeys(), httpKeys(), timeoutKeys(), logKeys(), databaseKeys(), storeKeys(), s3Keys(), swiftKeys(), radosKeys(), azureKeys(), redisKeys(), registryKeys(), liveKeys(), sweepKeys(), outboundKeys(),
	} {
		all = append(all, section...)
	}
	return all
})

func generalKeys() []key {
	return []key{
		text("data_dir", "a directory", "./havn-data", "Directory for everything that Havn keeps on this machine. One process may use it at a time. It is made, with mode 0700, if it is not there.",
			func(c *Config) *string { return &c.DataDir }, someText).like("/var/lib/havn").common(),
		secret("admin.password", "at most 1024 bytes", "Password of the user `admin`. It counts at the first start only; later it has no effect.",
			func(c *Config) *Secret { return &c.Admin.Password }, 1, 1024).empty("one is made at the first start and shown, or written to a file whose path is logged"),
		secret("cluster.secret", "16 bytes or more", "Seals the secrets that the database holds, like the keys that sign tokens, so that a copy of the database is not enough to make tokens. All nodes that share a database need the same, and it can't be changed once the database is used. Make it by chance: `openssl rand -hex 32`.",
			func(c *Config) *Secret { return &c.Cluster.Secret }, 16, maxSecret).empty("the one in the file `cluster-secret` in `data_dir`, which the first start makes: keep it with the backups of the database, and copy it to further nodes"),
		duration("ha.stale_tags", "0", "While the database is out of reach (no quorum, or this node is cut off from it), answer a pull by tag with what this node knew of the tag, if it last read it from the database within this time. The tag may have been moved or deleted meanwhile, through other nodes too, so such an answer bears the headers `Havn-Stale` (its age in seconds) and `Warning`, and is logged. Nothing else changes: who pulls needs a token that is good, pushes are refused, and as soon as the database answers, so do tags. It has no effect with SQLite.",
			func(c *Config) *time.Duration { return &c.HA.StaleTags }, span{min: time.Second, max: day, off: "tags are refused with 503 and Retry-After"}),
	}
}

func httpKeys() []key {
	return []key{
		listed("http.addr", "list of addresses", "host:port; :port for every address of the machine, 0.0.0.0:port for those of IPv4 alone; IPv6 in brackets; port 0 for any free one", value{"127.0.0.1:5000"},
			"Addresses to listen at.", func(c *Config) *[]string { return &c.HTTP.Addr }, parseAddr, func(s string) string { return s }).
			like("127.0.0.1:5000,[::1]:5000").common(),
		parsed("http.public_url", "URL", "http:// or https://, a host, no path", "", "What clients call this registry. It names the token service in challenges and is the base of links.",
			func(c *Config) **url.URL { return &c.HTTP.PublicURL }, func(s string) (*url.URL, error) { return parseURL(s, false, "https", "http") }, writeURL).
			like("https://registry.example.com").empty("the Host and scheme of each request, as seen or as a trusted proxy forwards them").common(),
		text("http.tls.certificate", "a PEM file", "", "Certificate, followed by its chain. It is loaded again when the file changes, and on SIGHUP.",
			func(c *Config) *string { return &c.HTTP.TLS.Certificate }, anyText).like("/etc/havn/tls.crt").empty("plain HTTP").common(),
		text("http.tls.key", "a PEM file", "", "Private key of the certificate.",
			func(c *Config) *string { return &c.HTTP.TLS.Key }, anyText).like("/etc/havn/tls.key").empty("plain HTTP").common(),
		choice("http.tls.min_version", "1.2", "Oldest version of TLS that clients may use.", func(c *Config) *uint16 { return &c.HTTP.TLS.MinVersion },
			[]string{"1.2", "1.3"}, []uint16{tls.VersionTLS12, tls.VersionTLS13}, equal),
		listed("http.trusted_proxies", "list of networks", "addresses or networks, like 10.0.0.0/8", value{},
			"Proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host headers are believed (the header Forwarded is not read). From anybody else these headers are ignored.",
			func(c *Config) *[]netip.Prefix { return &c.HTTP.TrustedProxies }, parsePrefix, netip.Prefix.String).like("10.0.0.0/8,fd00::/8").empty("none"),
	}
}

func timeoutKeys() []key {
	return []key{
		duration("http.header_timeout", "10s", "A client that has not sent its whole header by then is cut off.",
			func(c *Config) *time.Duration { return &c.HTTP.HeaderTimeout }, span{min: time.Second, max: 10 * time.Minute}),
		duration("http.progress_timeout", "1m", "A request or answer of which no byte moves for so long is cut off. However slow a blob is otherwise, it may take hours; forms, manifests and whatever nobody was let in for must come at 1 KiB a second after that time.",
			func(c *Config) *time.Duration { return &c.HTTP.ProgressTimeout }, span{min: time.Second, max: time.Hour}),
		duration("http.idle_timeout", "2m", "A connection without a request is closed after it.",
			func(c *Config) *time.Duration { return &c.HTTP.IdleTimeout }, span{min: time.Second, max: time.Hour}),
		size("http.max_header_bytes", "64KiB", "Largest header of a request; larger ones get 431.",
			func(c *Config) *int64 { return &c.HTTP.MaxHeaderBytes }, extent{min: 4 * kib, max: mib}),
		number("http.max_connections", 10000, "Connections that may be open at once. Further ones wait, and those that have no request end for them.",
			func(c *Config) *int { return &c.HTTP.MaxConnections }, 16, 1000000),
		number("http.max_connections_per_address", 2500, "Connections that one address (with IPv6 a /64) may have open at once; further ones are closed. For http.trusted_proxies it does not count.",
			func(c *Config) *int { return &c.HTTP.MaxConnectionsPerAddress }, 1, 1000000),
		duration("http.drain_delay", "0", "At a stop, how long requests are still taken while /readyz already answers 503, so that balancers notice.",
			func(c *Config) *time.Duration { return &c.HTTP.DrainDelay }, span{min: time.Second, max: 5 * time.Minute, off: "none"}),
		duration("http.drain_timeout", "30s", "At a stop, how long requests under way may take to finish; then they are cut off.",
			func(c *Config) *time.Duration { return &c.HTTP.DrainTimeout }, span{min: time.Second, max: day, off: "cut off at once"}),
		parsed("metrics.addr", "address", "host:port; port 0 for any free one", "", "Second address, for /metrics (Prometheus), /debug/pprof/, /healthz and /readyz. It asks for no password: keep it away from strangers.",
			func(c *Config) *string { return &c.Metrics.Addr }, func(s string) (string, error) {
				if s == "" {
					return "", nil
				}
				return parseAddr(s)
			}, func(s string) any { return s }).like("127.0.0.1:5001").empty("no such address").common(),
	}
}

func logKeys() []key {
	return []key{
		choice("log.level", "info", "Least important log lines that are written.", func(c *Config) *slog.Level { return &c.Log.Level },
			[]string{"debug", "info", "warn", "error"}, []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}, equal).common(),
		choice("log.format", "text", "Form of log lines, which go to standard error.", func(c *Config) *LogFormat { return &c.Log.Format },
			[]string{"text", "json"}, []LogFormat{Text, JSON}, equal).common(),
		toggle("log.access", true, "Write one line for each request, whatever log.level is.", func(c *Config) *bool { return &c.Log.Access }),
	}
}

func storeKeys() []key {
	return []key{
		choice("storage.driver", "filesystem", "Where blobs are kept: in a directory; in a bucket behind the S3 API, Google's (gcs) and Alibaba's (oss) among them; in containers of Swift; in a pool of Ceph (rados), without a gateway, by a program that is built for it; in a container of Azure Blob Storage; or in memory for a trial (everything pushed is gone at the end, the index too).",
			func(c *Config) *Driver { return &c.Storage.Driver }, []string{"filesystem", "memory", "s3", "gcs", "oss", "swift", "rados", "azure"}, []Driver{Filesystem, Memory, S3Driver, GCS, OSS, SwiftDriver, RADOSDriver, AzureDriver}, equal),
		text("storage.filesystem.path", "a directory", "", "Directory of the blobs. It may be on a shared file system, but must be able to flush files and directories.",
			func(c *Config) *string { return &c.Storage.Filesystem.Path }, anyText).like("/srv/havn/blobs").empty("`blobs` in `data_dir`"),
		text("storage.prefix", "words of letters, digits, - _ . joined by /", "", "Begins the name of every object in a bucket, container or pool, so that several registries or other programs can share it.",
			func(c *Config) *string { return &c.Storage.Prefix }, prefixText).like("registry/prod").empty("none"),
		size("storage.low_disk", "512MiB", "When less space than this is free in the blob store, or would be with what a push says that it brings, pushes are refused with 507; one whose length nobody knows ends when that is reached. Pulls and deletes go on.",
			func(c *Config) *int64 { return &c.Storage.LowDisk }, extent{min: mib, max: 1024 * tib, off: "no watermark"}),
		choice("storage.redirect", "off", "Send clients that pull a blob to the store itself, with a signed URL that is good for five minutes. They must be able to reach it, and its bytes no longer go through Havn. Blobs of several objects go through Havn all the same.",
			func(c *Config) *bool { return &c.Storage.Redirect }, []string{"off", "on"}, []bool{false, true}, equal),
		listed("storage.redirect_networks", "list of networks", "addresses or networks, like 10.0.0.0/8", value{},
			"Clients that are sent to the store, with storage.redirect on: those who can reach it.",
			func(c *Config) *[]netip.Prefix { return &c.Storage.RedirectNetworks }, parsePrefix, netip.Prefix.String).like("10.0.0.0/8,fd00::/8").empty("all clients"),
		text("storage.cache.path", "a directory on a local disk", "", "Directory for copies of blobs that are pulled through this node, so that those that are pulled often come from a local disk. It is made if it is not there; one process may use it at a time. Nothing in it needs a backup.",
			func(c *Config) *string { return &c.Storage.Cache.Path }, anyText).like("/var/cache/havn").empty("no copies"),
		size("storage.cache.size", "10GiB", "What the copies in storage.cache.path may take in all. Blobs of more than half of it are not copied. What was not read for longest goes first.",
			func(c *Config) *int64 { return &c.Storage.Cache.Size }, extent{min: mib, max: 1024 * tib}),
	}
}

func registryKeys() []key {
	return []key{
		toggle("registry.sparse_index", false, "Accept an index (multi-platform image) some of whose manifests are absent.", func(c *Config) *bool { return &c.Registry.SparseIndex }),
		toggle("projects.create_on_push", true, "A push by an administrator makes a project that is not there, private.", func(c *Config) *bool { return &c.Projects.CreateOnPush }),
		duration("uploads.expire_after", "24h", "An upload that had no byte for so long is removed.",
			func(c *Config) *time.Duration { return &c.Uploads.ExpireAfter }, span{min: time.Minute, max: 90 * day}),
		number("uploads.max_per_subject", 256, "Upload bodies and manifests that one user may send to one node at once; more get 429. Each takes half a MiB of memory, a manifest what it has.", func(c *Config) *int { return &c.Uploads.MaxPerSubject }, 1, 100000),
		size("uploads.max_object_size", "512MiB", "Largest object in the blob store. A larger blob is cut into several, at most 10,000, which is also what bounds the size of a blob.",
			func(c *Config) *int64 { return &c.Uploads.MaxObjectSize }, extent{min: mib, max: 5 * tib}),
	}
}

func sweepKeys() []key {
	return []key{
		duration("sweep.interval", "5m", "How often expired uploads and the objects of dead blobs are removed.",
			func(c *Config) *time.Duration { return &c.Sweep.Interval }, span{min: time.Second, max: 7 * day}),
		duration("sweep.orphan_interval", "24h", "How often the blob store is listed for objects that nothing names (a power cut may leave some).",
			func(c *Config) *time.Duration { return &c.Sweep.OrphanInterval }, span{min: time.Minute, max: 90 * day, off: "never"}),
		duration("sweep.safe_time", "24h", "How old an object that nothing names must be to be removed, and how long a blob that may be garbage is left alone. Longer than the longest push of one blob.",
			func(c *Config) *time.Duration { return &c.Sweep.SafeTime }, span{min: time.Minute, max: 365 * day}),
		duration("sweep.dead_grace", "24h", "How long the objects of a dead blob stay readable: longer than the longest pull of one blob, and than copying the blobs in a backup takes.",
			func(c *Config) *time.Duration { return &c.Sweep.DeadGrace }, span{min: time.Second, max: 365 * day}),
	}
}

func outboundKeys() []key {
	return []key{
		parsed("outbound.proxy", "URL", "http://, https:// or socks5://, a host", "", "Proxy for what Havn asks of others over HTTP: blob stores, identity providers and the collector of traces, but for what outbound.no_proxy names. Databases, Redis and the monitors of Ceph are reached directly. The environment's HTTPS_PROXY is not read.",
			func(c *Config) **url.URL { return &c.Outbound.Proxy }, func(s string) (*url.URL, error) { return parseURL(s, true, "http", "https", "socks5") }, writeURL).
			like("http://proxy.example.com:3128").empty("direct connections"),
		listed("outbound.no_proxy", "list of hosts and networks", "host names (example.com: with all below it; .example.com: what is below it alone) and IP addresses, each maybe with :port; networks, like 10.0.0.0/8; * for everything", value{},
			"What is reached without outbound.proxy. Networks count for addresses, not for names: what they lead to is not looked up for it. `localhost` and loopback addresses are always reached directly, since a proxy can't reach this machine's, and so are link-local addresses by the clients of blob stores. The environment's NO_PROXY is not read.",
			func(c *Config) *[]string { return &c.Outbound.NoProxy }, parseNoProxy, func(s string) string { return s }).
			like("s3.example.com,.corp.example.com,10.0.0.0/8").empty("localhost and loopback addresses alone"),
		text("outbound.ca_file", "a PEM file", "", "Certificates of authorities that are trusted in addition to the system's, for every connection that Havn makes to others.",
			func(c *Config) *string { return &c.Outbound.CAFile }, anyText).like("/etc/havn/ca.crt").empty("the system's alone"),
		parsed("tracing.otlp_endpoint", "URL", "http:// or https://, a host and maybe a path", "", "OpenTelemetry collector (OTLP over HTTP) to send traces to.",
			func(c *Config) **url.URL { return &c.Tracing.OTLPEndpoint }, func(s string) (*url.URL, error) { return parseURL(s, true, "https", "http") }, writeURL).
			like("http://127.0.0.1:4318").empty("no traces, at no cost"),
		share("tracing.sample", "1", "Share of requests that are traced, unless the caller's traceparent header decides.", func(c *Config) *float64 { return &c.Tracing.Sample }),
		size("memory.limit", "36MiB", "Go's soft memory limit while nothing is under way; each request adds half a MiB. The collector works harder to stay below it. The environment's GOMEMLIMIT wins.",
			func(c *Config) *int64 { return &c.Memory.Limit }, extent{min: 16 * mib, max: 16 * tib, off: "no limit"}),
	}
}
