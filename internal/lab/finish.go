package lab

import "syscall"

// Finish lets the server end by itself, as an upgrade or a reboot does: a node of a cluster says good-bye to the others. Start starts it again.
func (m *MariaDB) Finish() error { return m.halt() }

// Finish lets the server end by itself, as an upgrade or a reboot does. Start starts it again, empty.
func (n *RedisNode) Finish() error {
	if p := n.process(); p != nil {
		return p.stop(syscall.SIGTERM)
	}
	return nil
}

// Finish lets the daemon end by itself, as an upgrade or a reboot does. Start starts it again.
func (d *Daemon) Finish() error { return d.halt(syscall.SIGTERM) }
