package redis

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// listen answers the address of a server that does something with each connection.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, acceptErr := l.Accept()
			if acceptErr != nil {
				return
			}
			all.Go(func() {
				serve(conn)
				if closeErr := conn.Close(); closeErr != nil {
					t.Log(closeErr)
				}
			})
		}
	})
	t.Cleanup(func() {
		if closeErr := l.Close(); closeErr != nil {
			t.Error(closeErr)
		}
		all.Wait()
	})
	return l.Addr().String()
}

// says answers the address of a server that answers everything with the same words.
func says(t *testing.T, text string) string {
	t.Helper()
	return listen(t, func(conn net.Conn) {
		buf := make([]byte, 1<<10)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			if _, err := conn.Write([]byte(text)); err != nil {
				return
			}
		}
	})
}

// certificate makes one that signs itself, for an address, until a time.
func certificate(t *testing.T, ip string, end time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: end, IPAddresses: []net.IP{net.ParseIP(ip)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, made, made, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestWhatIsWrongWithAConnectionIsSaid(t *testing.T) {
	t.Parallel()
	tomorrow, yesterday := time.Now().Add(24*time.Hour), time.Now().Add(-24*time.Hour)
	good, goodPool := certificate(t, "127.0.0.1", tomorrow)
	old, oldPool := certificate(t, "127.0.0.1", yesterday)
	other, otherPool := certificate(t, "127.0.0.2", tomorrow)
	secure := func(pair tls.Certificate, conf *tls.Config) string {
		conf.Certificates, conf.MinVersion = []tls.Certificate{pair}, tls.VersionTLS12
		return listen(t, func(conn net.Conn) {
			if err := tls.Server(conn, conf).Handshake(); err == nil {
				if _, err = conn.Read(make([]byte, 1)); err != nil {
					t.Log(err)
				}
			}
		})
	}
	silent := func(conn net.Conn) {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Log(err)
		}
	}
	for what, c := range map[string]struct {
		addr   string
		roots  *x509.CertPool // nil: no TLS
		detail string
		hint   string
	}{
		"an expired certificate":    {secure(old, &tls.Config{}), oldPool, "expired", "renew the certificate on that server"},
		"a certificate of another":  {secure(other, &tls.Config{}), otherPool, "127.0.0.2", "is for another name"},
		"an unknown authority":      {secure(good, &tls.Config{}), otherPool, "unknown authority", "set redis.tls.ca_file"},
		"one that wants ours":       {secure(good, &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}), goodPool, "tls: ", "redis.tls.certificate"},
		"no TLS":                    {says(t, "-ERR unknown command\r\n"), goodPool, "", "there is no TLS at this port"},
		"one that hangs up":         {listen(t, func(net.Conn) {}), nil, "", "does it want TLS"},
		"one that never answers":    {listen(t, silent), nil, "no answer", "does a firewall drop connections"},
		"a name that nobody knows":  {"redis.invalid:6379", nil, "redis.invalid", "DNS"},
		"nobody there":              {"127.0.0.1:1", nil, "refused", "does Redis run"},
		"a wrong password":          {says(t, "-WRONGPASS invalid username-password pair or user is disabled.\r\n"), nil, "WRONGPASS", "redis.password"},
		"one with protected mode":   {says(t, "-DENIED Redis is running in protected mode\r\n"), nil, "DENIED", "protected mode"},
		"one that is full":          {says(t, "-ERR max number of clients reached\r\n"), nil, "max number", "maxclients"},
		"one that is no Redis":      {says(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), nil, "this is no Redis", "redis.addrs"},
		"one that talks too much":   {says(t, "-ERR what?\r\n-ERR what?\r\n-ERR what?\r\n"), nil, "this is no Redis", "redis.addrs"},
		"one that lets nobody ask":  {says(t, "-NOPERM this user has no permissions to run the 'hello' command\r\n"), nil, "NOPERM", "docs/operations.md"},
		"one that wants a password": {says(t, "-NOAUTH Authentication required.\r\n"), nil, "NOAUTH", "redis.password"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			conf := Config{Addrs: []string{c.addr}, Password: "x"}
			if c.roots != nil {
				conf.TLS = &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12}
			}
			client, err := New(conf)
			if err != nil {
				t.Fatal(err)
			}
			r := client.Check(t.Context())
			if !fail.Is(r.Err, fail.Unavailable) || !strings.Contains(r.Err.Error(), c.addr) || !strings.Contains(r.Err.Error(), c.detail) || !strings.Contains(fail.HintOf(r.Err), c.hint) {
				t.Errorf("says %v, hint %q, want %q and %q", r.Err, fail.HintOf(r.Err), c.detail, c.hint)
			}
		})
	}
}

func TestOfManyErrorsTheOneThatSaysMostIsTold(t *testing.T) {
	t.Parallel()
	refuses := says(t, "-WRONGPASS no\r\n")
	client, err := New(Config{Addrs: []string{"127.0.0.1:1", refuses}, Password: "x"})
	if err != nil {
		t.Fatal(err)
	}
	r := client.Check(t.Context())
	if !strings.Contains(r.Err.Error(), "WRONGPASS") || len(r.Servers) != 2 || r.Servers[0].Err == nil || r.Servers[1].Err == nil {
		t.Errorf("%+v", r)
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func TestTheLogSaysOnceWhatIsWrongAndWhenAllIsWell(t *testing.T) {
	t.Parallel()
	log := &lines{}
	s := &servers{held: map[string][]byte{}}
	s.be(fail.E(fail.Unavailable, nil, "NOPERM").Hint("grant the user what it needs"), nil)
	c := begin(t, Config{Timeout: patience, Log: slog.New(slog.NewTextHandler(log, nil))}, one(s))
	until(t, "the hint is in the log", func() bool { return log.count("grant the user what it needs") == 1 && log.count("open=1") == 1 })
	s.be(nil, nil)
	until(t, "reached", reached(c))
	until(t, "the log says so", func() bool { return log.count(allWell) == 1 })
	s.be(fail.E(fail.Exhausted, nil, "OOM").Hint("let it evict"), nil)
	for range 10 {
		if _, err := c.Get(t.Context(), "a"); !fail.Is(err, fail.Exhausted) {
			t.Fatal(err)
		}
	}
	if n := log.count("let it evict"); n != 1 {
		t.Errorf("the log says %d times that Redis is full", n)
	}
}
