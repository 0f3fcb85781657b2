package harborcfg

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/config"
)

// section is the one that Harbor's prepare puts in front of the file, which has none.
const section = "configuration"

// entry is one key of the file.
type entry struct {
	key    string // in small letters
	line   int
	value  string // lines that continue it are joined by line feeds
	before []int  // lines that set the same key earlier: the last one counts
}

// parser goes through the lines of a file.
type parser struct {
	name     string
	entries  []*entry
	byKey    map[string]*entry
	current  *entry // what a line that begins with space continues
	problems config.Problems
}

// parse reads a file by the rules of Python 2's RawConfigParser: "=" or ":" after the key, whichever comes first; "#" and ";" in the first column begin
// a comment, and so does ";" after a space, but not "#"; "%" and "$" mean nothing; a line that begins with space continues the one before.
func parse(name string, body []byte) ([]*entry, config.Problems) {
	p := &parser{name: name, byKey: map[string]*entry{}}
	if bytes.HasPrefix(body, []byte{0xff, 0xfe}) || bytes.HasPrefix(body, []byte{0xfe, 0xff}) {
		p.problem(1, "is in UTF-16", "a text in UTF-8")
		return nil, p.problems
	}
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(body))
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		p.line(number, line)
	}
	return p.entries, p.problems
}

func (p *parser) problem(line int, text, allowed string) {
	p.problems = append(p.problems, config.Problem{Where: fmt.Sprintf("%s:%d", p.name, line), Text: text, Allowed: allowed})
}

func (p *parser) line(number int, line string) {
	switch {
	case strings.TrimSpace(line) == "", comment(line):
	case strings.IndexFunc(line, control) >= 0:
		p.problem(number, "contains a control character", "a text")
	case !utf8.ValidString(line):
		p.problem(number, "is not in UTF-8", "a text in UTF-8")
	case beginsWithSpace(line):
		p.continued(number, strings.TrimSpace(line))
	case line[0] == '[':
		p.header(number, line)
	default:
		p.option(number, line)
	}
}

func control(r rune) bool { return r != '\t' && unicode.IsControl(r) }

func beginsWithSpace(line string) bool {
	r, _ := utf8.DecodeRuneInString(line)
	return unicode.IsSpace(r)
}

// comment reports whether a line is one: "#" or ";" in the first column, or the word rem.
func comment(line string) bool {
	if line[0] == '#' || line[0] == ';' {
		return true
	}
	first := strings.Fields(line)[0]
	return !beginsWithSpace(line) && strings.EqualFold(first, "rem")
}

// continued takes a line that belongs to the value before it.
func (p *parser) continued(number int, text string) {
	if p.current == nil {
		p.problem(number, "begins with a space, and there is nothing that it could continue", "a key in the first column")
		return
	}
	if word, _, ok := cut(text); ok && known(word) {
		p.problem(number, fmt.Sprintf("begins with a space, so that Harbor takes it for more of %s, and not for %s", p.current.key, word), "a key in the first column")
		return
	}
	if text[0] == '#' || text[0] == ';' {
		p.problem(number, fmt.Sprintf("begins with a space, so that Harbor takes it for more of %s, and not for a comment", p.current.key), "a comment in the first column")
		return
	}
	p.current.value += "\n" + text
}

func (p *parser) header(number int, line string) {
	name, _, ok := strings.Cut(line[1:], "]")
	if !ok || name == "" {
		p.option(number, line)
		return
	}
	if name != section {
		p.problem(number, "begins a section, and Harbor's file has none: Harbor does not see what follows", "no such line")
	}
	p.current = nil
}

// cut takes a line apart at the first "=" or ":".
func cut(line string) (key, value string, ok bool) {
	at := strings.IndexAny(line, "=:")
	if at <= 0 {
		return "", "", false
	}
	return strings.ToLower(strings.TrimSpace(line[:at])), strings.TrimLeftFunc(line[at+1:], unicode.IsSpace), true
}

func (p *parser) option(number int, line string) {
	key, value, ok := cut(line)
	if !ok {
		p.problem(number, "is neither `key = value` nor a comment", "`key = value`, or # in the first column")
		return
	}
	value = strings.TrimSpace(withoutComment(value))
	if value == `""` {
		value = ""
	}
	e := &entry{key: key, line: number, value: value}
	if old := p.byKey[key]; old != nil {
		before := append(old.before, old.line)
		*old = *e
		old.before = before
		e = old
	} else {
		p.byKey[key] = e
		p.entries = append(p.entries, e)
	}
	p.current = e
}

// withoutComment cuts the value at its first ";" if that stands after a space. At the very beginning Python looks at the value's last letter instead.
func withoutComment(value string) string {
	at := strings.IndexByte(value, ';')
	if at < 0 {
		return value
	}
	before := value[:at]
	if at == 0 {
		before = value
	}
	if r, _ := utf8.DecodeLastRuneInString(before); unicode.IsSpace(r) {
		return value[:at]
	}
	return value
}
