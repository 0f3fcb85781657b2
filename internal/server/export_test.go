package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Hurry prepares a server, before Run, for a drain delay that the test ends itself.
func (s *Server) Hurry() func() {
	s.hurried = make(chan struct{})
	return func() { close(s.hurried) }
}

// FoldPulls brings what was noted of pulls to where lists read it, which takes seconds otherwise.
func (s *Server) FoldPulls(t *testing.T) {
	t.Helper()
	s.registry.FlushPulls(t.Context())
	if _, err := s.registry.FoldPulls(t.Context(), func(context.Context, *sqldb.Tx) error { return nil }, 100); err != nil {
		t.Fatal(err)
	}
}

// PollCertificate sets how often the certificate's files are looked at.
func (s *Server) PollCertificate(every time.Duration) { s.cert.every = every }

// AccessEntry is a line of the access log.
type AccessEntry struct{ entry }

// Line writes the line.
func (e *AccessEntry) Line(format config.LogFormat, at time.Time, path, agent string, n int64, took time.Duration) []byte {
	e.begin(format, at, "request")
	e.text("path", path)
	e.text("agent", agent)
	e.number("bytes", n)
	e.milliseconds("ms", took)
	return e.end()
}

// ClassOf names the class of a path.
func ClassOf(path string) string { return classify(path).String() }

// RequestID answers the id for a request that brings one.
func RequestID(given string) string { return newRequestIDs().of(given) }

// Observed puts the observer in front of a handler.
func Observed(next http.Handler) http.Handler { return ObservedTo(io.Discard, next) }

// ObservedTo is Observed with a log.
func ObservedTo(out io.Writer, next http.Handler) http.Handler {
	l := newLines(out)
	return &observer{
		next: next, out: l, log: newLog(l, config.Log{Format: config.JSON}), format: config.JSON, access: true, ids: newRequestIDs(),
		traffic: newTraffic(prometheus.NewRegistry()), client: func(*http.Request) netip.Addr { return netip.Addr{} }, clock: time.Now,
	}
}

// AgeAudit makes all lines of the audit log older.
func (s *Server) AgeAudit(ctx context.Context, by time.Duration) error {
	return s.stores.db.Tx(ctx, "test.age", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE audit SET at = at - ?", by.Microseconds())
		return err
	})
}

// PurgeAudit removes old lines of the audit log as the duty does, now.
func (s *Server) PurgeAudit(ctx context.Context) error {
	d, times := s.purge(), make(chan time.Time)
	d.Every = times
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	for range 2 { // the second is taken when the first is done
		times <- time.Time{}
	}
	cancel()
	return <-ended
}

// WithConnection shows a connection as the HTTP server gets it from our listeners.
func WithConnection(t *testing.T, look func(net.Conn)) {
	t.Helper()
	all, err := listen(t.Context(), []string{"127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	l := newLimited(all[0], newPlaces(&config.HTTP{MaxConnections: 1, MaxConnectionsPerAddress: 1}, nil, time.Now), pace{limit: time.Minute})
	near, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	look(far)
	if err = errors.Join(near.Close(), far.Close(), l.Close()); err != nil {
		t.Error(err)
	}
}

// Listen binds addresses as the server does; "port" in them is one that was free on the loopback. They are free again when the test ends.
func Listen(t *testing.T, addrs ...string) ([]net.Listener, error) {
	t.Helper()
	free, err := listen(t.Context(), []string{"127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(free[0].Addr().String())
	if err = errors.Join(err, free[0].Close()); err != nil {
		t.Fatal(err)
	}
	at := make([]string, len(addrs))
	for i, addr := range addrs {
		at[i] = strings.ReplaceAll(addr, "port", port)
	}
	all, err := listen(t.Context(), at)
	t.Cleanup(func() {
		for _, l := range all {
			if closeErr := l.Close(); closeErr != nil {
				t.Error(closeErr)
			}
		}
	})
	return all, err
}

// DiagnoseWithin is Diagnose with another patience.
func DiagnoseWithin(ctx context.Context, c *config.Config, patience time.Duration) []Finding {
	return (&doctor{c: c, clock: time.Now, patience: patience, room: roomOf}).diagnose(ctx)
}

// DiagnoseWithRoom is Diagnose where so much is free on the disk of the data directory.
func DiagnoseWithRoom(ctx context.Context, c *config.Config, free int64) []Finding {
	room := func(string) (int64, bool) { return free, true }
	return (&doctor{c: c, clock: time.Now, patience: doctorPatience, room: room}).diagnose(ctx)
}

// LastIdle answers the other end of the connection that came to have no request last; "" if there is none.
func (s *Server) LastIdle() string {
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	if c := s.places.idle.back; c != nil {
		return c.RemoteAddr().String()
	}
	return ""
}
