package harborcfg

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/havn-registry/havn/internal/config"
)

// Settle says of each row whether it counts in a configuration that was loaded with the file as its base: Havn's own file, environment and flags go before it.
func (f *File) Settle(c *config.Config) {
	for i := range f.Rows {
		row := &f.Rows[i]
		if row.Fate != Used && row.Fate != Wrong {
			continue
		}
		var others []string
		counts := len(row.Havn) == 0 && row.Fate == Used
		for _, key := range row.Havn {
			switch origin := c.Origin(key); {
			case f.names(origin):
				counts = true
			case !slices.Contains(others, origin):
				others = append(others, origin)
			}
		}
		switch {
		case counts && len(others) > 0:
			row.Text += "; in part, because " + strings.Join(others, ", ") + " goes before it"
		case !counts:
			row.Fate, row.Attention = Overridden, false
			row.Text = "does not count: Havn's own configuration says otherwise"
			if len(others) > 0 {
				row.Text += " (" + strings.Join(others, ", ") + ")"
			}
		}
	}
}

// names reports whether a value came from this file.
func (f *File) names(origin string) bool {
	return strings.HasPrefix(origin, f.Name+":") || strings.HasPrefix(origin, f.Name+" ")
}

// where names a row for messages.
func (f *File) where(row Row) string { return fmt.Sprintf("%s:%d %s", f.Name, row.Line, row.Key) }

// Warnings answers the rows that somebody should look at. Values that can't be used are problems of the configuration, and not among them.
func (f *File) Warnings() []config.Warning {
	var all []config.Warning
	for _, row := range f.Rows {
		if row.Attention && row.Fate != Wrong {
			text := row.notice
			if text == "" {
				text = row.Text
			}
			all = append(all, config.Warning(f.where(row)+": "+text))
		}
	}
	return all
}

// group is several keys of which the same is to be said.
type group struct {
	Row
	keys []string
}

// groups answers the rows, those that say the same as one, each at the place of its first.
func groups(rows []Row) []group {
	var all []group
	for _, row := range rows {
		same := func(g group) bool { return g.Fate == row.Fate && g.Text == row.Text && slices.Equal(g.Havn, row.Havn) }
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i].keys = append(all[i].keys, row.Key)
			continue
		}
		all = append(all, group{row, []string{row.Key}})
	}
	return all
}

// Log writes what became of the keys, except for the Warnings.
func (f *File) Log(log *slog.Logger) {
	quiet := slices.DeleteFunc(slices.Clone(f.Rows), func(r Row) bool { return r.Attention })
	for _, g := range groups(quiet) {
		about := []any{"file", f.Name, "keys", strings.Join(g.keys, " "), "fate", string(g.Fate)}
		if len(g.Havn) > 0 {
			about = append(about, "havn", strings.Join(g.Havn, " "))
		}
		log.Info("from harbor.cfg", append(about, "text", g.Text)...)
	}
}

// Table answers the rows for a person.
func (f *File) Table() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range f.Rows {
		text := row.Text
		if len(row.Havn) > 0 {
			text = "→ " + strings.Join(row.Havn, ", ") + ": " + text
		}
		// A strings.Builder takes everything.
		if _, err := fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", row.Line, row.Key, row.Fate, text); err != nil {
			return err.Error()
		}
	}
	if err := t.Flush(); err != nil {
		return err.Error()
	}
	return b.String()
}

// Reference answers the table of docs/migrating.md: every key of Harbor's, and what becomes of it.
func Reference() string {
	var b strings.Builder
	b.WriteString("| `harbor.cfg` | | Havn |\n|---|---|---|\n")
	for _, k := range keys() {
		names, note, text := "`"+strings.Join(k.names, "`, `")+"`", string(k.fate), k.text
		if len(k.havn) > 0 {
			text = "`" + strings.Join(k.havn, "`, `") + "`: " + text
		}
		if k.first {
			note += ", first start"
		}
		if k.version != "" {
			note += ", " + k.version
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", names, note, strings.ReplaceAll(text, "|", `\|`))
	}
	b.WriteString("\n| store | its options | become |\n|---|---|---|\n")
	for _, name := range []string{"filesystem", "swift", "s3", "azure", "gcs", "oss"} {
		var names, become []string
		for _, o := range providers()[name].options {
			names = append(names, "`"+o.name+"`")
			if o.havn != "" {
				become = append(become, "`"+o.havn+"`")
			}
		}
		become = append(become, providers()[name].also)
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, strings.Join(names, ", "), strings.Join(become, ", "))
	}
	return b.String()
}
