package harborcfg

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/config"
)

// wide is where comments are folded.
const wide = 120

// YAML answers a configuration file of Havn's that says what this file says, passwords included, and in comments what became of the rest.
func (f *File) YAML() string {
	var b strings.Builder
	b.WriteString("# Havn's configuration, made of " + oneLine(f.Name) + " by `havn config import`. `havn config reference` explains every key.\n")
	b.WriteString("# It holds passwords: keep it away from others, or move them into files of their own (password_file and the like).\n")
	w := &writer{file: f}
	for _, g := range f.ordered() {
		w.write(&b, g)
	}
	b.WriteString("\n# What became of the other keys:\n")
	var others []Row
	for _, row := range f.Rows {
		if row.Fate != Used || len(row.Havn) == 0 {
			others = append(others, row)
		}
	}
	for _, g := range groups(others) {
		remark(&b, "", strings.Join(g.keys, ", ")+" ("+string(g.Fate)+"): "+g.Text)
	}
	return b.String()
}

// ordered answers the values in the order of the reference, but with all of a section together: YAML takes each section once.
func (f *File) ordered() []config.Given {
	var all []config.Given
	first := map[string]int{} // of each section, the place of its first key
	for _, s := range config.Default().Settings() {
		for _, g := range f.Given {
			if g.Key != s.Key && g.Key != s.Key+"_file" || g.Wrong != "" {
				continue
			}
			for i, r := range g.Key + "." {
				if _, there := first[g.Key[:i]]; r == '.' && !there {
					first[g.Key[:i]] = len(all)
				}
			}
			all = append(all, g)
		}
	}
	slices.SortStableFunc(all, func(a, b config.Given) int {
		one, other := strings.Split(a.Key, "."), strings.Split(b.Key, ".")
		for i := range min(len(one), len(other)) {
			if c := cmp.Compare(first[strings.Join(one[:i+1], ".")], first[strings.Join(other[:i+1], ".")]); c != 0 {
				return c
			}
		}
		return 0
	})
	return all
}

// writer writes keys below their sections.
type writer struct {
	file  *File
	open  []string // the sections that are open
	where string   // what the last key came from
}

func (w *writer) write(b *strings.Builder, g config.Given) {
	path := strings.Split(g.Key, ".")
	sections, name := path[:len(path)-1], path[len(path)-1]
	same := 0
	for same < len(sections) && same < len(w.open) && sections[same] == w.open[same] {
		same++
	}
	if same == 0 {
		b.WriteString("\n")
	}
	for depth := same; depth < len(sections); depth++ {
		fmt.Fprintf(b, "%s%s:\n", strings.Repeat("  ", depth), sections[depth])
	}
	indent := strings.Repeat("  ", len(sections))
	if w.where != g.Where {
		remark(b, indent, w.file.source(g))
	}
	fmt.Fprintf(b, "%s%s: %s\n", indent, name, quoted(strings.Join(g.Value, ","))) // which a key that takes a list takes apart
	w.open, w.where = sections, g.Where
}

// source says which key a value came from, and what else there is to know about it.
func (f *File) source(g config.Given) string {
	for _, row := range f.Rows {
		if f.where(row) != g.Where {
			continue
		}
		text := fmt.Sprintf("%s, line %d: %s", row.Key, row.Line, row.Text)
		if row.FirstStart {
			text += "; Harbor takes it at its first start only, so its console may say otherwise since"
		}
		return text
	}
	return strings.TrimPrefix(g.Where, f.Name+" ") + ", which is not in the file: Harbor's default"
}

// harmless is a text that YAML takes for itself, without quotes.
var harmless = regexp.MustCompile(`^(/|\./)?[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z._/-]$`)

// quoted answers a text as YAML reads it back. JSON's form is one of YAML's.
func quoted(text string) string {
	switch strings.ToLower(text) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
	default:
		if harmless.MatchString(text) {
			return text
		}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		return `""` // a string is always JSON
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// remark writes a comment, folded.
func remark(b *strings.Builder, indent, text string) {
	line := indent + "#"
	for _, word := range strings.Fields(oneLine(text)) {
		if len(line)+len(word) >= wide && line != indent+"#  " {
			b.WriteString(line + "\n")
			line = indent + "#  "
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// oneLine keeps what comes from outside from ending a comment.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, text)
}
