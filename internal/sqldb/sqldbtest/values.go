package sqldbtest

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

func binaryNames(t *testing.T, open Opener) {
	db := Open(t, open())
	// In the order of their bytes.
	names := []string{"V1", "_a", "v1", "v1-x", "v1.0", "v10", "w"}
	for i, name := range names {
		must(t, db, insertProj, 100-i, name, false, 5)
	}
	var got []string
	for row, err := range db.Rows(t.Context(), "SELECT name FROM projects WHERE name > ? ORDER BY name LIMIT 100", "") {
		if err != nil {
			t.Fatal(err)
		}
		var name string
		if err = row.Scan(&name); err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("order %q, want %q", got, names)
	}
	if id := number(t, db, "SELECT id FROM projects WHERE name = ?", "V1"); id != 100 {
		t.Errorf("V1 found the row %d", id)
	}
}

func lengths(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx := t.Context()
	long := strings.Repeat("a", 253) + "/b"
	must(t, db, insertProj, 1, "p", false, 5)
	must(t, db, insertRepo, 1, 1, long, 5, 5)
	if _, err := exec(ctx, db, insertRepo, 2, 1, long+"c", 5, 5); !fail.Is(err, fail.Invalid) {
		t.Errorf("a name of 256 bytes answered %v, want invalid", err)
	}
	digest := append([]byte{2}, bytes.Repeat([]byte{0, 0xff, '\'', '\\'}, 16)...)
	body := bytes.Repeat([]byte("\x00\x01'\"\\\x1a\r\n"), 4<<20/8)
	const insert = "INSERT INTO manifests (repo, digest, media_type, artifact_type, subject, size, body, pushed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
	must(t, db, insert, 1, digest, long, long, digest, len(body), body, 5)
	var gotDigest, gotSubject, gotBody []byte
	var media string
	if err := db.Row(ctx, "SELECT digest, subject, media_type, body FROM manifests WHERE repo = ? AND digest = ?", 1, digest).
		Scan(&gotDigest, &gotSubject, &media, &gotBody); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(gotDigest, digest) || !bytes.Equal(gotSubject, digest) || media != long || !bytes.Equal(gotBody, body) {
		t.Errorf("a manifest came back changed (%d of %d bytes)", len(gotBody), len(body))
	}
	if _, err := exec(ctx, db, insert, 1, digest[:33], "m", "", nil, 1, append(body, 'x'), 5); !fail.Is(err, fail.Invalid) {
		t.Errorf("a body beyond 4 MiB answered %v, want invalid", err)
	}
	if _, err := exec(ctx, db, insert, 1, append(digest, 'x'), "m", "", nil, 1, body[:1], 5); !fail.Is(err, fail.Invalid) {
		t.Errorf("a digest of 66 bytes answered %v, want invalid", err)
	}
}

func values(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx := t.Context()
	const insert = "INSERT INTO users (id, name, email, password_hash, admin, disabled, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
	when := time.Date(2031, 5, 6, 7, 8, 9, 123456000, time.UTC)
	must(t, db, insert, int64(math.MaxInt64), `näme 😀 "'\%_?`, nil, "", true, false, sqldb.Micros(when), int64(math.MinInt64))
	must(t, db, insert, sqldb.NewID(), "other", "", "h", false, true, 0, 0)
	var id, low, created int64
	var name, hash string
	var email *string
	var admin, disabled bool
	err := db.Row(ctx, "SELECT id, name, email, password_hash, admin, disabled, created_at, changed_at FROM users WHERE admin AND NOT disabled AND name <> '?'").
		Scan(&id, &name, &email, &hash, &admin, &disabled, &created, &low)
	if err != nil {
		t.Fatal(err)
	}
	if id != math.MaxInt64 || low != math.MinInt64 || name != `näme 😀 "'\%_?` || email != nil || hash != "" || !admin || disabled {
		t.Errorf("values came back as %d %d %q %v %q %v %v", id, low, name, email, hash, admin, disabled)
	}
	if !sqldb.FromMicros(created).Equal(when) {
		t.Errorf("time came back as %v", sqldb.FromMicros(created))
	}
	if err = db.Row(ctx, "SELECT email FROM users WHERE disabled = ? AND admin = FALSE", true).Scan(&email); err != nil || email == nil || *email != "" {
		t.Errorf("an empty text came back as %v, %v", email, err)
	}
}

func expressions(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx := t.Context()
	e := db.Engine()
	cols := []string{"kind", "repo", "digest", "due"}
	upsert := e.Upsert("review", cols, cols[:3], "due = "+e.Greatest("review.due", e.New("due")))
	for _, c := range []struct{ due, want int64 }{{10, 10}, {5, 10}, {20, 20}} {
		must(t, db, upsert, 1, 7, []byte{1, 2}, c.due)
		if due := number(t, db, "SELECT due FROM review WHERE kind = ? AND repo = ? AND digest = ?", 1, 7, []byte{1, 2}); due != c.want {
			t.Errorf("after an upsert of %d due is %d, want %d", c.due, due, c.want)
		}
	}
	must(t, db, "UPDATE review SET due = "+e.Greatest("due + 1", "?")+" WHERE repo = ?", 3, 7)
	err := db.Tx(ctx, "test.lock", func(tx *sqldb.Tx) error {
		var due int64
		return tx.Row(ctx, "SELECT due FROM review WHERE repo = ?"+e.ForUpdate(), 7).Scan(&due)
	})
	if err != nil {
		t.Error(err)
	}
	if due := number(t, db, "SELECT due FROM review WHERE repo = 7"); due != 21 {
		t.Errorf("due is %d, want 21", due)
	}
}

func loops(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx := t.Context()
	for _, k := range []string{"a", "b", "c"} {
		must(t, db, insertMeta, k, k)
	}
	const all = "SELECT k FROM meta ORDER BY k LIMIT 10"
	first := func(q sqldb.Querier) (string, error) {
		for row, err := range q.Rows(ctx, all) {
			if err != nil {
				return "", err
			}
			var k string
			return k, row.Scan(&k)
		}
		return "", nil
	}
	if k, err := first(db); err != nil || k != "a" {
		t.Errorf("first row %q, %v", k, err)
	}
	err := db.View(ctx, "test.loop", func(q sqldb.Querier) error {
		for range 3 {
			if _, err := first(q); err != nil {
				return err
			}
		}
		for _, err := range q.Rows(ctx, all) {
			if err != nil {
				return err
			}
			if inner := q.Row(ctx, countMeta).Scan(new(int64)); !fail.Is(inner, fail.Internal) {
				t.Errorf("a statement inside a loop answered %v", inner)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, rowErr := range db.Rows(ctx, "SELECT nonsense FROM meta") {
		if !fail.Is(rowErr, fail.Internal) {
			t.Errorf("a wrong statement answered %v", rowErr)
		}
	}
}
