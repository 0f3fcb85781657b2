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
	for _, s := range []*service{&shared, &pools} {
		if s.ceph == nil {
			continue
		}
		if err := s.ceph.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// service is a Ceph of all tests of the package, started by the first that wants it.
type service struct {
	once sync.Once
	ceph *lab.Ceph
	err  error
}

// shared has a radosgw, pools has OSDs enough for copies and for erasure codes.
var shared, pools service

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
