package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The administrator of every server that the harness starts.
const (
	User     = "admin"
	Password = "correct-horse-7-battery"
)

// Secret is the cluster secret of servers whose databases are on hosts, which several of them may share.
const Secret = "the secret of every node that the harness starts"

// Options of a server.
type Options struct {
	// Data is the data directory; empty: a fresh one.
	Data string
	// Env is added to the server's environment, as HAVN_…=….
	Env []string
	// TLS: HTTPS with a certificate for localhost and 127.0.0.1, signed by a private authority.
	TLS bool
	// Wrap goes in front of the server's command line: another program that runs it.
	Wrap []string
}

// Server is Havn, running. Its address changes with every start.
type Server struct {
	*Process
	// Addr is host and port.
	Addr string
	// URL is the address with its scheme.
	URL string
	// CA is the file with the authority's certificate, with TLS.
	CA string
	// Data is the data directory.
	Data string
	// Startup is how long the last start took, from the making of the process to the first answer.
	Startup time.Duration

	owner   testing.TB // the test that started it: it lives as long, however many subtests start it again
	options Options
	dir     string
	cert    Certificate
	starts  int
}

// Start runs Havn on a data directory and waits until it is ready.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{owner: t, options: o, dir: t.TempDir(), Data: o.Data}
	if s.Data == "" {
		s.Data = filepath.Join(s.dir, "data")
	}
	if o.TLS {
		s.cert = Issue(t, s.dir)
		s.CA = s.cert.Authority
	}
	s.Again(t)
	return s
}

// Again starts a server that was stopped or killed on the same data, and waits until it is ready.
func (s *Server) Again(t testing.TB) {
	t.Helper()
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir,
		"HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_DATA_DIR=" + s.Data, "HAVN_ADMIN_PASSWORD=" + Password,
	}
	scheme := "http"
	if s.options.TLS {
		env = append(env, "HAVN_HTTP_TLS_CERTIFICATE="+s.cert.Cert, "HAVN_HTTP_TLS_KEY="+s.cert.Key)
		scheme = "https"
	}
	if slices.ContainsFunc(s.options.Env, func(pair string) bool { return strings.HasPrefix(pair, "HAVN_DATABASE_HOSTS=") }) {
		env = append(env, "HAVN_CLUSTER_SECRET="+Secret)
	}
	program := Binary(t)
	s.starts++
	began := time.Now()
	s.Process = Launch(s.owner, Spawn{
		Name: "havn", Log: filepath.Join(s.dir, fmt.Sprintf("havn-%d.log", s.starts)), Dir: s.dir,
		Env: append(env, s.options.Env...), Argv: append(append([]string{}, s.options.Wrap...), program, "serve"),
	})
	s.Await(t, func() error {
		addr, ok := listening(s.Log())
		if !ok {
			return fmt.Errorf("no line in its log says where it listens")
		}
		s.Addr, s.URL = addr, scheme+"://"+addr
		return nil
	})
	client := s.HTTP()
	defer client.CloseIdleConnections()
	s.Await(t, func() error { return s.ready(client) })
	s.Startup = time.Since(began)
}

// Finish stops the server, which must end by itself without an error.
func (s *Server) Finish(t testing.TB) {
	t.Helper()
	if err := s.Stop(t); err != nil {
		t.Fatalf("havn ended with %v after SIGTERM", err)
	}
}

func (s *Server) ready(client *http.Client) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if closeErr := res.Body.Close(); err == nil {
		err = closeErr
	}
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("/readyz answers %s: %s", res.Status, body)
	}
	return err
}

// HTTP answers a client that trusts the server's authority and has connections of its own.
func (s *Server) HTTP() *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	if s.CA != "" {
		pool := x509.NewCertPool()
		if pem, err := os.ReadFile(s.CA); err == nil {
			pool.AppendCertsFromPEM(pem)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return &http.Client{Transport: transport, Timeout: 2 * time.Minute}
}

var textAddr = regexp.MustCompile(`\bmsg="?listening"?\s.*?\baddr="?([^" ]+)`)

// listening finds the address in the server's log, whichever of its two formats that has.
func listening(log string) (string, bool) {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, Addr string }
		if json.Unmarshal([]byte(line), &entry) == nil {
			if entry.Msg == "listening" && entry.Addr != "" {
				return entry.Addr, true
			}
		} else if m := textAddr.FindStringSubmatch(line); m != nil && strings.HasSuffix(line, "\n") {
			return m[1], true
		}
	}
	return "", false
}
