package lab

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"

	"github.com/havn-registry/havn/internal/fail"
)

// maxStatus bounds the answer of an admin socket.
const maxStatus = 1 << 20

// CephDaemon is one process of a Ceph. Name is as Ceph calls it: mon.a, osd.0, client.rgw. Its methods are safe for concurrent use.
type CephDaemon struct {
	Daemon

	dir string
}

// state answers a question for until: does the admin socket's answer to a command say the state?
func (d *CephDaemon) state(command, want string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		var status struct{ State string }
		if err := d.ask(ctx, command, &status); err != nil {
			return err
		}
		if status.State != want {
			return fail.E(fail.Unavailable, nil, "%s is %q, not %q", d.Name, status.State, want)
		}
		return nil
	}
}

// ask asks the daemon's admin socket: a command in JSON that a zero ends, then the answer behind its length.
func (d *CephDaemon) ask(ctx context.Context, command string, into any) (err error) {
	socket := filepath.Join(d.dir, "run", fmt.Sprintf("%s.%d.asok", d.Name, d.process().cmd.Process.Pid))
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err = conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err = fmt.Fprintf(conn, `{"prefix":%q}`+"\x00", command); err != nil {
		return err
	}
	var size uint32
	if err = binary.Read(conn, binary.BigEndian, &size); err != nil {
		return err
	}
	if size > maxStatus {
		return fail.E(fail.Internal, nil, "%s answers %d bytes to %s", d.Name, size, command)
	}
	body := make([]byte, size)
	if _, err = io.ReadFull(conn, body); err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}
