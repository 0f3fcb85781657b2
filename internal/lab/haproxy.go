package lab

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

const haproxyPackage = "haproxy"

// HAProxyOptions say what a balancer stands in front of.
type HAProxyOptions struct {
	Dir   string            // "": a temporary directory
	Addr  string            // to listen at; "" or port 0: a free one
	TLS   bool              // with a certificate of the lab's own authority, for localhost and the address
	Nodes map[string]string // of Havn: names and addresses
}

// HAProxy is a balancer in front of nodes of Havn. It asks each for /readyz, spreads requests, and tries again at another node what may be done twice: any request whose connection was refused,
// and GET and HEAD when the answer did not come.
type HAProxy struct {
	Daemon

	Addr   string // where clients go; the same after a restart
	URL    string // the same, with its scheme
	CAFile string // with TLS: the certificate of its authority
	Source string // host:0 that its connections to the nodes come from

	options HAProxyOptions
	place   place
	pem     string // with TLS: certificate and key in one file
}

// StartHAProxy starts a balancer, and waits until it takes connections.
func StartHAProxy(ctx context.Context, o HAProxyOptions) (*HAProxy, error) {
	program, err := program(haproxyPackage, haproxyPackage)
	if err != nil {
		return nil, err
	}
	a, err := accountOf(haproxyPackage, haproxyPackage)
	if err != nil {
		return nil, err
	}
	h := &HAProxy{options: o, Addr: o.Addr, Source: net.JoinHostPort(freeIP(), "0")}
	if h.place, err = newPlace(o.Dir, a); err != nil {
		return nil, err
	}
	h.Name, h.log, h.ready = "haproxy", filepath.Join(h.place.dir, "log"), h.answers
	h.command = func() (*exec.Cmd, error) {
		return a.command(h.place.dir, program, "-db", "-f", h.config()), nil
	}
	if err = h.start(ctx, a); err != nil {
		return nil, errors.Join(err, h.Stop())
	}
	return h, nil
}

func (h *HAProxy) start(ctx context.Context, a account) error {
	host, port, err := net.SplitHostPort(h.Addr)
	if h.Addr == "" {
		host, port, err = freeIP(), "0", nil
	}
	if err != nil {
		return fail.E(fail.Invalid, err, "address of the balancer")
	}
	if port == "0" {
		ports, portErr := freePorts(host, 1)
		if portErr != nil {
			return portErr
		}
		port = fmt.Sprint(ports[0])
	}
	h.Addr = net.JoinHostPort(host, port)
	// HAProxy itself would say that it can't bind some socket, and not that somebody is there.
	l, err := net.Listen("tcp", h.Addr) //nolint:noctx // binds and returns
	if err != nil {
		return fail.E(fail.Conflict, err, "address of the balancer").Hint("give another one")
	}
	if err = l.Close(); err != nil {
		return fail.E(fail.Unavailable, err, "address of the balancer")
	}
	h.URL = "http://" + h.Addr
	if h.options.TLS {
		h.URL = "https://" + h.Addr
		if err = h.secure(a, host); err != nil {
			return err
		}
	}
	if err = os.WriteFile(h.config(), []byte(h.text()), 0o644); err != nil {
		return fail.E(fail.Unavailable, err, "configuration of the balancer")
	}
	return h.Start(ctx)
}

// secure writes certificate and key into the one file that HAProxy wants.
func (h *HAProxy) secure(a account, host string) error {
	ips := []string{"127.0.0.1"}
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		ips = append(ips, host)
	}
	files, err := newAuthority(h.place.dir, a, ips)
	if err != nil {
		return err
	}
	cert, err := os.ReadFile(files.cert)
	if err != nil {
		return fail.E(fail.Unavailable, err, "certificate of the balancer")
	}
	key, err := os.ReadFile(files.key)
	if err != nil {
		return fail.E(fail.Unavailable, err, "key of the balancer")
	}
	// In a directory of its own: clients like podman take one (--cert-dir), and each key in it for theirs.
	certs, err := h.place.sub(a, "certs")
	if err != nil {
		return err
	}
	h.CAFile, h.pem = filepath.Join(certs, "ca.crt"), filepath.Join(h.place.dir, "tls.pem")
	ca, err := os.ReadFile(files.ca)
	if err == nil {
		err = errors.Join(os.Chmod(certs, 0o755), os.WriteFile(h.CAFile, ca, 0o644))
	}
	if err != nil {
		return fail.E(fail.Unavailable, err, "authority of the balancer")
	}
	if err = os.WriteFile(h.pem, append(cert, key...), 0o600); err != nil {
		return fail.E(fail.Unavailable, err, "certificate of the balancer")
	}
	if err = os.Chown(h.pem, a.uid, a.gid); err != nil {
		return fail.E(fail.Unavailable, err, "certificate of the balancer")
	}
	return nil
}

func (h *HAProxy) config() string { return filepath.Join(h.place.dir, "haproxy.cfg") }
func (h *HAProxy) socket() string { return filepath.Join(h.place.dir, "admin.sock") }

// text answers the configuration. docs/lab.md shows the same one to operators.
func (h *HAProxy) text() string {
	source, _, err := net.SplitHostPort(h.Source)
	if err != nil {
		panic(err) // made in StartHAProxy
	}
	bind := "  bind " + h.Addr
	if h.pem != "" {
		bind += " ssl crt " + h.pem + " alpn h2,http/1.1"
	}
	lines := []string{
		"global", "  maxconn 2000", "  stats socket " + h.socket() + " mode 600 level admin",
		"defaults", "  mode http", "  option forwardfor", "  option redispatch", "  retries 3",
		"  timeout connect 1s", "  timeout queue 10s", "  timeout http-request 10s", "  timeout http-keep-alive 2m",
		// Of no progress: longer than Havn's own (http.progress_timeout), so that it is Havn that says what is wrong.
		"  timeout client 75s", "  timeout server 75s",
		// Longer than /readyz takes when a store hangs.
		"  timeout check 3s",
		"  default-server inter 500ms fastinter 200ms downinter 500ms fall 2 rise 1 source " + source,
		"frontend registry", bind,
		"  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]",
		"  http-request set-header X-Forwarded-Host %[req.hdr(Host)]",
		// When no node is ready (the store is away, say), each of them still answers for itself: some things work, and the rest is refused in the registry's own words.
		"  use_backend alive unless { nbsrv(ready) gt 0 }",
		"  default_backend ready",
	}
	for _, backend := range []struct{ name, asks string }{{"ready", "/readyz"}, {"alive", "/healthz"}} {
		lines = append(lines, "backend "+backend.name, "  balance roundrobin",
			"  option httpchk GET "+backend.asks, "  http-check expect status 200",
			// A connection that was refused is tried again at another node, whatever the request. Beyond that only what may be done twice.
			"  retry-on conn-failure empty-response response-timeout 502 503 504",
			"  http-request disable-l7-retry unless { method GET HEAD }")
		for _, name := range sortedKeys(h.options.Nodes) {
			lines = append(lines, "  server "+name+" "+h.options.Nodes[name]+" check")
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// answers asks whether somebody listens on the address, and on the socket for the administrator.
func (h *HAProxy) answers(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.Addr)
	if err != nil {
		return err
	}
	if err = conn.Close(); err != nil {
		return err
	}
	_, err = h.Servers(ctx)
	return err
}

// Servers answers what the balancer thinks of each node: UP, DOWN and the like.
func (h *HAProxy) Servers(ctx context.Context) (_ map[string]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", h.socket())
	if err != nil {
		return nil, fail.E(fail.Unavailable, err, "ask the balancer")
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err = conn.SetDeadline(deadline); err != nil {
			return nil, fail.E(fail.Unavailable, err, "ask the balancer")
		}
	}
	if _, err = io.WriteString(conn, "show stat ready 4 -1\n"); err != nil {
		return nil, fail.E(fail.Unavailable, err, "ask the balancer")
	}
	rows, err := csv.NewReader(io.LimitReader(conn, maxStatus)).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fail.E(fail.Unavailable, err, "ask the balancer: an answer that is no table")
	}
	// # pxname,svname,…,status,…
	at := map[string]int{}
	for i, name := range rows[0] {
		at[strings.TrimPrefix(name, "# ")] = i
	}
	states := map[string]string{}
	for _, row := range rows[1:] {
		states[row[at["svname"]]] = row[at["status"]]
	}
	return states, nil
}

// Stop ends the balancer and removes its directory if that was made here.
func (h *HAProxy) Stop() error {
	h.Kill()
	return h.place.remove()
}
