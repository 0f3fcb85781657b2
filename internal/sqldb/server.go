package sqldb

import (
	"context"

	"github.com/havn-registry/havn/internal/fail"
)

func openServer(_ context.Context, cfg *Config, _ *metrics) (store, error) {
	return nil, fail.E(fail.Unsupported, nil, "database engine %s", cfg.Engine)
}
