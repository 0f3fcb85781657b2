// Package sweep removes what is over: uploads that were given up, the objects of dead contents, objects that no row names, and old rows of its own kind.
//
// It is one duty of the cluster, claimed by an incarnation. Each of its steps may be done twice, and stops at any point without harm. The review of blobs that nothing
// refers to any more is a duty of its own and has its place beside this one: the rows it works on (table review) are written already.
package sweep
