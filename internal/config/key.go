package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// value is what a source gave for a key: one text, or several if the key is a list.
type value []string

// key is one row of the table: everything that is known about a key.
type key struct {
	path     string // as in the file: sections joined by dots
	kind     string // what a reader calls its type
	allowed  string // what values can be, in words
	fallback value
	doc      string
	example  string
	unset    string // what the empty default means, for the reference
	secret   bool
	list     bool
	flag     bool // has a flag of its own
	set      func(c *Config, v value) error
	show     func(c *Config) any    // string, bool, int64, float64 or []string, as it would be written in the file
	reveal   func(c *Config) string // of a secret: the secret itself
}

// env is the name of the variable for a key.
func (k key) env() string { return "HAVN_" + strings.ToUpper(strings.ReplaceAll(k.path, ".", "_")) }

// flagName is the name of the flag of a key that has one.
func (k key) flagName() string { return strings.NewReplacer(".", "-", "_", "-").Replace(k.path) }

// common marks a key that has a flag.
func (k key) common() key {
	k.flag = true
	return k
}

// like gives an example for the reference and for error messages.
func (k key) like(example string) key {
	k.example = example
	return k
}

// empty says what it means that the key has no value.
func (k key) empty(meaning string) key {
	k.unset = meaning
	return k
}

// parsed makes a key whose value is one text that parse understands and write writes.
func parsed[T any](path, kind, allowed, fallback, doc string, at func(*Config) *T, parse func(string) (T, error), write func(T) any) key {
	return key{
		path: path, kind: kind, allowed: allowed, fallback: value{fallback}, doc: doc,
		set: func(c *Config, v value) error {
			if len(v) != 1 {
				return fmt.Errorf("is a list, and the key takes one value")
			}
			got, err := parse(v[0])
			if err == nil {
				*at(c) = got
			}
			return err
		},
		show: func(c *Config) any { return write(*at(c)) },
	}
}

// listed makes a key whose value is a list; each element is what parse understands.
func listed[T any](path, kind, allowed string, fallback value, doc string, at func(*Config) *[]T, parse func(string) (T, error), write func(T) string) key {
	return key{
		path: path, kind: kind, allowed: allowed, fallback: fallback, doc: doc, list: true,
		set: func(c *Config, v value) error {
			all := make([]T, 0, len(v))
			seen := map[string]bool{}
			for _, text := range v {
				one, err := parse(text)
				if err != nil {
					return err
				}
				form := write(one)
				if seen[form] {
					return fmt.Errorf("%q is there twice", text)
				}
				seen[form] = true
				all = append(all, one)
			}
			*at(c) = all
			return nil
		},
		show: func(c *Config) any {
			all := []string{}
			for _, one := range *at(c) {
				all = append(all, write(one))
			}
			return all
		},
	}
}

func text[T ~string](path, allowed, fallback, doc string, at func(*Config) *T, check func(string) error) key {
	return parsed(path, "text", allowed, fallback, doc, at, func(s string) (T, error) {
		if strings.ContainsRune(s, 0) {
			return "", fmt.Errorf("contains a NUL byte")
		}
		return T(s), check(s)
	}, func(v T) any { return string(v) })
}

func anyText(string) error { return nil }

func someText(s string) error {
	if s == "" {
		return fmt.Errorf("is empty")
	}
	return nil
}

// secret is a key whose value is not shown, not even when it is refused. It may be empty: then there is none.
func secret(path, allowed, doc string, at func(*Config) *Secret, least, most int) key {
	k := parsed(path, "secret", allowed, "", doc, at, func(s string) (Secret, error) {
		switch {
		case s != "" && len(s) < least:
			return Secret{}, fmt.Errorf("has %d bytes, too few", len(s))
		case len(s) > most:
			return Secret{}, fmt.Errorf("has %d bytes, too many", len(s))
		}
		return NewSecret(s), nil
	}, func(v Secret) any { return v.String() })
	k.secret = true
	k.reveal = func(c *Config) string { return at(c).Reveal() }
	return k
}

func toggle(path string, fallback bool, doc string, at func(*Config) *bool) key {
	return parsed(path, "true or false", "true or false", strconv.FormatBool(fallback), doc, at, func(s string) (bool, error) {
		switch s {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return false, fmt.Errorf("%q is neither true nor false", s)
	}, func(v bool) any { return v })
}

// choice is a key that takes one of a few words.
func choice[T any](path, fallback, doc string, at func(*Config) *T, words []string, values []T, same func(a, b T) bool) key {
	allowed := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	return parsed(path, "word", allowed, fallback, doc, at, func(s string) (T, error) {
		for i, w := range words {
			if w == s {
				return values[i], nil
			}
		}
		var none T
		if near, ok := Nearest(s, words); ok {
			return none, fmt.Errorf("%q is not one of them; did you mean %s?", s, near)
		}
		return none, fmt.Errorf("%q is not one of them", s)
	}, func(v T) any {
		for i := range values {
			if same(values[i], v) {
				return words[i]
			}
		}
		return fmt.Sprint(v)
	})
}

func equal[T comparable](a, b T) bool { return a == b }

// span is the range of a duration; zero is allowed apart from it where it means "off".
type span struct {
	min, max time.Duration
	off      string // what 0 means, "" if it is not allowed
}

func duration(path, fallback, doc string, at func(*Config) *time.Duration, in span) key {
	allowed := fmt.Sprintf("%s to %s", writeDuration(in.min), writeDuration(in.max))
	if in.off != "" {
		allowed += ", or 0 (" + in.off + ")"
	}
	return parsed(path, "duration", allowed, fallback, doc, at, func(s string) (time.Duration, error) {
		d, err := parseDuration(s)
		switch {
		case err != nil:
			return 0, err
		case d == 0 && in.off != "":
		case d < in.min:
			return 0, fmt.Errorf("%q is too short", s)
		case d > in.max:
			return 0, fmt.Errorf("%q is too long", s)
		}
		return d, nil
	}, func(v time.Duration) any { return writeDuration(v) })
}

// extent is the range of a size in bytes; zero is allowed apart from it where it means "off".
type extent struct {
	min, max int64
	off      string
}

func size(path, fallback, doc string, at func(*Config) *int64, in extent) key {
	allowed := fmt.Sprintf("%s to %s", writeSize(in.min), writeSize(in.max))
	if in.off != "" {
		allowed += ", or 0 (" + in.off + ")"
	}
	return parsed(path, "size", allowed, fallback, doc, at, func(s string) (int64, error) {
		n, err := ParseSize(s)
		switch {
		case err != nil:
			return 0, err
		case n == 0 && in.off != "":
		case n < in.min:
			return 0, fmt.Errorf("%q is too small", s)
		case n > in.max:
			return 0, fmt.Errorf("%q is too large", s)
		}
		return n, nil
	}, func(v int64) any { return writeSize(v) })
}

func number(path string, fallback int, doc string, at func(*Config) *int, low, high int) key {
	return parsed(path, "number", fmt.Sprintf("%d to %d", low, high), strconv.Itoa(fallback), doc, at, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, fmt.Errorf("%q is not a whole number", s)
		}
		if n < low || n > high {
			return 0, fmt.Errorf("%d is out of range", n)
		}
		return n, nil
	}, func(v int) any { return int64(v) })
}

func share(path, fallback, doc string, at func(*Config) *float64) key {
	return parsed(path, "number", "0 to 1", fallback, doc, at, func(s string) (float64, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number", s)
		}
		if !(f >= 0 && f <= 1) {
			return 0, fmt.Errorf("%s is out of range", s)
		}
		return f, nil
	}, func(v float64) any { return v })
}
