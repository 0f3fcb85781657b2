package sqldb_test

import (
	"path/filepath"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

func TestPlaceholdersAreNumberedOutsideQuotes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"SELECT 1":                         "SELECT 1",
		"a = ? AND b IN (?, ?)":            "a = $1 AND b IN ($2, $3)",
		`a = '?' AND "b?" = ? AND c = 'é'`: `a = '?' AND "b?" = $1 AND c = 'é'`,
		"a = 'it''s ?' AND b = ?":          "a = 'it''s ?' AND b = $1",
	} {
		if got := sqldb.Numbered(in); got != want {
			t.Errorf("%s became %s", in, got)
		}
	}
}

func TestMigrationsOfTheEnginesAreTheSame(t *testing.T) {
	t.Parallel()
	want, err := sqldb.Migrations(sqldb.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []sqldb.Engine{sqldb.MySQL, sqldb.Postgres} {
		got, migErr := sqldb.Migrations(e)
		if migErr != nil {
			t.Fatal(migErr)
		}
		if len(got) != len(want) {
			t.Errorf("%s has %d migrations, sqlite %d", e, len(got), len(want))
		}
	}
	if got := sqldb.Split("-- one; \nA (\n\tb; c\n);\n\nD;\nE"); len(got) != 3 || got[0] != "A (\n\tb; c\n)" || got[2] != "E" {
		t.Errorf("statements %q", got)
	}
}

func TestNetworkFileSystemsAreKnown(t *testing.T) {
	t.Parallel()
	if sqldb.NetworkName(0x6969) != "NFS" || sqldb.NetworkName(0xef53) != "" {
		t.Error("NFS or ext4 is taken for the other")
	}
	const table = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
61 22 0:53 / /mnt/a\040b rw,nosuid,nodev,relatime shared:2 master:3 - fuse.sshfs user@host:/ rw,user_id=0
62 22 0:54 / /mnt/c rw - fuse.portal portal rw
63 22
64 22 0:55 / /mnt/d rw -
`
	for device, want := range map[uint64]string{8<<8 | 1: "ext4", 53: "fuse.sshfs", 54: "fuse.portal", 55: "", 99: ""} {
		if got := sqldb.MountType(table, device); got != want {
			t.Errorf("device %d is %q, not %q", device, got, want)
		}
	}
}

func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  sqldb.Config
		kind fail.Kind
	}{
		"an unknown engine":    {sqldb.Config{Engine: "oracle"}, fail.Invalid},
		"no hosts":             {sqldb.Config{Engine: sqldb.MySQL, Database: "d"}, fail.Invalid},
		"no path":              {sqldb.Config{Engine: sqldb.SQLite}, fail.Invalid},
		"an absent directory":  {sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "absent", "havn.db")}, fail.Unavailable},
		"a port without a use": {sqldb.Config{Engine: sqldb.Postgres, Hosts: []string{"127.0.0.1"}, Database: "d"}, fail.Invalid},
	} {
		db, err := sqldb.Open(t.Context(), c.cfg)
		if !fail.Is(err, c.kind) || fail.HintOf(err) == "" && c.cfg.Path != "" {
			t.Errorf("%s: %v (%v)", name, err, db)
		}
	}
}
