package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// secretName is the file in the data directory for a cluster secret that was made here.
	secretName = "cluster-secret"
	// mostSecret bounds what is read of it.
	mostSecret = 4 << 10
)

// clusterSecret answers the secret that is configured, or the one in the data directory; "" if there is none.
func clusterSecret(c *config.Config) (string, error) {
	if text := c.Cluster.Secret.Reveal(); text != "" {
		return text, nil
	}
	path := filepath.Join(c.DataDir, secretName)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("cluster secret: %w", dirError(err, path))
	case !info.Mode().IsRegular() || info.Size() > mostSecret:
		return "", fail.E(fail.Invalid, nil, "%s is no file that a cluster secret is in", path).Hint("put the secret of the other nodes there, or set cluster.secret")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cluster secret: %w", dirError(err, path))
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) < seal.LeastSecret {
		return "", fail.E(fail.Invalid, nil, "%s holds %d bytes, too few for a cluster secret", path, len(secret)).Hint("put the secret of the other nodes there, or set cluster.secret")
	}
	return secret, nil
}

// seal answers what seals the secrets in the database. Where nothing is configured and the database has no secret yet: 1. one is made and written to the data directory,
// durably (left by a crash: a file that the next start uses); 2. the database is sealed with it.
func (s *stores) seal(ctx context.Context, c *config.Config) (*seal.Seal, error) {
	secret, err := clusterSecret(c)
	if err != nil {
		return nil, err
	}
	if secret != "" {
		return seal.Open(ctx, s.db, secret)
	}
	if known, checkErr := seal.Check(ctx, s.db, ""); !fail.Is(checkErr, fail.NotFound) {
		return known, checkErr // above all: sealed by a node whose secret is not here
	}
	secret = seal.Random()
	if s.trash != "" {
		return seal.Open(ctx, s.db, secret) // it ends with the database
	}
	path := filepath.Join(c.DataDir, secretName)
	if err = writeSecret(path, secret+"\n"); err != nil {
		return nil, fmt.Errorf("keep the cluster secret: %w", dirError(err, path))
	}
	made, err := seal.Open(ctx, s.db, secret)
	if fail.Is(err, fail.Invalid) { // another node, which started at the same time, was first
		err = errors.Join(err, os.Remove(path))
	}
	return made, err
}

// checkSeal answers what seals the secrets in a database, as it is: NotFound if nothing does yet.
func checkSeal(ctx context.Context, c *config.Config, db *sqldb.DB) (*seal.Seal, error) {
	secret, err := clusterSecret(c)
	if err != nil {
		return nil, err
	}
	return seal.Check(ctx, db, secret)
}
