package config

import (
	"crypto/tls"
	"fmt"
)

// consistentDatabase blames what is wrong between the keys of the database.
func (c *Config) consistentDatabase(blame func(key, text, allowed string)) {
	d := c.Database
	if d.Engine == SQLite {
		if len(d.Hosts) > 0 {
			blame("database.hosts", "is set, and database.engine is sqlite", "database.engine: mysql or postgres, or no hosts")
		}
		return
	}
	if len(d.Hosts) == 0 {
		blame("database.engine", fmt.Sprintf("is %s, and database.hosts is not set", d.Engine), "the servers' addresses in database.hosts")
	}
	if d.Path != "" {
		blame("database.path", fmt.Sprintf("is set, and database.engine is %s", d.Engine), "no path, or database.engine: sqlite")
	}
	if c.Storage.Driver == Memory {
		blame("storage.driver", fmt.Sprintf("keeps blobs in memory, and database.engine is %s: the index would outlive them", d.Engine), "a store that lasts, or database.engine: sqlite")
	}
	d.TLS.consistent("database.tls", d.TLS.Effective(), blame)
}

// probeDatabase looks at the files for TLS to the database.
func (c *Config) probeDatabase() Problems {
	if c.Database.Engine == SQLite {
		return nil
	}
	return c.probeClientTLS("database.tls", c.Database.TLS)
}

// DatabaseTLS answers the TLS of connections to the database, nil for none. The server's name is to be set for each.
func (c *Config) DatabaseTLS() (*tls.Config, error) {
	return c.Database.TLS.config(c.Database.TLS.Effective(), c.serverRoots)
}
