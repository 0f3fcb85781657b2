// Package parts cuts a stream of any length into parts that can be sent, and sent again, to a store that wants to know each part's length first. For a store
// that takes a stream as it comes, it keeps the stream while it is sent.
//
// What waits or is kept is held in one piece of memory that all streams of a node share, and beyond that in files without a name: however many
// streams there are, memory stays bounded, and none waits for another, slower one. A stream takes memory as its bytes come, so that a
// thousand small ones fit where ten large ones do.
package parts
