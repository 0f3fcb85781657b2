// Package checks holds what every driver of a blob store promises, as checks that run in two places: in the tests of the drivers (package blobtest),
// and in the command `havn store check`, against the user's own store.
package checks
