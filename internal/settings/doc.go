// Package settings is the configuration that administrators change while Havn runs: in the database, checked, secrets sealed, the same on every node within a second or two.
package settings
