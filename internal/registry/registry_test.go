package registry_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/filesystem"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
)

func embedded(t *testing.T) func() sqldb.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "havn.db")
	return func() sqldb.Config { return sqldb.Config{Engine: sqldb.SQLite, Path: path} }
}

func TestInMemory(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t *testing.T) registrytest.Stores {
		return registrytest.Stores{Database: embedded(t), Driver: memory.New(time.Now)}
	})
}

func TestInADirectory(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t *testing.T) registrytest.Stores {
		d, err := filesystem.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return registrytest.Stores{Database: embedded(t), Driver: d}
	})
}
