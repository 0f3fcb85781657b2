package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
)

// elsewhere is a registry that runs already: the generator only sends requests to it, so it has no figures of CPU and memory.
func elsewhere(address, credentials, ca string) (peer, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return peer{}, errors.Join(err, fmt.Errorf("-address %q: want http://HOST:PORT or https://HOST:PORT", address))
	}
	p := peer{name: u.Host, addr: u.Host}
	if u.Port() == "" {
		p.addr = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	roots := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, cause := os.ReadFile(ca)
		if cause != nil {
			return peer{}, fmt.Errorf("read -ca: %w", cause)
		}
		roots.RootCAs = x509.NewCertPool()
		if !roots.RootCAs.AppendCertsFromPEM(text) {
			return peer{}, fmt.Errorf("-ca %s holds no certificate in PEM", ca)
		}
	}
	if u.Scheme == "https" {
		p.tls = roots.Clone()
		p.tls.ServerName = u.Hostname()
	}
	p.start = startNothing
	p.login = func(_, repo string) (string, error) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: roots}, Timeout: stuck}
		return logIn(client, u.Scheme+"://"+u.Host, credentials, repo)
	}
	return p, nil
}

var challenged = regexp.MustCompile(`(realm|service)="([^"]*)"`)

// logIn follows the challenge at /v2/ and answers the value of the Authorization header for pulls and pushes.
func logIn(client *http.Client, base, credentials, repo string) (string, error) {
	status, challenge, _, err := get(client, base+"/v2/", "")
	if err != nil || status == http.StatusOK {
		return "", err
	}
	name, secret, _ := strings.Cut(credentials, ":")
	if strings.HasPrefix(strings.ToLower(challenge), "basic") {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(name, secret)
		return r.Header.Get("Authorization"), nil
	}
	values := map[string]string{}
	for _, m := range challenged.FindAllStringSubmatch(challenge, -1) {
		values[m[1]] = m[2]
	}
	query := url.Values{"service": {values["service"]}, "scope": {"repository:" + repo + ":pull,push"}}
	status, _, body, err := get(client, values["realm"]+"?"+query.Encode(), credentials)
	if err != nil {
		return "", err
	}
	var token struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}
	if err = json.Unmarshal(body, &token); err != nil || token.Token+token.Access == "" {
		return "", errors.Join(err, fmt.Errorf("no token in the answer %d of %s", status, values["realm"]))
	}
	if token.Token == "" {
		token.Token = token.Access
	}
	return "Bearer " + token.Token, nil
}

func get(client *http.Client, address, credentials string) (int, string, []byte, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, "", nil, err
	}
	if credentials != "" {
		name, secret, _ := strings.Cut(credentials, ":")
		request.SetBasicAuth(name, secret)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", nil, err
	}
	defer closed(response.Body)
	body, err := io.ReadAll(io.LimitReader(response.Body, mib))
	return response.StatusCode, response.Header.Get("Www-Authenticate"), body, err
}
