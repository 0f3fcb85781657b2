//go:build !rados

package server

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// openRADOS says that this program can't: librados would have to be on every machine that it runs on.
func openRADOS(context.Context, *config.Config, string, func() time.Time) (blob.Driver, error) {
	return nil, fail.E(fail.Unsupported, nil, "storage.driver is rados, and this havn was built without it").
		Hint("build one that has it, where librados is installed (Debian: apt-get install librados-dev gcc): go build -tags rados ./cmd/havn; or use Ceph through radosgw, with storage.driver: s3 or swift")
}
