// Package sqldbtest is the suite that sqldb passes on every engine.
package sqldbtest
