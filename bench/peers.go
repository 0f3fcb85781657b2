package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// peer is a server that can be measured.
type peer struct {
	name string
	// static: it serves files only, so content is laid down for it and nothing is pushed.
	static bool
	// bare: it is the store itself, without a registry before it: S3, or the disk with every file flushed.
	bare bool
	// quota: it is measured only beside workloads of quotas.
	quota bool
	// beside are the stores of Havn that it is measured beside.
	beside []store
	// nodes is of how many Havn consists in a cluster; 0: it is not Havn.
	nodes int
	start func(ctx context.Context, s *site, b *binaries, port int) (*process, error)
	login func(addr, repo string) (string, error)
	// addr is set for a registry that runs already, with tls if it speaks it.
	addr string
	tls  *tls.Config
}

// binaries says where the programs are.
type binaries struct {
	havn, cache string
}

const password = "bench-password-1"

var peers = []peer{
	{name: "havn", beside: stores, nodes: 3, start: startHavn, login: loginHavn},
	{name: "havn-quota", quota: true, beside: []store{inDirectory}, start: startHavn, login: limited},
	{name: "havn-1", beside: []store{cluster}, nodes: 1, start: startHavn, login: loginHavn},
	{name: "havn-s3", beside: []store{onRADOS}, nodes: 1, start: startHavn, login: loginHavn},
	{name: "olareg", beside: []store{inDirectory}, start: startOlareg},
	{name: "distribution", beside: stores, start: startDistribution},
	{name: "docker-registry", beside: []store{inDirectory, onS3, cluster}, start: startDockerRegistry},
	{name: "nginx", static: true, beside: []store{inDirectory, cached}, start: startNginx},
	{name: "disk", bare: true, beside: []store{inDirectory}, start: startNothing},
	{name: "s3", bare: true, beside: []store{onS3, onSwift}, start: startNothing},
}

// peersNamed answers those of a comma-separated list, or all that are measured beside a store if it is empty.
func peersNamed(list string, kind store) ([]peer, error) {
	if !slices.Contains(stores, kind) {
		return nil, fmt.Errorf("no store %q; there are %v", kind, stores)
	}
	var known []string
	var chosen []peer
	for _, p := range peers {
		if !slices.Contains(p.beside, kind) {
			continue
		}
		known = append(known, p.name)
		if list == "" || slices.Contains(strings.Split(list, ","), p.name) {
			chosen = append(chosen, p)
		}
	}
	for _, name := range strings.Split(list, ",") {
		if list != "" && !slices.Contains(known, name) {
			return nil, fmt.Errorf("no peer %q on %s; there are %s", name, kind, strings.Join(known, ", "))
		}
	}
	return chosen, nil
}

// startHavn starts one node, or in a cluster as many as the peer has.
func startHavn(ctx context.Context, s *site, b *binaries, _ int) (*process, error) {
	kind, nodes := s.store, 1
	if s.peer.name == "havn-s3" {
		kind = onS3
	}
	if kind == cluster {
		nodes = s.peer.nodes
	}
	all := &process{}
	for i := range nodes {
		dir := filepath.Join(s.dir, fmt.Sprint("node", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if i > 0 {
			port, err := freePort()
			if err != nil {
				return nil, err
			}
			s.addrs = append(s.addrs, fmt.Sprintf("127.0.0.1:%d", port))
		}
		env := append([]string{"HAVN_HTTP_ADDR=" + s.addrs[i], "HAVN_DATA_DIR=" + filepath.Join(dir, "data"), "HAVN_ADMIN_PASSWORD=" + password},
			s.services.havn(kind, s.peer.name, dir, i)...)
		p, err := start(ctx, dir, s.addrs[i], env, b.havn, "serve")
		if err != nil {
			all.stop()
			return nil, err
		}
		all.add(p)
	}
	return all, nil
}

// startNothing is for a peer that runs already.
func startNothing(context.Context, *site, *binaries, int) (*process, error) { return &process{}, nil }

func loginHavn(addr, repo string) (string, error) {
	c := newClient(addr, nil, adminAuth)
	defer c.close()
	scope := url.QueryEscape("repository:" + repo + ":pull,push")
	a, err := c.do("GET", "/service/token?service=harbor-registry&scope="+scope, "", nil, true)
	if err != nil {
		return "", err
	}
	var token struct{ Token string }
	if err = json.Unmarshal(a.body, &token); err != nil || token.Token == "" {
		return "", errors.Join(err, fmt.Errorf("no token in the answer %d: %s", a.status, a.body))
	}
	return "Bearer " + token.Token, nil
}

func startOlareg(ctx context.Context, s *site, b *binaries, port int) (*process, error) {
	return start(ctx, s.dir, s.addrs[0], nil, filepath.Join(b.cache, "olareg"), "serve", "--addr", "127.0.0.1", "--port", fmt.Sprint(port), "--dir", s.dir+"/data")
}

func startDistribution(ctx context.Context, s *site, b *binaries, _ int) (*process, error) {
	return startRegistry(ctx, s, filepath.Join(b.cache, "registry"))
}

func startDockerRegistry(ctx context.Context, s *site, _ *binaries, _ int) (*process, error) {
	return startRegistry(ctx, s, "/usr/bin/docker-registry")
}

func startRegistry(ctx context.Context, s *site, program string) (*process, error) {
	config := fmt.Sprintf("version: 0.1\nstorage:\n%shttp:\n  addr: %s\n", s.services.registry(s.peer.name, s.dir), s.addrs[0])
	if err := os.WriteFile(s.dir+"/config.yml", []byte(config), 0o600); err != nil {
		return nil, err
	}
	// With AWS_CA_BUNDLE set, docker-registry 2.8 panics: its S3 client can't add authorities to the transport of its own.
	return start(ctx, s.dir, s.addrs[0], []string{"OTEL_TRACES_EXPORTER=none", "AWS_CA_BUNDLE="}, program, "serve", s.dir+"/config.yml")
}

func startNginx(ctx context.Context, s *site, _ *binaries, _ int) (*process, error) {
	dir, addr := s.dir, s.addrs[0]
	config := fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/pid; error_log %[1]s/error.log; user root;
events { worker_connections 1024; }
http {
  access_log %[1]s/access.log combined buffer=64k flush=1s;
  sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type application/octet-stream;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  server {
    listen %[2]s; root %[1]s/data;
    location ~ /manifests/ { default_type application/vnd.oci.image.manifest.v1+json; }
  }
}
`, dir, addr)
	if err := os.WriteFile(dir+"/nginx.conf", []byte(config), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, dir, addr, nil, "/usr/sbin/nginx", "-c", dir+"/nginx.conf", "-e", dir+"/error.log")
}

// build makes the programs that are built from source and says what is missing of the others.
func build(ctx context.Context, want []peer, kind store) (*binaries, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	b := &binaries{cache: filepath.Join(cache, "havn-bench")}
	if err = os.MkdirAll(b.cache, 0o755); err != nil {
		return nil, err
	}
	b.havn = filepath.Join(b.cache, "havn")
	for _, p := range want {
		switch p.name {
		case "havn", "havn-quota":
			var flags []string
			if kind == onRADOS {
				flags = []string{"-tags", "rados"}
			}
			err = compile(ctx, "..", b.havn, "./cmd/havn", flags...)
		case "olareg":
			err = compile(ctx, "peers", filepath.Join(b.cache, "olareg"), "github.com/olareg/olareg/cmd/olareg")
		case "distribution":
			err = compile(ctx, "peers", filepath.Join(b.cache, "registry"), "github.com/distribution/distribution/v3/cmd/registry")
		case "docker-registry":
			err = installed("/usr/bin/docker-registry", "docker-registry")
		case "nginx":
			err = installed("/usr/sbin/nginx", "nginx-light")
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func compile(ctx context.Context, dir, out, pkg string, flags ...string) error {
	fmt.Fprintf(os.Stderr, "building %s\n", pkg)
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-trimpath", "-o", out}, flags, []string{pkg})...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s in %s: %w", pkg, dir, err)
	}
	return nil
}

func installed(program, pkg string) error {
	if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("%s is not there: apt-get install --no-install-recommends %s, or leave that peer out with -peers", program, pkg)
	}
	return nil
}
