// Package index holds the rows of the registry: projects, repositories, manifests and what they refer to, tags, blobs and the objects they are made of,
// uploads, and what is up for review or dead. It is SQL and no rules: what may be done is decided in package registry.
//
// Functions that take a *sqldb.Tx write; those that take a sqldb.Querier read. Rows are touched in one order: repository, manifest, tag, blob.
package index
