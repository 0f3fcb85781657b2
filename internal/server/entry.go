package server

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/config"
)

// entry writes one line of the access log, in the form that slog gives to the other lines. It is written by hand because it is written for
// each request: slog's own handlers take several times as long.
type entry struct {
	json bool
	buf  []byte
}

// begin starts a line.
func (e *entry) begin(format config.LogFormat, at time.Time, msg string) {
	e.json, e.buf = format == config.JSON, e.buf[:0]
	if e.json {
		e.buf = append(e.buf, `{"time":"`...)
		e.buf = at.AppendFormat(e.buf, "2006-01-02T15:04:05.000Z07:00")
		e.buf = append(e.buf, `","level":"INFO","msg":"`...)
		e.buf = append(append(e.buf, msg...), '"')
		return
	}
	e.buf = append(e.buf, "time="...)
	e.buf = at.AppendFormat(e.buf, "2006-01-02T15:04:05.000Z07:00")
	e.buf = append(append(e.buf, " level=INFO msg="...), msg...)
}

func (e *entry) key(name string) {
	if e.json {
		e.buf = append(append(append(e.buf, `,"`...), name...), `":`...)
		return
	}
	e.buf = append(append(append(e.buf, ' '), name...), '=')
}

// text adds a text that may come from a client: whatever it holds, it stays on its line and in its place.
func (e *entry) text(name, s string) {
	e.key(name)
	switch {
	case plain(s) && e.json:
		e.buf = append(append(append(e.buf, '"'), s...), '"')
	case plain(s) && s != "":
		e.buf = append(e.buf, s...)
	case e.json:
		e.buf = appendJSON(e.buf, s)
	default:
		e.buf = strconv.AppendQuote(e.buf, s)
	}
}

func (e *entry) number(name string, n int64) {
	e.key(name)
	e.buf = strconv.AppendInt(e.buf, n, 10)
}

// milliseconds adds a duration as a number with three digits behind the point.
func (e *entry) milliseconds(name string, d time.Duration) {
	e.key(name)
	e.buf = strconv.AppendFloat(e.buf, float64(d.Microseconds())/1000, 'f', 3, 64)
}

// end completes the line.
func (e *entry) end() []byte {
	if e.json {
		e.buf = append(e.buf, '}')
	}
	e.buf = append(e.buf, '\n')
	return e.buf
}

// plain reports whether a text needs no quotes in either form.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= utf8.RuneSelf || c == 0x7f {
			return false
		}
	}
	return true
}

// appendJSON writes a string of JSON. Bytes that are no UTF-8 become U+FFFD.
func appendJSON(buf []byte, s string) []byte {
	const hex = "0123456789abcdef"
	buf = append(buf, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			buf = append(buf, '\\', byte(r))
		case r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029:
			buf = append(buf, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			buf = utf8.AppendRune(buf, r)
		}
	}
	return append(buf, '"')
}
