// Package arena is memory outside Go's heap, for buffers that live long and are large: Go's soft limit (memory.limit) and its collector have nothing to do with it. Where the
// platform has no such memory, it is Go's.
package arena
