// Package cluster knows the nodes that share a database: each start of a node is an incarnation with a heartbeat, and duties are claimed by an incarnation, to be taken
// over when its heart stands still. There is no leader, and no clock of one node is compared with another's.
package cluster
