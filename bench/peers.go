package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peer is a server that can be measured.
type peer struct {
	name string
	// static: it serves files only, so content is laid down for it and nothing is pushed.
	static bool
	start  func(ctx context.Context, b *binaries, dir, addr string, port int) (*process, error)
	login  func(addr, repo string) (string, error)
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
	{name: "havn", start: startHavn, login: loginHavn},
	{name: "olareg", start: startOlareg},
	{name: "distribution", start: startDistribution},
	{name: "docker-registry", start: startDockerRegistry},
	{name: "nginx", static: true, start: startNginx},
}

func peerNamed(name string) (peer, error) {
	var known []string
	for _, p := range peers {
		if p.name == name {
			return p, nil
		}
		known = append(known, p.name)
	}
	return peer{}, fmt.Errorf("no peer %q; there are %s", name, strings.Join(known, ", "))
}

func startHavn(ctx context.Context, b *binaries, dir, addr string, _ int) (*process, error) {
	return start(ctx, dir, addr, []string{"HAVN_HTTP_ADDR=" + addr, "HAVN_DATA_DIR=" + dir + "/data", "HAVN_ADMIN_PASSWORD=" + password}, b.havn, "serve")
}

func loginHavn(addr, repo string) (string, error) {
	c := newClient(addr, nil, "Basic "+base64.StdEncoding.EncodeToString([]byte("admin:"+password)))
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

func startOlareg(ctx context.Context, b *binaries, dir, addr string, port int) (*process, error) {
	return start(ctx, dir, addr, nil, filepath.Join(b.cache, "olareg"), "serve", "--addr", "127.0.0.1", "--port", fmt.Sprint(port), "--dir", dir+"/data")
}

func startDistribution(ctx context.Context, b *binaries, dir, addr string, _ int) (*process, error) {
	return startRegistry(ctx, filepath.Join(b.cache, "registry"), dir, addr)
}

func startDockerRegistry(ctx context.Context, _ *binaries, dir, addr string, _ int) (*process, error) {
	return startRegistry(ctx, "/usr/bin/docker-registry", dir, addr)
}

func startRegistry(ctx context.Context, program, dir, addr string) (*process, error) {
	config := fmt.Sprintf("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s/data\nhttp:\n  addr: %s\n", dir, addr)
	if err := os.WriteFile(dir+"/config.yml", []byte(config), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, dir, addr, []string{"OTEL_TRACES_EXPORTER=none"}, program, "serve", dir+"/config.yml")
}

func startNginx(ctx context.Context, _ *binaries, dir, addr string, _ int) (*process, error) {
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
func build(ctx context.Context, want []peer) (*binaries, error) {
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
		case "havn":
			err = compile(ctx, "..", b.havn, "./cmd/havn")
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

func compile(ctx context.Context, dir, out, pkg string) error {
	fmt.Fprintf(os.Stderr, "building %s\n", pkg)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", out, pkg)
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
