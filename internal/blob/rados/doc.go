// Package rados keeps objects in a pool of Ceph, by librados: no gateway is between. It is built with the tag rados, by cgo, against librados of Ceph 16 or later; without
// the tag it holds nothing but the names and the order of objects, so that those are tried everywhere.
//
// An object of up to a stripe is one RADOS object of its name, written by one atomic operation. A longer one is cut into stripes, which are written at once under names that
// bear the mark of their writer, and then its head, which says how many there are, is made under the object's name, exclusively: before that there is no object, and after
// that it is whole. RADOS lists a pool in no order, so a listing reads all of its names and sorts them, in bounded memory and a file. DESIGN.md says what a crash leaves.
package rados
