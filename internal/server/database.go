package server

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/sqldb"
)

// membersName is the file in the data directory in which the servers of the database are remembered, and which of PostgreSQL's primaries is the last.
const membersName = "database-hosts.json"

// databaseConfig answers how to open the database that is configured; where SQLite's file is, the caller says.
func databaseConfig(c *config.Config, clock func() time.Time, log *slog.Logger) (sqldb.Config, error) {
	d := sqldb.Config{Engine: sqldb.Engine(c.Database.Engine), Clock: clock, Log: log}
	if d.Engine == sqldb.SQLite {
		return d, nil
	}
	tls, err := c.DatabaseTLS()
	if err != nil {
		return d, fmt.Errorf("TLS to the database: %w", err)
	}
	d.Hosts, d.User, d.Password, d.Database = c.Database.Hosts, c.Database.User, c.Database.Password.Reveal(), c.Database.Name
	d.TLS, d.MaxConns = tls, c.Database.MaxConnections
	d.Discover = c.Database.Discover
	if d.Discover || d.Engine == sqldb.Postgres {
		d.Members = filepath.Join(c.DataDir, membersName)
	}
	return d, nil
}

// databaseName names a database to a person.
func databaseName(d sqldb.Config) string {
	if d.Engine == sqldb.SQLite {
		return d.Path
	}
	return fmt.Sprintf("%s on %s", d.Database, strings.Join(d.Hosts, ", "))
}
