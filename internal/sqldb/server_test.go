package sqldb

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// TestAWaitForAConnectionEnds holds the only connection, as a loop over rows does that queries inside it.
func TestAWaitForAConnectionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := &Config{Hosts: []string{"a:1"}, MaxConns: 1, Log: slog.New(slog.DiscardHandler)}
		s := &server{cfg: cfg, pool: sql.OpenDB(late{}), d: newDialect(MySQL, (&mysqlProduct{cfg: cfg}).classify)}
		s.pool.SetMaxOpenConns(cfg.MaxConns)
		defer func() {
			if err := s.pool.Close(); err != nil {
				t.Error(err)
			}
		}()
		held, err := s.connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer s.release(held)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // else the test would hang where the wait does not end
		defer cancel()
		_, err = s.connect(ctx)
		if took := time.Since(begun); !fail.Is(err, fail.Unavailable) || isRefusal(err) || took > connWait {
			t.Errorf("after %s it answers %v", took, err)
		}
	})
}
