package server

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// notifier speaks systemd's notification protocol (sd_notify(3)): one datagram a message. Without systemd it says nothing.
type notifier struct {
	socket   string
	watchdog time.Duration // systemd restarts us when it hears nothing for so long; 0: it does not
	alive    func(context.Context) error
	log      *slog.Logger
}

// newNotifier reads what systemd put into the environment.
func newNotifier(log *slog.Logger, alive func(context.Context) error) *notifier {
	n := &notifier{socket: os.Getenv("NOTIFY_SOCKET"), alive: alive, log: log}
	if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		if pid := os.Getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
			n.watchdog = time.Duration(us) * time.Microsecond
		}
	}
	return n
}

// send tells systemd one thing.
func (n *notifier) send(state string) {
	if n.socket == "" {
		return
	}
	addr := n.socket
	if addr[0] == '@' {
		addr = "\x00" + addr[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		if closeErr := conn.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		n.log.Warn("systemd is not told", "state", state, "error", err.Error())
	}
}

// Run feeds the watchdog for as long as the process is alive: a database that answers an error is no reason to restart, one that does not
// answer at all is.
func (n *notifier) Run(ctx context.Context) error {
	if n.watchdog == 0 || n.socket == "" {
		return nil
	}
	tick := time.NewTicker(n.watchdog / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		bounded, cancel := context.WithTimeout(ctx, n.watchdog/3)
		err := n.alive(bounded)
		hung := bounded.Err() != nil && ctx.Err() == nil
		cancel()
		if hung {
			n.log.Error("the database does not answer: the watchdog is not fed", "error", errText(err))
			continue
		}
		n.send("WATCHDOG=1")
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
