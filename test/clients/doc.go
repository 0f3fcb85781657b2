// Package clients tries every client that people use against the program: each pushes, pulls and does what else it can, with
// a home directory of its own and no flag but those for plain HTTP. It has tests only.
package clients
