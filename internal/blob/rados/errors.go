//go:build rados

package rados

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sys/unix"

	"github.com/havn-registry/havn/internal/fail"
)

// answered is an error of librados: its number, and the system's name for it.
type answered syscall.Errno

func (a answered) Error() string {
	if name := unix.ErrnoName(syscall.Errno(a)); name != "" {
		return fmt.Sprintf("Ceph answers %s (%s)", name, syscall.Errno(a).Error())
	}
	return fmt.Sprintf("Ceph answers error %d", int(a))
}

// answerOf answers the number of an error of librados, false if it is none of its.
func answerOf(err error) (answered, bool) {
	var a answered
	if errors.As(err, &a) {
		return a, true
	}
	var op rados.OperationError
	if errors.As(err, &op) {
		err = op.OpError
	}
	var coded interface{ ErrorCode() int }
	if !errors.As(err, &coded) {
		return 0, false
	}
	n := coded.ErrorCode()
	return answered(max(n, -n)), true
}

func isCode(err error, code syscall.Errno) bool {
	a, ok := answerOf(err)
	return ok && syscall.Errno(a) == code
}

// passing reports whether an error of a write may pass by itself. Most that would, librados waits for.
func passing(err error) bool {
	a, ok := answerOf(err)
	if !ok {
		return false
	}
	switch syscall.Errno(a) {
	case syscall.ETIMEDOUT, syscall.EAGAIN, syscall.EINTR, syscall.EBUSY, syscall.ECONNRESET:
		return true
	default:
		return false
	}
}

// failed gives an error of librados its kind, and says what to do.
func (d *Driver) failed(err error, format string, args ...any) error {
	a, ok := answerOf(err)
	if !ok {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
		}
		kind := fail.Unavailable
		var known *fail.Error
		if errors.As(err, &known) {
			kind = fail.KindOf(err)
		}
		return fail.E(kind, err, format, args...)
	}
	kind, hint := d.judge(a)
	e := fail.E(kind, a, format, args...)
	if hint != "" {
		e = e.Hint("%s", hint)
	}
	return e
}

// judge answers the kind of what Ceph said, and what to do. That it refuses Havn is nothing that Havn's client could change.
func (d *Driver) judge(a answered) (fail.Kind, string) {
	switch syscall.Errno(a) {
	case syscall.ENOENT:
		if d.poolGone() {
			return fail.Unavailable, fmt.Sprintf("the pool %s is gone: restore it, or correct storage.rados.pool", d.cfg.Pool)
		}
		return fail.NotFound, ""
	case syscall.EEXIST:
		return fail.Exists, ""
	case syscall.EPERM, syscall.EACCES:
		return fail.Unavailable, d.capsHint()
	case syscall.ENOSPC:
		return fail.Exhausted, "the cluster or the pool is full (`ceph df`, `ceph health detail`): add room, or delete repositories, whose room is free after sweep.dead_grace"
	case syscall.EDQUOT:
		return fail.Exhausted, fmt.Sprintf("the quota of the pool %s is reached: raise it (`ceph osd pool set-quota`), or delete repositories, whose room is free after sweep.dead_grace", d.cfg.Pool)
	case syscall.ETIMEDOUT:
		return fail.Unavailable, "OSDs or monitors do not answer: look at `ceph health detail`, and at the network to them"
	case syscall.ESHUTDOWN:
		return fail.Unavailable, "the cluster has locked this client out: look at `ceph osd blocklist ls`, and start Havn again"
	case syscall.ENOTCONN:
		return fail.Unavailable, "the connection to the cluster is over: start Havn again"
	case syscall.EIO:
		return fail.Unavailable, "an OSD can't read or write its disk: look at `ceph health detail`"
	case syscall.EINVAL, syscall.EOPNOTSUPP:
		return fail.Internal, "the pool does not take what Havn asks for: is it an ordinary one, replicated or erasure coded?"
	default:
		return fail.Unavailable, "look at `ceph health detail`"
	}
}

// capsHint says what the user must be allowed.
func (d *Driver) capsHint() string {
	osd := "allow rw pool=" + d.cfg.Pool
	if d.cfg.Namespace != "" {
		osd += " namespace=" + d.cfg.Namespace
	}
	return fmt.Sprintf("let the user read and write there: `ceph auth caps %s mon 'allow r' osd '%s'`", d.cfg.client(), osd)
}

// poolGone reports whether the pool that was opened is no more. The answer comes from the map of the cluster that is at hand.
func (d *Driver) poolGone() bool {
	if d.io == nil {
		return false
	}
	_, err := d.conn.GetPoolByName(d.cfg.Pool)
	return isCode(err, syscall.ENOENT)
}

// Classify answers the kind of an error of a reader: see blob.Driver.
func (d *Driver) Classify(err error) fail.Kind {
	var known *fail.Error
	if errors.As(err, &known) {
		return fail.KindOf(err)
	}
	if a, ok := answerOf(err); ok {
		kind, _ := d.judge(a)
		return kind
	}
	if errors.Is(err, io.EOF) {
		return fail.Internal
	}
	return fail.Unavailable
}
