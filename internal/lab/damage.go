package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/havn-registry/havn/internal/fail"
)

// LoseData removes all that a server which is down has: as a node of a cluster it joins again by a transfer of everything.
func (m *MariaDB) LoseData() error {
	if p := m.process(); p != nil && !p.ended() {
		return fail.E(fail.Conflict, nil, "%s runs", m.name).Hint("kill it first")
	}
	if err := os.RemoveAll(filepath.Join(m.dir, "data")); err != nil {
		return fail.E(fail.Unavailable, err, "data of %s", m.name)
	}
	_, err := m.place.sub(m.a, m.name+"/data")
	return err
}

// ExpireCertificate gives the server a certificate that is out of date, of an authority that takes the place of the one before, from its next start on.
func (m *MariaDB) ExpireCertificate() error {
	return authority{ca: m.CA, cert: m.Certificate, key: m.Key}.expire(m.a, []string{m.ip})
}

// ExpireCertificate gives the server a certificate that is out of date, of an authority that takes the place of the one before, from its next start on.
func (p *Postgres) ExpireCertificate() error {
	return authority{ca: p.CA, cert: p.Certificate, key: p.Key}.expire(p.a, []string{p.ip})
}

// ExpireCertificate gives the directory a certificate that is out of date, of an authority that takes the place of the one before, from its next start on.
func (l *LDAP) ExpireCertificate() error { return l.files.expire(l.a, []string{l.ip}) }

// The part of an OSD that may be used before it counts as nearly full, too full to take copies, and full: Ceph's defaults, and less than an empty OSD uses.
var roomy, noRoom = []float64{0.85, 0.90, 0.95}, []float64{0.00001, 0.00002, 0.00003}

// SetFull makes the OSDs count as full, whatever they hold, or no more, and waits until the monitor has told everybody: Ceph takes nothing then, and what writes waits.
func (c *Ceph) SetFull(ctx context.Context, full bool) error {
	ratios, until := roomy, "while"
	if full {
		ratios, until = noRoom, "until"
	}
	err := c.commands(ctx, []string{
		fmt.Sprintf("osd set-nearfull-ratio %f", ratios[0]), fmt.Sprintf("osd set-backfillfull-ratio %f", ratios[1]), fmt.Sprintf("osd set-full-ratio %f", ratios[2]),
	})
	if err != nil {
		return err
	}
	// The OSDs say it with a heartbeat, within some seconds; then it is a flag of each pool.
	return c.run(ctx, "/bin/sh", "-c", fmt.Sprintf(`%s ceph -c %s osd dump | grep -Eq "flags ([a-z_]+,)*full(,| |$)"; do sleep 0.2; done`, until, c.ConfigFile))
}
