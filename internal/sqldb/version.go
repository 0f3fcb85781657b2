package sqldb

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// release is a version of a server, as far as it matters here.
type release []int

// leading are the numbers that a version begins with.
var leading = regexp.MustCompile(`^\d+(\.\d+){0,2}`)

// releaseOf answers the version that a server's text begins with, nil if there is none.
func releaseOf(text string) release {
	var r release
	for _, part := range strings.Split(leading.FindString(text), ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		r = append(r, n)
	}
	return r
}

func (r release) String() string {
	var parts []string
	for _, n := range r {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, ".")
}

// brand is a product behind an engine, with the oldest of its releases that does what the schema and the queries want of it.
type brand struct {
	name  string
	least release
	why   string // what those before it lack
	tried string // what the tests run on
}

var (
	mariaBrand    = brand{"MariaDB", release{10, 2, 1}, "CHECK and long keys", "MariaDB 10.11"}
	mysqlBrand    = brand{"MySQL", release{8, 0, 16}, "CHECK", "MariaDB, and never on MySQL"}
	postgresBrand = brand{"PostgreSQL", release{11}, "the address of a standby's primary", "PostgreSQL 15"}
)

// brandOf answers which of the two products that speak MySQL's protocol a server is, and its version without what some proxies put before MariaDB's, for clients that know MySQL alone.
func brandOf(version string) (brand, string) {
	if strings.Contains(strings.ToLower(version), "mariadb") {
		return mariaBrand, strings.TrimPrefix(version, "5.5.5-")
	}
	return mysqlBrand, version
}

// tooOld reports whether a server of this version can't be used. One whose version says nothing may be.
func (b brand) tooOld(version string) bool {
	r := releaseOf(version)
	return r != nil && slices.Compare(r, b.least) < 0
}

// refuse judges a server that is too old.
func (b brand) refuse(version string) sight {
	return sight{
		cond: unfit, final: true, why: fmt.Sprintf("is %s %s: Havn needs %s or later, for %s", b.name, releaseOf(version), b.least, b.why),
		hint: fmt.Sprintf("upgrade the server; Havn is tested on %s", b.tried),
	}
}

// found says which server it is.
func (b brand) found(version string) Finding {
	f := Finding{OK: true, What: b.name + " " + version}
	if b.name == mysqlBrand.name {
		f.What += " (Havn is tested on " + b.tried + ")"
	}
	return f
}
