package harborcfg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/config"
)

// maxFile is far beyond any real harbor.cfg (7 KiB); it keeps a wrong path from being read whole.
const maxFile = 256 << 10

// Row says what became of one key of the file.
type Row struct {
	Key        string   `json:"key"`
	Line       int      `json:"line"`
	Fate       Fate     `json:"fate"`
	Havn       []string `json:"havn,omitempty"` // the keys of Havn that came of it
	Text       string   `json:"text"`
	FirstStart bool     `json:"first_start,omitempty"` // Harbor takes it at its first start only
	Attention  bool     `json:"attention,omitempty"`   // somebody should look at it

	notice string // the part of the text that somebody should look at; "": all of it
}

// File is a harbor.cfg that was read.
type File struct {
	Name  string
	Rows  []Row          // every key of the file, in its order
	Given []config.Given // what it says in Havn's keys: for config.Source.Base
}

// Read reads a harbor.cfg. A file that is none is an error of kind Invalid, its cause config.Problems; values that can't be used are part of File.Given,
// because they matter only if nothing else sets their key.
func Read(name string) (*File, error) {
	body, err := readBounded(name)
	if err != nil {
		return nil, config.Invalid(config.Problems{{Where: name, Text: plainError(err), Allowed: "a readable harbor.cfg"}})
	}
	return translate(name, body, config.Accepts, func(path string) bool { _, missing := os.Stat(path); return missing == nil })
}

// Parse is Read of a file's bytes, on a machine that has nothing else of Harbor's.
func Parse(name string, body []byte) (*File, error) {
	return translate(name, body, config.Accepts, func(string) bool { return false })
}

func translate(name string, body []byte, accepts func(string, ...string) (bool, error), exists func(string) bool) (*File, error) {
	entries, problems := parse(name, body)
	if len(problems) == 0 && !slices.ContainsFunc(entries, func(e *entry) bool { return known(e.key) }) {
		problems = config.Problems{{Where: name, Text: "holds not one key of Harbor's", Allowed: "the harbor.cfg of Harbor 1.5"}}
	}
	if len(problems) > 0 {
		return nil, config.Invalid(problems)
	}
	r := &reading{name: name, entries: map[string]*entry{}, rows: map[string]*Row{}, accepts: accepts, exists: exists}
	r.begin(entries)
	r.address()
	r.people()
	r.database()
	r.redis()
	r.storage()
	return r.file(entries), nil
}

func readBounded(name string) (body []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	body, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(body) > maxFile {
		err = errors.New("is larger than 256KiB, and so no harbor.cfg")
	}
	return body, err
}

// plainError answers an error of the file system without the path, which is named already.
func plainError(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// reading is a file on its way to Havn's keys.
type reading struct {
	name    string
	entries map[string]*entry
	rows    map[string]*Row
	given   []config.Given
	accepts func(key string, value ...string) (bool, error)
	exists  func(path string) bool
}

// begin gives every key of the file the row of the table; what its value says more comes later.
func (r *reading) begin(entries []*entry) {
	rows := table()
	var names []string
	for name := range rows {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, e := range entries {
		k, ok := rows[e.key]
		row := &Row{Key: e.key, Line: e.line, Fate: k.fate, Text: k.text, FirstStart: k.first}
		if !ok {
			row.Fate, row.Attention, row.Text = Unknown, true, "is no key of Harbor's, and ignored"
			if near, found := config.Nearest(e.key, names); found {
				row.Text += "; did you mean " + near + "?"
			}
			if !word.MatchString(e.key) || len(e.key) > 64 {
				row.Key = "(line " + fmt.Sprint(e.line) + ")" // what is no word may be anything, a password too
			}
		}
		r.entries[e.key], r.rows[e.key] = e, row
	}
}

var word = regexp.MustCompile(`^[a-z0-9_.-]+$`)

// file makes the result.
func (r *reading) file(entries []*entry) *File {
	f := &File{Name: r.name, Given: r.given}
	for _, e := range entries {
		row := r.rows[e.key]
		if len(e.before) > 0 {
			lines := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(e.before)), ", "), "[]")
			again := fmt.Sprintf("it is set in line %s too, and the last one counts, as in Harbor", lines)
			row.Text += "; " + again
			row.attend(again)
		}
		f.Rows = append(f.Rows, *row)
	}
	return f
}

// value answers what the file says for a key; "" if nothing. A value that goes over several lines is none.
func (r *reading) value(key string) string {
	e, ok := r.entries[key]
	switch {
	case !ok:
		return ""
	case strings.Contains(e.value, "\n"):
		if r.rows[key].Fate != Wrong {
			r.wrong(key, "", always, "goes over several lines, because a line that begins with a space belongs to the one before", "one line")
		}
		return ""
	}
	return e.value
}

// where names a key of the file for messages.
func (r *reading) where(key string) string {
	if e, ok := r.entries[key]; ok {
		return fmt.Sprintf("%s:%d %s", r.name, e.line, key)
	}
	return r.name + " " + key
}

// says replaces what became of a key, if it is in the file and not found wrong.
func (r *reading) says(key string, fate Fate, format string, args ...any) {
	if row := r.rows[key]; row != nil && row.Fate != Wrong {
		row.Fate, row.Text = fate, fmt.Sprintf(format, args...)
	}
}

// adds says more about a key.
func (r *reading) adds(key, format string, args ...any) {
	if row := r.rows[key]; row != nil {
		row.Text += "; " + fmt.Sprintf(format, args...)
	}
}

// warns says more about a key, at which somebody should look.
func (r *reading) warns(key, text string) {
	r.adds(key, "%s", text)
	if row := r.rows[key]; row != nil {
		row.attend(text)
	}
}

// attend makes a text what somebody should look at. If the row's whole text already is, so is this.
func (row *Row) attend(text string) {
	switch {
	case row.notice != "":
		row.notice += "; " + text
	case !row.Attention:
		row.notice = text
	}
	row.Attention = true
}

// wrong says why a key of Havn's has no value from the file. It matters only if nothing else sets that key, and only where the condition holds.
func (r *reading) wrong(from, havn string, only config.Condition, text, allowed string) {
	if row := r.rows[from]; row != nil {
		shown := text
		if row.Fate == Wrong {
			shown = row.Text + "; " + text
		}
		row.Fate, row.Text, row.Attention = Wrong, shown, true
	}
	r.given = append(r.given, config.Given{Key: havn, Where: r.where(from), Wrong: text, Allowed: allowed, Only: only})
}

// always is the condition of what counts whatever else is configured.
var always config.Condition

// give takes a value into the configuration, if this Havn has the key.
func (r *reading) give(from, havn string, only config.Condition, value ...string) bool {
	row := r.rows[from]
	known, err := r.accepts(havn, value...)
	if !known {
		if row != nil {
			row.Fate, row.Attention, row.Text = Later, true, "this version of Havn has no "+havn
		}
		return false
	}
	if row != nil {
		row.Havn = append(row.Havn, havn)
		if err != nil {
			row.Fate, row.Text, row.Attention = Wrong, havn+": "+err.Error(), true
		}
	}
	r.given = append(r.given, config.Given{Key: havn, Value: value, Where: r.where(from), Only: only})
	return err == nil
}

// Usable answers what can't be used of the file's values, as an error of kind Invalid whose cause are config.Problems; nil if all can. What is missing beside
// them is not its matter.
func (f *File) Usable() error {
	var all config.Problems
	for _, g := range f.Given {
		_, err := config.Accepts(g.Key, g.Value...)
		switch {
		case g.Wrong != "":
			all = append(all, config.Problem{Where: g.Where, Text: g.Wrong, Allowed: g.Allowed})
		case err != nil:
			all = append(all, config.Problem{Where: g.Where, Key: g.Key, Text: err.Error(), Allowed: "what `havn config reference` says of it"})
		}
	}
	if len(all) > 0 {
		return config.Invalid(all)
	}
	return nil
}
