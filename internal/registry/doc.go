// Package registry is the heart of Havn: push, mount, pull, tag, delete, referrers and upload sessions, over the rows of package index and the objects of
// package blob. It knows no HTTP, and asks nobody for permission: its callers have.
//
// DESIGN.md beside this file has the commit protocol, its invariants and its crash points.
package registry
