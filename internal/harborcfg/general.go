package harborcfg

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/config"
)

// What Harbor's own file has before anybody edits it.
const (
	sampleHost     = "reg.mydomain.com"
	samplePassword = "Harbor12345"
)

// address reads what clients call the registry, where it listens, and its certificate.
func (r *reading) address() {
	scheme := r.value("ui_url_protocol")
	switch scheme {
	case "":
		scheme = "http"
	case "http", "https":
	default:
		r.wrong("ui_url_protocol", "http.public_url", always, "is neither http nor https", "http or https")
		return
	}
	port := map[string]string{"http": "80", "https": "443"}[scheme]
	switch host := r.value("hostname"); host {
	case "":
		r.says("hostname", Ignored, "is empty: clients may use any name")
	case sampleHost:
		r.wrong("hostname", "http.public_url", always, "is still that of Harbor's sample", "the name or address that clients use")
	default:
		if r.give("hostname", "http.public_url", always, scheme+"://"+host) {
			if _, own, err := net.SplitHostPort(host); err == nil && own != "" {
				port = own
			}
		}
	}
	if r.entries["hostname"] != nil || r.entries["ui_url_protocol"] != nil {
		r.give("ui_url_protocol", "http.addr", always, ":"+port)
	}
	r.certificate(scheme, "ssl_cert", "http.tls.certificate")
	r.certificate(scheme, "ssl_cert_key", "http.tls.key")
	if url := r.value("admiral_url"); url != "" && url != "NA" {
		r.warns("admiral_url", "this one names one")
	}
	r.caFile()
}

// certificate reads a file of the certificate's.
func (r *reading) certificate(scheme, from, havn string) {
	file := r.value(from)
	switch {
	case scheme == "http":
		r.says(from, Ignored, "is not used with ui_url_protocol = http, in Harbor neither")
	case file == "":
		r.wrong(from, havn, always, "is not set, and ui_url_protocol is https", "the path of a PEM file")
	default:
		r.give(from, havn, always, file)
	}
}

// caFile is a key of Harbor 1.6. Without it, UAA's authority is the one that has to be trusted.
func (r *reading) caFile() {
	from := ""
	for _, name := range []string{"registry_custom_ca_bundle", "uaa_ca_cert", "uaa_ca_root"} {
		file := r.value(name)
		switch {
		case file == "":
			r.says(name, Ignored, "is empty")
		case name != "registry_custom_ca_bundle" && r.value("auth_mode") != "uaa_auth":
			r.says(name, Ignored, "is not used without auth_mode = uaa_auth, in Harbor neither")
		case from != "":
			r.says(name, Ignored, "Havn has one file of authorities, and takes that of %s: put both into it", from)
			r.warns(name, "authorities of two files are to be put into one")
		default:
			from = name
			r.give(name, "outbound.ca_file", always, file)
		}
	}
}

// people reads the first password, how long tokens live, and who is let in.
func (r *reading) people() {
	switch password := r.value("harbor_admin_password"); password {
	case "":
		r.says("harbor_admin_password", Ignored, "is empty: the first start makes a password")
	default:
		if r.give("harbor_admin_password", "admin.password", always, password) && password == samplePassword {
			r.warns("harbor_admin_password", "it is that of Harbor's sample, which everybody knows")
		}
	}
	if minutes := r.value("token_expiration"); minutes == "" {
		r.says("token_expiration", Ignored, "is empty: tokens live as long as by default")
	} else if n, err := strconv.Atoi(minutes); err != nil || n < 1 {
		r.wrong("token_expiration", "settings.token_expiration", always, "is not a number of minutes", "a whole number, like 30")
	} else {
		r.give("token_expiration", "settings.token_expiration", always, strconv.Itoa(n))
	}
	r.identity()
}

// afterMySQL reports whether the file is Harbor's 1.6 or later, whose database is PostgreSQL.
func (r *reading) afterMySQL() bool {
	major, rest, _ := strings.Cut(r.value("_version"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	first, err := strconv.Atoi(major)
	second, minorErr := strconv.Atoi(minor)
	return err == nil && minorErr == nil && (first > 1 || first == 1 && second >= 6)
}

// database reads the database. That of Harbor's own container is not there without Harbor: then Havn's own default is used, SQLite.
func (r *reading) database() {
	engine, port := string(config.MySQL), "3306"
	if r.afterMySQL() {
		engine, port = string(config.Postgres), "5432"
	}
	names := []string{"db_host", "db_port", "db_user", "db_password"}
	host := r.value("db_host")
	switch host {
	case "":
		for _, name := range names {
			if r.value(name) != "" {
				r.wrong(name, "database.hosts", always, "is set, and db_host is not", "db_host too, or neither")
			}
		}
		return
	case "mysql", "postgresql", "harbor-db":
		for _, name := range names {
			r.says(name, Ignored, "is about the database in Harbor's own container: without a database.engine of its own, Havn keeps its index in SQLite, on one node")
		}
		return
	}
	if own := r.value("db_port"); own != "" {
		port = own
	}
	if !r.give("db_host", "database.engine", always, engine) {
		return
	}
	only := config.Condition{Key: "database.engine", Value: engine}
	r.give("db_host", "database.hosts", only, net.JoinHostPort(strings.Trim(host, "[]"), port))
	if row := r.rows["db_port"]; row != nil {
		row.Havn = []string{"database.hosts"}
	}
	if user := r.value("db_user"); user != "" {
		r.give("db_user", "database.user", only, user)
	}
	if password := r.value("db_password"); password != "" {
		r.give("db_password", "database.password", only, password)
	}
	r.clusterSecret(only)
}

// clusterSecret reads where the secret is that all nodes of Harbor share: with a database of their own, nodes of Havn need one too.
func (r *reading) clusterSecret(only config.Condition) {
	folder := r.value("secretkey_path")
	if folder == "" {
		return
	}
	file := filepath.Join(folder, "secretkey")
	if !r.exists(file) {
		r.says("secretkey_path", Ignored, "there is no %s here, so Havn makes a cluster.secret of its own at the first start, which every further node needs", file)
		return
	}
	r.says("secretkey_path", Used, "the secret that all nodes share: Havn seals secrets in its database with it, and reads it there at every start")
	r.give("secretkey_path", "cluster.secret_file", only, file)
}

// server is a name or address with a port; what is not, is not repeated: it may hold a password.
var server = regexp.MustCompile(`^[A-Za-z0-9_.:\[\]-]+:[0-9]+$`)

// redisAddress answers where Redis is and its password, and which key says so: `redis_url`, which is `host:port[,weight,password,db]` or a URL, or the keys
// that Harbor 1.6 has instead.
func (r *reading) redisAddress() (from, address, password string) {
	if host := r.value("redis_host"); host != "" && r.value("redis_url") == "" {
		port := r.value("redis_port")
		if port == "" {
			port = "6379"
		}
		return "redis_host", net.JoinHostPort(strings.Trim(host, "[]"), port), r.value("redis_password")
	}
	parts := strings.Split(r.value("redis_url"), ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	if len(parts) > 4 {
		r.wrong("redis_url", "redis.addrs", always, "has more than four parts: a password can't hold a comma, in Harbor neither", "host:port,weight,password,db")
		return "redis_url", "", ""
	}
	return "redis_url", parts[0], append(parts, "", "")[2]
}

// redis reads where Redis is. That of Harbor's own container is not there without Harbor.
func (r *reading) redis() {
	from, address, password := r.redisAddress()
	host, _, _ := strings.Cut(address, ":")
	isURL := strings.HasPrefix(address, "redis://") || strings.HasPrefix(address, "rediss://")
	names := []string{"redis_url", "redis_host", "redis_port", "redis_password"}
	switch {
	case address == "":
		if row := r.rows[from]; row != nil && row.Fate != Wrong {
			r.says(from, Ignored, "is empty: each node has its own memory alone")
		}
		return
	case host == "redis" && !isURL:
		for _, name := range names {
			r.says(name, Ignored, "is about Redis in Harbor's own container, which Havn does not need")
		}
		return
	case !isURL && !server.MatchString(address):
		r.wrong(from, "redis.addrs", always, "does not begin with host:port", "host:port[,weight,password,db]")
		return
	}
	if !r.give(from, "redis.addrs", always, address) {
		return
	}
	if row := r.rows["redis_port"]; row != nil {
		row.Havn = []string{"redis.addrs"}
	}
	if password == "" {
		r.says("redis_password", Ignored, "is empty")
		return
	}
	if from == "redis_host" {
		from = "redis_password"
	}
	// A password belongs to its address: it does not go to another one that is configured elsewhere.
	r.give(from, "redis.password", config.Condition{Key: "redis.addrs", Value: fmt.Sprint([]string{address})}, password)
}
