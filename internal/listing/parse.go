package listing

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/fail"
)

// CodePage is the code of the error that a page can't be: Harbor tells it apart from what is wrong in q and sort.
const CodePage = "UNPROCESSABLE_ENTITY"

const (
	// MaxPage is the largest page.
	MaxPage = 100
	// maxText bounds q and sort in bytes: many times what tools send.
	maxText = 4096
	// maxFilters and maxValues bound one question: each value is a parameter of the query.
	maxFilters = 20
	maxValues  = 100
	// maxNumber is the last page that can be asked for, so that no offset overflows.
	maxNumber = 1 << 31
)

// Op is how a filter compares.
type Op int

// The ways. Of Between, one end may be open.
const (
	Equals   Op = iota // k=v
	Contains           // k=~v, in whatever case
	Between            // k=[a~b], both ends included
	OneOf              // k={a b}
	AllOf              // k=(a b)
)

// Filter is one condition, as it was written: values are read when the field is known.
type Filter struct {
	Field  string
	Op     Op
	Values []string // of Between: two, "" for an open end
}

// Only answers the value of a filter for exactly one; others may have none at all, as in field={}.
func (f Filter) Only() (string, bool) {
	if f.Op != Equals {
		return "", false
	}
	return f.Values[0], true
}

// Order is one field of the order.
type Order struct {
	Field      string
	Descending bool
}

// Ask is what a client asks of a list.
type Ask struct {
	Filters []Filter
	Order   []Order
	Page    int64 // counts from 1
	Size    int64 // 1 to MaxPage
}

// Offset answers how many entries are on the pages before.
func (a Ask) Offset() int64 { return (a.Page - 1) * a.Size }

// Take takes the filters of a field out, for a list that treats it in its own way.
func (a *Ask) Take(field string) []Filter {
	var taken, left []Filter
	for _, f := range a.Filters {
		if fold(f.Field) == fold(field) {
			taken = append(taken, f)
		} else {
			left = append(left, f)
		}
	}
	a.Filters = left
	return taken
}

// Parse reads q, sort, page and page_size. Page 0 is the first, and size 0 is MaxPage: tools send them for what they mean to be all. Invalid otherwise, with CodePage for a page that can't be.
func Parse(q, sort string, page, size int64) (Ask, error) {
	a := Ask{Page: max(page, 1), Size: size}
	if size == 0 {
		a.Size = MaxPage
	}
	if size > MaxPage { // 422, as in Harbor
		return Ask{}, fail.E(fail.Invalid, nil, "page_size %d", size).Code(CodePage).Hint("it is at most %d", MaxPage)
	}
	if page < 0 || page > maxNumber || size < 0 {
		return Ask{}, fail.E(fail.Invalid, nil, "page %d of %d entries", page, size).Hint("page counts from 1, and page_size is at most %d", MaxPage)
	}
	if len(q) > maxText || len(sort) > maxText {
		return Ask{}, fail.E(fail.Invalid, nil, "q or sort of more than %d bytes", maxText).Hint("ask for less at once")
	}
	var err error
	if a.Filters, err = parseFilters(q); err != nil {
		return Ask{}, err
	}
	a.Order, err = parseOrder(sort)
	return a, err
}

// parseFilters reads q. Some tools escape it twice, which Harbor takes.
func parseFilters(q string) ([]Filter, error) {
	if q == "" {
		return nil, nil
	}
	if plain, err := url.QueryUnescape(q); err == nil {
		q = plain
	}
	if !utf8.ValidString(q) || strings.ContainsRune(q, 0) {
		return nil, fail.E(fail.Invalid, nil, "q=%.100q", q).Hint("it is UTF-8 without NUL")
	}
	var all []Filter
	for part := range strings.SplitSeq(q, ",") {
		field, value, ok := strings.Cut(part, "=")
		if !ok || field == "" || value == "" {
			return nil, fail.E(fail.Invalid, nil, "q has %.100q", part).Hint("write field=value, several with commas between")
		}
		f, err := parseFilter(field, value)
		if err != nil {
			return nil, err
		}
		if all = append(all, f); len(all) > maxFilters {
			return nil, fail.E(fail.Invalid, nil, "q has more than %d conditions", maxFilters).Hint("ask for less at once")
		}
	}
	return all, nil
}

func parseFilter(field, value string) (Filter, error) {
	f := Filter{Field: field, Values: []string{value}}
	first, last := value[0], value[len(value)-1]
	var ok bool
	switch first {
	case '~':
		f.Op, f.Values, ok = Contains, []string{value[1:]}, len(value) > 1
	case '[':
		var from, to string
		from, to, ok = strings.Cut(strings.TrimSuffix(value[1:], "]"), "~")
		from, to = strings.TrimSpace(from), strings.TrimSpace(to)
		f.Op, f.Values = Between, []string{unquoted(from), unquoted(to)}
		ok = ok && last == ']' && !strings.Contains(to, "~") && from+to != ""
	case '{':
		f.Op, f.Values, ok = OneOf, parseList(value), last == '}'
	case '(':
		f.Op, f.Values, ok = AllOf, parseList(value), last == ')'
	case '\\': // what follows is meant as it is
		f.Values, ok = []string{value[1:]}, true
	default:
		ok = true
	}
	if !ok || len(f.Values) > maxValues {
		return Filter{}, fail.E(fail.Invalid, nil, "q has %.100q", field+"="+value).Hint("values are v, ~v, [a~b], {a b} or (a b), lists of at most %d", maxValues)
	}
	return f, nil
}

// parseList reads the values of {a b} and (a b).
func parseList(value string) []string {
	if len(value) < 2 {
		return nil
	}
	var all []string
	for v := range strings.SplitSeq(value[1:len(value)-1], " ") {
		if v = unquoted(v); v != "" {
			all = append(all, v)
		}
	}
	return all
}

func unquoted(v string) string { return strings.Trim(v, `"'`) }

func parseOrder(sort string) ([]Order, error) {
	var all []Order
	for field := range strings.SplitSeq(sort, ",") {
		if field == "" {
			continue
		}
		name, descending := strings.CutPrefix(field, "-")
		if all = append(all, Order{name, descending}); len(all) > maxFilters {
			return nil, fail.E(fail.Invalid, nil, "sort has more than %d fields", maxFilters).Hint("sort by fewer")
		}
	}
	return all, nil
}

// readNumber, readTime and readFlag read a value of q.
func readNumber(v string) (any, bool) {
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil
}

func readFlag(v string) (any, bool) {
	b, err := strconv.ParseBool(v)
	return b, err == nil
}

// readTime reads a time of UTC in one of the forms that Harbor and its tools write, or seconds since 1970, as microseconds.
func readTime(v string) (any, bool) {
	for _, form := range []string{"2006-01-02T15:04:05", time.RFC3339, "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.Parse(form, v); err == nil {
			return t.UnixMicro(), true
		}
	}
	if s, err := strconv.ParseInt(v, 10, 64); err == nil && s > -maxSeconds && s < maxSeconds {
		return s * 1e6, true
	}
	return nil, false
}

// maxSeconds is beyond the year 9999.
const maxSeconds = 1 << 38
