package sqldb

import (
	"crypto/tls"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAServerThatWantsACertificateIsToldApart(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(nil)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12} //nolint:gosec // with 1.2 the handshake itself fails
	s.StartTLS()
	defer s.Close()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the certificate is not what is tried
	c, err := d.DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err == nil {
		t.Fatal(c.Close())
	}
	for _, p := range []product{newProduct(&Config{Engine: MySQL}), newProduct(&Config{Engine: Postgres})} {
		if m := p.classify(err); !strings.Contains(m.hint, "database.tls.certificate") || m.reason != "" {
			t.Errorf("%v means %+v", err, m)
		}
	}
}
