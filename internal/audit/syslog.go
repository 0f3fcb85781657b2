package audit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// mostSending bounds the lines that wait for a collector, some 2 MiB.
	mostSending = 4096
	// sendTime bounds connecting, and the sending of one line.
	sendTime = 5 * time.Second
	// firstPause and longestPause are between two tries to reach a collector.
	firstPause, longestPause = time.Second, 30 * time.Second
	// priority is facility 13 (log audit), severity 5 (notice): RFC 5424, section 6.2.1.
	priority = 13*8 + 5
	// stampForm is RFC 3339 with the microseconds that RFC 5424, section 6.2.3, allows at most.
	stampForm = "2006-01-02T15:04:05.000000Z07:00"
	maxHost   = 255
)

// Syslog says how a collector is spoken to. It is the administrators' choice and may be anywhere.
type Syslog struct {
	Host  string         // this machine's name in the lines; "": -
	Roots *x509.CertPool // trusted with tls://; nil: the system's
}

// sender sends lines to a collector, one after the other, over one connection. What does not go because the collector is away for long is lost, and counted. With TCP, lines that
// were handed to a connection which then breaks may be lost too: syslog has no answers.
type sender struct {
	cfg   Config
	queue chan *item // pointers: the queue has room from the start, and hardly ever a line
	lost  prometheus.Counter

	to   string
	conn net.Conn
}

type item struct {
	to   string
	line Line
}

func newSender(c Config) *sender {
	return &sender{cfg: c, queue: make(chan *item, mostSending), lost: prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_audit_lines_unsent_total", Help: "Lines of the audit log that could not be sent by syslog."})}
}

// send queues a line. It never waits.
func (s *sender) send(to string, line Line) {
	if to == "" {
		return
	}
	select {
	case s.queue <- &item{to, line}:
	default:
		s.lost.Inc()
	}
}

// run sends until the context ends, and then what waits, as long as the collector takes it at once.
func (s *sender) run(ctx context.Context) {
	defer s.hangUp()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			s.drain(last)
			return
		case i := <-s.queue:
			s.deliver(ctx, i)
		}
	}
}

func (s *sender) drain(ctx context.Context) {
	for {
		select {
		case i := <-s.queue:
			if s.try(ctx, i) != nil {
				s.lost.Add(float64(1 + len(s.queue)))
				return
			}
		default:
			return
		}
	}
}

// deliver tries until the line is sent or the context ends.
func (s *sender) deliver(ctx context.Context, i *item) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := s.try(ctx, i)
		if err == nil {
			return
		}
		if pause == firstPause {
			s.cfg.Log.WarnContext(ctx, "audit log not sent; its lines wait", "to", i.to, "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			if s.try(context.WithoutCancel(ctx), i) != nil {
				s.lost.Inc()
			}
			return
		case <-timer.C:
		}
		if to := s.cfg.Options().Forward; to != i.to {
			s.lost.Inc() // nobody wants it there any more
			return
		}
	}
}

// try sends a line over the connection that is there, or over a new one.
func (s *sender) try(ctx context.Context, i *item) error {
	if s.conn != nil && s.to != i.to {
		s.hangUp()
	}
	kept := s.conn != nil
	err := s.write(ctx, i)
	if err != nil && kept {
		err = s.write(ctx, i) // the collector may have closed what was idle
	}
	return err
}

func (s *sender) write(ctx context.Context, i *item) error {
	if s.conn == nil {
		conn, err := s.dial(ctx, i.to)
		if err != nil {
			return err
		}
		s.conn, s.to = conn, i.to
	}
	message := format(s.cfg.Syslog.Host, i.line)
	err := s.conn.SetWriteDeadline(s.cfg.Clock().Add(sendTime))
	if err == nil {
		// The length in front is the framing of RFC 5425, section 4.3.1, and of RFC 6587, section 3.4.1.
		_, err = s.conn.Write([]byte(strconv.Itoa(len(message)) + " " + message))
	}
	if err != nil {
		s.hangUp()
	}
	return err
}

func (s *sender) dial(ctx context.Context, to string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	if addr, ok := strings.CutPrefix(to, "tls://"); ok {
		return (&tls.Dialer{Config: &tls.Config{RootCAs: s.cfg.Syslog.Roots, MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", addr)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(to, "tcp://"))
}

func (s *sender) hangUp() {
	if s.conn == nil {
		return
	}
	if err := s.conn.Close(); err != nil {
		s.cfg.Log.Debug("connection to the collector of the audit log closed", "error", err)
	}
	s.conn = nil
}

// message is the text of a line for a collector.
type message struct {
	Subject   string `json:"subject"`
	Operation string `json:"operation"`
	Kind      string `json:"kind"`
	Resource  string `json:"resource"`
	Project   int64  `json:"project,omitempty"`
	Addr      string `json:"addr,omitempty"`
	OK        bool   `json:"ok"`
	Note      string `json:"note,omitempty"`
}

// format answers a line as a message of syslog (RFC 5424, section 6), its text in JSON.
func format(host string, l Line) string {
	text, err := json.Marshal(message{l.Subject, l.Operation, l.Kind, l.Resource, l.Project, l.Addr, l.OK, l.Note})
	if err != nil {
		text = []byte(err.Error()) // it has nothing but texts and numbers in it
	}
	return fmt.Sprintf("<%d>1 %s %s havn %d audit - %s", priority, l.At.UTC().Format(stampForm), hostName(host), os.Getpid(), text)
}

// hostName answers a name as the header takes it: printable ASCII without spaces, at most 255 of it.
func hostName(host string) string {
	host = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, host)
	if host == "" {
		return "-"
	}
	return host[:min(len(host), maxHost)]
}
