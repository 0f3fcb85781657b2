package listing

import (
	"maps"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// Kind is what a column holds.
type Kind int

// The kinds. Times are microseconds since 1970.
const (
	Text Kind = iota
	Number
	Time
	Flag
)

// Field is a column that a list can be filtered and sorted by. Column is an expression of our own.
type Field struct {
	Column string
	Kind   Kind
}

// Fields are those of one list, by the names that clients know. Names are compared without underscores and case: Harbor takes project_id and ProjectID for the same.
type Fields map[string]Field

// fold brings a name to the form in which names are compared.
func fold(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// Same reports whether two names that clients write mean the same field.
func (f Fields) Same(one, other string) bool { return fold(one) == fold(other) }

func (f Fields) find(name string) (Field, error) {
	for known, field := range f {
		if fold(known) == fold(name) {
			return field, nil
		}
	}
	return Field{}, fail.E(fail.Invalid, nil, "no field %.60q in this list", name).Hint("it has %s", strings.Join(slices.Sorted(maps.Keys(f)), ", "))
}

// Where answers the condition of an Ask, to stand behind AND, and its parameters. Invalid: a field that the list does not have, or a value that the field can't have.
func (f Fields) Where(a Ask) (condition string, args []any, err error) {
	var all []string
	for _, filter := range a.Filters {
		field, cause := f.find(filter.Field)
		if cause != nil {
			return "", nil, cause
		}
		text, values, cause := field.condition(filter)
		if cause != nil {
			return "", nil, cause
		}
		all, args = append(all, text), append(args, values...)
	}
	if len(all) == 0 {
		return "1 = 1", nil, nil
	}
	return strings.Join(all, " AND "), args, nil
}

// OrderBy answers what stands behind ORDER BY: the asked order, or the list's own, and then, so that pages do not overlap, what tells all rows apart.
func (f Fields) OrderBy(a Ask, otherwise, unique string) (string, error) {
	var all []string
	for _, o := range a.Order {
		field, err := f.find(o.Field)
		if err != nil {
			return "", err
		}
		direction := ""
		if o.Descending {
			direction = " DESC"
		}
		all = append(all, field.Column+direction)
	}
	if len(all) == 0 && otherwise != "" {
		all = append(all, otherwise)
	}
	return strings.Join(append(all, unique), ", "), nil
}

func (f Field) condition(filter Filter) (string, []any, error) {
	switch filter.Op {
	case Contains:
		if f.Kind != Text {
			return "", nil, f.refuse(filter, filter.Values[0])
		}
		return "LOWER(" + f.Column + ") LIKE LOWER(?) ESCAPE '!'", []any{"%" + escaped(filter.Values[0]) + "%"}, nil
	case Between:
		return f.between(filter)
	case OneOf, AllOf:
		return f.list(filter)
	default:
		v, err := f.value(filter, filter.Values[0])
		return f.Column + " = ?", []any{v}, err
	}
}

func (f Field) between(filter Filter) (string, []any, error) {
	var all []string
	var args []any
	for i, sign := range []string{" >= ?", " <= ?"} {
		if filter.Values[i] == "" {
			continue
		}
		v, err := f.value(filter, filter.Values[i])
		if err != nil {
			return "", nil, err
		}
		all, args = append(all, f.Column+sign), append(args, v)
	}
	return strings.Join(all, " AND "), args, nil
}

// list is the condition of a list. A column has one value, so that all of several different ones can't hold; nothing is one of none.
func (f Field) list(filter Filter) (string, []any, error) {
	args := make([]any, 0, len(filter.Values))
	for _, text := range filter.Values {
		v, err := f.value(filter, text)
		if err != nil {
			return "", nil, err
		}
		if !slices.Contains(args, v) {
			args = append(args, v)
		}
	}
	switch {
	case filter.Op == OneOf && len(args) == 0, filter.Op == AllOf && len(args) > 1:
		return "1 = 0", nil, nil
	case len(args) == 0:
		return "1 = 1", nil, nil
	}
	return f.Column + " IN (?" + strings.Repeat(", ?", len(args)-1) + ")", args, nil
}

func (f Field) value(filter Filter, text string) (any, error) {
	var v any = text
	ok := true
	switch f.Kind {
	case Number:
		v, ok = readNumber(text)
	case Time:
		v, ok = readTime(text)
	case Flag:
		v, ok = readFlag(text)
	default:
	}
	if !ok {
		return nil, f.refuse(filter, text)
	}
	return v, nil
}

func (f Field) refuse(filter Filter, text string) error {
	form := [...]string{"a text", "a number", "a time like 2026-01-31T12:00:00 (UTC)", "true or false"}[f.Kind]
	return fail.E(fail.Invalid, nil, "%.60s can't be compared with %.60q so", filter.Field, text).Hint("it is %s", form)
}

// escaped keeps what LIKE takes for more than itself.
func escaped(s string) string { return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s) }
