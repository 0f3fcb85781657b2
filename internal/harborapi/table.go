package harborapi

import (
	"fmt"
	"slices"
	"strings"
)

// Table answers docs/harbor-api.md's table of all operations, as Markdown.
func Table() string {
	var b strings.Builder
	all := operations(nil)
	slices.SortStableFunc(all, func(x, y operation) int { return strings.Compare(x.Tag, y.Tag) })
	var works, later, never int
	for _, o := range all {
		state := "works"
		switch {
		case o.Never != "":
			state, never = "will not come: "+o.Never, never+1
		case o.Later != "":
			state, later = "answers 501: comes with "+o.Later, later+1
		case o.Own:
			state = "works, and is Havn's own"
			works++
		default:
			works++
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", o.ID, o.Method, o.Path, state)
	}
	return fmt.Sprintf("%d operations: %d work, %d answer 501 until the work that brings them, %d will not come.\n\n| operation | method | path | state |\n|---|---|---|---|\n", len(all), works, later, never) + b.String()
}
