package lab

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/havn-registry/havn/internal/fail"
)

// longestDir keeps unix sockets below it within the 107 bytes that the kernel takes.
const longestDir = 70

// place is a directory that a server's account can work in.
type place struct {
	dir  string
	ours bool // made here, and removed at the end
}

// newPlace answers the directory, or a temporary one if dir is "". The account owns it.
func newPlace(dir string, a account) (place, error) {
	p := place{dir: dir}
	var err error
	if dir == "" {
		// Not below the test's own directory: other users may not enter that.
		if p.dir, err = os.MkdirTemp("", "havn-lab-"); err != nil {
			return place{}, fail.E(fail.Unavailable, err, "directory of a lab")
		}
		p.ours = true
	} else if err = os.MkdirAll(dir, 0o755); err != nil {
		return place{}, fail.E(fail.Unavailable, err, "directory of a lab")
	}
	if p.dir, err = filepath.Abs(p.dir); err != nil {
		return place{}, fail.E(fail.Invalid, err, "directory of a lab %s", dir)
	}
	if len(p.dir) > longestDir {
		return place{}, errors.Join(fail.E(fail.Invalid, nil, "directory of a lab %s: its path is longer than %d", p.dir, longestDir), p.remove())
	}
	if a.credential == nil {
		return p, nil
	}
	for up := filepath.Dir(p.dir); ; up = filepath.Dir(up) {
		info, statErr := os.Stat(up)
		if statErr != nil || info.Mode().Perm()&0o001 == 0 {
			return place{}, errors.Join(fail.E(fail.Invalid, statErr, "directory of a lab %s: the server's account can't enter %s", p.dir, up).
				Hint("give a directory below /tmp, or none"), p.remove())
		}
		if up == filepath.Dir(up) {
			break
		}
	}
	if err = os.Chown(p.dir, a.uid, a.gid); err != nil {
		return place{}, errors.Join(fail.E(fail.Unavailable, err, "directory of a lab"), p.remove())
	}
	return p, nil
}

// sub makes a directory below that the account owns.
func (p place) sub(a account, name string) (string, error) {
	dir := filepath.Join(p.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fail.E(fail.Unavailable, err, "directory of a lab")
	}
	if err := os.Chown(dir, a.uid, a.gid); err != nil {
		return "", fail.E(fail.Unavailable, err, "directory of a lab")
	}
	return dir, nil
}

// remove removes the directory if it was made here.
func (p place) remove() error {
	if !p.ours {
		return nil
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return fail.E(fail.Unavailable, err, "remove the directory of a lab")
	}
	return nil
}

// freeIP answers a random address of the loopback network: nobody else listens there, and outgoing connections don't come from
// it, so that ports that are free there stay free.
func freeIP() string {
	var b [3]byte
	rand.Read(b[:])
	return fmt.Sprintf("127.%d.%d.%d", 1+b[0]%254, b[1], 1+b[2]%254)
}

// freePorts answers ports on which nobody listens at an address.
func freePorts(ip string, n int) ([]int, error) {
	ports := make([]int, 0, n)
	var open []net.Listener
	var errs []error
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0")) //nolint:noctx // binds and returns
		if err != nil {
			errs = append(errs, err)
			break
		}
		open = append(open, l)
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			errs = append(errs, err)
			break
		}
		number, err := strconv.Atoi(port)
		errs = append(errs, err)
		ports = append(ports, number)
	}
	for _, l := range open {
		errs = append(errs, l.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fail.E(fail.Unavailable, err, "find a free port on %s", ip)
	}
	return ports, nil
}

// program answers the path of a program, also where Debian keeps daemons; pkg is what to install if it is not there.
func program(pkg, name string, patterns ...string) (string, error) {
	if path, err := exec.LookPath(name); err == nil && len(patterns) == 0 {
		return path, nil
	}
	for _, pattern := range append(patterns, "/usr/sbin/"+name, "/sbin/"+name) {
		found, err := filepath.Glob(pattern)
		if err == nil && len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fail.E(fail.Unsupported, nil, "%s is not installed", name).Hint("apt-get install %s", pkg)
}
