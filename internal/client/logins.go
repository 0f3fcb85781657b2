package client

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// maxLogins bounds the file in bytes: far above what hundreds of servers need.
const maxLogins = 8 << 20

// Login is who somebody is at a server: never his password.
type Login struct {
	User    string    `json:"user"`
	Secret  string    `json:"secret"` // a personal access token, or a robot account's secret
	Made    bool      `json:"made"`   // the token was made by the login: a logout ends it
	UserID  int64     `json:"user_id,omitempty"`
	TokenID int64     `json:"token_id,omitempty"`
	Expires time.Time `json:"expires_at,omitzero"`
	CA      string    `json:"ca,omitempty"` // PEM
}

// Logins are a person's logins, in a file that only he reads.
type Logins struct {
	Default string           `json:"default"` // the server of the last login
	Servers map[string]Login `json:"servers"`

	path string
}

// ReadLogins reads the file; one that is not there is empty. Others must not be able to read it: Denied.
func ReadLogins(path string) (*Logins, error) {
	l := &Logins{Servers: map[string]Login{}, path: path}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil
	case err != nil:
		return nil, fail.E(fail.Unavailable, err, "read the logins")
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fail.E(fail.Denied, nil, "%s can be read by others (mode %04o)", path, info.Mode().Perm()).Hint("chmod 600 %s; who may have read it can act in your name: log out and in again", path)
	case info.Size() > maxLogins:
		return nil, fail.E(fail.TooLarge, nil, "%s has %d bytes", path, info.Size()).Hint("move it away and log in again")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fail.E(fail.Unavailable, err, "read the logins")
	}
	if err = json.Unmarshal(text, l); err != nil {
		return nil, fail.E(fail.Invalid, err, "%s is not as `havn login` wrote it", path).Hint("move it away and log in again")
	}
	if l.Servers == nil {
		l.Servers = map[string]Login{}
	}
	return l, nil
}

// Path answers where the file is.
func (l *Logins) Path() string { return l.path }

// Names answers the servers, in order.
func (l *Logins) Names() []string { return slices.Sorted(maps.Keys(l.Servers)) }

// Put sets the login at a server, which is the default from then on, and writes the file.
func (l *Logins) Put(server string, login Login) error {
	l.Servers[server], l.Default = login, server
	return l.write()
}

// Forget takes the login at a server away, and writes the file. Another one becomes the default.
func (l *Logins) Forget(server string) error {
	delete(l.Servers, server)
	if l.Default == server {
		l.Default = ""
		if names := l.Names(); len(names) > 0 {
			l.Default = names[0]
		}
	}
	return l.write()
}

// write puts the whole file in its place at once, so that one that is broken off leaves the former.
func (l *Logins) write() (err error) {
	if l.path == "" {
		return fail.E(fail.Conflict, nil, "there is no place to keep a login").Hint("set HOME or XDG_CONFIG_HOME")
	}
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fail.E(fail.Internal, err, "write the logins")
	}
	dir := filepath.Dir(l.path)
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return fail.E(fail.Unavailable, err, "write the logins").Hint("XDG_CONFIG_HOME or HOME says where they are")
	}
	next, err := os.CreateTemp(dir, ".logins-*") // mode 0600
	if err != nil {
		return fail.E(fail.Unavailable, err, "write the logins")
	}
	_, err = next.Write(append(text, '\n'))
	if err = errors.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), l.path)
	}
	if err != nil {
		return fail.E(fail.Unavailable, errors.Join(err, os.Remove(next.Name())), "write the logins")
	}
	return nil
}
