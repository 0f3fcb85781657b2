package server

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
	"os"
	"path/filepath"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// Status of a finding.
type Status string

// The statuses.
const (
	Good    Status = "ok"
	Warning Status = "warning"
	Wrong   Status = "wrong"
)

// Finding is one thing that doctor looked at.
type Finding struct {
	Subject string `json:"subject"`
	Status  Status `json:"status"`
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"` // what to do
}

const (
	// renewBefore is when a certificate, or what else ends by itself, should have been renewed: automatic renewal happens 30 days before the end.
	renewBefore = 21 * 24 * time.Hour
	// clockSlack is how far the clocks of the machine and of a file system may be apart; tokens tolerate a minute.
	clockSlack = time.Minute
	// doctorPatience bounds what doctor waits for one store or for the running process: each has its own, so that one that hangs does not take the time of another.
	doctorPatience = 10 * time.Second
	maxReadyBody   = 64 << 10
)

// doctor collects findings.
type doctor struct {
	c        *config.Config
	clock    func() time.Time
	patience time.Duration // with one thing that is looked at: see doctorPatience
	room     func(dir string) (free int64, ok bool)
	found    []Finding
}

// Diagnose looks at everything that `serve` needs, and changes nothing. While a process serves the data directory, it is asked instead of
// its stores.
func Diagnose(ctx context.Context, c *config.Config) []Finding {
	return (&doctor{c: c, clock: time.Now, patience: doctorPatience, room: roomOf}).diagnose(ctx)
}

func (d *doctor) diagnose(ctx context.Context) []Finding {
	d.certificate()
	d.signature()
	for _, e := range exposed(d.c) {
		d.add("exposed", Warning, fail.HintOf(e), "%s", e.Error())
	}
	d.secretFiles()
	d.clocks()
	d.redis(ctx)
	if d.dataDir() {
		d.stores(ctx)
		d.ownDisk()
	}
	return d.found
}

func (d *doctor) add(subject string, status Status, hint, format string, args ...any) {
	d.found = append(d.found, Finding{subject, status, fmt.Sprintf(format, args...), hint})
}

// wrong adds an error with its own hint.
func (d *doctor) wrong(subject string, err error) {
	d.add(subject, Wrong, fail.HintOf(err), "%s", err.Error())
}

// certificate looks at dates and names. Whether the files are there and fit each other is config.Probe's.
func (d *doctor) certificate() {
	t := d.c.HTTP.TLS
	if !t.Enabled() {
		d.add("certificate", Good, "", "none: plain HTTP")
		return
	}
	pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		d.add("certificate", Wrong, "give the right files in http.tls.certificate and http.tls.key", "can't be loaded: %s", err)
		return
	}
	leaf := pair.Leaf
	now := d.clock()
	switch left := leaf.NotAfter.Sub(now); {
	case now.Before(leaf.NotBefore):
		d.add("certificate", Wrong, "is the clock right?", "is not valid before %s", leaf.NotBefore.Format(time.RFC3339))
	case left <= 0:
		d.add("certificate", Wrong, "renew it: the new files are loaded by themselves", "expired at %s", leaf.NotAfter.Format(time.RFC3339))
	case left < renewBefore:
		d.add("certificate", Warning, "renew it: the new files are loaded by themselves", "expires at %s", leaf.NotAfter.Format(time.RFC3339))
	default:
		d.add("certificate", Good, "", "%s is good until %s", t.Certificate, leaf.NotAfter.Format(time.RFC3339))
	}
	d.certificateName(leaf)
}

func (d *doctor) certificateName(leaf *x509.Certificate) {
	if d.c.HTTP.PublicURL == nil {
		return
	}
	if err := leaf.VerifyHostname(d.c.HTTP.PublicURL.Hostname()); err != nil {
		d.add("certificate", Wrong, "get one for the host of http.public_url, or correct http.public_url", "%s", err.Error())
	}
}

// secretFiles looks whether everybody on the machine can read what nobody else should. A group may: that is how a service that is not root gets at files that root owns.
func (d *doctor) secretFiles() {
	for _, f := range d.c.SecretFiles() {
		if info, err := os.Stat(f.Path); err == nil && info.Mode().Perm()&0o004 != 0 {
			d.add("key", Warning, "chmod o= "+f.Path+"; if Havn can't read it then, give it to Havn's group: chgrp havn, chmod 640", "everybody on this machine can read %s (%s)", f.Path, f.Key)
		}
	}
}

// clocks compares the machine's clock with what is certainly past: this program's own file.
func (d *doctor) clocks() {
	now := d.clock()
	self, err := os.Executable()
	if err == nil {
		var info os.FileInfo
		if info, err = os.Stat(self); err == nil && info.ModTime().After(now.Add(clockSlack)) {
			d.add("clock", Wrong, "set the clock, and keep it with NTP", "it is %s here, and this program's file is from %s", now.Format(time.RFC3339), info.ModTime().Format(time.RFC3339))
			return
		}
	}
	d.add("clock", Good, "", "it is %s", now.UTC().Format(time.RFC3339))
}

// dataDir looks at the directory; false: it can't be used, so that nothing else is looked at.
func (d *doctor) dataDir() bool {
	dir := d.c.DataDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return d.freshDir(dir)
	case err != nil:
		d.wrong("data_dir", dirError(err, dir))
		return false
	case !info.IsDir():
		d.add("data_dir", Wrong, "remove it, or set data_dir", "%s is not a directory", dir)
		return false
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		d.add("data_dir", Warning, "chmod 700 "+dir, "%s can be read by others (mode %04o)", dir, info.Mode().Perm())
	} else {
		d.add("data_dir", Good, "", "%s", dir)
	}
	secret := filepath.Join(dir, secretName)
	if file, statErr := os.Stat(secret); statErr == nil && file.Mode().Perm()&0o077 != 0 {
		d.add("key", Warning, "chmod 600 "+secret, "others can read the cluster secret in %s", secret)
	}
	if password := filepath.Join(dir, passwordName); exists(password) {
		d.add("password", Warning, "delete it once you have the password", "the password of the first start is still in %s", password)
	}
	return true
}

// freshDir looks whether the first start can make the directory.
func (d *doctor) freshDir(dir string) bool {
	at := filepath.Dir(filepath.Clean(dir))
	for !exists(at) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
	}
	if err := writable(at); err != nil {
		d.wrong("data_dir", dirError(err, at))
		return false
	}
	d.add("data_dir", Good, "", "%s is not there yet: the first start makes it", dir)
	return true
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// addresses looks whether the addresses are free.
func (d *doctor) addresses() {
	for _, addr := range d.c.HTTP.Addr {
		d.address(addr, d.c.HTTP.Addr)
	}
	if d.c.Metrics.Addr != "" {
		d.address(d.c.Metrics.Addr, nil)
	}
}

// address looks whether an address of a list is free, as the list is listened at: beside one of IPv4, [::] is that of IPv6 alone.
func (d *doctor) address(addr string, all []string) {
	open, err := listenAt(context.Background(), addr, all)
	if err == nil {
		err = open.Close()
	}
	if err != nil {
		d.wrong("address", err)
		return
	}
	d.add("address", Good, "", "%s is free", addr)
}

// running asks the process that holds the lock.
func (d *doctor) running(ctx context.Context, h Holder) {
	d.add("lock", Good, "", "held by %s", h)
	if h.URL == "" {
		d.add("process", Warning, "wait until it has started", "the process does not say yet where it answers")
		return
	}
	ready, err := askReady(ctx, h.URL, d.patience)
	if err != nil {
		d.add("process", Wrong, "look at its log", "%s does not answer: %s", h.URL, err)
		return
	}
	status, hint := Good, ""
	if ready.Status != statusReady {
		status, hint = Wrong, "look at its log"
	}
	d.add("process", status, hint, "%s is %s", h.URL, ready.Status)
	for _, name := range []string{"database", "blobs"} {
		s, ok := ready.Stores[name]
		switch {
		case !ok:
			continue
		case s.Status == stateLow && s.FreeBytes != nil:
			d.add(name, Wrong, "free space: pushes are refused below storage.low_disk", "%d MiB are free", *s.FreeBytes>>20)
		case s.Status != stateOK:
			d.add(name, Wrong, "look at its log", "%s (%s)", s.Status, s.Kind)
		case s.FreeBytes != nil:
			d.add(name, Good, "", "answers within %.1f ms; %d MiB are free", s.Latency, *s.FreeBytes>>20)
		default:
			d.add(name, Good, "", "answers within %.1f ms", s.Latency)
		}
		if s.Kept {
			d.add(name, Wrong, keptHint, keptWhy)
		}
	}
}

// askReady asks /readyz. The certificate is not verified: it is about names that this address does not have, and nothing secret is sent.
func askReady(ctx context.Context, url string, patience time.Duration) (r Readiness, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return r, err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: (&net.Dialer{}).DialContext} //nolint:gosec // see above
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	return r, json.NewDecoder(io.LimitReader(res.Body, maxReadyBody)).Decode(&r)
}
