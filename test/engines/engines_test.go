package engines

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// need ends the test with what to do if a service could not be started.
func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fail.HintOf(err))
	}
}

func stopAfter(t *testing.T, stop func() error) {
	t.Helper()
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// databases makes an empty database for each test of a suite.
type databases interface {
	CreateDatabase(ctx context.Context, name string) error
}

// fresh answers what the suite asks for its databases; hosts is asked for each opening.
func fresh(server databases, engine sqldb.Engine, hosts func(n int) []string) func(*testing.T) sqldbtest.Opener {
	var made, opened atomic.Int64
	return func(t *testing.T) sqldbtest.Opener {
		t.Helper()
		name := fmt.Sprintf("suite_%d", made.Add(1))
		need(t, server.CreateDatabase(t.Context(), name))
		return func() sqldb.Config {
			return sqldb.Config{
				Engine: engine, Hosts: hosts(int(opened.Add(1))), User: lab.User, Password: lab.Password, Database: name,
			}
		}
	}
}
