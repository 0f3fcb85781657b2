package audit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/sqldb"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func database(t *testing.T) *sqldb.DB {
	t.Helper()
	return databaseWith(t, nil)
}

func databaseWith(t *testing.T, fault func(context.Context, sqldb.FaultPoint, string) error) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db"), Fault: fault})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cause := db.Close(); cause != nil {
			t.Error(cause)
		}
	})
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func line(n int) audit.Line {
	return audit.Line{At: noon.Add(time.Duration(n) * time.Second), Subject: "alice", Operation: "create", Kind: "artifact", Resource: "library/app:" + strconv.Itoa(n), Project: int64(n%3 + 1), Addr: "192.0.2.1", OK: true}
}

func list(t *testing.T, l *audit.Log, f audit.Filter) ([]audit.Line, int64) {
	t.Helper()
	lines, total, err := l.List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return lines, total
}

func TestLinesAreKeptInTheirOrder(t *testing.T) {
	l := audit.New(audit.Config{DB: database(t)})
	for n := range 600 {
		l.Add(line(n))
	}
	if err := l.Write(t.Context(), line(600)); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines, total := list(t, l, audit.Filter{Limit: 3})
	if total != 601 || len(lines) != 3 || lines[0].Resource != "library/app:600" || lines[2].Resource != "library/app:598" {
		t.Fatalf("%d, %+v", total, lines)
	}
	got := lines[0]
	if got.ID <= lines[1].ID || got.ID >= 1<<53 {
		t.Errorf("id %d behind %d", got.ID, lines[1].ID)
	}
	if got.ID = 0; got != line(600) {
		t.Errorf("%+v", got)
	}
	lines, _ = list(t, l, audit.Filter{OldestFirst: true, Offset: 2, Limit: 1000})
	if len(lines) != audit.MaxPage || lines[0].Resource != "library/app:2" {
		t.Errorf("%d lines from %s", len(lines), lines[0].Resource)
	}
}

func TestLinesAreFound(t *testing.T) {
	l := audit.New(audit.Config{DB: database(t)})
	for n := range 9 {
		if err := l.Write(t.Context(), line(n)); err != nil {
			t.Fatal(err)
		}
	}
	odd := line(9)
	odd.Subject, odd.Resource, odd.Operation = "50%_!", `a\b'"`, "delete"
	if err := l.Write(t.Context(), odd); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		filter audit.Filter
		want   int64
	}{
		"all":           {audit.Filter{}, 10},
		"by name":       {audit.Filter{Subject: &audit.Match{Text: "alice"}}, 9},
		"by part":       {audit.Filter{Subject: &audit.Match{Text: "lic", Fuzzy: true}}, 9},
		"by wildcards":  {audit.Filter{Subject: &audit.Match{Text: "%", Fuzzy: true}}, 1},
		"by an escape":  {audit.Filter{Subject: &audit.Match{Text: "_!", Fuzzy: true}}, 1},
		"by quotes":     {audit.Filter{Resource: &audit.Match{Text: `\b'"`, Fuzzy: true}}, 1},
		"by operation":  {audit.Filter{Operation: &audit.Match{Text: "delete"}}, 1},
		"by projects":   {audit.Filter{Projects: []int64{1, 2}}, 7},
		"of none":       {audit.Filter{Projects: []int64{}}, 0},
		"from":          {audit.Filter{From: noon.Add(8 * time.Second)}, 2},
		"to":            {audit.Filter{To: noon.Add(8 * time.Second)}, 8},
		"by everything": {audit.Filter{Subject: &audit.Match{Text: "alice"}, Kind: &audit.Match{Text: "artifact"}, Projects: []int64{1}, From: noon, To: noon.Add(time.Hour)}, 3},
	} {
		c.filter.Limit = 100
		if lines, total := list(t, l, c.filter); total != c.want || int64(len(lines)) != c.want {
			t.Errorf("%s: %d lines of %d", name, len(lines), total)
		}
	}
}

func TestALongLogIsNotCountedToItsEnd(t *testing.T) {
	db := database(t)
	l := audit.New(audit.Config{DB: db})
	const all = audit.MaxCount + 150
	err := db.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(t.Context(), `INSERT INTO audit (id, at, subject, operation, kind, resource, project, addr, ok, note)
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i, i, 'joe', 'pull', 'artifact', 'x', 1, '', ?, '' FROM n`, all, true)
		return cause
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ offset, limit, lines, total int }{
		{0, 10, 10, audit.MaxCount},
		{audit.MaxCount - 100, 100, 100, audit.MaxCount + 1}, // there is another page
		{audit.MaxCount, 100, 100, audit.MaxCount + 101},
		{audit.MaxCount + 100, 100, 50, all},
		{all, 100, 0, audit.MaxCount},
	} {
		if lines, total := list(t, l, audit.Filter{Offset: c.offset, Limit: c.limit}); len(lines) != c.lines || total != int64(c.total) {
			t.Errorf("from %d: %d lines of %d, want %d of %d", c.offset, len(lines), total, c.lines, c.total)
		}
	}
	if _, total := list(t, l, audit.Filter{Limit: 1, To: time.UnixMicro(51)}); total != 50 {
		t.Errorf("%d of 50", total)
	}
}

func TestTextsOfStrangersAreMadeHarmless(t *testing.T) {
	l := audit.New(audit.Config{DB: database(t)})
	bad := line(0)
	bad.Subject, bad.Resource, bad.Note = "a\nb\x00c\xff", strings.Repeat("ö", 5000), "tab\there"
	if err := l.Write(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	lines, _ := list(t, l, audit.Filter{Limit: 1})
	if got := lines[0]; got.Subject != "a�b�c�" || got.Resource != strings.Repeat("ö", 1024) || got.Note != "tab�here" {
		t.Errorf("%q %d %q", got.Subject, len(got.Resource), got.Note)
	}
}

func TestOldLinesGo(t *testing.T) {
	l := audit.New(audit.Config{DB: database(t)})
	for n := range 2500 {
		one := line(n)
		if n%500 == 0 {
			one.Operation = "login"
		}
		l.Add(one)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, err := l.Purge(t.Context(), noon.Add(2000*time.Second), "login")
	if err != nil || gone != 1996 {
		t.Errorf("%d, %v", gone, err)
	}
	if _, total := list(t, l, audit.Filter{}); total != 504 {
		t.Errorf("%d are left", total)
	}
}

func TestOldLinesGoByThemselvesWhereTheyAreToAndNowhereElse(t *testing.T) {
	l := audit.New(audit.Config{DB: database(t), Clock: func() time.Time { return noon.Add(48 * time.Hour) }})
	for n := range 3 {
		one := line(n)
		one.At = noon.Add(time.Duration(n) * 24 * time.Hour)
		if err := l.Write(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	var keep time.Duration
	mine, times := true, make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	d := audit.Duty{Log: l, Every: times, Keep: func() time.Duration { return keep }, Holds: func(context.Context) (bool, error) { return mine, nil }}
	run := func(want int64) {
		t.Helper()
		ctx, cancel = context.WithCancel(t.Context())
		go func() { ended <- d.Run(ctx) }()
		for range 2 { // the second is taken when the first is done
			times <- noon
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, total := list(t, l, audit.Filter{}); total != want {
			t.Errorf("%d lines are left, want %d", total, want)
		}
	}
	defer cancel()
	run(3) // they are kept for ever
	keep, mine = 24*time.Hour, false
	run(3) // another node's
	mine = true
	run(2)
}

func TestNewLinesAreNotTakenForThoseOfAWriteInDoubt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	doubt := true
	db := databaseWith(t, func(_ context.Context, p sqldb.FaultPoint, tx string) error {
		if p != sqldb.AfterCommit || tx != "audit.append" || !doubt {
			return nil
		}
		doubt = false
		cancel() // and so it is not run again
		return errors.New("the connection broke")
	})
	l := audit.New(audit.Config{DB: db})
	l.Add(line(0))
	l.Add(line(1))
	if err := l.Flush(ctx); err == nil || doubt {
		t.Fatalf("the write was not in doubt: %v", err)
	}
	l.Add(line(2))
	l.Add(line(3))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines, total := list(t, l, audit.Filter{Limit: 10}); total != 4 {
		t.Errorf("%d lines of 4: %+v", total, lines)
	}
}

func TestLinesWaitWhileTheDatabaseIsAway(t *testing.T) {
	point := sqldb.AfterCommit
	ctx, gone := context.WithCancel(t.Context())
	l := audit.New(audit.Config{DB: databaseWith(t, func(_ context.Context, p sqldb.FaultPoint, tx string) error {
		if p == point && tx == "audit.append" {
			gone()
			return io.ErrUnexpectedEOF
		}
		return nil
	})})
	for n := range 10 {
		l.Add(line(n))
	}
	if err := l.Flush(ctx); err == nil { // they are written, and nobody knows it
		t.Fatal("the database was not away")
	}
	point = sqldb.BeforeCommit
	if err := l.Write(t.Context(), line(10)); err != nil { // it is not written, and nobody knows that either
		t.Fatal(err)
	}
	l.Add(line(11))
	point = ""
	for range 2 {
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	lines, total := list(t, l, audit.Filter{OldestFirst: true, Limit: 100})
	if total != 12 {
		t.Fatalf("%d lines, want 12", total)
	}
	for n, got := range lines {
		if got.ID = 0; got != line(n) {
			t.Errorf("line %d: %+v", n, got)
		}
	}
}

func TestWhoHangsUpIsInTheLogAllTheSame(t *testing.T) {
	l := audit.New(audit.Config{DB: database(t)})
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	if err := l.Write(ctx, line(0)); err != nil {
		t.Error(err)
	}
	if _, total := list(t, l, audit.Filter{}); total != 1 {
		t.Errorf("%d lines", total)
	}
}

func TestWhatIsNotWantedIsLeftOut(t *testing.T) {
	options := audit.Options{SkipPulls: true, Disabled: []string{"create_artifact"}}
	l := audit.New(audit.Config{DB: database(t), Options: func() audit.Options { return options }})
	pull, robot := line(1), line(2)
	pull.Operation, robot.Kind = "pull", "robot"
	for _, one := range []audit.Line{line(0), pull, robot} {
		if err := l.Write(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	if lines, total := list(t, l, audit.Filter{Limit: 10}); total != 1 || lines[0].Kind != "robot" {
		t.Errorf("%+v", lines)
	}
}

func TestTheSamePullsAreOneLine(t *testing.T) {
	db := database(t)
	err := db.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(t.Context(), "INSERT INTO projects (id, name, public, created_at) VALUES (7, 'library', ?, 1)", true)
		return cause
	})
	if err != nil {
		t.Fatal(err)
	}
	l := audit.New(audit.Config{DB: db})
	here := netip.MustParseAddr("192.0.2.1")
	for range 1000 {
		l.AddPull("alice", "library", "library/app", "1", here)
	}
	l.AddPull("alice", "library", "library/app", "sha256:00", here)
	l.AddPull("", "gone", "gone/app", "1", here)
	if err = l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]audit.Line{}
	lines, _ := list(t, l, audit.Filter{Limit: 10})
	for _, n := range lines {
		got[n.Resource] = n
	}
	if len(lines) != 3 || got["library/app:1"].Note != "1000 times" || got["library/app:1"].Project != 7 || got["library/app@sha256:00"].Note != "" || got["gone/app:1"].Project != 0 {
		t.Errorf("%+v", lines)
	}
}

// collector takes messages of syslog by TCP.
type collector struct {
	net.Listener
	got  chan string
	conn atomic.Pointer[net.Conn]
}

func collect(t *testing.T, addr string) *collector {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{Listener: ln, got: make(chan string, 100)}
	go func() {
		for {
			conn, acceptErr := ln.Accept()
			if acceptErr != nil {
				return
			}
			c.conn.Store(&conn)
			r := bufio.NewReader(conn)
			for {
				digits, readErr := r.ReadString(' ')
				if readErr != nil {
					break
				}
				n, numErr := strconv.Atoi(strings.TrimSuffix(digits, " "))
				body := make([]byte, max(n, 0))
				if _, readErr = io.ReadFull(r, body); readErr != nil || numErr != nil {
					break
				}
				c.got <- string(body)
			}
		}
	}()
	return c
}

func (c *collector) next(t *testing.T) string {
	t.Helper()
	select {
	case m := <-c.got:
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was sent")
		return ""
	}
}

func TestLinesAreSentBySyslogAlsoAfterTheCollectorWasAway(t *testing.T) {
	first := collect(t, "127.0.0.1:0")
	addr := first.Addr().String()
	l := audit.New(audit.Config{DB: database(t), Options: func() audit.Options { return audit.Options{Forward: "tcp://" + addr, SkipDatabase: true} }, Syslog: audit.Syslog{Host: "node one"}})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	secret := line(0)
	secret.Note = "first\nline"
	l.Add(secret)
	message := first.next(t)
	head, body, _ := strings.Cut(message, " audit - ")
	if !strings.HasPrefix(head, "<109>1 2026-03-01T12:00:00.000000Z nodeone havn ") || strings.ContainsAny(message, "\n") {
		t.Errorf("%q", message)
	}
	var said map[string]any
	if err := json.Unmarshal([]byte(body), &said); err != nil || said["subject"] != "alice" || said["resource"] != "library/app:0" || said["ok"] != true {
		t.Errorf("%v, %v", said, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := (*first.conn.Load()).Close(); err != nil {
		t.Fatal(err)
	}
	second := collect(t, addr)
	for n := 1; ; n++ { // what was handed to the broken connection may be lost, what comes later is not
		l.Add(line(n))
		select {
		case message = <-second.got:
		case <-time.After(200 * time.Millisecond):
			if n > 100 {
				t.Fatal("nothing is sent after the collector came back")
			}
			continue
		}
		break
	}
	if !strings.Contains(message, "library/app:") {
		t.Errorf("%q", message)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, total := list(t, l, audit.Filter{}); total != 0 {
		t.Errorf("%d lines are in the database, which is to be skipped", total)
	}
}

func TestACollectorThatIsAwayHoldsNobodyUp(t *testing.T) {
	l := audit.New(audit.Config{DB: database(t), Options: func() audit.Options { return audit.Options{Forward: "192.0.2.1:514"} }})
	began := time.Now()
	for n := range 10_000 {
		l.Add(line(n))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%s", took)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if _, total := list(t, l, audit.Filter{}); total != 10_000 {
		t.Errorf("%d", total)
	}
}
