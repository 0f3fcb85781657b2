package sqldb

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
)

// NewID answers a random positive number of 63 bits: the key of a new row, made before the transaction that inserts it.
func NewID() int64 {
	var b [8]byte
	rand.Read(b[:])
	return max(1, int64(binary.BigEndian.Uint64(b[:])>>1))
}

// NewToken answers 128 random bits in hex: the name of an upload or an operation.
func NewToken() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
