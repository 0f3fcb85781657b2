// Package blob keeps objects that are written once: streams of bytes under a random name, which is never renamed, copied or overwritten.
// What an object means is said by rows elsewhere. Store is what the rest of Havn holds; behind it stands a small Driver for each kind of
// place that bytes can be kept in.
package blob
