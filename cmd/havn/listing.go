package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/fail"
)

// listing is what of a list is asked for.
type listing struct {
	query, sort string
	limit       int64
}

// flags adds them to a command. fields are those that --query and --sort know; "": it has none.
func (l *listing) flags(cmd *cobra.Command, query, sort string, limit int64) {
	if query != "" {
		cmd.Flags().StringVar(&l.query, "query", "", "which ones: FIELD=VALUE, FIELD=~PART, FIELD=[FROM~TO], several with commas between; fields: "+query)
	}
	if sort != "" {
		cmd.Flags().StringVar(&l.sort, "sort", "", "in which order: FIELD, or -FIELD for descending; fields: "+sort)
	}
	cmd.Flags().Int64Var(&l.limit, "limit", limit, "at most so many; 0: all")
}

func (l *listing) check() error {
	if l.limit >= 0 {
		return nil
	}
	return usage(fail.E(fail.Invalid, nil, "--limit %d", l.limit).Hint("use 1 or more, or 0 for all"))
}

// and adds a condition to the query.
func (l *listing) and(condition string) string {
	if l.query == "" {
		return condition
	}
	return l.query + "," + condition
}

// listed asks for a list, page after page, and makes a table of it. What is left out by the limit is told beside it.
func listed[T any](l *listing, ask func(page, size int64) ([]T, int64, error), header string, row func(T) []string) (answered, error) {
	if err := l.check(); err != nil {
		return answered{}, err
	}
	all, total, err := client.All(l.limit, ask)
	if err != nil {
		return answered{}, err
	}
	return tabled(l, all, total, header, row)
}

// tabled makes a table of what of a list was found.
func tabled[T any](l *listing, all []T, total int64, header string, row func(T) []string) (answered, error) {
	result := answered{value: all}
	if left := total - int64(len(all)); l.limit > 0 && left > 0 {
		result.note = fmt.Sprintf("%d more are not shown; --limit 0 shows all", left)
	}
	rows := [][]string{strings.Split(header, ", ")}
	for _, one := range all {
		rows = append(rows, printable(row(one)))
	}
	var b strings.Builder
	table(&b, rows)
	result.text = b.String()
	return result, nil
}

// described makes a table of what one entry is: names and values in turn.
func described(value any, pairs ...string) answered {
	var rows [][]string
	for i := 0; i+1 < len(pairs); i += 2 {
		rows = append(rows, printable(pairs[i:i+2]))
	}
	var b strings.Builder
	table(&b, rows)
	return answered{value: value, text: b.String()}
}

// printable answers cells as a terminal may have them: others wrote what is in them.
func printable(cells []string) []string {
	plain := make([]string, len(cells))
	for i, text := range cells {
		plain[i] = client.Printable(text)
	}
	return plain
}

// amount writes bytes for people; -1 is no limit.
func amount(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i, f := 0, float64(n)
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) + " " + units[i]
}

// seconds writes a time of seconds since 1970; 0 and less is never.
func seconds(at int64) string {
	if at <= 0 {
		return "never"
	}
	return since(time.Unix(at, 0))
}

// lines puts what has several in one cell.
func lines(all []string) string {
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ", ")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
