// Package index is the registry's rows: repositories, contents and their objects, blobs, uploads, manifests and what they refer to, tags, what is to be
// reviewed, pull counts. It holds SQL and no rules: which rows change together, and what may not be, is said by the packages above it.
//
// Functions take a Querier or a Tx and do one statement each, or a few that only make sense together. What is absent is fail.NotFound. Times are
// microseconds since 1970; counts of matched rows are answered where a condition decides.
package index
