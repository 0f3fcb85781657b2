package server

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync/atomic"
)

// maxRequestID is the longest id that is taken from a client: a UUID and more.
const maxRequestID = 64

// requestIDs makes ids: the process's own random beginning and a number. They name requests in logs and are no secret.
type requestIDs struct {
	start string
	next  atomic.Uint64
}

func newRequestIDs() *requestIDs {
	var b [5]byte
	_, err := rand.Read(b[:])
	if err != nil {
		b = [5]byte{} // crypto/rand says that it never fails; ids without a beginning would do
	}
	return &requestIDs{start: hex.EncodeToString(b[:]) + "-"}
}

// of answers the client's id if it is sane, else a new one.
func (r *requestIDs) of(given string) string {
	if given != "" && saneRequestID(given) {
		return given
	}
	var b [32]byte
	return string(strconv.AppendUint(append(b[:0], r.start...), r.next.Add(1), 10))
}

// saneRequestID reports whether a client's id may stand in logs and headers.
func saneRequestID(s string) bool {
	if len(s) > maxRequestID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != ':' && c != '/' && c != '+' && c != '=' {
			return false
		}
	}
	return true
}
