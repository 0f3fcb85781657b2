package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/havn-registry/havn/internal/fail"
)

// CreateErasurePool makes a pool for librados that keeps two pieces and a third to make up for one; it needs three OSDs.
func (c *Ceph) CreateErasurePool(ctx context.Context, name string) error {
	return c.commands(ctx, []string{
		"osd erasure-code-profile set " + name + " k=2 m=1 crush-failure-domain=osd", "osd pool create " + name + " 4 4 erasure " + name,
		"osd pool application enable " + name + " rados",
	})
}

// CreateUser makes a user of librados, who may do what caps say (a kind of daemon, then its rights, in turn), and answers his key.
func (c *Ceph) CreateUser(ctx context.Context, name string, caps ...string) (string, error) {
	key, file := cephKey(), filepath.Join(c.place.dir, "keyring."+name)
	if err := os.WriteFile(file, []byte(keyringEntry("client."+name, key, caps...)), 0o600); err != nil {
		return "", fail.E(fail.Unavailable, err, "key of a lab's user")
	}
	return key, c.run(ctx, "ceph", "-c", c.ConfigFile, "--connect-timeout", fmt.Sprint(int(startTime.Seconds())), "auth", "import", "-i", file)
}
