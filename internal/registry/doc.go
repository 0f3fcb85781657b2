// Package registry is the heart of Havn: push, mount, pull, tag, delete, referrers and upload sessions over a database (the index) and a blob store. It owns
// the order of commits, and what may be deleted when. DESIGN.md tells the invariants and what each crash leaves.
//
// Errors carry the code of the Distribution Specification that fits. Absent repositories are NAME_UNKNOWN, absent manifests MANIFEST_UNKNOWN, absent blobs
// BLOB_UNKNOWN, all fail.NotFound.
package registry
