package blob

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
)

// Names look like "objects/3f/" and 32 random hex digits. The folder is not part of the randomness: a process stays in one for perFolder names and
// then takes the next, so that writers at the same time share a folder and with it one flush of the folder.
const (
	prefix    = "objects/"
	hexBytes  = 16
	nameLen   = len(prefix) + 3 + 2*hexBytes
	folders   = 256
	perFolder = 512
)

type names struct{ made atomic.Uint64 }

// begin chooses the first folder, another one at every start.
func (n *names) begin() {
	var b [1]byte
	rand.Read(b[:]) //nolint:errcheck // it never returns an error (crypto/rand, since Go 1.24)
	n.made.Store(uint64(b[0]) * perFolder)
}

// NewName makes a name that no object has.
func (s *Store) NewName() string {
	var b [hexBytes]byte
	rand.Read(b[:]) //nolint:errcheck // it never returns an error (crypto/rand, since Go 1.24)
	folder := s.names.made.Add(1) / perFolder % folders
	return fmt.Sprintf("%s%02x/%s", prefix, folder, hex.EncodeToString(b[:]))
}

// IsOwnName reports whether NewName could have made the name. Only such objects are ever swept.
func IsOwnName(name string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || len(name) != nameLen || rest[2] != '/' {
		return false
	}
	for i, c := range []byte(rest) {
		if i != 2 && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
