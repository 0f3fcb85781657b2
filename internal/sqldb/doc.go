// Package sqldb is one SQL database on three engines: it connects, fails over, runs transactions with retry and reads that see
// every acknowledged write, and migrates the schema. All .sql files of Havn live below it; nothing else imports database/sql.
//
// A transaction is a function that may run many times and touches only its Tx: Galera and PostgreSQL refuse transactions by
// design, and a commit whose outcome is unknown is run again, not looked up. So ids are made outside the function, results are
// assigned and not appended, and a write that must not happen twice claims a row by an operation id. See DESIGN.md.
//
// On SQLite functions that wait for the writer are committed together, with one flush for all (batch.go).
package sqldb
