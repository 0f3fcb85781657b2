package audit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/sqldb"
)

// MaxPage is the longest page of lines.
const MaxPage = 100

// MaxCount is how far lines are counted: a log has tens of millions of them, and to count these takes longer than a database is given for a question.
const MaxCount = 100_000

// Match is a condition on a text.
type Match struct {
	Text  string
	Fuzzy bool // contains it, in whatever case; else: is it
}

// Filter says which lines are asked for. The zero Filter is all of them.
type Filter struct {
	Subject, Operation, Kind, Resource *Match
	Projects                           []int64   // of these projects only, at most some hundred; nil: of all, and of none
	From, To                           time.Time // zero: without bound; To is not among them
	OldestFirst                        bool
	Offset, Limit                      int // Limit at most MaxPage
}

func (f *Filter) where() (string, []any) {
	cond, args := []string{"1 = 1"}, []any(nil)
	for _, m := range []struct {
		column string
		match  *Match
	}{{"subject", f.Subject}, {"operation", f.Operation}, {"kind", f.Kind}, {"resource", f.Resource}} {
		switch {
		case m.match == nil:
		case m.match.Fuzzy:
			cond, args = append(cond, m.column+" LIKE ? ESCAPE '!'"), append(args, "%"+strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(m.match.Text)+"%")
		default:
			cond, args = append(cond, m.column+" = ?"), append(args, m.match.Text)
		}
	}
	if f.Projects != nil {
		marks := "0 = 1"
		if len(f.Projects) > 0 {
			marks = "project IN (?" + strings.Repeat(", ?", len(f.Projects)-1) + ")"
		}
		cond = append(cond, marks)
		for _, p := range f.Projects {
			args = append(args, p)
		}
	}
	if !f.From.IsZero() {
		cond, args = append(cond, "at >= ?"), append(args, sqldb.Micros(f.From))
	}
	if !f.To.IsZero() {
		cond, args = append(cond, "at < ?"), append(args, sqldb.Micros(f.To))
	}
	return strings.Join(cond, " AND "), args
}

// List answers a page of lines, and how many there are in all. Of more than MaxCount it is not known how many: then the number is MaxCount, or, on a page behind it, one that says whether there is
// another page.
func (l *Log) List(ctx context.Context, f Filter) (lines []Line, total int64, err error) {
	where, args := f.where()
	f.Limit, f.Offset = min(max(f.Limit, 0), MaxPage), max(f.Offset, 0)
	counted := append(args[:len(args):len(args)], MaxCount)
	if err = l.cfg.DB.Row(ctx, "SELECT COUNT(*) FROM (SELECT id FROM audit WHERE "+where+" LIMIT ?) counted", counted...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count the audit log: %w", err)
	}
	order := "DESC"
	if f.OldestFirst {
		order = "ASC"
	}
	args = append(args, f.Limit, f.Offset)
	for row, rowErr := range l.cfg.DB.Rows(ctx, "SELECT "+columns+" FROM audit WHERE "+where+" ORDER BY id "+order+" LIMIT ? OFFSET ?", args...) {
		var n Line
		var at int64
		if err = rowErr; err == nil {
			err = row.Scan(&n.ID, &at, &n.Subject, &n.Operation, &n.Kind, &n.Resource, &n.Project, &n.Addr, &n.OK, &n.Note)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read the audit log: %w", err)
		}
		n.At = sqldb.FromMicros(at)
		lines = append(lines, n)
	}
	if end := int64(f.Offset + len(lines)); total == MaxCount && len(lines) > 0 && end >= MaxCount {
		total = end
		if len(lines) == f.Limit {
			total++
		}
	}
	return lines, total, nil
}

// purgeAtOnce bounds the rows of one transaction.
const purgeAtOnce = 1000

// Purge deletes lines from before a time, but for those of the operations to keep, in transactions of bounded size, and answers how many went. It may be run twice.
func (l *Log) Purge(ctx context.Context, before time.Time, keep ...string) (int64, error) {
	cond, args := "at < ?", []any{sqldb.Micros(before)}
	if len(keep) > 0 {
		cond += " AND operation NOT IN (?" + strings.Repeat(", ?", len(keep)-1) + ")"
		for _, k := range keep {
			args = append(args, k)
		}
	}
	var gone int64
	for {
		var due []any
		for row, err := range l.cfg.DB.Rows(ctx, "SELECT id FROM audit WHERE "+cond+" ORDER BY at LIMIT ?", append(args[:len(args):len(args)], purgeAtOnce)...) {
			var id int64
			if err == nil {
				err = row.Scan(&id)
			}
			if err != nil {
				return gone, fmt.Errorf("find old lines of the audit log: %w", err)
			}
			due = append(due, id)
		}
		if len(due) == 0 {
			return gone, nil
		}
		err := l.cfg.DB.Tx(ctx, "audit.purge", func(tx *sqldb.Tx) error {
			_, cause := tx.Exec(ctx, "DELETE FROM audit WHERE id IN (?"+strings.Repeat(", ?", len(due)-1)+")", due...)
			return cause
		})
		if err != nil {
			return gone, fmt.Errorf("delete old lines of the audit log: %w", err)
		}
		gone += int64(len(due))
	}
}
