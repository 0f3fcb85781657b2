package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access/ldap"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// quick is a time-out for servers that do not answer.
const quick = time.Second

// outage fails the test unless nobody can log in because of the server, and the error says which server, at which step, and what to do. It answers how long that took.
func outage(t *testing.T, d *ldap.Directory, server, step, hint string) time.Duration {
	t.Helper()
	began := time.Now()
	_, err := d.Login(t.Context(), alice.Account, alice.Password())
	took := time.Since(began)
	if !fail.Is(err, fail.Unavailable) || !strings.Contains(err.Error(), server+": "+step) || !strings.Contains(fail.HintOf(err), server) || !strings.Contains(fail.HintOf(err), hint) {
		t.Errorf("error %v\nhint %s\nwant %s: %s, %s", err, fail.HintOf(err), server, step, hint)
	}
	return took
}

func TestAServerThatDiesOrHangsIsLeftForAnotherAndComesBack(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", "hung"} {
		for _, secure := range []bool{false, true} {
			first, second := start(t, lab.LDAPOptions{Told: true}), start(t, lab.LDAPOptions{Told: true})
			c, log := guide(first, second), &diary{}
			c.Timeout, c.Log = quick, log.logger()
			if secure {
				// The two have authorities of their own.
				c.URLs, c.TLS.Unverified = []string{first.SecureURL, second.SecureURL}, true
			}
			clock := &clock{now: time.Now()}
			c.Clock = clock.time
			d := open(t, c)
			enters(t, d, alice)
			if how == "killed" {
				first.Kill()
			} else {
				need(t, first.Pause())
			}
			began := time.Now()
			enters(t, d, alice)
			if took := time.Since(began); took > patience {
				t.Errorf("%s: the first log-in took %s", how, took)
			}
			if !strings.Contains(log.String(), "LDAP server failed") {
				t.Errorf("%s: %s", how, log)
			}
			// Nobody tries it while it rests.
			said := listen(t, second)
			for range 5 {
				enters(t, d, bob)
			}
			if _, binds, lines := said.count(t); binds != 5 {
				t.Errorf("%s: %d log-ins at the second\n%s", how, binds, lines)
			}
			if how == "killed" {
				need(t, first.Start(t.Context()))
			} else {
				need(t, first.Resume())
			}
			clock.forward(2 * time.Minute)
			said = listen(t, first)
			other := listen(t, second)
			enters(t, d, alice)
			// One that hung may find an old log-in in its sockets.
			if _, binds, lines := said.count(t); binds == 0 {
				t.Errorf("%s: the first is back and not asked\n%s", how, lines)
			}
			if _, binds, lines := other.count(t); binds != 0 {
				t.Errorf("%s: the first is back, and the second is asked\n%s", how, lines)
			}
			if !strings.Contains(log.String(), "answers again") {
				t.Errorf("%s: %s", how, log)
			}
		}
	}
}

func TestADirectoryThatIsDownIsSaidToBe(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	c := guide(l)
	c.Timeout = quick
	d := open(t, c)
	enters(t, d, alice)
	need(t, l.Pause())
	// Threads of it may answer a little more before they stop.
	if took := outage(t, d, l.URL, "", "does not answer within 1s"); took > 10*quick {
		t.Errorf("it took %s", took)
	}
	outage(t, d, l.URL, "log in as the search account", "does not answer within 1s")
	ctx, cancel := context.WithTimeout(t.Context(), quick/4)
	defer cancel()
	if _, err := d.Find(ctx, strings.ToLower(alice.DN())); !fail.Is(err, fail.Unavailable) {
		t.Errorf("%v", err)
	}
	steps := d.Test(t.Context())[0].Steps
	if last := steps[len(steps)-1]; last.Name != "log in as the search account" || !errors.Is(last.Err, context.DeadlineExceeded) {
		t.Errorf("%+v", steps)
	}
	need(t, l.Resume())
	enters(t, d, alice)
	l.Kill()
	outage(t, d, l.URL, "connect", "nobody listens there")
	steps = d.Test(t.Context())[0].Steps
	if last := steps[len(steps)-1]; last.Name != "connect" || last.Err == nil {
		t.Errorf("%+v", steps)
	}
	need(t, l.Start(t.Context()))
	enters(t, d, alice)
}

func TestACertificateThatIsNotGoodIsAClearError(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	far := forward(t, l.Host, 0)
	for name, c := range map[string]struct {
		change     func(c *ldap.Config)
		step, hint string
	}{
		"an authority that nobody knows":               {func(c *ldap.Config) { c.URLs = []string{l.SecureURL} }, "begin TLS", "an authority that is not trusted here"},
		"an authority that nobody knows, and StartTLS": {func(c *ldap.Config) { c.StartTLS = true }, "begin TLS", "an authority that is not trusted here"},
		"another name":       {func(c *ldap.Config) { c.URLs, c.StartTLS, c.TLS.CAFile = []string{"ldap://" + far}, true, l.CAFile }, "begin TLS", "for another name"},
		"no TLS at the port": {func(c *ldap.Config) { c.URLs = []string{"ldaps://" + l.Host} }, "begin TLS", "ldap://"},
		"TLS at the port":    {func(c *ldap.Config) { c.URLs = []string{"ldap" + strings.TrimPrefix(l.SecureURL, "ldaps")} }, "log in as the search account", "ldaps://"},
		"a version that the server does not have": {func(c *ldap.Config) {
			c.URLs, c.TLS.CAFile, c.TLS.MinVersion = []string{l.SecureURL}, l.CAFile, tls.VersionTLS13+1
		}, "begin TLS", ""},
	} {
		t.Run(name, func(t *testing.T) {
			conf := guide(l)
			conf.Timeout = 5 * time.Second
			c.change(&conf)
			d := open(t, conf)
			outage(t, d, conf.URLs[0], c.step, c.hint)
			report := d.Test(t.Context())[0]
			last := report.Steps[len(report.Steps)-1]
			if report.OK() || last.Name != c.step || !strings.Contains(last.Hint, c.hint) {
				t.Errorf("%+v", report)
			}
		})
	}
	need(t, l.ExpireCertificate())
	need(t, l.Restart(t.Context()))
	c := guide(l)
	c.URLs, c.TLS.CAFile = []string{l.SecureURL}, l.CAFile
	outage(t, open(t, c), l.SecureURL, "begin TLS", "expired")
}

func TestTheSearchAccountIsSaidToBeWrong(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	for name, c := range map[string]struct {
		change     func(c *ldap.Config)
		step, hint string
	}{
		"password":     {func(c *ldap.Config) { c.SearchPassword = "wrong" }, "log in as the search account", "name or password is wrong"},
		"name":         {func(c *ldap.Config) { c.SearchDN = "cn=gone," + lab.LDAPTech }, "log in as the search account", "name or password is wrong"},
		"no name":      {func(c *ldap.Config) { c.SearchDN = "admin" }, "log in as the search account", "name or password is wrong"},
		"nobody":       {func(c *ldap.Config) { c.SearchDN, c.SearchPassword = "", "" }, "search users", "the search account may not see it"},
		"base":         {func(c *ldap.Config) { c.BaseDN = "ou=gone," + lab.LDAPTech }, "search users", "correct the base"},
		"groups' base": {func(c *ldap.Config) { c.Groups.BaseDN = "ou=gone," + lab.LDAPTech }, "search groups", "correct the base"},
	} {
		conf := guide(l)
		c.change(&conf)
		d := open(t, conf)
		outage(t, d, l.URL, c.step, c.hint)
		if d.Test(t.Context())[0].OK() {
			t.Errorf("%s: the test finds nothing wrong", name)
		}
	}
	d := open(t, guide(l))
	if report := d.Test(t.Context())[0]; !report.OK() || len(report.Steps) != 7 {
		t.Errorf("%+v", report)
	}
}

func TestASlowServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	c, log := guide(), &diary{}
	c.URLs, c.Timeout, c.Log = []string{"ldap://" + forward(t, l.Host, 300*time.Millisecond)}, 5*time.Second, log.logger()
	d := open(t, c)
	for range 2 {
		enters(t, d, alice)
	}
	if strings.Contains(log.String(), "failed") {
		t.Errorf("%s", log)
	}
	c.URLs, c.Timeout = []string{"ldap://" + forward(t, l.Host, 3*time.Second)}, quick
	outage(t, open(t, c), c.URLs[0], "log in as the search account", "does not answer within 1s")
}

func TestManyLogInAtOnce(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	c := guide(l)
	c.StartTLS, c.TLS.CAFile, c.Connections = true, l.CAFile, 4
	d := open(t, c)
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			u := lab.LDAPUsers[n%2]
			p, err := d.Login(t.Context(), u.Account, u.Password())
			if err != nil || p.Name != u.Account {
				t.Errorf("%+v, %v", p, err)
			}
			if _, err = d.Login(t.Context(), u.Account, "wrong"); !fail.Is(err, fail.Unauthenticated) {
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
}

// forward lets connections through to a server, every answer later by a delay. It answers its address.
func forward(t *testing.T, to string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, acceptErr := l.Accept()
			if acceptErr != nil {
				return
			}
			out, dialErr := net.Dial("tcp", to)
			if dialErr != nil {
				shut(t, in)
				continue
			}
			all.Go(func() { pass(t, out, in, 0) })
			all.Go(func() { pass(t, in, out, delay) })
		}
	})
	t.Cleanup(func() { shut(t, l); all.Wait() })
	return l.Addr().String()
}

// shut closes what may be closed already.
func shut(t *testing.T, c io.Closer) {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// pass copies until one of the two ends, and ends both.
func pass(t *testing.T, to, from net.Conn, delay time.Duration) {
	defer func() { shut(t, to); shut(t, from) }()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		time.Sleep(delay)
		if _, writeErr := to.Write(b[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// clock is moved by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
