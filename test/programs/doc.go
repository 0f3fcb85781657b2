// Package programs lists what the tests with real things need from outside: Debian's packages, Azurite from the npm registry and
// clients that are built from the Go module proxy, of fixed versions, with the places where they are found.
package programs
