package config_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/havn-registry/havn/internal/config"
)

func TestTheAuthoritiesOfOutboundCountForTheDatabaseAndRedisToo(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	authority := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusts := func(conf *tls.Config) bool {
		t.Helper()
		if conf == nil {
			t.Fatal("no TLS")
		}
		roots := conf.RootCAs
		if roots == nil {
			roots = x509.NewCertPool() // the system's, which do not know the test's
		}
		_, err := server.Certificate().Verify(x509.VerifyOptions{Roots: roots, DNSName: "example.com"})
		return err == nil
	}
	base := []string{
		"HAVN_DATABASE_ENGINE=postgres", "HAVN_DATABASE_HOSTS=db:5432", "HAVN_DATABASE_TLS_MODE=verify", "HAVN_REDIS_ADDRS=rediss://cache:6379", "HAVN_CLUSTER_SECRET=sixteen bytes or more",
	}
	for _, c := range []struct {
		env                      []string
		database, redis, refused bool
	}{
		{nil, false, false, false},
		{[]string{"HAVN_OUTBOUND_CA_FILE=" + authority}, true, true, false},
		{[]string{"HAVN_DATABASE_TLS_CA_FILE=" + authority}, true, false, false},
		{[]string{"HAVN_OUTBOUND_CA_FILE=" + authority + ".absent"}, false, false, true},
	} {
		conf, _, err := config.Load(config.Source{Env: append(append([]string{}, base...), c.env...)})
		if err != nil {
			t.Fatal(err)
		}
		database, databaseErr := conf.DatabaseTLS()
		redis, redisErr := conf.RedisTLS()
		if c.refused {
			if databaseErr == nil || redisErr == nil {
				t.Errorf("%v: %v, %v", c.env, databaseErr, redisErr)
			}
			continue
		}
		if databaseErr != nil || redisErr != nil {
			t.Fatalf("%v: %v, %v", c.env, databaseErr, redisErr)
		}
		if d, r := trusts(database), trusts(redis); d != c.database || r != c.redis {
			t.Errorf("%v: the database's is trusted %v, Redis' %v", c.env, d, r)
		}
	}
}
