package engines

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/sqldb"
)

// encrypted is a server that takes no connection without TLS, and a user of it who needs a certificate.
type encrypted struct {
	cfg                  sqldb.Config
	ca, certificate, key string
	certified            string
}

func TestTLSToMariaDB(t *testing.T) {
	t.Parallel()
	m, err := lab.StartMariaDBWithTLS(t.Context(), "")
	need(t, err)
	stopAfter(t, m.Stop)
	need(t, m.Run(t.Context(), "CREATE USER "+lab.NeedsCertificate+" IDENTIFIED BY '"+lab.Password+"' REQUIRE X509; GRANT ALL ON "+lab.Database+".* TO "+lab.NeedsCertificate))
	encrypts(t, encrypted{
		cfg: sqldb.Config{Engine: sqldb.MySQL, Hosts: []string{m.Host}, User: lab.User, Password: lab.Password, Database: lab.Database},
		ca:  m.CA, certificate: m.Certificate, key: m.Key, certified: lab.NeedsCertificate,
	})
}

func TestTLSToPostgreSQL(t *testing.T) {
	t.Parallel()
	p, err := lab.StartPostgresWithTLS(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	need(t, p.Run(t.Context(), "CREATE USER "+lab.NeedsCertificate+" PASSWORD '"+lab.Password+"'"))
	encrypts(t, encrypted{
		cfg: sqldb.Config{Engine: sqldb.Postgres, Hosts: []string{p.Host}, User: lab.User, Password: lab.Password, Database: lab.Database},
		ca:  p.CA, certificate: p.Certificate, key: p.Key, certified: lab.NeedsCertificate,
	})
}

func encrypts(t *testing.T, e encrypted) {
	t.Helper()
	pem, err := os.ReadFile(e.ca)
	need(t, err)
	ours := x509.NewCertPool()
	ours.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(e.certificate, e.key)
	need(t, err)
	for _, c := range []struct {
		name string
		user string
		tls  *tls.Config
		hint string // of the refusal; "": it works
	}{
		{"verified", lab.User, &tls.Config{RootCAs: ours}, ""},
		{"not verified", lab.User, &tls.Config{InsecureSkipVerify: true}, ""},
		{"with a certificate", e.certified, &tls.Config{RootCAs: ours, Certificates: []tls.Certificate{pair}}, ""},
		{"without the certificate that is wanted", e.certified, &tls.Config{RootCAs: ours}, "database"},
		{"an authority that is not known", lab.User, &tls.Config{RootCAs: x509.NewCertPool()}, "ca_file"},
		{"a certificate that is out of date", lab.User, &tls.Config{RootCAs: ours, Time: func() time.Time { return time.Now().AddDate(1, 0, 0) }}, "out of date"},
		{"without TLS", lab.User, nil, "database.tls.mode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := e.cfg
			cfg.User, cfg.TLS = c.user, c.tls
			db, openErr := sqldb.Open(t.Context(), cfg)
			if openErr == nil {
				need(t, db.Close())
			}
			switch {
			case c.hint == "" && openErr != nil:
				t.Errorf("%v; %s", openErr, fail.HintOf(openErr))
			case c.hint != "" && openErr == nil:
				t.Error("the server let us in")
			case c.hint != "" && !strings.Contains(fail.HintOf(openErr), c.hint):
				t.Errorf("the hint is %q, of %v", fail.HintOf(openErr), openErr)
			}
		})
	}
}

func TestTLSIsNotGivenUpWhereTheServerHasNone(t *testing.T) {
	t.Parallel()
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	stopAfter(t, m.Stop)
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	for engine, host := range map[sqldb.Engine]string{sqldb.MySQL: m.Host, sqldb.Postgres: p.Host} {
		db, openErr := sqldb.Open(t.Context(), sqldb.Config{
			Engine: engine, Hosts: []string{host}, User: lab.User, Password: lab.Password, Database: lab.Database, TLS: &tls.Config{InsecureSkipVerify: true},
		})
		if openErr == nil {
			need(t, db.Close())
			t.Errorf("%s: connected without TLS", engine)
		} else if !strings.Contains(fail.HintOf(openErr), "database.tls.mode") {
			t.Errorf("%s: the hint is %q, of %v", engine, fail.HintOf(openErr), openErr)
		}
	}
}
