package listing

import (
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// These are for lists that are not made of columns here: they take out of an Ask what they know, and refuse the rest.

// Text takes the filters on a text out: it is exactly this, or contains that; "" for what is not asked for.
func (a *Ask) Text(field string) (exact, part string, err error) {
	for _, f := range a.Take(field) {
		switch f.Op {
		case Equals:
			exact = f.Values[0]
		case Contains:
			part = f.Values[0]
		default:
			return "", "", fail.E(fail.Invalid, nil, "%.60s in q", field).Hint("write %s=v or %s=~v", field, field)
		}
	}
	return exact, part, nil
}

// Number takes the filter on a number out: it is exactly this; told says whether it is asked for.
func (a *Ask) Number(field string) (n int64, told bool, err error) {
	for _, f := range a.Take(field) {
		text, one := f.Only()
		v, ok := readNumber(text)
		read, isNumber := v.(int64)
		if n = read; !ok || !isNumber || !one {
			return 0, false, fail.E(fail.Invalid, nil, "%.60s in q", field).Hint("write %s=1", field)
		}
		told = true
	}
	return n, told, nil
}

// Flag takes the filter on a flag out; nil: it is not asked for.
func (a *Ask) Flag(field string) (*bool, error) {
	var flag *bool
	for _, f := range a.Take(field) {
		text, one := f.Only()
		v, ok := readFlag(text)
		is, isFlag := v.(bool)
		if !ok || !isFlag || !one {
			return nil, fail.E(fail.Invalid, nil, "%.60s in q", field).Hint("write %s=true or %s=false", field, field)
		}
		flag = &is
	}
	return flag, nil
}

// Times answers the ends of a filter on a time, both included; zero for an open end.
func (f Filter) Times() (from, to time.Time, err error) {
	ends := f.Values
	if f.Op == Equals {
		ends = []string{f.Values[0], f.Values[0]}
	}
	var all [2]time.Time
	for i, text := range ends {
		if text == "" {
			continue
		}
		v, ok := readTime(text)
		at, isTime := v.(int64)
		if !ok || !isTime || f.Op != Equals && f.Op != Between {
			return from, to, fail.E(fail.Invalid, nil, "%.60s in q", f.Field).Hint("write %s=[2026-01-01T00:00:00~2026-02-01T00:00:00], in UTC", f.Field)
		}
		all[i] = time.UnixMicro(at)
	}
	return all[0], all[1], nil
}

// OneOrder answers the order for lists that are sorted by one field, which must be one of these; the zero Order if none is asked for.
func (a *Ask) OneOrder(fields ...string) (Order, error) {
	if len(a.Order) == 0 {
		return Order{}, nil
	}
	first := a.Order[0]
	for _, known := range fields {
		if fold(known) == fold(first.Field) {
			return Order{Field: known, Descending: first.Descending}, nil
		}
	}
	return Order{}, fail.E(fail.Invalid, nil, "no field %.60q to sort by in this list", first.Field).Hint("it has %s", strings.Join(fields, ", "))
}

// NothingElse refuses filters that were not taken out.
func (a *Ask) NothingElse(known ...string) error {
	if len(a.Filters) == 0 {
		return nil
	}
	return fail.E(fail.Invalid, nil, "no field %.60q in this list", a.Filters[0].Field).Hint("it has %s", strings.Join(known, ", "))
}
