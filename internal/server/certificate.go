package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// certificatePoll is how often the files are looked at: a renewed certificate is in use seconds later, at the cost of two stats.
const certificatePoll = 5 * time.Second

// certificate is the listeners' certificate, loaded again when its files change. A pair that does not fit is not taken: the old one stays.
type certificate struct {
	files   config.TLS
	log     *slog.Logger
	every   time.Duration
	now     chan struct{} // asks for a look at once
	current atomic.Pointer[tls.Certificate]
	seen    [2]stamp // of the files when they were last loaded or refused
}

// stamp tells one state of a file from another.
type stamp struct {
	size int64
	at   time.Time
	node any
}

func newCertificate(files config.TLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, log: log, every: certificatePoll, now: make(chan struct{}, 1)}
	c.seen = c.stamps()
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) stamps() [2]stamp {
	var s [2]stamp
	for i, path := range []string{c.files.Certificate, c.files.Key} {
		if info, err := os.Stat(path); err == nil {
			s[i] = stamp{info.Size(), info.ModTime(), inode(info)}
		}
	}
	return s
}

func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return fail.E(fail.Invalid, err, "load the certificate %s and its key %s", c.files.Certificate, c.files.Key).
			Hint("`havn config check` says what is wrong with them")
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return fail.E(fail.Invalid, err, "read the certificate %s", c.files.Certificate)
		}
	}
	c.current.Store(&pair)
	c.log.Info("certificate loaded", "file", c.files.Certificate, "subject", pair.Leaf.Subject.String(), "names", pair.Leaf.DNSNames, "not_after", pair.Leaf.NotAfter)
	return nil
}

// reload asks for a look at the files now, whether they seem changed or not.
func (c *certificate) reload() {
	select {
	case c.now <- struct{}{}:
	default: // one is on its way
	}
}

// Run looks at the files until the context ends.
func (c *certificate) Run(ctx context.Context) error {
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return nil
		case <-c.now:
			asked = true
		case <-tick.C:
		}
		// The stamps are taken before the files are read: a change in between is seen next time.
		stamps := c.stamps()
		if stamps == c.seen && !asked {
			continue
		}
		c.seen = stamps
		if err := c.load(); err != nil {
			c.log.Error("the certificate is not loaded, the old one stays", "error", err.Error(), "hint", fail.HintOf(err))
		}
	}
}

// config answers the listeners' side of TLS.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: c.files.MinVersion,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if pair := c.current.Load(); pair != nil {
				return pair, nil
			}
			return nil, errors.New("no certificate")
		},
	}
}
