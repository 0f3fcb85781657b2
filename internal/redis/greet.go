package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// maxGreeting is longer than any answer to a PING.
const maxGreeting = 512

// dialAndGreet connects, and sends a PING of its own before the library has the connection: the library ends the process when something that is no Redis answers more
// than it was asked.
func dialAndGreet(ctx context.Context, addr string, dialer *net.Dialer, secure *tls.Config) (net.Conn, error) {
	var conn net.Conn
	var err error
	if secure != nil {
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: secure}).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = dialer.DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	if err = greet(conn, dialer.Timeout); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// greet asks for a sign of life. Whether we are let in is not asked yet.
func greet(conn net.Conn, patience time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil { //nolint:forbidigo // deadlines of connections are of the system's clock
		return err
	}
	if _, err := conn.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		return err
	}
	line, err := readLine(conn)
	if err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(line, "-DENIED "), strings.HasPrefix(line, "-") && strings.Contains(line, fullWords):
		return refusal(line[1:]) // and the server hangs up, without a word to the library
	case line != "+PONG" && !strings.HasPrefix(line, "-"):
		return notRedis(line)
	}
	return conn.SetDeadline(time.Time{})
}

// readLine reads an answer of one line, after which nothing may come.
func readLine(conn net.Conn) (string, error) {
	var got []byte
	for buf := make([]byte, maxGreeting); ; {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		line, rest, whole := strings.Cut(string(got), "\r\n")
		switch {
		case whole && rest == "":
			return line, nil
		case whole || len(got) > maxGreeting:
			return "", notRedis(line)
		case err != nil:
			return "", err
		}
	}
}

func notRedis(line string) error {
	const shown = 40
	return fail.E(fail.Unavailable, nil, "this is no Redis: it answers a PING with %q", line[:min(len(line), shown)]).Hint("give the address and port of Redis in redis.addrs")
}
