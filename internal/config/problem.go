package config

import (
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	Where   string // file:line, variable, flag or path
	Key     string // "" if no key is to blame
	Text    string // what is wrong
	Allowed string // what would be right
}

// String answers the problem on one line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Where)
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	b.WriteString(": " + p.Text)
	if p.Allowed != "" {
		b.WriteString("; allowed: " + p.Allowed)
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, b.String())
}

// Problems is an error that says everything that is wrong at once, one problem a line.
type Problems []Problem

// Error answers the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Warning is something that is odd, but no reason not to start.
type Warning string

// Invalid makes an error of problems, as Load does.
func Invalid(problems Problems) error {
	return fail.E(fail.Invalid, problems, "the configuration can't be used").Hint("`havn config reference` explains every key")
}
