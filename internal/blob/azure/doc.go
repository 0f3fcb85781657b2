// Package azure keeps objects in a container of Azure Blob Storage, or of what speaks its API.
//
// An object is a block blob. One that fits into one block is written by one request. A longer one is staged block by block, several at once, and comes to
// be when the list of its blocks is committed, whole or not at all; never over another object. Blocks wait in package parts until they are sent, so that each
// can be sent again: a server that restarts costs a pause, not a push.
package azure
