// Package arch holds the test that keeps the architecture as docs/architecture.md states it. It has no code of its own.
package arch
