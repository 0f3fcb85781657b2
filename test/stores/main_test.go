package stores

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

func TestMain(m *testing.M) {
	code := harness.Main(m)
	if shared.ceph != nil {
		if err := shared.ceph.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// shared is the Ceph of all tests of the package, started by the first that wants it.
var shared struct {
	once sync.Once
	ceph *lab.Ceph
	err  error
}

// ceph answers the package's Ceph. A test that breaks some of it does not run in parallel with others, and leaves it whole.
func ceph(t *testing.T) *lab.Ceph {
	t.Helper()
	shared.once.Do(func() { shared.ceph, shared.err = lab.StartCeph(context.Background(), "", lab.CephOptions{}) })
	need(t, shared.err)
	return shared.ceph
}

// need ends the test with what to do if a service could not be started.
func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fail.HintOf(err))
	}
}
