// Package engines holds Havn to its word on real databases: MariaDB, a Galera cluster of three and PostgreSQL pass the suites that SQLite passes, and more is asked of each.
package engines
