package oci

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"hash"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// Algorithm is a digest algorithm of the image specification, "Digests". Its number is what the database keeps in front of the sum.
type Algorithm uint8

// The registered algorithms.
const (
	SHA256 Algorithm = 1
	SHA512 Algorithm = 2
)

// ParseAlgorithm reads "sha256" or "sha512". Errors are Invalid with DIGEST_INVALID.
func ParseAlgorithm(s string) (Algorithm, error) {
	switch s {
	case "sha256":
		return SHA256, nil
	case "sha512":
		return SHA512, nil
	}
	return 0, fail.E(fail.Invalid, nil, "digest algorithm %.40q", s).Code(CodeDigestInvalid).Hint("use sha256 or sha512")
}

// String answers the algorithm's registered name.
func (a Algorithm) String() string {
	switch a {
	case SHA256:
		return "sha256"
	case SHA512:
		return "sha512"
	}
	return "unknown"
}

// Size is the length of a sum in bytes, 0 for an unknown algorithm.
func (a Algorithm) Size() int {
	switch a {
	case SHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	}
	return 0
}

// New makes a hash of this algorithm. Its state can be marshalled.
func (a Algorithm) New() hash.Hash {
	if a == SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

// Digest is an algorithm and a sum. It is comparable; the zero Digest is none.
type Digest struct {
	algorithm Algorithm
	sum       [sha512.Size]byte
}

// ParseDigest reads "sha256:<64 lower-case hex digits>" or sha512 likewise. Errors are Invalid with DIGEST_INVALID.
func ParseDigest(s string) (Digest, error) {
	name, digits, _ := strings.Cut(s, ":")
	a, err := ParseAlgorithm(name)
	if err != nil {
		return Digest{}, err
	}
	d := Digest{algorithm: a}
	ok := len(digits) == 2*a.Size() && strings.ToLower(digits) == digits
	if ok {
		_, err = hex.Decode(d.sum[:a.Size()], []byte(digits))
		ok = err == nil
	}
	if !ok {
		return Digest{}, fail.E(fail.Invalid, nil, "digest %.160q", s).Code(CodeDigestInvalid).Hint("%s has %d lower-case hex digits", a, 2*a.Size())
	}
	return d, nil
}

// DigestFromBytes reads what Bytes wrote. Errors are Internal: only our own rows hold this form.
func DigestFromBytes(b []byte) (Digest, error) {
	if len(b) == 0 || Algorithm(b[0]).Size() == 0 || len(b) != 1+Algorithm(b[0]).Size() {
		return Digest{}, fail.E(fail.Internal, nil, "stored digest %x", b)
	}
	d := Digest{algorithm: Algorithm(b[0])}
	copy(d.sum[:], b[1:])
	return d, nil
}

// Sum digests data.
func Sum(a Algorithm, data []byte) Digest {
	d := Digest{algorithm: a}
	if a == SHA512 {
		d.sum = sha512.Sum512(data)
		return d
	}
	sum := sha256.Sum256(data)
	copy(d.sum[:], sum[:])
	return d
}

// FromHash answers the digest of what h, made by a.New, has seen.
func FromHash(a Algorithm, h hash.Hash) Digest {
	d := Digest{algorithm: a}
	h.Sum(d.sum[:0])
	return d
}

// Algorithm answers the digest's algorithm.
func (d Digest) Algorithm() Algorithm { return d.algorithm }

// IsZero reports whether d is none.
func (d Digest) IsZero() bool { return d.algorithm == 0 }

// Hex answers the sum in lower-case hex digits.
func (d Digest) Hex() string { return hex.EncodeToString(d.sum[:d.algorithm.Size()]) }

// String answers "algorithm:hex", "" for the zero Digest.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	name := d.algorithm.String()
	b := make([]byte, len(name)+1+2*d.algorithm.Size())
	n := copy(b, name)
	b[n] = ':'
	hex.Encode(b[n+1:], d.sum[:d.algorithm.Size()])
	return string(b)
}

// Bytes answers the algorithm's number and the sum: the form of the database.
func (d Digest) Bytes() []byte {
	b := make([]byte, 1+d.algorithm.Size())
	b[0] = byte(d.algorithm)
	copy(b[1:], d.sum[:])
	return b
}

// MarshalJSON writes the string.
func (d Digest) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the string; anything but a right digest is an error.
func (d *Digest) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	parsed, err := ParseDigest(s)
	*d = parsed
	return err
}
