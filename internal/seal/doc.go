// Package seal makes the secrets that a database holds (keys of tokens, passwords of other services) unreadable for whoever has a copy of the database alone. One secret,
// which all nodes of a cluster share and the database does not hold, seals them all.
package seal
