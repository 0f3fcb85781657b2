package sqldb

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// Greatest answers an expression for the greater of two, neither NULL.
func (e Engine) Greatest(a, b string) string {
	if e == SQLite {
		return "MAX(" + a + ", " + b + ")"
	}
	return "GREATEST(" + a + ", " + b + ")"
}

// New answers, inside an assignment of Upsert, the value that the insert brought for a column.
func (e Engine) New(col string) string {
	if e == MySQL {
		return "VALUES(" + col + ")"
	}
	return "excluded." + col
}

// Upsert answers an insert of one row, one placeholder a column, that runs the assignments instead where the key is taken.
// An assignment is like "due = " + e.Greatest("review.due", e.New("due")): columns of the present row are qualified by the
// table's name. On MySQL any unique key counts, so the table must have no other.
func (e Engine) Upsert(table string, cols, key []string, assignments ...string) string {
	text := insert(table, cols)
	if e == MySQL {
		return text + " ON DUPLICATE KEY UPDATE " + strings.Join(assignments, ", ")
	}
	return text + " ON CONFLICT (" + strings.Join(key, ", ") + ") DO UPDATE SET " + strings.Join(assignments, ", ")
}

// ForUpdate answers the suffix of a SELECT that locks its rows until the end of the transaction. Galera locks within one node
// only: it saves tries and decides nothing. SQLite has one writer and needs none.
func (e Engine) ForUpdate() string {
	if e == SQLite {
		return ""
	}
	return " FOR UPDATE"
}

func insert(table string, cols []string) string {
	return "INSERT INTO " + table + " (" + strings.Join(cols, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(cols)-1) + ")"
}

// maxTexts bounds the kept texts: the queries of Havn are constants, but for lists of placeholders of some lengths.
const maxTexts = 4096

// dialect is what an engine wants of a statement and what its errors mean.
type dialect struct {
	engine Engine
	// statementTime bounds a statement by its context; 0: the engine bounds it.
	statementTime time.Duration
	// classify says what an error of the driver means.
	classify func(err error) meaning

	mu    sync.RWMutex
	texts map[string]string // rewritten, by the caller's text
}

// meaning is what a driver's error says.
type meaning struct {
	kind   fail.Kind
	code   string
	reason string // not "": refused, run it again
	hint   string
}

func newDialect(e Engine, classify func(error) meaning) *dialect {
	return &dialect{engine: e, classify: classify, texts: make(map[string]string)}
}

func (d *dialect) insertIgnore(table string, cols []string) string {
	key := "insert-ignore " + table + " " + strings.Join(cols, ",")
	return d.kept(key, func() string {
		if d.engine == MySQL {
			return insert(table, cols)
		}
		return insert(table, cols) + " ON CONFLICT DO NOTHING"
	})
}

// rewrite answers the text with the placeholders of the engine.
func (d *dialect) rewrite(query string) string {
	if d.engine != Postgres || !strings.Contains(query, "?") {
		return query
	}
	return d.kept(query, func() string { return numbered(query) })
}

func (d *dialect) kept(key string, text func() string) string {
	d.mu.RLock()
	t, ok := d.texts[key]
	d.mu.RUnlock()
	if ok {
		return t
	}
	t = text()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.texts) >= maxTexts {
		clear(d.texts)
	}
	d.texts[key] = t
	return t
}

// numbered replaces each ? outside quotes by $1, $2, …
func numbered(query string) string {
	var b strings.Builder
	n := 0
	var quote rune
	for _, c := range query {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '?':
			n++
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

// translate answers an error of a known kind for an error of the driver.
func (d *dialect) translate(err error, query string) error {
	if err == nil || isRefusal(err) {
		return err
	}
	m := d.classify(err)
	if m.reason != "" {
		return &refusal{cause: err, reason: m.reason}
	}
	e := fail.E(m.kind, err, "database: %s", brief(query)).Inner()
	if m.code != "" {
		e = e.Code(m.code)
	}
	if m.hint != "" {
		e = e.Hint("%s", m.hint)
	}
	return e
}

// brief answers the beginning of a statement: enough to find it. Values are never part of it.
func brief(query string) string {
	query = strings.Join(strings.Fields(query), " ")
	const most = 60
	if len(query) > most {
		return query[:most] + "…"
	}
	return query
}

// CodeFK marks a fail.Conflict that a foreign key caused: a row that this one needs is not there, or a row that needs this one is.
const CodeFK = "fk"

// codeSchema marks an error of a table that is not there.
const codeSchema = "schema"

func unclassified(err error) meaning {
	return meaning{kind: fail.KindOf(err)}
}

func hosts(list []string) string { return fmt.Sprintf("%q", list) }
