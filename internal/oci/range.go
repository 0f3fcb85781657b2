package oci

import (
	"math"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// ParseContentRange reads the Content-Range of a chunk: "0-1023", which is the specification's form (Distribution Specification, "Pushing a blob
// in chunks"), and HTTP's "bytes 0-1023/2048" and "bytes 0-1023/*", which some clients send. Both ends count, so that the chunk has to-from+1
// bytes, which an int64 holds. Errors are Invalid with BLOB_UPLOAD_INVALID.
func ParseContentRange(s string) (from, to int64, err error) {
	text := strings.TrimSpace(s)
	if unit, rest, ok := strings.Cut(text, " "); ok && strings.EqualFold(unit, "bytes") {
		text = strings.TrimSpace(rest)
	}
	text, total, hasTotal := strings.Cut(text, "/")
	first, last, _ := strings.Cut(text, "-")
	from, ok := parseOffset(first)
	to, okTo := parseOffset(last)
	ok = ok && okTo && from <= to && to < math.MaxInt64
	if hasTotal && total != "*" {
		all, okAll := parseOffset(total)
		ok = ok && okAll && to < all
	}
	if !ok {
		return 0, 0, fail.E(fail.Invalid, nil, "Content-Range %.60q", s).Code(CodeBlobUploadInvalid).Hint("write <first byte>-<last byte>, as in 0-1023")
	}
	return from, to, nil
}

func parseOffset(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}
