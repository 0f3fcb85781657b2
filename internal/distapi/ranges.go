package distapi

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// maxRanges bounds the parts of one answer: each small range costs a header of its own, so many of them would multiply what a client asks for.
const maxRanges = 100

// beyond is a range that no blob reaches.
const beyond = "9223372036854775807-"

// readRanges answers the ranges that are asked for, "" for the whole, and refuses more than maxRanges of them. It changes the request so that http.ServeContent reads the same: that takes every unit but
// its own spelling of bytes for a mistake, where units have no case, and ranges in one that is not known are to be ignored (RFC 9110, 14.1 and 14.2).
func readRanges(header http.Header) (asked string, err error) {
	asked = header.Get("Range")
	unit, list, ok := strings.Cut(asked, "=")
	switch {
	case !ok:
		return asked, nil
	case !strings.EqualFold(unit, "bytes"):
		header.Del("Range")
		return "", nil
	case strings.Count(list, ",") >= maxRanges:
		return asked, fail.E(fail.RangeInvalid, nil, "more than %d ranges", maxRanges).Hint("ask for fewer at once")
	}
	asked = "bytes=" + list
	header.Set("Range", asked)
	return asked, nil
}

// withoutEmptyRanges changes a request for ranges so that http.ServeContent answers none of no bytes, of which it says that they end before they begin: "bytes=-0" is 416 (RFC 9110, 14.1.2), and
// of an empty blob only the whole is served (14.2). See https://github.com/golang/go/issues/81262, open in Go 1.27.
func withoutEmptyRanges(header http.Header, size int64) {
	list, ok := strings.CutPrefix(header.Get("Range"), "bytes=")
	switch {
	case !ok:
		return
	case size == 0:
		header.Del("Range")
		return
	}
	ranges := strings.Split(list, ",")
	for i, r := range ranges {
		if isLastZero(textproto.TrimString(r)) {
			ranges[i] = beyond
		}
	}
	header.Set("Range", "bytes="+strings.Join(ranges, ","))
}

// isLastZero reports whether a range is of the last 0 bytes, as net/http reads it.
func isLastZero(r string) bool {
	last, ok := strings.CutPrefix(r, "-")
	last = textproto.TrimString(last)
	if !ok || strings.HasPrefix(last, "-") {
		return false
	}
	n, err := strconv.ParseInt(last, 10, 64)
	return n == 0 && err == nil
}
