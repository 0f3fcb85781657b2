// Package engines runs the suites of the database on real servers: MariaDB, a Galera cluster of three and PostgreSQL.
package engines
