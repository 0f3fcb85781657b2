package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/server"
)

// issue writes a self-signed certificate for 127.0.0.1 and localhost with a serial number, and its key.
func issue(t *testing.T, cert, key string, serial int64, notAfter time.Time) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	replace(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})))
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	mustWrite(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// served answers the serial number of the certificate that a server shows to a new connection.
func served(t *testing.T, r *running) int64 {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := d.DialContext(t.Context(), "tcp", r.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if closeErr := conn.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	}()
	c, ok := conn.(*tls.Conn)
	if !ok {
		t.Fatalf("%T", conn)
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func startTLS(t *testing.T, env ...string) (r *running, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	issue(t, cert, key, 1, time.Now().Add(90*24*time.Hour))
	c, data := configure(t, append(env, "HAVN_HTTP_TLS_CERTIFICATE="+cert, "HAVN_HTTP_TLS_KEY="+key)...)
	return startWith(t, server.Options{Config: c}, data), cert, key
}

func TestARenewedCertificateIsLoadedAndABrokenOneIsNot(t *testing.T) {
	t.Parallel()
	r, cert, key := startTLS(t)
	if n := served(t, r); n != 1 {
		t.Fatalf("serial %d", n)
	}
	issue(t, cert, key, 2, time.Now().Add(90*24*time.Hour))
	r.reload <- syscall.SIGHUP
	await(t, "the new certificate after SIGHUP", func() bool { return served(t, r) == 2 })
	replace(t, key, "broken")
	r.reload <- syscall.SIGHUP
	await(t, "an error in the log", func() bool { return len(r.log.lines("the certificate is not loaded, the old one stays")) > 0 })
	if n := served(t, r); n != 2 {
		t.Errorf("serial %d, the old certificate must stay", n)
	}
	// This one is found without a signal, by looking.
	issue(t, cert, key, 3, time.Now().Add(90*24*time.Hour))
	await(t, "the new certificate by itself", func() bool { return served(t, r) == 3 })
}

func TestTLSSpeaksHTTP2AndRefusesOldVersions(t *testing.T) {
	t.Parallel()
	r, _, _ := startTLS(t, "HAVN_HTTP_TLS_MIN_VERSION=1.3")
	for _, http2 := range []bool{true, false} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: http2}}
		a, err := do(t, client, http.MethodGet, r.URL()+"/v2/", nil, basic()...)
		if err != nil {
			t.Fatal(err)
		}
		want := 1
		if http2 {
			want = 2
		}
		if a.StatusCode != http.StatusOK || a.ProtoMajor != want {
			t.Errorf("%s over %s", a.Status, a.Proto)
		}
		client.CloseIdleConnections()
	}
	old := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}}
	if _, err := old.DialContext(t.Context(), "tcp", r.Addrs()[0].String()); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("a client of TLS 1.2: %v", err)
	}
	a, err := do(t, http.DefaultClient, http.MethodGet, "http://"+r.Addrs()[0].String()+"/v2/", nil)
	if err != nil || a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "HTTPS") {
		t.Errorf("plain HTTP: %v %v", a, err)
	}
}
