package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const (
	// leastConnections keeps one for what must go on (the heartbeat) beside one that is slow.
	leastConnections = 2
	mostConnections  = 10000
	// defaultConnections is enough for the requests of a few cores, and leaves room for several nodes of Havn on a server that allows 100 to 151.
	defaultConnections = 24
	mostPassword       = 1024
)

func databaseKeys() []key {
	return []key{
		choice("database.engine", "sqlite", "Database that holds the index. `sqlite` is a file, for one node; `mysql` is MariaDB, MySQL or a Galera cluster of either, and `postgres` is PostgreSQL: several nodes of Havn may use one of these at once, each with a `data_dir` of its own and all with the same blob store.",
			func(c *Config) *Engine { return &c.Database.Engine }, []string{"sqlite", "mysql", "postgres"}, []Engine{SQLite, MySQL, Postgres}, equal),
		text("database.path", "a file on a local disk", "", "SQLite's file. Network file systems are refused: their locks do not hold.",
			func(c *Config) *string { return &c.Database.Path }, anyText).like("/var/lib/havn/havn.db").empty("`havn.db` in `data_dir`"),
		listed("database.hosts", "list of addresses", "host:port of database servers; IPv6 in brackets", value{},
			"Servers of the database: all nodes of a Galera cluster, a primary and its standbys, or one address of a balancer. The first healthy one is written to, so give every node of Havn the same order. "+
				"Servers of MariaDB or MySQL that are no Galera cluster (nor one of group replication) and replicate to each other are one address: the one that may be written to, or what switches between them.",
			func(c *Config) *[]string { return &c.Database.Hosts }, parseServer, func(s string) string { return s }).
			like("10.212.29.38:3306,10.212.29.39:3306,10.212.29.40:3306").empty("none; needed for mysql and postgres"),
		toggle("database.discover", true, "Ask the database for its other servers, and remember them in `data_dir`: then one address in `database.hosts` is enough, also when that server is down at a start.",
			func(c *Config) *bool { return &c.Database.Discover }),
		text("database.name", "a name", "havn", "Database on the servers, which Havn must have for itself. It must be there; Havn makes its tables.",
			func(c *Config) *string { return &c.Database.Name }, someText),
		text("database.user", "a name", "havn", "User of the database. It needs every right in that database, and none elsewhere.",
			func(c *Config) *string { return &c.Database.User }, someText),
		secret("database.password", "any text up to 1024 bytes", "Password of that user.", func(c *Config) *Secret { return &c.Database.Password }, 0, mostPassword),
		parsed("database.tls.mode", "word", "off, require or verify", "",
			"TLS to the database: `verify` checks the server's certificate and name, `require` encrypts and checks neither, `off` sends passwords and all else in the clear.",
			func(c *Config) *TLSMode { return &c.Database.TLS.Mode }, parseTLSMode, func(m TLSMode) any { return string(m) }).
			like("verify").empty("`verify` if `database.tls.ca_file` is given, else `off`"),
		text("database.tls.ca_file", "a PEM file", "", "Certificates of the authorities that may sign the servers' certificates, and no other ones.",
			func(c *Config) *string { return &c.Database.TLS.CAFile }, anyText).like("/etc/havn/database-ca.crt").empty("with `verify`, the system's and those of `outbound.ca_file`"),
		text("database.tls.certificate", "a PEM file", "", "Certificate that Havn shows to the servers, if they want one. It is read again for each connection.",
			func(c *Config) *string { return &c.Database.TLS.Certificate }, anyText).like("/etc/havn/database.crt").empty("none"),
		text("database.tls.key", "a PEM file", "", "Private key of that certificate.",
			func(c *Config) *string { return &c.Database.TLS.Key }, anyText).like("/etc/havn/database.key").empty("none"),
		number("database.max_connections", defaultConnections, "Connections that this node may have to the database. The server must allow as many for each node of Havn, and some more.",
			func(c *Config) *int { return &c.Database.MaxConnections }, leastConnections, mostConnections),
	}
}

// parseServer checks host:port of a server to connect to.
func parseServer(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if strings.Contains(s, "@") {
		return "", fmt.Errorf("%q is not host:port", redacted(s))
	}
	if err != nil {
		if ip, ipErr := netip.ParseAddr(s); ipErr == nil && ip.Is6() {
			return "", fmt.Errorf("%q has no port: write [%s]:3306, or [%s]:5432 for PostgreSQL", s, s, s)
		}
		if s != "" && !strings.ContainsAny(s, ":/@ ") {
			return "", fmt.Errorf("%q has no port: write %s:3306, or %s:5432 for PostgreSQL", s, s, s)
		}
		return "", fmt.Errorf("%q is not host:port", redacted(s))
	}
	if host == "" {
		return "", fmt.Errorf("%q names no host", s)
	}
	if n, portErr := strconv.ParseUint(port, 10, 16); portErr != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return "", fmt.Errorf("%q: the port %q is not a number from 1 to 65535", s, port)
	}
	return parseAddr(s)
}

func parseTLSMode(s string) (TLSMode, error) {
	switch m := TLSMode(s); m {
	case "", TLSOff, TLSRequire, TLSVerify:
		return m, nil
	}
	return "", fmt.Errorf("%q is not one of them", s)
}
