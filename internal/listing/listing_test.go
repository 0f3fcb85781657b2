package listing_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
)

var fields = listing.Fields{
	"name":          {Column: "r.name", Kind: listing.Text},
	"project_id":    {Column: "r.project_id", Kind: listing.Number},
	"creation_time": {Column: "r.created_at", Kind: listing.Time},
	"public":        {Column: "p.public", Kind: listing.Flag},
}

func TestWhatIsAskedBecomesConditionsOnColumns(t *testing.T) {
	t.Parallel()
	for q, want := range map[string]struct {
		where string
		args  []any
	}{
		"":                                 {"1 = 1", nil},
		"name=library/app":                 {"r.name = ?", []any{"library/app"}},
		`name=\~x`:                         {"r.name = ?", []any{"~x"}},
		"Name=a=b":                         {"r.name = ?", []any{"a=b"}},
		"name=~A_b%!":                      {"LOWER(r.name) LIKE LOWER(?) ESCAPE '!'", []any{"%A!_b!%!!%"}},
		"ProjectID=7":                      {"r.project_id = ?", []any{int64(7)}},
		"project_id=[2~]":                  {"r.project_id >= ?", []any{int64(2)}},
		"project_id=[ ~ 9]":                {"r.project_id <= ?", []any{int64(9)}},
		"project_id={1 2 2}":               {"r.project_id IN (?, ?)", []any{int64(1), int64(2)}},
		"name={}":                          {"1 = 0", nil},
		"name=()":                          {"1 = 1", nil},
		"name=(a b)":                       {"1 = 0", nil},
		"name=(a)":                         {"r.name IN (?)", []any{"a"}},
		`name={"a" 'b'}`:                   {"r.name IN (?, ?)", []any{"a", "b"}},
		"public=true,name=x":               {"p.public = ? AND r.name = ?", []any{true, "x"}},
		"public%3Dfalse":                   {"p.public = ?", []any{false}},
		"creation_time=[1970-01-02~86401]": {"r.created_at >= ? AND r.created_at <= ?", []any{int64(86400e6), int64(86401e6)}},
	} {
		ask, err := listing.Parse(q, "", 1, 10)
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		where, args, err := fields.Where(ask)
		if err != nil || where != want.where || !reflect.DeepEqual(args, want.args) {
			t.Errorf("%s: %s %v %v, want %s %v", q, where, args, err, want.where, want.args)
		}
	}
}

func TestWhatCannotBeAskedIsRefusedWithWhatCan(t *testing.T) {
	t.Parallel()
	for _, q := range []string{
		"name", "=x", "name=", "name=~", "name=[a]", "name=[~]", "name=[a~b~c]", "name=[a~b", "name={a", "name=(a", "nothing=1", "project_id=x", "project_id=~1", "public=maybe",
		"creation_time=yesterday", "creation_time=99999999999999999", "name=x,", "name=a\x00b", strings.Repeat("name=x,", 30) + "name=x", "name={" + strings.Repeat("a ", 101) + "}", strings.Repeat("x", 5000),
	} {
		ask, err := listing.Parse(q, "", 1, 10)
		if err == nil {
			_, _, err = fields.Where(ask)
		}
		if !fail.Is(err, fail.Invalid) || fail.HintOf(err) == "" {
			t.Errorf("%.80q: %v, want an error that says what to write", q, err)
		}
	}
	for _, p := range [][2]int64{{-1, 10}, {1, -1}, {1, 101}, {1 << 40, 10}} {
		if _, err := listing.Parse("", "", p[0], p[1]); !fail.Is(err, fail.Invalid) {
			t.Errorf("page %d of %d: %v", p[0], p[1], err)
		}
	}
	if _, err := fields.OrderBy(listing.Ask{Order: []listing.Order{{Field: "1; DROP TABLE users"}}}, "", "r.id"); !fail.Is(err, fail.Invalid) {
		t.Errorf("a field of the client's own: %v", err)
	}
}

func TestOrderIsTheClientsOrTheListsAndAlwaysWhole(t *testing.T) {
	t.Parallel()
	for sort, want := range map[string]string{
		"":                      "r.created_at DESC, r.id",
		"name":                  "r.name, r.id",
		"-creation_time,,NAME,": "r.created_at DESC, r.name, r.id",
	} {
		ask, err := listing.Parse("", sort, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, cause := fields.OrderBy(ask, "r.created_at DESC", "r.id"); cause != nil || got != want {
			t.Errorf("%s: %q %v, want %q", sort, got, cause, want)
		}
		if ask.Page != 1 || ask.Size != listing.MaxPage || ask.Offset() != 0 {
			t.Errorf("page 0 of size 0 is %+v", ask)
		}
	}
	ask := listing.Ask{Page: 3, Size: 20, Filters: []listing.Filter{{Field: "Tags", Values: []string{"*"}}, {Field: "name", Values: []string{"x"}}}}
	if got := ask.Take("tags"); len(got) != 1 || len(ask.Filters) != 1 || ask.Offset() != 40 {
		t.Errorf("taken %v, left %v, offset %d", got, ask.Filters, ask.Offset())
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"name=~x,project_id=[1~2]", "public={true false}", "name=(a 'b')", `name=\x`, "%6eame=1", "creation_time=[~2026-01-01T00:00:00]", "a=[", "a={", "a=("} {
		f.Add(seed, "-name,project_id", int64(1), int64(10))
	}
	// All that SQL may be made of.
	ours := strings.NewReplacer("r.name", "", "r.project_id", "", "r.created_at", "", "p.public", "", "LOWER(", "", ") LIKE LOWER(?) ESCAPE '!'", "?", " AND ", "", " IN (", "", " = ?", "?", " >= ?", "?", " <= ?", "?", ", ?", "?",
		"1 = 1", "", "1 = 0", "", ")", "", " DESC", "", ", ", "", "r.id", "")
	f.Fuzz(func(t *testing.T, q, sort string, page, size int64) {
		ask, err := listing.Parse(q, sort, page, size)
		if err != nil {
			return
		}
		if ask.Page < 1 || ask.Size < 1 || ask.Size > listing.MaxPage || ask.Offset() < 0 {
			t.Fatalf("page %d of %d", ask.Page, ask.Size)
		}
		if where, args, cause := fields.Where(ask); cause == nil {
			if left := ours.Replace(where); strings.Trim(left, "?") != "" || strings.Count(where, "?") != len(args) {
				t.Fatalf("%q with %d parameters has more than columns: %q", where, len(args), left)
			}
		}
		if order, cause := fields.OrderBy(ask, "r.created_at DESC", "r.id"); cause == nil {
			if left := ours.Replace(order); left != "" {
				t.Fatalf("%q has more than columns: %q", order, left)
			}
		}
	})
}

func TestListsOfTheirOwnTakeWhatTheyKnowAndRefuseTheRest(t *testing.T) {
	t.Parallel()
	ask, err := listing.Parse("name=a,part=~b,n=7,on=false,at=[~2026-01-01T00:00:00],left=1", "-name", 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	exact, none, err := ask.Text("name")
	if err != nil || exact != "a" || none != "" {
		t.Errorf("%q %q %v", exact, none, err)
	}
	if none, exact, err = ask.Text("part"); err != nil || none != "" || exact != "b" {
		t.Errorf("%q %q %v", none, exact, err)
	}
	if n, told, cause := ask.Number("n"); cause != nil || !told || n != 7 {
		t.Errorf("%d %v %v", n, told, cause)
	}
	if _, told, cause := ask.Number("m"); cause != nil || told {
		t.Errorf("%v %v", told, cause)
	}
	if on, cause := ask.Flag("on"); cause != nil || on == nil || *on {
		t.Errorf("%v %v", on, cause)
	}
	from, to, err := ask.Take("at")[0].Times()
	if err != nil || !from.IsZero() || to.Unix() != 1767225600 {
		t.Errorf("%v %v %v", from, to, err)
	}
	if o, cause := ask.OneOrder("id", "name"); cause != nil || o != (listing.Order{Field: "name", Descending: true}) {
		t.Errorf("%+v %v", o, cause)
	}
	if _, cause := ask.OneOrder("id"); !fail.Is(cause, fail.Invalid) {
		t.Errorf("an order that is not known: %v", cause)
	}
	if cause := ask.NothingElse("name"); !fail.Is(cause, fail.Invalid) || !strings.Contains(cause.Error(), "left") {
		t.Errorf("a filter that is left: %v", cause)
	}
	for _, q := range []string{"x={a b}", "x=(a)", "x=[a~b]"} {
		for name, take := range map[string]func(*listing.Ask) error{
			"text": func(a *listing.Ask) error { _, _, e := a.Text("x"); return e }, "number": func(a *listing.Ask) error { _, _, e := a.Number("x"); return e },
			"flag": func(a *listing.Ask) error { _, e := a.Flag("x"); return e }, "times": func(a *listing.Ask) error { _, _, e := a.Filters[0].Times(); return e },
		} {
			bad, cause := listing.Parse(q, "", 1, 1)
			if cause != nil {
				t.Fatal(cause)
			}
			if cause = take(&bad); !fail.Is(cause, fail.Invalid) || fail.HintOf(cause) == "" {
				t.Errorf("%s as %s: %v", q, name, cause)
			}
		}
	}
}
