package forgetfs_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/havn-registry/havn/test/forgetfs"
)

func TestMain(m *testing.M) {
	if forgetfs.Child() {
		return
	}
	os.Exit(m.Run())
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// write makes a file and flushes it if that is asked for.
func write(t *testing.T, path, text string, flushed bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	if flushed {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

func flush(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	must(t, f.Sync(), f.Close())
}

// tree answers what is on the volume: names with their texts, names of folders alone.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var found []string
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || entry.IsDir() {
			found = append(found, name+"/")
			return err
		}
		text, err := os.ReadFile(path)
		found = append(found, name+"="+string(text))
		return err
	}))
	return found
}

// TestOnlyWhatWasFlushedSurvives has a case for each thing that can be forgotten: before prepares and is flushed whole, change is cut off.
func TestOnlyWhatWasFlushedSurvives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		before func(t *testing.T, dir string)
		change func(t *testing.T, dir string)
		want   []string
	}{
		{"a new file, nothing flushed", nil, func(t *testing.T, dir string) { write(t, dir+"/f", "new", false) }, nil},
		{"a new file, flushed, but not its name", nil, func(t *testing.T, dir string) { write(t, dir+"/f", "new", true) }, nil},
		{"a new name, flushed, but not its bytes", nil, func(t *testing.T, dir string) { write(t, dir+"/f", "new", false); flush(t, dir) }, []string{"f="}},
		{"both flushed", nil, func(t *testing.T, dir string) { write(t, dir+"/f", "new", true); flush(t, dir) }, []string{"f=new"}},
		{
			"a file changed", func(t *testing.T, dir string) { write(t, dir+"/f", "old text", true); flush(t, dir) },
			func(t *testing.T, dir string) { write(t, dir+"/f", "new", false) },
			[]string{"f=old text"},
		},
		{
			"a file cut short", func(t *testing.T, dir string) { write(t, dir+"/f", "old text", true); flush(t, dir) },
			func(t *testing.T, dir string) { must(t, os.Truncate(dir+"/f", 3)) },
			[]string{"f=old text"},
		},
		{
			"a file removed", func(t *testing.T, dir string) { write(t, dir+"/f", "old", true); flush(t, dir) },
			func(t *testing.T, dir string) { must(t, os.Remove(dir+"/f")) },
			[]string{"f=old"},
		},
		{
			"a file removed, flushed", func(t *testing.T, dir string) { write(t, dir+"/f", "old", true); flush(t, dir) },
			func(t *testing.T, dir string) { must(t, os.Remove(dir+"/f")); flush(t, dir) },
			nil,
		},
		{
			"a file renamed", func(t *testing.T, dir string) { write(t, dir+"/f", "old", true); flush(t, dir) },
			func(t *testing.T, dir string) { must(t, os.Rename(dir+"/f", dir+"/g")) },
			[]string{"f=old"},
		},
		{
			"a file replaced, the new one not flushed", func(t *testing.T, dir string) { write(t, dir+"/f", "old", true); flush(t, dir) },
			func(t *testing.T, dir string) {
				write(t, dir+"/g", "new", false)
				must(t, os.Rename(dir+"/g", dir+"/f"))
				flush(t, dir)
			},
			[]string{"f="},
		},
		{
			"a flushed folder in one that is not", nil,
			func(t *testing.T, dir string) {
				must(t, os.Mkdir(dir+"/d", 0o700))
				write(t, dir+"/d/f", "new", true)
				flush(t, dir+"/d")
			},
			nil,
		},
		{
			"a folder flushed up to the top", nil,
			func(t *testing.T, dir string) {
				must(t, os.Mkdir(dir+"/d", 0o700))
				write(t, dir+"/d/f", "new", true)
				flush(t, dir+"/d")
				flush(t, dir)
			},
			[]string{"d/", "d/f=new"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := forgetfs.New(t)
			if c.before != nil {
				c.before(t, v.Path)
			}
			c.change(t, v.Path)
			v.Cut(t)
			if _, err := os.ReadDir(v.Path); !errors.Is(err, syscall.EIO) {
				t.Errorf("after the cut: %v", err)
			}
			v.Restore(t, 0, 0)
			if got := tree(t, v.Path); !slices.Equal(got, c.want) {
				t.Errorf("there is %q, want %q", got, c.want)
			}
		})
	}
}

func TestLuckKeepsPartOfTheRest(t *testing.T) {
	t.Parallel()
	v := forgetfs.New(t)
	const files = 64
	for i := range files {
		write(t, fmt.Sprintf("%s/f%d", v.Path, i), "lucky", false)
	}
	v.Cut(t)
	v.Restore(t, 0.5, 1)
	names, whole := tree(t, v.Path), 0
	for _, f := range names {
		if strings.HasSuffix(f, "=lucky") {
			whole++
		}
	}
	if len(names) == 0 || len(names) == files || whole == 0 || whole == len(names) {
		t.Errorf("%d names of %d, %d of them whole: all or nothing", len(names), files, whole)
	}
	v.Cut(t)
	v.Restore(t, 0, 2)
	if again := tree(t, v.Path); !slices.Equal(again, names) {
		t.Errorf("what survived a cut did not survive the next: %q, then %q", names, again)
	}
}

func TestFilesBehaveLikeFiles(t *testing.T) {
	t.Parallel()
	v := forgetfs.New(t)
	path := filepath.Join(v.Path, "f")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	if _, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	want := bytes.Repeat([]byte("0123456789"), 100_000)
	_, err = f.Write(want)
	must(t, err)
	_, err = f.WriteAt([]byte("abc"), 4095)
	copy(want[4095:], "abc")
	must(t, err, f.Truncate(5000), f.Truncate(9000), f.Sync())
	want = append(want[:5000:5000], make([]byte, 4000)...)
	for _, step := range []string{"at once", "after the cut"} {
		if got, readErr := os.ReadFile(path); readErr != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes, %v", step, len(got), readErr)
		}
		flush(t, v.Path)
		v.Cut(t)
		v.Restore(t, 0, 0)
	}
	must(t, os.Mkdir(v.Path+"/d", 0o700), os.Rename(path, v.Path+"/d/g"))
	if err = os.Remove(v.Path + "/d"); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("a full folder removed: %v", err)
	}
	must(t, os.Remove(v.Path+"/d/g"), os.Remove(v.Path+"/d"))
}

func TestManyWritersAndFlushes(t *testing.T) {
	t.Parallel()
	v := forgetfs.New(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				write(t, fmt.Sprintf("%s/%d-%02d", v.Path, i, j), "x", true)
				flush(t, v.Path)
			}
		})
	}
	all.Wait()
	v.Cut(t)
	v.Restore(t, 0, 0)
	if got := tree(t, v.Path); len(got) != 8*20 || strings.Count(strings.Join(got, " "), "=x") != len(got) {
		t.Errorf("%d files: %q", len(got), got)
	}
}

// TestSQLiteKeepsItsPromise runs the database that the server uses: with synchronous=FULL each committed row is there after the cut, with OFF none need be.
func TestSQLiteKeepsItsPromise(t *testing.T) {
	t.Parallel()
	v := forgetfs.New(t)
	open := func(synchronous string) *sql.DB {
		db, err := sql.Open("sqlite", "file:"+v.Path+"/db?_pragma=journal_mode(WAL)&_pragma=synchronous("+synchronous+")&_pragma=busy_timeout(60000)")
		must(t, err)
		return db
	}
	count := func(db *sql.DB) (n int) {
		must(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM t`).Scan(&n))
		var verdict string
		must(t, db.QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&verdict))
		if verdict != "ok" {
			t.Errorf("integrity: %s", verdict)
		}
		return n
	}
	insert := func(db *sql.DB, rows int) {
		for range rows {
			_, err := db.ExecContext(t.Context(), `INSERT INTO t(v) VALUES (randomblob(3000))`)
			must(t, err)
		}
	}
	db := open("FULL")
	_, err := db.ExecContext(t.Context(), `CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)`)
	must(t, err)
	flush(t, v.Path) // SQLite flushes the name of its log, not that of the database
	rows := 0
	for round := range 3 {
		insert(db, 50)
		rows += 50
		v.Cut(t)
		closeIgnoring(t, db)
		v.Restore(t, float64(round)/4, uint64(round))
		db = open("FULL")
		if n := count(db); n != rows {
			t.Fatalf("round %d: %d rows, want %d", round, n, rows)
		}
	}
	must(t, db.Close())
	db = open("OFF")
	insert(db, 50)
	v.Cut(t)
	closeIgnoring(t, db)
	v.Restore(t, 0, 0)
	db = open("FULL")
	if n := count(db); n >= rows+50 {
		t.Error("rows that were never flushed have survived: the file system does not forget")
	}
	must(t, db.Close())
}

// closeIgnoring closes a database whose disk is gone.
func closeIgnoring(t *testing.T, db *sql.DB) {
	if err := db.Close(); err != nil {
		t.Logf("close after the cut: %v", err)
	}
}

// TestAKilledTestLeavesNothingMounted kills a process that has a volume, and its whole process group with it.
func TestAKilledTestLeavesNothingMounted(t *testing.T) {
	t.Parallel()
	const holdVar = "HAVN_TEST_HOLD"
	if os.Getenv(holdVar) != "" {
		v := forgetfs.New(t)
		fmt.Println("mounted " + v.Path)
		_, err := io.Copy(io.Discard, os.Stdin) // until it is killed, or whoever would do that is gone
		must(t, err)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), holdVar+"=1", "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	_, err := cmd.StdinPipe() // Wait closes it
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err, cmd.Start())
	var path string
	if _, err = fmt.Fscanf(out, "mounted %s\n", &path); err != nil {
		t.Fatal(err)
	}
	must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	if err = cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		table, readErr := os.ReadFile("/proc/self/mounts")
		must(t, readErr)
		if !strings.Contains(string(table), path) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still mounted: %v", path, syscall.Unmount(path, syscall.MNT_DETACH))
		}
	}
}
