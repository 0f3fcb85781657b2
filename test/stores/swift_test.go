package stores

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/blob/swift"
	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/lab"
)

// swiftConfig answers that of a driver on the Ceph, with objects under a prefix of their own.
func swiftConfig(t *testing.T, c *lab.Ceph, prefix string) swift.Config {
	t.Helper()
	auth, err := url.Parse(c.SwiftAuthURL())
	if err != nil {
		t.Fatal(err)
	}
	client, err := egress.NewStream(egress.StreamConfig{NoProgress: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	pool, err := parts.NewPool(16<<20, t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return swift.Config{
		AuthURL: auth, Username: lab.SwiftUser, Password: lab.SwiftKey, Containers: []string{"registry.example.com"}, Create: true,
		Prefix: prefix, Pool: pool, HTTP: client, Clock: time.Now,
	}
}

func openSwift(t *testing.T, c swift.Config) blob.Driver {
	t.Helper()
	d, err := swift.New(t.Context(), c)
	need(t, err)
	return d
}

func TestSuiteOnSwift(t *testing.T) {
	c := ceph(t)
	var made atomic.Int64
	for _, containers := range [][]string{{"registry.example.com"}, {"shard-a", "shard-b", "shard-c"}} {
		t.Run(fmt.Sprintf("%dContainers", len(containers)), func(t *testing.T) {
			t.Parallel()
			at := func() swift.Config {
				conf := swiftConfig(t, c, fmt.Sprintf("suite/%d", made.Add(1)))
				conf.Containers = containers
				return conf
			}
			again := at()
			blobtest.Run(t, func(t *testing.T) blob.Driver {
				if strings.HasSuffix(t.Name(), "ObjectsOutliveTheDriver") {
					return openSwift(t, again)
				}
				return openSwift(t, at())
			}, func(t *testing.T, _ blob.Driver) blob.Driver { return openSwift(t, again) })
		})
	}
}

// swiftReader is a subuser that may only read.
const swiftReader = "registry:reader"

var madeReader sync.Once

func makeReader(t *testing.T, c *lab.Ceph) {
	t.Helper()
	madeReader.Do(func() {
		err := c.GatewayAdmin(t.Context(), "subuser", "create", "--uid=registry", "--subuser="+swiftReader, "--access=read", "--key-type=swift", "--secret-key="+lab.SwiftKey)
		if err != nil {
			t.Error(err)
		}
	})
}
