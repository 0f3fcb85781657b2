package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/havn-registry/havn/internal/fail"
)

// passwordName is the file in the data directory for a password that was made and that no terminal could show.
const passwordName = "initial-admin-password"

// handOver gives the operator the password that the first start makes: on the terminal, or, where standard error ends in a log that others
// read, in a file of its own whose path is logged.
type handOver struct {
	dir      string
	terminal bool
	out      io.Writer
	log      *slog.Logger
	file     string // that was written
}

// announce is called before the password counts: a crash after it costs nothing, because the next start makes another one.
func (h *handOver) announce(password string) error {
	if h.terminal {
		_, err := fmt.Fprintf(h.out, "\n  The user admin is made. Its password, shown this once:\n\n      %s\n\n", password)
		return err
	}
	path, err := filepath.Abs(filepath.Join(h.dir, passwordName))
	if err != nil {
		return fail.E(fail.Internal, err, "place of the password")
	}
	if err = writeSecret(path, password+"\n"); err != nil {
		return dirError(err, path)
	}
	h.file = path
	return nil
}

// settle is called when it is known which password counts; "" is one that was not made here.
func (h *handOver) settle(password string) error {
	if h.file == "" {
		return nil
	}
	if password == "" {
		return os.Remove(h.file)
	}
	h.log.Warn("the user admin was made, its password is in a file; delete the file once you have it", "file", h.file)
	return nil
}

// writeSecret writes a file that its owner alone reads, durably.
func writeSecret(path, text string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close(), flushDir(filepath.Dir(path)))
}
